"""When stations were asked for all of their variables, and when they told them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db


class Reading(Struct, frozen=True, kw_only=True):
    """What is known of a station's device model as a whole.

    Args:
        firmware: of its last boot.
        read_firmware: of the boot before the last reading.
        known: whether any variable is.
        enabled: whether we may ask by ourselves.
    """

    tenant_id: TenantId
    firmware: str | None
    read_firmware: str | None
    asked_at: datetime | None
    complete_at: datetime | None
    known: bool
    enabled: bool


async def one(db: Db, key: StationKey) -> Reading | None:
    """What is known of a station."""
    row = await db.fetchrow(
        "SELECT s.tenant_id, s.firmware_version AS firmware, r.firmware_version AS read_firmware, r.asked_at, r.complete_at,"
        " EXISTS (SELECT FROM station_variable v WHERE v.station_key = s.key) AS known,"
        " coalesce((s.settings->>'read_variables')::boolean, true) AS enabled"
        " FROM charging_station s LEFT JOIN device_model_reading r ON r.station_key = s.key"
        " WHERE s.key = $1 AND s.deleted_at IS NULL AND s.registration <> 'Rejected'",
        key,
    )
    return None if row is None else Reading(**row)


async def asked(db: Db, key: StationKey) -> None:
    """The station is asked for all of its variables now."""
    await db.execute(
        "INSERT INTO device_model_reading (station_key, firmware_version)"
        " SELECT key, firmware_version FROM charging_station WHERE key = $1"
        " ON CONFLICT (station_key) DO UPDATE SET firmware_version = excluded.firmware_version, asked_at = now()",
        key,
    )


async def complete(db: Db, key: StationKey) -> datetime:
    """The station has told all; since when it was asked."""
    since: datetime | None = await db.fetchval(
        "UPDATE device_model_reading SET complete_at = now() WHERE station_key = $1 RETURNING asked_at", key
    )
    return since if since is not None else await db.fetchval("SELECT now()")


async def full_report(db: Db, key: StationKey, request_id: int) -> datetime | None:
    """Our time of the first part of a complete report about everything that we asked for under a number; None where it is another
    report, or one with parts missing."""
    since: datetime | None = await db.fetchval(
        "SELECT (SELECT min(p.at) FROM station_request_part p WHERE p.request = r.id) FROM station_request r"
        " WHERE r.station_key = $1 AND r.kind = 'variables' AND r.request_id = $2 AND r.state = 'complete'"
        " AND r.detail->>'report' = 'full_inventory' ORDER BY r.id DESC LIMIT 1",
        key,
        request_id,
    )
    return since
