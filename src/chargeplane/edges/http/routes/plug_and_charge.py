"""Plug & Charge: trust anchors, cars' requests, the test pool's contracts and OCSP answers."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import unquote

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.ev_pool import EvPool
from chargeplane.app.ocsp_answers import OcspSource, answer
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import ConflictError
from chargeplane.store.queries.plug_and_charge import (
    ANCHOR_SORTS,
    CONTRACT_SORTS,
    REQUEST_SORTS,
    ContractView,
    EvCertificateRequestView,
    TrustAnchorView,
)

_OCSP = "application/ocsp-response"
_LONGEST = 4096


class Anchors(Struct, kw_only=True, forbid_unknown_fields=True):
    """Authorities to be trusted: one or several certificates in PEM."""

    pem: Annotated[str, Meta(min_length=1, max_length=100_000)]
    note: Annotated[str, Meta(max_length=500)] | None = None


class NewContract(Struct, kw_only=True, forbid_unknown_fields=True):
    """A contract for the test pool.

    Args:
        pcid: the car's, the common name of its provisioning certificate.
    """

    emaid: Annotated[str, Meta(min_length=1, max_length=40)]
    pcid: Annotated[str, Meta(min_length=1, max_length=64)]


class Revocation(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why a contract ends."""

    because: Annotated[str, Meta(min_length=1, max_length=500)]


def plug_and_charge_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    subjects = services.subjects

    def pool() -> EvPool:
        if subjects.ev_pool is None:
            raise ConflictError("The test pool is not used here; set plug_and_charge.pool to 'test'.")
        return subjects.ev_pool

    def sources() -> list[OcspSource]:
        own = services.certificates.ocsp_sources()
        return own if subjects.ev_pool is None else [subjects.ev_pool, *own]

    @get("/v1/trust-anchors", tags=["plug-and-charge"], opt={"scope": Scope.CERTIFICATES_READ, "sorts": ANCHOR_SORTS})
    async def list_trust_anchors(
        request: Request[Any, Any, Any],
        q: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[TrustAnchorView]:
        """Authorities that contracts' certificates may lead to, newest first. `q` is looked for in subjects."""
        after = begin(request, cursor, sort)
        found = await subjects.plug_and_charge.anchors(caller_of(request), q, limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/trust-anchors", tags=["plug-and-charge"], opt={"scope": Scope.CERTIFICATES_WRITE}, status_code=201)
    async def add_trust_anchors(request: Request[Any, Any, Any], data: JSONBody[Anchors]) -> list[TrustAnchorView]:
        """Trusts authorities: self-signed ones as roots, the others as known to stand between."""
        return await subjects.plug_and_charge.add_anchor(caller_of(request), data.pem, data.note)

    @delete("/v1/trust-anchors/{id:str}", tags=["plug-and-charge"], opt={"scope": Scope.CERTIFICATES_WRITE})
    async def remove_trust_anchor(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """No more trusts an authority."""
        await subjects.plug_and_charge.remove_anchor(caller_of(request), ident_of("trust anchor", id))

    @get(
        "/v1/ev-certificate-requests",
        tags=["plug-and-charge"],
        opt={"scope": Scope.CERTIFICATES_READ, "sorts": REQUEST_SORTS},
    )
    async def list_ev_certificate_requests(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        accepted: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EvCertificateRequestView]:
        """Cars that asked for their contract's certificate, and how that ended; newest first."""
        after = begin(request, cursor, sort)
        found = await subjects.plug_and_charge.requests(caller_of(request), station_id, accepted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/contracts", tags=["plug-and-charge"], opt={"scope": Scope.CERTIFICATES_READ, "sorts": CONTRACT_SORTS})
    async def list_contracts(
        request: Request[Any, Any, Any],
        emaid: Text = None,
        revoked: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[ContractView]:
        """Contracts of the test pool, newest first."""
        after = begin(request, cursor, sort)
        found = await pool().page(caller_of(request), emaid, revoked, limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/contracts", tags=["plug-and-charge"], opt={"scope": Scope.CERTIFICATES_WRITE}, status_code=201)
    async def add_contract(request: Request[Any, Any, Any], data: JSONBody[NewContract]) -> ContractView:
        """A contract of a car in the test pool. The eMAID charges once it is an id token too."""
        return await pool().add(caller_of(request), data.emaid, data.pcid)

    @post(
        "/v1/contracts/{id:str}/revoke",
        tags=["plug-and-charge"],
        opt={"scope": Scope.CERTIFICATES_WRITE},
        status_code=200,
    )
    async def revoke_contract(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Revocation]
    ) -> ContractView:
        """Ends a contract of the test pool; its certificates are revoked."""
        return await pool().revoke(caller_of(request), ident_of("contract", id), data.because)

    @post("/ocsp", opt={"public": True}, include_in_schema=False, status_code=200, return_dto=None, media_type=_OCSP)
    async def post_ocsp(request: Request[Any, Any, Any]) -> Response[bytes]:
        """An OCSP responder for what this server's own authorities signed (RFC 6960, A.1)."""
        body = await request.body()
        return Response(await answer(body[:_LONGEST], sources()), media_type=_OCSP)

    @get("/ocsp/{asked:path}", opt={"public": True}, include_in_schema=False, return_dto=None, media_type=_OCSP)
    async def get_ocsp(asked: FromPath[str]) -> Response[bytes]:
        """The same for what fits into an address."""
        try:
            body = base64.b64decode(unquote(str(asked)).lstrip("/"), validate=True)
        except (binascii.Error, ValueError):
            body = b""
        return Response(await answer(body[:_LONGEST], sources()), media_type=_OCSP)

    return [
        list_trust_anchors,
        add_trust_anchors,
        remove_trust_anchor,
        list_ev_certificate_requests,
        list_contracts,
        add_contract,
        revoke_contract,
        post_ocsp,
        get_ocsp,
    ]
