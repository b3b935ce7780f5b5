"""Certificates of stations: asked for, signed, brought to the station, revoked (OCPP 2.0.1 A02, A03).

A request is judged and written down before the station gets its answer; the certificate is made afterwards and goes to
the station as a command, which waits for it if need be. What a crash or an outage interrupted is taken up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.authority import HouseAuthority
from chargeplane.app.commands import Commands
from chargeplane.app.events import EventFeed
from chargeplane.app.ocsp_answers import OcspSource
from chargeplane.app.ports import CertificateAuthority, CloseReason, Signed, V2gAuthority, V2gHierarchy
from chargeplane.app.reach import StationReach
from chargeplane.app.security_events import SecurityEvents
from chargeplane.app.v2g_authority import TestV2gAuthority
from chargeplane.app.v2g_pki import pem_of
from chargeplane.domain.certificates import CertificateHashData, SigningUse, hash_data_of, read_certificates
from chargeplane.domain.commands import DeliverCertificate
from chargeplane.domain.messages import CertificateRequest
from chargeplane.domain.security_events import ServerEvent
from chargeplane.kernel.errors import ConflictError, ForbiddenError, NotFoundError, RuleError, UnavailableError
from chargeplane.kernel.ids import CommandId, StationKey, TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import certificates as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.certificates import CertificateFilter, CertificateView, Wanted
from chargeplane.store.queries.paging import Position

_DELIVERY_FOR_S: Final = 86_400.0
_LOOK_AGAIN_S: Final = 60.0
_RETRY_S: Final = 1.0

log = structlog.get_logger(__name__)

T = TypeVar("T")

Decided = Callable[[int | None], None]
"""Told the number of a request that is accepted, or None."""


class GenerationView(Struct, frozen=True, kw_only=True):
    """A generation of the house's authority.

    Args:
        state: next (its root is on its way to the stations), current, old (still trusted), retired.
        root: PEM.
        installed, refused, waiting: stations that use TLS, by whether they got its root; of the next one only.
    """

    number: int
    state: str
    root: str
    made_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None
    installed: int | None = None
    refused: int | None = None
    waiting: int | None = None


class AuthorityView(Struct, frozen=True, kw_only=True):
    """The certificate authority of the house, as PEM.

    Args:
        root: what stations are to trust.
        issuing: what signs.
        revocation_list: of what was revoked and has not expired, one list a generation; made anew for each question, good for a week.
        generations: the oldest first.
    """

    root: str
    issuing: str
    revocation_list: str
    generations: list[GenerationView]


class V2gAuthorityView(Struct, frozen=True, kw_only=True):
    """Who signs stations' certificates for Plug & Charge.

    Args:
        provider: test, or est.
    """

    provider: str
    hierarchies: list[V2gHierarchy]


def _sources(authority: V2gAuthority) -> list[OcspSource]:
    return [authority] if isinstance(authority, TestV2gAuthority) else []


def _use_of(word: str | None) -> SigningUse | None:
    """None for a word that nobody knows; a station that says nothing means its own certificate."""
    if word is None:
        return SigningUse.STATION
    try:
        return SigningUse(word)
    except ValueError:
        return None


async def _nobody() -> None:
    pass


def _nothing() -> None:
    pass


class Certificates:
    """Use cases about certificates, and the desk that the stations' actors bring requests to.

    Args:
        authority: signs.
        house: the one of the house, for its own view; the same as `authority` unless another one signs.
        v2g: signs those for Plug & Charge; None where nobody does.
    """

    def __init__(
        self,
        database: Database,
        authority: CertificateAuthority,
        house: HouseAuthority,
        commands: Commands,
        reach: StationReach,
        events: EventFeed,
        v2g: V2gAuthority | None = None,
    ) -> None:
        self._database = database
        self._authority = authority
        self._v2g = v2g
        self._house = house
        self._commands = commands
        self._reach = reach
        self._events = events
        self._revoked: frozenset[tuple[bytes, int]] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[bytes] = set()
        self.tell_nodes: Callable[[], Awaitable[None]] = self.reload
        """Has every node call `reload`; returns when they have."""
        self.security_events: SecurityEvents | None = None
        """Where it is written that a certificate could not be made."""
        self.on_rotation: Callable[[], None] = _nothing
        """Told that a generation of the authority began or ended."""
        self.on_reload: Callable[[], Awaitable[object]] = _nobody
        """Called when authorities or revocations may have changed."""

    async def start(self) -> None:
        """Reads the revocations, and takes up what was left undone, now and from time to time."""
        await self.reload()
        self._spawn(self._look_again())

    async def stop(self) -> None:
        """Lets go of what is under way; it is taken up at the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reload(self) -> None:
        """Reads what was revoked, and who signs."""
        self._revoked = await self._read_revoked()
        self._house.forget()
        await self.on_reload()

    async def follow(self) -> None:
        """The same where nothing says that anything changed: nobody is told unless something did."""
        revoked = await self._read_revoked()
        trusted = await self._house.trust()
        self._house.forget()
        if revoked != self._revoked or trusted != await self._house.trust():
            self._revoked = revoked
            await self.on_reload()

    async def _read_revoked(self) -> frozenset[tuple[bytes, int]]:
        async with self._database.read() as db:
            rows = await queries.revoked(db)
        return frozenset((issuer, int(serial_number, 16)) for issuer, serial_number, _ in rows)

    def is_revoked(self, issuer: bytes, serial_number: int) -> bool:
        """Whether the certificate was revoked here; from memory."""
        return (issuer, serial_number) in self._revoked

    # -- the desk ------------------------------------------------------------------------------------------------------

    def consider(self, tenant_id: TenantId, key: StationKey, request: CertificateRequest, decided: Decided) -> None:
        """Judges a request and writes it down; `decided` is called once that is done."""
        self._spawn(self._consider(tenant_id, key, request, decided))

    def carry_out(self, ident: int) -> None:
        """Signs an accepted request and brings the certificate to its station."""
        self._spawn(self._carry_out(ident))

    async def _consider(
        self, tenant_id: TenantId, key: StationKey, request: CertificateRequest, decided: Decided
    ) -> None:
        accepted: int | None = None
        while True:
            try:
                accepted = await self._judge(tenant_id, key, request)
            except Exception as error:
                if is_unavailable(error):
                    # No answer before it is written: the station would wait for a certificate that nobody makes.
                    await asyncio.sleep(_RETRY_S)
                    continue
                log.exception("certificate_request_failed", station_key=key)
            break
        decided(accepted)

    async def _judge(self, tenant_id: TenantId, key: StationKey, request: CertificateRequest) -> int | None:
        async with self._database.read() as db:
            name = await queries.common_name(db, key)
            # What names no use is for both, where the station has both (2.0.1 and 2.1, SignCertificateRequest).
            for_both = request.use is None and self._v2g is not None and await queries.wants_combined(db, key)
        stored = SigningUse.COMBINED.value if for_both else request.use
        refused: str | None = None
        if name is None:
            refused = "The station is not registered any more."
        else:
            try:
                await self._check(request, _use_of(stored), name)
            except RuleError as error:
                refused = made_storable(str(error), 500)
        csr = made_storable(request.csr)
        async with self._database.change() as db:
            ident = await queries.request(
                db,
                tenant_id,
                key,
                use=None if stored is None else made_storable(stored, 40),
                request_id=request.request_id,
                csr=csr,
                csr_hash=hashlib.sha256(csr.encode()).digest(),
                refused=refused,
            )
        if refused is not None:
            log.warning("certificate_refused", station=name, reason=refused)
            await self._show(tenant_id, ident)
            return None
        return ident

    async def _check(self, request: CertificateRequest, use: SigningUse | None, name: str) -> None:
        """Raises RuleError where no certificate will be made of the request."""
        if use is SigningUse.STATION:
            return await asyncio.to_thread(self._authority.check, request.csr, name)
        if use is None or self._v2g is None:
            raise RuleError(f"Certificates for {made_storable(str(request.use), 40)} are not signed here.")
        await asyncio.to_thread(self._v2g.check, request.csr, use, name)
        if request.root is not None:
            await self._check_root(self._v2g, request.root)
        return None

    async def _check_root(self, authority: V2gAuthority, wanted: CertificateHashData) -> None:
        """A02.FR.27: the station names the authority by its root."""
        try:
            known = "".join(one.roots for one in await authority.hierarchies())
        except UnavailableError:
            return  # what it signs is told to the station, which judges it

        def names_one() -> bool:
            roots = read_certificates(known)
            return any(hash_data_of(pem_of(one), wanted.hash_algorithm).folded() == wanted for one in roots)

        if known and not await asyncio.to_thread(names_one):
            raise RuleError("The station asks for a certificate below a root that does not sign here.")

    async def _carry_out(self, ident: int) -> None:
        try:
            await self._sign_and_send(ident)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.error("certificate_not_made", certificate=ident, error=str(error) or type(error).__name__)
            if not is_unavailable(error):
                await self._not_made(ident, str(error) or type(error).__name__)

    async def _not_made(self, ident: int, reason: str) -> None:
        """Tells somebody: the station will never know why it gets no certificate (A02, error handling)."""
        if self.security_events is None:
            return
        with contextlib.suppress(Exception):
            async with self._database.read() as db:
                wanted = await queries.wanted(db, ident)
            if wanted is not None:
                self.security_events.note_for(
                    wanted.tenant_id,
                    wanted.station_key,
                    ServerEvent.CERTIFICATE_NOT_MADE,
                    details={"reason": reason[:200], "certificate_id": str(ident)},
                )

    async def _sign_and_send(self, ident: int) -> None:
        async with self._database.read() as db:
            wanted = await queries.wanted(db, ident)
        if wanted is None:
            return
        chain = wanted.chain
        if chain is None:
            try:
                signed = await self._signed(wanted)
            except RuleError as error:
                await self._not_made(ident, str(error))
                async with self._database.change() as db:
                    await queries.failed(db, ident, made_storable(str(error), 500))
                await self._show(wanted.tenant_id, ident)
                return
            chain = signed.chain
            async with self._database.change() as db:
                if not await queries.issued(
                    db,
                    ident,
                    subject=signed.subject,
                    serial_number=signed.serial_number,
                    issuer=signed.issuer,
                    not_before=signed.not_before,
                    not_after=signed.not_after,
                    chain=chain,
                ):
                    return  # another node made one
            if signed.issuer not in self._told:  # it may be new: the doors have to trust it before the station is back
                await self.tell_nodes()
                self._told.add(signed.issuer)
        view = await self._commands.command(
            Caller(key_id=0, tenant_id=wanted.tenant_id, name="certificates", scopes=frozenset()),
            wanted.station_id,
            DeliverCertificate(chain=chain, use=wanted.use, request_id=wanted.request_id),
            valid_s=_DELIVERY_FOR_S,
        )
        async with self._database.change() as db:
            await queries.on_its_way(db, ident, CommandId(int(view.id)))
        await self._show(wanted.tenant_id, ident)

    async def _signed(self, wanted: Wanted) -> Signed:
        name, use = wanted.certificate_name or wanted.station_id, _use_of(wanted.use)
        if use is SigningUse.STATION:
            return await self._authority.sign(wanted.csr, common_name=name, station_key=wanted.station_key)
        if use is None or self._v2g is None:
            raise RuleError(f"Certificates for {wanted.use} are not signed here any more.")
        return await self._v2g.sign(wanted.csr, use=use, common_name=name, station_key=wanted.station_key)

    async def _look_again(self) -> None:
        while True:
            try:
                async with self._database.read() as db:
                    left = await queries.unfinished(db, _LOOK_AGAIN_S)
                for ident in left:
                    await self._carry_out(ident)
                await self.reload()  # should this node have missed a word
            except Exception as error:  # it goes on looking, whatever it was
                if not is_unavailable(error):
                    log.exception("certificates_not_looked_at")
            await asyncio.sleep(_LOOK_AGAIN_S)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, wanted: CertificateFilter, limit: int, after: Position | None
    ) -> list[CertificateView]:
        """Certificates and requests, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> CertificateView:
        """A certificate by our id.

        Raises:
            NotFoundError: the tenant has no such certificate.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("certificate", str(ident))
        return found

    async def revoke(self, caller: Caller, ident: int, reason: str) -> CertificateView:
        """Revokes a certificate: from now on no door lets its station in with it, and its socket is closed.

        Raises:
            NotFoundError: the tenant has no such certificate.
            ConflictError: it was never issued, or is revoked already.
        """
        async with self._database.change() as db:
            key = await queries.revoke(db, caller.tenant_id, ident, caller.actor, reason)
            if key is None:
                found = await queries.one(db, caller.tenant_id, ident)
                if found is None:
                    raise NotFoundError("certificate", str(ident))
                raise ConflictError(f"Certificate {ident} is {found.state}; only an issued one can be revoked.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="revoke",
                kind="certificate",
                ident=str(ident),
                reason=reason,
                before={"revoked": False},
                after={"revoked": True},
            )
        await self.tell_nodes()
        view = await self.one(caller, ident)
        use = _use_of(view.use)
        if use is None or use.opens_door:
            await self._reach.close(key, CloseReason.CREDENTIALS_CHANGED)
        self._events.publish("certificate.updated", caller.tenant_id, view.station_id, view)
        return view

    def ocsp_sources(self) -> list[OcspSource]:
        """Our own authorities that sign stations' certificates, for answers about what they signed."""
        return [self._house] if self._v2g is None else [self._house, *_sources(self._v2g)]

    async def v2g_authority(self) -> V2gAuthorityView:
        """Who signs certificates for Plug & Charge, and what they lead to.

        Raises:
            ConflictError: nobody does.
            UnavailableError: it cannot be asked now.
        """
        if self._v2g is None:
            raise ConflictError("Nobody signs certificates for Plug & Charge; see plug_and_charge.station_authority.")
        return V2gAuthorityView(provider=self._v2g.name, hierarchies=list(await self._v2g.hierarchies()))

    async def authority(self) -> AuthorityView:
        """The certificate authority of the house, made where it was never needed before."""
        root, issuing = await self._house.authorities()
        async with self._database.read() as db:
            revoked = await queries.revoked(db)
            shown = []
            for one in await queries.generations(db):
                certificate = await queries.house(db, "root", generation=one.number)
                progress = await queries.rollout(db, one.number) if one.state == "next" else None
                shown.append(
                    GenerationView(
                        number=one.number,
                        state=one.state,
                        root="" if certificate is None else certificate.chain,
                        made_at=one.made_at,
                        activated_at=one.activated_at,
                        retired_at=one.retired_at,
                        installed=None if progress is None else progress.installed,
                        refused=None if progress is None else progress.refused,
                        waiting=None if progress is None else progress.waiting,
                    )
                )
        return AuthorityView(
            root=root,
            issuing=issuing,
            revocation_list=await self._house.revocation_list(revoked),
            generations=shown,
        )

    async def rotate_authority(self, caller: Caller) -> AuthorityView:
        """Makes the next generation of the house's authority: it signs from now on, and its root goes to the stations.

        Raises:
            ForbiddenError: the caller is not of the installation's own tenant.
            ConflictError: there is a next generation already.
        """
        number = await self._house_matter(caller, "rotate", self._house.begin_rotation())
        log.info("authority_rotation_begun", generation=number)
        return await self._generations_changed()

    async def activate_authority(self, caller: Caller, *, force: bool) -> AuthorityView:
        """Makes the next generation the current one.

        Raises:
            ForbiddenError: the caller is not of the installation's own tenant.
            ConflictError: there is no next one, or stations have not got its root and it is not forced.
        """
        number = await self._house_matter(caller, "activate", self._house.activate(force=force))
        log.info("authority_generation_activated", generation=number)
        return await self._generations_changed()

    async def retire_authority(self, caller: Caller, number: int, *, force: bool) -> AuthorityView:
        """Ends the trust in an old generation.

        Raises:
            ForbiddenError: the caller is not of the installation's own tenant.
            ConflictError: it is not an old one, or certificates of it are in use and it is not forced.
        """
        await self._house_matter(caller, f"retire {number}", self._house.retire(number, force=force))
        return await self._generations_changed()

    async def _house_matter(self, caller: Caller, action: str, work: Awaitable[T]) -> T:
        if caller.tenant_id != 1:
            if asyncio.iscoroutine(work):
                work.close()
            raise ForbiddenError(
                "The authority of the house is the same for all tenants: only the default tenant may change it."
            )
        before = await self.authority()
        done = await work
        after = await self.authority()
        async with self._database.change() as db:
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action=action,
                kind="certificate-authority",
                ident="house",
                before=before.generations,
                after=after.generations,
            )
        return done

    async def _generations_changed(self) -> AuthorityView:
        await self.tell_nodes()
        self.on_rotation()
        return await self.authority()

    async def _show(self, tenant_id: TenantId, ident: int) -> None:
        if self._events.active:
            async with self._database.read() as db:
                view = await queries.one(db, tenant_id, ident)
            if view is not None:
                self._events.publish("certificate.updated", tenant_id, view.station_id, view)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
