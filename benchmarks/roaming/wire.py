"""HTTP/1.1 with few costs: connections that stay, call-backs instead of tasks, `httptools` (C) for parsing.

The same client asks every server that is measured, so that what differs is the servers'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httptools

Answered = Callable[[int, dict[str, str], bytes], None]


class Connection(asyncio.Protocol):
    """A connection of a client: one request at a time, `answered` is called with its answer.

    Attributes:
        lost: it was closed while a request was open.
    """

    def __init__(self) -> None:
        self._transport: Any = None  # uvloop's is no asyncio.Transport
        self._parser: Any = None
        self._answered: Answered | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self.lost = 0

    @property
    def idle(self) -> bool:
        """Whether a request may be sent."""
        return self._answered is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        self._transport = None
        if self._answered is not None:
            self.lost += 1
            answered, self._answered = self._answered, None
            answered(0, {}, b"")

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the parser."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Of the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Of the parser."""
        answered, self._answered = self._answered, None
        status = self._parser.get_status_code()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if answered is not None:
            answered(status, self._headers, body)

    def send(self, request: bytes, answered: Answered) -> None:
        """Sends a request."""
        self._parser = httptools.HttpResponseParser(self)  # type: ignore[no-untyped-call]
        self._headers, self._body = {}, []
        self._answered = answered
        if self._transport is None:
            self.connection_lost(None)
        else:
            self._transport.write(request)

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Sends one, and waits for the answer."""
        future: asyncio.Future[tuple[int, dict[str, str], bytes]] = asyncio.get_running_loop().create_future()
        self.send(request, lambda *answer: future.done() or future.set_result(answer))
        return await future

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()


async def connect(base: str) -> Connection:
    """A connection to where a URL points."""
    parts = urlsplit(base)
    assert parts.hostname is not None
    _, connection = await asyncio.get_running_loop().create_connection(Connection, parts.hostname, parts.port)
    return connection


def request(method: str, path: str, token: str, body: bytes | None = None) -> bytes:
    """A request as it goes over the wire.

    Args:
        token: as it stands behind "Token ".
    """
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Token {token}\r\nX-Request-ID: bench\r\n"
        "X-Correlation-ID: bench\r\nAccept: application/json\r\n"
    )
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode("latin-1") + b"\r\n" + (body or b"")


Handle = Callable[[str, str, bytes], tuple[int, list[tuple[str, str]], bytes]]


class ServedConnection(asyncio.Protocol):
    """A connection of a server.

    Args:
        handle: method, path with query, body -> status, headers, body.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._transport: Any = None  # uvloop's is no asyncio.Transport
        self._parser: Any = None
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)  # type: ignore[no-untyped-call]

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Of the parser."""
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        """Of the parser."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """Of the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """Of the parser."""
        method = self._parser.get_method().decode()
        status, headers, body = self._handle(method, self._url.decode("latin-1"), self._body)
        lines = [f"HTTP/1.1 {status} OK", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if self._transport is not None:
            self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
