"""A schedule for a vehicle that told its needs, within the limits that hold; and whether a vehicle's own schedule is within them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from msgspec import Struct

from chargeplane.domain.charging_profiles import ChargingPeriod, ChargingSchedule, RateUnit
from chargeplane.domain.composite_schedules import CompositeSchedule
from chargeplane.domain.smart_charging import EvChargingNeeds, EvChargingSchedule

LONGEST_PLAN_S: Final = 24 * 3600
"""A vehicle that does not say when it leaves is planned for a day."""

_TOLERANCE: Final = Decimal("0.1")  # what a station or vehicle loses by rounding


class Difference(Struct, frozen=True, kw_only=True):
    """Where two schedules differ, in seconds from their start. A limit of None is no limit."""

    start_s: int
    end_s: int
    ours: Decimal | None
    theirs: Decimal | None


def planned_s(needs: EvChargingNeeds, now: datetime) -> int:
    """For how long a vehicle is to be planned."""
    if needs.departure_at is None:
        return LONGEST_PLAN_S
    left = int((needs.departure_at - now) / timedelta(seconds=1))
    return min(max(left, 900), LONGEST_PLAN_S)


def plan(
    limits: CompositeSchedule,
    needs: EvChargingNeeds,
    *,
    voltage: Decimal = Decimal(230),
    most_periods: int | None = None,
) -> ChargingSchedule | None:
    """As much as the limits allow and the vehicle takes; None where neither is known.

    Args:
        limits: what holds for its EVSE, without a profile of the transaction.
        most_periods: what the station takes; the vehicle may take fewer (K15.FR.07).
    """
    top = needs.max_power_w
    if top is not None and limits.unit is RateUnit.A:
        top /= voltage * 3
    merged: list[tuple[int, Decimal, int | None]] = []
    for period in limits.periods:
        given = [value for value in (period.limit, top) if value is not None]
        if not given:
            return None
        if not merged or merged[-1][1:] != (min(given), period.number_phases):
            merged.append((period.start_s, min(given), period.number_phases))
    most = min((n for n in (most_periods, needs.max_periods) if n), default=1024)
    if len(merged) > most:  # the last period stands for all that follow: the lowest of them
        kept, rest = merged[: most - 1], merged[most - 1 :]
        merged = [*kept, (rest[0][0], min(limit for _, limit, _ in rest), rest[0][2])]
    return ChargingSchedule(
        id=1,
        unit=limits.unit,
        start=limits.start,
        periods=tuple(
            ChargingPeriod(start_s=start, limit=_cut(limit), number_phases=phases) for start, limit, phases in merged
        ),
    )


def _cut(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.1"), "ROUND_FLOOR").normalize() + 0


def exceeding(told: EvChargingSchedule, limits: CompositeSchedule) -> str | None:
    """Where a vehicle's schedule exceeds the limits, in words; None where it stays within (K15.FR.11, FR.12).

    Args:
        limits: in the schedule's unit, from its time base on.
    """
    for start, end, theirs, ours in _spans(told.schedule.periods, limits.periods, limits.duration_s):
        if theirs is not None and ours is not None and theirs > ours + _TOLERANCE:
            return f"from {start} s to {end} s it takes {theirs} {limits.unit.value} where {ours} are allowed"
    return None


def differences(
    ours: Sequence[ChargingPeriod],
    theirs: Sequence[ChargingPeriod],
    duration_s: int,
    *,
    tolerance: Decimal = _TOLERANCE,
) -> tuple[Difference, ...]:
    """Where a station's composite schedule is another than ours; equal ones in a row are one."""
    found: list[Difference] = []
    for start, end, their, our in _spans(theirs, ours, duration_s):
        if their == our or (their is not None and our is not None and abs(their - our) <= tolerance):
            continue
        last = found[-1] if found else None
        if last is not None and last.end_s == start and (last.ours, last.theirs) == (our, their):
            found[-1] = Difference(start_s=last.start_s, end_s=end, ours=our, theirs=their)
        else:
            found.append(Difference(start_s=start, end_s=end, ours=our, theirs=their))
    return tuple(found)


def _spans(
    first: Sequence[ChargingPeriod], second: Sequence[ChargingPeriod], duration_s: int
) -> list[tuple[int, int, Decimal | None, Decimal | None]]:
    edges = [*sorted({0, *(p.start_s for p in (*first, *second) if 0 <= p.start_s < duration_s)}), duration_s]
    return [(start, end, _at(first, start), _at(second, start)) for start, end in pairwise(edges)]


def _at(periods: Sequence[ChargingPeriod], second: int) -> Decimal | None:
    found: Decimal | None = None
    for period in periods:
        if period.start_s > second:
            break
        found = period.limit
    return found
