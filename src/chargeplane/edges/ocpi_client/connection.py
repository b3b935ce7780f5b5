"""One connection of HTTP/1.1 to a partner: a request, its answer, the next request.

Partners are told every change of every EVSE, fifty partners fifty times, so a request costs what writing and parsing cost (`httptools`, C)
and no more: no task, no stream, no event object. What the other side does is bounded: bytes of the head, bytes of the body; how long it may
take is the caller's to say, who cancels.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
from msgspec import Struct

MOST_HEAD: Final = 64 * 1024


class Response(Struct, frozen=True, kw_only=True):
    """An answer.

    Args:
        headers: with names in lower case; of a name that came twice, both values joined.
    """

    status: int
    headers: dict[str, str]
    body: bytes


class TooLargeError(Exception):
    """The answer has more bytes than it may have."""


class BrokenError(Exception):
    """There was no answer, or none that is HTTP; the sentence says why."""


class Connection(asyncio.Protocol):
    """The protocol of a connection.

    Attributes:
        used_at: when its last answer was there, by the loop's clock.
    """

    def __init__(self) -> None:
        self.used_at = 0.0
        self._transport: Any = None
        self._parser: Any = None
        self._waiter: asyncio.Future[Response] | None = None
        self._limit = 0
        self._head = 0
        self._named = 0
        self._body_begun = False
        self._size = 0
        self._parts: list[bytes] = []
        self._headers: dict[str, str] = {}

    @property
    def open(self) -> bool:
        """Whether it can be asked."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, request: bytes, limit: int) -> Response:
        """Sends a request; its answer. Where this is cancelled or raises, the connection is closed.

        Args:
            request: as it goes over the wire.
            limit: bytes of the body at most.
        Raises:
            TooLargeError, BrokenError: see there.
        """
        if not self.open:
            raise BrokenError("the connection was closed")
        waiter: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        self._limit = limit
        self._begin()
        self._transport.write(request)
        try:
            return await waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None

    def _begin(self) -> None:
        # A new parser for each answer: one that made nonsense of the last is not asked again.
        self._parser = httptools.HttpResponseParser(self)
        self._head = self._named = self._size = 0
        self._body_begun = False
        self._parts, self._headers = [], {}

    # -- of asyncio ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is connected."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of an answer came."""
        if self._waiter is None:
            self.close()  # nobody asked
            return
        if not self._body_begun:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(BrokenError("it would speak another protocol"))
        except (httptools.HttpParserError, UnicodeError) as error:
            self._fail(BrokenError(f"it does not answer in HTTP: {str(error)[:200]}"))
        if not self._body_begun and self._head > MOST_HEAD:
            self._fail(TooLargeError())

    def connection_lost(self, exc: Exception | None) -> None:
        """Was closed."""
        self._transport = None
        if self._waiter is None or self._waiter.done():
            return
        if exc is None and self._body_begun and self._until_the_end():
            self.on_message_complete()  # its length is that of the connection (RFC 9112, 6.3)
        else:
            self._fail(BrokenError(str(exc) if exc else "it hung up without an answer"))

    # -- of the parser -------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._named += len(name) + len(value) + 4
        if self._named > MOST_HEAD:
            self._fail(TooLargeError())
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._body_begun = True

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._size += len(body)
        if self._size > self._limit:
            self._fail(TooLargeError())
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """The answer is there."""
        status = self._parser.get_status_code()
        if status < 200:
            self._headers, self._parts, self._body_begun = {}, [], False  # the real one follows (RFC 9110, 15.2)
            return
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        waiter.set_result(Response(status=status, headers=self._headers, body=body))
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        self.used_at = asyncio.get_running_loop().time()

    def _until_the_end(self) -> bool:
        headers = self._headers
        return "content-length" not in headers and "chunked" not in headers.get("transfer-encoding", "").lower()

    def _fail(self, error: Exception) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.close()
