"""What partners own, read from them: everything at first and now and then, what changed in between.

Pages are written one after the other, each in a transaction, so memory holds one page however long the list is. A list that was read to
its end is the truth: what it did not hold, and what was not written since, is gone (OCPI 2.3.0 mod_locations, GET List). A list that broke
off removes nothing. Objects of parties that are not behind the connection are left out and counted.

Whoever reads says now and then that it still does; what a process was reading when it died, whichever looks next reads.
"""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import asyncpg
import structlog
from msgspec import Struct

from chargeplane.app.house import utc_now
from chargeplane.app.pulse import Pulse
from chargeplane.app.roaming.errors import PulledError
from chargeplane.app.roaming.ports import Caller as Partners
from chargeplane.app.roaming.replicas import Owner, Replicas
from chargeplane.domain.roaming import replicas as rules
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.replicas import LocationCopy, Module, ObjectCopy, Outcome, folded
from chargeplane.kernel.errors import ChargeplaneError, ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import EPOCH, as_utc
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import replicas as queries
from chargeplane.store.queries import roaming_connections
from chargeplane.store.queries.replicas import LocationId, ObjectId, PullRow, StoredLocation, StoredObject

log = structlog.get_logger(__name__)

LOCATIONS: Final = "locations"
_ROWS: Final = {
    LOCATIONS: 7,
    Module.SESSIONS.value: 20,
    Module.CDRS.value: 25,
    Module.TARIFFS.value: 28,
    Module.TOKENS.value: 33,
    Module.INVOICES.value: 52,
    Module.TERMINALS.value: 57,
    Module.CONFIRMATIONS.value: 63,
    Module.BOOKING_LOCATIONS.value: 69,
    Module.BOOKINGS.value: 72,
}
"""Rows of the table that give the lists."""
_OF_CPO: Final = (Module.TARIFFS.value, LOCATIONS, Module.SESSIONS.value, Module.CDRS.value)
_BOOKED: Final = (Module.BOOKING_LOCATIONS.value, Module.BOOKINGS.value)
"""Lists of one module of OCPI."""
_FOLLOWED: Final = frozenset({Module.SESSIONS, Module.BOOKING_LOCATIONS, Module.BOOKINGS})
_WHOLE: Final = frozenset({LOCATIONS, Module.TARIFFS.value, Module.TOKENS.value, Module.BOOKING_LOCATIONS.value})
"""Lists whose end says what is gone; sessions and CDRs are history."""
_OF_PTP: Final = (Module.TERMINALS.value, Module.CONFIRMATIONS.value)
_URLS: Final[dict[str, str]] = {**dict.fromkeys(_OF_PTP, "payments"), **dict.fromkeys(_BOOKED, "bookings")}
"""Lists that stand in a module of another name."""
_OVERLAP: Final = timedelta(minutes=5)
_HISTORY: Final = timedelta(days=30)
_MOST_SEEN: Final = 5_000_000
_MOST_REASONS: Final = 5
_AT_A_STRETCH: Final = 50
_AT_ONCE: Final = 2
"""Pages that are being written."""


class Peers(Protocol):
    """Who the partners are."""

    async def get(self, ident: int) -> Peer | None:
        """A connection."""
        ...

    async def every(self, tenant_id: TenantId | None) -> Sequence[Peer]:
        """All that are registered."""
        ...


Taker = Callable[[Peer, bytes], Awaitable[Outcome]]
"""Takes a document that was read, as if it had been pushed."""


class PullSettings(Struct, frozen=True, kw_only=True):
    """How often is read.

    Args:
        full_every_s: everything. delta_every_s: what changed, beside what is pushed.
        retry_s: after a pull that failed.
        lease_s: what a process that died was reading is read anew after so long.
    """

    full_every_s: float = 86_400
    delta_every_s: float = 3_600
    retry_s: float = 300
    look_every_s: float = 5
    lease_s: float = 10


class Pulled(Struct, frozen=True, kw_only=True):
    """What a pull brought.

    Args:
        refused: documents that could not be taken; `reasons` of some.
        until: the newest `last_updated`.
    """

    objects: int
    changed: int
    refused: int
    gone: int
    until: datetime | None
    full: bool
    reasons: tuple[str, ...] = ()


