"""The live feeds of all nodes tied together over the bus: a watcher on one node sees what happens on all.

Facts of the outbox come to every node by `facts.*`. Other events travel only while somebody watches: a node with watchers
says so every few seconds, and the others make and send events for a while after they last heard it.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.app.bus import Bus, Subscription
from chargeplane.app.events import EventFeed, LiveEvent
from chargeplane.app.facts import FACTS, tenant_of
from chargeplane.kernel.ids import NodeId, TenantId

_EVENTS: Final = "events"
_WATCHED: Final = "events.watched"
_SAY_EVERY_S: Final = 5.0
_HOLDS_S: Final = 12.0
"""How long a node makes events for another after it heard of its watchers."""


class _Event(Struct, frozen=True, array_like=True):
    node: int
    kind: str
    tenant_id: TenantId
    station_id: str | None
    at: datetime
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Event).decode


class SharedEvents:
    """Ties a node's feed to the bus.

    Args:
        node: this one.
        alone: there are no others: only facts travel.
    """

    def __init__(self, feed: EventFeed, bus: Bus, node: NodeId, *, alone: bool) -> None:
        self._feed = feed
        self._bus = bus
        self._node = node
        self._alone = alone
        self._wanted_until = 0.0
        self._subscriptions: list[Subscription] = []
        self._saying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Hears facts and the other nodes from now on."""
        bus, feed = self._bus, self._feed
        self._subscriptions.append(await bus.subscribe(FACTS, self._hear_facts))
        if self._alone:
            return
        self._subscriptions.append(await bus.subscribe(_EVENTS, self._hear_event))
        self._subscriptions.append(await bus.subscribe(_WATCHED, self._hear_watched))
        bus.on_gap(feed.gap)
        feed.on_event = self._send
        feed.on_watched = self._say_watched
        self._saying = asyncio.create_task(self._say(), name="watched-events")

    async def stop(self) -> None:
        """Leaves the bus."""
        self._feed.on_event = self._feed.on_watched = None
        if self._saying is not None:
            self._saying.cancel()
        for subscription in self._subscriptions:
            await subscription.cancel()

    def _hear_facts(self, subject: str, payload: bytes) -> None:
        self._feed.announce(tenant_of(subject), payload)

    def _hear_event(self, _: str, payload: bytes) -> None:
        if self._feed.active:
            event = _decode(payload)
            if event.node != self._node:
                self._feed.show(event.kind, event.tenant_id, event.station_id, event.at, event.data)

    def _hear_watched(self, _: str, payload: bytes) -> None:
        if int(payload) != self._node:
            self._wanted_until = time.monotonic() + _HOLDS_S
            self._feed.watched_elsewhere(_HOLDS_S)

    def _send(self, event: LiveEvent) -> None:
        if time.monotonic() < self._wanted_until:
            self._bus.publish(
                _EVENTS,
                _encode(_Event(self._node, event.kind, event.tenant_id, event.station_id, event.at, event.data)),
            )

    def _say_watched(self) -> None:
        self._bus.publish(_WATCHED, b"%d" % self._node)

    async def _say(self) -> None:
        while True:
            if self._feed.watched:
                self._say_watched()
            await asyncio.sleep(_SAY_EVERY_S)
