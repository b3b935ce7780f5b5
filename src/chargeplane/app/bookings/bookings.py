"""Bookings as drivers and operators make them: searched, held, changed, canceled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import asyncpg
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.bookings.letting_in import let_in, let_out
from chargeplane.app.bookings.offers import Offer, Prices, Search, is_open_at, whole, wrong
from chargeplane.app.bookings.ports import Agreements, Drivers, NoAgreements, NoDrivers
from chargeplane.app.bookings.telling import Telling
from chargeplane.app.bookings.views import BookingView, view_of
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.commands import Commands, Send
from chargeplane.app.house import utc_now
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.authorization import IdTokenRecord, matching, token_key
from chargeplane.domain.bookings.fees import BookingCharge, FeeKind, rate_fee
from chargeplane.domain.bookings.policy import BookingPolicy
from chargeplane.domain.bookings.states import OPEN, BookingState, allowed_after
from chargeplane.domain.bookings.terms import BookingTerms, cancels_free, check_interval, terms_of
from chargeplane.domain.bookings.times import next_due, times_of
from chargeplane.domain.cdrs.session import RoamingDriver
from chargeplane.domain.commands import CommandOutcome, Start
from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.messages import AuthorizationStatus, IdToken
from chargeplane.domain.rating import Rating
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError, RuleError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.money import Money
from chargeplane.kernel.time import later, rfc3339
from chargeplane.store.database import Database
from chargeplane.store.queries import booking_holds, booking_search, id_tokens
from chargeplane.store.queries import bookings as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.booking_search import FreeEvse, Wanted
from chargeplane.store.queries.bookings import Booking, BookingFilter, NewBooking, Taken
from chargeplane.store.queries.paging import Db, Mark, Position
from chargeplane.store.queries.session_transactions import SessionTransaction

_KIND: Final = "booking"
_LATE: Final = timedelta(seconds=60)
"""A beginning so long past is taken as now."""
_LOOKED_AT: Final = 2000
"""EVSEs that one search looks at where price or opening times leave most of them out."""
_TRIES: Final = 3
_HOLDING_PAYMENTS: Final = frozenset({"created", "requires_action", "authorized"})
_LONGEST_VIEW: Final = timedelta(days=31)

T = TypeVar("T")


class Wish(Struct, frozen=True, kw_only=True):
    """What is to be booked.

    Args:
        evse_uid: or a location, where the first fitting EVSE is taken.
        confirm: False: only held, until it is confirmed.
        may_move: to an equal EVSE at the same location where this one is not to be had.
        payment_id: a payment that holds money for it; fees are taken of it, and the session that uses the booking.
    """

    id_token: str
    ends_at: datetime
    starts_at: datetime | None = None
    id_token_type: str | None = None
    driver_id: str | None = None
    evse_uid: str | None = None
    location_id: str | None = None
    connector_id: str | None = None
    standard: str | None = None
    current: str | None = None
    min_power_w: int | None = None
    payment_method: PaymentMethod | None = None
    energy_wh: Decimal | None = None
    confirm: bool = True
    may_move: bool = True
    payment_id: int | None = None


class PartnersWish(Struct, frozen=True, kw_only=True):
    """That a booking is for a partner's driver.

    Args:
        driver: who.
        other_tokens: further id tokens that may use it.
        group_id: of the tokens.
    """

    driver: RoamingDriver
    id_token_type: str
    other_tokens: tuple[str, ...] = ()
    group_id: str | None = None


Within = Callable[[Db, Booking], Awaitable[None]]
"""Does more in the database transaction of a change, with the booking as it is then."""


class Change(Struct, frozen=True, kw_only=True):
    """What is to be another way; None stays."""

    starts_at: datetime | None = None
    ends_at: datetime | None = None
    evse_uid: str | None = None
    may_move: bool | None = None


class UsedBooking(Struct, frozen=True, kw_only=True):
    """The booking that a session used, for its rating.

    Args:
        reserved_from: the EVSE was kept from then until the session began.
    """

    booking_id: str
    reserved_from: datetime
    ends_at: datetime
    agreement_id: str | None


class EvseTimeline(Struct, frozen=True, kw_only=True):
    """When an EVSE is booked.

    Args:
        free_until: from now; None: no booking is known of. Not set while it is booked.
        booked_until: where it is booked now.
    """

    evse_uid: str
    taken: Sequence[Taken]
    free_until: datetime | None
    booked_until: datetime | None


class Bookings:
    """Use cases about bookings.

    Args:
        now: the clock.
    """

    def __init__(
        self,
        database: Database,
        tariffs: Tariffs,
        commands: Commands,
        telling: Telling,
        agreements: Agreements | None = None,
        drivers: Drivers | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._tariffs = tariffs
        self._telling = telling
        self._now = now
        self.agreements: Agreements = agreements or NoAgreements()
        self._drivers: Drivers = drivers or NoDrivers()
        self.on_policy: list[Callable[[], None]] = []
        """Called after a tenant's policy was changed."""
        commands.wholes[Start] = self._guarded_start

    # Looked up by others

    async def of_transaction(self, tenant_id: TenantId, transaction_id: int) -> UsedBooking | None:
        """The booking that a session used."""
        async with self._database.read() as db:
            found = await queries.of_transaction(db, tenant_id, transaction_id)
        if found is None:
            return None
        return UsedBooking(
            booking_id=str(found.id),
            reserved_from=found.times.starts_at,
            ends_at=found.times.ends_at,
            agreement_id=found.terms.agreement_id,
        )

    async def reserved_from(self, transaction: SessionTransaction) -> datetime | None:
        """When the booking that a session uses began; None where it uses none, or the agreement's fee is its price."""
        async with self._database.read() as db:
            found = await queries.for_transaction(db, transaction.tenant_id, transaction.id)
        return None if found is None or found.terms.fee is not None else found.times.starts_at

    # What a tenant wants

    async def policy(self, caller: Caller) -> BookingPolicy:
        """What the tenant wants of bookings."""
        async with self._database.read() as db:
            return await queries.policy(db, caller.tenant_id)

    async def put_policy(self, caller: Caller, wanted: BookingPolicy) -> BookingPolicy:
        """What the tenant wants of bookings from now on; those that were made keep their times and terms.

        Raises:
            InvalidInputError: the shortest is longer than the longest.
        """
        if wanted.min_s > wanted.max_s:
            sentence = "Must not be more than max_s"
            raise InvalidInputError(f"'min_s': {sentence}.", (("/min_s", sentence),))
        async with self._database.change() as db:
            before = await queries.policy(db, caller.tenant_id)
            await queries.put_policy(db, caller.tenant_id, wanted)
            for listener in self.on_policy:
                self._database.after_commit(db, listener)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="update",
                kind="booking policy",
                ident="policy",
                before=before,
                after=wanted,
            )
        return wanted

    # Search

    async def offers(
        self, caller: Caller, search: Search, limit: int, after: Position | None
    ) -> list[tuple[Mark, Offer]]:
        """EVSEs that are free for an interval with their prices, the nearest first; at most `limit`.

        Raises:
            InvalidInputError: the interval cannot be booked.
        """
        now = self._now()
        starts_at, ends_at = whole(search.starts_at or now), whole(search.ends_at)
        async with self._database.read() as db:
            policy = await queries.policy(db, caller.tenant_id)
        check_interval(replace(terms_of(policy, None), min_s=0), starts_at, ends_at, now)
        times = times_of(policy, starts_at, ends_at)
        wanted = Wanted(
            starts_at=starts_at,
            blocked_until=times.blocked_until,
            near=search.near,
            location_id=search.location_id,
            evse_uid=search.evse_uid,
            standard=search.standard,
            current=search.current,
            min_power_w=search.min_power_w,
            payment_method=search.payment_method,
            free_now=search.available or starts_at <= now + timedelta(seconds=policy.lead_s),
        )
        prices = Prices(self._tariffs, self.agreements, caller.tenant_id, search, starts_at, ends_at)
        found: list[tuple[Mark, Offer]] = []
        looked = 0
        while len(found) < limit and looked < _LOOKED_AT:
            async with self._database.read() as db:
                some = await booking_search.free(db, caller.tenant_id, wanted, limit, after)
            for evse in some:
                place = (evse.distance_m or 0.0, evse.location_key, evse.key)
                after = Position(place)
                if search.open and not is_open_at(evse, starts_at):
                    continue
                offer = await prices.offer(evse)
                if search.max_price is None or (offer.rating is not None and offer.rating.due.incl <= search.max_price):
                    found.append((place, offer))
            looked += len(some)
            if len(some) < limit:
                break
        return found[:limit]

    async def timeline(
        self,
        caller: Caller,
        location_id: str | None,
        evse_uid: str | None,
        since: datetime | None,
        until: datetime | None,
    ) -> list[EvseTimeline]:
        """When the EVSEs of a location, or one, are booked, and until when they are free: for walk-in drivers and planners.

        Raises:
            InvalidInputError: neither is named, or the span is longer than a month.
        """
        if location_id is None and evse_uid is None:
            sentence = "Give location_id or evse_uid"
            raise InvalidInputError(f"'location_id': {sentence}.", (("/location_id", sentence),))
        now = self._now()
        start = since or now
        end = until or later(start, timedelta(days=1))
        if not start < end <= later(start, _LONGEST_VIEW):
            sentence = f"Must be after 'from', by at most {_LONGEST_VIEW.days} days"
            raise InvalidInputError(f"'to': {sentence}.", (("/to", sentence),))
        async with self._database.read() as db:
            evses = await booking_search.evses_at(db, caller.tenant_id, location_id, evse_uid)
            keys = [key for key, _ in evses]
            taken = await queries.taken(db, caller.tenant_id, keys, start, end)
            ahead = await queries.taken(db, caller.tenant_id, keys, now, now + timedelta(days=366))
        if not evses and evse_uid is not None:
            raise NotFoundError("EVSE", evse_uid)
        made = []
        for _, uid in evses:
            mine = [one for one in ahead if one.evse_uid == uid]
            holds = next((one for one in mine if one.starts_at <= now), None)
            made.append(
                EvseTimeline(
                    evse_uid=uid,
                    taken=[one for one in taken if one.evse_uid == uid],
                    booked_until=None if holds is None else holds.until,
                    free_until=mine[0].starts_at if mine and holds is None else None,
                )
            )
        return made

    # Bookings

    async def page(
        self, caller: Caller, wanted: BookingFilter, limit: int, after: Position | None
    ) -> list[BookingView]:
        """Bookings, newest first; at most `limit`."""
        async with self._database.read() as db:
            return [view_of(one) for one in await queries.page(db, caller.tenant_id, wanted, limit, after)]

    async def one(self, caller: Caller, ident: int) -> BookingView:
        """A booking.

        Raises:
            NotFoundError: the tenant has no such booking.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return view_of(found)

    async def create(
        self, caller: Caller, wish: Wish, partners: PartnersWish | None = None, within: Within | None = None
    ) -> BookingView:
        """Holds an EVSE for an interval.

        Args:
            partners: for a partner's driver, whose token is not ours: no agreement of ours applies.
            within: done in the same transaction.
        Raises:
            InvalidInputError: the interval, the EVSE or the id token cannot be meant.
            ConflictError: it is booked, or the driver has as many bookings as may be; the sentence says what is free.
        """
        now = self._now()
        starts_at = whole(wish.starts_at or now)
        if starts_at < now - _LATE:
            raise wrong("starts_at", "Must not be in the past")
        starts_at, ends_at = max(starts_at, whole(now)), whole(wish.ends_at)
        async with self._database.read() as db:
            policy = await queries.policy(db, caller.tenant_id)
            if partners is None:
                record = await self._record(db, caller.tenant_id, wish.id_token, wish.id_token_type, starts_at)
            else:
                record = IdTokenRecord(
                    value=wish.id_token, type=partners.id_token_type, status=AuthorizationStatus.ACCEPTED,
                    group_id=partners.group_id,
                )  # fmt: skip
        if wish.driver_id is None and partners is None:
            kind = wish.id_token_type or record.type
            driver = await self._drivers.driver_of_token(caller.tenant_id, kind, wish.id_token)
            wish = replace(wish, driver_id=driver)
        check_interval(replace(terms_of(policy, None), max_s=1e9, max_ahead_s=1e9), starts_at, ends_at, now)
        search = Search(
            starts_at=starts_at,
            ends_at=ends_at,
            energy_wh=wish.energy_wh,
            id_token=wish.id_token,
            id_token_type=wish.id_token_type,
            driver_id=wish.driver_id,
        )
        agreements = self.agreements if partners is None else NoAgreements()
        prices = Prices(self._tariffs, agreements, caller.tenant_id, search, starts_at, ends_at)
        candidates = await self._candidates(caller, wish, policy, starts_at, ends_at, now)
        for evse in candidates:
            offer = await prices.offer(evse, wish.connector_id)
            terms = terms_of(policy, None if offer.agreed is None else offer.agreed.terms)
            check_interval(terms, starts_at, ends_at, now)
            if not is_open_at(evse, starts_at):
                if wish.evse_uid is None:
                    continue
                raise wrong("starts_at", f"'{evse.location_id}' is closed then, by its opening times")
            try:
                insert = partial(
                    self._insert,
                    caller,
                    wish,
                    record,
                    policy,
                    evse,
                    offer,
                    terms,
                    starts_at,
                    ends_at,
                    now,
                    partners,
                    within,
                )
                ident = await _again(insert)
            except asyncpg.ExclusionViolationError:
                continue
            return await self.one(caller, ident)
        raise await self._taken(caller, wish, policy, starts_at, ends_at)

    async def confirm(self, caller: Caller, ident: int, if_revision: int | None) -> BookingView:
        """Makes a booking that is only held one that counts. One that is confirmed already stays as it is.

        Raises:
            NotFoundError: the tenant has no such booking.
            ConflictError: it is over.
            StaleError: it has another revision.
        """
        now = self._now()
        async with self._database.change() as db:
            booking = await self._locked(db, caller, ident, if_revision)
            if booking.state is BookingState.CREATED:
                await self._confirm(db, booking, now)
                await self._audit(db, caller, "confirm", booking, None)
            elif booking.state not in OPEN:
                raise ConflictError(f"Booking {ident} is {booking.state.value}: {allowed_after(booking.state)}.")
        return await self.one(caller, ident)

    async def change(
        self, caller: Caller, ident: int, wanted: Change, if_revision: int | None, within: Within | None = None
    ) -> BookingView:
        """Another interval or EVSE: all of it, or nothing where something stands against it.

        Args:
            within: done in the same transaction.
        Raises:
            NotFoundError: the tenant has no such booking.
            InvalidInputError: it cannot be meant.
            ConflictError: the EVSE is booked then, or the booking's state forbids it.
            StaleError: it has another revision.
        """
        await _again(lambda: self._change(caller, ident, wanted, if_revision, within))
        return await self.one(caller, ident)

    async def cancel(
        self,
        caller: Caller,
        ident: int,
        reason: str | None,
        if_revision: int | None,
        *,
        waive_fee: bool = False,
        within: Within | None = None,
    ) -> BookingView:
        """Gives the EVSE free. Later than the terms' free limit it costs their fee.

        Args:
            waive_fee: not here.
            within: done in the same transaction.
        Raises:
            NotFoundError: the tenant has no such booking.
            ConflictError: it is in use, or over.
            StaleError: it has another revision.
        """
        now = self._now()
        async with self._database.change() as db:
            booking = await self._locked(db, caller, ident, if_revision)
            if booking.state not in OPEN:
                raise ConflictError(f"Booking {ident} is {booking.state.value}: {allowed_after(booking.state)}.")
            await queries.set_state(db, ident, BookingState.CANCELED, reason=reason, ended_at=now)
            await booking_holds.give_free(db, ident, now)
            await let_out(db, booking)
            fee = booking.terms.fee
            owed = booking.state is not BookingState.CREATED and not waive_fee
            if fee is not None and owed and not cancels_free(booking.terms, booking.times.starts_at, now):
                zone = ZoneInfo(booking.time_zone)
                start, end = booking.times.starts_at, booking.times.ends_at
                rating = rate_fee(FeeKind.CANCELLATION, fee, start, end, zone)
                made = BookingCharge(kind=FeeKind.CANCELLATION, at=now, rating=rating)
                await self._telling.charge(db, booking, made)
            await self._audit(db, caller, "cancel", booking, reason)
            await self._telling.note(db, booking, "canceled")
            await self._within(db, ident, within)
        return await self.one(caller, ident)

    # Within

    async def _candidates(
        self,
        caller: Caller,
        wish: Wish,
        policy: BookingPolicy,
        starts_at: datetime,
        ends_at: datetime,
        now: datetime,
    ) -> list[FreeEvse]:
        if wish.evse_uid is None and wish.location_id is None:
            raise wrong("evse_uid", "Give evse_uid or location_id")
        wanted = Wanted(
            starts_at=starts_at,
            blocked_until=times_of(policy, starts_at, ends_at).blocked_until,
            location_id=wish.location_id,
            evse_uid=wish.evse_uid,
            standard=wish.standard,
            current=wish.current,
            min_power_w=wish.min_power_w,
            payment_method=wish.payment_method,
            # An EVSE that is named is taken as it is: the driver may be standing in front of it.
            free_now=wish.evse_uid is None and starts_at <= now + timedelta(seconds=policy.lead_s),
        )
        async with self._database.read() as db:
            found = await booking_search.free(db, caller.tenant_id, wanted, 20)
            there = await booking_search.evses_at(db, caller.tenant_id, wish.location_id, wish.evse_uid)
        if not there:
            name = "evse_uid" if wish.evse_uid is not None else "location_id"
            raise wrong(name, f"There is no EVSE at '{wish.evse_uid or wish.location_id}'")
        return found

    async def _insert(
        self,
        caller: Caller,
        wish: Wish,
        record: IdTokenRecord,
        policy: BookingPolicy,
        evse: FreeEvse,
        offer: Offer,
        terms: BookingTerms,
        starts_at: datetime,
        ends_at: datetime,
        now: datetime,
        partners: PartnersWish | None,
        within: Within | None,
    ) -> int:
        times = times_of(policy, starts_at, ends_at)
        confirm_by = now + timedelta(seconds=policy.hold_s)
        async with self._database.change() as db:
            await queries.lock_driver(db, caller.tenant_id, wish.driver_id or token_key(wish.id_token))
            count = await queries.count_open(db, caller.tenant_id, wish.id_token, wish.driver_id)
            if count >= terms.max_at_a_time:
                raise ConflictError(
                    f"The driver has {count} bookings ahead, and {terms.max_at_a_time} may be: cancel one of them first."
                )
            if wish.payment_id is not None:
                await self._check_payment(db, caller, wish.payment_id)
            await queries.lock_evse(db, evse.key)
            ident = await queries.insert(
                db,
                caller.tenant_id,
                NewBooking(
                    evse_key=evse.key,
                    connector_id=wish.connector_id and offer.connector.id,
                    standard=offer.connector.standard,
                    power_w=offer.connector.power_w,
                    times=times,
                    state=BookingState.CREATED,
                    id_token=wish.id_token,
                    id_token_type=wish.id_token_type or record.type,
                    group_id=record.group_id,
                    driver_id=wish.driver_id,
                    terms=terms,
                    tariff_id=None if offer.tariff is None else offer.tariff.id,
                    tariff_version=None if offer.tariff is None else offer.tariff.version,
                    price=_price(offer.rating),
                    may_move=wish.may_move,
                    confirm_by=confirm_by,
                    due_at=confirm_by,
                    requested_by=caller.actor,
                    payment_id=wish.payment_id,
                    roaming=None if partners is None else partners.driver,
                    other_keys=() if partners is None else tuple(token_key(one) for one in partners.other_tokens),
                ),
            )
            booking = await queries.locked(db, ident)
            assert booking is not None
            await self._audit(db, caller, "create", booking, None)
            await self._telling.note(db, booking, "created")
            if wish.confirm:
                await self._confirm(db, booking, now)
            await self._within(db, ident, within)
        return ident

    async def _within(self, db: Db, ident: int, within: Within | None) -> None:
        if within is not None:
            now = await queries.locked(db, ident)
            assert now is not None
            await within(db, now)

    async def _check_payment(self, db: Db, caller: Caller, ident: int) -> None:
        state = await queries.payment_free(db, caller.tenant_id, ident)
        if state is None:
            raise wrong("payment_id", f"There is no payment '{ident}' that is for no session or booking yet")
        if state not in _HOLDING_PAYMENTS:
            raise wrong("payment_id", f"The payment is {state}: it holds nothing")

    async def _confirm(self, db: Db, booking: Booking, now: datetime) -> None:
        due = next_due(BookingState.CONFIRMED, booking.times, confirm_by=None, announced=False)
        await queries.set_state(db, booking.id, BookingState.CONFIRMED, due_at=due)
        await self._telling.note(db, booking, "confirmed")

    async def _change(
        self, caller: Caller, ident: int, wanted: Change, if_revision: int | None, within: Within | None
    ) -> None:
        now = self._now()
        async with self._database.change() as db:
            booking = await self._locked(db, caller, ident, if_revision)
            policy = await queries.policy(db, caller.tenant_id)
            used = booking.state is BookingState.USED
            if booking.state not in OPEN and not used:
                raise ConflictError(f"Booking {ident} is {booking.state.value}: {allowed_after(booking.state)}.")
            if used and (wanted.starts_at is not None or wanted.evse_uid is not None):
                raise ConflictError(f"Booking {ident} is in use: {allowed_after(booking.state)}.")
            starts_at = whole(wanted.starts_at) if wanted.starts_at is not None else booking.times.starts_at
            ends_at = whole(wanted.ends_at) if wanted.ends_at is not None else booking.times.ends_at
            if wanted.starts_at is not None and starts_at != booking.times.starts_at and starts_at < now - _LATE:
                raise wrong("starts_at", "Must not be in the past")
            if wanted.ends_at is not None and ends_at <= now:
                raise wrong("ends_at", "Must be in the future")
            check_interval(booking.terms, starts_at, ends_at, now)
            times = times_of(policy, starts_at, ends_at)
            evse_key, connector_id = booking.evse_key, booking.connector_id
            if wanted.evse_uid is not None and wanted.evse_uid.casefold() != booking.evse_uid.casefold():
                there = await booking_search.evses_at(db, caller.tenant_id, None, wanted.evse_uid)
                if not there:
                    raise wrong("evse_uid", f"There is no EVSE '{wanted.evse_uid}'")
                evse_key, connector_id = there[0][0], None
            state = booking.state
            if state is BookingState.ACTIVE and times.ask_at > now:
                state = BookingState.CONFIRMED  # moved to later: the station is asked again when its time comes
            announced = booking.announced_at is not None and times.announce_at <= now
            due = next_due(state, times, confirm_by=booking.confirm_by, announced=announced)
            await queries.lock_evse(db, evse_key)
            try:
                async with db.transaction():
                    await queries.change(
                        db,
                        ident,
                        evse_key=evse_key,
                        connector_id=connector_id,
                        times=times,
                        state=state,
                        may_move=booking.may_move if wanted.may_move is None else wanted.may_move,
                        announced=announced,
                        due_at=due,
                        price=booking.price,
                    )
            except asyncpg.ExclusionViolationError:
                others = await queries.taken(db, caller.tenant_id, [evse_key], starts_at, times.blocked_until)
                spans = ", ".join(f"{rfc3339(one.starts_at)} to {rfc3339(one.until)}" for one in others)
                raise ConflictError(
                    f"The EVSE is booked {spans or 'then'}; booking {ident} stays as it was. Choose another time or EVSE."
                ) from None
            changed = await queries.locked(db, ident)
            assert changed is not None
            if state is BookingState.CONFIRMED:
                await booking_holds.give_free(db, ident, now)
                await let_out(db, changed)
            elif state is BookingState.ACTIVE and evse_key != booking.evse_key:
                changed = await let_in(db, changed)
                await booking_holds.want(db, changed, now)
            elif state is BookingState.ACTIVE:
                changed = await let_in(db, changed)
                await booking_holds.retime(db, ident, times.no_show_at, now)
            await self._audit(db, caller, "update", booking, None, wanted)
            left = booking.evse_uid if evse_key != booking.evse_key else None
            await self._telling.note(db, changed, "changed", left=left)
            await self._within(db, ident, within)

    async def _taken(
        self, caller: Caller, wish: Wish, policy: BookingPolicy, starts_at: datetime, ends_at: datetime
    ) -> ConflictError:
        """Why nothing could be booked, and what could."""
        until = times_of(policy, starts_at, ends_at).blocked_until
        async with self._database.read() as db:
            evses = await booking_search.evses_at(db, caller.tenant_id, wish.location_id, wish.evse_uid)
            spans = await queries.taken(db, caller.tenant_id, [key for key, _ in evses], starts_at, until)
            others: list[str] = []
            if wish.evse_uid is not None:
                place = await booking_search.location_of(db, caller.tenant_id, wish.evse_uid)
                wanted = Wanted(starts_at=starts_at, blocked_until=until, location_id=place)
                others = [one.uid for one in await booking_search.free(db, caller.tenant_id, wanted, 5)]
        subject = (
            f"EVSE '{wish.evse_uid}'" if wish.evse_uid is not None else f"Every fitting EVSE at '{wish.location_id}'"
        )
        why = "is not to be had"
        if wish.evse_uid is not None and spans:
            why = "is booked " + ", ".join(f"{rfc3339(one.starts_at)} to {rfc3339(one.until)}" for one in spans)
        instead = f"Free there then: {', '.join(others)}." if others else "Choose another time or place."
        return ConflictError(f"{subject} {why}. {instead}")

    async def _record(self, db: Db, tenant_id: TenantId, value: str, kind: str | None, at: datetime) -> IdTokenRecord:
        record = matching(IdToken(value=value, type=kind), await id_tokens.records(db, tenant_id, value))
        if record is None:
            raise wrong("id_token", f"There is no id token '{value}'; stations know drivers by theirs")
        if record.status is not AuthorizationStatus.ACCEPTED:
            raise wrong("id_token", f"The id token is {record.status.value}: it could not charge")
        if record.valid_until is not None and record.valid_until <= at:
            raise wrong("id_token", f"The id token ends {rfc3339(record.valid_until)}, before the booking begins")
        return record

    async def _locked(self, db: Db, caller: Caller, ident: int, if_revision: int | None) -> Booking:
        found = await queries.locked(db, ident)
        if found is None or found.tenant_id != caller.tenant_id:
            raise NotFoundError(_KIND, str(ident))
        if if_revision is not None and if_revision != found.revision:
            raise StaleError(str(ident), found.revision)
        return found

    async def _audit(
        self, db: Db, caller: Caller, action: str, booking: Booking, reason: str | None, after: Any = None
    ) -> None:
        before = {
            "evse_uid": booking.evse_uid,
            "starts_at": booking.times.starts_at,
            "ends_at": booking.times.ends_at,
            "state": booking.state,
        }
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind=_KIND,
            ident=str(booking.id),
            reason=reason,
            before=None if action == "create" else before,
            after=before if action == "create" else after,
        )

    async def _guarded_start(
        self, tenant_id: TenantId, key: StationKey, command: Start, send: Send, by: str
    ) -> CommandOutcome:
        """A remote start, unless the EVSE is kept for somebody else: where the station keeps it, it refuses too; others cannot."""
        now = self._now()
        async with self._database.read() as db:
            kept = await queries.guarding(db, key, command.evse_id, now)
            if kept:
                record = matching(command.id_token, await id_tokens.records(db, tenant_id, command.id_token.value))
                group = None if record is None else record.group_id
                foreign = [
                    one
                    for one in kept
                    if token_key(command.id_token.value) not in (token_key(one.id_token), *one.other_keys)
                    and (group is None or group != one.group_id)
                ]
                evses = await queries.evses_of_station(db, key) if command.evse_id is None else 1
                if len(foreign) == len(kept) and len({one.evse_key for one in foreign}) >= evses:
                    until = max(one.times.no_show_at for one in foreign)
                    raise RuleError(
                        f"The EVSE is kept for a booking until {rfc3339(until)}; only its driver may start there."
                    )
        return await send(command)


async def _again(work: Callable[[], Awaitable[T]]) -> T:
    """Does it again where two waited for each other: the database ends one of them."""
    for _ in range(_TRIES - 1):
        try:
            return await work()
        except asyncpg.DeadlockDetectedError:
            continue
    return await work()


def _price(rating: Rating | None) -> Money | None:
    return None if rating is None else rating.due_incl
