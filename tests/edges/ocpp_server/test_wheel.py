"""The shared timer, driven by a clock of the test's own."""

from __future__ import annotations

import asyncio
import time

import pytest

from chargeplane.edges.ocpp_server.wheel import Wheel

NEVER = float("inf")


class Clock:
    """Time as a test says it is."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Handle:
    def __init__(self, when: float) -> None:
        self._when = when

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        pass


class Loop:
    """A loop whose timers fire when the test turns it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.callback = lambda: None

    def call_later(self, delay: float, callback: object) -> Handle:
        self.callback = callback  # type: ignore[assignment]
        return Handle(self.clock.now + delay)


class Watched:
    def __init__(self, again: float = NEVER) -> None:
        self.slot = -1
        self.visits: list[float] = []
        self.again = again

    def visit(self, now: float) -> float:
        self.visits.append(now)
        return now + self.again


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def loop(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop(clock)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def turn(clock: Clock, loop: Loop, seconds: float, tick: float = 0.25) -> None:
    for _ in range(round(seconds / tick)):
        clock.now += tick
        loop.callback()


@pytest.fixture
def wheel(loop: Loop) -> Wheel:
    wheel = Wheel(0.25, 0.1)
    wheel.start()
    return wheel


def test_visit_comes_at_the_deadline_and_not_before(wheel: Wheel, clock: Clock, loop: Loop) -> None:
    watched = Watched()
    wheel.add(watched, clock.now + 10.1)
    turn(clock, loop, 10.0)
    assert not watched.visits
    turn(clock, loop, 0.5)
    assert len(watched.visits) == 1
    assert 1010.1 <= watched.visits[0] <= 1010.5
    turn(clock, loop, 200)
    assert len(watched.visits) == 1
    assert watched.slot == -1


def test_earlier_deadline_wins_and_later_one_changes_nothing(wheel: Wheel, clock: Clock, loop: Loop) -> None:
    watched = Watched()
    wheel.add(watched, clock.now + 60)
    wheel.add(watched, clock.now + 5)
    wheel.add(watched, clock.now + 30)
    turn(clock, loop, 5.5)
    assert len(watched.visits) == 1


def test_visited_one_says_when_to_come_next(wheel: Wheel, clock: Clock, loop: Loop) -> None:
    watched = Watched(again=10)
    wheel.add(watched, clock.now + 10)
    turn(clock, loop, 101)
    assert 9 <= len(watched.visits) <= 10


def test_deadline_beyond_the_ring_is_put_off_by_early_visits(wheel: Wheel, clock: Clock, loop: Loop) -> None:
    due = clock.now + 1000

    class Patient(Watched):
        def visit(self, now: float) -> float:
            self.visits.append(now)
            return due if now < due else NEVER

    watched = Patient()
    wheel.add(watched, due)
    turn(clock, loop, 999)
    early = len(watched.visits)
    assert early < 20
    turn(clock, loop, 2)
    assert watched.visits[-1] >= due


def test_removed_one_is_not_visited(wheel: Wheel, clock: Clock, loop: Loop) -> None:
    watched = Watched()
    wheel.add(watched, clock.now + 1)
    wheel.remove(watched)
    turn(clock, loop, 5)
    assert not watched.visits


def test_deadline_in_the_past_is_visited_at_the_next_tick(wheel: Wheel, clock: Clock, loop: Loop) -> None:
    watched = Watched()
    wheel.add(watched, 0.0)
    turn(clock, loop, 0.5)
    assert len(watched.visits) == 1


def test_loop_that_was_away_visits_all_that_fell_due_and_counts_as_loaded(
    wheel: Wheel, clock: Clock, loop: Loop
) -> None:
    watched = [Watched() for _ in range(10)]
    for number, one in enumerate(watched):
        wheel.add(one, clock.now + number)
    assert not wheel.loaded
    clock.now += 500.0
    loop.callback()
    assert all(len(one.visits) == 1 for one in watched)
    assert wheel.loaded
    assert wheel.stalled
    turn(clock, loop, 0.25)
    assert not wheel.stalled
    turn(clock, loop, 5)
    assert not wheel.loaded


def test_what_fell_due_while_it_stood_still_is_visited_after_the_start(wheel: Wheel, clock: Clock, loop: Loop) -> None:
    watched = Watched()
    wheel.add(watched, clock.now + 1)
    wheel.stop()
    clock.now += 10
    wheel.start()
    turn(clock, loop, 0.25)
    assert len(watched.visits) == 1
