"""How often an address may ask what needs no key."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

from chargeplane.edges.http.problems import ProblemError

_ADDRESSES: Final = 20_000


class Allowance:
    """A bucket an address, refilled steadily; bounded in addresses, the ones unseen for longest forgotten first.

    Args:
        per_minute: how many a minute.
        burst: how many at once.
    """

    def __init__(self, per_minute: float, burst: float) -> None:
        self._per_s = per_minute / 60
        self._burst = burst
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, now: float | None = None) -> float:
        """Seconds until one may be taken; 0 where one may now."""
        now = time.monotonic() if now is None else now
        spent, at = self._spent.get(address, (0.0, now))
        spent = max(0.0, spent - (now - at) * self._per_s)
        return 0.0 if spent + 1 <= self._burst else (spent + 1 - self._burst) / self._per_s

    def take(self, address: str, now: float | None = None) -> float:
        """Takes one where one may be taken, and returns 0; else the seconds until then."""
        now = time.monotonic() if now is None else now
        wait_s = self.wait_s(address, now)
        if wait_s > 0:
            return wait_s
        spent, at = self._spent.pop(address, (0.0, now))
        self._spent[address] = (max(0.0, spent - (now - at) * self._per_s) + 1, now)
        if len(self._spent) > _ADDRESSES:
            self._spent.popitem(last=False)
        return 0.0

    def require(self, address: str) -> None:
        """Takes one.

        Raises:
            ProblemError: 429, with the time to wait.
        """
        wait_s = self.take(address)
        if wait_s > 0:
            raise too_often(wait_s)


def too_often(wait_s: float) -> ProblemError:
    """The refusal."""
    seconds = int(wait_s) + 1
    return ProblemError(
        429,
        "throttled",
        f"There were too many requests from this address; try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )
