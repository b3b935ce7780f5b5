"""DER controls of stations, and what they made stations do."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.der_controls import DerControl
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time
from chargeplane.store.queries.payloads import as_json

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class DerControlView(Struct, frozen=True, kw_only=True):
    """A DER control of a station.

    Args:
        control: as it was set; null where others set it.
        reported: its settings as the station reports them.
        state: wanted, installed, refused, removed.
        superseded: another of its type overrules it.
        active: of scheduled ones: whether it holds; null where the station has not told.
    """

    id: str
    type: str
    is_default: bool
    control: Any
    reported: Any
    state: str
    reason: str | None
    superseded: bool
    active: bool | None
    updated_at: datetime


class DerEventView(Struct, frozen=True, kw_only=True):
    """Something that a DER control made a station do.

    Args:
        kind: alarm, alarm_ended, started, stopped.
        subject: the control's type (alarms) or id.
    """

    id: str
    kind: str
    subject: str
    fault: str | None
    info: str | None
    at: datetime | None
    received_at: datetime


async def put(
    db: Db, tenant_id: TenantId, key: StationKey, control: DerControl, state: str, reason: str | None
) -> None:
    """Keeps a control that was set, and how that ended."""
    await db.execute(
        "INSERT INTO der_control (station_key, id, tenant_id, type, is_default, control, state, reason)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (station_key, id) DO UPDATE SET type = excluded.type,"
        " is_default = excluded.is_default, control = excluded.control, state = excluded.state,"
        " reason = excluded.reason, superseded = false, active = NULL, updated_at = now()",
        key,
        control.id,
        tenant_id,
        control.type.value,
        control.is_default,
        _encode(control).decode(),
        state,
        reason,
    )


async def supersede(db: Db, key: StationKey, ids: tuple[str, ...]) -> None:
    """Controls that another one overrules."""
    await db.execute(
        "UPDATE der_control SET superseded = true, active = false, updated_at = now()"
        " WHERE station_key = $1 AND id = ANY($2::text[])",
        key,
        list(ids),
    )


async def report(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    ident: str,
    kind: str,
    is_default: bool,
    superseded: bool,
    settings: str,
) -> None:
    """A control as the station reports it."""
    await db.execute(
        "INSERT INTO der_control (station_key, id, tenant_id, type, is_default, reported, state, superseded)"
        " VALUES ($1, $2, $3, $4, $5, $6, 'installed', $7) ON CONFLICT (station_key, id) DO UPDATE SET"
        " reported = excluded.reported, state = 'installed', superseded = excluded.superseded, updated_at = now()",
        key,
        ident,
        tenant_id,
        kind,
        is_default,
        settings,
        superseded,
    )


async def switch(db: Db, key: StationKey, ident: str, active: bool) -> None:
    """A scheduled control began or ended."""
    await db.execute(
        "UPDATE der_control SET active = $3, state = CASE WHEN $3 OR is_default THEN state ELSE 'removed' END,"
        " updated_at = now() WHERE station_key = $1 AND id = $2",
        key,
        ident,
        active,
    )


async def clear(db: Db, key: StationKey, ident: str) -> None:
    """A control is on the station no more."""
    await db.execute(
        "UPDATE der_control SET state = 'removed', active = NULL, updated_at = now() WHERE station_key = $1 AND id = $2",
        key,
        ident,
    )


_COLUMNS: Final = "id, type, is_default, control, reported, state, reason, superseded, active, updated_at"


def _view(row: Any) -> DerControlView:
    return DerControlView(**{**row, "control": as_json(row["control"]), "reported": as_json(row["reported"])})


DER_CONTROL_SORTS: Final = Sorts(
    'id COLLATE "C"', ident_kinds=(str,), default="id", ident_of=lambda one: (one.id,), updated_at=by_time("updated_at")
)


async def page(db: Db, key: StationKey, state: str | None, limit: int, after: Position | None) -> list[DerControlView]:
    """A station's controls by id."""
    where = Where()
    where.add("station_key = ?", key)
    where.add("state <> 'removed'")
    where.add_if("state = ?", state)
    order = DER_CONTROL_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM der_control WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_view(row) for row in rows]


async def one(db: Db, key: StationKey, ident: str) -> DerControlView | None:
    """A control of a station."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM der_control WHERE station_key = $1 AND id = $2", key, ident)
    return None if row is None else _view(row)


async def add_event(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    fact_id: int,
    kind: str,
    subject: str,
    fault: str | None,
    info: str | None,
    at: datetime | None,
    received_at: datetime,
) -> bool:
    """Keeps an event once; whether it is new."""
    found = await db.fetchval(
        "INSERT INTO der_event (fact_id, station_key, tenant_id, kind, subject, fault, info, at, received_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING 1",
        fact_id,
        key,
        tenant_id,
        kind,
        subject,
        fault,
        info,
        at,
        received_at,
    )
    return found is not None


DER_EVENT_SORTS: Final = Sorts("e.fact_id", received_at=by_time("e.received_at"), at=by_time("e.at", missing=True))


async def events(db: Db, key: StationKey, kind: str | None, limit: int, after: Position | None) -> list[DerEventView]:
    """A station's events, newest first."""
    where = Where()
    where.add("station_key = ?", key)
    where.add_if("kind = ?", kind)
    order = DER_EVENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT fact_id::text AS id, kind, subject, fault, info, at, received_at FROM der_event e"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [DerEventView(**row) for row in rows]
