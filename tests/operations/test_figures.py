"""Figures of a day against a count of every minute of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chargeplane.domain.performance.figures import (
    EvseState,
    SessionFacts,
    Span,
    StateSpan,
    figures,
    succeeded,
)

DAY = date(2026, 3, 29)
START = datetime(2026, 3, 28, tzinfo=UTC)
MINUTES = 3 * 1440


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


@st.composite
def histories(draw: Any) -> list[StateSpan]:
    places = sorted(draw(st.sets(st.integers(0, MINUTES), min_size=2, max_size=12)))
    found = []
    for begin, end in pairwise(places):
        state = draw(st.sampled_from([*EvseState, None]))
        if state is not None:
            found.append(StateSpan(state, at(begin), at(end)))
    return found


spans = st.tuples(st.integers(0, MINUTES - 1), st.integers(1, 2000)).map(lambda p: Span(at(p[0]), at(p[0] + p[1])))


def session(begin: int, end: int | None, **more: Any) -> SessionFacts:
    facts: dict[str, Any] = {"energy_wh": Decimal(5000), "stop_reason": None, "id_token": "a", "paid": True}
    return SessionFacts(start=at(begin), end=None if end is None else at(end), **facts | more)


sessions = st.lists(
    st.tuples(st.integers(0, MINUTES - 1), st.one_of(st.none(), st.integers(1, 1500))).map(
        lambda p: session(p[0], None if p[1] is None else p[0] + p[1])
    ),
    max_size=6,
)


@settings(max_examples=80, deadline=None)
@given(histories(), st.lists(spans, max_size=4), sessions, st.integers(0, MINUTES))
def test_seconds_are_those_of_a_count_minute_by_minute(
    states: list[StateSpan], exclusions: list[Span], known: list[SessionFacts], now: int
) -> None:
    found = figures(DAY, states, exclusions, known, [], at(now))
    observed = down = excluded = occupied = 0
    for minute in range(1440, min(2880, now)):
        moment = at(minute)
        state = next(
            (one.state for one in states if one.start <= moment and (one.end is None or moment < one.end)), None
        )
        observed += state is not None
        is_down = state is not None and state is not EvseState.UP
        down += is_down
        excluded += is_down and any(one.start <= moment < one.end for one in exclusions)
        occupied += any(one.start <= moment and (one.end is None or moment < one.end) for one in known)
    assert found.observed_s == observed * 60
    assert found.down_s == down * 60
    assert found.excluded_s == excluded * 60
    assert found.occupied_s == occupied * 60


@settings(max_examples=40, deadline=None)
@given(sessions)
def test_every_session_is_counted_on_one_day(known: list[SessionFacts]) -> None:
    days = [figures(date(2026, 3, 28) + timedelta(days=n), [], [], known, [], at(10**6)) for n in range(6)]
    ended = [one for one in known if one.end is not None]
    assert sum(one.sessions for one in days) == len(ended)
    assert sum((one.energy_wh for one in days), Decimal(0)) == sum((one.energy_wh for one in ended), Decimal(0))
    assert sum(one.successes for one in days) == sum(map(succeeded, ended))


def test_repair_takes_from_the_first_state_that_was_not_up_to_being_up() -> None:
    states = [
        StateSpan(EvseState.UP, at(0), at(100)),
        StateSpan(EvseState.FAULTED, at(100), at(1500)),
        StateSpan(EvseState.OFFLINE, at(1500), at(1600)),
        StateSpan(EvseState.UP, at(1600), None),
    ]
    found = figures(DAY, states, [], [], [], at(5000))
    assert (found.repairs, found.repair_s) == (1, 1500 * 60)
    assert figures(date(2026, 3, 28), states, [], [], [], at(5000)).repairs == 0


def test_an_accepted_id_token_without_a_session_is_a_failed_attempt() -> None:
    begun = [session(1500, 1600)]
    accepted = [
        (at(1499), "a"),  # began it
        (at(1600), "a"),  # ended it
        (at(1700), "b"),  # nothing came
        (at(1702), "b"),  # the same driver, again
        (at(2879), "c"),  # nothing came, and the time for it is over
    ]
    found = figures(DAY, [], [], begun, accepted, at(5000))
    assert (found.attempts, found.successes) == (3, 1)
    assert figures(DAY, [], [], begun, accepted, at(2880)).attempts == 2


def test_success_is_energy_a_normal_end_and_a_payment_that_did_not_fail() -> None:
    assert succeeded(session(0, 10))
    assert succeeded(session(0, 10, stop_reason="EVDisconnected"))
    assert not succeeded(session(0, 10, stop_reason="EmergencyStop"))
    assert not succeeded(session(0, 10, energy_wh=Decimal(99)))
    assert not succeeded(session(0, 10, paid=False))
