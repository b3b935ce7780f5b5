"""What NATS has been told when the bus says it is done: the order of the lines on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from chargeplane.edges.bus import NatsBus


class Recorder:
    """Speaks as much of NATS as a client needs to subscribe, and writes down what it hears up to each PONG."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.url = ""
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}\r\n')
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                word = line.decode().split(" ")[0].strip()
                self.lines.append(word)
                if word == "PING":
                    writer.write(b"PONG\r\n")
        writer.close()
        self.left.set()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    recorder.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield recorder
    await asyncio.wait_for(recorder.left.wait(), 20)
    server.close()


async def _upper(payload: bytes) -> bytes:
    return payload.upper()


async def test_the_server_has_answered_for_a_subscription_when_the_bus_returns_it(recorder: Recorder) -> None:
    bus = NatsBus(recorder.url)
    await bus.connect()
    await bus.respond("station.1", _upper)
    heard = list(recorder.lines)
    await bus.close()
    assert "SUB" in heard
    assert "PING" in heard[heard.index("SUB") :]


async def test_the_server_has_answered_for_the_end_of_subscriptions_before_the_bus_leaves(recorder: Recorder) -> None:
    bus = NatsBus(recorder.url)
    await bus.connect()
    for number in range(3):
        await bus.respond(f"station.{number}", _upper)
    await bus.close()
    heard = recorder.lines
    ended = len(heard) - heard[::-1].index("UNSUB")
    assert heard.count("UNSUB") == 3
    assert "PING" in heard[ended:]


async def test_the_server_has_answered_for_publications_when_they_are_flushed(recorder: Recorder) -> None:
    bus = NatsBus(recorder.url)
    await bus.connect()
    bus.publish("events.a", b"1")
    await bus.flush()
    heard = list(recorder.lines)
    await bus.close()
    assert "PUB" in heard
    assert "PING" in heard[heard.index("PUB") :]
