"""How fast partners are told, so that stations do not wait for it.

Both share one loop and one core. What stations say comes first: the pace is found by how busy the process is, and how late its loop. While
it has time left, more messages are begun in a tick; when it is busy, whoever made it so, fewer. So partners get what stations leave over,
never more than a bound, and some always; what changes meanwhile waits in the queue as one newest state, not as messages.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

_TICK_S: Final = 0.005
_LATE_S: Final = 0.004
_LOOK_S: Final = 0.05
_BUSY: Final = 0.6
_FREE: Final = 0.5
_LEAST: Final = 1
_MOST: Final = 16
_FIRST: Final = 4


class Pace:
    """Gives turns.

    Attributes:
        per_tick: turns of 5 ms, as found last: 1 to 16, so 200 to 3,200 messages a second.
    """

    def __init__(self) -> None:
        self.per_tick = _FIRST
        self._left = _FIRST
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._running = False
        self._looked = (0.0, 0.0)
        self._late = False

    def start(self) -> None:
        """Turns are given out from now on; before, everybody has one."""
        self._running = True

    def stop(self) -> None:
        """No turn is waited for any more."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for one in self._waiting:
            if not one.done():
                one.set_result(None)
        self._waiting.clear()

    async def turn(self) -> None:
        """Returns when another message may be begun."""
        if not self._running:
            return
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._left = self.per_tick
            self._looked = time.monotonic(), time.process_time()
            self._arm(loop)
        if self._left > 0 and not self._waiting:
            self._left -= 1
            return
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        await future

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + _TICK_S
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._late |= loop.time() - self._due > _LATE_S
        now, used = time.monotonic(), time.process_time()
        took = now - self._looked[0]
        if took >= _LOOK_S:
            busy = (used - self._looked[1]) / took
            self._looked = now, used
            if self._late or busy > _BUSY:
                self.per_tick = max(_LEAST, self.per_tick * 2 // 3)
            elif busy < _FREE and self._waiting:
                self.per_tick = min(_MOST, self.per_tick + 1)
            self._late = False
        if not self._waiting and self._left >= self.per_tick:
            self._timer = None  # nothing was begun in this tick; the next one that asks begins another
            return
        self._left = self.per_tick
        while self._waiting and self._left > 0:
            one = self._waiting.popleft()
            if not one.done():
                self._left -= 1
                one.set_result(None)
        self._arm(loop)
