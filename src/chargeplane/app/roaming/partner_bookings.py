"""Bookings that partners ask for at our EVSEs (OCPI 2.3.0 mod_bookings, Sender).

A request becomes a booking of ours in the same table, under the constraint that forbids to book an EVSE twice, and is answered with what
came of it: RESERVED, or REJECTED with the reason. The request, the booking and the document that partners are told are written in one
database transaction, so a repeat (the same request_id and the same content) is answered as the first time, whatever was killed in between.
Another content under the same request_id asks for a change, with `canceled` for the end. Each request is kept with what became of it.

What becomes of the booking later (used, nobody came, canceled by the operator) is heard as facts and told to the partner by the queue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol

import asyncpg
import msgspec
import structlog
from msgspec import Raw, Struct
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.bookings import Bookings, Change, PartnersWish, Wish
from chargeplane.app.bookings.letting_in import let_in, let_out
from chargeplane.app.house import utc_now
from chargeplane.app.roaming.commands import Partner, decoded
from chargeplane.app.roaming.outgoing import Message
from chargeplane.app.roaming.ports import Route
from chargeplane.app.roaming.publishing import Parties, Telling
from chargeplane.domain.authorization import token_key
from chargeplane.domain.bookings.states import OPEN, BookingState
from chargeplane.domain.roaming.bookings import (
    MOST_REQUESTS,
    BookingNow,
    BookingRequest,
    PartnerBooking,
    RequestKept,
    RequestStatus,
    ReservationStatus,
    Terms,
    canceled_by_us,
    check_tokens,
    driver_of_request,
    presented_type,
    status_of,
    too_late,
    wrong,
)
from chargeplane.domain.roaming.connection import PartyId, Peer
from chargeplane.domain.roaming.replicas import same
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import bookings as booking_queries
from chargeplane.store.queries import partner_bookings as queries
from chargeplane.store.queries import roaming_documents as documents
from chargeplane.store.queries import roaming_operator
from chargeplane.store.queries.bookings import Booking
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.partner_bookings import StoredBooking
from chargeplane.store.queries.roaming_documents import (
    BOOKING_KEY,
    BOOKING_LOCATIONS,
    BOOKINGS,
    PLACE_KEY,
    NewDocument,
    Stored,
)

log = structlog.get_logger(__name__)

PUT_PLACE: Final = 75
PUT_CALENDAR: Final = 78
PATCH_CALENDAR: Final = 79
PUT_BOOKING: Final = 81
"""Rows of the table of endpoints."""

_BY: Final = "roaming"
_LONGEST_SENTENCE: Final = 500

BookingMaking = Callable[[BookingNow, PartyId, datetime], bytes]


class Answered(Struct, frozen=True, kw_only=True):
    """What a partner is answered.

    Args:
        document: the Booking; None: there is no such place.
        message: why it is not as it was asked for.
    """

    document: bytes | None
    message: str | None = None


class _PlaceSaid(Struct):
    location_id: str
    booking_terms: Terms


_place_said = msgspec.json.Decoder(_PlaceSaid, strict=False).decode


class Tokens(Protocol):
    """What partners pushed of their tokens."""

    async def group_of(self, db: Db, tenant_id: TenantId, connection_id: int, uid: str) -> str | None:
        """The group of a token."""
        ...


class PushedTokens:
    """Groups of tokens as they were pushed."""

    async def group_of(self, db: Db, tenant_id: TenantId, connection_id: int, uid: str) -> str | None:
        """None where it has none, or nobody pushed it."""
        for one in await roaming_operator.pushed_tokens(db, tenant_id, uid):
            if one.connection_id == connection_id and one.valid:
                group = one.group_id
                return None if group is None or len(group) > 36 else group
        return None


class PartnerBookings:
    """Takes requests, and tells what became of them."""

    def __init__(
        self,
        database: Database,
        bookings: Bookings,
        parties: Parties,
        telling: Telling,
        making: BookingMaking,
        *,
        tokens: Tokens | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._bookings = bookings
        self._parties = parties
        self._telling = telling
        self._making = making
        self._tokens: Tokens = tokens or PushedTokens()
        self._now = now

    async def take(self, peer: Partner, body: bytes) -> Answered:
        """A BookingRequest, by its canonical body.

        Raises:
            InvalidInputError: something in it is wrong; names the field.
        """
        ask = decoded(body, BookingRequest)
        if peer.parties and f"{ask.country_code}{ask.party_id}".upper() not in peer.parties:
            raise wrong("/party_id", f"{ask.country_code}*{ask.party_id} is none of your parties")
        if ask.ends_at <= ask.starts_at:
            raise wrong("/period/end_date_time", "Must be after start_date_time")
        party = (ask.country_code.upper(), ask.party_id.upper())
        async with self._database.read() as db:
            known = await queries.of_request(db, peer.connection_id, party, ask.request_id)
        if known is None:
            try:
                return await self._new(peer, ask, body, party)
            except asyncpg.UniqueViolationError:  # the same request came twice at once
                async with self._database.read() as db:
                    known = await queries.of_request(db, peer.connection_id, party, ask.request_id)
                if known is None:
                    raise
        if same(bytes(known.kept.requests[-1].request), body):
            return await self._repeated(known)
        return await self._edit(peer, known, ask, body)

    # A new one

    async def _new(self, peer: Partner, ask: BookingRequest, body: bytes, party: tuple[str, str]) -> Answered:
        check_tokens(ask)
        if ask.canceled is not None:
            raise wrong("/request_id", "There is no booking of this request to cancel")
        ours = await self._parties.operator_of(TenantId(peer.tenant_id))
        place = await self._place(peer, ask)
        if place is None or ours is None:
            return Answered(document=None, message="There is no such booking location.")
        wanted = ask.option.evse
        if wanted is not None and wanted.casefold() != place.id.casefold():
            raise wrong("/booking_option/evse_uid", f"The booking location is of EVSE '{place.id}'")
        now = self._now()
        said = _place_said(place.body)
        async with self._database.change() as db:
            ident = await queries.next_id(db)
            group = await self._tokens.group_of(db, TenantId(peer.tenant_id), peer.connection_id, ask.tokens[0].uid)
        kept = PartnerBooking(
            terms=said.booking_terms,
            location_id=said.location_id,
            requests=(RequestKept(status=RequestStatus.ACCEPTED, received_at=now, request=Raw(body)),),
            tokens=ask.tokens,
            access_information=ask.access_information,
            reference=ask.authorization_reference,
        )
        stored = StoredBooking(
            id=ident,
            tenant_id=TenantId(peer.tenant_id),
            connection_id=peer.connection_id,
            country_code=party[0],
            party_id=party[1],
            request_id=ask.request_id,
            booking_id=None,
            kept=kept,
        )
        made: list[bytes] = []

        async def within(db: Db, booking: Booking) -> None:
            new = replace(stored, booking_id=booking.id)
            await queries.insert(db, new)
            made.append(await self._tell(db, new, booking, place))

        wish = Wish(
            id_token=ask.tokens[0].uid,
            id_token_type=presented_type(ask.tokens[0]),
            starts_at=ask.starts_at,
            ends_at=ask.ends_at,
            evse_uid=place.id,
            connector_id=ask.option.connector_id,
            may_move=wanted is None,
        )
        partners = PartnersWish(
            driver=driver_of_request(ask, peer.connection_id, ident, (place.country_code, place.party_id)),
            id_token_type=presented_type(ask.tokens[0]),
            other_tokens=tuple(one.uid for one in ask.tokens[1:]),
            group_id=group,
        )
        try:
            await self._bookings.create(_caller(peer), wish, partners, within)
        except (ConflictError, InvalidInputError) as error:
            return await self._rejected(stored, ask, place, str(error))
        self._telling.hint()
        return Answered(document=made[-1])

    async def _rejected(self, stored: StoredBooking, ask: BookingRequest, place: Stored, why: str) -> Answered:
        first = stored.kept.requests[0]
        kept = replace(
            stored.kept,
            rejected=True,
            requests=(replace(first, status=RequestStatus.DECLINED),),
            evse_uid=place.id,
            starts_at=ask.starts_at,
            ends_at=ask.ends_at,
        )
        new = replace(stored, kept=kept)
        async with self._database.change() as db:
            await queries.insert(db, new)
            body = await self._tell(db, new, None, place)
        self._telling.hint()
        return Answered(document=body, message=why[:_LONGEST_SENTENCE])

    async def _place(self, peer: Partner, ask: BookingRequest) -> Stored | None:
        """The booking location that is meant, where the partner may see it.

        Raises:
            InvalidInputError: it is at another location.
        """
        async with self._database.read() as db:
            rule = await documents.publication(db, peer.connection_id)
            found = await documents.seen(
                db, TenantId(peer.tenant_id), BOOKING_LOCATIONS, ask.booking_location_id, peer.connection_id, rule
            )
        if found is None or found.removed_at is not None:
            return None
        said = _place_said(found.body)
        if said.location_id.casefold() != ask.location_id.casefold():
            raise wrong("/location_id", f"The booking location is at '{said.location_id}'")
        return found

    # Changes

    async def _repeated(self, known: StoredBooking) -> Answered:
        async with self._database.read() as db:
            found = await documents.one(db, known.tenant_id, BOOKINGS, str(known.id))
        return Answered(document=None if found is None else found.body)

    async def _edit(self, peer: Partner, known: StoredBooking, ask: BookingRequest, body: bytes) -> Answered:
        caller, now = _caller(peer), self._now()
        booking = None
        if known.booking_id is not None:
            async with self._database.read() as db:
                booking = await booking_queries.one(db, known.tenant_id, known.booking_id)
        if booking is None or booking.state not in (*OPEN, BookingState.USED):
            return await self._declined(known, body, "The booking is over: it stays as it is.")
        late = too_late(known.kept.terms, booking.times.starts_at, now, cancels=ask.canceled is not None)
        if late and booking.state is not BookingState.USED:
            word = "canceled" if ask.canceled is not None else "changed"
            return await self._declined(known, body, f"It is too late: by the terms it cannot be {word} any more.")
        made: list[bytes] = []

        async def within(db: Db, changed: Booking) -> None:
            stored = await queries.of_booking(db, changed.id)
            assert stored is not None
            kept = stored.kept
            if not same(bytes(kept.requests[-1].request), body):
                kept = _with(kept, RequestKept(status=RequestStatus.ACCEPTED, received_at=now, request=Raw(body)))
            kept = replace(
                kept,
                canceled=ask.canceled or kept.canceled,
                access_information=ask.access_information or kept.access_information,
            )
            if ask.canceled is None and ask.tokens and ask.tokens != kept.tokens:
                kept = replace(kept, tokens=ask.tokens)
                await self._other_tokens(db, stored, changed, ask)
                fresh = await booking_queries.locked(db, changed.id)
                assert fresh is not None
                told = fresh.state in (BookingState.ACTIVE, BookingState.USED)
                changed = await let_in(db, fresh) if told else fresh
            await queries.keep(db, stored.id, kept)
            made.append(await self._tell(db, replace(stored, kept=kept), changed, None))

        try:
            if ask.canceled is not None:
                reason = f"{ask.canceled.cancellation_reason} ({ask.canceled.who_canceled})"
                await self._bookings.cancel(caller, booking.id, reason, None, within=within)
            else:
                if ask.tokens:
                    check_tokens(ask)
                    if booking.state not in (BookingState.CREATED, BookingState.CONFIRMED) and (
                        ask.tokens[0].uid.casefold() != known.kept.tokens[0].uid.casefold()
                    ):
                        raise ConflictError("The station has been told the token already: it cannot be another one.")
                await self._bookings.change(caller, booking.id, await self._change(peer, ask, booking), None, within)
        except (ConflictError, InvalidInputError, NotFoundError) as error:
            return await self._declined(known, body, str(error))
        self._telling.hint()
        return Answered(document=made[-1])

    async def _change(self, peer: Partner, ask: BookingRequest, booking: Booking) -> Change:
        place = await self._place(peer, ask)
        if place is None:
            raise ConflictError("There is no such booking location.")
        wanted = ask.option.evse
        if wanted is not None and wanted.casefold() != place.id.casefold():
            raise ConflictError(f"The booking location is of EVSE '{place.id}'.")
        here = (booking.evse_uid, *booking.moved_from)
        times = booking.times
        return Change(
            starts_at=None if ask.starts_at == times.starts_at else ask.starts_at,
            ends_at=None if ask.ends_at == times.ends_at else ask.ends_at,
            # Where we moved it, it stays, unless the provider asks for another place than before.
            evse_uid=None if place.id.casefold() in [uid.casefold() for uid in here] else place.id,
        )

    async def _other_tokens(self, db: Db, stored: StoredBooking, booking: Booking, ask: BookingRequest) -> None:
        assert booking.roaming is not None
        assert booking.roaming.operator is not None
        driver = driver_of_request(ask, stored.connection_id, stored.id, booking.roaming.operator)
        first = ask.tokens[0]
        same_first = token_key(first.uid) == token_key(booking.roaming.uid)
        await let_out(db, booking)
        await booking_queries.set_tokens(
            db,
            booking.id,
            # One that the station knows by another name keeps that.
            booking.id_token if same_first else first.uid,
            presented_type(first),
            [token_key(one.uid) for one in ask.tokens if token_key(one.uid) != token_key(booking.id_token)],
            driver,
        )

    async def _declined(self, known: StoredBooking, body: bytes, why: str) -> Answered:
        async with self._database.change() as db:
            # The booking first, as everybody does: what is told of it now is the newest.
            booking = None if known.booking_id is None else await booking_queries.locked(db, known.booking_id)
            stored = await queries.of_request(
                db, known.connection_id, (known.country_code, known.party_id), known.request_id, locked=True
            )
            assert stored is not None
            kept = stored.kept
            if not same(bytes(kept.requests[-1].request), body):
                kept = _with(
                    kept, RequestKept(status=RequestStatus.DECLINED, received_at=self._now(), request=Raw(body))
                )
                await queries.keep(db, stored.id, kept)
            made = await self._tell(db, replace(stored, kept=kept), booking, None)
        self._telling.hint()
        return Answered(document=made, message=why[:_LONGEST_SENTENCE])

    # What becomes of them

    async def changed(self, fact: Fact) -> None:
        """Something became of a booking: its partner is told, where that is new."""
        said: dict[str, Any] = msgspec.json.decode(fact.payload)
        ident, tenant_id = int(said["id"]), TenantId(fact.tenant_id)
        if said.get("partner") is None:
            return
        async with self._database.change() as db:
            booking = await booking_queries.locked(db, ident)
            stored = None if booking is None else await queries.of_booking(db, ident)
            if booking is None or stored is None or booking.tenant_id != tenant_id:
                return
            await self._tell(db, stored, booking, None)
        self._telling.hint()

    async def _tell(self, db: Db, stored: StoredBooking, booking: Booking | None, place: Stored | None) -> bytes:
        """Writes the document of a booking and has its partner told where it is new; the document."""
        tenant_id = stored.tenant_id
        before = await documents.one(db, tenant_id, BOOKINGS, str(stored.id))
        source = before or place
        assert source is not None
        party = PartyId(source.country_code, source.party_id)
        now = self._now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        said = _now(stored, booking)
        shape = hashlib.blake2b(self._making(said, party, _NEVER), digest_size=16).digest()
        if before is not None:
            known = await documents.shapes(db, tenant_id, BOOKINGS, [str(stored.id)])
            if known.get(str(stored.id)) == shape:
                return before.body
        body = self._making(said, party, now)
        document = NewDocument(
            module=BOOKINGS,
            id=str(stored.id),
            connection_id=stored.connection_id,
            country_code=party.country_code,
            party_id=party.party_id,
            body=body,
            shape=shape,
        )
        await documents.put(db, tenant_id, [document], now)
        await self._telling.note(
            db, tenant_id, BOOKINGS, f"{BOOKING_KEY}{stored.id}", connections=[stored.connection_id]
        )
        return body


_NEVER: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def _now(stored: StoredBooking, booking: Booking | None) -> BookingNow:
    kept = stored.kept
    if booking is None:
        assert kept.starts_at is not None
        assert kept.ends_at is not None
        return BookingNow(
            id=str(stored.id),
            request_id=stored.request_id,
            kept=kept,
            status=ReservationStatus.REJECTED,
            location_id=kept.location_id,
            evse_uid=kept.evse_uid,
            connector_id=None,
            starts_at=kept.starts_at,
            ends_at=kept.ends_at,
            tariff_ids=(),
            power_w=None,
            canceled=None,
        )
    status = status_of(booking.state)
    canceled = None
    if status is ReservationStatus.CANCELED:
        canceled = kept.canceled or canceled_by_us(booking.state, booking.kept_by)
    return BookingNow(
        id=str(stored.id),
        request_id=stored.request_id,
        kept=kept,
        status=status,
        location_id=booking.location_id,
        evse_uid=booking.evse_uid,
        connector_id=booking.connector_id,
        starts_at=booking.times.starts_at,
        ends_at=booking.times.ends_at,
        tariff_ids=() if booking.tariff_id is None else (booking.tariff_id,),
        power_w=booking.power_w or None,
        canceled=canceled,
    )


def _with(kept: PartnerBooking, request: RequestKept) -> PartnerBooking:
    return replace(kept, requests=(*kept.requests[-(MOST_REQUESTS - 1) :], request))


def _caller(peer: Partner) -> Caller:
    return Caller(
        key_id=0,
        tenant_id=TenantId(peer.tenant_id),
        name=f"{_BY} {peer.name}",
        scopes=frozenset({"bookings:read", "bookings:write"}),
    )


class _Place(Struct):
    last_updated: str
    calendars: list[Raw] = []


_place = msgspec.json.Decoder(_Place).decode


class BookingRendering:
    """Makes what is sent of booking locations and bookings: the newest document (a `Renderer` of outgoing)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The message that brings a partner to the newest state."""
        if key.startswith(BOOKING_KEY):
            return await self._booking(peer, key.removeprefix(BOOKING_KEY))
        ident = key.removeprefix(PLACE_KEY)
        async with self._database.read() as db:
            rule = await documents.publication(db, peer.id)
            tenant_id = TenantId(peer.tenant_id)
            found = await documents.seen(db, tenant_id, BOOKING_LOCATIONS, ident, peer.id, rule)
            sent = bool(await roaming_operator.sent_of(db, module, [(peer.id, key)]))
            hidden = None
            if found is None and sent:
                hidden = await documents.one(db, tenant_id, BOOKING_LOCATIONS, ident)
        if found is None and hidden is not None:
            # It saw it and is to see it no more: nothing can be booked there.
            said = msgspec.json.decode(hidden.body)
            said.pop("calendars", None)
            found = replace(hidden, body=msgspec.json.encode(said))
        if found is None or (found.removed_at is not None and not sent):
            return None
        owner = {"country_code": found.country_code, "party_id": found.party_id}
        route = Route(from_party=PartyId(found.country_code, found.party_id))
        path = {**owner, "booking_location_id": found.id}
        place = _place(found.body)
        if hint is None or not sent or len(place.calendars) != 1:
            return Message(row=PUT_PLACE, path=path, body=found.body, route=route)
        calendar = bytes(place.calendars[0])
        said = msgspec.json.decode(calendar)
        path["calendar_id"] = said["id"]
        row = PUT_CALENDAR if peer.quirks.no_patch else PATCH_CALENDAR
        return Message(row=row, path=path, body=calendar, route=route)

    async def _booking(self, peer: Peer, ident: str) -> Message | None:
        async with self._database.read() as db:
            found = await documents.one(db, TenantId(peer.tenant_id), BOOKINGS, ident)
        if found is None or found.connection_id != peer.id:
            return None
        first = msgspec.json.decode(found.body)["booking_requests"][0]["booking_request"]
        return Message(
            row=PUT_BOOKING,
            path={"country_code": found.country_code, "party_id": found.party_id, "booking_id": found.id},
            body=found.body,
            route=Route(
                from_party=PartyId(found.country_code, found.party_id),
                to_party=PartyId(first["country_code"], first["party_id"]),
            ),
        )
