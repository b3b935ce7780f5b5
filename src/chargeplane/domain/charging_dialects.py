"""What models refuse of charging profiles, and what to send them instead.

A trait is learned when a station refuses a profile and takes its fallback; from then on stations of the same vendor, model and
firmware get the fallback at once. A fallback never allows more than what was asked for, but where a limit of 0 is refused: there it
is the least current a vehicle charges with (IEC 61851-1: 6 A).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfilePurpose,
    RateUnit,
)

MIN_CURRENT: Final = Decimal(6)
"""A per phase below which a vehicle pauses (IEC 61851-1)."""

_TENTH: Final = Decimal("0.1")


class Trait(enum.StrEnum):
    """What a model refuses."""

    NO_WATTS = "no_watts"
    NO_AMPERES = "no_amperes"
    NO_STATION_MAX = "no_station_max"
    STACK_LEVEL_FROM_ONE = "stack_level_from_one"
    NO_ZERO_LIMIT = "no_zero_limit"


SENTENCES: Final[Mapping[Trait, str]] = {
    Trait.NO_WATTS: "Limits in W are refused: they are sent in A.",
    Trait.NO_AMPERES: "Limits in A are refused: they are sent in W.",
    Trait.NO_STATION_MAX: "A maximum of the station is refused: each EVSE gets its share as a default.",
    Trait.STACK_LEVEL_FROM_ONE: "Stack level 0 is refused: levels are sent one higher.",
    Trait.NO_ZERO_LIMIT: "A limit of 0 is refused: the least charging current is sent.",
}
"""What a trait means, for an operator."""


class Electrics(Struct, frozen=True, kw_only=True):
    """What limits are converted by: V between phase and neutral, phases, and how many EVSEs share the station."""

    voltage: Decimal = Decimal(230)
    phases: int = 3
    evses: int = 1


class Adapted(Struct, frozen=True, kw_only=True):
    """A profile as a model takes it, and how it differs, in sentences."""

    profile: ChargingProfile
    changes: tuple[str, ...] = ()


def adapted(profile: ChargingProfile, traits: frozenset[Trait], electrics: Electrics) -> Adapted:
    """The profile in the dialect of a model."""
    changes: list[str] = []
    if Trait.NO_STATION_MAX in traits and profile.purpose is ProfilePurpose.CHARGING_STATION_MAX:
        share = Decimal(max(1, electrics.evses))
        profile = _each_period(replace(profile, purpose=ProfilePurpose.TX_DEFAULT), lambda _, p: _scaled(p, 1 / share))
        changes.append(f"sent as a TxDefaultProfile with 1/{share} of the limit for each EVSE")
    if Trait.NO_ZERO_LIMIT in traits and any(p.limit == 0 for s in profile.schedules for p in s.periods):
        profile = _each_period(profile, lambda s, p: _least(s, p, electrics))
        changes.append(f"a limit of 0 is sent as {MIN_CURRENT} A per phase")
    for trait, unit in ((Trait.NO_WATTS, RateUnit.A), (Trait.NO_AMPERES, RateUnit.W)):
        if trait in traits and any(s.unit is not unit for s in profile.schedules):
            profile = _in_unit(profile, unit, electrics)
            changes.append(f"limits are sent in {unit.value}")
    if Trait.STACK_LEVEL_FROM_ONE in traits:
        profile = replace(profile, stack_level=profile.stack_level + 1)
        changes.append("its stack level is sent one higher")
    return Adapted(profile=profile, changes=tuple(changes))


def fallbacks(profile: ChargingProfile, known: frozenset[Trait], told: str) -> Iterator[Trait]:
    """Traits that would explain why a station refused a profile, the likeliest first.

    Args:
        profile: as it was refused.
        known: traits that it was adapted to already.
        told: what the station said; the reason codes of OCPP 2.x lead.
    """
    possible = []
    if any(s.unit is RateUnit.W for s in profile.schedules):
        possible.append(Trait.NO_WATTS)
    if any(s.unit is RateUnit.A for s in profile.schedules):
        possible.append(Trait.NO_AMPERES)
    if profile.stack_level == 0:
        possible.append(Trait.STACK_LEVEL_FROM_ONE)
    if any(p.limit == 0 for s in profile.schedules for p in s.periods):
        possible.append(Trait.NO_ZERO_LIMIT)
    if profile.purpose is ProfilePurpose.CHARGING_STATION_MAX:
        possible.append(Trait.NO_STATION_MAX)
    hinted = [trait for word, traits in _HINTS.items() if word in told for trait in traits]
    possible.sort(key=lambda trait: trait not in hinted)
    if Trait.NO_WATTS in known or Trait.NO_AMPERES in known:  # one of them holds; the other cannot
        possible = [trait for trait in possible if trait not in (Trait.NO_WATTS, Trait.NO_AMPERES)]
    yield from (trait for trait in possible if trait not in known)


# SmartCharging reason codes of OCPP 2.x (Part 2, Appendix 5)
_HINTS: Final[Mapping[str, tuple[Trait, ...]]] = {
    "UnsupportedRateUnit": (Trait.NO_WATTS, Trait.NO_AMPERES),
    "UnsupportedPurpose": (Trait.NO_STATION_MAX,),
    "StackLevel": (Trait.STACK_LEVEL_FROM_ONE,),
    "InvalidSchedule": (Trait.NO_ZERO_LIMIT,),
}


def _each_period(
    profile: ChargingProfile, change: Callable[[ChargingSchedule, ChargingPeriod], ChargingPeriod]
) -> ChargingProfile:
    return replace(
        profile,
        schedules=tuple(replace(s, periods=tuple(change(s, p) for p in s.periods)) for s in profile.schedules),
    )


_VALUES: Final = tuple(
    f"{name}{phase}" for name in ("limit", "discharge_limit", "setpoint") for phase in ("", "_l2", "_l3")
)


def _scaled(period: ChargingPeriod, factor: Decimal) -> ChargingPeriod:
    """Values times a factor, cut towards 0: never more than was meant."""
    values = {name: getattr(period, name) for name in _VALUES}
    return replace(
        period,
        **{name: (v * factor).quantize(_TENTH, ROUND_DOWN) for name, v in values.items() if v is not None},
    )


def _least(schedule: ChargingSchedule, period: ChargingPeriod, electrics: Electrics) -> ChargingPeriod:
    if period.limit != 0:
        return period
    phases = period.number_phases or electrics.phases
    least = MIN_CURRENT if schedule.unit is RateUnit.A else MIN_CURRENT * electrics.voltage * phases
    return replace(period, limit=least)


def _in_unit(profile: ChargingProfile, unit: RateUnit, electrics: Electrics) -> ChargingProfile:
    def whole(schedule: ChargingSchedule) -> ChargingSchedule:
        if schedule.unit is unit:
            return schedule
        periods = []
        for period in schedule.periods:
            # limits of single phases are per phase in both units
            several = period.limit_l2 is not None or period.limit_l3 is not None
            watts = electrics.voltage * (1 if several else period.number_phases or electrics.phases)
            periods.append(_scaled(period, 1 / watts if unit is RateUnit.A else watts))
        lowest = schedule.min_charging_rate
        if lowest is not None:
            watts = electrics.voltage * electrics.phases
            lowest = (lowest / watts if unit is RateUnit.A else lowest * watts).quantize(_TENTH)
        return replace(schedule, unit=unit, periods=tuple(periods), min_charging_rate=lowest)

    return replace(profile, schedules=tuple(whole(schedule) for schedule in profile.schedules))
