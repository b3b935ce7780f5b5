"""Payments at stations' terminals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec import Struct

from chargeplane.app.events import EventFeed
from chargeplane.app.house import Desk
from chargeplane.app.reports import Place
from chargeplane.app.station_payments import StationPayments
from chargeplane.domain.station_exchanges import Receipt, Settlement
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store.database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.close()


class Refusing:
    async def receipt(self, place: Place, settlement: Settlement) -> Receipt | None:
        raise ConnectionRefusedError


async def test_a_settlement_is_kept_also_where_nobody_can_write_its_receipt(database: Database) -> None:
    async with database.change() as db:
        key = await db.fetchval("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, 'CS1') RETURNING key")
    desks: dict[type, Desk] = {}
    StationPayments(database, EventFeed(), receipts=Refusing()).register(desks)
    now = datetime(2026, 1, 31, tzinfo=UTC)
    place = Place(tenant_id=TenantId(1), key=StationKey(key), station_id=StationId("CS1"), received_at=now)
    told: Struct = Settlement(psp_ref="P1", status="Settled", amount=Decimal("12.50"), at=now)
    assert await desks[Settlement](place, told) is None
    async with database.read() as db:
        assert await db.fetchval("SELECT amount FROM settlement WHERE psp_ref = 'P1'") == Decimal("12.50")
