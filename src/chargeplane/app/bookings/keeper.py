"""What becomes of bookings by themselves: stations asked in time and let go, drivers who come, who do not, who find their EVSE taken.

Everything is in rows. A booking has a moment at which it is looked at next; what a station is to keep for it, or to give free, is a
hold: a row of `reservation` with a moment of its own. A beat takes what is due. Rows are locked by whoever works on them, and holds,
whose work is a question to a station, are leased before it: two nodes do nothing twice, and what one that died had begun another takes
up when its lease is over.

A station is asked with the number that was written down before. Asked again (a lease that ended, a reconnect, a boot, another end)
it replaces what it has of that number (OCPP 1.6, 5.13; 2.0.1 H01.FR.02); and what is not wanted any more is canceled until the station
says that it has none, once more where a question without an answer might have been behind it. So whenever we die, the station ends up
with what is wanted: one reservation, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from chargeplane.app.api_keys import Caller
from chargeplane.app.bookings.letting_in import let_in
from chargeplane.app.bookings.telling import Telling
from chargeplane.app.commands import Commands
from chargeplane.app.display_messages import DisplayMessages
from chargeplane.app.house import utc_now
from chargeplane.app.pulse import Pulse
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.bookings.fees import BookingCharge, FeeKind, rate_expired, rate_fee
from chargeplane.domain.bookings.policy import BookingPolicy, WalkIn
from chargeplane.domain.bookings.states import BookingState
from chargeplane.domain.bookings.times import next_due
from chargeplane.domain.commands import (
    CallOutcomeKind,
    CancelReservation,
    CommandOutcome,
    CommandState,
    ReserveNow,
    Stop,
)
from chargeplane.domain.display import DisplayMessage, MessagePriority
from chargeplane.domain.languages import known, languages, say, spoken_in
from chargeplane.domain.messages import IdToken
from chargeplane.domain.reservations import STANDING, ReservationState, answered
from chargeplane.domain.station_tariffs import ShownText
from chargeplane.domain.tariffs.model import TaxIncluded
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import booking_holds, booking_search, reservations
from chargeplane.store.queries import bookings as queries
from chargeplane.store.queries.booking_holds import Hold
from chargeplane.store.queries.booking_search import Wanted
from chargeplane.store.queries.bookings import Booking, InTheWay
from chargeplane.store.queries.paging import Db

_BY: Final = "bookings"
_AT_ONCE: Final = 200
_SIDE_BY_SIDE: Final = 16
_LEASE: Final = timedelta(seconds=60)
_TIMEOUT_S: Final = 20.0
_PATIENCE: Final = timedelta(seconds=60)
"""After the end that a station was told, it has given a reservation up by itself."""
_EQUALS: Final = 5
_STOP_VALID_S: Final = 600.0
_LANGUAGES: Final = 5
"""Texts of one message on a display, at most."""

log = structlog.get_logger(__name__)


class Keeper:
    """Looks after bookings.

    Args:
        display_messages: None: nothing is shown on displays.
        every_s: from one beat to the next.
        ask_valid_s: how long a question waits for its station; it is asked again soon, so a short time.
        now: the clock.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        tariffs: Tariffs,
        telling: Telling,
        display_messages: DisplayMessages | None,
        *,
        every_s: float = 2.0,
        ask_valid_s: float = 5.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._commands = commands
        self._tariffs = tariffs
        self._telling = telling
        self._display = display_messages
        self._now = now
        self._valid_s = ask_valid_s
        self._pulse = Pulse("bookings", every_s, self.beat)
        self._asking: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begins to look."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that; what is being asked is taken up again by whoever starts next."""
        await self._pulse.stop()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def beat(self) -> None:
        """Everything that is due; stations are asked beside it."""
        await self.look()
        room = _SIDE_BY_SIDE * 4 - len(self._asking)
        for hold in await self._claim(room) if room > 0 else []:
            task = asyncio.create_task(self._guarded(hold), name=f"booking hold {hold.reservation_id}")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def settle(self) -> None:
        """Everything that is due, stations' answers included."""
        await self.look()
        while holds := await self._claim(_AT_ONCE):
            await asyncio.gather(*(self._guarded(hold) for hold in holds))

    async def look(self) -> None:
        """What the clock and the stations told, without asking any."""
        now = self._now()
        async with self._database.read() as db:
            due = [
                row["id"]
                for row in await db.fetch(
                    "SELECT id FROM booking WHERE due_at <= $1 ORDER BY due_at LIMIT $2", now, _AT_ONCE
                )
            ]
            came, left = await queries.came(db), await queries.left(db)
        for one in came:
            await self._alone(one.booking_id, partial(self._came, came=one, now=now))
        for ident in due:
            await self._alone(ident, partial(self._step, now=now))
        for ident, stopped_at in left:
            await self._alone(ident, partial(self._left, at=stopped_at or now))
        async with self._database.read() as db:
            ended, in_the_way = await booking_holds.ended(db), await queries.in_the_way(db, now)
        for hold in ended:
            await self._alone(hold.booking_id, partial(self._ended, hold=hold, now=now))
        for way in in_the_way:
            try:
                await self._walk_in(way, now)
            except Exception as error:
                log.warning("booking_walk_in_again", booking=way.booking_id, error=str(error))
        async with self._database.change() as db:
            await booking_holds.remind(db, now)

    async def _alone(self, ident: int, act: Callable[[Db, Booking], Awaitable[None]]) -> None:
        """Does something with a booking in a change of its own; an error of it is logged and it is looked at again in a minute."""
        try:
            async with self._database.change() as db:
                booking = await queries.locked(db, ident)
                if booking is not None:
                    await act(db, booking)
        except (asyncpg.DeadlockDetectedError, asyncpg.ExclusionViolationError):
            log.warning("booking_again", booking=ident)
        except asyncpg.PostgresError:
            log.exception("booking_failed_to_go_on", booking=ident)
            async with self._database.change() as db:
                await db.execute(
                    "UPDATE booking SET due_at = $2 WHERE id = $1 AND due_at IS NOT NULL", ident, self._now() + _LEASE
                )

    # By the clock

    async def _step(self, db: Db, booking: Booking, now: datetime) -> None:
        times, state = booking.times, booking.state
        if state is BookingState.CREATED and booking.confirm_by is not None and booking.confirm_by <= now:
            reason = "It was not confirmed in time."
            await queries.set_state(db, booking.id, BookingState.CANCELED, reason=reason, ended_at=now)
            await self._telling.note(db, booking, "canceled")
            return
        announced = booking.announced_at is not None
        if state is BookingState.CONFIRMED and not announced and times.announce_at <= now:
            announced = True
            due = next_due(state, times, confirm_by=None, announced=True)
            await queries.announced(db, booking.id, now, due)
            await self._telling.upcoming(db, booking)
            self._database.after_commit(db, lambda: self._show_soon(booking))
        if state is BookingState.CONFIRMED and times.ask_at <= now:
            due = next_due(BookingState.ACTIVE, times, confirm_by=None, announced=True)
            await queries.set_state(db, booking.id, BookingState.ACTIVE, due_at=due)
            await self._telling.note(db, booking, "active")
            if booking.evse_closed or booking.evse_removed:
                policy = await queries.policy(db, booking.tenant_id)
                if await self._relocate(db, booking, policy, now):
                    return
            if booking.evse_removed:
                reason = "The EVSE was removed."
                await queries.set_state(db, booking.id, BookingState.FAILED, reason=reason, ended_at=now)
                await self._telling.note(db, booking, "failed")
                return
            booking = await let_in(db, booking)
            await booking_holds.want(db, booking, now)
            if booking.station_key is None:
                await queries.kept(db, booking.id, now, "us")  # nothing to ask
        elif state is BookingState.ACTIVE and times.no_show_at <= now:
            for came in await queries.came(db, booking.id):
                await self._came(db, booking, came, now)
                return
            await self._nobody_came(db, booking, now)
        elif state not in (BookingState.CONFIRMED, BookingState.ACTIVE, BookingState.CREATED):
            await db.execute("UPDATE booking SET due_at = NULL WHERE id = $1", booking.id)

    async def _nobody_came(self, db: Db, booking: Booking, now: datetime) -> None:
        times = booking.times
        await booking_holds.give_free(db, booking.id, now)
        if booking.kept_at is None:
            reason = booking.reason or "The station could not be reached in time."
            await queries.set_state(db, booking.id, BookingState.FAILED, reason=reason, ended_at=now)
            await self._telling.note(db, booking, "failed")
            return
        reason = "Nobody came."
        await queries.set_state(db, booking.id, BookingState.NO_SHOW, reason=reason, ended_at=times.no_show_at)
        zone = ZoneInfo(booking.time_zone)
        fee = booking.terms.no_show_fee
        rating, included = None, False
        if fee is not None:
            rating = rate_fee(FeeKind.NO_SHOW, fee, times.starts_at, times.no_show_at, zone)
        elif booking.tariff_id is not None and booking.tariff_version is not None:
            tariff = await self._tariffs.frozen(booking.tenant_id, booking.tariff_id, booking.tariff_version)
            if tariff is not None:
                rating = rate_expired(tariff, times.starts_at, times.no_show_at, zone, booking.terms.discounts)
                included = tariff.tax_included is TaxIncluded.YES
        if rating is not None:
            made = BookingCharge(kind=FeeKind.NO_SHOW, at=now, rating=rating, tax_included=included)
            await self._telling.charge(db, booking, made)
        await self._telling.note(db, booking, "no_show")

    # By what stations told

    async def _came(self, db: Db, booking: Booking, came: queries.Came, now: datetime) -> None:
        if booking.state is not BookingState.ACTIVE:
            return
        used_at = max(came.started_at, booking.created_at)
        await queries.set_state(db, booking.id, BookingState.USED, transaction_id=came.transaction_id, used_at=used_at)
        for hold in await booking_holds.wanted_of(db, booking.id):
            if hold.state is ReservationState.USED:
                await booking_holds.over(db, hold.reservation_id, now)
            else:  # it did not name the reservation: it is canceled, lest it stands
                await reservations.move(db, hold.reservation_id, ReservationState.USED, None, came.transaction_id)
        await booking_holds.give_free(db, booking.id, now)
        fee = booking.terms.fee
        if fee is not None:
            start, end = booking.times.starts_at, max(used_at, booking.times.starts_at)
            rating = rate_fee(FeeKind.BOOKING, fee, start, end, ZoneInfo(booking.time_zone))
            transaction = str(came.transaction_id)
            made = BookingCharge(kind=FeeKind.BOOKING, at=now, rating=rating, transaction_id=transaction)
            await self._telling.charge(db, booking, made)
        await self._telling.note(db, booking, "used")

    async def _left(self, db: Db, booking: Booking, at: datetime) -> None:
        if booking.state is BookingState.USED:
            await queries.set_state(db, booking.id, BookingState.COMPLETED, ended_at=at)
            await self._telling.note(db, booking, "completed")

    async def _ended(self, db: Db, booking: Booking, hold: Hold, now: datetime) -> None:
        """The station keeps nothing any more that was wanted."""
        current = await booking_holds.locked(db, hold.reservation_id)
        if current is None or not current.wanted or current.state in STANDING:
            return
        await booking_holds.over(db, hold.reservation_id, now)
        if booking.state is not BookingState.ACTIVE or current.state is ReservationState.USED:
            return  # used: its transaction is found by the number
        if current.state is ReservationState.REMOVED:
            # Its EVSE is faulted or out of service (OCPP 2.0.1 H01.FR.16, H01.FR.17).
            policy = await queries.policy(db, booking.tenant_id)
            if not await self._relocate(db, booking, policy, now):
                await booking_holds.want(db, booking, now)
        elif current.state is ReservationState.CANCELLED:
            await queries.kept(db, booking.id, now, "us")  # by hand; the booking stands until it is canceled, too
        else:
            # Expired by a clock of its own, or let go after the driver had come (2.1 NoTransaction): we go on keeping it.
            await queries.kept(db, booking.id, now, "us")

    async def _walk_in(self, way: InTheWay, now: datetime) -> None:
        async with self._database.change() as db:
            booking = await queries.locked(db, way.booking_id)
            if booking is None or booking.state is not BookingState.ACTIVE:
                return
            policy = await queries.policy(db, booking.tenant_id)
            stops = way.begun and not way.stopped and policy.walk_in is WalkIn.STOP
            if not way.warned:
                await queries.walk_in(db, booking.id, way.transaction_id, stopped=False)
                await self._telling.note(db, booking, "walk_in")
                self._database.after_commit(db, lambda: self._show_walk_in(booking, way))
            if way.begun and not way.stopped:
                await queries.walk_in(db, booking.id, way.transaction_id, stopped=True)
        if stops and way.ocpp_transaction_id is not None:
            stop = Stop(ocpp_transaction_id=way.ocpp_transaction_id)
            await self._commands.give(booking.tenant_id, way.station_key, stop, by=_BY, valid_s=_STOP_VALID_S)
            async with self._database.change() as db:
                await booking_holds.hurry(db, booking.id, now)

    # At the station

    async def _claim(self, most: int) -> list[Hold]:
        now = self._now()
        async with self._database.change() as db:
            return await booking_holds.claim(db, now, now + _LEASE, min(most, _AT_ONCE))

    async def _guarded(self, hold: Hold) -> None:
        try:
            await (self._ask(hold) if hold.wanted else self._release(hold))
        except Exception as error:
            log.warning("booking_hold_again", hold=hold.reservation_id, error=str(error))

    async def _ask(self, hold: Hold) -> None:
        now = self._now()
        if now >= hold.valid_until:
            async with self._database.change() as db:
                await booking_holds.give_free(db, hold.booking_id, now)
            return
        async with self._database.change() as db:
            if not await booking_holds.asking(db, hold.reservation_id, now + timedelta(seconds=self._valid_s + 1)):
                return
        group = hold.group_id
        command = ReserveNow(
            reservation_id=hold.number,
            id_token=IdToken(value=hold.id_token, type=hold.id_token_type),
            expires_at=hold.valid_until,
            group_id_token=None if group is None else IdToken(value=group, type="Central"),
            evse_id=hold.evse_id,
        )
        outcome = await self._commands.ask(
            hold.tenant_id, hold.station_key, command, by=_BY, timeout_s=_TIMEOUT_S, valid_s=self._valid_s
        )
        now = self._now()
        async with self._database.change() as db:
            booking = await queries.locked(db, hold.booking_id)
            current = await booking_holds.locked(db, hold.reservation_id)
            if booking is None or current is None:
                return
            state, able = _said(outcome)
            if current.state is not ReservationState.USED:
                reason = None if state is ReservationState.ACCEPTED else outcome.reason
                await reservations.move(db, hold.reservation_id, state, reason)
            if not current.wanted or booking.state is not BookingState.ACTIVE:
                # Not wanted any more meanwhile: it is given free, now that nothing is behind it.
                await self._answered(db, hold, due_at=now)
                await booking_holds.give_free(db, booking.id, now)
                return
            if state is ReservationState.ACCEPTED or not able:
                # Changed while it was asked: it is asked again at once, with the other end.
                again = now if current.valid_until != hold.valid_until else None
                await self._answered(db, hold, kept_at=now, due_at=again)
                by = "station" if able else "us"
                if await queries.kept(db, booking.id, now, by):
                    await self._telling.note(db, booking, "active")
                return
            policy = await queries.policy(db, booking.tenant_id)
            await self._answered(db, hold, refused=True, due_at=now + timedelta(seconds=policy.retry_s))
            await self._blocked(db, booking, policy, state, outcome.reason, now)

    async def _answered(
        self,
        db: Db,
        hold: Hold,
        *,
        kept_at: datetime | None = None,
        refused: bool = False,
        due_at: datetime | None = None,
    ) -> None:
        await booking_holds.settle(
            db, hold.reservation_id, kept_at=kept_at, answered=True, refused=refused, due_at=due_at
        )

    async def _blocked(
        self,
        db: Db,
        booking: Booking,
        policy: BookingPolicy,
        state: ReservationState,
        reason: str | None,
        now: datetime,
    ) -> None:
        """The station did not keep the EVSE: another is taken, it is tried again, or the booking fails."""
        starts_at = booking.times.starts_at
        half = starts_at - timedelta(seconds=policy.lead_s / 2)
        gone = state in (ReservationState.FAULTED, ReservationState.UNAVAILABLE)
        why = reason or f"The station answered {state.value}."
        stopping = state is ReservationState.OCCUPIED and policy.walk_in is WalkIn.STOP and booking.walk_in is not None
        late = now >= starts_at + timedelta(seconds=policy.fail_after_s)
        patient = stopping and not late  # whoever is in the way is stopped when the booking begins
        if not patient and (gone or now >= half) and await self._relocate(db, booking, policy, now):
            return
        if late and state is not ReservationState.UNREACHED:
            await booking_holds.give_free(db, booking.id, now)
            await queries.set_state(db, booking.id, BookingState.FAILED, reason=why, ended_at=now)
            await self._telling.note(db, booking, "failed")
            return
        await db.execute("UPDATE booking SET reason = $2 WHERE id = $1", booking.id, why)

    async def _relocate(self, db: Db, booking: Booking, policy: BookingPolicy, now: datetime) -> bool:
        """Moves a booking to an equal EVSE of the same location that is free; the driver is told by `booking.moved`."""
        if not (policy.relocate and booking.may_move):
            return False
        wanted = Wanted(
            starts_at=booking.times.starts_at,
            blocked_until=booking.times.blocked_until,
            location_id=booking.location_id,
            standard=booking.standard,
            min_power_w=booking.power_w,
            free_now=True,
            but=booking.evse_key,
        )
        for evse in await booking_search.free(db, booking.tenant_id, wanted, _EQUALS):
            if evse.uid in booking.moved_from:
                continue
            try:
                async with db.transaction():
                    await queries.lock_evse(db, evse.key)
                    connector = None if booking.connector_id is None else evse.connectors[0].id
                    await queries.move_to(db, booking.id, evse.key, connector, booking.evse_uid)
            except asyncpg.ExclusionViolationError:
                continue
            moved = await queries.locked(db, booking.id)
            assert moved is not None
            moved = await let_in(db, moved)
            await booking_holds.want(db, moved, now)
            await self._telling.note(db, moved, "moved")
            return True
        return False

    async def _release(self, hold: Hold) -> None:
        now = self._now()
        untouched = hold.kept_at is None and hold.asked_until is None and hold.refusals == 0
        outcome: CommandOutcome | None = None
        if not untouched and now <= hold.valid_until + _PATIENCE:
            command = CancelReservation(reservation_id=hold.number)
            outcome = await self._commands.ask(
                hold.tenant_id, hold.station_key, command, by=_BY, timeout_s=_TIMEOUT_S, valid_s=self._valid_s
            )
        now = self._now()
        async with self._database.change() as db:
            current = await booking_holds.locked(db, hold.reservation_id)
            if current is None:
                return
            if outcome is not None:
                if not _knows_nothing(outcome):
                    policy = await queries.policy(db, hold.tenant_id)
                    await booking_holds.again(db, hold.reservation_id, now + timedelta(seconds=policy.retry_s))
                    return
                # A question from before may have come behind the cancellation, also where it is answered by now.
                behind = hold.asked_until or current.asked_until
                if behind is not None and behind > now:
                    await booking_holds.again(db, hold.reservation_id, behind)
                    return
            if current.state in STANDING:
                await reservations.move(db, hold.reservation_id, ReservationState.CANCELLED, None)
            await booking_holds.over(db, hold.reservation_id, now)

    # On displays

    def _show_soon(self, booking: Booking) -> None:
        """Walk-in drivers see until when the EVSE is free."""
        self._pulse.spawn(self._show(booking, "booking.free_until", None))

    def _show_walk_in(self, booking: Booking, way: InTheWay) -> None:
        self._pulse.spawn(self._show(booking, "booking.walk_in", way))

    async def _show(self, booking: Booking, key: str, way: InTheWay | None) -> None:
        if self._display is None or booking.station_id is None or booking.station_key is None:
            return
        async with self._database.read() as db:
            if not await booking_holds.has_display(db, booking.station_key):
                return
            country, version = await booking_holds.shown_in(db, booking.id)
            language = None if way is None else await booking_holds.language_of(db, way.transaction_id)
        at = booking.times.starts_at.astimezone(ZoneInfo(booking.time_zone))
        chosen = known(language or spoken_in(country))
        # OCPP 2.0.1 shows one language, 2.1 several, the first of them first (O01).
        shown = [chosen, *(one for one in languages() if one != chosen)] if version == "2.1" else [chosen]
        message = DisplayMessage(
            texts=tuple(
                ShownText(content=say(key, one, evse=booking.evse_uid, time=f"{at:%H:%M}"), language=one)
                for one in shown[:_LANGUAGES]
            ),
            priority=MessagePriority.NORMAL_CYCLE if way is None else MessagePriority.IN_FRONT,
            end=booking.times.starts_at if way is None else booking.times.ends_at,
            ocpp_transaction_id=None if way is None else way.ocpp_transaction_id,
        )
        caller = Caller(key_id=0, tenant_id=TenantId(booking.tenant_id), name=_BY, scopes=frozenset())
        put = await self._display.put(caller, booking.station_id, None, message, self._valid_s)
        if way is None:
            async with self._database.change() as db:
                await queries.displayed(db, booking.id, int(put.id))


def _said(outcome: CommandOutcome) -> tuple[ReservationState, bool]:
    """What a station made of ReserveNow, and whether it can keep EVSEs at all."""
    if outcome.state in (CommandState.ACCEPTED, CommandState.REJECTED) and outcome.call is not None:
        state = answered(outcome.status)
        # Rejected: it takes no reservations (1.6, 5.13; 2.0.1 H01.FR.01); what is occupied or broken has words of its own.
        return state, state is not ReservationState.REJECTED
    if outcome.state is CommandState.REJECTED:
        return ReservationState.REJECTED, False  # its version cannot say it
    if outcome.call is not None and outcome.call.outcome is CallOutcomeKind.CALLERROR:
        return ReservationState.REJECTED, False  # NotSupported, NotImplemented, or as good as
    return ReservationState.UNREACHED, True


def _knows_nothing(outcome: CommandOutcome) -> bool:
    """Whether a station surely has no reservation of the number any more."""
    if outcome.state in (CommandState.ACCEPTED, CommandState.REJECTED):
        return True
    return outcome.call is not None and outcome.call.outcome is CallOutcomeKind.CALLERROR
