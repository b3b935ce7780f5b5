"""The directory kept the same on all nodes: a change is in every node's memory before the API answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from chargeplane.app.bus import Bus, NoResponderError, RequestTimeoutError, Subscription
from chargeplane.app.directory import Directory
from chargeplane.app.stations import Stations
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.commit import Node

log = structlog.get_logger(__name__)

ALIVE_S = 15.0
"""A node that was not seen for so long is not waited for; it reads everything again when it is back."""

_SEEN_EVERY_S = 5.0
_ANSWER_S = 3.0
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
        self._life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Answers other nodes, and says from time to time that this one lives."""
        if not self._alone:
            self._subscription = await self._bus.respond(_subject(self._node.id), self._refresh_for_other)
            self._bus.on_gap(lambda: self._stations.spawn(self._directory.load()))
        self._life = asyncio.create_task(self._live(), name="node-life")

    async def stop(self) -> None:
        """Leaves the bus."""
        if self._life is not None:
            self._life.cancel()
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


def _subject(node: int) -> str:
    return f"node.{node}.refresh"
