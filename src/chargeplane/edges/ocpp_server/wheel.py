"""One timer for every deadline of every socket: pings, pongs, close handshakes, call time-outs, paused sockets.

A timer of its own costs a connection hundreds of bytes and the loop a heap entry. Here a socket sits in one slot of a
ring, at its earliest deadline; each tick visits the slots that came due and puts each socket where it wants to be seen
next. Deadlines beyond the ring are visited early and put back.

The tick also measures how late the loop is: what nobody but the loop itself can tell, and what decides whether
stations are slowed down.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

_SLOTS: Final = 512

_STALLED_S: Final = 1.0
"""A loop that was away for so long has unread frames of everybody: no one is cut for silence in that turn."""


class Visited(Protocol):
    """What sits in the wheel."""

    slot: int
    """Where it sits; -1 is nowhere. Kept by the wheel."""

    def visit(self, now: float) -> float:
        """Does what is due and tells when to come next (monotonic seconds); a time in the past is the next tick."""
        ...


class Wheel:
    """The shared timer.

    Args:
        tick_s: resolution.
        loaded_lag_s: lateness of a tick from which the loop counts as full.
    """

    __slots__ = ("_at", "_handle", "_loaded_lag_s", "_loop", "_ring", "_tick_s", "lag_s", "loaded", "stalled")

    def __init__(self, tick_s: float, loaded_lag_s: float) -> None:
        self._tick_s = tick_s
        self._loaded_lag_s = loaded_lag_s
        self._ring: list[set[Visited]] = [set() for _ in range(_SLOTS)]
        self._at = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self.lag_s = 0.0
        self.loaded = False
        self.stalled = False

    def start(self) -> None:
        """Starts ticking in the running loop; what fell due while it stood still is visited at the first tick."""
        self._loop = asyncio.get_running_loop()
        if self._at == 0:
            self._at = self._number(time.monotonic())
        self._handle = self._loop.call_later(self._tick_s, self._tick)

    def stop(self) -> None:
        """Stops ticking."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def add(self, visited: Visited, due: float) -> None:
        """Sees to a visit at `due` or earlier."""
        number = min(max(self._number(due), self._at + 1), self._at + _SLOTS - 1)
        slot = visited.slot
        if slot >= 0:
            # Both slots lie within one turn of the ring ahead of the hand, so their order is that of the time.
            if (slot - self._at) % _SLOTS <= number - self._at:
                return
            self._ring[slot].discard(visited)
        visited.slot = number % _SLOTS
        self._ring[visited.slot].add(visited)

    def remove(self, visited: Visited) -> None:
        """Forgets it."""
        if visited.slot >= 0:
            self._ring[visited.slot].discard(visited)
            visited.slot = -1

    def _number(self, at: float) -> int:
        return int(at / self._tick_s) + 1

    def _tick(self) -> None:
        loop = self._loop
        if loop is None or self._handle is None:
            return
        now = time.monotonic()
        late = max(0.0, now - self._handle.when())
        self.lag_s = max(late, self.lag_s / 2)
        self.loaded = self.lag_s >= self._loaded_lag_s
        self.stalled = late >= _STALLED_S
        self._handle = loop.call_later(self._tick_s, self._tick)
        reached = int(now / self._tick_s)
        due: list[Visited] = []
        for number in range(max(self._at + 1, reached - _SLOTS + 1), reached + 1):
            ring = self._ring[number % _SLOTS]
            due.extend(ring)
            ring.clear()
        self._at = max(self._at, reached)
        for visited in due:
            visited.slot = -1
        for visited in due:
            next_due = visited.visit(now)
            if next_due < float("inf"):
                self.add(visited, next_due)
