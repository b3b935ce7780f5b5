"""The database's side of campaigns: one node works on one, and takes no more stations than it may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from chargeplane.domain.campaigns import CampaignState, Judged, Plan, StationState
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.commit import Node
from chargeplane.store.database import Database
from chargeplane.store.files import StoredFile
from chargeplane.store.queries import campaigns, firmware
from chargeplane.store.queries.firmware import NewFirmware

TENANT = TenantId(1)
LEASE = timedelta(seconds=30)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.close()


async def made(database: Database, count: int, firmware_id: int | None = None) -> tuple[int, list[StationKey]]:
    """A campaign over connected stations."""
    node = Node("node")
    writer = await database.connect_writer("test")
    await node.register(writer)
    await writer.close()
    async with database.change() as db:
        keys = []
        for _ in range(count):
            key = await db.fetchval(
                "INSERT INTO charging_station (tenant_id, station_id) VALUES (1, gen_random_uuid()::text) RETURNING key"
            )
            await db.execute(
                "INSERT INTO station_connection (station_key, node_id, connected) VALUES ($1, $2, true)", key, node.id
            )
            keys.append(StationKey(key))
        if firmware_id is None:
            file = StoredFile(path="x", size=1, md5="m", sha256="s")
            new = NewFirmware(
                name="f",
                vendor=None,
                model=None,
                version="2",
                signing_certificate=None,
                signature=None,
                signed_by=None,
                token="t",
                created_by="me",
            )
            firmware_id = await firmware.insert(db, TENANT, new, file)
        ident = await campaigns.insert(
            db,
            TENANT,
            name="c",
            firmware_id=firmware_id,
            plan=Plan(),
            state=CampaignState.RUNNING,
            created_by="me",
            transfer=None,
            stations=[(key, 1 + number // 4, StationState.WAITING, None, None) for number, key in enumerate(keys)],
        )
    return ident, keys


async def test_campaign_that_one_node_works_on_is_not_given_to_another(database: Database) -> None:
    ident, _ = await made(database, 1)
    async with database.change() as db:
        assert [one.id for one in await campaigns.claim(db, "a", LEASE, 10)] == [ident]
        assert await campaigns.claim(db, "b", LEASE, 10) == []
        assert [one.id for one in await campaigns.claim(db, "a", -LEASE, 10)] == [ident]  # its lease is over
        assert [one.id for one in await campaigns.claim(db, "b", LEASE, 10)] == [ident]
        await campaigns.release(db, "b")
        assert [one.id for one in await campaigns.claim(db, "a", LEASE, 10)] == [ident]


@pytest.mark.parametrize("room", [1, 3])
async def test_no_more_stations_are_taken_than_there_is_room_for(database: Database, room: int) -> None:
    ident, keys = await made(database, 8)
    async with database.change() as db:
        assert sorted(await campaigns.take(db, ident, 1, room, "a")) == keys[:room]
        assert sorted(await campaigns.take(db, ident, 1, 100, "a")) == keys[room:4]  # of its wave
        assert sorted(await campaigns.take(db, ident, 2, 100, "a")) == keys[4:]
        assert await campaigns.take(db, ident, 2, 100, "b") == []


async def test_station_is_in_one_campaign_at_a_time(database: Database) -> None:
    first, keys = await made(database, 2)
    async with database.change() as db:
        number = await db.fetchval("SELECT firmware_id FROM firmware_campaign WHERE id = $1", first)
        second = await campaigns.insert(
            db,
            TENANT,
            name="d",
            firmware_id=number,
            plan=Plan(),
            state=CampaignState.RUNNING,
            created_by="me",
            transfer=None,
            stations=[(key, 1, StationState.WAITING, None, None) for key in keys],
        )
        assert len(await campaigns.take(db, first, 1, 1, "a")) == 1
        (other,) = await campaigns.take(db, second, 1, 10, "a")
        assert other == keys[1]
        done = Judged(state=StationState.SUCCEEDED)
        assert await campaigns.judge(db, first, keys[0], done, among=[StationState.ASKING])
        assert not await campaigns.judge(db, first, keys[0], done, among=[StationState.ASKING])
        assert await campaigns.take(db, second, 1, 10, "a") == [keys[0]]
