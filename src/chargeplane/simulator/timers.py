"""One timer wheel for all stations of a process.

Ten thousand stations with heartbeats, meter values, answer deadlines and reconnects would be as many timers in the
event loop. Here they are entries in buckets of a few milliseconds; the loop knows one timer, the next bucket's.
Setting and cancelling cost a dictionary entry, which matters because most answer deadlines are cancelled.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

_TICKS_PER_S: Final = 200


class Timer:
    """A call-back to come; `cancel()` may be called at any time, also after it ran."""

    __slots__ = ("_bucket", "callback")

    def __init__(self, bucket: dict[Timer, None], callback: Callable[[], None]) -> None:
        self._bucket = bucket
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """The call-back is not called any more."""
        self.callback = None
        self._bucket.pop(self, None)


class Timers:
    """The wheel. Belongs to the running event loop; time is the loop's monotonic clock."""

    __slots__ = ("_buckets", "_due", "_loop", "_wake", "_wake_tick")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, dict[Timer, None]] = {}
        self._due: list[int] = []
        self._wake: asyncio.TimerHandle | None = None
        self._wake_tick = 0

    def now(self) -> float:
        """Monotonic seconds."""
        return self._loop.time()

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Calls back once, `delay_s` seconds from now, a few milliseconds late rather than early."""
        tick = int((self._loop.time() + max(delay_s, 0.0)) * _TICKS_PER_S) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heapq.heappush(self._due, tick)
            if self._wake is None or tick < self._wake_tick:
                self._arm(tick)
        timer = Timer(bucket, callback)
        bucket[timer] = None
        return timer

    def _arm(self, tick: int) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake_tick = tick
        self._wake = self._loop.call_at(tick / _TICKS_PER_S, self._run)

    def _run(self) -> None:
        self._wake = None
        now = int(self._loop.time() * _TICKS_PER_S + 0.01)
        while self._due and self._due[0] <= now:
            bucket = self._buckets.pop(heapq.heappop(self._due))
            while bucket:
                timer = next(iter(bucket))
                del bucket[timer]
                callback, timer.callback = timer.callback, None
                if callback is not None:
                    try:
                        callback()
                    except Exception as error:
                        self._loop.call_exception_handler(
                            {"message": "A simulator timer's call-back failed.", "exception": error}
                        )
        if self._due and (self._wake is None or self._due[0] < self._wake_tick):
            self._arm(self._due[0])

    def close(self) -> None:
        """Forgets every timer."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self._buckets.clear()
        self._due.clear()
