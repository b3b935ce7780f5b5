"""Charging profiles as an operator sets them, and what they add up to.

A profile that is set is checked by the rules of the station's version, written down as wanted, and brought to the station by the
keeper (`app/profile_keeper.py`) as soon as it can be reached. What the station holds is what it accepted, and what it reports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.events import EventFeed
from chargeplane.app.reach import StationReach
from chargeplane.app.static_caps import held_down
from chargeplane.domain.charging_abilities import abilities_of
from chargeplane.domain.charging_plans import Difference, differences
from chargeplane.domain.charging_profile_rules import OpenCharging, StationAbilities, accept, refusal, validate
from chargeplane.domain.charging_profiles import (
    ChargingProfile,
    PeriodUpdate,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
    updated,
)
from chargeplane.domain.commands import CommandOutcome, CommandState
from chargeplane.domain.commands.smart_charging import (
    GetCompositeSchedule,
    NotifyAllowedEnergyTransfer,
    StationSchedule,
    UpdateDynamicSchedule,
)
from chargeplane.domain.composite_schedules import (
    CompositeSchedule,
    EvseCondition,
    OpenTransaction,
    StationCondition,
    Supply,
    composite,
)
from chargeplane.domain.smart_charging import EnergyTransfer
from chargeplane.domain.static_caps import LOWERED
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_profiles as queries
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import smart_charging as smart
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.charging_profiles import ChargingProfileView, ProfileFilter
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.smart_charging import (
    ChargingLimitView,
    DialectView,
    EvNeedView,
    EvScheduleView,
    StationFacts,
)

STATIC_LIMIT_IDS: Final = 1_000_000_000
"""Profiles of static limits have this id, plus their EVSE's."""

PLANNER_IDS: Final = 1_100_000_000
"""Profiles that a planner made have ids from here on."""


class ProfileWire(Struct, frozen=True, kw_only=True):
    """What is to be known of the versions; the bridge's.

    Args:
        abilities: by version, what its stations can understand at most.
        losses: what a version leaves out of a profile, in sentences; raises InvalidInputError where it cannot express it.
    """

    abilities: Mapping[str, StationAbilities]
    losses: Callable[[str, ChargingProfile], Sequence[str]]


class SchedulesView(Struct, frozen=True, kw_only=True):
    """A composite schedule as we compute it, beside the station's own.

    Args:
        ours: from the profiles and external limits that are known to be on the station; a `limit` of null is no limit.
        station: as the station told when it was asked; null where it was not, or did not.
        station_says: why there is none of the station.
        differences: where the two differ; the station also knows its hardware, so it may have limits where ours has none.
    """

    ours: CompositeSchedule
    station: StationSchedule | None
    station_says: str | None
    differences: Sequence[Difference]


