"""Transactions whose token's time has ended: each is one node's to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from chargeplane.app.authorization import Authorization
from chargeplane.domain.commands import Stop
from chargeplane.domain.messages import ReportKind
from chargeplane.kernel.ids import NodeId, TenantId
from chargeplane.store.database import Database
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
        return len(await running_expired(place.db, [TenantId(1)], since, now, node, by="me"))

    assert (await found(NodeId(place.node.id)), await found(other)) == (1, 0)
    await place.db.execute("UPDATE node SET seen_at = now() - interval '10 minutes'")
    assert await found(other) == 1


class Stops:
    """Takes orders to stop, and writes them down as commands are."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.completes: dict[type, list[object]] = {}
        self.given: list[str | None] = []
        self.came = asyncio.Event()

    async def give(self, tenant_id: TenantId, key: int, command: Stop, *, by: str, valid_s: float) -> None:
        self.given.append(command.ocpp_transaction_id)
        await self.place.db.execute(
            "INSERT INTO command (tenant_id, station_key, type, request, state, requested_by)"
            " VALUES ($1, $2, 'stop', $3, 'pending', $4)",
            tenant_id,
            key,
            f'{{"type":"stop","ocpp_transaction_id":"{command.ocpp_transaction_id}"}}',
            f"policy: {by}",
        )
        self.came.set()


class Everywhere:
    """Whose node it is, and which tenants want transactions stopped."""

    def __init__(self, node_id: int) -> None:
        self.node_id = NodeId(node_id)

    def tenants_that_stop(self) -> list[TenantId]:
        return [TenantId(1)]


async def test_a_token_that_ended_while_the_server_was_down_stops_its_transaction_once(
    place: Place, database_url: str
) -> None:
    await Talk(place).say(report(ReportKind.STARTED, 0, seq=0, token="TAG"))
    await place.db.execute("UPDATE id_token SET valid_until = now() - interval '3 hours'")
    database = Database(database_url)
    stops, there = Stops(place), Everywhere(place.node.id)
    for _ in range(2):  # the second one is a restart
        authorization = Authorization(database, stops, there, there, every_s=0.01)  # type: ignore[arg-type]
        await authorization.start()
        async with asyncio.timeout(30):
            await stops.came.wait()
        await authorization._beat()
        await authorization.stop()
    assert len(stops.given) == 1
    await database.close()
