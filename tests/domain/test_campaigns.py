"""The rules of campaigns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.campaigns import (
    Plan,
    StationState,
    Wave,
    WaveCounts,
    Window,
    after_failure,
    after_look,
    after_status,
    check,
    in_window,
    next_step,
    waves_of,
)
from chargeplane.kernel.errors import InvalidInputError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
S = StationState


def wave(number: int, reachable: int | None = None, last: datetime | None = None, **states: int) -> WaveCounts:
    found = {S(name): count for name, count in states.items()}
    waiting = found.get(S.WAITING, 0)
    return WaveCounts(
        wave=number, states=found, reachable=waiting if reachable is None else reachable, last_change=last
    )


def test_waves_are_counts_or_parts_of_all_and_the_rest_is_the_last() -> None:
    plan = Plan(waves=(Wave(count=1), Wave(percent=10), Wave(percent=50)))
    numbers = waves_of(plan, 12)
    assert [numbers.count(number) for number in (1, 2, 3, 4)] == [1, 2, 6, 3]
    assert waves_of(Plan(), 3) == [1, 1, 1]


@given(
    st.lists(
        st.one_of(
            st.builds(lambda n: Wave(count=n), st.integers(1, 50)),
            st.builds(lambda n: Wave(percent=n), st.integers(1, 100)),
        ),
        max_size=6,
    ),
    st.integers(0, 200),
)
def test_every_station_has_one_wave_and_they_rise(waves: list[Wave], count: int) -> None:
    numbers = waves_of(Plan(waves=tuple(waves)), count)
    assert len(numbers) == count
    assert numbers == sorted(numbers)
    assert not numbers or numbers[0] == 1


@pytest.mark.parametrize(
    ("plan", "pointer"),
    [
        (Plan(waves=(Wave(),)), "/plan/waves/0"),
        (Plan(waves=(Wave(count=1), Wave(count=1, percent=1))), "/plan/waves/1"),
        (Plan(deadline=NOW), "/plan/deadline"),
        (Plan(window=Window(begins_at="01:00", ends_at="01:00")), "/plan/window/ends_at"),
    ],
)
def test_plan_that_makes_no_sense_names_the_field(plan: Plan, pointer: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        check(plan, NOW)
    assert error.value.fields[0][0] == pointer


@pytest.mark.parametrize(
    ("begins", "ends", "inside"),
    [("10:00", "13:00", True), ("12:01", "13:00", False), ("23:00", "12:30", True), ("13:00", "11:00", False)],
)
def test_window_may_go_over_midnight(begins: str, ends: str, inside: bool) -> None:
    assert in_window(Window(begins_at=begins, ends_at=ends), NOW) is inside


def test_outside_the_window_nobody_is_asked() -> None:
    plan = Plan(window=Window(begins_at="01:00", ends_at="02:00"))
    assert next_step(plan, 1, [wave(1, waiting=5)], NOW).room == 0


def test_room_is_what_is_left_of_the_parallel_ones() -> None:
    step = next_step(Plan(max_parallel=5), 1, [wave(1, waiting=9, asking=1, updating=1, installed=1)], NOW)
    assert (step.wave, step.room) == (1, 2)


TWO = Plan(waves=(Wave(count=2, pause_s=60),))


@pytest.mark.parametrize(
    ("first", "reached"),
    [
        (wave(1, succeeded=1, updating=1), 1),
        (wave(1, succeeded=1, waiting=1), 1),
        (wave(1, 0, NOW - timedelta(minutes=5), succeeded=1, waiting=1), 2),  # the other one cannot be reached
        (wave(1, 0, waiting=2), 1),  # nobody was reached: that has shown nothing
        (wave(1, last=NOW - timedelta(seconds=30), succeeded=2), 1),  # its pause goes on
        (wave(1, last=NOW - timedelta(seconds=61), succeeded=1, failed=1), 2),
    ],
)
def test_next_wave_begins_when_all_that_can_be_reached_are_over(first: WaveCounts, reached: int) -> None:
    assert next_step(TWO, 1, [first, wave(2, waiting=3)], NOW).wave == reached


def test_campaign_is_finished_when_nothing_waits_and_nothing_goes_on() -> None:
    assert next_step(Plan(), 1, [wave(1, succeeded=2, skipped=1)], NOW).finished
    assert not next_step(Plan(), 1, [wave(1, succeeded=2, installed=1)], NOW).finished
    assert not next_step(Plan(), 1, [wave(1, 0, succeeded=2, waiting=1)], NOW).finished


def test_failure_rate_counts_over_those_that_are_over_and_from_a_number_on() -> None:
    plan = Plan(stop_at_failed_percent=50, stop_after=4)
    assert next_step(plan, 1, [wave(1, failed=3, waiting=90)], NOW).stop is None
    assert next_step(plan, 1, [wave(1, failed=2, succeeded=3, waiting=90)], NOW).stop is None
    stopped = next_step(plan, 1, [wave(1, failed=1), wave(2, failed=1, succeeded=2, waiting=90)], NOW)
    assert "2 of 4" in (stopped.stop or "")
    again = next_step(plan, 1, [wave(1, failed=2, succeeded=3, waiting=9)], NOW, forgiven_failed=2, forgiven_ended=4)
    assert again.stop is None
    never = Plan(stop_at_failed_percent=None)
    assert next_step(never, 1, [wave(1, failed=90, waiting=1)], NOW).stop is None


def test_failed_attempt_waits_for_the_next_until_there_is_none() -> None:
    plan = Plan(retries=1, retry_after_s=60)
    first = after_failure(plan, 1, "why", NOW)
    assert (first.state, first.again_at) == (S.WAITING, NOW + timedelta(minutes=1))
    assert after_failure(plan, 2, "why", NOW).state is S.FAILED


@pytest.mark.parametrize(
    "word", ["DownloadFailed", "InstallationFailed", "InstallVerificationFailed", "InvalidSignature"]
)
def test_words_of_failure(word: str) -> None:
    judged = after_status(Plan(retries=0), S.UPDATING, word, 1, NOW)
    assert judged is not None
    assert (judged.state, word in (judged.reason or "")) == (S.FAILED, True)


def test_words_on_the_way() -> None:
    plan = Plan()
    ahead = after_status(plan, S.ASKING, "Downloading", 1, NOW)  # before the answer to the command
    assert ahead is not None and ahead.state is S.UPDATING  # noqa: PT018
    assert after_status(plan, S.UPDATING, "Downloaded", 1, NOW) is None
    assert after_status(plan, S.UPDATING, "Idle", 1, NOW) is None
    assert after_status(plan, S.SUCCEEDED, "DownloadFailed", 1, NOW) is None
    installed = after_status(plan, S.UPDATING, "Installed", 1, NOW)
    assert installed is not None and installed.state is S.INSTALLED  # noqa: PT018
    trusted = after_status(Plan(verify_boot=False), S.UPDATING, "Installed", 1, NOW)
    assert trusted is not None and trusted.state is S.SUCCEEDED  # noqa: PT018


def look(state: StationState, **more: Any) -> StationState | None:
    arguments: dict[str, Any] = {
        "wanted": "2.0.0",
        "version": "1.0.0",
        "booted_at": None,
        "asked_at": NOW,
        "changed_at": NOW,
        "attempts": 1,
        "now": NOW + timedelta(seconds=10),
        **more,
    }
    plan = Plan(retries=0, step_timeout_s=600, verify_timeout_s=60)
    judged = after_look(plan, state, **arguments)
    return None if judged is None else judged.state


def test_boot_with_the_new_version_is_the_proof() -> None:
    later = NOW + timedelta(seconds=5)
    assert look(S.INSTALLED, booted_at=later, version=" 2.0.0") is S.SUCCEEDED
    assert look(S.UPDATING, booted_at=later, version="2.0.0") is S.SUCCEEDED  # Installed was lost
    assert look(S.INSTALLED, booted_at=NOW - timedelta(days=1), version="2.0.0") is None  # an older boot
    assert look(S.INSTALLED, booted_at=later, version="1.0.0") is None  # the next boot may have it
    late = NOW + timedelta(seconds=61)
    assert look(S.INSTALLED, booted_at=later, version="1.0.0", now=late) is S.FAILED
    assert look(S.INSTALLED, now=late) is S.FAILED


def test_station_that_tells_nothing_is_stuck() -> None:
    assert look(S.UPDATING, now=NOW + timedelta(seconds=599)) is None
    assert look(S.UPDATING, now=NOW + timedelta(seconds=600)) is S.FAILED
