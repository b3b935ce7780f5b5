"""What is rated: a session cut into periods, and how periods are made of meter readings."""

from __future__ import annotations

import enum
import itertools
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from msgspec import Struct

from chargeplane.kernel.errors import InvalidInputError

_NOTHING: Final = Decimal(0)
SPREAD: Final = Decimal(1).scaleb(-9)
"""Wh to which energy is divided, so that the parts make the whole exactly."""
_MICROSECOND: Final = timedelta(microseconds=1)


class PeriodState(enum.StrEnum):
    """What the vehicle does: OCPI's TIME, PARKING_TIME and RESERVATION_TIME."""

    CHARGING = "charging"
    PARKING = "parking"
    RESERVED = "reserved"


class Period(Struct, frozen=True, kw_only=True, gc=False):
    """A part of a session in which state and flow are even.

    Args:
        start, end: aware, UTC; the end does not belong.
        energy_wh: into the vehicle; what it gave back counts as none.
        min_current, max_current: A, sum over phases; None where it is not known.
        min_power, max_power: W; None: what the energy says.
        meter_values: ordinals of the meter values it rests on.
    """

    start: datetime
    end: datetime
    energy_wh: Decimal = _NOTHING
    state: PeriodState = PeriodState.CHARGING
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    meter_values: tuple[int, ...] = ()


class Charge(Struct, frozen=True, kw_only=True):
    """A session, or a reservation that was not used, as it is rated.

    Args:
        periods: in order, not overlapping; gaps cost nothing.
        reservation_expired: the reservation was not followed by charging.
        booked: the reservation was a booking.
        canceled: the booking was canceled; with `reservation_expired`.
        booked_until: what goes on after the booking's end is overtime.
    """

    periods: Sequence[Period]
    reservation_expired: bool = False
    booked: bool = False
    canceled: bool = False
    booked_until: datetime | None = None


class Reading(Struct, frozen=True, kw_only=True):
    """What a meter stood at.

    Args:
        energy_wh: register, or energy since the start; only differences count.
        power_w, current_a: from here to the next reading, where the station tells them; current as sum over phases.
        ordinal: of the meter value.
    """

    at: datetime
    energy_wh: Decimal
    power_w: Decimal | None = None
    current_a: Decimal | None = None
    ordinal: int | None = None


class StateChange(Struct, frozen=True, kw_only=True):
    """From when on a session is in a state."""

    at: datetime
    state: PeriodState


def charge_of(
    start: datetime,
    end: datetime,
    readings: Sequence[Reading],
    states: Sequence[StateChange],
    *,
    reserved_from: datetime | None = None,
    total_wh: Decimal | None = None,
) -> Charge:
    """Periods of a session, cut at each reading and each change of state.

    Energy between two readings is spread by time over the part of it in which the session charges; over all of it where it never does.
    Before the first and after the last reading none flowed, except that what `total_wh` has more is put where no reading tells better.

    Args:
        readings: in any order; those outside of the session and registers that go back are left out.
        states: in any order; charging until the first.
        reserved_from: of a reservation that the session used.
        total_wh: what the session took in all, where that is known better than by the readings.
    Raises:
        InvalidInputError: the end is before the start.
    """
    if end < start:
        raise InvalidInputError(f"A session cannot end ({end}) before it starts ({start}).")
    periods: list[Period] = []
    if reserved_from is not None and reserved_from < start:
        periods.append(Period(start=reserved_from, end=start, state=PeriodState.RESERVED))
    known = _rising(start, end, readings)
    changes = sorted(states, key=lambda change: change.at)
    if total_wh is not None:
        known = _completed(start, end, known, total_wh)
    cuts = sorted({start, end, *(r.at for r in known), *(c.at for c in changes if start < c.at < end)})
    times = [change.at for change in changes]
    for reading, following in itertools.pairwise(known):
        if following.at == reading.at and following.energy_wh > reading.energy_wh:
            # More energy at one moment: nothing to spread it over.
            periods.append(
                Period(
                    start=reading.at,
                    end=reading.at,
                    energy_wh=following.energy_wh - reading.energy_wh,
                    meter_values=_ordinals(reading, following),
                )
            )
    spans = [(a, b, _state(changes, times, a)) for a, b in itertools.pairwise(cuts)]
    periods += _spread(spans, known)
    periods.sort(key=lambda period: (period.start, period.end))
    return Charge(periods=tuple(periods), booked=reserved_from is not None)


