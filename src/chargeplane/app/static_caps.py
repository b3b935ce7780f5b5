"""Holds what goes to stations within the static limits of their EVSEs and their transactions' agreements, whoever sends it: whole profiles, the one of a command that starts a
transaction, and new values of dynamic ones. A command is recorded as it was given; what was sent stands in the log of messages.
"""

from __future__ import annotations

from msgspec.structs import asdict, replace

from chargeplane.app.commands import Commands
from chargeplane.domain.charging_abilities import electrics_of
from chargeplane.domain.charging_profiles import ChargingProfile, PeriodUpdate, ProfilePurpose, RateUnit
from chargeplane.domain.commands import Command, Start
from chargeplane.domain.commands.smart_charging import UpdateDynamicSchedule
from chargeplane.domain.static_caps import within
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_profiles as profiles
from chargeplane.store.queries import smart_charging as queries
from chargeplane.store.queries.paging import Db


async def held_down(db: Db, key: StationKey, profile: ChargingProfile) -> ChargingProfile:
    """The profile with no more in it than the static limits of its EVSE, or of any where it is for all; itself where it has no more."""
    profile = await _within_agreement(db, key, profile)
    limits = [
        one for one in await queries.static_limits(db, key) if one.evse_id and profile.evse_id in (0, one.evse_id)
    ]
    if not limits:
        return profile
    facts = await queries.facts(db, key)
    reported = await queries.variables_of(db, key)
    evses = len(facts.evse_ids) if facts is not None else 1
    for one in limits:
        profile = within(profile, one.limit, RateUnit(one.unit), electrics_of(reported, one.evse_id, evses))
    return profile


async def _within_agreement(db: Db, key: StationKey, profile: ChargingProfile) -> ChargingProfile:
    """With no more power than the agreement of its transaction allows (app/sessions/limiting.py)."""
    if profile.purpose is not ProfilePurpose.TX or profile.transaction_id is None:
        return profile
    agreed = [
        one.profile.schedules[0].periods[0].limit
        for one in await profiles.alive(db, key)
        if one.origin == "agreement" and one.id != profile.id and one.profile.transaction_id == profile.transaction_id
    ]
    limits = [one for one in agreed if one is not None]
    if not limits:
        return profile
    facts = await queries.facts(db, key)
    reported = await queries.variables_of(db, key)
    evses = len(facts.evse_ids) if facts is not None else 1
    return within(profile, min(limits), RateUnit.W, electrics_of(reported, profile.evse_id, evses))


def values_of(profile: ChargingProfile) -> PeriodUpdate:
    """All values of a dynamic profile's one period."""
    period = profile.schedules[0].periods[0]
    return PeriodUpdate(**{name: getattr(period, name) for name in PeriodUpdate.__struct_fields__})


class StaticCaps:
    """Looks at commands before they are sent."""

    def __init__(self, database: Database, commands: Commands) -> None:
        self._database = database
        commands.completes.setdefault(Start, []).append(self._start)
        commands.completes.setdefault(UpdateDynamicSchedule, []).append(self._update)

    async def _start(self, _: TenantId, key: StationKey, command: Start) -> Command:
        profile = command.charging_profile
        if profile is None:
            return command
        async with self._database.read() as db:
            at_its_place = replace(profile, evse_id=command.evse_id or 0)
            held = await held_down(db, key, at_its_place)
        if held is at_its_place:
            return command
        return replace(command, charging_profile=replace(held, evse_id=profile.evse_id))

    async def _update(self, _: TenantId, key: StationKey, command: UpdateDynamicSchedule) -> Command:
        async with self._database.read() as db:
            found = await profiles.one(db, key, command.profile_id)
            if found is None:
                return command
            schedule = found.profile.schedules[0]
            given = {name: value for name, value in asdict(command.update).items() if value is not None}
            period = replace(schedule.periods[0], **given)
            wanted = replace(found.profile, schedules=(replace(schedule, periods=(period,)),))
            held = await held_down(db, key, wanted)
        if held is wanted:
            return command
        values = asdict(values_of(held))
        return replace(command, update=PeriodUpdate(**{name: values[name] for name in given}))
