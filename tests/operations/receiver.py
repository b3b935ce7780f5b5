"""A receiver of webhooks: an HTTP server that notes what it gets and answers what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from standardwebhooks.webhooks import Webhook


@dataclass
class Got:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def verified(self, secret: str) -> Any:
        """The event, if the signature by this secret is there."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Listens on a free port.

    `answer` gives the status of each request, or bytes for the whole answer; it may wait.
    """

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[Got], Any] = lambda _: 200
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=1"

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            assert lines[0] == "POST /hook?a=1 HTTP/1.1"
            headers = dict(
                line.lower().split(": ", 1) for line in lines[1:] if line and "signature" not in line.lower()
            )
            headers |= {
                line.split(": ", 1)[0].lower(): line.split(": ", 1)[1]
                for line in lines[1:]
                if "signature" in line.lower()
            }
            body = await reader.readexactly(int(headers["content-length"]))
            got = Got(headers, body)
            async with self._changed:
                self.got.append(got)
                self._changed.notify_all()
            answer = self.answer(got)
            if isinstance(answer, Awaitable):
                answer = await answer
            if isinstance(answer, int):
                answer = b"HTTP/1.1 %d Something\r\nContent-Length: 4\r\n\r\nhm%d" % (answer, answer // 10)
            writer.write(answer)
            await writer.drain()
        writer.close()
        self._tasks.discard(task)

    async def wait_for(self, count: int) -> list[Got]:
        """When so many requests have come."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(self.got) >= count)
            return list(self.got)
