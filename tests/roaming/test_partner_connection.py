"""What partners' servers do to a connection: it ends as an answer or as a reason, and the next request has a connection that works."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from chargeplane.app.roaming.ports import Failure
from chargeplane.edges.ocpi_client.connection import MOST_HEAD
from chargeplane.edges.ocpi_client.http import FailedError, PartnerHttp

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def served(
    answers: list[bytes], *, close: bool = False, together: bool = True
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives these answers in turn; its URL, and the heads of the requests by connection."""
    heads: list[bytes] = []
    left = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                answer = next(left)
                pieces = [answer] if together else [answer[place : place + 1] for place in range(len(answer))]
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                if close:
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?y=1", heads


@contextlib.asynccontextmanager
async def asking() -> AsyncIterator[PartnerHttp]:
    http = PartnerHttp(private_networks=True, timeout_s=20.0)
    yield http
    await http.close()


_GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (_GOOD, b"{}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{ }\r\n1\r\n \r\n0\r\n\r\n", b"{ } "),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + _GOOD, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["length", "chunks", "hints before it", "no content"],
)
@pytest.mark.parametrize("together", [True, False], ids=["at once", "byte by byte"])
async def test_answer_is_read_and_the_connection_is_used_again(answer: bytes, body: bytes, together: bool) -> None:
    async with served([answer, answer], together=together) as (url, heads), asking() as http:
        for _ in range(2):
            response = await http.ask("one", "GET", url, {"X-B": "b"})
            assert response.body == body
        assert heads[0].startswith(b"GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nX-B: b\r\n" in heads[0]
    assert "link" not in response.headers
    if answer is _GOOD:
        assert response.headers["x-a"] == "1, 2"


async def test_answer_without_length_ends_with_its_connection() -> None:
    async with served([b"HTTP/1.1 200 OK\r\n\r\n{ }"] * 2, close=True) as (url, _), asking() as http:
        assert (await http.ask("one", "GET", url, {})).body == b"{ }"
        assert (await http.ask("one", "GET", url, {})).body == b"{ }"


async def test_connection_that_was_closed_in_between_is_replaced() -> None:
    async with served([_GOOD] * 3, close=True) as (url, heads), asking() as http:
        for _ in range(3):
            assert (await http.ask("one", "PUT", url, {}, b"{}")).status == 200
            await asyncio.sleep(0)
        assert len(heads) == 3


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", Failure.UNREACHABLE),
        (b"", Failure.UNREACHABLE),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Failure.UNREACHABLE),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", Failure.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MOST_HEAD + b"\r\n\r\n{}", Failure.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, Failure.TOO_LARGE),
    ],
    ids=["cut", "nothing", "not HTTP", "another protocol", "endless head", "endless body"],
)
async def test_what_is_no_answer_is_a_reason_and_others_are_asked_anew(answer: bytes, failure: Failure) -> None:
    async with served([answer, _GOOD], close=True) as (url, _), asking() as http:
        with pytest.raises(FailedError) as raised:
            await http.ask("one", "GET", url, {}, limit=4000)
        assert raised.value.failure is failure
        assert (await http.ask("one", "GET", url, {})).status == 200


async def test_slow_partner_is_hung_up_on_and_header_cannot_be_ended_early() -> None:
    async with served([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", _GOOD]) as (url, _), asking() as http:
        with pytest.raises(FailedError) as raised:
            await http.ask("one", "GET", url, {}, timeout_s=0.1)
        assert raised.value.failure is Failure.TIMEOUT
        with pytest.raises(FailedError, match="line break"):
            await http.ask("one", "GET", url, {"X": "a\r\nHost: elsewhere"})
        assert (await http.ask("one", "GET", url, {})).status == 200


async def test_at_most_eight_requests_are_at_a_partner_at_once() -> None:
    now = most = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                now += 1
                most = max(most, now)
                await asyncio.sleep(0.01)
                now -= 1
                writer.write(_GOOD)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asking() as http:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio.gather(*(http.ask("one", "GET", url, {}) for _ in range(40)))
    assert most == 8


async def test_partner_that_makes_room_for_others_still_answers_and_is_hung_up_on_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chargeplane.edges.ocpi_client.http._POOLS", 1)
    asked, ended, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await goes_on.wait()
            writer.write(_GOOD)
            await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, served([_GOOD]) as (other, _), asking() as http, asyncio.timeout(20):
        first = asyncio.create_task(
            http.ask("one", "GET", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {})
        )
        await asked.wait()
        assert (await http.ask("two", "GET", other, {})).body == b"{}"
        goes_on.set()
        assert (await first).body == b"{}"
        await ended.wait()
