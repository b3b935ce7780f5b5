"""Files fetched and uploaded as stations do it: HTTP(S) without a library, FTP(S) with the standard one in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import io
import os
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from msgspec import Struct

from chargeplane.kernel.errors import PeerError

MAX_FILE: Final = 64 * 1024 * 1024
"""Bytes a virtual station fetches of a file."""

_TIMEOUT_S: Final = 30.0
_CHUNK: Final = 64 * 1024
_REDIRECTS: Final = 3


class TransferError(PeerError):
    """A file could not be fetched or uploaded.

    Args:
        status: HTTP status, None where it did not come to one.
    """

    def __init__(self, url: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"The file at {_without_password(url)} could not be transferred: {reason}.")
        self.status = status


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class Fetched(Struct, frozen=True):
    """A file.

    Args:
        name: as the URL or the server names it.
    """

    name: str
    data: bytes


async def fetch(url: str, tls: ssl.SSLContext | None = None) -> Fetched:
    """The file at a URL of the schemes http, https, ftp, ftps.

    Args:
        tls: trusts the server; None: the usual authorities.
    Raises:
        TransferError: it cannot be had.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            if urlsplit(url).scheme in ("ftp", "ftps"):
                name = unquote(urlsplit(url).path.rpartition("/")[2])
                return Fetched(name, await asyncio.to_thread(_ftp_get, url, tls))
            return await _http_get(url, tls)
    except TransferError:
        raise
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, ftplib.Error, EOFError) as error:
        raise TransferError(url, str(error) or type(error).__name__) from error


async def upload(
    url: str, name: str, data: bytes, tls: ssl.SSLContext | None = None, *, method: str = "multipart"
) -> None:
    """Uploads a file.

    Args:
        url: of the schemes http, https, ftp, ftps.
        method: `multipart` (a form, as most stations do), `post` or `put` (the bytes as they are).
    Raises:
        TransferError: it was not taken.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            if urlsplit(url).scheme in ("ftp", "ftps"):
                await asyncio.to_thread(_ftp_put, url, name, data, tls)
            else:
                await _http_upload(url, name, data, tls, method)
    except TransferError:
        raise
    except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, ftplib.Error, EOFError) as error:
        raise TransferError(url, str(error) or type(error).__name__) from error


# --- HTTP -------------------------------------------------------------------------------------------------------------


class _Answer(Struct):
    status: int
    headers: dict[str, str]
    body: bytes


async def _http_get(url: str, tls: ssl.SSLContext | None) -> Fetched:
    for _ in range(_REDIRECTS + 1):
        answer = await _exchange(url, tls, "GET", {}, b"")
        if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
            url = urljoin(url, answer.headers["location"])
            continue
        if answer.status != 200:
            raise TransferError(url, f"the server answered {answer.status}", answer.status)
        return Fetched(unquote(urlsplit(url).path.rpartition("/")[2]), answer.body)
    raise TransferError(url, "too many redirects")


async def _http_upload(url: str, name: str, data: bytes, tls: ssl.SSLContext | None, method: str) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    disposition = f'form-data; name="uploadfile"; filename="{name}"'
    if method == "multipart":
        boundary = f"----station{os.urandom(8).hex()}"
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
        data = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    else:
        headers["Content-Disposition"] = disposition  # N01.FR.19
    answer = await _exchange(url, tls, "PUT" if method == "put" else "POST", headers, data)
    if answer.status not in (200, 201, 202, 204):
        raise TransferError(url, f"the server answered {answer.status}", answer.status)


async def _exchange(url: str, tls: ssl.SSLContext | None, method: str, headers: dict[str, str], body: bytes) -> _Answer:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TransferError(url, "it is no URL of a scheme that this station knows")
    secure = parts.scheme == "https"
    context = (tls or ssl.create_default_context()) if secure else None
    reader, writer = await asyncio.open_connection(
        parts.hostname,
        parts.port or (443 if secure else 80),
        ssl=context,
        server_hostname=parts.hostname if secure else None,
    )
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}", "Connection: close"]
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append(f"Authorization: Basic {b64encode(login.encode()).decode()}")
        lines += [f"{key}: {value}" for key, value in headers.items()]
        if method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        with contextlib.suppress(ConnectionError):  # the server may answer, and close, before it has read all
            for start in range(0, len(body), _CHUNK):
                writer.write(body[start : start + _CHUNK])
                await writer.drain()
        return await _read_answer(url, reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def _read_answer(url: str, reader: asyncio.StreamReader) -> _Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    status = int(status_line.split(" ")[1])
    headers = {
        key.strip().lower(): value.strip() for key, found, value in (line.partition(":") for line in lines) if found
    }
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts = [part async for part in _chunks(url, reader)]
        return _Answer(status, headers, b"".join(parts))
    length = headers.get("content-length")
    if length is None:
        return _Answer(status, headers, await _bounded(url, reader, MAX_FILE + 1))
    if int(length) > MAX_FILE:
        raise TransferError(url, f"it has {length} bytes")
    return _Answer(status, headers, await reader.readexactly(int(length)))


async def _bounded(url: str, reader: asyncio.StreamReader, limit: int) -> bytes:
    data = bytearray()
    while part := await reader.read(_CHUNK):
        data += part
        if len(data) >= limit:
            raise TransferError(url, "it is too large")
    return bytes(data)


async def _chunks(url: str, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    total = 0
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        total += size
        if total > MAX_FILE:
            raise TransferError(url, "it is too large")
        data = await reader.readexactly(size + 2)
        if not size:
            return
        yield data[:-2]


# --- FTP --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _ftp(url: str, tls: ssl.SSLContext | None):  # type: ignore[no-untyped-def]
    parts = urlsplit(url)
    made: ftplib.FTP = ftplib.FTP_TLS(context=tls) if parts.scheme == "ftps" else ftplib.FTP()  # noqa: S321 -- the URL asks for it
    with made as client:
        client.connect(parts.hostname or "", parts.port or 21, timeout=_TIMEOUT_S)
        client.login(unquote(parts.username or "anonymous"), unquote(parts.password or ""))
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
        yield client, unquote(parts.path.lstrip("/"))


def _ftp_get(url: str, tls: ssl.SSLContext | None) -> bytes:
    data = bytearray()

    def take(part: bytes) -> None:
        data.extend(part)
        if len(data) > MAX_FILE:
            raise TransferError(url, "it is too large")

    with _ftp(url, tls) as (client, path):
        client.retrbinary(f"RETR {path}", take)
    return bytes(data)


def _ftp_put(url: str, name: str, data: bytes, tls: ssl.SSLContext | None) -> None:
    with _ftp(url, tls) as (client, path):
        # the path is a folder where it ends in a slash or is none
        target = path + name if not path or path.endswith("/") else path
        client.storbinary(f"STOR {target}", io.BytesIO(data))


# --- serving ----------------------------------------------------------------------------------------------------------


async def serve_file(name: str, data: bytes, on_request: Callable[[bool], None]) -> tuple[asyncio.Server, str]:
    """Offers one file by HTTP on the loopback, as a local controller does; the server and the URL.

    Args:
        on_request: told True when a download begins and False when it has ended.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                good = request.split(b" ")[1:2] == [f"/{name}".encode()]
                body = data if good else b""
                status = b"200 OK" if good else b"404 Not Found"
                on_request(True)
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)))
                writer.write(body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            on_request(False)
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    return server, f"http://127.0.0.1:{port}/{name}"
