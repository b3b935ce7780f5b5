"""Alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_text, by_time
from chargeplane.store.queries.payloads import as_json, jsonb


class AlertView(Struct, frozen=True, kw_only=True):
    """Something a person should look at.

    Args:
        station_id: null where it concerns no one station.
        kind: security_event, silence, ...
        ident: tells alerts of one kind of one station apart.
        severity: critical, warning, info.
        hits: how often it happened since it was raised.
        cleared_at: when it was over; null while it stands.
    """

    id: str
    station_id: str | None
    kind: str
    ident: str
    severity: str
    title: str
    details: Any
    hits: int
    first_at: datetime
    last_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    cleared_at: datetime | None
    cleared_because: str | None


class AlertFilter(Struct, frozen=True, kw_only=True):
    """Which alerts."""

    standing: bool | None = None
    acknowledged: bool | None = None
    severity: str | None = None
    kind: str | None = None
    station_id: str | None = None


_SELECT = """
    SELECT a.id, s.station_id, a.kind, a.ident, a.severity, a.title, a.details, a.hits, a.first_at, a.last_at,
        a.acknowledged_at, a.acknowledged_by, a.cleared_at, a.cleared_because
    FROM alert a LEFT JOIN charging_station s ON s.key = a.station_key"""


async def raise_one(
    db: Db,
    tenant_id: TenantId,
    key: StationKey | None,
    kind: str,
    ident: str,
    severity: str,
    title: str,
    details: object,
) -> tuple[int, bool]:
    """Raises an alert, or counts one more hit of the one that stands; its id, and whether it is new."""
    row = await db.fetchrow(
        "INSERT INTO alert (tenant_id, station_key, kind, ident, severity, title, details)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb)"
        " ON CONFLICT (tenant_id, coalesce(station_key, 0), kind, ident) WHERE cleared_at IS NULL"
        " DO UPDATE SET hits = alert.hits + 1, last_at = now(), severity = excluded.severity, title = excluded.title,"
        " details = excluded.details RETURNING id, hits",
        tenant_id,
        key,
        kind,
        made_storable(ident, 255),
        severity,
        made_storable(title, 500),
        jsonb(details),
    )
    assert row is not None
    return row["id"], row["hits"] == 1


async def clear(
    db: Db, tenant_id: TenantId, key: StationKey | None, kind: str, ident: str | None, because: str
) -> list[int]:
    """Ends the alerts of a kind that stand, or the one with `ident`; their ids."""
    rows = await db.fetch(
        "UPDATE alert SET cleared_at = now(), cleared_because = $5 WHERE tenant_id = $1"
        " AND coalesce(station_key, 0) = coalesce($2::bigint, 0) AND kind = $3 AND ($4::text IS NULL OR ident = $4)"
        " AND cleared_at IS NULL RETURNING id",
        tenant_id,
        key,
        kind,
        None if ident is None else made_storable(ident, 255),
        made_storable(because, 500),
    )
    return [row["id"] for row in rows]


async def acknowledge(db: Db, tenant_id: TenantId, ident: int, by: str) -> bool:
    """Notes who looks after an alert; False where there is none that nobody does."""
    status: str = await db.execute(
        "UPDATE alert SET acknowledged_at = now(), acknowledged_by = $3"
        " WHERE tenant_id = $1 AND id = $2 AND acknowledged_at IS NULL",
        tenant_id,
        ident,
        by,
    )
    return status.endswith(" 1")


async def clear_one(db: Db, tenant_id: TenantId, ident: int, because: str) -> bool:
    """Ends one alert; False where there is none that stands."""
    status: str = await db.execute(
        "UPDATE alert SET cleared_at = now(), cleared_because = $3"
        " WHERE tenant_id = $1 AND id = $2 AND cleared_at IS NULL",
        tenant_id,
        ident,
        because,
    )
    return status.endswith(" 1")


ALERT_SORTS: Final = Sorts(
    "a.id",
    first_at=by_time("a.first_at"),
    last_at=by_time("a.last_at"),
    hits=by_number("a.hits"),
    severity=by_text("a.severity"),
    kind=by_text("a.kind"),
)


async def page(db: Db, tenant_id: TenantId, wanted: AlertFilter, limit: int, after: Position | None) -> list[AlertView]:
    """Alerts, newest first."""
    where = Where()
    where.add("a.tenant_id = ?", tenant_id)
    if wanted.standing is not None:
        where.add(f"a.cleared_at IS {'' if wanted.standing else 'NOT '}NULL")
    if wanted.acknowledged is not None:
        where.add(f"a.acknowledged_at IS {'NOT ' if wanted.acknowledged else ''}NULL")
    where.add_if("a.severity = ?", wanted.severity)
    where.add_if("a.kind = ?", wanted.kind)
    if wanted.station_id is not None:
        where.add("a.station_key = ANY(?)", await keys_of(db, tenant_id, wanted.station_id))
    order = ALERT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> AlertView | None:
    """The alert with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE a.tenant_id = $1 AND a.id = $2", tenant_id, ident)
    return None if row is None else _view(row)


def _view(row: Any) -> AlertView:
    return AlertView(**{**row, "id": str(row["id"]), "details": as_json(row["details"])})
