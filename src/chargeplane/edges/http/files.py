"""The doors where stations fetch firmware and upload files. No API key: the addresses themselves are the secret.

    GET, HEAD  /files/firmware/TOKEN/NAME       a firmware; Range is understood
    POST, PUT  /files/uploads/TOKEN[/NAME]      a file: a form, or the bytes as they are

A small ASGI application of its own, because nothing here is JSON, bodies are as large as disks and go straight to them, and stations
speak HTTP as they do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote

import structlog

from chargeplane.app.addresses import FILES
from chargeplane.app.firmware import Firmware
from chargeplane.app.uploads import GoneError, Uploads
from chargeplane.edges.http.forms import FormError, boundary_of, filename_in, read_form
from chargeplane.kernel.errors import ChargeplaneError, NotFoundError, UnavailableError
from chargeplane.store.database import is_unavailable
from chargeplane.store.files import TooLargeError
from chargeplane.store.queries.firmware import Offered

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]

IDLE_S: Final = 60.0
"""A station that sends or takes nothing for so long is let go."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")

_log = structlog.get_logger(__name__)


class _GoneAwayError(Exception):
    """The peer closed the connection, or fell silent."""


def files_app(firmware: Firmware, uploads: Uploads) -> Callable[[_Scope, _Receive, _Send], Awaitable[None]]:
    """The application; paths begin with `/files/`."""

    async def app(scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        kind, token, name = _parts(scope["raw_path"])
        method = scope["method"]
        try:
            if kind == "firmware" and _TOKEN.fullmatch(token):
                if method not in ("GET", "HEAD"):
                    await _say(send, 405, "A firmware is fetched with GET.", allow="GET, HEAD")
                    return
                await _give(firmware, token, scope, send)
            elif kind == "uploads" and _TOKEN.fullmatch(token):
                if method == "HEAD" and await uploads.stands_open(token):
                    await _say(send, 200, "")
                elif method not in ("POST", "PUT"):
                    await _say(send, 405, "A file is uploaded with POST or PUT.", allow="POST, PUT")
                else:
                    await _take(uploads, token, name, scope, receive, send)
            else:
                await _say(send, 404, "There is nothing here.")
        except _GoneAwayError:
            _log.info("file_transfer_broken_off", kind=kind)

    return app


def _parts(raw_path: bytes) -> tuple[str, str, str]:
    path = raw_path.decode("latin-1").removeprefix(FILES).lstrip("/")
    kind, _, rest = path.partition("/")
    token, _, name = rest.partition("/")
    return kind, token, unquote(name)


# --- firmware ---------------------------------------------------------------------------------------------------------


async def _give(firmware: Firmware, token: str, scope: _Scope, send: _Send) -> None:
    try:
        found = await firmware.offered(token)
    except Exception as error:
        if not is_unavailable(error):
            raise
        await _say(send, 503, "Try again later.", retry_after="10")
        return
    if found is None:
        await _say(send, 404, "There is no such firmware.")
        return
    headers = _headers(scope)
    etag = f'"{found.sha256}"'
    span = _span(headers, found.size_bytes, etag)
    if span is None:
        await _start(
            send,
            416,
            [(b"content-range", f"bytes */{found.size_bytes}".encode()), (b"content-length", b"0")],
        )
        await send({"type": "http.response.body", "body": b""})
        return
    start, end = span
    partial = (start, end) != (0, found.size_bytes)
    answer = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(end - start).encode()),
        (b"accept-ranges", b"bytes"),
        (b"etag", etag.encode()),
        (b"cache-control", b"private, no-transform"),
    ]
    if partial:
        answer.append((b"content-range", f"bytes {start}-{end - 1}/{found.size_bytes}".encode()))
    await _start(send, 206 if partial else 200, answer)
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    await _pour(firmware, found, start, end - start, send)


async def _pour(firmware: Firmware, found: Offered, start: int, length: int, send: _Send) -> None:
    async for piece in firmware.read(found, start, length):
        try:
            async with asyncio.timeout(IDLE_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except (TimeoutError, OSError) as error:
            raise _GoneAwayError from error
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _span(headers: dict[bytes, str], size: int, etag: str) -> tuple[int, int] | None:
    """First byte and the one behind the last; None where there are no such bytes. A range that is not understood is none
    (RFC 9110, 14.2)."""
    wanted = headers.get(b"range")
    if wanted is None or headers.get(b"if-range", etag) != etag:
        return 0, size
    found = _RANGE.fullmatch(wanted.strip().replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if not first:  # the last so many bytes
        count = min(int(last), size)
        return (size - count, size) if count else None
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return 0, size
    return (start, end) if start < size else None


# --- uploads ----------------------------------------------------------------------------------------------------------


async def _take(uploads: Uploads, token: str, name: str, scope: _Scope, receive: _Receive, send: _Send) -> None:
    headers = _headers(scope)
    length = headers.get(b"content-length", "")
    client = scope.get("client")
    try:
        async with uploads.receive(token, client[0] if client else None) as receiving:
            if length.isdecimal() and int(length) > receiving.slot.max_bytes + 64 * 1024:
                raise TooLargeError(receiving.slot.max_bytes)
            content_type = headers.get(b"content-type", "")
            boundary = boundary_of(content_type)
            body = _body(receive)
            if boundary is not None:
                form = await read_form(boundary, body, receiving.write, lenient=True)
                await receiving.finish(form.filename or name, form.content_type)
            else:
                async for piece in body:
                    await receiving.write(piece)
                named = filename_in(headers.get(b"content-disposition", ""))
                await receiving.finish(named or name, content_type)
    except NotFoundError:
        await _refuse(send, 404, "There is no such address.")
    except GoneError as error:
        await _refuse(send, 410, str(error))
    except TooLargeError as error:
        await _refuse(send, 413, str(error))
    except FormError as error:
        await _refuse(send, 400, str(error))
    except UnavailableError as error:
        await _refuse(send, 503, str(error), retry_after="60")
    except ChargeplaneError as error:
        await _refuse(send, 422, str(error))
    except (_GoneAwayError, asyncio.CancelledError):
        raise
    except Exception as error:
        if not (is_unavailable(error) or isinstance(error, OSError)):
            raise
        _log.warning("upload_not_kept", error=repr(error))
        await _refuse(send, 503, "The file cannot be kept now; try again later.", retry_after="60")
    else:
        await _say(send, 201, "The file is here.")


async def _body(receive: _Receive) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                message = await receive()
        except TimeoutError as error:
            raise _GoneAwayError from error
        if message["type"] == "http.disconnect":
            raise _GoneAwayError
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


# --- answers ----------------------------------------------------------------------------------------------------------


def _headers(scope: _Scope) -> dict[bytes, str]:
    return {key.lower(): value.decode("latin-1") for key, value in scope["headers"]}


async def _start(send: _Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"x-content-type-options", b"nosniff")],
        }
    )


async def _say(send: _Send, status: int, sentence: str, **more: str) -> None:
    body = f"{sentence}\n".encode() if sentence else b""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": body})


async def _refuse(send: _Send, status: int, sentence: str, **more: str) -> None:
    """Answers before the body was read: the connection is not used again."""
    await _say(send, status, sentence, connection="close", **more)
