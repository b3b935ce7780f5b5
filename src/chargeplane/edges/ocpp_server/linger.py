"""Sockets that were closed while their station was still sending.

A socket that is closed with bytes unread is reset by the kernel, and the reset may overtake the close frame that says
why. So what is still coming is read and thrown away for a short while, behind our FIN; all of it is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Final

MAX_SOCKETS: Final = 64
"""Sockets that are drained at once; more are closed as they are."""

_PIECE: Final = 64 * 1024


class Lingering:
    """Drains sockets whose last word is sent.

    Args:
        loop: of the server.
        seconds: how long one is drained at most.
        max_bytes: how much is read of one at most.
    """

    __slots__ = ("_buffer", "_left", "_loop", "_max_bytes", "_seconds", "_timers")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, seconds: float, max_bytes: int) -> None:
        self._loop = loop
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._buffer: bytearray | None = None
        self._left: dict[socket.socket, int] = {}
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._left)

    def take(self, descriptor: int) -> None:
        """Drains a socket that its transport is about to close.

        Args:
            descriptor: the transport's; it is duplicated and stays the transport's.
        """
        if len(self._left) >= MAX_SOCKETS:
            return
        try:
            mine = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            return
        try:
            mine.setblocking(False)
            mine.shutdown(socket.SHUT_WR)
        except OSError:  # gone already
            mine.close()
            return
        if self._buffer is None:
            self._buffer = bytearray(_PIECE)
        self._left[mine] = self._max_bytes
        self._timers[mine] = self._loop.call_later(self._seconds, self._end, mine)
        self._loop.add_reader(mine.fileno(), self._read, mine)

    def close(self) -> None:
        """Closes all of them as they are."""
        for mine in tuple(self._left):
            self._end(mine)

    def _read(self, mine: socket.socket) -> None:
        assert self._buffer is not None
        try:
            count = mine.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        left = self._left[mine] - count
        self._left[mine] = left
        if count == 0 or left <= 0:
            self._end(mine)

    def _end(self, mine: socket.socket) -> None:
        if self._left.pop(mine, None) is None:
            return
        self._timers.pop(mine).cancel()
        self._loop.remove_reader(mine.fileno())
        with contextlib.suppress(OSError):
            mine.close()
