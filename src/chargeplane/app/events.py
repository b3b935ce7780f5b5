"""The live feed: everything that changes, to whoever watches now.

It is made of what was committed and is lossy by design: a watcher who is too slow is told that events were lost and is
let go; who must not miss anything polls the resources or takes the outbox. The newest events stay for a while, so that
a watcher who comes back with the id of the last one it saw gets those in between.

Nothing is made while nobody watches, on this node or another, and has not for `LINGER_S`. What the outbox announces
(that a transaction started, ended, was amended) comes to every node and is kept then too, unread, so that a watcher who
comes back after a restart gets what was committed before it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.app.facts import announced_in
from chargeplane.app.watching import PENDING, Watching
from chargeplane.kernel.ids import StationId, TenantId
from chargeplane.store.outbox import Fact

LINGER_S: Final = 60.0
KEPT: Final = 1000
"""Newest events kept for those who come back."""

UNREAD_BYTES: Final = 512 * 1024
"""Announcements kept while nobody watches."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class _About(Struct, frozen=True):
    station_id: str | None = None


_about = msgspec.json.Decoder(_About).decode


class LiveEvent(Struct, frozen=True):
    """One change.

    Args:
        id: of this process and place in the feed; later events sort behind.
        kind: noun and verb, as `transaction.started`.
        data: JSON.
    """

    id: str
    seq: int
    kind: str
    tenant_id: TenantId
    station_id: str | None
    at: datetime
    data: bytes


class Watcher(Watching[LiveEvent]):
    """One who watches the feed. End with `close`."""

    def __init__(
        self, feed: EventFeed, tenant_id: TenantId, kinds: frozenset[str], station_id: str | None, limit: int
    ) -> None:
        super().__init__(limit)
        self._feed = feed
        self._tenant_id = tenant_id
        self._kinds = kinds
        self._station_id = station_id

    def offer(self, event: LiveEvent) -> None:
        """Takes the event where it is wanted."""
        if event.tenant_id != self._tenant_id or (self._station_id and event.station_id != self._station_id):
            return
        if self._kinds and event.kind not in self._kinds and event.kind.partition(".")[0] not in self._kinds:
            return
        self.put(event)

    def close(self) -> None:
        """Leaves the feed."""
        self._feed.leave(self)


