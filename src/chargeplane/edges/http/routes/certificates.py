"""/v1/certificates and the certificate authority of the house."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.certificates import AuthorityView, V2gAuthorityView
from chargeplane.domain.certificates import SigningUse
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.certificates import CERTIFICATE_SORTS, CertificateFilter, CertificateView

_KIND = "certificate"

CertificateState = Literal["requested", "refused", "failed", "issued", "revoked"]


class Revocation(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why a certificate is revoked."""

    reason: Annotated[str, Meta(min_length=1, max_length=4000)]


class Forced(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether something is done though it may cut stations off."""

    force: bool = False


def certificate_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    certificates = services.certificates

    @get("/v1/certificates", tags=["certificates"], opt={"scope": Scope.CERTIFICATES_READ, "sorts": CERTIFICATE_SORTS})
    async def list_certificates(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        wanted_state: Annotated[CertificateState | None, QueryParameter(name="state")] = None,
        use: Annotated[SigningUse | None, QueryParameter(name="use")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CertificateView]:
        """Certificates that stations asked for, newest first; of all uses, or of one."""
        after = begin(request, cursor, sort)
        wanted = CertificateFilter(station_id=station_id, state=wanted_state, use=None if use is None else use.value)
        found = await certificates.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/certificates/{id:str}", tags=["certificates"], opt={"scope": Scope.CERTIFICATES_READ})
    async def get_certificate(request: Request[Any, Any, Any], id: FromPath[str]) -> CertificateView:
        """A certificate, with its PEM."""
        return await certificates.one(caller_of(request), ident_of(_KIND, id))

    @post(
        "/v1/certificates/{id:str}/revoke",
        tags=["certificates"],
        opt={"scope": Scope.CERTIFICATES_WRITE},
        status_code=200,
    )
    async def revoke_certificate(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Revocation]
    ) -> CertificateView:
        """Revokes a certificate: its station gets in with it no more, and its socket is closed."""
        return await certificates.revoke(caller_of(request), ident_of(_KIND, id), data.reason)

    @get("/v1/certificate-authority", tags=["certificates"], opt={"scope": Scope.CERTIFICATES_READ})
    async def get_certificate_authority(request: Request[Any, Any, Any]) -> AuthorityView:
        """The certificate authority of the house: what stations are to trust, and what was revoked."""
        return await certificates.authority()

    @post(
        "/v1/certificate-authority/rotations",
        tags=["certificates"],
        opt={"scope": Scope.CERTIFICATES_WRITE},
        status_code=201,
    )
    async def rotate_certificate_authority(request: Request[Any, Any, Any]) -> AuthorityView:
        """Makes the next generation of the authority of the house. It signs stations' certificates from now on, and its root is
        brought to the stations that use TLS; the server shows a certificate of it when it is activated."""
        return await certificates.rotate_authority(caller_of(request))

    @post(
        "/v1/certificate-authority/activate",
        tags=["certificates"],
        opt={"scope": Scope.CERTIFICATES_WRITE},
        status_code=200,
    )
    async def activate_certificate_authority(request: Request[Any, Any, Any], data: JSONBody[Forced]) -> AuthorityView:
        """Makes the next generation the current one: new TLS handshakes see a certificate that leads to its root. 409 where stations
        have not got that root, unless forced."""
        return await certificates.activate_authority(caller_of(request), force=data.force)

    @post(
        "/v1/certificate-authority/{number:str}/retire",
        tags=["certificates"],
        opt={"scope": Scope.CERTIFICATES_WRITE},
        status_code=200,
    )
    async def retire_certificate_authority(
        request: Request[Any, Any, Any], number: FromPath[str], data: JSONBody[Forced]
    ) -> AuthorityView:
        """Ends the trust in an old generation. 409 where certificates of it are in use, unless forced."""
        ident = ident_of("generation of the authority", number)
        return await certificates.retire_authority(caller_of(request), ident, force=data.force)

    @get("/v1/v2g-authority", tags=["certificates"], opt={"scope": Scope.CERTIFICATES_READ})
    async def get_v2g_authority(request: Request[Any, Any, Any]) -> V2gAuthorityView:
        """Who signs stations' certificates for Plug & Charge: its roots, which cars have to trust, and what stands between. 409 where
        nobody does."""
        return await certificates.v2g_authority()

    return [
        get_v2g_authority,
        list_certificates,
        get_certificate,
        revoke_certificate,
        get_certificate_authority,
        rotate_certificate_authority,
        activate_certificate_authority,
        retire_certificate_authority,
    ]
