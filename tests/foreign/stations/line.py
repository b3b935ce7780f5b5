"""What the package `ocpp` takes for a station's socket: a WebSocket that is opened anew over the station's life."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed


class Line:
    """Has the two methods that the package calls, and keeps what went over it.

    Args:
        dial: opens a socket as the station would now.
    """

    def __init__(self, dial: Callable[[], Awaitable[ClientConnection]]) -> None:
        self._dial = dial
        self._socket: ClientConnection | None = None
        self._open = asyncio.Event()
        self.sent: list[tuple[str, Any]] = []
        """The station's CALLs."""
        self.asked: list[tuple[str, Any]] = []
        """The server's."""
        self.errors: list[tuple[str, str, Any]] = []
        """CALLERRORs of the station: the action, the code, the details."""
        self._actions: dict[str, str] = {}
        self.ended: tuple[int, str] | None = None
        """How the server closed it last."""

    @property
    def socket(self) -> ClientConnection:
        """The one of now."""
        assert self._socket is not None
        return self._socket

    @property
    def unanswered(self) -> list[str]:
        """Calls of the server without an answer: the package has none for actions that an OCPP 2.1 station has no function for."""
        return list(self._actions.values())

    async def open(self) -> None:
        self._socket = await self._dial()
        self._open.set()

    async def close(self) -> None:
        self._open.clear()
        if self._socket is not None:
            await self._socket.close()

    async def closed(self) -> None:
        """Waits until the server has closed it."""
        async with asyncio.timeout(25):
            await self.socket.wait_closed()

    async def recv(self) -> str:
        while True:
            await self._open.wait()
            socket = self.socket
            try:
                message = await socket.recv()
            except ConnectionClosed as end:
                if end.rcvd is not None:
                    self.ended = (end.rcvd.code, end.rcvd.reason)
                if socket is self._socket:
                    self._open.clear()
                continue
            assert isinstance(message, str)
            frame = json.loads(message)
            if frame[0] == 2:
                self.asked.append((frame[2], frame[3]))
                self._actions[frame[1]] = frame[2]
            return message

    async def send(self, message: str) -> None:
        frame = json.loads(message)
        if frame[0] == 2:
            self.sent.append((frame[2], frame[3]))
        else:
            action = self._actions.pop(frame[1], "")
            if frame[0] == 4:
                self.errors.append((action, frame[2], frame[4]))
        try:
            await self.socket.send(message)
        except ConnectionClosed:
            if frame[0] == 2:
                raise  # an answer to what came over a socket that it has closed since goes nowhere
