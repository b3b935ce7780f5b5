"""A second implementation of the composite schedule: asks at every second (or quarter of an hour) what holds, by definition.

It shares no code with `composite_schedules`: instants in place of intervals, fractions in place of decimals.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
    Recurrency,
)
from chargeplane.domain.composite_schedules import (
    CompositeSchedule,
    EvseCondition,
    OpenTransaction,
    OwnLimit,
    StationCondition,
    Supply,
    composite,
)
from tests.domain.charging import (
    DEFAULT,
    DYNAMIC,
    EXTERNAL,
    GENERATION,
    MAX,
    PRIORITY,
    RECURRING,
    RELATIVE,
    TX,
    A,
    W,
    at,
)

START = at("2026-03-02T06:30")
Sample = tuple[Fraction | None, Fraction | None, Fraction | None, int | None]
"""Limit, discharge limit, setpoint, number of phases."""


def period_at(
    p: ChargingProfile, now: datetime, station: StationCondition, evse: EvseCondition
) -> ChargingPeriod | None:
    """The period a profile has at an instant, if any."""
    if p.valid_from is not None and now < p.valid_from:
        return None
    if p.valid_to is not None and now >= p.valid_to:
        return None
    if (
        station.offline_since is not None
        and p.max_offline_s is not None
        and now - station.offline_since >= timedelta(seconds=p.max_offline_s)
    ):
        return None
    schedule = p.schedules[0]
    if p.kind is DYNAMIC:
        updated = p.dyn_update_at or START
        over = schedule.duration_s is not None and now >= updated + timedelta(seconds=schedule.duration_s)
        return None if over else schedule.periods[0]
    ready = evse.transaction.ready_at if evse.transaction else None
    begin = schedule.start
    if p.kind is RELATIVE or begin is None:
        begin = ready or START
    if now < begin:
        return None
    gone = now - begin
    if p.kind is RECURRING:
        gone %= timedelta(days=1) if p.recurrency is Recurrency.DAILY else timedelta(days=7)
    if schedule.duration_s is not None and gone >= timedelta(seconds=schedule.duration_s):
        return None
    found = None
    for candidate in schedule.periods:
        if gone >= timedelta(seconds=candidate.start_s):
            found = candidate
    return found


def top(
    profiles: list[ChargingProfile],
    purpose: ProfilePurpose,
    evse_ids: set[int],
    own: int,
    now: datetime,
    s: Any,
    e: Any,
) -> tuple[ChargingPeriod, ChargingProfile] | None:
    """The leading period of one purpose."""
    best: tuple[tuple[int, bool, int], ChargingPeriod, ChargingProfile] | None = None
    for p in profiles:
        if p.purpose is not purpose or p.evse_id not in evse_ids:
            continue
        if purpose is TX and (
            e.transaction is None or p.evse_id != own or p.transaction_id not in (None, e.transaction.id)
        ):
            continue
        found = period_at(p, now, s, e)
        rank = (p.stack_level, p.evse_id == own, -p.id)
        if found is not None and (best is None or rank > best[0]):
            best = (rank, found, p)
    return None if best is None else (best[1], best[2])


def lowest(values: list[Fraction | None]) -> Fraction | None:
    return min((v for v in values if v is not None), default=None)


def cut(value: Fraction) -> Fraction:
    return Fraction(int(value * 1000), 1000)


def number(value: Decimal | None, source: RateUnit, target: RateUnit, own: int | None, used: int, volt: Decimal) -> Any:
    if value is None or source is target:
        return None if value is None else Fraction(value)
    if target is A:
        return cut(Fraction(value) / (Fraction(volt) * (own or 3)))
    return cut(Fraction(value) * Fraction(volt) * used)


def sampled(
    profiles: list[ChargingProfile], evse_id: int, now: datetime, unit: RateUnit, s: StationCondition
) -> Sample:
    if evse_id:
        return of_evse(profiles, evse_id, now, unit, s, outer=True)
    here = EvseCondition()
    totals = [of_evse(profiles, n, now, unit, s, outer=False) for n in s.evses]
    terms = [top(profiles, purpose, {0}, 0, now, s, here) for purpose in (MAX, EXTERNAL)]
    whole = [
        sum((v for v in column if v is not None), Fraction(0)) if column and None not in column else None
        for column in ([t[k] for t in totals] for k in range(3))
    ]
    extra = [(top(profiles, GENERATION, {0}, 0, now, s, here), s.supply)]
    for n, evse in s.evses.items():
        extra.append((top(profiles, GENERATION, {n}, n, now, s, evse), evse.supply))
    return combined(terms, extra, unit, s.supply, s.own_limit, None, whole)


def of_evse(
    profiles: list[ChargingProfile], n: int, now: datetime, unit: RateUnit, s: StationCondition, *, outer: bool
) -> Sample:
    evse = s.evses.get(n, EvseCondition())
    driver = None
    if evse.transaction and evse.transaction.priority:
        driver = top(profiles, PRIORITY, {0, n}, n, now, s, evse)
    driver = driver or top(profiles, TX, {n}, n, now, s, evse) or top(profiles, DEFAULT, {0, n}, n, now, s, evse)
    if not outer:
        external = top(profiles, EXTERNAL, {n}, n, now, s, evse)
        return combined([external, driver], [], unit, evse.supply, evse.own_limit, None, None)
    terms = [
        top(profiles, MAX, {0, n}, n, now, s, evse),
        top(profiles, EXTERNAL, {0, n}, n, now, s, evse),
        driver,
    ]
    extra = [(top(profiles, GENERATION, {0, n}, n, now, s, evse), evse.supply)]
    return combined(terms, extra, unit, evse.supply, evse.own_limit, s.own_limit, None)


def combined(
    terms: list[Any], extra: list[Any], unit: RateUnit, supply: Supply, own: Any, outer: Any, whole: Any
) -> Sample:
    found = [t for t in terms if t is not None]
    phases = min((t[0].number_phases for t in found if t[0].number_phases), default=None)
    used = min(phases or 3, supply.phases)

    def read(t: Any, value: Decimal | None) -> Fraction | None:
        result: Fraction | None = number(value, t[1].schedules[0].unit, unit, t[0].number_phases, used, supply.voltage)
        return result

    limit = [read(t, t[0].limit) for t in found]
    limit += [number(o.limit, o.unit, unit, None, used, supply.voltage) for o in (own, outer) if o is not None]
    discharge = [read(t, t[0].discharge_limit) for t in found]
    if whole:
        limit.append(whole[0])
        discharge.append(whole[1])
    high = lowest(limit)
    if high is not None:
        for t, wired in extra:
            if t is not None:
                count = min(phases or 3, wired.phases)
                high += number(t[0].limit, t[1].schedules[0].unit, unit, t[0].number_phases, count, supply.voltage) or 0
    low = max((d for d in discharge if d is not None), default=None)
    setpoint = None
    for purposes in ({EXTERNAL}, {PRIORITY, TX, DEFAULT}):
        for t in found:
            if setpoint is None and t[1].purpose in purposes:
                setpoint = read(t, t[0].setpoint)
    if setpoint is None and whole:
        setpoint = whole[2]
    if setpoint is not None and setpoint > 0 and high is not None:
        setpoint = min(setpoint, high)
    if setpoint is not None and setpoint <= 0 and low is not None:
        setpoint = max(setpoint, low)
    return (high, low, setpoint, phases)


def seen(schedule: CompositeSchedule, second: int) -> Sample:
    p = [p for p in schedule.periods if p.start_s <= second][-1]
    values = [None if v is None else Fraction(v) for v in (p.limit, p.discharge_limit, p.setpoint)]
    return (values[0], values[1], values[2], p.number_phases)


TENTHS = st.integers(0, 300).map(lambda n: Decimal(n) / 10)


@st.composite
def profiles_of(draw: st.DrawFn, number: int, grid_s: int, jitter: bool) -> ChargingProfile:
    purpose = draw(st.sampled_from(list(ProfilePurpose)))
    kind = draw(st.sampled_from([k for k in ProfileKind if not (purpose is MAX and k is RELATIVE)]))
    recurrency = draw(st.sampled_from(list(Recurrency))) if kind is RECURRING else None
    unit = draw(st.sampled_from([W, A]))
    steps = draw(st.lists(st.integers(1, 40), max_size=4, unique=True).map(sorted)) if kind is not DYNAMIC else []
    if recurrency is not None and draw(st.booleans()):
        last = recurrency.seconds // grid_s
        steps = [*steps, *draw(st.sets(st.integers(last - 20, last + 5), max_size=2).map(sorted))]
    factor = Decimal(1 if unit is A else 700)
    times = st.integers(-30, 60).map(
        lambda n: timedelta(seconds=n * grid_s, microseconds=(n * 137_000) % 1_000_000 if jitter else 0)
    )

    def moment(days: int = 0) -> datetime:
        return START + draw(times) - timedelta(days=days)

    periods = tuple(
        ChargingPeriod(
            start_s=step * grid_s,
            limit=draw(TENTHS) * factor if purpose is not EXTERNAL or draw(st.booleans()) else None,
            number_phases=draw(st.sampled_from([None, 1, 3])),
            discharge_limit=-draw(TENTHS) * factor if draw(st.booleans()) else None,
            setpoint=draw(st.integers(-20, 20)) * factor
            if purpose in (EXTERNAL, DEFAULT) and draw(st.booleans())
            else None,
        )
        for step in [0, *steps]
    )
    schedule = ChargingSchedule(
        unit=unit,
        periods=periods,
        start=None if kind in (RELATIVE, DYNAMIC) else moment(draw(st.sampled_from([0, 0, 1, 7, 20]))),
        duration_s=draw(st.none() | st.integers(1, 50).map(lambda n: n * grid_s)),
    )
    limited = purpose in (MAX, TX, DEFAULT, PRIORITY, GENERATION, EXTERNAL) and draw(st.booleans())
    return ChargingProfile(
        id=number,
        evse_id={MAX: 0, TX: draw(st.sampled_from([1, 2]))}.get(purpose, draw(st.sampled_from([0, 1, 2]))),
        stack_level=draw(st.integers(0, 3)),
        purpose=purpose,
        kind=kind,
        recurrency=recurrency,
        schedules=(schedule,),
        valid_from=moment() if limited and draw(st.booleans()) else None,
        valid_to=moment() if limited and draw(st.booleans()) else None,
        transaction_id=draw(st.sampled_from([None, "T1", "T2", "gone"])) if purpose is TX else None,
        max_offline_s=draw(st.none() | st.integers(0, 40).map(lambda n: n * grid_s)),
        dyn_update_at=moment() if kind is DYNAMIC and draw(st.booleans()) else None,
    )


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    grid_s, jitter = draw(st.sampled_from([(1, True), (900, False)]))
    count = draw(st.integers(0, 7))
    evses = {
        n: EvseCondition(
            supply=Supply(voltage=Decimal(draw(st.sampled_from([230, 120]))), phases=draw(st.sampled_from([1, 3]))),
            own_limit=draw(st.none() | st.just(OwnLimit(limit=Decimal(32), unit=A))),
            transaction=draw(
                st.none()
                | st.just(OpenTransaction(id=f"T{n}"))
                | st.just(OpenTransaction(id=f"T{n}", ready_at=START - timedelta(seconds=5 * grid_s), priority=n == 1))
            ),
        )
        for n in draw(st.sampled_from([(), (1,), (1, 2)]))
    }
    # One voltage on a site, so that a current means the same at the EVSE and at the grid.
    voltage = next((e.supply.voltage for e in evses.values()), Decimal(230))
    evses = {
        n: EvseCondition(
            supply=Supply(voltage=voltage, phases=e.supply.phases), own_limit=e.own_limit, transaction=e.transaction
        )
        for n, e in evses.items()
    }
    return {
        "grid_s": grid_s,
        "profiles": [draw(profiles_of(n + 1, grid_s, jitter)) for n in range(count)],
        # an EVSE that is not named has 230 V, whatever the others have
        "evse_id": draw(st.sampled_from([0, 1, 1, 1, 2] if voltage == 230 else [0, *evses])),
        "unit": draw(st.sampled_from([W, A])),
        "steps": draw(st.integers(1, 130)),
        "station": StationCondition(
            evses=evses,
            supply=Supply(voltage=voltage),
            own_limit=draw(st.none() | st.just(OwnLimit(limit=Decimal(20000), unit=W))),
            offline_since=draw(st.none() | st.just(START - timedelta(seconds=10 * grid_s))),
        ),
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(situations())
def test_equals_what_holds_at_every_moment(situation: dict[str, Any]) -> None:
    grid_s, station, profiles = situation["grid_s"], situation["station"], situation["profiles"]
    answer = composite(
        profiles,
        evse_id=situation["evse_id"],
        start=START,
        duration_s=situation["steps"] * grid_s,
        unit=situation["unit"],
        station=station,
    )
    assert answer.periods[0].start_s == 0
    for step in range(situation["steps"]):
        now = START + timedelta(seconds=step * grid_s)
        expected = sampled(profiles, situation["evse_id"], now, situation["unit"], station)
        assert seen(answer, step * grid_s) == expected, f"after {step * grid_s} s"
    # As few periods as there are changes, in order, none beyond the end.
    starts = [p.start_s for p in answer.periods]
    assert starts == sorted(set(starts))
    assert starts[-1] < answer.duration_s
    contents = [tuple(getattr(p, f) for f in p.__struct_fields__[1:]) for p in answer.periods]
    assert all(a != b for a, b in itertools.pairwise(contents))
