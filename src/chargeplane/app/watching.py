"""One who watches a stream: what waits for it, whether some was lost, and its end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

PENDING: Final = 1000
"""What a watcher may be behind before it is let go."""


class Watching(Generic[T]):
    """The reader's side of a lossy stream. Iterate with `next`; `lost` tells that something was left out.

    Args:
        limit: what may wait.
    """

    def __init__(self, limit: int = PENDING) -> None:
        self._limit = limit
        self._waiting: deque[T] = deque()
        self._wake = asyncio.Event()
        self.lost = False
        self.closed = False

    def put(self, item: T) -> None:
        """Takes an item; beyond the limit the watcher counts as lost."""
        if len(self._waiting) >= self._limit:
            self.lost = True
        else:
            self._waiting.append(item)
        self._wake.set()

    def lose(self) -> None:
        """Something may have been missed: told as soon as what waits is read."""
        self.lost = True
        self._wake.set()

    async def next(self, timeout_s: float) -> T | None:
        """The next item; None after `timeout_s` without one, and where the watcher is lost or closed."""
        if not self._waiting and not self.lost and not self.closed:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                return None
        return self._waiting.popleft() if self._waiting else None

    def end(self) -> None:
        """Wakes the watcher for good: the server stops."""
        self.closed = True
        self._wake.set()
