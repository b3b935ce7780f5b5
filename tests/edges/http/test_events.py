"""The live feed and its server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from chargeplane.app.events import KEPT, EventFeed
from chargeplane.kernel.ids import StationId, TenantId
from tests.support.rest import Rest, assert_problem

T1, T2 = TenantId(1), TenantId(2)


async def _next(lines: AsyncIterator[str]) -> tuple[str | None, str, Any]:
    ident, kind = None, ""
    async with asyncio.timeout(30):
        async for line in lines:
            if line.startswith("id: "):
                ident = line[4:]
            elif line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                return ident, kind, msgspec.json.decode(line[6:])
    raise AssertionError("the stream ended")


async def test_changes_are_shown_as_they_happen(rest: Rest) -> None:
    async with rest.client.stream("GET", "/v1/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        await anext(lines)
        await rest.station("CP1")
        ident, kind, body = await _next(lines)
        assert kind == body["type"] == "station.created"
        assert body["station_id"] == "CP1"
        assert body["data"]["security_profile"] == 1
        assert "password" not in body["data"]
        assert ident


async def test_type_and_station_filter_the_stream(rest: Rest) -> None:
    async with rest.client.stream("GET", "/v1/events?type=id_token,station.deleted") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        await rest.station("CP1")
        await rest.client.post("/v1/id-tokens", json={"id_token": "A"})
        await rest.client.delete("/v1/charging-stations/CP1")
        assert [(await _next(lines))[1] for _ in range(2)] == ["id_token.created", "station.deleted"]


async def test_who_comes_back_gets_what_was_missed(rest: Rest) -> None:
    async with rest.client.stream("GET", "/v1/events") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        await rest.station("CP1")
        ident, _, _ = await _next(lines)
    assert ident is not None
    await rest.station("CP2")
    async with rest.client.stream("GET", "/v1/events", headers={"Last-Event-ID": ident}) as stream:
        _, kind, body = await _next(stream.aiter_lines())
        assert (kind, body["station_id"]) == ("station.created", "CP2")
    async with rest.client.stream("GET", "/v1/events", headers={"Last-Event-ID": "other-7"}) as stream:
        _, kind, _ = await _next(stream.aiter_lines())
        assert kind == "lost"


async def test_stopping_the_server_ends_the_streams(rest: Rest) -> None:
    await rest.station("CP1")
    async with (
        rest.client.stream("GET", "/v1/events") as stream,
        rest.client.stream("GET", "/v1/charging-stations/CP1/messages/live") as live,
    ):
        await anext(stream.aiter_lines())
        async with asyncio.timeout(30):
            await rest.server.stop()
            assert live.status_code == 200


async def test_watching_needs_a_known_station(rest: Rest) -> None:
    assert_problem(await rest.client.get("/v1/charging-stations/none/messages/live"), 404)
    assert_problem(await rest.client.get("/v1/charging-stations/none/messages"), 404)


async def test_nothing_is_made_while_nobody_watches() -> None:
    feed = EventFeed()
    assert not feed.active
    feed.emit("station.connected", T1, StationId("A"), {})
    watcher = feed.watch(T1)
    assert feed.active
    assert await watcher.next(0.01) is None


async def test_a_slow_watcher_is_told_that_events_were_lost() -> None:
    feed = EventFeed()
    watcher = feed.watch(T1, limit=3)
    for number in range(5):
        feed.publish("a.b", T1, None, {"n": number})
    got = [await watcher.next(0.01) for _ in range(4)]
    assert [event and event.data for event in got] == [b'{"n":0}', b'{"n":1}', b'{"n":2}', None]
    assert watcher.lost


async def test_a_tenant_sees_its_own_events_only() -> None:
    feed = EventFeed()
    mine, theirs = feed.watch(T1), feed.watch(T2)
    feed.publish("a.b", T2, None, {})
    assert await mine.next(0.01) is None
    assert await theirs.next(0.01) is not None


async def test_events_that_are_no_longer_kept_count_as_lost() -> None:
    feed = EventFeed()
    first = feed.watch(T1)
    feed.publish("a.b", T1, None, {})
    event = await first.next(0.01)
    assert event is not None
    for _ in range(KEPT):
        feed.publish("a.b", T1, None, {})
    assert not feed.watch(T1, after=event.id, limit=2 * KEPT).lost
    feed.publish("a.b", T1, None, {})
    assert feed.watch(T1, after=event.id).lost
    assert feed.watch(T1, after=f"{event.id}0000").lost
