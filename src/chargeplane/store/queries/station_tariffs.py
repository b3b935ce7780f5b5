"""Default tariffs at stations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.payloads import as_json, jsonb


class StationTariffView(Struct, frozen=True, kw_only=True):
    """A default tariff of a station.

    Args:
        evse_id: 0 for all.
        state: sending, set, refused.
    """

    evse_id: int
    tariff_id: str
    tariff: Any
    state: str
    reason: str | None
    changed_by: str | None
    changed_at: datetime


async def put(
    db: Db, tenant_id: TenantId, key: StationKey, evse_id: int, tariff_id: str, tariff: object, by: str
) -> None:
    """A tariff on its way to the station."""
    await db.execute(
        "INSERT INTO station_tariff (station_key, evse_id, tenant_id, tariff_id, tariff, state, changed_by)"
        " VALUES ($1, $2, $3, $4, $5::text::jsonb, 'sending', $6) ON CONFLICT (station_key, evse_id) DO UPDATE SET"
        " tariff_id = excluded.tariff_id, tariff = excluded.tariff, state = 'sending', reason = NULL,"
        " changed_by = excluded.changed_by, changed_at = now()",
        key,
        evse_id,
        tenant_id,
        tariff_id,
        jsonb(tariff),
        by,
    )


async def settle(db: Db, key: StationKey, evse_id: int, tariff_id: str, state: str, reason: str | None) -> None:
    """Notes how the sending ended."""
    await db.execute(
        "UPDATE station_tariff SET state = $4, reason = $5, changed_at = now()"
        " WHERE station_key = $1 AND evse_id = $2 AND tariff_id = $3",
        key,
        evse_id,
        tariff_id,
        state,
        reason,
    )


async def forget(db: Db, key: StationKey, evse_id: int | None, tariff_ids: list[str]) -> None:
    """Drops tariffs the station was told to forget.

    Args:
        evse_id: None for all EVSEs.
        tariff_ids: empty for all.
    """
    await db.execute(
        "DELETE FROM station_tariff WHERE station_key = $1 AND ($2::int IS NULL OR evse_id = $2)"
        " AND (cardinality($3::text[]) = 0 OR tariff_id = ANY($3))",
        key,
        evse_id,
        tariff_ids,
    )


async def of_station(db: Db, key: StationKey) -> list[StationTariffView]:
    """The default tariffs we want a station to have."""
    rows = await db.fetch(
        "SELECT evse_id, tariff_id, tariff, state, reason, changed_by, changed_at FROM station_tariff"
        " WHERE station_key = $1 ORDER BY evse_id",
        key,
    )
    return [StationTariffView(**{**row, "tariff": as_json(row["tariff"])}) for row in rows]