class _Tally:
    def __init__(self) -> None:
        self.objects = self.changed = self.refused = self.gone = 0
        self.until: datetime | None = None
        self.seen = array("q")
        self.whole = True
        self.reasons: list[str] = []

    def add(self, page: _Tally) -> None:
        """What a page brought, once it is written."""
        self.objects += page.objects
        self.changed += page.changed
        self.refused += page.refused
        self.whole &= page.whole
        self.reasons = [*self.reasons, *page.reasons][:_MOST_REASONS]
        if page.until is not None:
            self.saw(page.until)
        self.keys(page.seen)

    def refuse(self, reason: str) -> None:
        self.refused += 1
        self.whole = False  # what was refused may be there, so nothing of the partner is gone for sure
        if len(self.reasons) < _MOST_REASONS:
            self.reasons.append(reason)

    def saw(self, at: datetime) -> None:
        if self.until is None or at > self.until:
            self.until = at

    def keys(self, keys: Sequence[int] | array[int]) -> None:
        if len(self.seen) < _MOST_SEEN:
            self.seen.extend(keys)
        else:
            self.whole = False


class Pulling:
    """Reads from partners."""

    def __init__(
        self,
        database: Database,
        partners: Partners,
        peers: Peers,
        replicas: Replicas,
        settings: PullSettings | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._partners = partners
        self._peers = peers
        self._replicas = replicas
        self._settings = settings or PullSettings()
        self._now = now
        self._pulse = Pulse("roaming-pulls", self._settings.look_every_s, self._look)
        self._running: dict[int, asyncio.Task[None]] = {}
        self.takers: dict[str, Taker] = {}
        """By list: who takes its documents, where they are no copies like others."""

    async def start(self) -> None:
        """Begins to read what is due."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that; a pull that is under way is broken off."""
        await self._pulse.stop()
        for task in list(self._running.values()):
            task.cancel()
        for task in list(self._running.values()):
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _look(self) -> None:
        now = self._now()
        for peer in await self._peers.every(None):
            if peer.usable and peer.id not in self._running:
                async with self._database.read() as db:
                    known = {one.module: one for one in await queries.pulls(db, peer.tenant_id, peer.id)}
                due = [
                    (module, full)
                    for module in modules_of(peer)
                    for full in [self._due(peer, module, known.get(module), now)]
                    if full is not None
                ]
                if due:
                    self._running[peer.id] = asyncio.create_task(self._pull_all(peer, due), name="roaming-pull")

    def _due(self, peer: Peer, module: str, known: PullRow | None, now: datetime) -> bool | None:
        """Whether everything (True) or what changed (False) is to be read now; None: nothing."""
        settings = self._settings
        if known is None:
            return True
        if known.ended_at is None:
            if now - known.begun_at <= timedelta(seconds=settings.lease_s):
                return None
            # Whoever read it is gone: what it had not read is still to be read.
            return known.full_at is None or now - known.full_at >= timedelta(seconds=settings.full_every_s)
        if known.error is not None:
            if now - known.ended_at < timedelta(seconds=settings.retry_s):
                return None
            return known.full_at is None
        if known.full_at is None or now - known.full_at >= timedelta(seconds=settings.full_every_s):
            return True
        every = peer.quirks.pull_every_s if module in peer.quirks.pull else settings.delta_every_s
        return False if now - known.ended_at >= timedelta(seconds=every) else None

    async def _pull_all(self, peer: Peer, due: Sequence[tuple[str, bool]]) -> None:
        try:
            for module, full in due:
                try:
                    await self.pull(peer, module, full=full)
                except PulledError:
                    return  # it is noted; the other lists would fail as well
                except ConflictError:
                    continue
        except Exception:
            log.exception("partner_pull_failed", partner=peer.name)
        finally:
            self._running.pop(peer.id, None)

    async def now(self, tenant_id: TenantId, connection_id: int, module: str | None, *, full: bool) -> list[Pulled]:
        """Reads at once, because somebody asked for it.

        Raises:
            NotFoundError: the tenant has no such partner.
            InvalidInputError: it does not have the module.
            ConflictError: the same is being read already.
            PulledError: the list could not be read to its end.
        """
        peer = await self._peers.get(connection_id)
        if peer is None or peer.tenant_id != tenant_id:
            raise NotFoundError("partner", str(connection_id))
        modules = modules_of(peer)
        if module is not None and module not in modules:
            sentence = f"The partner has none of this: it has {', '.join(modules) or 'nothing'}"
            raise InvalidInputError(f"{sentence}.", (("/module", sentence),))
        return [await self.pull(peer, one, full=full) for one in ([module] if module else modules)]

    async def states(self, tenant_id: TenantId, connection_id: int) -> list[PullRow]:
        """How far the modules of a partner are read.

        Raises:
            NotFoundError: the tenant has no such partner.
        """
        async with self._database.read() as db:
            if await roaming_connections.stored(db, tenant_id, connection_id) is None:
                raise NotFoundError("partner", str(connection_id))
            return await queries.pulls(db, tenant_id, connection_id)

    async def pull(self, peer: Peer, module: str, *, full: bool) -> Pulled:
        """Reads a list of a partner.

        Args:
            full: everything; else what changed since the last time.
        Raises:
            ConflictError: it is being read already.
            PulledError: it could not be read to its end; what came stays.
        """
        held = timedelta(seconds=self._settings.lease_s)
        async with self._database.change() as db:
            if not await queries.begin_pull(db, peer.tenant_id, peer.id, module, held):
                raise ConflictError(f"'{module}' of '{peer.name}' is being read already.")
            known = {one.module: one for one in await queries.pulls(db, peer.tenant_id, peer.id)}[module]
            begun: datetime = await db.fetchval("SELECT now()")
        full = full or known.full_at is None or known.until is None or peer.quirks.no_date_filters
        since = None if full or known.until is None else known.until - _OVERLAP
        if module == Module.SESSIONS.value and since is None:
            since = self._now() - _HISTORY  # date_from is required there (OCPI 2.3.0 mod_sessions, GET)
        tally = _Tally()
        error: str | None = None
        living = asyncio.create_task(self._live(peer.id, module), name="roaming-pull-lives")
        try:
            pages = self._partners.pages(peer, _ROWS[module], date_from=since, limit=peer.quirks.page_limit)
            writing: set[asyncio.Task[None]] = set()
            try:
                async for page in pages:
                    for reason in page.refused:
                        tally.refuse(reason)
                    # The next page is asked for, read and taken apart while the database writes this one.
                    writing.add(asyncio.create_task(self._page(peer, module, page.documents, tally)))
                    while len(writing) >= _AT_ONCE:
                        done, writing = await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
                        for one in done:
                            one.result()
                for one in list(writing):
                    await one
            finally:
                for one in writing:
                    one.cancel()
                await asyncio.gather(*writing, return_exceptions=True)
            # A hub leaves out whom it cannot reach, so that what its lists do not hold may well be there.
            if full and module in _WHOLE and tally.whole and not peer.is_hub:
                await self._gone(peer, module, begun, tally)
        except asyncio.CancelledError:
            error = "It was broken off."
            raise
        except PulledError as failed:
            error = str(failed)
            raise
        except ChargeplaneError as failed:
            error = str(failed)
            raise
        except Exception as failed:
            error = f"{type(failed).__name__}: {failed}"
            raise
        finally:
            living.cancel()
            async with self._database.change() as db:
                await queries.end_pull(
                    db,
                    peer.id,
                    module,
                    begun_at=begun,
                    until=None if error is not None else tally.until or (None if known.until else EPOCH),
                    full=full and error is None,
                    counts=(tally.objects, tally.changed, tally.refused, tally.gone),
                    error=error,
                )
                if error is None:
                    await roaming_connections.pulled(db, peer.id, module, tally.until, tally.objects)
        return Pulled(
            objects=tally.objects,
            changed=tally.changed,
            refused=tally.refused,
            gone=tally.gone,
            until=tally.until,
            full=full,
            reasons=tuple(tally.reasons),
        )

    async def _live(self, connection_id: int, module: str) -> None:
        """Says that a pull goes on."""
        while True:
            await asyncio.sleep(self._settings.lease_s / 3)
            try:
                async with self._database.change() as db:
                    await queries.pull_lives(db, connection_id, module)
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("partner_pull_lease_failed", module=module)

    async def _page(self, peer: Peer, module: str, documents: Sequence[bytes], tally: _Tally) -> None:
        if module == LOCATIONS:
            try:
                await self._locations(peer, documents, tally, _Tally())
            except asyncpg.DeadlockDetectedError:  # the same Locations on two pages
                await self._locations(peer, documents, tally, _Tally())
        elif module in self.takers:
            await self._taken(peer, self.takers[module], documents, tally)
        elif module == Module.CDRS.value:
            await self._cdrs(peer, documents, tally)
        elif module == Module.INVOICES.value:
            await self._written(peer, Module.INVOICES, documents, tally)
        else:
            await self._objects(peer, Module(module), documents, tally)

    async def _gone(self, peer: Peer, module: str, begun: datetime, tally: _Tally) -> None:
        async with self._database.change() as db:
            if module == LOCATIONS:
                tally.gone = await queries.locations_gone(db, peer.id, begun, tally.seen)
            else:
                tally.gone = await queries.objects_gone(db, peer.id, Module(module), begun, tally.seen)

    async def _locations(self, peer: Peer, documents: Sequence[bytes], whole: _Tally, tally: _Tally) -> None:
        wanted: dict[LocationId, tuple[StoredLocation, bytes, tuple[str, str]]] = {}
        for number, document in enumerate(documents, 1):
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
            tally.objects += 1
            try:
                keys = rules.location_keys(document)
                party = _party(peer, keys.country_code, keys.party_id)
            except (ValueError, ChargeplaneError) as error:
                tally.refuse(str(error))
                continue
            key: LocationId = (peer.tenant_id, *party, folded(keys.id))
            wanted[key] = (StoredLocation(LocationCopy(keys.id), peer.id, 0, True), document, party)
            tally.saw(as_utc(keys.last_updated))
        if not wanted:
            whole.add(tally)
            return
        async with self._database.change() as db:
            stored = {ident: one[0] for ident, one in wanted.items()}
            await queries.lock_locations(db, stored, ())
            for number, (ident, (one, document, party)) in enumerate(wanted.items(), 1):
                if number % _AT_A_STRETCH == 0:
                    await asyncio.sleep(0)  # stations share the loop
                try:
                    outcome = rules.put_location(one.copy, document, party)
                except ChargeplaneError as error:
                    tally.refuse(str(error))
                    del stored[ident]
                    continue
                if outcome in (Outcome.CREATED, Outcome.UPDATED):
                    tally.changed += 1
            await queries.write_locations(db, stored)
        tally.keys([one.key for one in stored.values() if one.key])
        whole.add(tally)

    async def _objects(self, peer: Peer, module: Module, documents: Sequence[bytes], tally: _Tally) -> None:
        if module in _FOLLOWED:
            await self._written(peer, module, documents, tally)
            return
        wanted: dict[ObjectId, tuple[StoredObject, bytes, tuple[str, str]]] = {}
        for document in documents:
            tally.objects += 1
            try:
                updated, party, name, variant = _object(peer, module, document)
            except (ValueError, ChargeplaneError) as error:
                tally.refuse(str(error))
                continue
            row: ObjectId = (peer.tenant_id, module.value, folded(name), *party, variant)
            wanted[row] = (StoredObject(ObjectCopy(name), peer.id), document, party)
            if updated is not None:
                tally.saw(as_utc(updated))
        if not wanted:
            return
        async with self._database.change() as db:
            stored = {ident: one[0] for ident, one in wanted.items()}
            await queries.lock_objects(db, stored)
            for ident, (one, document, party) in wanted.items():
                try:
                    outcome = rules.put_object(one.copy, module, document, party)
                except ChargeplaneError as error:
                    tally.refuse(str(error))
                    del stored[ident]
                    continue
                if outcome in (Outcome.CREATED, Outcome.UPDATED):
                    tally.changed += 1
            await queries.write_objects(db, stored)
        tally.keys([one.key for one in stored.values() if one.key])

    async def _cdrs(self, peer: Peer, documents: Sequence[bytes], tally: _Tally) -> None:
        await self._written(peer, Module.CDRS, documents, tally)

    async def _written(self, peer: Peer, module: Module, documents: Sequence[bytes], tally: _Tally) -> None:
        """Sessions, CDRs and bookings go the way of those that are pushed: more follows from them than a copy."""

        async def write(document: bytes) -> Outcome | str:
            try:
                at, party, ident, _ = _object(peer, module, document)
                owner = Owner(peer.tenant_id, peer.id, *party)
                if module is Module.CDRS:
                    written = await self._replicas.keep(owner, module, ident, document)
                else:
                    written = await self._replicas.put(owner, module, ident, document)
            except (ValueError, ChargeplaneError) as error:
                return str(error)
            if at is not None:
                tally.saw(as_utc(at))
            if module.value in _WHOLE:
                tally.keys([written.key])
            return written.outcome

        tally.objects += len(documents)
        for outcome in await asyncio.gather(*(write(one) for one in documents)):
            if not isinstance(outcome, Outcome):
                tally.refuse(outcome)
            elif outcome in (Outcome.CREATED, Outcome.UPDATED):
                tally.changed += 1

    async def _taken(self, peer: Peer, take: Taker, documents: Sequence[bytes], tally: _Tally) -> None:
        for document in documents:
            tally.objects += 1
            try:
                at = rules.object_keys(document).last_updated
                outcome = await take(peer, document)
            except (ValueError, ChargeplaneError) as error:
                tally.refuse(str(error))
                continue
            if at is not None:
                tally.saw(as_utc(at))
            if outcome in (Outcome.CREATED, Outcome.UPDATED):
                tally.changed += 1


def _object(peer: Peer, module: Module, document: bytes) -> tuple[datetime | None, tuple[str, str], str, str]:
    keys = rules.object_keys(document)
    party = _party(peer, keys.country_code, keys.party_id)
    ident = keys.uid if module is Module.TOKENS else keys.id
    if not ident:
        raise rules.wrong("id", "it is missing")
    return keys.last_updated, party, ident, (keys.type or "RFID").upper() if module is Module.TOKENS else ""


def _party(peer: Peer, country_code: str | None, party_id: str | None) -> tuple[str, str]:
    """The owner that a document names; OCPI 2.1.1 has none in it, where it is the partner's only one.

    Raises:
        InvalidInputError: it is nobody behind the connection.
    """
    if country_code is None or party_id is None:
        ids = {one.id.key: one.id for one in peer.parties}
        if len(ids) != 1:
            raise rules.wrong("party_id", "it is missing, and the partner has several parties")
        only = next(iter(ids.values()))
        return only.country_code.upper(), only.party_id.upper()
    if not (peer.is_hub or peer.has_party(PartyId(country_code, party_id))):
        raise rules.wrong("party_id", f"'{country_code}*{party_id}' is no party of the partner")
    return country_code.upper(), party_id.upper()


def modules_of(peer: Peer) -> list[str]:
    """The lists that are read of a partner: of an operator its places, prices, sessions and CDRs, of a provider its tokens, of who
    provides payment terminals those and what was captured there."""
    roles = {one.role for one in peer.parties}
    wanted: list[str] = []
    if roles & {PartyRole.CPO, PartyRole.HUB} or peer.is_hub:
        wanted += (*_OF_CPO, *_BOOKED)
    if roles & {PartyRole.EMSP, PartyRole.HUB} or peer.is_hub:
        wanted.append(Module.TOKENS.value)
    if roles & {PartyRole.PTP, PartyRole.OTHER}:
        wanted += _OF_PTP
    wanted.append(Module.INVOICES.value)
    return [one for one in wanted if peer.url_of(_URLS.get(one, one), "SENDER") is not None]
