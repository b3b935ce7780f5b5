"""The directory kept the same on all nodes: a change is in every node's memory before the API answers.

Where there is no bus between nodes that share a database, or a node missed a message, each looks every two seconds for what
the API changed meanwhile (an index on the time of the change makes that one small query), so it knows seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import structlog

from chargeplane.app.bus import Bus, NoResponderError, RequestTimeoutError, Subscription
from chargeplane.app.directory import Directory
from chargeplane.app.ports import CloseReason
from chargeplane.app.stations import Stations
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.commit import Node
from chargeplane.store.database import is_unavailable

log = structlog.get_logger(__name__)

ALIVE_S = 15.0
"""A node that was not seen for so long is not waited for; it reads everything again when it is back."""

_SEEN_EVERY_S = 5.0
_ANSWER_S = 3.0
_FOLLOW_EVERY_S = 2.0
_OVERLAP = timedelta(minutes=2)
"""A change has the time at which its transaction began; one that was long under way is found all the same."""
_AT_ONCE = 500
_REST_EVERY = 15
"""Tenants and certificates are looked at every so many times."""
_TENANTS = b"tenants"
_CERTIFICATES = b"certificates"

Fetch = Callable[..., Awaitable[list[Any]]]
Execute = Callable[..., Awaitable[None]]


class SharedDirectory:
    """Refreshes stations on this node and on all others that live.

    Args:
        fetch: runs a query on the reader pool.
        execute: runs a statement; used to say that this node lives.
        alone: there are no other nodes.
    """

    def __init__(
        self,
        directory: Directory,
        stations: Stations,
        bus: Bus,
        node: Node,
        fetch: Fetch,
        execute: Execute,
        *,
        alone: bool,
    ) -> None:
        self._directory = directory
        self._stations = stations
        self._bus = bus
        self._node = node
        self._fetch = fetch
        self._execute = execute
        self._alone = alone
        self._subscription: Subscription | None = None
        self.on_certificates: Callable[[], Awaitable[None]] | None = None
        """Reads again what was revoked and who signs."""
        self.on_follow: Callable[[], Awaitable[None]] | None = None
        """The same, where nothing says that anything changed."""
        self._life: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._followed: dict[StationKey, int] = {}

    async def start(self) -> None:
        """Answers other nodes, and says from time to time that this one lives."""
        if not self._alone:
            self._subscription = await self._bus.respond(_subject(self._node.id), self._refresh_for_other)
            self._bus.on_gap(lambda: self._stations.spawn(self._directory.load()))
        self._life = asyncio.create_task(self._live(), name="node-life")
        self._following = asyncio.create_task(self._follow(), name="node-follow")

    async def stop(self) -> None:
        """Leaves the bus."""
        for task in (self._life, self._following):
            if task is not None:
                task.cancel()
        if self._subscription is not None:
            await self._subscription.cancel()

    async def refresh(self, key: StationKey) -> None:
        """Returns when every living node has what the database says of the station.

        Raises:
            UnavailableError: a living node did not answer; the change is stored, and that node may serve the old credentials
                until it has read it.
        """
        await self._apply(key)
        await self._tell_all(str(key).encode())

    async def refresh_tenants(self) -> None:
        """Returns when every living node knows the tenants the database has.

        Raises:
            UnavailableError: a living node did not answer.
        """
        await self._directory.refresh_tenants()
        await self._tell_all(_TENANTS)

    async def refresh_certificates(self) -> None:
        """Returns when every living node knows what was revoked and who signs.

        Raises:
            UnavailableError: a living node did not answer.
        """
        if self.on_certificates is not None:
            await self.on_certificates()
        await self._tell_all(_CERTIFICATES)

    async def _tell_all(self, message: bytes) -> None:
        if self._alone:
            return
        nodes = await self._fetch(
            "SELECT id FROM node WHERE id <> $1 AND seen_at > now() - make_interval(secs => $2)", self._node.id, ALIVE_S
        )
        await asyncio.gather(*(self._tell(row["id"], message) for row in nodes))

    async def _tell(self, node: int, message: bytes) -> None:
        try:
            await self._bus.request(_subject(node), message, _ANSWER_S)
        except NoResponderError:
            return  # gone since it was last seen
        except RequestTimeoutError:
            raise UnavailableError(
                f"Node {node} did not confirm the change in time; it is stored, try again."
            ) from None

    async def _refresh_for_other(self, message: bytes) -> bytes:
        if message == _TENANTS:
            await self._directory.refresh_tenants()
        elif message == _CERTIFICATES:
            if self.on_certificates is not None:
                await self.on_certificates()
        else:
            await self._apply(StationKey(int(message)))
        return b""

    async def _apply(self, key: StationKey) -> None:
        await self._directory.refresh([key])
        self._stations.credentials_changed(key)

    async def _live(self) -> None:
        while True:
            with contextlib.suppress(Exception):
                await self._execute("UPDATE node SET seen_at = now() WHERE id = $1", self._node.id)
            await asyncio.sleep(_SEEN_EVERY_S)

    # -- what no message told ------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        since: datetime | None = None
        for turn in count(1):
            await asyncio.sleep(_FOLLOW_EVERY_S)
            try:
                since = await self._changed_since(since)
                if turn % _REST_EVERY == 0:
                    await self._directory.refresh_tenants()
                    if self.on_follow is not None:
                        await self.on_follow()
            except Exception as error:
                if not is_unavailable(error):  # while the database is away the next turn finds what this one would have
                    log.exception("changes_not_followed")

    async def _changed_since(self, since: datetime | None) -> datetime:
        """Reads stations again that were changed; returns from when on to look the next time."""
        (clock,) = await self._fetch("SELECT now() AS at")
        after, key = since if since is not None else clock["at"] - _OVERLAP, 0
        seen: dict[StationKey, int] = {}
        while True:
            rows = await self._fetch(
                "SELECT key, revision, updated_at FROM charging_station WHERE (updated_at, key) > ($1, $2)"
                " ORDER BY updated_at, key LIMIT $3",
                after,
                key,
                _AT_ONCE,
            )
            fresh = []
            for row in rows:
                changed = StationKey(row["key"])
                seen[changed] = row["revision"]
                if self._followed.get(changed) != row["revision"]:
                    fresh.append(changed)
            if fresh:
                await self._take_over(fresh)
            if len(rows) < _AT_ONCE:
                break
            after, key = rows[-1]["updated_at"], rows[-1]["key"]
        self._followed = seen
        found: datetime = clock["at"] - _OVERLAP
        return found

    async def _take_over(self, keys: list[StationKey]) -> None:
        await self._directory.refresh(keys)
        for key in keys:
            self._stations.credentials_changed(key)
            if self._stations.proved_otherwise(key):
                link = self._stations.link(key)
                if link is not None:
                    link.close(CloseReason.CREDENTIALS_CHANGED)


def _subject(node: int) -> str:
    return f"node.{node}.refresh"
