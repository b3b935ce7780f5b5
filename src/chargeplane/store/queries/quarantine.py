"""The quarantine as the API shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_time
from chargeplane.store.queries.payloads import as_json


class QuarantineView(Struct, frozen=True, kw_only=True):
    """A message that could not be understood or matched.

    Args:
        payload: as received: JSON, or text where it is none.
        reason: why it is here.
        hits: how often the same message came.
        resolution: how a person settled it; null while nobody has.
    """

    id: str
    station_id: str
    action: str
    message_id: str
    payload: Any
    reason: str
    received_at: datetime
    hits: int
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None


class QuarantineFilter(Struct, frozen=True, kw_only=True):
    """Which entries."""

    resolved: bool | None = None
    station_id: str | None = None
    action: str | None = None


_SELECT = """
    SELECT q.id, s.station_id, q.action, q.message_id, q.payload, q.reason, q.received_at, q.hits, q.resolved_at,
        q.resolved_by, q.resolution
    FROM quarantine q JOIN charging_station s ON s.key = q.station_key"""


QUARANTINE_SORTS: Final = Sorts("q.id", received_at=by_time("q.received_at"), hits=by_number("q.hits"))


async def page(
    db: Db, tenant_id: TenantId, wanted: QuarantineFilter, limit: int, after: Position | None
) -> list[QuarantineView]:
    """Entries, newest first."""
    where = Where()
    where.add("q.tenant_id = ?", tenant_id)
    if wanted.resolved is not None:
        where.add(f"q.resolved_at IS {'NOT ' if wanted.resolved else ''}NULL")
    if wanted.station_id is not None:
        where.add("q.station_key = ANY(?)", await keys_of(db, tenant_id, wanted.station_id))
    where.add_if("q.action = ?", wanted.action)
    order = QUARANTINE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> QuarantineView | None:
    """The entry with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE q.tenant_id = $1 AND q.id = $2", tenant_id, ident)
    return None if row is None else _view(row)


async def resolve(db: Db, tenant_id: TenantId, ident: int, by: str, note: str) -> bool:
    """Marks an entry as settled; False where there is none that is open."""
    status: str = await db.execute(
        "UPDATE quarantine SET resolved_at = now(), resolved_by = $3, resolution = $4"
        " WHERE tenant_id = $1 AND id = $2 AND resolved_at IS NULL",
        tenant_id,
        ident,
        by,
        note,
    )
    return status.endswith(" 1")


def _view(row: Any) -> QuarantineView:
    return QuarantineView(**{**row, "id": str(row["id"]), "payload": as_json(row["payload"])})
