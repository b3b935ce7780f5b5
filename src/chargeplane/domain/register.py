"""The register track: the energy of a transaction from the readings of its energy register.

The energy is the sum of the rises of the register over its readings in the order of their time, from meter start to
meter stop. A register that falls has been reset: a new segment begins at the fallen value and the fall counts nothing,
so the energy is never negative and never more than was measured.

Order. A Begin value is the first and an End value the last whatever their times say; readings before a Begin or after
an End (by times that can be believed) belong to something else and do not count. All others go by time; at equal times
the lower value is first, so the result does not depend on the order of arrival.

Clocks. A register that falls in the order of its times may not have fallen: the clock may have been set back between, or
lead by so much that now it is believed and now not. Nothing is received before it was measured, so the values are then put
in order by the earlier of their time and their receipt, and where values lie outside of their own begin and end also as
they came; where the register falls less often so, that order counts (`CLOCK`).

Sources. A station may send the total, its phases, the same at other places, or only intervals. Registers of different
meters are never mixed: each has a track of its own, and the energy is that of the most trusted track that has measured
a rise (two points). The outlet comes before other places, a total before its phases, the transaction's own values
before those matched by EVSE, registers before intervals.

Faults that are repaired, each with a mark:

- `UNIT`: kWh numbers under Wh, or Wh numbers under kWh: a value that makes no sense as it stands (a fall, or a rise no
  station can deliver) and fits the register when taken times or divided by 1000; or a register whose rises are 1000
  times what the station's own power and the time say.
- `GLITCH`: one odd value between two that continue each other (a 0 read while the meter was restarting).
- `JUMP`: a rise beyond physics that fits no repair: it counts nothing, a new segment begins behind it.
- `CLOCK`: the times ran backwards while the register rose.

A track is a constant amount of state. A value that comes late (not newer than the newest) may change what earlier ones
did; then `extended` gives None and the caller folds all readings again with `folded`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from copy import copy
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import force_setattr

from chargeplane.domain.clock import EARLIEST_PLAUSIBLE, FUTURE_TOLERANCE
from chargeplane.domain.messages import Reading, ReportKind, Sample
from chargeplane.kernel.time import EPOCH

REGISTER: Final = "Energy.Active.Import.Register"
INTERVAL: Final = "Energy.Active.Import.Interval"
POWER: Final = "Power.Active.Import"

MATCHED: Final = "matched_by_evse"
"""`Sample.repaired` of values that came without a transaction and were matched to one by EVSE and time."""

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_TEN: Final = Decimal(10)
_THOUSAND: Final = Decimal(1000)

_SESSION_WH: Final = Decimal(100_000)
"""A rise of 100 kWh between two readings is possible at any distance in time (offline stations, tests)."""
_ABSURD_WH: Final = Decimal(1_000_000)
"""A rise of 1 MWh within the hour is wrong where another reading of the number fits."""
_IMPOSSIBLE_WH: Final = Decimal(10_000_000)
"""A rise of 10 MWh within the hour is wrong in any case (megawatt chargers end at 3.75 MW)."""

_SCALES: Final = {3: _THOUSAND, -3: Decimal("0.001")}
_REPAIRED_WH: Final = Decimal(5_000)
"""A repaired value must continue the register closely: 5 kWh, and a megawatt for the time between."""
_FIRST_YEAR: Final = EARLIEST_PLAUSIBLE.year


class Place(enum.IntEnum):
    """Where in the time order a value stands by its context."""

    BEGIN = 0
    SAMPLE = 1
    END = 2


class Mark(enum.IntFlag):
    """What was noticed in a track."""

    NONE = 0
    UNIT = 1
    GLITCH = 2
    JUMP = 4
    CLOCK = 8


class Point(NamedTuple):
    """One value of one source.

    Args:
        source: rank of the source, 0 is the most trusted.
        place: Begin, Sample or End, as a number.
        at: effective time.
        trusted: the time is the station's and plausible.
        value: Wh.
        power: W, the station's own total power in the same reading.
        event_at: effective time of the message the value came with.
        latest: newest time to believe when it came (receipt plus tolerance).
    """

    source: int
    place: int
    at: datetime
    trusted: bool
    value: Decimal
    power: Decimal | None
    event_at: datetime
    latest: datetime


class Track(Struct, frozen=True, array_like=True):
    """What a source has measured so far; the energy is `base + last - first`.

    Args:
        source: rank of the source, the lower the more trusted.
        points: values counted.
        first, last: Wh, of the running segment.
        last_at: effective time of `last`; 1970 where it is a Begin value without a time to believe.
        base: Wh of the earlier segments.
        segment: values in the running segment, as far as 2.
        resets: falls of the register.
        marks: `Mark` bits.
        scale: power of ten by which the source's numbers are wrong: 0, 3 (they are kWh) or -3.
        origin: Wh, the first value of all.
        begin, end: Wh of the Begin and End value.
        begin_at, end_at: their times, None where they cannot be believed.
        broken_at, broken: time and value before the newest break, while its segment has one value only.
        power: W, newest of the station's own.
        before, before_at: the value before `last` and its time, where nothing but a plain rise lies between them.
    """

    source: int
    points: int
    first: Decimal
    last: Decimal
    last_at: datetime
    base: Decimal
    segment: int = 1
    resets: int = 0
    marks: int = 0
    scale: int = 0
    origin: Decimal = _ZERO
    begin: Decimal | None = None
    begin_at: datetime | None = None
    end: Decimal | None = None
    end_at: datetime | None = None
    broken: Decimal | None = None
    broken_at: datetime | None = None
    power: Decimal | None = None
    before: Decimal | None = None
    before_at: datetime | None = None

    @property
    def energy_wh(self) -> Decimal:
        """Energy measured, in Wh, never negative."""
        return self.base + (self.last - self.first)


_LOCATIONS: Final[dict[str | None, int]] = {
    None: 0,
    "Outlet": 0,
    "Inlet": 10,
    "Cable": 20,
    "Body": 30,
    "EV": 40,
    "Upstream": 50,
}
"""Rank of the total at each place; the ranks up to 7 behind it are sums of its phases. Lower is more trusted."""
_MATCHED_RANK: Final = 100
_INTERVAL_RANK: Final = 200
_PHASES: Final = {"L1": 1, "L2": 2, "L3": 4, "L1-N": 1, "L2-N": 2, "L3-N": 4}
_PLACES: Final = {"Transaction.Begin": 0, "Transaction.End": 2}


def points_of(
    readings: Iterable[Reading], kind: ReportKind, event_at: datetime, event_trusted: bool, latest: datetime
) -> list[Point]:
    """The values of every source in a message.

    Args:
        event_at: effective time of the message, used for readings without a time to believe.
        event_trusted: that time is the station's.
        latest: newest time to believe (receipt plus tolerance).
    """
    points: list[Point] = []
    mixed: dict[tuple[datetime, bool], list[Sample]] | None = None
    for reading in readings:
        at = reading.at
        if at is not None and at.year >= _FIRST_YEAR and at <= latest:
            trusted = True
        else:
            trusted = event_trusted if at is None else False
            at = event_at
        power: Decimal | None = None
        total: Sample | None = None
        others = False
        for sample in reading.samples:
            measurand = sample.measurand
            if measurand == REGISTER:
                if (
                    total is None
                    and sample.phase is None
                    and (sample.location is None or sample.location == "Outlet")
                    and sample.value is not None
                    and sample.unit == "Wh"
                    and (sample.repaired is None or not sample.repaired.startswith(MATCHED))
                ):
                    total = sample
                else:
                    others = True
            elif measurand == POWER:
                if sample.phase is None and sample.unit == "W":
                    power = sample.value
            elif measurand == INTERVAL:
                others = True
        if others:
            # Phases of one moment may come as readings of their own.
            if mixed is None:
                mixed = {}
            mixed.setdefault((at, trusted), []).extend(reading.samples)
        elif total is not None and total.value is not None:
            place = 1 if total.context is None else _PLACES.get(total.context, 1)
            points.append(Point(0, place, at, trusted, total.value, power, event_at, latest))
    if mixed is not None:
        for (at, trusted), samples in mixed.items():
            points += _all_points(samples, at, trusted, event_at, latest)
    if points:
        if kind is not ReportKind.ENDED:
            # Only a stop ends: some stations send their last values as Transaction.End ahead of it.
            for index, point in enumerate(points):
                if point.place == 2:
                    points[index] = point._replace(place=1)
        if kind is not ReportKind.UPDATED:
            _give_ends(points, kind)
    return points


def _all_points(
    samples: Iterable[Sample], at: datetime, trusted: bool, event_at: datetime, latest: datetime
) -> list[Point]:
    """Every source of a moment that has more than one total."""
    totals: dict[tuple[int, int], Decimal] = {}
    phases: dict[tuple[int, int], dict[int, Decimal]] = {}
    power: Decimal | None = None
    for sample in samples:
        measurand = sample.measurand
        if measurand == POWER and sample.phase is None and sample.unit == "W":
            power = sample.value
        if sample.value is None or sample.unit != "Wh" or (measurand != REGISTER and measurand != INTERVAL):
            continue
        rank = _LOCATIONS.get(sample.location, 60)
        if measurand == INTERVAL:
            rank += _INTERVAL_RANK
        elif sample.repaired is not None and sample.repaired.startswith(MATCHED):
            rank += _MATCHED_RANK
        place = _PLACES.get(sample.context or "", 1)
        if sample.phase is None:
            # Two totals of one place in one reading: the higher is the later.
            known = totals.get((rank, place))
            totals[rank, place] = sample.value if known is None or sample.value > known else known
        elif sample.phase in _PHASES:
            phases.setdefault((rank, place), {})[_PHASES[sample.phase]] = sample.value
    for (rank, place), by_phase in phases.items():
        if (rank, place) not in totals:
            # Sums over different phases are different registers: 1 for all three, then those of fewer.
            totals[rank + 8 - sum(by_phase), place] = sum(by_phase.values(), _ZERO)
    return [Point(rank, place, at, trusted, value, power, event_at, latest) for (rank, place), value in totals.items()]


def _give_ends(points: list[Point], kind: ReportKind) -> None:
    """Makes the earliest value of a start its Begin and the latest of a stop its End, where no context says so; leaves
    one Begin and one End a source."""
    wanted = 0 if kind is ReportKind.STARTED else 2
    if len(points) == 1 and points[0].place == wanted:
        return  # the usual case
    for source in {point.source for point in points}:
        if source >= _INTERVAL_RANK:
            continue
        own = [index for index, point in enumerate(points) if point.source == source]
        named = [index for index in own if points[index].place == wanted]
        # meterStop and its copy in transactionData: of two Ends the later counts, of two at one time the lower (1.6
        # rounds meterStop to whole Wh).
        if kind is ReportKind.STARTED:
            best = min(named or own, key=lambda i: (points[i].at, points[i].value))
        else:
            best = max(named or own, key=lambda i: (points[i].place, points[i].at, -points[i].value))
        for index in own:
            place = points[index].place
            if index == best:
                if place == 1:
                    points[index] = points[index]._replace(place=wanted)
            elif place == wanted:
                points[index] = points[index]._replace(place=1)
    if kind is ReportKind.ENDED:
        # A copy of the Begin value inside the stop may carry the stop's own time.
        for index, point in enumerate(points):
            if point.place == 0 and point.trusted and point.at >= point.event_at:
                points[index] = point._replace(trusted=False)


def is_interval(source: int) -> bool:
    """Whether the source's values are amounts by themselves, not a register's."""
    return source >= _INTERVAL_RANK


def opened(point: Point) -> Track:
    """A track from its first value."""
    if point.source >= _INTERVAL_RANK:
        return Track(
            source=point.source, points=1, first=_ZERO, last=_ZERO, last_at=point.at, base=max(point.value, _ZERO)
        )
    at = point.at if point.trusted else None
    if point.place == 0:
        return Track(
            source=point.source,
            points=1,
            first=point.value,
            last=point.value,
            last_at=point.at if point.trusted else EPOCH,
            base=_ZERO,
            origin=point.value,
            begin=point.value,
            begin_at=at,
            power=point.power,
        )
    ended = point.place == 2
    return Track(
        source=point.source,
        points=1,
        first=point.value,
        last=point.value,
        last_at=point.at,
        base=_ZERO,
        origin=point.value,
        end=point.value if ended else None,
        end_at=at if ended else None,
        power=point.power,
    )


def extended(track: Track, point: Point) -> Track | None:
    """The track after a value, or None where all values must be folded again because this one is late.

    The same track where the value changes nothing.
    """
    place = point.place
    at = point.at
    value = point.value
    if track.source >= _INTERVAL_RANK:
        if at <= track.last_at:
            return None
        new = copy(track)
        force_setattr(new, "last_at", at)
        force_setattr(new, "points", track.points + 1)
        force_setattr(new, "base", track.base + max(value, _ZERO))
        return new
    if place == 0:
        # The stop repeats the start's value; of several Begins the earliest counts.
        if track.begin is not None and _stands(track.begin, track.begin_at, point):
            return track
        return None
    if track.end is not None:
        if place == 2:
            # One End a transaction: of several the earliest counts.
            return track if _stands(track.end, track.end_at, point) else None
        if track.end_at is not None and track.begin_at is not None and track.end_at < track.begin_at:
            return None  # the clock was set between them: their times bound nothing
        if point.trusted and track.end_at is not None and at > track.end_at:
            return track  # the car charged on after the stop: not this transaction's
        return None
    if place == 2:
        if point.trusted and at < track.last_at:
            return None
        new = _step(track, at, value, 2, point.power)
        force_setattr(new, "end", value)
        force_setattr(new, "end_at", at if point.trusted else None)
        return new
    if at <= track.last_at:
        if at == track.last_at:
            if value == track.last and track.scale == 0:
                return track
            if value > track.last and track.points > 1:
                return _step(track, at, value, 1, point.power)
        if track.begin_at is not None and at < track.begin_at and point.trusted:
            return track  # before the transaction began
        if track.before_at is not None and at >= track.before_at:
            between = _inserted(track, at, value, point.power)
            if between is not None:
                return between
        if at < track.last_at or track.points > 1:
            return None
    return _step(track, at, value, 1, point.power)


def _inserted(track: Track, at: datetime, value: Decimal, power: Decimal | None) -> Track | None:
    """The track with a value between the last two, where it only divides their rise; None where it may do more.

    The usual late value: a clock-aligned reading sent a moment after a sampled one.
    """
    before = track.before
    if before is None or track.scale or not before <= value <= track.last:
        return None
    if at == track.before_at and value == before:
        return track
    for rise, watts in ((value - before, power), (track.last - value, track.power)):
        if rise and watts is not None and not _TEN < rise < watts:
            return None  # the comparison with the power might see it otherwise
    new = copy(track)
    force_setattr(new, "points", track.points + 1)
    force_setattr(new, "before", value)
    force_setattr(new, "before_at", at)
    return new


def _stands(value: Decimal, at: datetime | None, point: Point) -> bool:
    """Whether a Begin or End that is known stands against another: it is the earlier by a time to believe."""
    if at is None:
        return not point.trusted and point.value == value
    return not point.trusted or point.at > at or (point.at == at and point.value >= value)


def folded(points: Iterable[Point]) -> tuple[Track, ...]:
    """The tracks of all values of a transaction, as they came, best source first."""
    by_source: dict[int, list[Point]] = {}
    for point in points:
        by_source.setdefault(point.source, []).append(point)
    return tuple(_fold_source(by_source[source]) for source in sorted(by_source))


class Measured(NamedTuple):
    """What a transaction had taken at a value of its register.

    Args:
        at: effective time.
        event_at: effective time of the message the value came with.
        energy_wh: since the start.
    """

    at: datetime
    event_at: datetime
    energy_wh: Decimal


def curve(points: Iterable[Point]) -> list[Measured]:
    """How the energy came about: at each value of the track that `chosen` takes, in the order it counts.

    The last one may differ from `energy` where a later repair put earlier values into another scale.
    """
    by_source: dict[int, list[Point]] = {}
    for point in points:
        by_source.setdefault(point.source, []).append(point)
    track = chosen(tuple(_fold_source(by_source[source]) for source in sorted(by_source)))
    if track is None:
        return []
    along: list[Measured] = []
    _fold_source(by_source[track.source], along)
    return along


def _fold_source(points: list[Point], along: list[Measured] | None = None) -> Track:
    if points[0].source >= _INTERVAL_RANK:
        # One amount a moment: the same interval told twice is one.
        amounts: dict[datetime, Decimal] = {}
        for point in points:
            amounts[point.at] = max(point.value, amounts.get(point.at, _ZERO))
        if along is not None:
            so_far, told = _ZERO, {point.at: point.event_at for point in points}
            for at in sorted(amounts):
                so_far += amounts[at]
                along.append(Measured(at, told[at], so_far))
        return Track(
            source=points[0].source,
            points=len(amounts),
            first=_ZERO,
            last=_ZERO,
            last_at=max(amounts),
            base=sum(amounts.values(), _ZERO),
        )
    begins = [p for p in points if p.place == 0]
    ends = [p for p in points if p.place == 2]
    begin = min(begins, key=lambda p: (not p.trusted, p.at, p.value)) if begins else None
    end = min(ends, key=lambda p: (not p.trusted, p.at, p.value)) if ends else None
    since = begin.at if begin is not None and begin.trusted else None
    until = end.at if end is not None and end.trusted else None
    turned = since is not None and until is not None and until < since
    if turned:
        # The clock was set between them: their times bound nothing.
        since = until = None
    own = [p for p in points if p.place == 1]
    samples = [
        p
        for p in own
        if (since is None or not p.trusted or p.at >= since) and (until is None or not p.trusted or p.at <= until)
    ]
    ordered = ([begin] if begin else []) + sorted(samples, key=lambda p: (p.at, p.value)) + ([end] if end else [])
    track = _fold_in_order(ordered, along)
    if track.resets:
        for other in _other_orders(begin, samples, end, bounded=len(own) == len(samples) and not turned):
            course: list[Measured] | None = None if along is None else []
            retold = _fold_in_order(other, course)
            if retold.resets >= track.resets:
                continue
            track = retold
            force_setattr(track, "marks", track.marks | Mark.CLOCK)
            if along is not None and course is not None:
                along[:] = _rising(course)
    if end is not None and ordered[0] is not end:
        force_setattr(track, "end", end.value)
        force_setattr(track, "end_at", end.at if end.trusted else None)
    return track


def _fold_in_order(ordered: list[Point], along: list[Measured] | None) -> Track:
    track = opened(ordered[0])
    if along is not None:
        along.append(Measured(ordered[0].at, ordered[0].event_at, track.energy_wh))
    for point in ordered[1:]:
        if point.place == 1 and point.at == track.last_at and point.value == track.last and track.scale == 0:
            continue
        track = _step(track, point.at, point.value, point.place, point.power)
        if along is not None:
            along.append(Measured(point.at, point.event_at, track.energy_wh))
    return track


def _other_orders(begin: Point | None, samples: list[Point], end: Point | None, *, bounded: bool) -> list[list[Point]]:
    """The values in other orders than that of their times, the more believable first.

    Args:
        samples: as they came.
        bounded: every value lies between its begin and its end, so that nothing says that the clock was set far back.
    """
    orders = []
    if any(p.at > p.latest - FUTURE_TOLERANCE for p in (*samples, *(p for p in (begin, end) if p is not None))):
        orders.append(sorted(samples, key=lambda p: (min(p.at, p.latest - FUTURE_TOLERANCE), p.value)))
    if not bounded:
        # Values that a stop repeats stand where they were told first.
        orders.append(list({(p.at, p.value): p for p in reversed(samples)}.values())[::-1])
    return [([begin] if begin else []) + order + ([end] if end else []) for order in orders]


def _rising(course: list[Measured]) -> list[Measured]:
    """A course whose times do not turn round."""
    risen: list[Measured] = []
    for one in course:
        risen.append(one if not risen or one.at >= risen[-1].at else one._replace(at=risen[-1].at))
    return risen


def _step(track: Track, at: datetime, value: Decimal, place: int, power: Decimal | None) -> Track:
    """The track after the next value in order. The heart of the fold; the usual case comes first."""
    new = copy(track)
    force_setattr(new, "points", track.points + 1)
    force_setattr(new, "last_at", at)
    rise = value - track.last
    if (
        _ZERO <= rise <= _SESSION_WH
        and track.scale == 0
        and track.broken is None
        # Far from a thousand times and from a thousandth of what the power says.
        and (power is None or _TEN < rise < power or not rise)
    ):
        force_setattr(new, "before", track.last)
        force_setattr(new, "before_at", track.last_at)
        force_setattr(new, "last", value)
        force_setattr(new, "segment", 2)
        if power is not None:
            force_setattr(new, "power", power)
        return new
    force_setattr(new, "before", None)
    force_setattr(new, "before_at", None)
    return _careful_step(track, new, at, value, place, power)


def _careful_step(track: Track, new: Track, at: datetime, value: Decimal, place: int, power: Decimal | None) -> Track:
    last = track.last
    hours = _hours(track.last_at, at)
    if track.scale:
        scaled = value * _SCALES[track.scale]
        # Once found wrong, a source's numbers are taken so, except where one is right as it stands.
        if (
            last <= scaled <= last + max(_SESSION_WH, hours * _ABSURD_WH)
            or not last - _ONE <= value <= last + _SESSION_WH
        ):
            value = scaled
    rise = value - last
    marks = track.marks
    if power is not None:
        if rise > 0 and track.scale == 0 and track.power is not None:
            factor = _factor_by_power(rise, (power + track.power) / 2, hours)
            if factor:
                return _rescaled(track, new, value, factor, power)
        force_setattr(new, "power", power)
    if track.broken is not None and track.broken_at is not None:
        # Between the break and now there is one value only: was it the odd one?
        since = _hours(track.broken_at, at)
        onward = value - track.broken
        allowed = max(_SESSION_WH, since * _ABSURD_WH)
        odd = rise > max(_SESSION_WH, hours * _ABSURD_WH) or rise < 0
        if odd and 0 <= onward <= allowed:
            force_setattr(new, "first", track.broken)
            force_setattr(new, "last", value)
            force_setattr(new, "segment", 2)
            force_setattr(new, "resets", track.resets - 1 if last < track.broken else track.resets)
            force_setattr(new, "marks", marks | Mark.GLITCH)
            _mend(new)
            return new
    if rise < 0:
        if rise > -_ONE and track.segment > 1:
            # Rounding: meterStop is in whole Wh (OCPP 1.6, 6.45). An End value is the truth; a sample is not.
            if place == 2:
                force_setattr(new, "last", max(value, track.first))
            _mend(new)
            return new
        if rise > -_ONE:
            _mend(new)
            return new
        as_kwh = _as_kwh(value, last, hours)
        if as_kwh is not None:
            force_setattr(new, "last", as_kwh)
            force_setattr(new, "segment", 2)
            force_setattr(new, "marks", marks | Mark.UNIT)
            _mend(new)
            return new
        _break(track, new, value)
        force_setattr(new, "resets", track.resets + 1)
        return new
    if rise > _ABSURD_WH and rise > hours * _ABSURD_WH:
        as_wh = value / _THOUSAND
        if last >= _ONE and last - _ONE < as_wh <= last + _REPAIRED_WH + hours * _ABSURD_WH:
            force_setattr(new, "last", max(as_wh, last))
            force_setattr(new, "segment", 2)
            force_setattr(new, "marks", marks | Mark.UNIT)
            _mend(new)
            return new
        if rise > _IMPOSSIBLE_WH and rise > hours * _IMPOSSIBLE_WH:
            _break(track, new, value)
            force_setattr(new, "marks", marks | Mark.JUMP)
            return new
    force_setattr(new, "last", value)
    if rise > 0:
        force_setattr(new, "segment", 2)
        _mend(new)
    return new


def _mend(new: Track) -> None:
    """The segment since the newest break has proved itself, or is gone."""
    force_setattr(new, "broken", None)
    force_setattr(new, "broken_at", None)


def _break(track: Track, new: Track, value: Decimal) -> None:
    """A new segment from `value`; what was measured before it stays."""
    force_setattr(new, "base", track.base + (track.last - track.first))
    force_setattr(new, "first", value)
    force_setattr(new, "last", value)
    force_setattr(new, "segment", 1)
    if track.broken is None:
        force_setattr(new, "broken", track.last)
        force_setattr(new, "broken_at", track.last_at)


def _as_kwh(value: Decimal, last: Decimal, hours: Decimal) -> Decimal | None:
    """The value taken as kWh where that continues a register in Wh, else None.

    A small register that was reset may by chance read a thousandth of what it was, so there must be evidence: decimals
    where the register had none, or a register so high that chance is out of the question.
    """
    wh = value * _THOUSAND
    allowed = _REPAIRED_WH + hours * _ABSURD_WH
    if value != value.to_integral_value():
        if last == last.to_integral_value() and last >= _THOUSAND and last - _ONE <= wh <= last + allowed:
            return max(wh, last)
    elif last >= _ABSURD_WH and last - _THOUSAND < wh <= last + allowed:
        return max(wh, last)  # whole kWh may be rounded down
    return None


def _factor_by_power(rise: Decimal, watts: Decimal, hours: Decimal) -> int:
    """-3 where the rise is 1000 times what power and time say, 3 where it is a thousandth, else 0."""
    expected = watts * hours
    # Short distances and idle cars tell nothing.
    if expected <= _ONE or hours < _TEN_SECONDS:
        return 0
    ratio = rise / expected
    if _HIGH_FROM <= ratio <= _HIGH_TO:
        return -3
    if _LOW_FROM <= ratio <= _LOW_TO and rise <= _TEN and rise != rise.to_integral_value():
        return 3
    return 0


_TEN_SECONDS: Final = Decimal(10) / Decimal(3600)
_HIGH_FROM: Final = Decimal(500)
_HIGH_TO: Final = Decimal(2000)
_LOW_FROM: Final = Decimal("0.0005")
_LOW_TO: Final = Decimal("0.002")


def _rescaled(track: Track, new: Track, value: Decimal, exponent: int, power: Decimal) -> Track:
    """The running segment taken in the other unit, and what follows too."""
    force_setattr(new, "first", track.first * _SCALES[exponent])
    if track.first == track.origin:
        force_setattr(new, "origin", new.first)
    force_setattr(new, "last", value * _SCALES[exponent])
    force_setattr(new, "segment", 2)
    force_setattr(new, "scale", exponent)
    force_setattr(new, "marks", track.marks | Mark.UNIT)
    force_setattr(new, "power", power)
    _mend(new)
    return new


def _hours(earlier: datetime, later: datetime) -> Decimal:
    """Hours between two times, at least 0; 0 where the earlier one is unknown (1970)."""
    if earlier.year < _FIRST_YEAR or later <= earlier:
        return _ZERO
    return Decimal(round((later - earlier).total_seconds())) / 3600


def chosen(tracks: tuple[Track, ...]) -> Track | None:
    """The track that gives the energy: the most trusted one that has measured something, else the most trusted."""
    if not tracks:
        return None
    for track in tracks:
        if track.points > 1 or track.source >= _INTERVAL_RANK:
            return track
    own = tracks[0]
    if own.begin is not None and own.source < _MATCHED_RANK:
        # One value matched by EVSE tells something only where it continues the start's.
        for track in tracks:
            if track.source >= _MATCHED_RANK and 0 <= track.first - own.begin <= _SESSION_WH:
                return track
    return own


def energy(tracks: tuple[Track, ...]) -> Decimal:
    """Energy of the transaction in Wh, never negative."""
    track = chosen(tracks)
    if track is None:
        return _ZERO
    value = track.energy_wh
    own = tracks[0]
    if track.source >= _MATCHED_RANK and own is not track and own.begin is not None and not is_interval(track.source):
        # Values matched by EVSE continue the start's value where they are of the same register.
        gap = (track.first if track.resets == 0 else own.begin) - own.begin
        if 0 <= gap <= _SESSION_WH:
            value += gap
    return value
