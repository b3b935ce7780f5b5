"""Guesses at key codes: after a few wrong ones a station has to wait, each time for longer.

A key code has few digits, and a station at the roadside has all the time in the world. OCPP 2.0.1, C04.FR.06, recommends
backoff times that grow with the attempts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

FREE_GUESSES: Final = 5
"""Wrong key codes at one station before the first wait: drivers mistype."""

FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(minutes=15)
"""Waits double up to this: about a hundred guesses a day."""

FORGOTTEN_AFTER: Final = timedelta(hours=1)
"""Beyond the last wait. Then a wrong key code is the first again."""


class KeyCodeGuesses(Struct, frozen=True, kw_only=True):
    """Wrong key codes at one station.

    Args:
        wrong: since the last right one.
        until: no key code is accepted before this, not even a right one.
    """

    wrong: int = 0
    until: datetime

    def refuses(self, now: datetime) -> bool:
        """Whether the station still has to wait."""
        return self.wrong >= FREE_GUESSES and now < self.until


def guessed(before: KeyCodeGuesses | None, now: datetime) -> KeyCodeGuesses:
    """The state after a wrong key code. What was presented during a wait is no guess: it is not looked at."""
    wrong = 1 if before is None or now >= before.until + FORGOTTEN_AFTER else before.wrong + 1
    waits = wrong - FREE_GUESSES
    wait = timedelta() if waits < 0 else min(FIRST_WAIT * 2 ** min(waits, 20), LONGEST_WAIT)
    return KeyCodeGuesses(wrong=wrong, until=now + wait)
