"""What partners see of our EVSEs' free time: a booking location for each EVSE, with a calendar that every booking narrows.

The documents stand beside those of locations and tariffs (`publishing.py`) and are made anew after each change of a booking, an EVSE, its
location or the tenant's policy, by facts; and once a day, because calendars go on. A partner sees those at the locations that it sees,
where the tenant lets partners book (`BookingPolicy.partners`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.house import utc_now
from chargeplane.app.roaming.publishing import Parties, Telling
from chargeplane.domain.bookings.policy import BookingPolicy
from chargeplane.domain.locations.model import EvseStatus
from chargeplane.domain.roaming.bookings import BookingPlaceNow, ConnectorTold, Span, days_told, free_spans, terms_told
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.tariffs.model import BookingRestriction, ReservationRestriction, TariffContent
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import rfc3339
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import bookings as booking_queries
from chargeplane.store.queries import roaming_documents as queries
from chargeplane.store.queries import tariffs as tariff_queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_documents import (
    BOOKING_LOCATIONS,
    BOOKINGS,
    PLACE_KEY,
    NewDocument,
    RawEvse,
    RawLocation,
    Stored,
)

PLACE_TOPICS: Final = (
    "location.updated",
    "location.deleted",
    "evse.created",
    "evse.updated",
    "evse.removed",
)
"""Facts after which EVSEs may be booked otherwise."""

CALENDAR_HINT: Final = "calendar"
"""Only the calendar changed."""

_AT_ONCE: Final = 50
_GONE: Final = "gone"

log = structlog.get_logger(__name__)

PlaceMaking = Callable[[BookingPlaceNow, PartyId, datetime], bytes]


class _Booking(Struct):
    evse_uid: str
    moved_from: tuple[str, ...] = ()


_booking = msgspec.json.Decoder(_Booking).decode


class BookingPlaces:
    """Keeps the documents.

    Args:
        look_every_s: between two looks at whether a day is over, or a policy was changed.
    """

    def __init__(
        self,
        database: Database,
        parties: Parties,
        telling: Telling,
        making: PlaceMaking,
        *,
        look_every_s: float = 30.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._parties = parties
        self._telling = telling
        self._making = making
        self._every_s = look_every_s
        self._now = now
        self._soon = asyncio.Event()
        self._whole: dict[TenantId, tuple[str, Span, BookingPolicy]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._run(), name="roaming-booking-places")

    async def stop(self) -> None:
        """Ends that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look_soon(self) -> None:
        """A policy was changed, or somebody may have become an operator."""
        self._soon.set()

    async def booked(self, fact: Fact) -> None:
        """A booking was made, moved or ended."""
        said = _booking(fact.payload)
        tenant_id = TenantId(fact.tenant_id)
        await self._evses(tenant_id, (said.evse_uid, *said.moved_from))

    async def changed(self, fact: Fact) -> None:
        """A fact of `PLACE_TOPICS`."""
        tenant_id = TenantId(fact.tenant_id)
        ident = msgspec.json.decode(fact.payload)["id"]
        if fact.topic.startswith("evse."):
            await self._evses(tenant_id, (ident,))
            return
        async with self._database.read() as db:
            keys = await queries.location_key(db, tenant_id, ident)
        await self.locations(tenant_id, keys)

    async def _evses(self, tenant_id: TenantId, uids: Sequence[str]) -> None:
        async with self._database.read() as db:
            found = [await queries.location_of_evse(db, tenant_id, uid) for uid in dict.fromkeys(uids)]
        await self.locations(tenant_id, sorted({key for key in found if key is not None}))

    async def look(self) -> None:
        """Makes anew what a new day, another policy or another party changed."""
        for tenant_id in await self._parties.operating_tenants():
            party = await self._parties.operator_of(tenant_id)
            if party is None:
                continue
            async with self._database.read() as db:
                policy = await booking_queries.policy(db, tenant_id)
            state = (party.key, days_told(policy, self._now()), policy)
            known = self._whole.get(tenant_id)
            if known == state or (known is not None and not (known[2].partners or policy.partners)):
                continue
            await self._everything(tenant_id)
            self._whole[tenant_id] = state

    async def _everything(self, tenant_id: TenantId) -> None:
        after = 0
        while True:
            async with self._database.read() as db:
                keys = await queries.location_keys(db, tenant_id, after, _AT_ONCE)
            if not keys:
                return
            await self.locations(tenant_id, keys)
            after = keys[-1]

    async def locations(self, tenant_id: TenantId, keys: Sequence[int]) -> int:
        """Makes the documents at these locations anew where they changed; how many did."""
        party = await self._parties.operator_of(tenant_id)
        if party is None or not keys:
            return 0
        made = 0
        async with self._database.change() as db:
            policy = await booking_queries.policy(db, tenant_id)
            if not policy.partners and not await queries.any_of(db, tenant_id, BOOKING_LOCATIONS):
                return 0
            await queries.lock(db, tenant_id)
            now = self._now()
            now = now.replace(microsecond=now.microsecond // 1000 * 1000)
            for location in await queries.raw_locations(db, tenant_id, keys):
                made += await self._location(db, tenant_id, location, policy, party, now)
        if made:
            self._telling.hint()
        return made

    async def _location(
        self,
        db: Db,
        tenant_id: TenantId,
        location: RawLocation,
        policy: BookingPolicy,
        party: PartyId,
        now: datetime,
    ) -> int:
        content = location.content
        owner = PartyId(content.country_code or party.country_code, content.party_id or party.party_id)
        stood = await queries.places_at(db, tenant_id, location.id)
        bookable = [one for one in location.evses if policy.partners and not location.deleted and _bookable(one)]
        days = days_told(policy, now)
        taken = await booking_queries.taken(db, tenant_id, [one.key for one in bookable], days.start, days.end)
        tariffs = await self._tariffs(db, tenant_id, bookable, now)
        made = 0
        for evse in bookable:
            ids = tuple(dict.fromkeys(ident for one in evse.connectors for ident in one.content.tariff_ids))
            place = BookingPlaceNow(
                evse_uid=evse.uid,
                location_id=location.id,
                connectors=[
                    ConnectorTold(
                        standard=one.content.standard,
                        format=one.content.format.value,
                        power_type=one.content.power_type.value,
                        power_w=one.content.power_w,
                    )
                    for one in evse.connectors
                ],
                tariff_ids=ids,
                terms=terms_told(
                    policy, no_show_fee=any(_asks_for_no_show(tariffs[i.lower()]) for i in ids if i.lower() in tariffs)
                ),
                days=days,
                free=free_spans(
                    policy, days, [Span(one.starts_at, one.until) for one in taken if one.evse_uid == evse.uid]
                ),
            )
            before = stood.pop(evse.uid.lower(), None)
            body = self._making(place, owner, now)
            changed, hint = _compared(before, body)
            if changed:
                await self._put(db, tenant_id, location, owner, evse.uid, body, place.free, now, hint, removed=False)
                made += 1
        for gone in stood.values():
            if gone.removed_at is None:
                said = msgspec.json.decode(gone.body)
                said.pop("calendars", None)
                body = msgspec.json.encode({**said, "last_updated": f"{rfc3339(now)}"})
                await self._put(db, tenant_id, location, owner, gone.id, body, (), now, None, removed=True)
                made += 1
        return made

    async def _put(
        self,
        db: Db,
        tenant_id: TenantId,
        location: RawLocation,
        owner: PartyId,
        ident: str,
        body: bytes,
        free: Sequence[Span],
        now: datetime,
        hint: str | None,
        *,
        removed: bool,
    ) -> None:
        content = location.content
        document = NewDocument(
            module=BOOKING_LOCATIONS,
            id=ident,
            country_code=owner.country_code,
            party_id=owner.party_id,
            body=body,
            shape=hashlib.blake2b(_GONE.encode() if removed else body, digest_size=16).digest(),
            country=content.country,
            tags=content.tags,
            open_to_all=content.publish or bool(content.publish_allowed_to),
            removed=removed,
            location_id=location.id,
            free="{" + ",".join(f"[{one.start.isoformat()},{one.end.isoformat()})" for one in free) + "}",
        )
        await queries.put(db, tenant_id, [document], now)
        await self._telling.note(db, tenant_id, BOOKINGS, f"{PLACE_KEY}{ident}", hint=hint)

    async def _tariffs(
        self, db: Db, tenant_id: TenantId, evses: Sequence[RawEvse], now: datetime
    ) -> dict[str, TariffContent]:
        named = {ident for evse in evses for one in evse.connectors for ident in one.content.tariff_ids}
        if not named:
            return {}
        return {one.id.lower(): one for one in await tariff_queries.valid(db, tenant_id, sorted(named), now)}

    async def _run(self) -> None:
        while True:
            self._soon.clear()
            try:
                await self.look()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("roaming_booking_places_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._soon.wait()


def _bookable(evse: RawEvse) -> bool:
    return evse.status is not EvseStatus.REMOVED and evse.content.declared_status is None and bool(evse.connectors)


def _compared(before: Stored | None, body: bytes) -> tuple[bool, str | None]:
    """Whether a document says something new, and what to tell of it."""
    if before is None or before.removed_at is not None:
        return True, None
    old, new = _said(before.body), _said(body)
    if old == new:
        return False, None
    had, has = old.pop("calendars", None), new.pop("calendars", None)
    return True, CALENDAR_HINT if old == new and had and has else None


def _said(body: bytes) -> dict[str, Any]:
    """What a document says, without when."""
    said: dict[str, Any] = msgspec.json.decode(body)
    said.pop("last_updated", None)
    for calendar in said.get("calendars", ()):
        calendar.pop("last_updated", None)
    return said


def _asks_for_no_show(tariff: TariffContent) -> bool:
    return any(
        element.restrictions is not None
        and (
            element.restrictions.reservation is ReservationRestriction.RESERVATION_EXPIRES
            or element.restrictions.booking is BookingRestriction.BOOKING_EXPIRES
        )
        for element in tariff.elements
    )
