"""Bookings of our drivers at partners' EVSEs (OCPI 2.3.0 mod_bookings, Receiver, and the client of the Sender).

A booking is written down before the partner is asked, with the request_id that it keeps for good: a request that was not answered is sent
again, as it was, until it is, also by another node after a crash. What the partner answers, and what it pushes later, is its Booking, which is
kept as a copy like everything partners own; the state that a driver sees is the one in it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.pulse import Pulse
from chargeplane.app.roaming.asking import Asking, Peers, TokenOf
from chargeplane.app.roaming.places import PartnerLocationView, PartnerPlaces
from chargeplane.app.roaming.ports import Caller as Partners
from chargeplane.app.roaming.ports import Outcome, Route
from chargeplane.app.roaming.replicas import ChangedObject, Owner, Replicas
from chargeplane.domain.roaming.bookings import (
    OVER,
    AskedState,
    CanceledReason,
    RequestStatus,
    Span,
    booking_place_said,
    booking_said,
    wrong,
)
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.replicas import Module, folded
from chargeplane.kernel.errors import ChargeplaneError, ConflictError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import as_utc, rfc3339
from chargeplane.store.database import Database
from chargeplane.store.queries import asked_bookings as queries
from chargeplane.store.queries import own_tokens as token_queries
from chargeplane.store.queries.asked_bookings import AskedBooking, Bookable, NewAsked, Told
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Mark, Position
from chargeplane.store.queries.partner_places import PlaceFilter

log = structlog.get_logger(__name__)

POST_BOOKING: Final = 73
"""Row of the table."""

_KIND: Final = "partner booking"
_LEASE: Final = timedelta(seconds=60)
_LAST_WAIT_S: Final = 300.0
_ATTEMPTS: Final = 40
_AT_ONCE: Final = 20
_LONGEST: Final = timedelta(days=31)


class BookableView(Struct, frozen=True, kw_only=True):
    """What can be booked at a partner.

    Args:
        evse_uid: null: the partner chooses among what fits.
        free_from, free_until: the time around what was asked for that is free.
        terms: OCPI BookingTerms.
    """

    booking_location_id: str
    evse_uid: str | None
    free_from: datetime
    free_until: datetime
    tariff_ids: tuple[str, ...]
    terms: dict[str, Any] | None


class PartnerOffer(Struct, frozen=True, kw_only=True):
    """A partner's Location with what is free there for an interval."""

    location: PartnerLocationView
    bookable: tuple[BookableView, ...]


class AskedBookingView(Struct, frozen=True, kw_only=True):
    """A booking of a driver at a partner, as the partner told it last.

    Args:
        state: sent until the partner answered; pending, reserved, fulfilled, no_show, canceled, rejected, failed.
        last_request: how what was asked last stands: PENDING, ACCEPTED, DECLINED, FAILED.
        booking_id: the partner's.
        access_information: how to get there (OCPI AccessInformation).
        session_id, cdr_ids: what followed, of /v1/roaming/sessions and /v1/roaming/cdrs.
    """

    id: str
    partner: str
    booking_location_id: str
    location_id: str
    evse_uid: str | None
    starts_at: datetime
    ends_at: datetime
    state: AskedState
    last_request: RequestStatus
    message: str | None
    driver_id: str | None
    booking_id: str | None
    access_information: list[dict[str, Any]]
    terms: dict[str, Any] | None
    session_id: str | None
    cdr_ids: tuple[str, ...]
    revision: int
    created_at: datetime
    updated_at: datetime


class WantedThere(Struct, frozen=True, kw_only=True):
    """What is to be booked.

    Args:
        partner: country code and party, as `DE*ABC`.
    """

    partner: str
    booking_location_id: str
    starts_at: datetime
    ends_at: datetime


