"""The bus keeps its promises in process and over NATS alike; over NATS also when the server dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from chargeplane.app.bus import Bus, NoResponderError, RequestTimeoutError, ResponderError
from chargeplane.edges.bus import EmbeddedNats, InProcessBus, NatsBus
from chargeplane.kernel.errors import ConflictError, InvalidInputError, UnavailableError

_T = TypeVar("_T")


@pytest.fixture(params=["in process", "nats"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    if request.param == "in process":
        one = InProcessBus()
        yield one
        await one.close()
        return
    server = EmbeddedNats(tmp_path)
    over_nats = NatsBus(await server.start())
    await over_nats.connect()
    yield over_nats
    await over_nats.close()
    await server.stop()


class Heard:
    """Collects what a subscription delivers."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def __call__(self, subject: str, payload: bytes) -> None:
        self._queue.put_nowait((subject, payload))

    async def next(self) -> tuple[str, bytes]:
        return await asyncio.wait_for(self._queue.get(), 30)

    @property
    def empty(self) -> bool:
        return self._queue.empty()


async def _upper(payload: bytes) -> bytes:
    return payload.upper()


async def test_every_subscriber_hears_every_publication_in_order(bus: Bus) -> None:
    first, second = Heard(), Heard()
    await bus.subscribe("events.a", first)
    await bus.subscribe("events.a", second)
    for number in range(200):
        bus.publish("events.a", b"%d" % number)
    for heard in (first, second):
        assert [await heard.next() for _ in range(200)] == [("events.a", b"%d" % n) for n in range(200)]
    assert bus.connected
    assert bus.dropped == 0


async def test_handler_runs_after_publish_returned(bus: Bus) -> None:
    heard = Heard()
    await bus.subscribe("events.a", heard)
    bus.publish("events.a", b"1")
    assert heard.empty
    await heard.next()


async def test_wildcards_stand_for_one_word_or_the_rest(bus: Bus) -> None:
    one, rest = Heard(), Heard()
    await bus.subscribe("t.*.x", one)
    await bus.subscribe("t.>", rest)
    for subject in ("t.1.x", "t.1.y", "t.1.x.z", "u.1.x", "t.2.x"):
        bus.publish(subject, b"")
    assert [(await one.next())[0] for _ in range(2)] == ["t.1.x", "t.2.x"]
    assert [(await rest.next())[0] for _ in range(4)] == ["t.1.x", "t.1.y", "t.1.x.z", "t.2.x"]
    assert one.empty


async def test_cancelled_subscription_hears_nothing_more(bus: Bus) -> None:
    cancelled, other = Heard(), Heard()
    subscription = await bus.subscribe("events.a", cancelled)
    await bus.subscribe("events.a", other)
    await subscription.cancel()
    bus.publish("events.a", b"1")
    await other.next()
    assert cancelled.empty


async def test_subscriber_that_fails_hurts_nobody(bus: Bus) -> None:
    heard = Heard()

    def fail(subject: str, payload: bytes) -> None:
        raise ValueError(subject)

    await bus.subscribe("events.a", fail)
    await bus.subscribe("events.a", heard)
    bus.publish("events.a", b"1")
    bus.publish("events.a", b"2")
    assert [(await heard.next())[1] for _ in range(2)] == [b"1", b"2"]


async def test_request_gets_the_answer(bus: Bus) -> None:
    await bus.respond("station.1", _upper)
    assert await bus.request("station.1", b"hello", 10) == b"HELLO"


async def test_large_request_and_answer_pass(bus: Bus) -> None:
    await bus.respond("station.1", _upper)
    assert await bus.request("station.1", b"x" * 3_000_000, 10) == b"X" * 3_000_000


async def test_request_without_responder_fails_at_once(bus: Bus) -> None:
    responder = await bus.respond("station.1", _upper)
    await responder.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(NoResponderError, match=r"station\.1"):
            await bus.request("station.1", b"", 60)


