"""Vehicles that tell their needs (ISO 15118), and stations that ask or tell about charging by themselves.

A vehicle gets a schedule where a planner makes one. The embedded planner gives it the limits that hold for its EVSE, no more than it can
take. The profile is written down before the answer says that it comes; the keeper brings it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Protocol

import structlog
from msgspec import Struct

from chargeplane.app.alerts import Alerts
from chargeplane.app.charging_profiles import PLANNER_IDS, ChargingProfiles
from chargeplane.app.events import EventFeed
from chargeplane.app.house import Desk
from chargeplane.app.reports import Place, Reports
from chargeplane.app.static_caps import held_down, values_of
from chargeplane.domain.alerts import Severity
from chargeplane.domain.charging_abilities import abilities_of
from chargeplane.domain.charging_plans import exceeding, plan, planned_s
from chargeplane.domain.charging_profile_rules import StationAbilities
from chargeplane.domain.charging_profiles import (
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.domain.composite_schedules import CompositeSchedule
from chargeplane.domain.smart_charging import (
    ONLY_CHARGING,
    ChargingLimitCleared,
    ChargingLimitTold,
    ControlMode,
    DynamicValuesAnswer,
    DynamicValuesAsked,
    EvChargingNeeds,
    EvChargingSchedule,
    NeedsAnswer,
    NeedsStatus,
    PriorityChargingTold,
    ScheduleAnswer,
)
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_profiles as profiles
from chargeplane.store.queries import smart_charging as queries
from chargeplane.store.queries.smart_charging import OpenCharge

_THINK_S: Final = 2.0
"""A planner that takes longer is answered for with Processing."""

_AFTER_ANSWER_S: Final = 0.1  # the schedule goes out behind the answer that announces it
_RENEGOTIATIONS: Final = 3
_log = structlog.get_logger(__name__)


class PlanRequest(Struct, frozen=True, kw_only=True):
    """What a planner is asked for.

    Args:
        limits: what holds for the vehicle's EVSE without a profile of its own.
        most_periods: what the station takes in a schedule.
    """

    place: Place
    charge: OpenCharge
    needs: EvChargingNeeds
    limits: CompositeSchedule
    most_periods: int | None


class ChargingPlanner(Protocol):
    """Makes schedules for vehicles."""

    async def plan(self, request: PlanRequest) -> ChargingSchedule | None:
        """A schedule; None where there is none for this vehicle."""
        ...


class WithinLimits:
    """The embedded planner: as much as the limits allow and the vehicle takes, from now on."""

    async def plan(self, request: PlanRequest) -> ChargingSchedule | None:
        """See `charging_plans.plan`."""
        return plan(request.limits, request.needs, most_periods=request.most_periods)


class EvCharging:
    """What vehicles and stations tell and ask.

    Args:
        abilities: what stations of 2.1 can understand at most.
        kick: tells the keeper that a station has something to settle.
    """

    def __init__(
        self,
        database: Database,
        charging_profiles: ChargingProfiles,
        alerts: Alerts,
        events: EventFeed,
        abilities: StationAbilities,
        kick: Callable[[], None],
        planner: ChargingPlanner | None = None,
    ) -> None:
        self._database = database
        self._profiles = charging_profiles
        self._alerts = alerts
        self._events = events
        self._abilities = abilities
        self._kick = kick
        self.planner: ChargingPlanner = planner or WithinLimits()
        self._tasks: set[asyncio.Task[Any]] = set()

    def register(self, reports: Reports, desks: dict[type, Desk]) -> None:
        """Takes reports and answers questions from now on."""
        reports.take(ChargingLimitTold, self._limit)
        reports.take(ChargingLimitCleared, self._limit_cleared)
        reports.take(PriorityChargingTold, self._priority)
        desks[EvChargingNeeds] = self._needs
        desks[EvChargingSchedule] = self._schedule
        desks[DynamicValuesAsked] = self._dynamic

    async def stop(self) -> None:
        """Ends what is still being planned."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- needs ---------------------------------------------------------------------------------------------------------

    async def _needs(self, place: Place, needs: EvChargingNeeds) -> NeedsAnswer:
        async with self._database.read() as db:
            charge = await self._charge(db, place, needs.evse_id)
        if charge is None:
            # K15.FR.07: a schedule is for a transaction
            return await self._answer(place, needs, None, NeedsStatus.REJECTED, "No transaction is open on its EVSE.")
        allowed = charge.allowed if charge.allowed is not None else [mode.value for mode in ONLY_CHARGING]
        if needs.requested not in allowed:
            # Q01.FR.04, K19.FR.15
            reason = f"{needs.requested} is not allowed for this transaction."
            return await self._answer(place, needs, charge, NeedsStatus.REJECTED, reason)
        planning = asyncio.create_task(self._plan(place, charge, needs), name=f"plan for {place.station_id}")
        self._tasks.add(planning)
        planning.add_done_callback(self._tasks.discard)
        done, _ = await asyncio.wait({planning}, timeout=_THINK_S)
        if not done:
            # K15.FR.05: it comes later, and makes the vehicle negotiate anew (K16)
            return await self._answer(place, needs, charge, NeedsStatus.PROCESSING, None)
        ident = planning.result()
        if ident is None:
            # K15.FR.04, K19.FR.04
            none = NeedsStatus.NO_PROFILE if needs.control_mode == ControlMode.DYNAMIC else NeedsStatus.REJECTED
            reason = "Neither a limit nor what the vehicle takes is known."
            return await self._answer(place, needs, charge, none, reason)
        return await self._answer(place, needs, charge, NeedsStatus.ACCEPTED, None, ident)

    async def _answer(
        self,
        place: Place,
        needs: EvChargingNeeds,
        charge: OpenCharge | None,
        status: NeedsStatus,
        reason: str | None,
        profile_id: int | None = None,
    ) -> NeedsAnswer:
        async with self._database.change() as db:
            await queries.add_need(
                db, place.tenant_id, place.key, needs, charge, status.value, reason, profile_id, place.received_at
            )
        if profile_id is not None:
            asyncio.get_running_loop().call_later(_AFTER_ANSWER_S, self._kick)
        self._events.publish(
            "ev_charging.needs",
            place.tenant_id,
            place.station_id,
            {"evse_id": needs.evse_id, "answer": status.value, "reason": reason, "profile_id": profile_id},
        )
        return NeedsAnswer(status=status)

    async def _charge(self, db: Any, place: Place, evse_id: int) -> OpenCharge | None:
        found = [one for one in await queries.open_charges(db, place.key) if one.evse_id == evse_id]
        return found[-1] if found else None

    async def _plan(self, place: Place, charge: OpenCharge, needs: EvChargingNeeds) -> int | None:
        """Makes a profile and writes it down as wanted; its id, None where there is no plan."""
        now = datetime.now(UTC).replace(microsecond=0)
        async with self._database.read() as db:
            reported = await queries.variables_of(db, place.key)
            abilities = abilities_of(self._abilities, reported, ())
            unit = RateUnit.W if RateUnit.W in abilities.units else RateUnit.A
            limits = await self._profiles.composite(
                db,
                place.key,
                evse_id=charge.evse_id,
                start=now,
                duration_s=planned_s(needs, now),
                unit=unit,
                without=frozenset({ProfilePurpose.TX}),
            )
        schedule = await self.planner.plan(
            PlanRequest(place=place, charge=charge, needs=needs, limits=limits, most_periods=abilities.max_periods)
        )
        if schedule is None:
            return None
        async with self._database.change() as db:
            mine = [
                one
                for one in await profiles.alive(db, place.key)
                if one.profile.transaction_id == charge.ocpp_transaction_id
            ]
            held = [one for one in mine if one.origin == "planner"]
            # Above the limit of the transaction's agreement, and within it (app/static_caps.py).
            above = any(one.origin == "agreement" for one in mine)
            ident = held[0].id if held else await profiles.free_id(db, place.key, PLANNER_IDS)
            profile = ChargingProfile(
                id=ident,
                evse_id=charge.evse_id,
                stack_level=1 if above else 0,
                purpose=ProfilePurpose.TX,
                kind=ProfileKind.ABSOLUTE,
                schedules=(schedule,),
                transaction_id=charge.ocpp_transaction_id,
            )
            await profiles.put(
                db, place.tenant_id, place.key, profile, origin="planner", set_by="policy: charging planner"
            )
        asyncio.get_running_loop().call_later(_AFTER_ANSWER_S, self._kick)
        return ident

    # -- the vehicle's own schedule ------------------------------------------------------------------------------------

    async def _schedule(self, place: Place, told: EvChargingSchedule) -> ScheduleAnswer:
        start = told.time_base or place.received_at
        duration_s = told.schedule.duration_s or (told.schedule.periods[-1].start_s + 1 if told.schedule.periods else 1)
        async with self._database.read() as db:
            charge = await self._charge(db, place, told.evse_id)
            limits = await self._profiles.composite(
                db,
                place.key,
                evse_id=told.evse_id,
                start=start,
                duration_s=min(max(duration_s, 1), 366 * 86_400),
                unit=told.schedule.unit,
                coming=True,
            )
        reason = exceeding(told, limits)
        again = False
        async with self._database.change() as db:
            await queries.add_schedule(
                db, place.tenant_id, place.key, told, charge, reason is None, reason, place.received_at
            )
            if reason is not None and charge is not None:
                tries = await queries.count_renegotiation(db, place.key, charge.ocpp_transaction_id)
                again = tries <= _RENEGOTIATIONS
        if again and charge is not None:
            # K15.FR.13, K16.FR.08: a new schedule makes the vehicle negotiate anew
            task = asyncio.create_task(self._renegotiate(place, charge))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return ScheduleAnswer(accepted=reason is None, reason=reason)

    async def _renegotiate(self, place: Place, charge: OpenCharge) -> None:
        async with self._database.read() as db:
            needs = await queries.last_need(db, place.key, charge.ocpp_transaction_id)
        if needs is not None:
            await self._plan(place, charge, needs)

    # -- the rest ------------------------------------------------------------------------------------------------------

    async def _dynamic(self, place: Place, asked: DynamicValuesAsked) -> DynamicValuesAnswer:
        async with self._database.read() as db:
            found = await profiles.one(db, place.key, asked.profile_id)
            if found is None or found.state == "removed" or found.profile.kind is not ProfileKind.DYNAMIC:
                return DynamicValuesAnswer()
            return DynamicValuesAnswer(update=values_of(await held_down(db, place.key, found.profile)))

    async def _limit(self, place: Place, told: ChargingLimitTold) -> None:
        evse_id = told.evse_id or 0
        async with self._database.change() as db:
            await queries.put_limit(
                db,
                place.key,
                evse_id,
                told.source,
                told.schedules,
                told.grid_critical,
                told.local_generation,
                place.received_at,
            )
            if told.grid_critical:
                await self._alerts.raise_alert(
                    db,
                    place.tenant_id,
                    place.key,
                    kind="charging_limit",
                    ident=f"{told.source} {evse_id}",
                    severity=Severity.WARNING,
                    title=f"{told.source} limits charging because the grid is in a critical state.",
                    details={"evse_id": evse_id, "limit": _lowest(told)},
                )
        self._events.publish(
            "charging_limit.updated",
            place.tenant_id,
            place.station_id,
            {"evse_id": evse_id, "source": told.source, "limit": _lowest(told), "holds": True},
        )

    async def _limit_cleared(self, place: Place, told: ChargingLimitCleared) -> None:
        evse_id = told.evse_id or 0
        async with self._database.change() as db:
            await queries.clear_limit(db, place.key, evse_id, told.source, place.received_at)
            await self._alerts.clear(
                db,
                place.tenant_id,
                place.key,
                kind="charging_limit",
                ident=f"{told.source} {evse_id}",
                because="The limit was released.",
            )
        self._events.publish(
            "charging_limit.updated",
            place.tenant_id,
            place.station_id,
            {"evse_id": evse_id, "source": told.source, "limit": None, "holds": False},
        )

    async def _priority(self, place: Place, told: PriorityChargingTold) -> None:
        async with self._database.change() as db:
            await queries.put_priority(db, place.key, told.ocpp_transaction_id, told.activated)
        self._events.publish(
            "priority_charging.updated",
            place.tenant_id,
            place.station_id,
            {"ocpp_transaction_id": told.ocpp_transaction_id, "activated": told.activated},
        )


def _lowest(told: ChargingLimitTold) -> Decimal | None:
    return min((p.limit for s in told.schedules for p in s.periods if p.limit is not None), default=None)