class AskedBookings:
    """Books at partners.

    Args:
        asking: finds partners and tokens.
        now: the clock.
    """

    def __init__(
        self,
        database: Database,
        partners: Partners,
        peers: Peers,
        asking: Asking,
        replicas: Replicas,
        places: PartnerPlaces,
        events: EventFeed,
        *,
        every_s: float = 1.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._partners = partners
        self._peers = peers
        self._asking = asking
        self._replicas = replicas
        self._places = places
        self._events = events
        self._now = now
        self._pulse = Pulse("roaming-bookings", every_s, self.again)

    async def start(self) -> None:
        """Begins to look at what was not answered."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    # What partners tell

    async def places_came(self, db: Db, changed: Sequence[ChangedObject]) -> None:
        """Hook of the copies: booking locations were written."""
        for one in changed:
            said = booking_place_said(one.document) if one.document else None
            if said is None:
                await queries.drop_bookable(db, one.key)
                continue
            evse = None if said.booking_option is None else said.booking_option.evse_uid
            place = Bookable(
                object_key=one.key,
                tenant_id=TenantId(one.tenant_id),
                connection_id=one.connection_id,
                country_code=one.country_code,
                party_id=one.party_id,
                id=said.id,
                location_key=folded(said.location_id),
                evse_key=None if evse is None else folded(evse),
                document=one.document,
            )
            await queries.put_bookable(db, place, said.free)

    async def came(self, db: Db, changed: Sequence[ChangedObject]) -> None:
        """Hook of the copies: bookings were written."""
        for one in changed:
            said = booking_said(one.document) if one.document else None
            if said is None:
                continue
            evse = None if said.booking_option is None else said.booking_option.evse
            asked = await queries.told(
                db,
                Told(
                    tenant_id=TenantId(one.tenant_id),
                    connection_id=one.connection_id,
                    country_code=one.country_code,
                    party_id=one.party_id,
                    request_id=said.request_id,
                    booking_id=said.id,
                    state=said.state,
                    asked=said.asked,
                    evse_uid=evse,
                    starts_at=as_utc(said.period.start_date_time),
                    ends_at=as_utc(said.period.end_date_time),
                    document=one.document,
                ),
            )
            if asked is None:
                log.info("partner_booking_of_nobody", partner=f"{one.country_code}*{one.party_id}", booking=said.id)

    def written(self, changed: Sequence[ChangedObject]) -> None:
        """After the commit: shown to whoever watches."""
        for one in changed:
            said = booking_said(one.document) if one.document and self._events.active else None
            if said is not None:
                self._events.publish(
                    "partner_booking.updated",
                    TenantId(one.tenant_id),
                    None,
                    {
                        "partner": f"{one.country_code}*{one.party_id}",
                        "booking_id": said.id,
                        "request_id": said.request_id,
                        "state": said.state,
                    },
                )

    # Looking

    async def offers(
        self, caller: Caller, wanted: PlaceFilter, span: Span, limit: int, after: Position | None
    ) -> list[tuple[Mark, PartnerOffer]]:
        """Partners' Locations where something is free for an interval, the nearest first.

        Raises:
            InvalidInputError: the interval cannot be meant.
        """
        _check(span, self._now())
        found = await self._places.search(caller, replace(wanted, bookable=span), limit, after)
        keys = [(*view.partner.split("*"), folded(view.id)) for _, view in found]
        async with self._database.read() as db:
            free = await queries.free_at(
                db, TenantId(caller.tenant_id), [(one[0], one[1], one[2]) for one in keys], span
            )
        by_place: dict[tuple[str, str, str], list[BookableView]] = {}
        for place, around in free:
            by_place.setdefault((place.country_code, place.party_id, place.location_key), []).append(
                _bookable(place, around)
            )
        return [
            (at, PartnerOffer(location=view, bookable=tuple(by_place.get((key[0], key[1], key[2]), ()))))
            for (at, view), key in zip(found, keys, strict=True)
        ]

    async def page(
        self, caller: Caller, limit: int, after: Position | None, *, driver_id: int | None, state: AskedState | None
    ) -> list[AskedBookingView]:
        """Bookings, newest first."""
        async with self._database.read() as db:
            found = await queries.page(
                db, TenantId(caller.tenant_id), driver_id=driver_id, state=state, limit=limit, after=after
            )
            return [_view(one, await queries.costs(db, one)) for one in found]

    async def one(self, caller: Caller, ident: int, *, driver_id: int | None = None) -> AskedBookingView:
        """A booking.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        found = await self._one(caller, ident, driver_id)
        async with self._database.read() as db:
            return _view(found, await queries.costs(db, found))

    async def _one(self, caller: Caller, ident: int, driver_id: int | None) -> AskedBooking:
        async with self._database.read() as db:
            found = await queries.one(db, TenantId(caller.tenant_id), ident)
        if found is None or (driver_id is not None and found.driver_id != driver_id):
            raise NotFoundError("booking", str(ident))
        return found

    # Asking

    async def book(self, caller: Caller, wanted: WantedThere, token: TokenOf) -> AskedBookingView:
        """Asks a partner for an EVSE and an interval.

        Raises:
            InvalidInputError: there is no such partner or place, or the interval cannot be meant.
            ConflictError: the partner takes no bookings, cannot be asked, or rejected it.
        """
        span = Span(as_utc(wanted.starts_at).replace(microsecond=0), as_utc(wanted.ends_at).replace(microsecond=0))
        _check(span, self._now())
        tenant_id = TenantId(caller.tenant_id)
        peer, party = await self._asking.partner(tenant_id, wanted.partner)
        if peer.url_of("bookings", "SENDER") is None:
            raise ConflictError(
                f"The partner '{peer.name}' takes no bookings; it may keep an EVSE from now on instead."
            )
        operator = (party.country_code.upper(), party.party_id.upper())
        async with self._database.read() as db:
            place = await queries.bookable(db, tenant_id, operator, wanted.booking_location_id)
        said = None if place is None else booking_place_said(place.document)
        if place is None or said is None:
            raise wrong("/booking_location_id", f"{wanted.partner} has nothing to be booked by this name")
        own, given = await self._asking.token(tenant_id, peer, token)
        option = {} if said.booking_option is None else {"evse_uid": said.booking_option.evse_uid}
        request: dict[str, Any] = {
            "country_code": own.country_code,
            "party_id": own.party_id,
            "request_id": secrets.token_hex(16),
            "location_id": said.location_id,
            "booking_location_id": said.id,
            **({"booking_option": option} if option.get("evse_uid") else {}),
            "tokens": [
                {
                    "country_code": own.country_code,
                    "party_id": own.party_id,
                    "uid": own.uid,
                    "type": own.type,
                    "contract_id": own.contract_id,
                }
            ],
            "period": _period(span),
            "authorization_reference": given.reference,
        }
        new = NewAsked(
            tenant_id=tenant_id,
            connection_id=peer.id,
            country_code=operator[0],
            party_id=operator[1],
            request_id=request["request_id"],
            reference=given.reference,
            driver_id=caller.driver_id or given.driver_id,
            id_token_id=given.id_token_id,
            booking_location_id=said.id,
            location_id=said.location_id,
            evse_uid=option.get("evse_uid"),
            starts_at=span.start,
            ends_at=span.end,
            request=msgspec.json.encode(request),
            requested_by=caller.actor,
        )
        async with self._database.change() as db:
            await token_queries.note_given(db, [given])
            ident = await queries.insert(db, new, self._now() + _LEASE)
            await self._audit(db, caller, "create", ident, wanted)
        return await self._sent(caller, ident, "The partner rejected the booking")

    async def change(
        self, caller: Caller, ident: int, starts_at: datetime | None, ends_at: datetime | None, driver_id: int | None
    ) -> AskedBookingView:
        """Asks for another interval.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
            ConflictError: it is over, was not answered yet, or the partner declined.
        """
        found = await self._open(caller, ident, driver_id)
        span = Span(
            found.starts_at if starts_at is None else as_utc(starts_at).replace(microsecond=0),
            found.ends_at if ends_at is None else as_utc(ends_at).replace(microsecond=0),
        )
        _check(span, self._now() if starts_at is not None else None)
        return await self._edit(caller, found, {"period": _period(span)}, "update", span)

    async def cancel(
        self, caller: Caller, ident: int, reason: CanceledReason, driver_id: int | None
    ) -> AskedBookingView:
        """Asks to end it. The rest is as at `change`."""
        found = await self._open(caller, ident, driver_id)
        canceled = {"cancellation_reason": reason.value, "who_canceled": "EMSP"}
        return await self._edit(caller, found, {"canceled": canceled}, "cancel", canceled)

    async def _open(self, caller: Caller, ident: int, driver_id: int | None) -> AskedBooking:
        found = await self._one(caller, ident, driver_id)
        if found.state in OVER:
            raise ConflictError(f"Booking {ident} is {found.state.value}: it stays as it is.")
        if found.due_at is not None:
            raise ConflictError(f"The partner has not answered yet what was asked of booking {ident} before.")
        return found

    async def _edit(
        self, caller: Caller, found: AskedBooking, changes: dict[str, Any], action: str, after: object
    ) -> AskedBookingView:
        request: dict[str, Any] = msgspec.json.decode(found.request)
        request["period"] = _period(Span(found.starts_at, found.ends_at))
        request.pop("canceled", None)
        body = msgspec.json.encode({**request, **changes})
        async with self._database.change() as db:
            current = await queries.one(db, found.tenant_id, found.id, locked=True)
            if current is None or current.revision != found.revision:
                raise ConflictError(f"Booking {found.id} was changed meanwhile; look at it again.")
            await queries.ask(db, found.id, body, self._now() + _LEASE)
            await self._audit(db, caller, action, found.id, after)
        return await self._sent(caller, found.id, "The partner declined")

    async def _audit(self, db: Db, caller: Caller, action: str, ident: int, after: object) -> None:
        await audit(db, caller.tenant_id, actor=caller.actor, action=action, kind=_KIND, ident=str(ident), after=after)

    async def _sent(self, caller: Caller, ident: int, refusal: str) -> AskedBookingView:
        found = await self._one(caller, ident, None)
        await self._send(found)
        view = await self.one(caller, ident)
        if view.last_request in (RequestStatus.DECLINED, RequestStatus.FAILED) or view.state is AskedState.REJECTED:
            raise ConflictError(f"{refusal}: {view.message or 'it did not say why'}")
        return view

    async def again(self) -> None:
        """Sends what was not answered again."""
        now = self._now()
        async with self._database.change() as db:
            found = await queries.due(db, now, now + _LEASE, _AT_ONCE)
        await asyncio.gather(*(self._guarded(one) for one in found))

    async def _guarded(self, asked: AskedBooking) -> None:
        try:
            await self._send(asked)
        except Exception as error:
            log.warning("partner_booking_again", booking=asked.id, error=str(error))

    async def _send(self, asked: AskedBooking) -> None:
        peer = await self._peers.get(asked.connection_id)
        if peer is None or peer.tenant_id != asked.tenant_id:
            await self._failed(asked, "The partner is gone.", again=False)
            return
        ours = peer.own_party(PartyRole.EMSP)
        party = PartyId(asked.country_code, asked.party_id)
        route = Route(from_party=None if ours is None else ours.id, to_party=party)
        outcome = await self._partners.call(peer, POST_BOOKING, body=asked.request, route=route)
        if outcome.ok and await self._took(peer, asked, outcome):
            return
        sentence = outcome.sentence or "The partner's answer could not be understood."
        # Where the answer is of no use, the partner may have taken the booking; a repeat is answered with what became of it.
        again = outcome.failure is None or outcome.failure.passes or outcome.failure.unknown
        await self._failed(asked, sentence, again=again)

    async def _took(self, peer: Peer, asked: AskedBooking, outcome: Outcome) -> bool:
        said = None if outcome.data is None else booking_said(outcome.data)
        if outcome.data is None or said is None or said.request_id.lower() != asked.request_id.lower():
            return False
        owner = Owner(asked.tenant_id, peer.id, asked.country_code, asked.party_id)
        try:
            await self._replicas.put(owner, Module.BOOKINGS, said.id, outcome.data)
        except ChargeplaneError as error:
            log.warning("partner_booking_not_kept", booking=asked.id, error=str(error))
            return False
        async with self._database.change() as db:
            await queries.answered(db, asked.id, outcome.message)
        return True

    async def _failed(self, asked: AskedBooking, sentence: str, *, again: bool) -> None:
        now = self._now()
        at: datetime | None = now + timedelta(seconds=min(2.0 ** min(asked.attempts, 10), _LAST_WAIT_S))
        if not again or asked.attempts >= _ATTEMPTS or now >= asked.ends_at:
            at = None
        async with self._database.change() as db:
            await queries.failed(db, asked.id, sentence[:1000], at)


def _check(span: Span, now: datetime | None) -> None:
    """That an interval can be meant; what exactly may be booked the partner decides.

    Args:
        now: None: its beginning may lie in the past.
    """
    if span.end <= span.start:
        raise wrong("/ends_at", "Must be after starts_at")
    if span.end - span.start > _LONGEST:
        raise wrong("/ends_at", f"A booking lasts at most {_LONGEST.days} days")
    if now is not None and span.end <= now:
        raise wrong("/ends_at", "Must be in the future")


def _period(span: Span) -> dict[str, str]:
    return {"start_date_time": rfc3339(span.start), "end_date_time": rfc3339(span.end)}


def _bookable(place: Bookable, around: Span) -> BookableView:
    said = booking_place_said(place.document)
    option = None if said is None else said.booking_option
    terms = None if said is None else said.booking_terms
    return BookableView(
        booking_location_id=place.id,
        evse_uid=None if option is None else option.evse_uid,
        free_from=around.start,
        free_until=around.end,
        tariff_ids=() if said is None else said.tariff_ids,
        terms=terms,
    )


def _view(asked: AskedBooking, costs: queries.Costs) -> AskedBookingView:
    document: dict[str, Any] = {} if asked.document is None else msgspec.json.decode(asked.document)
    return AskedBookingView(
        id=str(asked.id),
        partner=f"{asked.country_code}*{asked.party_id}",
        booking_location_id=asked.booking_location_id,
        location_id=asked.location_id,
        evse_uid=asked.evse_uid,
        starts_at=asked.starts_at,
        ends_at=asked.ends_at,
        state=asked.state,
        last_request=asked.asked,
        message=asked.message,
        driver_id=None if asked.driver_id is None else str(asked.driver_id),
        booking_id=asked.booking_id,
        access_information=document.get("access_information") or [],
        terms=document.get("booking_terms"),
        session_id=None if costs.session_key is None else str(costs.session_key),
        cdr_ids=tuple(str(key) for key in costs.cdr_keys),
        revision=asked.revision,
        created_at=asked.created_at,
        updated_at=asked.updated_at,
    )
