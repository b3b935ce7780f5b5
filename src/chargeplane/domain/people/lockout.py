"""How long somebody has to wait who fails to prove who they are: ever longer, by account and by address."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from msgspec import Struct


class LockoutRule(Struct, frozen=True, kw_only=True):
    """When attempts stop being looked at.

    Args:
        free: failures without any wait.
        first_s: wait after the next one; doubled by each further one.
        longest_s: and never longer.
        forgotten_after: so long after the last failure they count no more.
    """

    free: int
    first_s: float
    longest_s: float
    forgotten_after: timedelta = timedelta(hours=24)

    def wait_s(self, failures: int) -> float:
        """Seconds to wait after so many failures; 0 for none."""
        over = failures - self.free
        if over <= 0:
            return 0.0
        return min(self.longest_s, self.first_s * 2.0 ** min(over - 1, 40))


BY_ACCOUNT: Final = LockoutRule(free=5, first_s=15.0, longest_s=3600.0)
BY_ADDRESS: Final = LockoutRule(free=30, first_s=5.0, longest_s=900.0, forgotten_after=timedelta(hours=1))
"""Many people may share an address."""

BY_KEYS: Final = LockoutRule(free=60, first_s=5.0, longest_s=900.0, forgotten_after=timedelta(hours=1))
"""Wrong API keys and tokens of logins, by address. Nobody guesses one; it keeps the looking-up small."""

BY_CARD: Final = LockoutRule(free=5, first_s=60.0, longest_s=86_400.0)
"""Codes on cards are short."""
