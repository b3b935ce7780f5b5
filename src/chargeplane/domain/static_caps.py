"""What holds an EVSE's static limit over transactions.

OCPP knows a maximum of the whole station only; a TxProfile or PriorityCharging overrules the EVSE's TxDefaultProfile, which the static
limit is (OCPP 2.1 Part 2, K 3.5; OCPP 1.6, 3.13.2). So such profiles go to the station with no more than the static limit in them.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Final

from msgspec.structs import replace

from chargeplane.domain.charging_dialects import Electrics
from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    OperationMode,
    ProfilePurpose,
    RateUnit,
)

OVERRULING: Final = frozenset({ProfilePurpose.TX, ProfilePurpose.PRIORITY_CHARGING, ProfilePurpose.TX_DEFAULT})
"""Purposes of which a profile may lead in place of a static limit."""

LOWERED: Final = "limits above the static limit of the EVSE lowered to it"


def within(profile: ChargingProfile, limit: Decimal, unit: RateUnit, electrics: Electrics) -> ChargingProfile:
    """The profile with no charging limit or setpoint above a static limit.

    Args:
        limit: W of all phases together, or A of each phase.
    """
    if profile.purpose not in OVERRULING:
        return profile
    schedules = tuple(
        replace(one, periods=tuple(_lowered(period, _cap(limit, unit, one.unit, electrics)) for period in one.periods))
        for one in profile.schedules
    )
    return profile if schedules == profile.schedules else replace(profile, schedules=schedules)


_Cap = Callable[[int | None], tuple[Decimal, int]]


def _cap(limit: Decimal, unit: RateUnit, wanted: RateUnit, electrics: Electrics) -> _Cap:
    def of(number_phases: int | None) -> tuple[Decimal, int]:
        phases = min(number_phases or electrics.phases, electrics.phases)
        power = electrics.voltage * phases
        if unit is wanted:
            found = limit
        elif wanted is RateUnit.W:
            found = limit * power
        else:
            found = (limit / power).quantize(Decimal("0.1"), ROUND_DOWN)
        return found, phases if wanted is RateUnit.W else 1

    return of


def _lowered(period: ChargingPeriod, cap_of: _Cap) -> ChargingPeriod:
    cap, parts = cap_of(period.number_phases)
    each = cap / parts
    by_phase = period.limit_l2 is not None or period.limit_l3 is not None
    found = replace(
        period,
        limit=_least(period.limit, each if by_phase else cap),
        limit_l2=_least(period.limit_l2, each),
        limit_l3=_least(period.limit_l3, each),
        setpoint=_least(
            period.setpoint, each if period.setpoint_l2 is not None or period.setpoint_l3 is not None else cap
        ),
        setpoint_l2=_least(period.setpoint_l2, each),
        setpoint_l3=_least(period.setpoint_l3, each),
    )
    if found.limit is None and found.setpoint is None and period.operation_mode in (None, OperationMode.CHARGING_ONLY):
        found = replace(found, limit=cap)
    return found


def _least(value: Decimal | None, cap: Decimal) -> Decimal | None:
    return value if value is None or value <= cap else cap
