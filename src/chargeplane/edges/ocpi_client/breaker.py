"""When a partner is left alone: after failures in a row, longer each time; then one request shows whether it is back."""

from __future__ import annotations

import random
import time
from typing import Final

BREAK_AFTER: Final = 5
FIRST_PAUSE_S: Final = 2.0
LAST_PAUSE_S: Final = 300.0


class Breaker:
    """Of one partner.

    Attributes:
        failures: in a row.
    """

    __slots__ = ("_probing", "_until", "failures", "first_pause_s")

    def __init__(self, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self.failures = 0
        self.first_pause_s = first_pause_s
        self._until = 0.0
        self._probing = False

    @property
    def pause_s(self) -> float:
        """For how long nothing is sent yet; 0 where something may be."""
        return max(0.0, self._until - time.monotonic())

    @property
    def broken(self) -> bool:
        """Whether so much failed that the partner is left alone, or probed."""
        return self.failures >= BREAK_AFTER

    def allows(self) -> bool:
        """Whether a request may go now; of a broken one, a single request at a time once its pause is over."""
        if not self.broken:
            return True
        if self._probing or self.pause_s > 0:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """An answer came."""
        self.failures = 0
        self._until = 0.0
        self._probing = False

    def failed(self) -> float | None:
        """None came; for how long it is left alone now."""
        self.failures += 1
        self._probing = False
        if not self.broken:
            return None
        longer = min(self.failures - BREAK_AFTER, 10)
        pause: float = min(self.first_pause_s * 2**longer, LAST_PAUSE_S) * random.uniform(0.8, 1.2)
        self._until = time.monotonic() + pause
        return pause

    def gave_up(self) -> None:
        """The request that was allowed was not sent, or was cut off."""
        self._probing = False
