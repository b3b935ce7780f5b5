"""Plug & Charge: what stations ask about contracts and certificates, and whom chains may lead to (OCPP C07, M01, M02, M06, M07)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Final, Protocol

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.contract_check import check_contract
from chargeplane.app.house import Desk
from chargeplane.app.reports import Place
from chargeplane.app.revocation import RevocationChecks
from chargeplane.domain.contracts import (
    CertificateStatus,
    CertificateStatusAsk,
    ChainStatus,
    ChainStatusAsk,
    ChainStatusFound,
    ChainStatusItem,
    ContractCheck,
    EvCertificate,
    EvCertificateAsk,
    OcspAsk,
    RevocationSource,
    RevocationState,
)
from chargeplane.kernel.errors import InvalidInputError, NotFoundError, PeerError, RuleError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.time import EPOCH
from chargeplane.store.database import Database
from chargeplane.store.queries import plug_and_charge as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.plug_and_charge import EvCertificateRequestView, TrustAnchorView

_READ_AGAIN_S: Final = 30.0
_LONGEST: Final = 17_000
"""What a station takes of an EXI response in 2.1; 5600 in 2.0.1 the bridge sees to."""

log = structlog.get_logger(__name__)


class ContractProvider(Protocol):
    """Who makes contracts' certificates for cars."""

    name: str

    async def ev_certificate(self, place: Place, ask: EvCertificateAsk) -> tuple[EvCertificate, str | None]:
        """What goes back to the car, and the eMAID where it is known.

        Raises:
            RuleError: there is none for this car; the sentence says why.
            PeerError: it could not be asked.
        """
        ...

    async def roots(self) -> list[x509.Certificate]:
        """Authorities of its own that its contracts lead to; roots first come first."""
        ...


