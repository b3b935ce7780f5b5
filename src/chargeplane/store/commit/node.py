"""This process among the nodes: its row, its fence, and taking stations over from others."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.kernel.ids import NodeId, StationKey

if TYPE_CHECKING:
    from asyncpg import Connection


class NodeReplacedError(ChargeplaneError):
    """Another process runs under this node's name: this one must stop taking stations at once."""


class Node:
    """This process's row in `node`.

    Args:
        name: stable over restarts, unique over all processes that share the database.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.instance = uuid.uuid4()
        self.id = NodeId(0)
        self.fence = 0
        self.batch = 0

    async def register(self, db: Connection) -> None:
        """Takes the name over from whoever had it; that process can commit nothing from here on. Every station that it had
        connected is marked as gone."""
        row = await db.fetchrow(
            "INSERT INTO node (name, instance) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, "
            "fence = node.fence + 1, started_at = now(), seen_at = now() RETURNING id, fence, last_batch",
            self.name,
            self.instance,
        )
        assert row is not None
        self.id = NodeId(row["id"])
        self.fence = row["fence"]
        self.batch = row["last_batch"]
        await db.execute(
            "UPDATE station_connection SET connected = false, changed_at = now() WHERE node_id = $1 AND connected",
            self.id,
        )

    async def settle(self, db: Connection) -> int:
        """After a lost connection: raises our fence, so that nothing sent before can commit from now on, and returns the number
        of the last batch that did.

        Raises:
            NodeReplacedError: another process has the name.
        """
        row = await db.fetchrow(
            "UPDATE node SET fence = fence + 1, seen_at = now() WHERE id = $1 AND instance = $2 RETURNING fence, last_batch",
            self.id,
            self.instance,
        )
        if row is None:
            raise NodeReplacedError(f"Another process runs as node '{self.name}'; this one stops.")
        self.fence = row["fence"]
        return int(row["last_batch"])

    async def refresh_fence(self, db: Connection) -> None:
        """Reads the fence that a takeover raised.

        Raises:
            NodeReplacedError: another process has the name.
        """
        fence = await db.fetchval("SELECT fence FROM node WHERE id = $1 AND instance = $2", self.id, self.instance)
        if fence is None:
            raise NodeReplacedError(f"Another process runs as node '{self.name}'; this one stops.")
        self.fence = fence

    async def lost(self, db: Connection, keys: Sequence[StationKey]) -> list[StationKey]:
        """Which of these stations belong to another node now."""
        # The keys travel as text: the writer's connection takes arrays in a form of its own (see `fields`).
        rows = await db.fetch(
            "SELECT station_key FROM station_connection WHERE station_key = ANY(string_to_array($1, ',')::int8[]) "
            "AND node_id <> $2",
            ",".join(map(str, keys)),
            self.id,
        )
        return [row["station_key"] for row in rows]

    async def take_over(self, db: Connection, keys: Sequence[StationKey]) -> None:
        """Makes this node the owner of the stations. Nothing that another node has not committed by now will commit.

        The previous owners' fences are raised in the order of their ids (two takeovers at once must not deadlock), in the
        transaction that moves the stations.
        """
        async with db.transaction():
            await db.execute(
                "UPDATE node SET fence = fence + 1 WHERE id IN (SELECT id FROM node WHERE id IN (SELECT node_id "
                "FROM station_connection WHERE station_key = ANY($1::int8[]) AND node_id <> $2) ORDER BY id FOR UPDATE)",
                keys,
                self.id,
            )
            await db.execute(
                "INSERT INTO station_connection (station_key, node_id) "
                "SELECT key, $2 FROM unnest($1::int8[]) AS key ORDER BY key "
                "ON CONFLICT (station_key) DO UPDATE SET node_id = excluded.node_id, epoch = station_connection.epoch + 1, "
                "connected = false, changed_at = now() WHERE station_connection.node_id <> excluded.node_id",
                keys,
                self.id,
            )
