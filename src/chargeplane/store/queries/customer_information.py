"""What stations told of customers, until it is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time


class CustomerInformationView(Struct, frozen=True, kw_only=True):
    """That something came; what it says is shown once.

    Args:
        complete: all parts are here.
        shown_at: when it was shown; then it is gone.
    """

    id: str
    station_id: str
    request_id: int
    complete: bool
    shown_at: datetime | None
    shown_to: str | None
    created_at: datetime
    updated_at: datetime


class Kept(Struct, frozen=True, kw_only=True):
    """What is to be shown, encrypted, in its order."""

    complete: bool
    shown_at: datetime | None
    shown_to: str | None
    sealed: list[bytes]


async def meant(db: Db, tenant_id: TenantId, key: StationKey, request_id: int, *, fresh: bool) -> int:
    """The id of what a part belongs to; a first part after the end of another begins anew."""
    row = await db.fetchrow(
        "SELECT id, complete, shown_at FROM customer_information WHERE station_key = $1 AND request_id = $2"
        " ORDER BY id DESC LIMIT 1 FOR UPDATE",
        key,
        request_id,
    )
    if row is not None and not (row["shown_at"] is not None or (fresh and row["complete"])):
        return int(row["id"])
    ident: int = await db.fetchval(
        "INSERT INTO customer_information (tenant_id, station_key, request_id) VALUES ($1, $2, $3) RETURNING id",
        tenant_id,
        key,
        request_id,
    )
    return ident


async def add_part(db: Db, ident: int, seq_no: int, more: bool, sealed: bytes) -> None:
    """Keeps a part; one that came before stays. It is complete when the last one and all before it are here."""
    await db.execute(
        "INSERT INTO customer_information_part (information, seq_no, more, sealed) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        ident,
        seq_no,
        more,
        sealed,
    )
    await db.execute(
        "UPDATE customer_information SET updated_at = now(), complete = (SELECT coalesce(bool_or(NOT more), false)"
        " AND count(*) = coalesce(max(seq_no) FILTER (WHERE NOT more), -1) + 1 FROM customer_information_part"
        " WHERE information = $1) WHERE id = $1",
        ident,
    )


async def take(db: Db, tenant_id: TenantId, ident: int, by: str) -> Kept | None:
    """What is to be shown, its row locked."""
    row = await db.fetchrow(
        "SELECT complete, shown_at, shown_to FROM customer_information WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        tenant_id,
        ident,
    )
    if row is None:
        return None
    parts = await db.fetch("SELECT sealed FROM customer_information_part WHERE information = $1 ORDER BY seq_no", ident)
    return Kept(**row, sealed=[part["sealed"] for part in parts])


async def shown(db: Db, ident: int, by: str) -> None:
    """It was shown: it is gone."""
    await db.execute("DELETE FROM customer_information_part WHERE information = $1", ident)
    await db.execute("UPDATE customer_information SET shown_at = now(), shown_to = $2 WHERE id = $1", ident, by)


CUSTOMER_INFORMATION_SORTS: Final = Sorts(
    "i.id", created_at=by_time("i.created_at"), updated_at=by_time("i.updated_at")
)


async def page(
    db: Db, tenant_id: TenantId, station_id: str | None, limit: int, after: Position | None
) -> list[CustomerInformationView]:
    """What came, newest first."""
    where = Where()
    where.add("i.tenant_id = ?", tenant_id)
    if station_id is not None:
        where.add("i.station_key = ANY(?)", await keys_of(db, tenant_id, station_id))
    order = CUSTOMER_INFORMATION_SORTS.begin(where, after)
    rows = await db.fetch(
        "SELECT i.id::text, s.station_id, i.request_id, i.complete, i.shown_at, i.shown_to, i.created_at, i.updated_at"
        " FROM customer_information i JOIN charging_station s ON s.key = i.station_key"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values) + 1}",
        *where.values,
        limit,
    )
    return [CustomerInformationView(**row) for row in rows]