class PlugAndCharge:
    """Use cases, and the desks that stations' questions come to.

    Args:
        provider: None: cars get no certificates here.
        unreachable_is_good: whether a certificate counts as not revoked where nobody can be asked.
    """

    def __init__(
        self,
        database: Database,
        revocation: RevocationChecks,
        provider: ContractProvider | None,
        *,
        unreachable_is_good: bool,
    ) -> None:
        self._database = database
        self._revocation = revocation
        self._provider = provider
        self._unreachable_is_good = unreachable_is_good
        self._anchors: dict[TenantId, tuple[list[x509.Certificate], list[x509.Certificate]]] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()
        self._changes = self._read_changes = 0
        self._version: object = None
        """Of what was parsed: the anchors' in the database, and the provider's own."""

    def register(self, desks: dict[type, Desk]) -> None:
        """Answers stations from now on."""
        desks[ContractCheck] = self._check
        desks[EvCertificateAsk] = self._ev_certificate
        desks[CertificateStatusAsk] = self._certificate_status
        desks[ChainStatusAsk] = self._chain_status

    # -- what stations ask ---------------------------------------------------------------------------------------------

    async def _check(self, place: Place, asks: ContractCheck) -> Struct | None:
        roots, known = await self._trusted(place.tenant_id)
        return await check_contract(asks, known, roots, self._revocation, unreachable_is_good=self._unreachable_is_good)

    async def _ev_certificate(self, place: Place, asks: EvCertificateAsk) -> Struct | None:
        made: EvCertificate | None = None
        account: str | None = None
        reason: str | None = None
        name = "none" if self._provider is None else self._provider.name
        try:
            if self._provider is None:
                raise RuleError("No provider of contract certificates is configured.")
            made, account = await self._provider.ev_certificate(place, asks)
            if len(made.exi_response) > _LONGEST:
                raise RuleError(f"The response has {len(made.exi_response)} characters; stations take {_LONGEST}.")
        except (RuleError, PeerError) as error:
            made, reason = None, made_storable(str(error), 500)
            log.warning("ev_certificate_refused", station=place.station_id, provider=name, reason=reason)
        async with self._database.change() as db:
            await queries.note_request(
                db,
                place.tenant_id,
                place.key,
                schema=asks.schema,
                renewal=asks.update,
                provider=name,
                accepted=made is not None,
                reason=reason,
                emaid=account,
                at=place.received_at,
            )
        return made

    async def _certificate_status(self, place: Place, asks: CertificateStatusAsk) -> Struct | None:
        """The station checks the signature itself; an answer we could not check is passed on as it is (M06)."""
        _, known = await self._trusted(place.tenant_id)
        found = await self._revocation.by_ocsp(asks.ask, known)
        if not found.der:
            log.warning("certificate_status_failed", station=place.station_id, reason=found.reason)
            return None
        return CertificateStatus(ocsp_result=base64.b64encode(found.der).decode())

    async def _chain_status(self, place: Place, asks: ChainStatusAsk) -> Struct | None:
        _, known = await self._trusted(place.tenant_id)
        return ChainStatus(found=tuple(await asyncio.gather(*(self._one_status(one, known) for one in asks.items))))

    async def _one_status(self, item: ChainStatusItem, known: list[x509.Certificate]) -> ChainStatusFound:
        if item.source is RevocationSource.CRL:
            found = await self._revocation.by_list(item.certificate, item.urls, known)
            return ChainStatusFound(state=found.state, next_update=found.until)
        for url in item.urls:
            found = await self._revocation.by_ocsp(OcspAsk(certificate=item.certificate, responder_url=url), known)
            if found.state is not RevocationState.FAILED:
                return ChainStatusFound(state=found.state, next_update=found.until)
        return ChainStatusFound(state=RevocationState.FAILED, next_update=EPOCH)

    async def _trusted(self, tenant_id: TenantId) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
        """Roots, and everything known; read again from time to time: another node may have changed them."""
        if self._stale():
            async with self._reading:
                if self._stale():  # else somebody read while we waited
                    begun, changes = asyncio.get_running_loop().time(), self._changes
                    await self._read()
                    self._read_at, self._read_changes = begun, changes
        return self._anchors.get(tenant_id, self._anchors.get(TenantId(0), ([], [])))

    def _stale(self) -> bool:
        late = self._read_at is None or asyncio.get_running_loop().time() - self._read_at > _READ_AGAIN_S
        return late or self._read_changes != self._changes

    async def _read(self) -> None:
        """Parses them where there are others than before."""
        own = [] if self._provider is None else await self._provider.roots()
        async with self._database.read() as db:
            version = (*await queries.anchors_version(db), tuple(own))
            if version == self._version:
                return
            rows = await queries.anchors(db)
        self._anchors = await asyncio.to_thread(_parsed, own, rows)
        self._version = version

    # -- for people ----------------------------------------------------------------------------------------------------

    async def add_anchor(self, caller: Caller, pem: str, note: str | None) -> list[TrustAnchorView]:
        """Trusts authorities: self-signed ones as roots, the others as known to stand between.

        Args:
            pem: one or several certificates.

        Returns:
            The tenant's anchors, newest first.
        Raises:
            InvalidInputError: it holds none, or one that is no authority's.
        """
        try:
            certificates = x509.load_pem_x509_certificates(pem.encode())
            for one in certificates:
                if not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                    raise ValueError(f"'{one.subject.rfc4514_string()}' is no authority's certificate")
        except (ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
            sentence = f"Not certificates of authorities in PEM: {error}"
            raise InvalidInputError(f"{sentence}.", (("/pem", sentence),)) from None
        async with self._database.change() as db:
            for one in certificates:
                ident = await queries.add_anchor(
                    db,
                    caller.tenant_id,
                    fingerprint=hashlib.sha256(_der(one)).digest(),
                    is_root=one.subject == one.issuer,
                    subject=made_storable(one.subject.rfc4514_string(), 500),
                    not_before=one.not_valid_before_utc,
                    not_after=one.not_valid_after_utc,
                    pem=_pem(one),
                    note=note,
                    by=caller.actor,
                )
                if ident is not None:
                    await audit(
                        db,
                        caller.tenant_id,
                        actor=caller.actor,
                        action="create",
                        kind="trust anchor",
                        ident=str(ident),
                        after={"subject": made_storable(one.subject.rfc4514_string(), 500), "note": note},
                    )
        self._changes += 1
        return await self.anchors(caller, None, 200, None)

    async def anchors(self, caller: Caller, q: str | None, limit: int, after: Position | None) -> list[TrustAnchorView]:
        """Anchors, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.anchor_page(db, caller.tenant_id, q, limit, after)

    async def remove_anchor(self, caller: Caller, ident: int) -> None:
        """No more trusts an authority.

        Raises:
            NotFoundError: the tenant has no such anchor.
        """
        async with self._database.change() as db:
            subject = await queries.remove_anchor(db, caller.tenant_id, ident)
            if subject is None:
                raise NotFoundError("trust anchor", str(ident))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind="trust anchor",
                ident=str(ident),
                before={"subject": subject},
            )
        self._changes += 1

    async def requests(
        self, caller: Caller, station_id: str | None, accepted: bool | None, limit: int, after: Position | None
    ) -> list[EvCertificateRequestView]:
        """Cars' requests for certificates, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.request_page(db, caller.tenant_id, station_id, accepted, limit, after)


def _parsed(
    own: list[x509.Certificate], rows: list[tuple[TenantId, bool, str]]
) -> dict[TenantId, tuple[list[x509.Certificate], list[x509.Certificate]]]:
    own_roots = [one for one in own if one.subject == one.issuer]
    anchors = {TenantId(0): (own_roots, own)}  # stands for tenants without any of their own
    for tenant_id, is_root, pem in rows:
        roots, known = anchors.setdefault(tenant_id, ([*own_roots], [*own]))
        certificate = x509.load_pem_x509_certificate(pem.encode())
        known.append(certificate)
        if is_root:
            roots.append(certificate)
    return anchors


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
