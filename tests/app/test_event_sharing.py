"""Feeds of several nodes: what happens on one is seen on all; facts come to every node, at least once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chargeplane.app.bus import Bus
from chargeplane.app.event_sharing import SharedEvents
from chargeplane.app.events import EventFeed, LiveEvent, Watcher
from chargeplane.app.facts import Announcer
from chargeplane.edges.bus import EmbeddedNats, InProcessBus, NatsBus
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.ids import NodeId, StationId, TenantId
from chargeplane.store.outbox import Fact

T1, T2 = TenantId(1), TenantId(2)
CP1 = StationId("CP1")
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def fact(number: int, topic: str = "transaction.started", tenant: int = 1) -> Fact:
    return Fact(
        id=number,
        tenant_id=tenant,
        topic=topic,
        key="7",
        payload=f'{{"id":"{number}","station_id":"CP1"}}',
        created_at=AT,
        attempts=1,
    )


async def next_of(watcher: Watcher) -> LiveEvent:
    found = await watcher.next(10)
    assert found is not None
    return found


class Nodes:
    """Two nodes on one bus each."""

    def __init__(self) -> None:
        self.feeds: list[EventFeed] = []
        self.buses: list[Bus] = []
        self.shared: list[SharedEvents] = []

    async def add(self, bus: Bus, *, alone: bool = False) -> None:
        feed = EventFeed()
        shared = SharedEvents(feed, bus, NodeId(len(self.feeds) + 1), alone=alone)
        await shared.start()
        self.feeds.append(feed)
        self.buses.append(bus)
        self.shared.append(shared)

    async def active(self, feed: EventFeed) -> None:
        async with asyncio.timeout(30):
            while not feed.active:
                await asyncio.sleep(0.005)


@pytest.fixture(params=["in process", "nats"])
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    two = Nodes()
    server: EmbeddedNats | None = None
    if request.param == "nats":
        server = EmbeddedNats(tmp_path)
        url = await server.start()
        for _ in range(2):
            bus = NatsBus(url)
            await bus.connect()
            await two.add(bus)
    else:
        one = InProcessBus()
        for _ in range(2):
            await two.add(one)
    yield two
    for shared in two.shared:
        await shared.stop()
    for each in two.buses:
        await each.close()
    if server is not None:
        await server.stop()


async def test_watcher_on_one_node_sees_what_happens_on_another_once(nodes: Nodes) -> None:
    here, there = nodes.feeds
    there.emit("station.updated", T1, CP1, {"before": "anybody watched"})
    watcher = here.watch(T1)
    await nodes.active(there)
    there.emit("station.connected", T1, CP1, {"ocpp_version": "1.6"})
    there.emit("station.connected", T2, CP1, {})
    here.emit("station.updated", T1, CP1, {})
    there.emit("station.disconnected", T1, CP1, {})
    seen = [await next_of(watcher) for _ in range(3)]
    assert {event.kind for event in seen} == {"station.connected", "station.updated", "station.disconnected"}
    (connected,) = (event for event in seen if event.kind == "station.connected")
    assert (connected.data, connected.station_id) == (b'{"ocpp_version":"1.6"}', "CP1")
    assert await watcher.next(0.05) is None
    assert sorted(event.seq for event in seen) == [event.seq for event in seen]


async def test_facts_are_seen_on_every_node_in_order(nodes: Nodes) -> None:
    watchers = [feed.watch(T1) for feed in nodes.feeds]
    await Announcer(nodes.buses[0])([fact(1), fact(2, tenant=2), fact(3, "transaction.ended")])
    for watcher in watchers:
        events = [await next_of(watcher) for _ in range(2)]
        assert [(event.kind, event.station_id, event.at) for event in events] == [
            ("transaction.started", "CP1", AT),
            ("transaction.ended", "CP1", AT),
        ]
        assert events[1].data == b'{"id":"3","station_id":"CP1"}'
        assert await watcher.next(0.02) is None


async def test_large_batches_travel_in_parts(nodes: Nodes) -> None:
    watcher = nodes.feeds[1].watch(T1)
    big = "x" * 300_000
    facts = [
        Fact(id=n, tenant_id=1, topic="t", key="k", payload=f'{{"n":{n},"x":"{big}"}}', created_at=AT, attempts=1)
        for n in range(20)
    ]
    await Announcer(nodes.buses[0])(facts)
    for one in facts:
        assert (await next_of(watcher)).data == one.payload.encode()


async def test_nothing_is_made_or_sent_while_nobody_watches(nodes: Nodes) -> None:
    here, there = nodes.feeds
    await Announcer(nodes.buses[0])([fact(1)])
    assert not here.active
    assert not there.active


async def test_who_comes_back_after_a_restart_gets_the_facts_of_meanwhile() -> None:
    bus = InProcessBus()
    feed = EventFeed()
    await SharedEvents(feed, bus, NodeId(1), alone=True).start()
    await Announcer(bus)([fact(1), fact(2, "transaction.ended")])
    await Announcer(bus)([fact(3, tenant=2)])
    await asyncio.sleep(0)
    watcher = feed.watch(T1, after="of-another-process")
    assert watcher.lost
    assert [(await next_of(watcher)).kind for _ in range(2)] == ["transaction.started", "transaction.ended"]
    fresh = feed.watch(T1)
    assert await fresh.next(0.01) is None


async def test_only_the_newest_facts_are_kept_unread() -> None:
    bus = InProcessBus()
    feed = EventFeed()
    await SharedEvents(feed, bus, NodeId(1), alone=True).start()
    announcer = Announcer(bus)
    for first in range(0, 40_000, 1000):
        await announcer([fact(first + n) for n in range(1000)])
        await asyncio.sleep(0)
    assert feed._unread_bytes < 700_000
    watcher = feed.watch(T1, after="x-1")
    last = None
    while (event := await watcher.next(0.01)) is not None:
        last = event
    assert last is not None
    assert last.data == b'{"id":"39999","station_id":"CP1"}'


async def test_watchers_are_told_of_a_gap_and_none_goes_on_from_before_it() -> None:
    feed = EventFeed()
    watcher = feed.watch(T1)
    feed.emit("station.updated", T1, CP1, {})
    before = await next_of(watcher)
    feed.gap()
    assert await watcher.next(1) is None
    assert watcher.lost
    assert feed.watch(T1, after=before.id).lost


async def test_announcing_while_the_bus_is_away_fails_and_is_to_be_repeated(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path)
    bus = NatsBus(await server.start())
    await bus.connect()
    await server.stop()
    async with asyncio.timeout(30):
        while bus.connected:
            await asyncio.sleep(0.01)
    with pytest.raises(UnavailableError):
        await Announcer(bus)([fact(1)])
    await bus.close()
