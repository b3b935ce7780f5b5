"""Reservations at stations: asked for, followed through what the station tells, ended.

A reservation is written down before the station is asked, so that whatever the station tells of it finds it. How it ends is
told by several: the station's answer, its status updates, the transaction that names it, an operator, and the clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.pulse import Pulse
from chargeplane.app.reports import Place
from chargeplane.domain.commands import CancelReservation, CommandOutcome, CommandState, ReserveNow
from chargeplane.domain.follow_ups import ReservationUsed
from chargeplane.domain.messages import IdToken
from chargeplane.domain.reservations import STANDING, ReservationState, ReservationUpdate, answered, may_follow, told
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.time import as_utc
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import reservations as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.reservations import ReservationFilter, ReservationView, StoredReservation

_BY: Final = "reservations"
_LONGEST: Final = timedelta(days=366)
_PATIENCE: Final = timedelta(seconds=30)
"""After its end, for a station that tells the end itself."""


class Wish(Struct, frozen=True, kw_only=True):
    """What is to be reserved."""

    id_token: IdToken
    valid_until: datetime
    group_id: str | None = None
    evse_id: int | None = None
    connector_type: str | None = None


class Reservations:
    """Use cases about reservations."""

    def __init__(self, database: Database, commands: Commands, events: EventFeed, *, every_s: float = 5.0) -> None:
        self._database = database
        self._commands = commands
        self._events = events
        self._pulse = Pulse("reservations", every_s, self._beat)
        commands.followers.setdefault(CancelReservation, []).append(self._cancelled_by_hand)

    async def start(self) -> None:
        """Begins to watch the clock."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    async def page(
        self, caller: Caller, wanted: ReservationFilter, limit: int, after: Position | None
    ) -> list[ReservationView]:
        """Reservations, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> ReservationView:
        """A reservation by our id.

        Raises:
            NotFoundError: the tenant has no such reservation.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("reservation", str(ident))
        return found

    async def reserve(self, caller: Caller, station_id: str, wish: Wish, timeout_s: float) -> ReservationView:
        """Asks a station to keep a place; the reservation with the station's answer.

        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: the time has passed, or is more than a year away.
        """
        until, now = as_utc(wish.valid_until), utc_now()
        if not now < until <= now + _LONGEST:
            sentence = "Must be in the future, and within a year"
            raise InvalidInputError(f"'valid_until' is wrong: {sentence}.", (("/valid_until", sentence),))
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        async with self._database.change() as db:
            number = await queries.next_number(db, key)
            ident = await queries.insert(
                db,
                caller.tenant_id,
                key,
                number=number,
                evse_id=wish.evse_id or None,
                connector_type=wish.connector_type,
                id_token=wish.id_token.value,
                id_token_type=wish.id_token.type,
                group_id=wish.group_id,
                valid_until=until,
                requested_by=caller.actor,
            )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind="reservation",
                ident=str(ident),
                after=wish,
            )
        group = wish.group_id
        command = ReserveNow(
            reservation_id=number,
            id_token=wish.id_token,
            expires_at=until,
            group_id_token=None if group is None else IdToken(value=group, type="Central"),
            evse_id=wish.evse_id or None,
            connector_type=wish.connector_type,
        )
        outcome = await self._commands.ask(
            caller.tenant_id, key, command, by=_BY, timeout_s=timeout_s, valid_s=min(timeout_s, 60.0)
        )
        refused_here = outcome.state is CommandState.REJECTED and outcome.call is None  # the version cannot say it
        state = ReservationState.REJECTED if refused_here else answered(_word(outcome))
        async with self._database.change() as db:
            stored = await queries.locked(db, ident)
            if stored is not None:
                await self._move(db, stored, state, None if state is ReservationState.ACCEPTED else outcome.reason)
        await self._tell(caller.tenant_id, ident)
        if state is ReservationState.UNREACHED and outcome.call is not None:
            # It was sent and not answered: the station may hold it. What nobody knows of must not block a place.
            await self._commands.give(
                caller.tenant_id, key, CancelReservation(reservation_id=number), by=_BY, valid_s=3600.0
            )
        return await self.one(caller, ident)

    async def cancel(self, caller: Caller, ident: int) -> ReservationView:
        """Gives a place free again; the reservation after the station's answer.

        Raises:
            NotFoundError: the tenant has no such reservation.
            ConflictError: it is over, or a transaction has used it.
            UnavailableError: the station did not answer; it may hold the place until its end.
        """
        view = await self.one(caller, ident)
        if ReservationState(view.state) not in STANDING:
            raise ConflictError(f"Reservation {ident} is {view.state}.")
        async with self._database.read() as db:
            key = await charging_stations.key_of(db, caller.tenant_id, view.station_id)
        if key is None:
            raise NotFoundError("charging station", view.station_id)
        command = CancelReservation(reservation_id=view.ocpp_reservation_id)
        outcome = await self._commands.ask(caller.tenant_id, key, command, by=_BY, valid_s=10.0)
        if outcome.state not in (CommandState.ACCEPTED, CommandState.REJECTED):
            raise UnavailableError(f"'{view.station_id}' did not answer: {outcome.reason or outcome.state.value}")
        async with self._database.change() as db:
            stored = await queries.locked(db, ident)
            if stored is not None and may_follow(stored.state, ReservationState.CANCELLED):
                # Rejected: the station has no such reservation, which is what was wanted (H02.FR.01).
                await self._move(db, stored, ReservationState.CANCELLED, outcome.reason)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="cancel",
                kind="reservation",
                ident=str(ident),
                before={"state": view.state},
                after={"state": ReservationState.CANCELLED},
            )
        await self._tell(caller.tenant_id, ident)
        return await self.one(caller, ident)

    async def updated(self, place: Place, report: ReservationUpdate) -> None:
        """A station told what became of a reservation."""
        await self._follow(place.tenant_id, place.key, report.reservation_id, told(report.status))

    async def used(self, place: Place, report: ReservationUsed) -> None:
        """A transaction began with a reservation."""
        await self._follow(
            place.tenant_id, place.key, report.reservation_id, ReservationState.USED, report.transaction_id
        )

    async def _cancelled_by_hand(
        self, tenant_id: TenantId, key: StationKey, command: CancelReservation, outcome: CommandOutcome
    ) -> None:
        if outcome.state is CommandState.ACCEPTED:
            await self._follow(tenant_id, key, command.reservation_id, ReservationState.CANCELLED)

    async def _follow(
        self, tenant_id: TenantId, key: StationKey, number: int, state: ReservationState, transaction: int | None = None
    ) -> None:
        async with self._database.change() as db:
            stored = await queries.by_number(db, key, number)
            if stored is None or not may_follow(stored.state, state):
                return
            await queries.move(db, stored.id, state, None, transaction)
        await self._tell(tenant_id, stored.id)

    async def _move(self, db: Db, stored: StoredReservation, state: ReservationState, reason: str | None) -> None:
        if may_follow(stored.state, state):
            await queries.move(db, stored.id, state, reason)

    async def _beat(self) -> None:
        async with self._database.change() as db:
            ended = await queries.over(db, utc_now() - _PATIENCE)
            for one in ended:
                unheard = one.state is ReservationState.REQUESTED
                await queries.move(
                    db,
                    one.id,
                    ReservationState.UNREACHED if unheard else ReservationState.EXPIRED,
                    "Its time has passed.",
                )
        for one in ended:
            await self._tell(one.tenant_id, one.id)

    async def _tell(self, tenant_id: TenantId, ident: int) -> None:
        if self._events.active:
            async with self._database.read() as db:
                view = await queries.one(db, tenant_id, ident)
            if view is not None:
                self._events.publish("reservation.updated", tenant_id, view.station_id, view)


def _word(outcome: CommandOutcome) -> str | None:
    """The station's own word, where it gave one."""
    return outcome.status if outcome.state in (CommandState.ACCEPTED, CommandState.REJECTED) else None
