"""A wire between two installations: it sees each request of one to the other, before it is taken and after it was answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """A request on its way, or its answer.

    Args:
        answered: it was taken and answered, and who asked does not know yet.
    """

    method: str
    path: str
    answered: bool


Look = Callable[[Seen], Awaitable[bool]]
"""Whether it goes on; False: the connection is cut."""


async def onwards(_: Seen) -> bool:
    """Everything goes on."""
    return True


class Wire:
    """Listens in front of an installation's door.

    Args:
        port: of the door, as it is now.
    """

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0
        self.look: Look = onwards

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        behind: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                head, body = await _message(reader)
                method, path = head.split(b" ", 2)[:2]
                seen = (method.decode(), path.decode())
                if not await self.look(Seen(*seen, answered=False)):
                    return
                if behind is None:
                    behind = await asyncio.open_connection("127.0.0.1", self._port())
                behind[1].write(head + body)
                await behind[1].drain()
                head, body = await _message(behind[0])
                if not await self.look(Seen(*seen, answered=True)):
                    return
                writer.write(head + body)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for one in [writer] if behind is None else [writer, behind[1]]:
                one.close()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await one.wait_closed()
            self._open.discard(task)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A request's or an answer's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    names = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        names[name.strip().lower()] = value.strip()
    if names.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = b""
        while True:
            size = await reader.readuntil(b"\r\n")
            part = await reader.readexactly(int(size, 16) + 2)
            body += size + part
            if int(size, 16) == 0:
                return head, body
    return head, await reader.readexactly(int(names.get(b"content-length", b"0")))
