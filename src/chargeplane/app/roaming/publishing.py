"""What partners see of ours: canonical documents, kept as they stand, and told to the partners when they change.

A document is made after each change, in one database transaction with the note that partners are to be told; lists, single reads and
pushes only read it. What makes one anew:

- facts about locations, EVSEs and tariffs (at least once, in order per object);
- statuses of stations: hints from the nodes that hold their sockets, gathered for a tenth of a second, so that a location whose stations
  all speak at once is made and told once. Hints may be lost; a look at all statuses every half minute finds what they missed, and what
  changes without a message (a node that is gone);
- sessions and CDRs of partners' drivers, by whoever writes them (app/roaming/sessions.py).

`last_updated` of a document, and of an EVSE in it, is when it was made anew, not when its cause was committed: what becomes visible later
has the later time, so a partner that pulls by time misses nothing. An unchanged object is not made anew, and nobody is told.

Nothing of this touches the path of stations' messages but the hint behind the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.house import utc_now
from chargeplane.domain.locations.model import EvseStatus, LocationContent
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.published import ConnectorNow, EvseNow
from chargeplane.domain.tariffs.model import TariffContent
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import roaming_documents as queries
from chargeplane.store.queries import tariffs as tariff_queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_documents import LOCATIONS, TARIFFS, NewDocument, RawEvse, RawLocation

MADE: Final = b"1"
"""Raised when documents are made otherwise than before: all are made anew then."""

TOPICS: Final = (
    "location.created",
    "location.updated",
    "location.deleted",
    "evse.created",
    "evse.updated",
    "evse.removed",
    "tariff.created",
    "tariff.updated",
    "tariff.retired",
    "tariff.deleted",
)
"""Facts that documents follow."""

EVSE_HINT: Final = "evse:"
"""Before the uid of the EVSE whose status alone changed."""

_AT_ONCE: Final = 100
_LOOK_ROWS: Final = 5000
_RETRY_S: Final = 1.0

log = structlog.get_logger(__name__)


class Parties(Protocol):
    """Who we are."""

    async def operator_of(self, tenant_id: TenantId) -> PartyId | None:
        """The tenant's party as operator (CPO); None: it has none, and nothing is published."""
        ...

    async def operating_tenants(self) -> Sequence[TenantId]:
        """The tenants that have one."""
        ...


class Telling(Protocol):
    """Tells partners that an object changed (`outgoing`)."""

    async def note(
        self,
        db: Db,
        tenant_id: TenantId,
        module: str,
        key: str,
        *,
        connections: list[int] | None = None,
        hint: str | None = None,
    ) -> None:
        """Within the transaction of the change: it is sent when that is committed.

        Args:
            connections: these alone; None: all that take the module.
            hint: what changed.
        """
        ...

    async def note_many(self, db: Db, tenant_id: TenantId, module: str, hints: Mapping[str, str | None]) -> None:
        """The same of many objects, each with its hint, for all that take the module."""
        ...

    def hint(self) -> None:
        """Something was noted and committed."""
        ...


class Making(Struct, frozen=True, kw_only=True):
    """Makes canonical documents; the bridge's."""

    location: Callable[[LocationContent, str, Sequence[EvseNow], PartyId, datetime], bytes]
    tariff: Callable[[TariffContent, str, PartyId, datetime], bytes]


class PublishingSettings(Struct, frozen=True, kw_only=True):
    """When.

    Args:
        look_every_s: between two looks at all statuses.
    """

    look_every_s: float = 30.0


