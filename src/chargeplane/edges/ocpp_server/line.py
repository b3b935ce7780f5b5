"""Where sockets wait while the loop has a look at everything else.

A hundred stations that were answered together speak together, and one round of the loop would take all their messages before
it sees that the database has committed the last batch. Meanwhile the database has nothing to do; and then it has all of them at
once, and the loop has nothing to do. So after a number of messages that cost something the next ones wait in a line, first come
first served, and the loop goes round once between two helpings: the batches are as large as the database is slow, and both work
at the same time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)


class Waiting(Protocol):
    """What stands in the line."""

    def at_its_turn(self) -> None:
        """Takes what it has held."""

    def cut(self) -> None:
        """Ends the socket: an exception came out of its turn."""


class Line:
    """The line of one loop.

    Args:
        helping: messages that cost something, and sockets that waited, in one round of the loop.
    """

    __slots__ = ("_helping", "_loop", "_moving", "_waiting", "room")

    def __init__(self, helping: int) -> None:
        self.room = helping
        """Messages that may still be taken at once; whoever takes one that costs something counts it down. Without room one joins."""
        self._helping = helping
        self._waiting: deque[Waiting] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moving = False

    def start(self) -> None:
        """Belongs to the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    def join(self, one: Waiting) -> None:
        """Stands at the end; `one.at_its_turn()` is called when the loop has been round."""
        self._waiting.append(one)
        if not self._moving and self._loop is not None:
            self._moving = True
            self._loop.call_soon(self._move)

    def _move(self) -> None:
        waiting = self._waiting
        # What is taken now counts itself down; nothing that comes meanwhile may pass by those who wait.
        self.room = self._helping
        for _ in range(min(len(waiting), self._helping)):
            one = waiting.popleft()
            try:
                one.at_its_turn()
            except Exception:
                _log.exception("ocpp_turn_failed")
                one.cut()
        if waiting and self._loop is not None:
            self.room = 0
            self._loop.call_soon(self._move)
        else:
            self._moving = False
