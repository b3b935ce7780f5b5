"""The rating engine: (periods, tariff, time zone) -> lines that explain every cent. Pure.

How it goes:

1. Each period is cut wherever a restriction may begin or end to be met: at a local time of day or date, at a change of the zone's
   offset, at a duration, at an amount of energy. Energy is spread evenly over its period. What holds in the piece is looked up in the
   tariff's plan; pieces in a row with the same component make one slice, so cutting a period in two changes nothing.
2. Volumes are rounded up once: all energy by the step of the last energy component, and the last of charging and parking time by the
   step of the last time component (OCPI 2.3.0 mod_cdrs, step_size). What is added counts in the last slice.
3. Slices become lines with taxes; then come the agreement's allowances and discounts, the tariff's least and most price, and discounts
   of the whole bill, each as lines of their own.

Amounts of lines have twelve decimals and are summed exactly; only what is to be paid is rounded, by kernel/money.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Final
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from chargeplane.domain.rating.bill import Bill
from chargeplane.domain.rating.charge import SPREAD, Charge, Period, PeriodState
from chargeplane.domain.rating.plan import Holding, Plan, Priced, Use, plan_of
from chargeplane.domain.rating.result import CostGroup, Rating, Tax
from chargeplane.domain.rating.slices import Slice
from chargeplane.domain.rating.terms import Terms
from chargeplane.domain.tariffs.model import Tariff, TariffDimension
from chargeplane.kernel.errors import InvalidInputError

_NOTHING: Final = Decimal(0)
_ONE: Final = Decimal(1)
_MICROSECOND: Final = timedelta(microseconds=1)
_NO_TIME: Final = timedelta()
_MICROSECONDS_AN_HOUR: Final = 3_600_000_000
_SECOND: Final = Decimal(1_000_000)
_FINE: Final = Decimal(1).scaleb(-6)
"""Volumes are taken to the millionth before they are rounded up: what division leaves behind is no volume."""


def rate(
    charge: Charge,
    tariff: Tariff,
    time_zone: ZoneInfo,
    *,
    terms: Terms | None = None,
    taxes: Sequence[Tax] = (),
) -> Rating:
    """What a session costs.

    Args:
        charge: the whole session, or as much of it as there is.
        tariff: the version that was frozen when it was authorised; its start and end dates are not looked at.
        time_zone: of the location.
        terms: what the agreement changes.
        taxes: put on components for which the tariff names no tax (where it says that taxes apply at all).
    Raises:
        InvalidInputError: periods that overlap or end before they start.
    """
    plan = plan_of(tariff)
    run = _Run(plan, time_zone, _use_of(charge))
    run.take(charge.periods)
    if charge.booked_until is not None:
        run.overtime(charge.booked_until, charge.periods)
    bill = Bill(tariff, taxes, terms or Terms())
    run.round_up()
    for piece in run.slices:
        bill.price(piece)
    return bill.close(
        start=charge.periods[0].start if charge.periods else None,
        end=charge.periods[-1].end if charge.periods else None,
        session=run.began is not None,
        energy_wh=run.energy,
        charging_s=_seconds(run.charging),
        parking_s=_seconds(run.parking),
        reserved_s=_seconds(run.reserved),
    )


def so_far(
    charge: Charge,
    tariff: Tariff,
    time_zone: ZoneInfo,
    now: datetime,
    *,
    terms: Terms | None = None,
    taxes: Sequence[Tax] = (),
) -> Rating:
    """What a session that goes on would cost if it ended now: time runs on since its last period, energy as far as it is known.

    Args:
        charge: its periods so far.
        now: aware, UTC.
    Raises:
        InvalidInputError: periods that overlap or end before they start.
    """
    periods = charge.periods
    if periods and periods[-1].end < now:
        last = periods[-1]
        tail = Period(
            start=last.end,
            end=now,
            state=last.state,
            min_current=last.min_current,
            max_current=last.max_current,
            min_power=_mean_power(last),
            max_power=_mean_power(last),
            meter_values=last.meter_values[-1:],
        )
        charge = replace(charge, periods=(*periods, tail))
    return rate(charge, tariff, time_zone, terms=terms, taxes=taxes)


def holding_at(tariff: Tariff, time_zone: ZoneInfo, at: datetime, power_w: Decimal | None = None) -> Holding:
    """What holds in the first moment of a session that begins at a time.

    Args:
        power_w: it would charge with; None: restrictions on power are not met.
    """
    plan = plan_of(tariff)
    clock, _ = plan.clock(at, time_zone)
    power = bisect_right(plan.power_cuts, power_w) if power_w is not None else -1
    reached = bisect_right(plan.energy_cuts, _NOTHING), bisect_right(plan.duration_cuts, _NO_TIME)
    return plan.holding(Use.SESSION, clock, *reached, power, -1)


class _Run:
    """The walk over the periods."""

    def __init__(self, plan: Plan, zone: ZoneInfo, reserving: Use) -> None:
        self._plan = plan
        self._zone = zone
        self._reserving = reserving
        self.began: datetime | None = None
        self.slices: list[Slice] = []
        self.energy = _NOTHING
        self.charging = self.parking = self.reserved = _NO_TIME
        self._open: list[Slice | None] = [None, None, None]  # energy, time of charging, time of parking
        self._fees: set[tuple[int, int]] = set()
        self._clock_at_start = 0

    def take(self, periods: Sequence[Period]) -> None:
        """Cuts the periods into slices."""
        self._reservation([period for period in periods if period.state is PeriodState.RESERVED])
        plan, charging = self._plan, PeriodState.CHARGING
        clock, clock_until = 0, None
        duration_until: datetime | None = None
        energy_cuts, duration_cuts = plan.energy_cuts, plan.duration_cuts
        energy_until: Decimal | None = None
        by_power, by_current = bool(plan.power_cuts), bool(plan.current_cuts)
        power = current = -1
        so_far = _NOTHING
        held: Holding | None = None
        previous: datetime | None = None
        for period in periods:
            start, end, state = period.start, period.end, period.state
            if end < start or (previous is not None and start < previous):
                raise InvalidInputError(f"The periods of a session overlap at {start.isoformat()}.")
            previous = end
            if state is PeriodState.RESERVED:
                continue
            charges = state is charging
            if charges:
                self.charging += end - start
            else:
                self.parking += end - start
            energy = period.energy_wh if period.energy_wh > 0 else _NOTHING
            if self.began is None:
                self.began = start
                self._clock_at_start, _ = plan.clock(start, self._zone)
            if by_power:
                level = bisect_right(plan.power_cuts, _mean_power(period))
                held, power = (held, power) if level == power else (None, level)
            if by_current:
                flowing = _mean_current(period)
                level = -1 if flowing is None else bisect_right(plan.current_cuts, flowing)
                held, current = (held, current) if level == current else (None, level)
            at, whole_wh, target = start, so_far, so_far + energy
            while True:
                if (
                    held is None
                    or (clock_until is not None and at >= clock_until)
                    or (duration_until is not None and at >= duration_until)
                    or (energy_until is not None and so_far >= energy_until)
                ):
                    clock, clock_until = plan.clock(at, self._zone)
                    lasted = at - self.began
                    reached = bisect_right(duration_cuts, lasted)
                    duration_until = self.began + duration_cuts[reached] if reached < len(duration_cuts) else None
                    taken = bisect_right(energy_cuts, so_far)
                    energy_until = energy_cuts[taken] if taken < len(energy_cuts) else None
                    held = plan.holding(Use.SESSION, clock, taken, reached, power, current)
                    fee = plan.holding(Use.SESSION, self._clock_at_start, taken, reached, power, current).flat
                    if fee is not None:
                        self._fee(fee, at, period.meter_values)
                # Where the piece ends: the period's end, unless something changes before.
                until, upto = end, target
                if clock_until is not None and clock_until < until:
                    until = clock_until
                if duration_until is not None and duration_until < until:
                    until = duration_until
                if until < end:
                    part = energy * ((until - start) // _MICROSECOND) / ((end - start) // _MICROSECOND)
                    upto = whole_wh + part.quantize(SPREAD, ROUND_HALF_EVEN)
                if energy_until is not None and upto > energy_until:
                    upto = energy_until
                    until = _crossing(start, end, energy, energy_until - whole_wh)
                    if until < at:
                        until = at
                part = upto - so_far
                if part:
                    self._add(0, held.energy, CostGroup.ENERGY, at, until, part, period.meter_values)
                if until > at:
                    self._add(
                        1 if charges else 2,
                        held.time if charges else held.parking,
                        CostGroup.TIME if charges else CostGroup.PARKING,
                        at,
                        until,
                        until - at,
                        period.meter_values,
                    )
                at, so_far = until, upto
                if at >= end and so_far >= target:
                    break
        self.energy = so_far

    def round_up(self) -> None:
        """Adds what `step_size` adds, to the last slices (OCPI 2.3.0 mod_cdrs, step_size)."""
        self._round([s for s in self.slices if s.group is CostGroup.ENERGY])
        times = [s for s in self.slices if s.group in (CostGroup.TIME, CostGroup.PARKING)]
        if times:
            # Once for charging and parking together: for the one that was last.
            self._round([s for s in times if s.group is times[-1].group])
        self._round(
            [s for s in self.slices if s.group is CostGroup.RESERVATION and s.price.price.type is TariffDimension.TIME]
        )

    def _round(self, slices: list[Slice]) -> None:
        if not slices:
            return
        last = slices[-1]
        step = Decimal(last.price.price.step_size or 1)
        total = sum((piece.volume for piece in slices), _NOTHING)
        steps = (total.quantize(_FINE, ROUND_HALF_EVEN) / step).to_integral_value(ROUND_CEILING)
        last.added = max(steps * step - total, _NOTHING)

    def _add(
        self,
        slot: int,
        price: Priced | None,
        group: CostGroup,
        start: datetime,
        end: datetime,
        volume: Decimal | timedelta,
        meter_values: tuple[int, ...],
    ) -> None:
        if price is None:
            self._open[slot] = None
            return
        piece = self._open[slot]
        # Energy goes on after a pause in the same slice; time does not.
        if piece is None or piece.price is not price or (slot and piece.end != start):
            piece = self._open[slot] = Slice(price, group, start)
            self.slices.append(piece)
        piece.end = end
        if slot:
            piece.lasting += volume  # type: ignore[operator]
        else:
            piece.amount += volume  # type: ignore[operator]
        if meter_values and meter_values is not piece.last_values:
            piece.last_values = meter_values
            piece.meter_values.update(meter_values)

    def _fee(self, price: Priced, at: datetime, meter_values: tuple[int, ...], end: datetime | None = None) -> None:
        key = (price.element, price.component)
        if key in self._fees:
            return
        self._fees.add(key)
        group = CostGroup.FIXED if price.reservation is None else CostGroup.RESERVATION
        piece = Slice(price, group, at)
        piece.end = end or at
        piece.amount = _ONE
        piece.meter_values.update(meter_values[:1])
        self.slices.append(piece)

    def _reservation(self, periods: list[Period]) -> None:
        """A reservation: its fee, its time, and what its expiry costs."""
        if not periods:
            return
        for period in periods:
            self.reserved += period.end - period.start
        self._reserve(self._reserving, [(period.start, period.end) for period in periods])

    def overtime(self, since: datetime, periods: Sequence[Period]) -> None:
        """What a session costs more that goes on after its booking's end."""
        spans = [
            (max(period.start, since), period.end)
            for period in periods
            if period.state is not PeriodState.RESERVED and period.end > since
        ]
        if spans:
            self._reserve(Use.OVERTIME, spans)

    def _reserve(self, use: Use, spans: list[tuple[datetime, datetime]]) -> None:
        plan = self._plan
        began = spans[0][0]
        power = bisect_right(plan.power_cuts, _NOTHING)
        current = bisect_right(plan.current_cuts, _NOTHING)
        at_start, _ = plan.clock(began, self._zone)
        taken = bisect_right(plan.energy_cuts, _NOTHING)
        piece: Slice | None = None
        held = Holding()
        for start, finish in spans:
            at = start
            while True:
                clock, until = plan.clock(at, self._zone)
                reached = bisect_right(plan.duration_cuts, at - began)
                held = plan.holding(use, clock, taken, reached, power, current)
                fee = plan.holding(use, at_start, taken, reached, power, current).flat
                if fee is not None:
                    self._fee(fee, at, ())
                end = finish if until is None or until > finish else until
                if reached < len(plan.duration_cuts):
                    end = min(end, began + plan.duration_cuts[reached])
                if held.time is None:
                    piece = None
                elif end > at:
                    if piece is None or piece.end != at or piece.price is not held.time:
                        piece = Slice(held.time, CostGroup.RESERVATION, at)
                        self.slices.append(piece)
                    piece.end = end
                    piece.lasting += end - at
                at = end
                if at >= finish:
                    break
        if held.expiry is not None:
            self._fee(held.expiry, spans[-1][1], ())


