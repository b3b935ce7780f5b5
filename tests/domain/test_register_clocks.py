"""The energy where the station's clock is set, or leads, while it charges: the register knows better than its times."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.transactions import Flag, measured
from tests.domain.desk import Desk, at, start16, stop16, values16


def test_a_clock_that_leads_and_is_set_back_a_little_brings_no_energy_twice() -> None:
    desk = Desk()
    desk.tell(start16(4, 0), now=at(0))
    desk.tell(values16(5, 100), now=at(1))
    for minute in range(2, 7):  # the clock is right from here on
        desk.tell(values16(minute + 0.5, 100 * minute), now=at(minute + 0.5))
    state = desk.tell(stop16(8, 800))
    assert state is not None
    assert state.energy_wh == 800
    assert Flag.METER_RESET not in state.flags
    assert Flag.CLOCK_STEPPED in state.flags


def test_a_clock_on_the_edge_of_what_is_believed_brings_no_energy_twice() -> None:
    """Five minutes ahead, give or take a second: now believed, now not."""
    desk = Desk()
    desk.tell(start16(4.99, 0), now=at(0))
    for minute in range(1, 8):
        desk.tell(values16(minute + (5.02 if minute % 2 else 4.98), 100 * minute), now=at(minute))
    state = desk.tell(stop16(13.02, 800), now=at(8))
    assert state is not None
    assert state.energy_wh == 800
    assert Flag.METER_RESET not in state.flags


def test_a_clock_set_back_by_hours_while_it_charges_brings_no_energy_twice() -> None:
    desk = Desk()
    desk.tell(start16(0, 0))
    for minute in range(1, 61):
        desk.tell(values16(minute, 100 * minute))
    for minute in range(61, 181):  # from the zone's time to UTC: two hours back
        desk.tell(values16(minute - 120, 100 * minute), now=at(minute))
    state = desk.tell(stop16(61, 18_100), now=at(181))
    assert state is not None
    assert state.energy_wh == 18_100
    assert Flag.METER_RESET not in state.flags


def test_a_register_that_restarts_while_the_clock_is_set_is_a_reset_and_never_more_than_was_measured() -> None:
    desk = Desk()
    desk.tell(start16(4, 1000), now=at(0))
    desk.tell(values16(5, 1400), now=at(1))
    desk.tell(values16(2, 20), now=at(2))  # clock set back, register from 0
    desk.tell(values16(6, 300), now=at(6))
    state = desk.tell(stop16(8, 400))
    assert state is not None
    assert 400 + 100 <= state.energy_wh <= 400 + 380
    assert Flag.METER_RESET in state.flags


@given(
    steps=st.lists(st.tuples(st.integers(0, 400), st.floats(0.01, 30)), min_size=1, max_size=12),
    leads=st.lists(st.floats(0, 12), min_size=14, max_size=14),
)
def test_no_way_in_which_a_clock_leads_changes_the_energy_or_turns_its_course_round(
    steps: list[tuple[int, float]], leads: list[float]
) -> None:
    """However far ahead each message's clock is, within what is believed or beyond."""
    desk = Desk()
    minute, register = 0.0, 5000
    desk.tell(start16(leads[0], register), now=at(0))
    for (rise, later), lead in zip(steps, leads[1:], strict=False):
        minute, register = minute + later, register + rise
        desk.tell(values16(minute + lead, register), now=at(minute))
    minute, register = minute + 1, register + 7
    state = desk.tell(stop16(minute + leads[-1], register), now=at(minute))
    assert state is not None
    assert state.energy_wh == register - 5000
    assert Flag.METER_RESET not in state.flags
    course = measured(desk.events[state.id])
    assert course[-1].energy_wh == Decimal(register - 5000)
    times = [one.at for one in course[1:-1]]
    assert times == sorted(times)
