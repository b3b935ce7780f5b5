"""Stations that should speak and do not, and clocks that are off."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store.queries.charging_stations import NODE_LIVES
from chargeplane.store.queries.paging import Db

_LOCK: Final = 0x7374_6174_7761
_MOST: Final = 20_000


class Silent(Struct, frozen=True, kw_only=True):
    """A station that should speak and does not."""

    tenant_id: TenantId
    key: StationKey
    station_id: StationId
    connected: bool
    heard_at: datetime


class WrongClock(Struct, frozen=True, kw_only=True):
    """A station whose clock is off."""

    tenant_id: TenantId
    key: StationKey
    station_id: StationId
    offset_s: float
    measured_at: datetime


async def alone(db: Db) -> bool:
    """Whether no other node is at it, until the end of the transaction."""
    return bool(await db.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK))


async def silent(db: Db, default_interval_s: int, intervals: int, slack: timedelta) -> list[Silent]:
    """Stations that are connected, or registered as permanently connected, and were not heard for so many heartbeat intervals."""
    rows = await db.fetch(
        "SELECT * FROM (SELECT s.tenant_id, s.key, s.station_id, n.id IS NOT NULL AS connected,"
        " greatest(s.created_at, s.booted_at, c.last_seen_at, c.changed_at) AS heard_at,"
        " coalesce((s.settings->>'heartbeat_interval_s')::integer, (t.settings->>'heartbeat_interval_s')::integer, $1) AS beat"
        " FROM charging_station s JOIN tenant t ON t.id = s.tenant_id"
        " LEFT JOIN station_connection c ON c.station_key = s.key"
        " LEFT JOIN node n ON n.id = c.node_id AND c.connected AND n.seen_at > now() - $4::interval"
        " WHERE s.deleted_at IS NULL AND s.registration = 'Accepted'"
        " AND (n.id IS NOT NULL OR s.settings->>'permanently_connected' = 'true')) AS expected"
        " WHERE heard_at < now() - make_interval(secs => beat * $2::integer) - $3::interval ORDER BY key LIMIT $5",
        default_interval_s,
        intervals,
        slack,
        NODE_LIVES,
        _MOST,
    )
    return [Silent(**{name: row[name] for name in Silent.__struct_fields__}) for row in rows]


async def wrong_clocks(db: Db, offset_s: float) -> list[WrongClock]:
    """Stations whose clock was off by more when it was last measured, within the last day."""
    rows = await db.fetch(
        "SELECT s.tenant_id, s.key, s.station_id, c.clock_offset_s AS offset_s, c.clock_measured_at AS measured_at"
        " FROM station_connection c JOIN charging_station s ON s.key = c.station_key"
        " WHERE s.deleted_at IS NULL AND abs(c.clock_offset_s) > $1 AND c.clock_measured_at > now() - interval '1 day'"
        " ORDER BY s.key LIMIT $2",
        offset_s,
        _MOST,
    )
    return [WrongClock(**row) for row in rows]


async def standing(db: Db, kind: str) -> dict[StationKey, TenantId]:
    """Stations with a standing alert of a kind."""
    rows = await db.fetch(
        "SELECT station_key, tenant_id FROM alert WHERE kind = $1 AND cleared_at IS NULL AND station_key IS NOT NULL",
        kind,
    )
    return {row["station_key"]: row["tenant_id"] for row in rows}
