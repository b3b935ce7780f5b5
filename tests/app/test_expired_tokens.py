"""Transactions whose token's time has ended: each is one node's to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from chargeplane.domain.messages import ReportKind
from chargeplane.kernel.ids import NodeId, TenantId
from chargeplane.store.queries.authorization import running_expired
from tests.support.place import Place, Talk, report


@pytest.fixture
async def place(database_url: str) -> AsyncIterator[Place]:
    db: Any = await asyncpg.connect(database_url)
    await db.execute("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, 'CS1')")
    await db.execute(
        "INSERT INTO id_token (tenant_id, type, id_token, token_key, status, valid_until)"
        " VALUES (1, 'Central', 'TAG', 'tag', 'Accepted', now() + interval '1 minute')"
    )
    await db.close()
    made = await Place(database_url).start()
    yield made
    await made.stop()


async def test_the_stations_node_finds_it_and_another_only_when_that_is_gone(place: Place) -> None:
    await Talk(place).say(report(ReportKind.STARTED, 0, seq=0, token="TAG"))
    since, now = datetime.now(UTC), datetime.now(UTC) + timedelta(minutes=2)
    other = NodeId(place.node.id + 1)
    await place.db.execute(
        "INSERT INTO station_connection (station_key, node_id, connected) SELECT key, $1, true FROM charging_station"
        " ON CONFLICT (station_key) DO UPDATE SET node_id = $1, connected = true",
        place.node.id,
    )
    await place.db.execute("UPDATE node SET seen_at = now()")

    async def found(node: NodeId) -> int:
        return len(await running_expired(place.db, [TenantId(1)], since, now, node))

    assert (await found(NodeId(place.node.id)), await found(other)) == (1, 0)
    await place.db.execute("UPDATE node SET seen_at = now() - interval '10 minutes'")
    assert await found(other) == 1
