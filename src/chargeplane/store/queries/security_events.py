"""The security log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time
from chargeplane.store.queries.payloads import as_json


class SecurityEventView(Struct, frozen=True, kw_only=True):
    """A security event.

    Args:
        station_id: null where it concerns no registered station.
        source: who saw it: the station, or this server.
        type: the newest OCPP's name, or the station's own word; for what this server saw, its own.
        severity: critical, notice (called critical by OCPP, and part of good order), info.
        at: the station's time.
        hits: how often it came within the hour; rows of stations' reports are one each until there are too many.
        info: what the station says about it.
        remote_address: of the last one.
    """

    id: str
    station_id: str | None
    source: str
    type: str
    severity: str
    at: datetime | None
    received_at: datetime
    last_at: datetime
    hits: int
    info: str | None
    remote_address: str | None
    details: Any


class SecurityEventFilter(Struct, frozen=True, kw_only=True):
    """Which events."""

    station_id: str | None = None
    source: str | None = None
    type: str | None = None
    severity: str | None = None
    received_from: datetime | None = None
    received_to: datetime | None = None


class SecurityEvent(Struct, frozen=True, kw_only=True):
    """An event to be written.

    Args:
        bucket: gathered with the others of its kind since then; None for a row of its own.
        fact_id: of the report; a repeat is written once.
    """

    tenant_id: TenantId
    station_key: StationKey | None
    source: str
    type: str
    severity: str
    at: datetime | None = None
    info: str | None = None
    remote_address: str | None = None
    details: dict[str, Any] = {}
    hits: int = 1
    bucket: datetime | None = None
    fact_id: int | None = None


_SELECT = """
    SELECT e.id, s.station_id, e.source, e.type, e.severity, e.at, e.received_at, e.last_at, e.hits, e.info,
        e.remote_address, e.details
    FROM security_event e LEFT JOIN charging_station s ON s.key = e.station_key"""


async def add(db: Db, event: SecurityEvent) -> tuple[int, int] | None:
    """Writes an event, or counts it with the others of its bucket; its id and hits, None for a repeat."""
    conflict = (
        "ON CONFLICT (fact_id) DO NOTHING"
        if event.bucket is None
        else "ON CONFLICT (tenant_id, coalesce(station_key, 0), source, type, bucket) WHERE bucket IS NOT NULL"
        " DO UPDATE SET hits = security_event.hits + excluded.hits, last_at = now(), info = excluded.info,"
        " remote_address = excluded.remote_address, details = excluded.details, at = excluded.at"
    )
    row = await db.fetchrow(
        "INSERT INTO security_event (tenant_id, station_key, source, type, severity, at, info, remote_address, details,"
        f" hits, bucket, fact_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) {conflict}"
        " RETURNING id, hits",
        event.tenant_id,
        event.station_key,
        event.source,
        event.type,
        event.severity,
        event.at,
        event.info,
        event.remote_address,
        msgspec.json.encode(event.details).decode(),
        event.hits,
        event.bucket,
        event.fact_id,
    )
    return None if row is None else (row["id"], row["hits"])


async def was_written(db: Db, fact_id: int) -> bool:
    """Whether the event of a report is in the log already."""
    return bool(await db.fetchval("SELECT 1 FROM security_event WHERE fact_id = $1", fact_id))


async def count_since(db: Db, key: StationKey, since: datetime) -> int:
    """How many rows of its own a station has written since a time."""
    found: int = await db.fetchval(
        "SELECT count(*) FROM security_event WHERE station_key = $1 AND received_at >= $2 AND bucket IS NULL"
        " AND id > coalesce((SELECT max(id) - 100000 FROM security_event), 0)",
        key,
        since,
    )
    return found


SECURITY_EVENT_SORTS: Final = Sorts("e.id", received_at=by_time("e.received_at"))


async def page(
    db: Db, tenant_id: TenantId, wanted: SecurityEventFilter, limit: int, after: Position | None
) -> list[SecurityEventView]:
    """Events, newest first."""
    where = Where()
    where.add("e.tenant_id = ?", tenant_id)
    if wanted.station_id is not None:
        where.add("e.station_key = ANY(?)", await keys_of(db, tenant_id, wanted.station_id))
    where.add_if("e.source = ?", wanted.source)
    where.add_if("e.type = ?", wanted.type)
    where.add_if("e.severity = ?", wanted.severity)
    where.add_if("e.received_at >= ?", wanted.received_from)
    where.add_if("e.received_at < ?", wanted.received_to)
    order = SECURITY_EVENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def some(db: Db, tenant_id: TenantId, idents: Sequence[int]) -> list[SecurityEventView]:
    """The events with these ids of ours."""
    rows = await db.fetch(f"{_SELECT} WHERE e.tenant_id = $1 AND e.id = ANY($2) ORDER BY e.id", tenant_id, list(idents))
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> SecurityEventView | None:
    """The event with our id."""
    found = await some(db, tenant_id, [ident])
    return found[0] if found else None


def _view(row: Any) -> SecurityEventView:
    return SecurityEventView(**{**row, "id": str(row["id"]), "details": as_json(row["details"])})