async def test_slow_responder_times_out_and_holds_up_no_other_request(bus: Bus) -> None:
    never = asyncio.Event()

    async def answer(payload: bytes) -> bytes:
        if payload == b"slow":
            await never.wait()
        return payload

    await bus.respond("station.1", answer)
    slow = asyncio.create_task(bus.request("station.1", b"slow", 0.2))
    assert await bus.request("station.1", b"quick", 10) == b"quick"
    with pytest.raises(RequestTimeoutError, match=r"0\.2 s"):
        await slow


async def test_responders_error_reaches_the_requester_and_its_bug_does_not(bus: Bus) -> None:
    async def refuse(payload: bytes) -> bytes:
        raise ConflictError("The station is busy.")

    async def break_down(payload: bytes) -> bytes:
        raise ValueError("secret")

    await bus.respond("station.1", refuse)
    await bus.respond("station.2", break_down)
    with pytest.raises(ResponderError, match=r"The station is busy\."):
        await bus.request("station.1", b"", 10)
    with pytest.raises(ResponderError) as failed:
        await bus.request("station.2", b"", 10)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("subject", ["", "a..b", "a b", "a.\n", "a.*", ">"])
async def test_what_is_no_subject_is_refused(bus: Bus, subject: str) -> None:
    with pytest.raises(InvalidInputError):
        await bus.respond(subject, _upper)


async def test_closed_bus_refuses_and_drops(bus: Bus) -> None:
    await bus.close()
    assert not bus.connected
    bus.publish("events.a", b"")
    with pytest.raises(UnavailableError):
        await bus.request("station.1", b"", 1)
    with pytest.raises(UnavailableError):
        await bus.subscribe("events.a", Heard())


# NATS alone


async def test_processes_hear_each_other_and_answer_each_other(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    url = await server.start()
    here, there = NatsBus(url), NatsBus(url)
    await here.connect()
    await there.connect()
    heard = Heard()
    await here.subscribe("events.a", heard)
    await there.respond("station.1", _upper)
    there.publish("events.a", b"1")
    assert await heard.next() == ("events.a", b"1")
    assert await here.request("station.1", b"x", 10) == b"X"
    # The process that held the station is gone.
    await there.close()
    with pytest.raises(NoResponderError):
        await here.request("station.1", b"x", 10)
    await here.close()
    await server.stop()


async def test_killed_nats_comes_back_with_all_subscriptions(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    bus = NatsBus(await server.start())
    await bus.connect()
    heard, gap = Heard(), asyncio.Event()
    bus.on_gap(gap.set)
    await bus.subscribe("events.>", heard)
    await bus.respond("station.1", _upper)
    for _ in range(2):
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(gap.wait(), 30)
        gap.clear()
        assert server.pid not in (pid, None)
        assert await bus.request("station.1", b"x", 10) == b"X"
        bus.publish("events.a", b"after")
        assert await heard.next() == ("events.a", b"after")
    await bus.close()
    await server.stop()


async def test_publications_while_nats_is_away_are_dropped_and_counted(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    bus = NatsBus(await server.start())
    await bus.connect()
    await server.stop()
    async with asyncio.timeout(30):
        while bus.connected:
            await asyncio.sleep(0.01)
    before = bus.dropped
    for _ in range(5):
        bus.publish("events.a", b"1")
    assert bus.dropped == before + 5
    with pytest.raises(UnavailableError, match="away"):
        await bus.request("station.1", b"", 10)
    await bus.close()


async def test_embedded_nats_takes_its_token_only(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    url = await server.start()
    with pytest.raises((InvalidInputError, UnavailableError)):
        await NatsBus(url.replace(url.split("//")[1].split("@")[0], "wrong")).connect()
    assert url.startswith("nats://")
    assert "@127.0.0.1:" in url
    assert (tmp_path / "nats" / "nats.conf").stat().st_mode & 0o777 == 0o600
    await server.stop()


async def test_nats_left_by_a_killed_server_is_ended_at_the_next_start(tmp_path: Path) -> None:
    left = EmbeddedNats(tmp_path)
    await left.start()
    pid = left.pid
    assert pid is not None
    assert left._watcher is not None
    left._watcher.cancel()  # as a killed server: nobody watches any more
    again = EmbeddedNats(tmp_path)
    await again.start()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    await again.stop()


async def test_absent_nats_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await NatsBus("nats://127.0.0.1:1").connect()
