"""Charging time and idle time."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.messages import Reading, Sample
from chargeplane.domain.timeline import Heard, Standing, _covering, timeline
from tests.domain.desk import NOON, at


def register(minute: float, wh: int) -> Heard:
    sample = Sample("Energy.Active.Import.Register", Decimal(wh), "Wh")
    return Heard(at=at(minute), readings=(Reading(at(minute), (sample,)),))


def power(minute: float, watt: int) -> Heard:
    return Heard(at=at(minute), readings=(Reading(at(minute), (Sample("Power.Active.Import", Decimal(watt), "W"),)),))


def state(minute: float, word: str) -> Heard:
    return Heard(at=at(minute), charging_state=word)


def minutes(value: Decimal) -> Decimal:
    return value / 60


def test_the_stations_words_decide_to_the_second() -> None:
    told = [
        state(0, "EVConnected"),
        state(2, "Charging"),
        state(30.5, "SuspendedEV"),
        state(40, "Charging"),
        state(45, "SuspendedEVSE"),
        state(50, "EVConnected"),
    ]
    seen = timeline(told, started_at=NOON, until=at(60))
    assert minutes(seen.charging_s) == Decimal("33.5")
    assert minutes(seen.idle_s) == Decimal("26.5")
    assert (minutes(seen.suspended_ev_s), minutes(seen.suspended_evse_s)) == (Decimal("9.5"), 5)
    assert [span.standing for span in seen.spans] == [
        Standing.CONNECTED,
        Standing.CHARGING,
        Standing.SUSPENDED_EV,
        Standing.CHARGING,
        Standing.SUSPENDED_EVSE,
        Standing.CONNECTED,
    ]
    assert all(span.stated for span in seen.spans)


def test_without_words_the_register_tells() -> None:
    told = [register(0, 1000), register(15, 4000), register(30, 4000), register(45, 4000), register(60, 4500)]
    seen = timeline(told, started_at=NOON, until=at(60))
    assert (minutes(seen.charging_s), minutes(seen.idle_s)) == (30, 30)
    assert not any(span.stated for span in seen.spans)


def test_without_words_and_register_power_tells() -> None:
    told = [power(0, 11_000), power(20, 3), power(50, 0)]
    seen = timeline(told, started_at=NOON, until=at(60))
    assert (minutes(seen.charging_s), minutes(seen.idle_s)) == (20, 40)


def test_a_register_at_both_ends_leaves_it_to_power() -> None:
    told = [register(0, 1000), register(60, 9000), *(power(n * 10, 11_000 if n < 3 else 0) for n in range(7))]
    assert minutes(timeline(told, started_at=NOON, until=at(60)).charging_s) == 30


def test_the_words_go_before_the_meter_and_the_meter_fills_what_they_leave() -> None:
    told = [register(0, 0), register(10, 500), state(10, "SuspendedEV"), register(20, 501), state(30, "Charging")]
    seen = timeline(told, started_at=NOON, until=at(40))
    assert minutes(seen.charging_s) == 20
    assert minutes(seen.suspended_ev_s) == 20


def test_nothing_heard_is_idle_and_a_stop_before_the_start_is_no_time() -> None:
    assert minutes(timeline([], started_at=NOON, until=at(7)).idle_s) == 7
    assert timeline([state(0, "Charging")], started_at=NOON, until=at(-5)).spans == ()


@given(
    st.lists(
        st.one_of(
            st.builds(state, st.integers(-5, 65), st.sampled_from(["Charging", "SuspendedEV", "EVConnected", "odd"])),
            st.builds(register, st.integers(-5, 65), st.integers(0, 9)),
            st.builds(power, st.integers(-5, 65), st.integers(0, 20)),
        ),
        max_size=20,
    ),
    st.integers(0, 60),
)
def test_all_of_the_time_is_accounted_for_once(told: list[Heard], length: int) -> None:
    seen = timeline(told, started_at=NOON, until=at(length))
    assert seen.charging_s + seen.idle_s == length * 60
    edges: list[datetime] = [NOON]
    for span in seen.spans:
        assert span.since == edges[-1] < span.until
        edges.append(span.until)
    assert edges[-1] == (at(length) if length else NOON)
    words = [one for one in told if one.charging_state != "odd"]
    if len({one.at for one in words if one.charging_state}) == sum(1 for one in words if one.charging_state):
        assert timeline(list(reversed(told)), started_at=NOON, until=at(length)).charging_s == pytest.approx(
            seen.charging_s
        )


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.sampled_from(list(Standing))), max_size=12),
    st.lists(st.integers(-1, 45), max_size=12),
)
def test_one_walk_finds_what_looking_at_each_moment_finds(parts: list[Any], moments: list[int]) -> None:
    laid = sorted(((at(since), at(since + lasting), one) for since, lasting, one in parts), key=lambda part: part[0])
    looked = [at(moment) for moment in sorted(moments)]
    slow = [next((one for since, end, one in reversed(laid) if since <= moment < end), None) for moment in looked]
    assert _covering(laid, looked) == slow
