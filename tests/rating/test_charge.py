"""Periods made of meter readings and changes of state."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeplane.domain.rating import Period, PeriodState, Reading, StateChange, charge_of
from chargeplane.kernel.errors import InvalidInputError
from tests.rating.making import local

START = local("2026-03-02 09:30")


def reading(minutes: float, wh: int, ordinal: int | None = None, power: int | None = None) -> Reading:
    return Reading(
        at=START + timedelta(minutes=minutes),
        energy_wh=Decimal(wh),
        ordinal=ordinal,
        power_w=None if power is None else Decimal(power),
    )


def change(minutes: float, state: PeriodState) -> StateChange:
    return StateChange(at=START + timedelta(minutes=minutes), state=state)


def shape(periods: object) -> list[tuple[float, float, int, str, tuple[int, ...]]]:
    return [
        (
            (one.start - START).total_seconds() / 60,
            (one.end - START).total_seconds() / 60,
            int(one.energy_wh),
            one.state.value,
            one.meter_values,
        )
        for one in periods  # type: ignore[attr-defined]
    ]


def test_a_period_between_two_readings_rests_on_both() -> None:
    made = charge_of(
        START, START + timedelta(minutes=30), [reading(0, 100, 1), reading(10, 1100, 2), reading(30, 2100, 3)], []
    )
    assert shape(made.periods) == [(0, 10, 1000, "charging", (1, 2)), (10, 30, 1000, "charging", (2, 3))]


def test_energy_is_spread_over_the_part_that_charges() -> None:
    made = charge_of(
        START,
        START + timedelta(minutes=30),
        [reading(0, 0, 1), reading(20, 1000, 2)],
        [change(5, PeriodState.PARKING), change(10, PeriodState.CHARGING), change(25, PeriodState.PARKING)],
    )
    assert shape(made.periods) == [
        (0, 5, 333, "charging", (1, 2)),
        (5, 10, 0, "parking", (1, 2)),
        (10, 20, 666, "charging", (1, 2)),
        (20, 25, 0, "charging", ()),
        (25, 30, 0, "parking", ()),
    ]
    assert sum(one.energy_wh for one in made.periods) == 1000


def test_energy_that_came_while_it_only_parked_is_not_lost() -> None:
    made = charge_of(
        START, START + timedelta(minutes=10), [reading(0, 0), reading(10, 50)], [change(0, PeriodState.PARKING)]
    )
    assert shape(made.periods) == [(0, 10, 50, "parking", ())]


def test_the_whole_energy_counts_where_readings_are_missing() -> None:
    end = START + timedelta(minutes=30)
    assert shape(charge_of(START, end, [], [], total_wh=Decimal(900)).periods) == [(0, 30, 900, "charging", ())]
    late = charge_of(START, end, [reading(10, 500, 1), reading(30, 800, 2)], [], total_wh=Decimal(800))
    assert shape(late.periods) == [(0, 10, 500, "charging", (1,)), (10, 30, 300, "charging", (1, 2))]
    early = charge_of(START, end, [reading(0, 0, 1), reading(10, 500, 2)], [], total_wh=Decimal(800))
    assert shape(early.periods) == [(0, 10, 500, "charging", (1, 2)), (10, 30, 300, "charging", (2,))]
    less = charge_of(
        START, end, [reading(0, 0, 1), reading(10, 500, 2), reading(20, 900, 3)], [], total_wh=Decimal(800)
    )
    assert sum(one.energy_wh for one in less.periods) == 800


def test_a_register_that_goes_back_is_left_out() -> None:
    made = charge_of(START, START + timedelta(minutes=30), [reading(0, 100), reading(10, 50), reading(30, 400)], [])
    assert shape(made.periods) == [(0, 30, 300, "charging", ())]


def test_a_reservation_comes_before() -> None:
    made = charge_of(START, START, [], [], reserved_from=START - timedelta(minutes=15))
    assert shape(made.periods) == [(-15, 0, 0, "reserved", ())]
    with pytest.raises(InvalidInputError, match="cannot end"):
        charge_of(START, START - timedelta(seconds=1), [], [])


@given(
    st.lists(st.tuples(st.integers(-5, 65), st.integers(0, 9000)), max_size=8),
    st.lists(st.tuples(st.integers(-5, 65), st.sampled_from([PeriodState.CHARGING, PeriodState.PARKING])), max_size=6),
    st.one_of(st.none(), st.integers(0, 20_000)),
)
@settings(max_examples=200, deadline=None)
def test_periods_fill_the_session_and_hold_all_energy(
    readings: list[tuple[int, int]], states: list[tuple[int, PeriodState]], total: int | None
) -> None:
    end = START + timedelta(minutes=60)
    made = charge_of(
        START,
        end,
        [reading(minutes, wh, number) for number, (minutes, wh) in enumerate(readings)],
        [change(minutes, state) for minutes, state in states],
        total_wh=None if total is None else Decimal(total),
    )
    periods: list[Period] = list(made.periods)
    assert periods[0].start == START
    assert periods[-1].end == end
    assert all(a.end == b.start for a, b in itertools.pairwise(periods))
    assert all(one.energy_wh >= 0 for one in periods)
    if total is not None:
        assert sum(one.energy_wh for one in periods) == total
