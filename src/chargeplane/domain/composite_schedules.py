"""What all charging profiles of a station add up to: the schedule a conforming station computes.

In three steps. *Leading*: for each purpose and second the schedule period of the highest stack level that has one
(OCPP 2.1 Part 2, K 3.5; OCPP 1.6, 3.13.2). PriorityCharging, where it was activated, goes before TxProfile, that before
TxDefaultProfile: a period of the later ones leads where the earlier ones have none (K02.FR.04, K02.FR.08, K21.FR.04).
*Merging*: the lowest limit of ChargingStationMaxProfile, ChargingStationExternalConstraints, the transaction's profile and the
station's own limit (SC.01, K08.FR.04; 1.6, 3.13.3), each in the unit asked for. LocalGeneration comes on top.
*Joining*: neighbouring periods of equal content become one.

Time is counted in whole seconds from the start asked for, as the answer is: what changes within a second counts from the
next whole one on. All profiles of a station are looked at once; nothing is sampled.

Where the specifications leave a choice, ours:

- Two profiles of one purpose and stack level, one for the EVSE and one for the station: the EVSE's own leads (OCPP 1.6,
  3.13.1 for TxDefaultProfile; 2.x refuses that case there, K01.FR.52, and is silent for other purposes).
- A random delay (K01.FR.92) is drawn by the station and counts as 0, as K08.FR.06 has it without a transaction.
- Power of a limit in A: with the lowest number of phases that any leading period names, and never more than are wired.
- Whole station (EVSE 0): the sum over its EVSEs, each as if it had a transaction (K08.FR.06), no more than the station's own
  profiles allow. Currents are summed as if all were on the same phases.
- A converted number is cut to three decimals towards 0, so that it never exceeds a limit.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import ROUND_DOWN, Decimal
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    OperationMode,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.kernel.errors import InvalidInputError

MAX_DURATION_S: Final = 366 * 86_400
"""Longest composite schedule that is computed, in seconds."""

DEFAULT_PHASES: Final = 3
"""Phases of a period that names none, on AC (OCPP 2.1 K01.FR.49; 1.6, 7.14)."""


class Supply(Struct, frozen=True, kw_only=True):
    """What an EVSE or a station is connected to.

    Args:
        voltage: V between phase and neutral as set for the area, not as measured (K01.FR.50); of a DC EVSE its output.
        phases: how many are wired.
        direct_current: a DC EVSE: power is voltage times current, and phases play no part.
    """

    voltage: Decimal = Decimal(230)
    phases: int = 3
    direct_current: bool = False


class OwnLimit(Struct, frozen=True, kw_only=True):
    """What the hardware or its configuration allows at all times."""

    limit: Decimal
    unit: RateUnit


class OpenTransaction(Struct, frozen=True, kw_only=True):
    """A transaction, as far as charging profiles ask about it.

    Args:
        id: the station's.
        ready_at: when the EVSE became ready to deliver energy; relative schedules count from there (K01.FR.42). None:
            not yet; they count from the start of the composite schedule.
        priority: PriorityCharging was activated for it (K21, K22).
        soc: the EV's state of charge in percent, where known.
    """

    id: str
    ready_at: datetime | None = None
    priority: bool = False
    soc: Decimal | None = None


class EvseCondition(Struct, frozen=True, kw_only=True):
    """What an EVSE is and does."""

    supply: Supply = Supply()
    own_limit: OwnLimit | None = None
    transaction: OpenTransaction | None = None


class SetpointPriority(enum.StrEnum):
    """Whose setpoint counts where two are active (OCPP 2.1 SmartChargingCtrlr.SetpointPriority)."""

    EXTERNAL_SYSTEM = "ExternalSystem"
    CSMS = "CSMS"


class StationCondition(Struct, frozen=True, kw_only=True):
    """What a station is, and what its profiles run into.

    Args:
        evses: by EVSE id. One that is asked for and missing is three-phase, 230 V and without transaction.
        supply, own_limit: of the station's grid connection.
        offline_since: the station has been without connection since, and stays so (K01.FR.101). None: it is online.
        zone: the station's local time, for schedules with `use_local_time`; None takes UTC for it.
    """

    evses: Mapping[int, EvseCondition] = {}
    supply: Supply = Supply()
    own_limit: OwnLimit | None = None
    offline_since: datetime | None = None
    zone: tzinfo | None = None
    setpoint_priority: SetpointPriority = SetpointPriority.EXTERNAL_SYSTEM


class CompositeSchedule(Struct, frozen=True, kw_only=True):
    """A composite schedule.

    Args:
        evse_id: 0: the whole station.
        periods: the first begins at 0; a `limit` of None is no limit; neighbours differ.
    """

    evse_id: int
    start: datetime
    duration_s: int
    unit: RateUnit
    periods: tuple[ChargingPeriod, ...]


_Values: TypeAlias = tuple[Decimal | None, Decimal | None, Decimal | None]
"""A limit or setpoint: of all phases, or of L1, L2 and L3 where one of the latter two is given."""

_NOTHING: Final[_Values] = (None, None, None)
_SECOND: Final = timedelta(seconds=1)
_CUT: Final = Decimal("0.001")


class _Term(Struct, frozen=True, kw_only=True):
    """A leading period with what is needed to read its numbers."""

    period: ChargingPeriod
    unit: RateUnit
    supply: Supply
    role: ProfilePurpose | None = None


_Segment: TypeAlias = tuple[int, int, _Term]
"""From and to in seconds, and what leads there."""

_Layer: TypeAlias = Sequence[_Segment]

_DRIVER_RANK: Final[Mapping[ProfilePurpose, int]] = {
    ProfilePurpose.PRIORITY_CHARGING: 0,
    ProfilePurpose.TX: 1,
    ProfilePurpose.TX_DEFAULT: 2,
}


def composite(
    profiles: Iterable[ChargingProfile],
    *,
    evse_id: int,
    start: datetime,
    duration_s: int,
    unit: RateUnit,
    station: StationCondition | None = None,
    alternative: int = 0,
) -> CompositeSchedule:
    """The limits and setpoints a station follows, from all its profiles.

    Args:
        profiles: all that are installed on the station.
        evse_id: 0: the whole station.
        start: of the schedule, the time of the request (K08.FR.02).
        duration_s: 1 to 366 days.
        unit: of the answer's numbers.
        alternative: which of several schedules a TxProfile has (0 to 2; K15.FR.22, K18.FR.24).
    Raises:
        InvalidInputError: the duration is out of bounds.
    Source: OCPP 2.1 K08; OCPP 1.6, 3.13 and 5.7.
    """
    if not 0 < duration_s <= MAX_DURATION_S:
        raise InvalidInputError(
            f"A composite schedule of {duration_s} s cannot be computed; ask for 1 to {MAX_DURATION_S} s.",
            (("/duration_s", f"must be 1 to {MAX_DURATION_S}"),),
        )
    work = _Work(tuple(profiles), start, duration_s, unit, station or StationCondition(), alternative)
    merged = work.whole_station() if evse_id == 0 else work.one_evse(evse_id)
    return CompositeSchedule(evse_id=evse_id, start=start, duration_s=duration_s, unit=unit, periods=_joined(merged))


class _Work:
    """One computation: what stays the same for all EVSEs and layers of it."""

    __slots__ = ("alternative", "duration_s", "profiles", "start", "station", "unit")

    def __init__(
        self,
        profiles: tuple[ChargingProfile, ...],
        start: datetime,
        duration_s: int,
        unit: RateUnit,
        station: StationCondition,
        alternative: int,
    ) -> None:
        self.profiles = profiles
        self.start = start
        self.duration_s = duration_s
        self.unit = unit
        self.station = station
        self.alternative = alternative

    def one_evse(self, evse_id: int) -> _Layer:
        """What counts for one EVSE: its own profiles and those of the station."""
        evse = self.station.evses.get(evse_id, EvseCondition())
        layers = [
            self.leading(evse, lambda p: p.purpose is ProfilePurpose.CHARGING_STATION_MAX, evse_id),
            self.leading(evse, lambda p: p.purpose is ProfilePurpose.EXTERNAL_CONSTRAINTS, evse_id),
            self.driver(evse_id, evse),
            *self.own(evse.own_limit, evse.supply),
            *self.own(self.station.own_limit, self.station.supply),
        ]
        generation = self.leading(evse, lambda p: p.purpose is ProfilePurpose.LOCAL_GENERATION, evse_id)
        return self.merged(layers, [generation], evse.supply)

    def whole_station(self) -> _Layer:
        """What the grid connection delivers at most: the sum over the EVSEs within what the station's profiles allow."""
        here = EvseCondition(supply=self.station.supply)
        layers = [
            self.leading(here, lambda p: p.purpose is ProfilePurpose.CHARGING_STATION_MAX, 0),
            self.leading(here, lambda p: p.purpose is ProfilePurpose.EXTERNAL_CONSTRAINTS, 0),
            *self.own(self.station.own_limit, self.station.supply),
        ]
        generations = [self.leading(here, lambda p: p.purpose is ProfilePurpose.LOCAL_GENERATION, 0)]
        each = []
        for evse_id, evse in self.station.evses.items():
            outer = self.leading(
                evse, lambda p: p.purpose is ProfilePurpose.EXTERNAL_CONSTRAINTS and p.evse_id != 0, evse_id
            )
            each.append(
                self.merged(
                    [outer, self.driver(evse_id, evse), *self.own(evse.own_limit, evse.supply)], [], evse.supply
                )
            )
            generations.append(
                self.leading(evse, lambda p: p.purpose is ProfilePurpose.LOCAL_GENERATION and p.evse_id != 0, evse_id)
            )
        if each:
            layers.append(_summed(each, self.unit, self.station.supply))
        return self.merged(layers, generations, self.station.supply)

    def own(self, limit: OwnLimit | None, supply: Supply) -> list[_Layer]:
        """A constant limit as a layer."""
        if limit is None:
            return []
        return [[(0, self.duration_s, _Term(period=ChargingPeriod(limit=limit.limit), unit=limit.unit, supply=supply))]]

    def driver(self, evse_id: int, evse: EvseCondition) -> _Layer:
        """PriorityCharging, TxProfile or TxDefaultProfile."""
        transaction = evse.transaction
        priority = transaction is not None and transaction.priority

        def counts(profile: ChargingProfile) -> bool:
            if profile.purpose is ProfilePurpose.TX:
                # OCPP 1.6 need not name the transaction: the profile is for the one on its connector.
                return (
                    transaction is not None
                    and profile.evse_id == evse_id
                    and profile.transaction_id in (None, transaction.id)
                )
            return profile.purpose is ProfilePurpose.TX_DEFAULT or (
                priority and profile.purpose is ProfilePurpose.PRIORITY_CHARGING
            )

        return self.leading(evse, counts, evse_id)

    def leading(self, evse: EvseCondition, counts: Callable[[ChargingProfile], bool], evse_id: int) -> _Layer:
        """Which period leads when, among the profiles that count; seconds without one are left out."""
        chosen = [p for p in self.profiles if (p.evse_id == evse_id or p.evse_id == 0) and counts(p)]
        chosen.sort(key=lambda p: (_DRIVER_RANK.get(p.purpose, 0), -p.stack_level, p.evse_id != evse_id, p.id))
        free = [(0, self.duration_s)]
        layer: list[_Segment] = []
        for profile in chosen:
            if not free:
                break
            free = _fill(free, self.segments(profile, evse), layer)
        layer.sort(key=lambda segment: segment[0])
        return layer

    def offset(self, at: datetime) -> int:
        """Seconds from the start to an instant, to the next whole one."""
        return -((self.start - at) // _SECOND)

    def segments(self, profile: ChargingProfile, evse: EvseCondition) -> list[_Segment]:
        """When a profile has which period, clipped to the time asked for."""
        schedule = _alternative(profile, self.alternative)
        if schedule is None or not schedule.periods:
            return []
        low, high = 0, self.duration_s
        # K01.FR.36, K01.FR.37: valid from validFrom until before validTo.
        if profile.valid_from is not None:
            low = max(low, self.offset(profile.valid_from))
        if profile.valid_to is not None:
            high = min(high, self.offset(profile.valid_to))
        if self.station.offline_since is not None and profile.max_offline_s is not None:
            high = min(high, self.offset(self.station.offline_since) + profile.max_offline_s)
        if low >= high:
            return []
        transaction = evse.transaction
        soc = None if transaction is None else transaction.soc
        capped = schedule.limit_at_soc is not None and soc is not None and soc >= schedule.limit_at_soc.soc
        at_grid = profile.evse_id == 0 and profile.purpose not in _DRIVER_RANK
        supply = self.station.supply if at_grid else evse.supply
        terms = [
            _Term(
                period=_capped(period, schedule) if capped else period,
                unit=schedule.unit,
                supply=supply,
                role=profile.purpose,
            )
            for period in schedule.periods
        ]
        if profile.kind is ProfileKind.DYNAMIC:
            # OCPP 2.1 Q07: a dynamic schedule's duration counts from its last update.
            if schedule.duration_s is not None:
                high = min(high, self.offset(profile.dyn_update_at or self.start) + schedule.duration_s)
            return [(low, high, terms[0])] if low < high else []
        ready_at = transaction.ready_at if transaction is not None and transaction.ready_at is not None else self.start
        # OCPP 1.6, 7.13: a schedule without a start is relative to the start of charging, whatever its kind.
        if profile.kind is ProfileKind.RELATIVE or schedule.start is None:
            return _rounds(profile, schedule, terms, self.offset(ready_at), low, high)
        zone = self.station.zone
        if not schedule.use_local_time or zone is None:
            return _rounds(profile, schedule, terms, self.offset(schedule.start), low, high)
        # K01.FR.91: the schedule follows the wall clock, also over the shift to and from daylight saving time.
        found: list[_Segment] = []
        for begin, end, ahead in _utc_offsets(self.start, zone, low, high):
            found += _rounds(profile, schedule, terms, self.offset(schedule.start) - ahead // _SECOND, begin, end)
        return found

    def merged(self, layers: Sequence[_Layer], generations: Sequence[_Layer], supply: Supply) -> list[_Segment]:
        """All layers as one, without gaps."""
        every = [*layers, *generations]
        cuts = sorted({0, self.duration_s, *(at for layer in every for begin, end, _ in layer for at in (begin, end))})
        places = [0] * len(every)
        split = len(layers)
        known: dict[tuple[int, ...], _Term] = {}
        result: list[_Segment] = []
        for begin, end in itertools.pairwise(cuts):
            active: list[_Term | None] = []
            for index, layer in enumerate(every):
                place = places[index]
                while place < len(layer) and layer[place][1] <= begin:
                    place += 1
                places[index] = place
                active.append(layer[place][2] if place < len(layer) and layer[place][0] <= begin else None)
            key = tuple(map(id, active))
            term = known.get(key)
            if term is None:
                limits = [t for t in active[:split] if t is not None]
                added = [t for t in active[split:] if t is not None]
                period = _merge(limits, added, self.unit, supply, self.station.setpoint_priority)
                term = known[key] = _Term(period=period, unit=self.unit, supply=supply)
            result.append((begin, end, term))
        return result


def _alternative(profile: ChargingProfile, index: int) -> ChargingSchedule | None:
    # K15.FR.22: first with first, second with second where there is one; other purposes have one schedule only.
    if profile.purpose is not ProfilePurpose.TX:
        index = 0
    return profile.schedules[index] if index < len(profile.schedules) else None


def _rounds(
    profile: ChargingProfile, schedule: ChargingSchedule, terms: Sequence[_Term], base: int, low: int, high: int
) -> list[_Segment]:
    """A schedule's periods between two seconds; `base` is the second of its (first) start."""
    # K01.FR.30: nothing counts before the start of the schedule.
    low = max(low, base)
    if low >= high:
        return []
    every = profile.recurrency.seconds if profile.kind is ProfileKind.RECURRING and profile.recurrency else None
    length = schedule.duration_s
    if every is not None:
        # OCPP 1.6 errata 3.43, 3.44: what is longer than the recurrence is not executed.
        length = every if length is None else min(length, every)
    edges = [(term.period.start_s, term) for term in terms]
    begin = base if every is None else base + (low - base) // every * every
    found: list[_Segment] = []
    while begin < high:
        # K01.FR.12: until the next period, or the end of the schedule; K01.FR.11: none from there on.
        stop = high if length is None else min(high, begin + length)
        for index, (start_s, term) in enumerate(edges):
            first = max(low, begin + start_s)
            last = min(stop, begin + edges[index + 1][0]) if index + 1 < len(edges) else stop
            if first < last:
                found.append((first, last, term))
        if every is None:
            break
        begin += every
    return found


def _fill(free: list[tuple[int, int]], segments: Sequence[_Segment], layer: list[_Segment]) -> list[tuple[int, int]]:
    """Puts segments where there is none yet; returns what is free then."""
    left: list[tuple[int, int]] = []
    place = 0
    for begin, end in free:
        at = begin
        while place < len(segments) and segments[place][1] <= begin:
            place += 1
        walk = place
        while walk < len(segments) and segments[walk][0] < end:
            first, last, term = segments[walk]
            first, last = max(first, at), min(last, end)
            if first < last:
                if at < first:
                    left.append((at, first))
                layer.append((first, last, term))
                at = last
            walk += 1
        if at < end:
            left.append((at, end))
    return left


def _utc_offsets(start: datetime, zone: tzinfo, low: int, high: int) -> list[tuple[int, int, timedelta]]:
    """The stretches between two seconds in which local time is equally far from UTC."""

    def ahead(second: int) -> timedelta:
        return (start + timedelta(seconds=second)).astimezone(zone).utcoffset() or timedelta()

    found: list[tuple[int, int, timedelta]] = []
    begin = at = low
    current = ahead(low)
    while at < high - 1:
        # No zone changes its offset twice within six hours.
        after = min(at + 21_600, high - 1)
        if ahead(after) != current:
            same, other = at, after
            while other - same > 1:
                middle = (same + other) // 2
                if ahead(middle) == current:
                    same = middle
                else:
                    other = middle
            found.append((begin, other, current))
            begin, current = other, ahead(other)
        at = after
    found.append((begin, high, current))
    return found


def _joined(merged: _Layer) -> tuple[ChargingPeriod, ...]:
    periods: list[ChargingPeriod] = []
    before: ChargingPeriod | None = None
    for begin, _, term in merged:
        if before is None or (term.period is not before and term.period != before):
            before = term.period
            periods.append(replace(before, start_s=begin))
    return tuple(periods)


# Numbers.


def _count(period: ChargingPeriod, supply: Supply) -> int:
    """Phases among which a power is divided: the period's own number (K01.FR.49, K01.FR.50)."""
    return 1 if supply.direct_current else period.number_phases or DEFAULT_PHASES


def _converted(values: _Values, term: _Term, unit: RateUnit, supply: Supply, number_phases: int | None) -> _Values:
    """Values of a term in another unit, or behind another supply.

    Args:
        supply: what the answer's currents flow through.
        number_phases: in use, for the power of a current.
    """
    source = term.supply
    if values == _NOTHING or (
        term.unit is unit and (unit is RateUnit.W or source.direct_current == supply.direct_current)
    ):
        return values
    several = _several(values)
    if term.unit is RateUnit.A:
        factor = source.voltage
        if not several and not source.direct_current:
            wired = source.phases if supply.direct_current else min(source.phases, supply.phases)
            factor *= min(number_phases or DEFAULT_PHASES, wired)
        values = _mapped(values, lambda value: value * factor)
    if unit is RateUnit.A:
        divisor = supply.voltage
        if not several:
            divisor *= _count(term.period, supply)
        values = _mapped(values, lambda value: value / divisor)
    return _mapped(values, _cut)


def _cut(value: Decimal) -> Decimal:
    return value.quantize(_CUT, ROUND_DOWN).normalize() + 0


def _mapped(values: _Values, change: Callable[[Decimal], Decimal]) -> _Values:
    first, second, third = values
    return (
        None if first is None else change(first),
        None if second is None else change(second),
        None if third is None else change(third),
    )


def _several(values: _Values) -> bool:
    return values[1] is not None or values[2] is not None


def _per_phase(values: _Values, count: int, unit: RateUnit) -> _Values:
    """One value a phase: a current holds for each, a power is divided among them."""
    whole = values[0]
    if whole is None or _several(values):
        return values
    each = whole if unit is RateUnit.A else _cut(whole / count)
    return (each, each, each)


_Counted: TypeAlias = tuple[_Values, int]


def _folded(parts: Sequence[_Counted], unit: RateUnit, pick: Callable[[Decimal, Decimal], Decimal]) -> _Values:
    """Several values as one: the lowest, highest or sum of those that are given."""
    given = [part for part in parts if part[0] != _NOTHING]
    if not given:
        return _NOTHING
    second = any(values[1] is not None for values, _ in given)
    third = any(values[2] is not None for values, _ in given)
    spread = [_per_phase(values, count, unit) if second or third else values for values, count in given]
    # K08.FR.09: L2 and L3 stand in the answer where a period gives them.
    return (
        _picked([values[0] for values in spread], pick),
        _picked([values[1] for values in spread], pick) if second else None,
        _picked([values[2] for values in spread], pick) if third else None,
    )


def _picked(values: Sequence[Decimal | None], pick: Callable[[Decimal, Decimal], Decimal]) -> Decimal | None:
    found: Decimal | None = None
    for value in values:
        if value is not None:
            found = value if found is None else pick(found, value)
    return found


def _limit(period: ChargingPeriod) -> _Values:
    return (period.limit, period.limit_l2, period.limit_l3)


def _discharge_limit(period: ChargingPeriod) -> _Values:
    return (period.discharge_limit, period.discharge_limit_l2, period.discharge_limit_l3)


def _setpoint(period: ChargingPeriod) -> _Values:
    return (period.setpoint, period.setpoint_l2, period.setpoint_l3)


def _setpoint_reactive(period: ChargingPeriod) -> _Values:
    return (period.setpoint_reactive, period.setpoint_reactive_l2, period.setpoint_reactive_l3)


def _capped(period: ChargingPeriod, schedule: ChargingSchedule) -> ChargingPeriod:
    """K01.FR.100: limit and setpoint no higher than the limit of a well-charged EV."""
    if schedule.limit_at_soc is None:
        return period
    cap = schedule.limit_at_soc.limit
    count = period.number_phases or DEFAULT_PHASES

    def lowered(values: _Values) -> _Values:
        if not _several(values):
            return _mapped(values, lambda value: min(value, cap))
        each = cap if schedule.unit is RateUnit.A else _cut(cap / count)
        return _mapped(values, lambda value: min(value, each))

    limit = lowered(_limit(period))
    setpoint = lowered(_setpoint(period))
    if limit == _NOTHING and setpoint == _NOTHING:
        limit = (cap, None, None)
    return replace(
        period,
        limit=limit[0],
        limit_l2=limit[1],
        limit_l3=limit[2],
        setpoint=setpoint[0],
        setpoint_l2=setpoint[1],
        setpoint_l3=setpoint[2],
    )


def _merge(
    terms: Sequence[_Term], added: Sequence[_Term], unit: RateUnit, supply: Supply, priority: SetpointPriority
) -> ChargingPeriod:
    """What is left of the leading periods of all purposes at one time."""
    # K01.FR.140: the lowest number of phases. Behind a DC EVSE those of the grid say nothing.
    lines = [t.period for t in terms if t.supply.direct_current or not supply.direct_current]
    number_phases = min((p.number_phases for p in lines if p.number_phases), default=None)

    def read(term: _Term, values: _Values) -> _Counted:
        return _converted(values, term, unit, supply, number_phases), _count(term.period, term.supply)

    limit = _folded([read(t, _limit(t.period)) for t in terms], unit, min)
    generated = [read(t, _limit(t.period)) for t in added] if limit != _NOTHING else []
    own_count = 1 if supply.direct_current else number_phases or DEFAULT_PHASES
    if generated:
        # SC.01: local generation comes on top of what the other purposes allow.
        limit = _folded([(limit, own_count), *generated], unit, lambda a, b: a + b)
    # SC.04: discharging, the highest value is the least power.
    discharge = _folded([read(t, _discharge_limit(t.period)) for t in terms], unit, max)
    leader = _leader(terms, priority)
    setpoint = reactive = _NOTHING
    if leader is not None:
        setpoint = _within(read(leader, _setpoint(leader.period)), (limit, own_count), (discharge, own_count), unit)
        for term in (leader, *terms):
            reactive = read(term, _setpoint_reactive(term.period))[0]
            if reactive != _NOTHING:
                break
    rest = ChargingPeriod() if leader is None else leader.period
    # K01.FR.19: which phase is a matter of one alone.
    used = {p.phase_to_use for p in lines if p.phase_to_use}
    return ChargingPeriod(
        limit=limit[0],
        limit_l2=limit[1],
        limit_l3=limit[2],
        number_phases=number_phases,
        phase_to_use=used.pop() if len(used) == 1 and number_phases == 1 else None,
        discharge_limit=discharge[0],
        discharge_limit_l2=discharge[1],
        discharge_limit_l3=discharge[2],
        setpoint=setpoint[0],
        setpoint_l2=setpoint[1],
        setpoint_l3=setpoint[2],
        setpoint_reactive=reactive[0],
        setpoint_reactive_l2=reactive[1],
        setpoint_reactive_l3=reactive[2],
        preconditioning_request=rest.preconditioning_request,
        evse_sleep=rest.evse_sleep,
        v2x_baseline=rest.v2x_baseline,
        operation_mode=None if rest.operation_mode is OperationMode.CHARGING_ONLY else rest.operation_mode,
        v2x_freq_watt_curve=rest.v2x_freq_watt_curve,
        v2x_signal_watt_curve=rest.v2x_signal_watt_curve,
    )


def _leader(terms: Sequence[_Term], priority: SetpointPriority) -> _Term | None:
    """Whose setpoint and operation mode count: the external system's before the CSMS's unless told otherwise."""
    driver = external = None
    for term in terms:
        if term.role is ProfilePurpose.EXTERNAL_CONSTRAINTS:
            external = term
        elif term.role in _DRIVER_RANK or _setpoint(term.period) != _NOTHING:
            driver = term
    order = (external, driver) if priority is SetpointPriority.EXTERNAL_SYSTEM else (driver, external)
    for candidate in order:
        if candidate is not None and _setpoint(candidate.period) != _NOTHING:
            return candidate
    return driver or external


def _within(setpoint: _Counted, limit: _Counted, discharge: _Counted, unit: RateUnit) -> _Values:
    """K08.FR.08, V2X.03, V2X.04: a setpoint within the limits of its direction."""
    parts = (setpoint, limit, discharge)
    if setpoint[0] == _NOTHING:
        return _NOTHING
    spread = any(_several(values) for values, _ in parts)
    target, high, low = (_per_phase(values, count, unit) if spread else values for values, count in parts)
    return (
        _between(target[0], high[0], low[0]),
        _between(target[1], high[1], low[1]),
        _between(target[2], high[2], low[2]),
    )


def _between(value: Decimal | None, high: Decimal | None, low: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    if value > 0:
        return value if high is None else min(value, high)
    return value if low is None else max(value, low)


def _summed(each: Sequence[_Layer], unit: RateUnit, supply: Supply) -> list[_Segment]:
    """The EVSEs' schedules as one: a value is a sum where all EVSEs have it, else there is none."""
    cuts = sorted({at for layer in each for begin, end, _ in layer for at in (begin, end)})
    places = [0] * len(each)
    known: dict[tuple[int, ...], _Term] = {}
    result: list[_Segment] = []
    for begin, end in itertools.pairwise(cuts):
        active: list[_Term] = []
        for index, layer in enumerate(each):
            while layer[places[index]][1] <= begin:
                places[index] += 1
            active.append(layer[places[index]][2])
        key = tuple(map(id, active))
        term = known.get(key)
        if term is None:
            sums = []
            for read in (_limit, _discharge_limit, _setpoint):
                parts = [(read(t.period), t.period.number_phases or DEFAULT_PHASES) for t in active]
                whole = all(values != _NOTHING for values, _ in parts)
                sums.append(_folded(parts, unit, lambda a, b: a + b) if whole else _NOTHING)
            limit, discharge, setpoint = sums
            period = ChargingPeriod(
                limit=limit[0],
                limit_l2=limit[1],
                limit_l3=limit[2],
                discharge_limit=discharge[0],
                discharge_limit_l2=discharge[1],
                discharge_limit_l3=discharge[2],
                setpoint=setpoint[0],
                setpoint_l2=setpoint[1],
                setpoint_l3=setpoint[2],
            )
            term = known[key] = _Term(period=period, unit=unit, supply=supply)
        result.append((begin, end, term))
    return result
