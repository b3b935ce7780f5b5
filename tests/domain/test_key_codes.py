"""Guesses at key codes (OCPP 2.0.1, C04.FR.06)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chargeplane.domain.key_codes import (
    FIRST_WAIT,
    FORGOTTEN_AFTER,
    FREE_GUESSES,
    LONGEST_WAIT,
    KeyCodeGuesses,
    guessed,
)

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def after(number: int) -> KeyCodeGuesses:
    """So many wrong ones, each as soon as it is allowed."""
    state: KeyCodeGuesses | None = None
    for _ in range(number):
        state = guessed(state, NOON if state is None else state.until)
    assert state is not None
    return state


def test_a_driver_may_mistype() -> None:
    assert not after(FREE_GUESSES - 1).refuses(NOON)


def test_waits_double_up_to_the_longest() -> None:
    waits = []
    for number in range(FREE_GUESSES, FREE_GUESSES + 12):
        before, state = after(number - 1), after(number)
        waits.append(state.until - before.until)
        assert state.refuses(state.until - timedelta(milliseconds=1))
        assert not state.refuses(state.until)
    assert waits[:3] == [FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4]
    assert waits[-1] == LONGEST_WAIT


def test_wrong_ones_of_long_ago_are_forgotten() -> None:
    state = after(FREE_GUESSES + 3)
    assert guessed(state, state.until + FORGOTTEN_AFTER - timedelta(seconds=1)).wrong == FREE_GUESSES + 4
    assert guessed(state, state.until + FORGOTTEN_AFTER).wrong == 1


def test_a_number_of_guesses_beyond_reason_overflows_nothing() -> None:
    state = KeyCodeGuesses(wrong=10**9, until=NOON)
    assert guessed(state, NOON).until == NOON + LONGEST_WAIT
