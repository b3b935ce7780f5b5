"""Reservations: how one ends, whatever order the words arrive in."""

from __future__ import annotations

import pytest

from chargeplane.domain.reservations import STANDING, ReservationState, answered, may_follow, told

S = ReservationState


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Accepted", S.ACCEPTED),
        ("Occupied", S.OCCUPIED),
        ("Faulted", S.FAULTED),
        ("Rejected", S.REJECTED),
        ("Unavailable", S.UNAVAILABLE),
        ("Nonsense", S.REJECTED),
        (None, S.UNREACHED),
    ],
)
def test_the_answer_is_the_state(word: str | None, state: ReservationState) -> None:
    assert answered(word) is state


@pytest.mark.parametrize(
    ("word", "state"),
    [("Expired", S.EXPIRED), ("Removed", S.REMOVED), ("NoTransaction", S.NO_TRANSACTION), ("New", S.REMOVED)],
)
def test_an_update_of_the_station_ends_it(word: str, state: ReservationState) -> None:
    assert told(word) is state
    assert may_follow(S.ACCEPTED, state)


def test_what_was_used_stays_used() -> None:
    for state in S:
        assert not may_follow(S.USED, state)


def test_a_use_counts_although_the_end_was_told_first() -> None:
    assert may_follow(S.EXPIRED, S.USED)
    assert may_follow(S.UNREACHED, S.USED)
    assert not may_follow(S.CANCELLED, S.USED)


def test_what_is_over_ends_in_no_other_way() -> None:
    for before in set(S) - STANDING:
        for after in set(S) - {S.USED}:
            assert not may_follow(before, after)