def _rising(start: datetime, end: datetime, readings: Sequence[Reading]) -> list[Reading]:
    kept: list[Reading] = []
    for reading in sorted(readings, key=lambda r: (r.at, r.energy_wh)):
        if start <= reading.at <= end and (not kept or reading.energy_wh >= kept[-1].energy_wh):
            kept.append(reading)
    return kept


def _completed(start: datetime, end: datetime, known: list[Reading], total_wh: Decimal) -> list[Reading]:
    """The readings with one more at the end, or the start, so that they tell the whole energy."""
    if not known:
        return [Reading(at=start, energy_wh=_NOTHING), Reading(at=end, energy_wh=max(total_wh, _NOTHING))]
    missing = total_wh - (known[-1].energy_wh - known[0].energy_wh)
    if missing < 0:
        kept = [r for r in known if r.energy_wh - known[0].energy_wh <= total_wh]
        return [*kept, Reading(at=end, energy_wh=known[0].energy_wh + max(total_wh, _NOTHING))]
    if missing == 0:
        return known
    if known[0].at > start:
        return [Reading(at=start, energy_wh=known[0].energy_wh - missing), *known]
    return [*known, Reading(at=end, energy_wh=known[-1].energy_wh + missing)]


def _state(changes: list[StateChange], times: list[datetime], at: datetime) -> PeriodState:
    place = bisect_right(times, at)
    return changes[place - 1].state if place else PeriodState.CHARGING


def _spread(spans: list[tuple[datetime, datetime, PeriodState]], known: list[Reading]) -> list[Period]:
    made: list[Period] = []
    times = [reading.at for reading in known]
    place = 0
    while place < len(spans):
        a = spans[place][0]
        index = bisect_right(times, a)
        if not 0 < index < len(known):
            made.append(Period(start=a, end=spans[place][1], state=spans[place][2]))
            place += 1
            continue
        reading, following = known[index - 1], known[index]
        between = []
        while place < len(spans) and spans[place][0] < following.at:
            between.append(spans[place])
            place += 1
        made += _between(between, reading, following)
    return made


def _between(spans: list[tuple[datetime, datetime, PeriodState]], reading: Reading, following: Reading) -> list[Period]:
    energy = following.energy_wh - reading.energy_wh
    charges = any(state is PeriodState.CHARGING for _, _, state in spans)
    takes = [state is PeriodState.CHARGING or not charges for _, _, state in spans]
    micros = sum((b - a) // _MICROSECOND for (a, b, _), taken in zip(spans, takes, strict=True) if taken)
    made: list[Period] = []
    passed, given = 0, _NOTHING
    for (a, b, state), taken in zip(spans, takes, strict=True):
        part = _NOTHING
        if taken and micros:
            passed += (b - a) // _MICROSECOND
            upto = energy if passed == micros else (energy * passed / micros).quantize(SPREAD, ROUND_HALF_EVEN)
            part, given = upto - given, upto
        flows = state is PeriodState.CHARGING
        made.append(
            Period(
                start=a,
                end=b,
                energy_wh=part,
                state=state,
                min_power=reading.power_w if flows else None,
                max_power=reading.power_w if flows else None,
                min_current=reading.current_a if flows else None,
                max_current=reading.current_a if flows else None,
                meter_values=_ordinals(reading, following),
            )
        )
    return made


def _ordinals(*readings: Reading) -> tuple[int, ...]:
    return tuple(reading.ordinal for reading in readings if reading.ordinal is not None)