class Publishing:
    """Keeps the documents."""

    def __init__(
        self,
        database: Database,
        parties: Parties,
        telling: Telling,
        making: Making,
        settings: PublishingSettings | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._parties = parties
        self._telling = telling
        self._making = making
        self._settings = settings or PublishingSettings()
        self._now = now
        self._wake = asyncio.Event()
        self._soon = asyncio.Event()
        self._whole: dict[TenantId, str] = {}
        self._stations: set[StationKey] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._looked_at = self._now()
        self.made = 0
        """Documents made anew since the start."""

    async def start(self) -> None:
        """Follows statuses from now on."""
        self._tasks = [
            asyncio.create_task(self._follow(), name="roaming-statuses"),
            asyncio.create_task(self._look(), name="roaming-look"),
        ]

    async def stop(self) -> None:
        """Ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def heard(self, stations: Iterable[StationKey]) -> None:
        """Statuses of these stations changed."""
        self._stations.update(stations)
        self._wake.set()

    async def changed(self, fact: Fact) -> None:
        """A fact of `TOPICS`."""
        tenant_id = TenantId(fact.tenant_id)
        noun = fact.topic.partition(".")[0]
        ident = msgspec.json.decode(fact.payload)["id"]
        if noun == "tariff":
            await self.tariffs(tenant_id, [ident])
            return
        async with self._database.read() as db:
            if noun == "location":
                keys = await queries.location_key(db, tenant_id, ident)
            else:
                key = await queries.location_of_evse(db, tenant_id, ident)
                keys = [] if key is None else [key]
        await self.locations(tenant_id, keys)

    async def everything(self, tenant_id: TenantId) -> None:
        """Looks at all that the tenant publishes, and makes anew what is not as it should be: it has become an operator."""
        after = 0
        while True:
            async with self._database.read() as db:
                keys = await queries.location_keys(db, tenant_id, after, _AT_ONCE)
            if not keys:
                break
            await self.locations(tenant_id, keys)
            after = keys[-1]
        async with self._database.read() as db:
            tariffs = await queries.tariff_ids(db, tenant_id)
        for start in range(0, len(tariffs), _AT_ONCE):
            await self.tariffs(tenant_id, tariffs[start : start + _AT_ONCE])

    async def locations(self, tenant_id: TenantId, keys: Sequence[int]) -> int:
        """Makes these locations anew where they changed; how many did."""
        party = await self._parties.operator_of(tenant_id)
        if party is None or not keys:
            return 0
        async with self._database.change() as db:
            await queries.lock(db, tenant_id)
            found = await queries.raw_locations(db, tenant_id, keys)
            stored = await queries.shapes(db, tenant_id, LOCATIONS, [one.id for one in found])
            now = _truncated(self._now())
            documents: list[NewDocument] = []
            hints: list[str | None] = []
            told: list[tuple[int, str, bytes, datetime]] = []
            for one in found:
                evses = [_looked_at(evse, one.deleted, now) for evse in one.evses]
                shape = _shape(one, party, [evse.digest for evse in evses])
                if stored.get(one.id.lower()) == shape and not any(evse.changed for evse in evses):
                    continue
                told += [(evse.key, evse.now.status.value, evse.digest, now) for evse in evses if evse.changed]
                documents.append(self._location(one, [evse.now for evse in evses], shape, party, now))
                changed = [evse.now.uid for evse in evses if evse.changed]
                # What is as it was described, but for the status of one EVSE, is told as that.
                only = stored.get(one.id.lower()) == shape and len(changed) == 1
                hints.append(f"{EVSE_HINT}{changed[0]}" if only else None)
            if documents:
                await queries.put(db, tenant_id, documents, now)
                if told:
                    await queries.keep_evses(db, told)
                noted = {document.id: hint for document, hint in zip(documents, hints, strict=True)}
                await self._telling.note_many(db, tenant_id, LOCATIONS, noted)
        return self._made(len(documents))

    def _location(
        self, one: RawLocation, evses: Sequence[EvseNow], shape: bytes, party: PartyId, now: datetime
    ) -> NewDocument:
        content = replace(one.content, publish=False, publish_allowed_to=()) if one.deleted else one.content
        return NewDocument(
            module=LOCATIONS,
            id=one.id,
            country_code=content.country_code or party.country_code,
            party_id=content.party_id or party.party_id,
            body=self._making.location(content, one.id, evses, party, now),
            shape=shape,
            country=content.country,
            tags=content.tags,
            # OCPI 2.3.0 mod_locations, "No public charging or roaming": better not sent at all.
            open_to_all=one.content.publish or bool(one.content.publish_allowed_to),
            removed=one.deleted,
        )

    async def tariffs(self, tenant_id: TenantId, idents: Sequence[str]) -> int:
        """Makes these tariffs anew, in the version that holds now, where they changed; how many did."""
        party = await self._parties.operator_of(tenant_id)
        if party is None or not idents:
            return 0
        async with self._database.change() as db:
            await queries.lock(db, tenant_id)
            now = _truncated(self._now())
            valid = {
                one.id.lower(): one for one in await tariff_queries.valid(db, tenant_id, list(idents), self._now())
            }
            stored = await queries.shapes(db, tenant_id, TARIFFS, idents)
            documents: list[NewDocument] = []
            for ident in idents:
                tariff = valid.get(ident.lower())
                if tariff is None:
                    # It does not hold yet, or no longer. What partners never heard of they need not be told is gone.
                    before = await queries.one(db, tenant_id, TARIFFS, ident)
                    if before is None or before.removed_at is not None:
                        continue
                    documents.append(_gone(before))
                    continue
                shape = _digest(MADE, party.key.encode(), f"{tariff.version}".encode(), msgspec.json.encode(tariff))
                if stored.get(ident.lower()) == shape:
                    continue
                documents.append(
                    NewDocument(
                        module=TARIFFS,
                        id=tariff.id,
                        country_code=tariff.country_code or party.country_code,
                        party_id=tariff.party_id or party.party_id,
                        body=self._making.tariff(tariff, tariff.id, party, now),
                        shape=shape,
                    )
                )
            if documents:
                await queries.put(db, tenant_id, documents, now)
                await self._telling.note_many(db, tenant_id, TARIFFS, {one.id: None for one in documents})
        return self._made(len(documents))

    def _made(self, number: int) -> int:
        self.made += number
        if number:
            self._telling.hint()
        return number

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            stations, self._stations = self._stations, set()
            try:
                await self._follow_stations(stations)
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("roaming_statuses_failed")
                self._stations |= stations
                self._wake.set()
                await asyncio.sleep(_RETRY_S)

    async def _follow_stations(self, stations: set[StationKey]) -> None:
        if not stations or not await self._parties.operating_tenants():
            return
        async with self._database.read() as db:
            places = await queries.locations_of_stations(db, sorted(stations))
        await self._by_tenant(places)

    async def _by_tenant(self, places: Sequence[tuple[TenantId, int]]) -> None:
        tenants: dict[TenantId, list[int]] = {}
        for tenant_id, key in places:
            tenants.setdefault(tenant_id, []).append(key)
        for tenant_id, keys in tenants.items():
            for start in range(0, len(keys), _AT_ONCE):
                await self.locations(tenant_id, keys[start : start + _AT_ONCE])

    def look_soon(self) -> None:
        """Somebody may have become an operator, or is another party now."""
        self._soon.set()

    async def _look(self) -> None:
        while True:
            self._soon.clear()
            try:
                await self.look()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("roaming_look_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.look_every_s):
                    await self._soon.wait()

    async def look(self) -> None:
        """Finds what no hint told: statuses that are others than partners know, tariffs whose time has come or gone."""
        tenants = await self._parties.operating_tenants()
        if not tenants:
            return
        for tenant_id in tenants:
            party = await self._parties.operator_of(tenant_id)
            if party is not None and self._whole.get(tenant_id) != party.key:
                await self.everything(tenant_id)
                self._whole[tenant_id] = party.key
        since, until = self._looked_at, self._now()
        async with self._database.read() as db:
            places = await queries.untold(db, tenants, _LOOK_ROWS)
            tariffs = await queries.tariffs_become_valid(db, tenants, since - timedelta(seconds=1), until)
        await self._by_tenant(places)
        by_tenant: dict[TenantId, list[str]] = {}
        for tenant_id, ident in tariffs:
            by_tenant.setdefault(tenant_id, []).append(ident)
        for tenant_id, idents in by_tenant.items():
            await self.tariffs(tenant_id, idents)
        self._looked_at = until


class _Looked(Struct, frozen=True):
    key: int
    now: EvseNow
    digest: bytes
    changed: bool


def _looked_at(evse: RawEvse, gone: bool, now: datetime) -> _Looked:
    """An EVSE with whether it is another than was told."""
    status = EvseStatus.REMOVED if gone else evse.status
    digest = _digest(
        MADE, evse.body.encode(), b"1" if evse.bound else b"0", *(one.body.encode() for one in evse.connectors)
    )
    changed = evse.told is None or evse.told[:2] != (status.value, digest)
    at = now if evse.told is None or changed else evse.told[2]
    return _Looked(
        evse.key,
        EvseNow(
            content=evse.content,
            uid=evse.uid,
            status=status,
            bound=evse.bound,
            connectors=[ConnectorNow(content=one.content, last_updated=one.updated_at) for one in evse.connectors],
            last_updated=at,
        ),
        digest,
        changed,
    )


def _shape(one: RawLocation, party: PartyId, evses: Sequence[bytes]) -> bytes:
    return _digest(MADE, one.body.encode(), b"1" if one.deleted else b"0", party.key.encode(), *evses)


def _gone(before: queries.Stored) -> NewDocument:
    return NewDocument(
        module=before.module,
        id=before.id,
        country_code=before.country_code,
        party_id=before.party_id,
        body=before.body,
        shape=_digest(b"gone"),
        removed=True,
    )


def _truncated(at: datetime) -> datetime:
    """To milliseconds, as documents say it: filters by time compare what is said."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _digest(*parts: bytes) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(4, "big"))
        found.update(part)
    return found.digest()