class ChargingProfiles:
    """Use cases about charging profiles.

    Args:
        kick: tells the keeper that a station has something to settle.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        reach: StationReach,
        events: EventFeed,
        wire: ProfileWire,
        kick: Callable[[], None],
    ) -> None:
        self._database = database
        self._commands = commands
        self._reach = reach
        self._events = events
        self._wire = wire
        self._kick = kick

    async def _key(self, db: Db, caller: Caller, station_id: str) -> StationKey:
        key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key

    # -- profiles ------------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, station_id: str, wanted: ProfileFilter, limit: int, after: Position | None
    ) -> list[ChargingProfileView]:
        """A station's profiles by id; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            return await queries.page(db, await self._key(db, caller, station_id), wanted, limit, after)

    async def one(self, caller: Caller, station_id: str, ident: int) -> ChargingProfileView:
        """A profile of a station.

        Raises:
            NotFoundError: the tenant has no such station, or that no such profile.
        """
        async with self._database.read() as db:
            found = await queries.one(db, await self._key(db, caller, station_id), ident)
        if found is None:
            raise NotFoundError("charging profile", str(ident))
        return found

    async def put(self, caller: Caller, station_id: str, profile: ChargingProfile) -> ChargingProfileView:
        """Sets a profile, in place of one with its id; it goes to the station as soon as that can be reached.

        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: a rule of the station's version is broken; names each field.
            ConflictError: others set the profile of that id.
        """
        async with self._database.change() as db:
            key = await self._key(db, caller, station_id)
            held = await queries.one(db, key, profile.id, lock=True)
            if held is not None and held.origin != "operator" and held.state != "removed":
                who = {
                    "static_limit": "a static limit",
                    "planner": "the planner",
                    "agreement": "an agreement",
                    "partner": "a roaming partner",
                }.get(held.origin, "somebody else")
                raise ConflictError(f"Charging profile {profile.id} was set by {who}; choose another id.")
            if profile.id >= STATIC_LIMIT_IDS:
                raise InvalidInputError(
                    f"Charging profile ids from {STATIC_LIMIT_IDS} on are the house's own.",
                    (("/id", f"must be below {STATIC_LIMIT_IDS}"),),
                )
            await self.check(db, key, profile)
            await queries.put(db, caller.tenant_id, key, profile, origin="operator", set_by=caller.actor)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="set",
                kind="charging-profile",
                ident=f"{station_id}/{profile.id}",
                before=None if held is None else held.profile,
                after=profile,
            )
        self._kick()
        view = await self.one(caller, station_id, profile.id)
        self._events.publish("charging_profile.updated", caller.tenant_id, station_id, view)
        return view

    async def check(self, db: Db, key: StationKey, profile: ChargingProfile) -> None:
        """Refuses a profile that the station could not take.

        Raises:
            InvalidInputError: names each field.
        """
        facts = await smart.facts(db, key)
        assert facts is not None
        version = facts.ocpp_version
        charges = await smart.open_charges(db, key)
        charging = {
            one.evse_id: OpenCharging(
                transaction_id=one.ocpp_transaction_id, needs_reported=one.needs_told, phases_reported=one.needs_told
            )
            for one in charges
        }
        if version is None or version not in self._wire.abilities:
            # never connected: what any version would refuse is refused, the rest when it is known
            base = self._wire.abilities["2.1"]
            broken = validate(profile, abilities_of(base, {}, ()), charging=charging.get(profile.evse_id))
            if broken:
                raise refusal(profile, broken)
            return
        reported = await smart.variables_of(db, key)
        abilities = abilities_of(self._wire.abilities[version], reported, tuple(facts.evse_ids))
        # a unit it refuses is no hindrance: it is converted
        abilities = replace(abilities, units=frozenset(RateUnit))
        there = [one.held for one in await queries.alive(db, key)]
        result = accept(there, profile, abilities, open_charging=charging)
        if result.violations:
            raise refusal(profile, result.violations)
        self._wire.losses(version, profile)

    async def remove(self, caller: Caller, station_id: str, ident: int) -> ChargingProfileView:
        """Has a profile cleared from the station.

        Raises:
            NotFoundError: the tenant has no such station, or that no such profile.
            ConflictError: an external system set it.
        """
        async with self._database.change() as db:
            key = await self._key(db, caller, station_id)
            held = await queries.one(db, key, ident, lock=True)
            if held is None or held.state == "removed":
                raise NotFoundError("charging profile", str(ident))
            if held.profile.purpose in (ProfilePurpose.EXTERNAL_CONSTRAINTS, ProfilePurpose.LOCAL_GENERATION):
                raise ConflictError(f"Charging profile {ident} was set by an external system, which alone clears it.")
            if held.origin == "static_limit":
                raise ConflictError(f"Charging profile {ident} is a static limit; remove that.")
            await queries.remove(db, key, ident, caller.actor)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="clear",
                kind="charging-profile",
                ident=f"{station_id}/{ident}",
                before=held.profile,
            )
        self._kick()
        return await self.one(caller, station_id, ident)

    async def update(
        self, caller: Caller, station_id: str, ident: int, update: PeriodUpdate, timeout_s: float = 30.0
    ) -> tuple[ChargingProfileView, CommandOutcome | None]:
        """New values for a dynamic profile: kept, for stations that ask for them, and told to the station (OCPP 2.1 K28).

        Returns:
            The profile, and how telling the station ended; None where the station asks for them by itself.
        Raises:
            NotFoundError: the tenant has no such station, or that no such profile.
            InvalidInputError: the profile is not dynamic, or would break a rule with these values.
        """
        async with self._database.change() as db:
            key = await self._key(db, caller, station_id)
            held = await queries.one(db, key, ident, lock=True)
            if held is None or held.state == "removed":
                raise NotFoundError("charging profile", str(ident))
            profile = updated(held.profile, update, datetime.now(UTC))
            base = replace(self._wire.abilities["2.1"], phase_switching=frozenset({profile.evse_id}))
            broken = validate(profile, abilities_of(base, {}, ()))
            if broken:
                raise refusal(profile, broken)
            held_to = await held_down(db, key, profile)
            if held_to is profile:
                await queries.put_values(db, key, profile)
            else:
                await queries.put_values(db, key, profile, held_to, (LOWERED,))
            tells = held.state == "installed" and not profile.dyn_update_interval_s
            if tells and not await self._reach.ready(key):
                tells = False  # it gets the whole profile when it is back
                await queries.put(
                    db, caller.tenant_id, key, profile, origin=held.origin, set_by=caller.actor, source=held.source
                )
        outcome = None
        if tells:
            outcome = await self._commands.ask(
                caller.tenant_id,
                key,
                UpdateDynamicSchedule(profile_id=ident, update=update),
                by="smart charging",
                timeout_s=timeout_s,
                valid_s=timeout_s,
            )
        return await self.one(caller, station_id, ident), outcome

    async def allow_transfers(
        self, caller: Caller, station_id: str, ocpp_transaction_id: str, allowed: tuple[EnergyTransfer, ...]
    ) -> CommandOutcome:
        """How a transaction's vehicle may transfer energy from now on: kept, and told to the station (OCPP 2.1 Q02).

        Raises:
            NotFoundError: the tenant has no such station.
            ConflictError: the station is not connected.
        """
        async with self._database.change() as db:
            key = await self._key(db, caller, station_id)
            if not await self._reach.ready(key):
                raise ConflictError(f"'{station_id}' is not connected.")
            await smart.put_allowed(db, key, ocpp_transaction_id, [one.value for one in allowed])
        command = NotifyAllowedEnergyTransfer(ocpp_transaction_id=ocpp_transaction_id, allowed=allowed)
        return await self._commands.ask(caller.tenant_id, key, command, by="smart charging")

    # -- what it adds up to --------------------------------------------------------------------------------------------

    async def schedules(
        self,
        caller: Caller,
        station_id: str,
        *,
        evse_id: int,
        duration_s: int,
        unit: RateUnit,
        start: datetime | None = None,
        ask: bool = False,
        timeout_s: float = 15.0,
    ) -> SchedulesView:
        """The composite schedule of a station (EVSE 0) or an EVSE.

        Args:
            start: now, unless given; the station can only be asked from now on.
            ask: asks the station for its own too.
        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: the duration is out of bounds.
        """
        now = datetime.now(UTC)
        async with self._database.read() as db:
            key = await self._key(db, caller, station_id)
            ours = await self.composite(db, key, evse_id=evse_id, start=start or now, duration_s=duration_s, unit=unit)
        if not ask:
            return SchedulesView(ours=ours, station=None, station_says=None, differences=())
        if not await self._reach.ready(key):
            says = "The station is not connected."
            return SchedulesView(ours=ours, station=None, station_says=says, differences=())
        outcome = await self._commands.ask(
            caller.tenant_id,
            key,
            GetCompositeSchedule(evse_id=evse_id, duration_s=duration_s, unit=unit),
            by="smart charging",
            timeout_s=timeout_s,
            valid_s=timeout_s,
        )
        theirs = reply_of(outcome, StationSchedule) if outcome.state is CommandState.ACCEPTED else None
        if theirs is None:
            says = outcome.reason or f"The station answered {outcome.status} without a schedule."
            return SchedulesView(ours=ours, station=None, station_says=says, differences=())
        found: tuple[Difference, ...] = ()
        if theirs.unit is unit:
            found = differences(ours.periods, theirs.periods, min(duration_s, theirs.duration_s or duration_s))
        other_unit = None if theirs.unit is unit else f"The station tells it in {theirs.unit.value}."
        return SchedulesView(ours=ours, station=theirs, station_says=other_unit, differences=found)

    async def composite(
        self,
        db: Db,
        key: StationKey,
        *,
        evse_id: int,
        start: datetime,
        duration_s: int,
        unit: RateUnit,
        without: frozenset[ProfilePurpose] = frozenset(),
        coming: bool = False,
    ) -> CompositeSchedule:
        """What all that is known to be on a station adds up to; computed in a thread.

        Args:
            without: purposes that are left out.
            coming: what is on its way counts too: a station may tell what follows from a profile before its answer to it is
                written down.
        """
        facts = await smart.facts(db, key)
        assert facts is not None
        profiles = [
            one.held if one.state == "installed" else one.profile
            for one in await queries.alive(db, key)
            if (coming or one.state == "installed") and one.profile.purpose not in without
        ]
        limits = await smart.limits(db, key, holding=True)
        external = _as_profiles(limits, profiles)
        condition = await self._condition(db, key, facts, evse_id)

        def work() -> CompositeSchedule:
            return composite(
                [*profiles, *external],
                evse_id=evse_id,
                start=start,
                duration_s=duration_s,
                unit=unit,
                station=condition,
            )

        return await asyncio.to_thread(work)

    async def _condition(self, db: Db, key: StationKey, facts: StationFacts, evse_id: int) -> StationCondition:
        reported = await smart.variables_of(db, key)
        charges = {one.evse_id: one for one in await smart.open_charges(db, key)}
        evses = {}
        for number in sorted({*facts.evse_ids, *([evse_id] if evse_id else ())}):
            phases = reported.get(("evse", "supplyphases", "", number), "3")
            charge = charges.get(number)
            evses[number] = EvseCondition(
                supply=Supply(phases=int(phases) if phases in ("1", "2") else 3),
                transaction=None
                if charge is None
                else OpenTransaction(
                    id=charge.ocpp_transaction_id, ready_at=charge.started_at, priority=charge.priority
                ),
            )
        return StationCondition(evses=evses, offline_since=None if facts.connected else facts.changed_at)

    # -- what stations and vehicles tell -------------------------------------------------------------------------------

    async def limits(self, caller: Caller, station_id: str) -> list[ChargingLimitView]:
        """What external systems allow a station.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            return await smart.limits(db, await self._key(db, caller, station_id))

    async def needs(
        self, caller: Caller, station_id: str, transaction_id: int | None, limit: int, after: Position | None
    ) -> list[EvNeedView]:
        """What vehicles told of their needs, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await smart.needs(db, await self._key(db, caller, station_id), transaction_id, limit, after)

    async def ev_schedules(
        self, caller: Caller, station_id: str, transaction_id: int | None, limit: int, after: Position | None
    ) -> list[EvScheduleView]:
        """What vehicles said they would follow, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await smart.schedules(db, await self._key(db, caller, station_id), transaction_id, limit, after)

    # -- dialects ------------------------------------------------------------------------------------------------------

    async def dialects(self, caller: Caller) -> list[DialectView]:
        """What models are known to refuse of charging profiles."""
        async with self._database.read() as db:
            return await smart.dialects(db, caller.tenant_id)

    async def set_dialect(self, caller: Caller, vendor: str, model: str, firmware: str, trait: str) -> None:
        """An operator knows what a model refuses, or takes without doing it."""
        async with self._database.change() as db:
            await smart.learn(db, caller.tenant_id, vendor, model, firmware, trait, None)
            said = {"vendor": vendor, "model": model, "firmware": firmware, "trait": trait}
            await _note_dialect(db, caller, "create", after=said)

    async def forget_dialect(self, caller: Caller, vendor: str, model: str, firmware: str, trait: str) -> None:
        """A model may be asked again.

        Raises:
            NotFoundError: it was not known to refuse that.
        """
        async with self._database.change() as db:
            if not await smart.forget(db, caller.tenant_id, vendor, model, firmware, trait):
                raise NotFoundError("charging dialect", f"{vendor} {model} {firmware} {trait}")
            said = {"vendor": vendor, "model": model, "firmware": firmware, "trait": trait}
            await _note_dialect(db, caller, "delete", before=said)


async def _note_dialect(db: Db, caller: Caller, action: str, **said: dict[str, str]) -> None:
    (content,) = said.values()
    await audit(
        db,
        caller.tenant_id,
        actor=caller.actor,
        action=action,
        kind="charging-dialect",
        ident=" ".join(content.values()),
        before=said.get("before"),
        after=said.get("after"),
    )


def _as_profiles(limits: Sequence[ChargingLimitView], profiles: Sequence[ChargingProfile]) -> list[ChargingProfile]:
    """External limits as the profiles they are on the station, where the station did not report those (K11.FR.06)."""
    reported = {
        one.evse_id
        for one in profiles
        if one.purpose in (ProfilePurpose.EXTERNAL_CONSTRAINTS, ProfilePurpose.LOCAL_GENERATION)
    }
    found = []
    for index, limit in enumerate(limits):
        if limit.evse_id in reported or not limit.schedules:
            continue
        schedule = limit.schedules[0]
        if schedule.start is None:
            schedule = replace(schedule, start=limit.told_at)
        purpose = ProfilePurpose.LOCAL_GENERATION if limit.local_generation else ProfilePurpose.EXTERNAL_CONSTRAINTS
        found.append(
            ChargingProfile(
                id=-1 - index,
                evse_id=limit.evse_id,
                stack_level=0,
                purpose=purpose,
                kind=ProfileKind.ABSOLUTE,
                schedules=(schedule,),
            )
        )
    return found
