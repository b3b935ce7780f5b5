"""Ids for profiles that we make ourselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_profiles as queries

LOWEST = 1_100_000_000
TENANT = TenantId(1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, readers=2)
    yield database
    await database.close()


async def put(database: Database, key: StationKey, ident: int, state: str = "installed") -> None:
    profile = ChargingProfile(
        id=ident,
        evse_id=1,
        stack_level=0,
        purpose=ProfilePurpose.TX,
        kind=ProfileKind.RELATIVE,
        schedules=(ChargingSchedule(id=1, unit=RateUnit.W, periods=(ChargingPeriod(start_s=0, limit=Decimal(1)),)),),
    )
    async with database.change() as db:
        await queries.put(db, TENANT, key, profile, origin="planner", set_by="test", state=state)


async def free(database: Database, key: StationKey) -> int:
    async with database.change() as db:
        return await queries.free_id(db, key, LOWEST)


async def station(database: Database, station_id: str) -> StationKey:
    async with database.change() as db:
        key: StationKey = await db.fetchval(
            "INSERT INTO charging_station (tenant_id, station_id) VALUES ($1, $2) RETURNING key", TENANT, station_id
        )
    return key


async def test_a_free_id_is_no_living_profile_s_also_where_earlier_ones_are_gone(database: Database) -> None:
    key = await station(database, "CP1")
    assert await free(database, key) == LOWEST
    for ident in (LOWEST, LOWEST + 1, LOWEST + 2):
        await put(database, key, ident)
    async with database.change() as db:
        await db.execute("UPDATE charging_profile SET state = 'removed' WHERE id < $1", LOWEST + 2)
    # Counting those that live would give the id of the second, and the next but one that of the third.
    taken = {LOWEST + 2}
    for _ in range(3):
        ident = await free(database, key)
        assert ident not in taken
        await put(database, key, ident, "wanted")
        taken.add(ident)


async def test_a_free_id_is_not_moved_by_other_stations_and_other_ranges(database: Database) -> None:
    key, other = await station(database, "CP1"), await station(database, "CP2")
    await put(database, other, LOWEST + 7)
    await put(database, key, 4)
    await put(database, key, LOWEST + 100_000_000)
    await put(database, key, 2**31 - 1)  # one more is no id
    assert await free(database, key) == LOWEST