def _use_of(charge: Charge) -> Use:
    """Which elements price the reservation in a charge."""
    if not charge.booked:
        return Use.EXPIRED if charge.reservation_expired else Use.RESERVATION
    if charge.canceled:
        return Use.BOOKING_CANCELED
    return Use.BOOKING_EXPIRED if charge.reservation_expired else Use.BOOKING


def _crossing(start: datetime, end: datetime, energy: Decimal, upto: Decimal) -> datetime:
    """When the energy of a period has reached an amount."""
    whole = (end - start) // _MICROSECOND
    return start + timedelta(microseconds=int(upto * whole / energy)) if whole else end


def _mean_power(period: Period) -> Decimal:
    """The power of a period in W: what its energy says, within what was told."""
    micros = (period.end - period.start) // _MICROSECOND
    least, most = period.min_power, period.max_power
    if not micros:
        return most if most is not None else least if least is not None else _NOTHING
    power = period.energy_wh * _MICROSECONDS_AN_HOUR / micros
    if least is not None and power < least:
        return least
    if most is not None and power > most:
        return most
    return power


def _mean_current(period: Period) -> Decimal | None:
    """The current of a period in A: halfway between what was told; none while parking."""
    least, most = period.min_current, period.max_current
    if least is not None and most is not None:
        return (least + most) / 2
    if least is None and most is None:
        return None if period.state is PeriodState.CHARGING else _NOTHING
    return most if least is None else least


def _seconds(lasted: timedelta) -> Decimal:
    return Decimal(lasted // _MICROSECOND) / _SECOND