class EventFeed:
    """The node's live feed. `active` and `emit` are what the stations' actors see of it."""

    def __init__(self) -> None:
        self._boot = f"{int(time.time() * 1000):x}"
        self._seq = 0
        self._kept: deque[LiveEvent] = deque(maxlen=KEPT)
        self._unread: deque[tuple[TenantId, bytes]] = deque()
        self._unread_bytes = 0
        self._watchers: set[Watcher] = set()
        self._active_until = 0.0
        self._left_at = -LINGER_S
        self._closed = False
        self.on_event: Callable[[LiveEvent], None] | None = None
        """Told of every event made here; for other nodes."""
        self.on_watched: Callable[[], None] | None = None
        """Told when the first watcher comes."""
        self.listeners: list[Callable[[TenantId, bytes], None]] = []
        """Told of every publication of facts, watched or not, on every node; they must be quick."""

    @property
    def active(self) -> bool:
        """Whether anybody watches, here or on another node, or did a moment ago."""
        return bool(self._watchers) or time.monotonic() < self._active_until

    @property
    def watched(self) -> bool:
        """Whether anybody watches here, or did a moment ago."""
        return bool(self._watchers) or time.monotonic() < self._left_at + LINGER_S

    def watched_elsewhere(self, for_s: float) -> None:
        """Somebody watches on another node: events are made for so long."""
        self._active_until = max(self._active_until, time.monotonic() + for_s)

    def emit(self, kind: str, tenant_id: TenantId, station_id: StationId, data: dict[str, object]) -> None:
        """Shows a committed change of a station to whoever watches."""
        self.publish(kind, tenant_id, station_id, data)

    def publish(self, kind: str, tenant_id: TenantId, station_id: str | None, data: Any) -> None:
        """Shows a change to whoever watches.

        Args:
            data: anything msgspec encodes as JSON; encoded here, once for all watchers.
        """
        if not self.active:
            return
        event = self._show(kind, tenant_id, station_id, datetime.now(UTC), _encode(data))
        if self.on_event is not None:
            self.on_event(event)

    def show_fact(self, fact: Fact) -> None:
        """Shows a fact of the outbox as the event of its topic."""
        self.publish(fact.topic, TenantId(fact.tenant_id), None, msgspec.Raw(fact.payload.encode()))

    def show(self, kind: str, tenant_id: TenantId, station_id: str | None, at: datetime, data: bytes) -> None:
        """Shows an event that another node made."""
        if self.active:
            self._show(kind, tenant_id, station_id, at, data)

    def announce(self, tenant_id: TenantId, publication: bytes) -> None:
        """Shows facts of the outbox: a publication as `app/facts` makes it."""
        for listener in self.listeners:
            listener(tenant_id, publication)
        self._unread.append((tenant_id, publication))
        self._unread_bytes += len(publication)
        if self.active:
            self._read()
        else:
            while self._unread_bytes > UNREAD_BYTES and len(self._unread) > 1:
                self._unread_bytes -= len(self._unread.popleft()[1])

    def gap(self) -> None:
        """Events of other nodes, or facts, may have been missed: every watcher is told so and let go."""
        self._kept.clear()
        self._seq += 1  # nobody can go on from before it
        for watcher in self._watchers:
            watcher.lose()

    def _read(self) -> None:
        """Makes events of the announcements that were kept."""
        while self._unread:
            tenant_id, publication = self._unread.popleft()
            self._unread_bytes -= len(publication)
            for fact in announced_in(publication):
                data = fact.payload.encode()
                self._show(fact.topic, tenant_id, _about(data).station_id, fact.at, data)

    def _show(self, kind: str, tenant_id: TenantId, station_id: str | None, at: datetime, data: bytes) -> LiveEvent:
        self._seq += 1
        event = LiveEvent(f"{self._boot}-{self._seq}", self._seq, kind, tenant_id, station_id, at, data)
        self._kept.append(event)
        for watcher in self._watchers:
            watcher.offer(event)
        return event

    def watch(
        self,
        tenant_id: TenantId,
        *,
        kinds: frozenset[str] = frozenset(),
        station_id: str | None = None,
        after: str | None = None,
        limit: int = PENDING,
    ) -> Watcher:
        """A new watcher.

        Args:
            kinds: `transaction.started`, or `transaction` for all of a noun; empty for everything.
            station_id: of this station only.
            after: id of the last event seen; what followed comes first. An id that is too old, or of another process,
                makes the watcher begin with `lost` set, and all that is still kept comes first.
        """
        self._read()
        watcher = Watcher(self, tenant_id, kinds, station_id, limit)
        if after is not None:
            missed = self._since(after)
            for event in list(self._kept) if missed is None else missed:
                watcher.offer(event)
            watcher.lost = watcher.lost or missed is None
        if self._closed:
            watcher.end()
        self._watchers.add(watcher)
        if len(self._watchers) == 1 and self.on_watched is not None:
            self.on_watched()
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """The watcher is gone."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._left_at = time.monotonic()
            self._active_until = max(self._active_until, self._left_at + LINGER_S)

    def close(self) -> None:
        """Ends all watchers: the server stops."""
        self._closed = True
        for watcher in self._watchers:
            watcher.end()

    def _since(self, after: str) -> Iterator[LiveEvent] | None:
        boot, _, number = after.partition("-")
        if boot != self._boot or not number.isdecimal() or len(number) > 18:
            return None
        seq = int(number)
        oldest = self._kept[0].seq if self._kept else self._seq + 1
        if seq > self._seq or seq + 1 < oldest:
            return None
        return (event for event in list(self._kept) if event.seq > seq)
