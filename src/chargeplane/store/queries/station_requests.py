"""What stations were asked for and tell about in later messages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time
from chargeplane.store.queries.payloads import as_json, json_object, jsonb


class PartView(Struct, frozen=True, kw_only=True):
    """A message that belongs to a request.

    Args:
        seq_no: its place in a report of several; null for a status.
        more: the station said that more follows.
        status: the station's word, for a status.
        items: what the part reports.
    """

    seq_no: int | None
    more: bool
    status: str | None
    items: Any
    at: datetime


class StationRequestView(Struct, frozen=True, kw_only=True):
    """Something a station was asked for, and what it told about it so far.

    Args:
        kind: base_report, log, firmware, ...
        request_id: the number the station tells it by.
        asked_by: `station` where it tells by itself.
        detail: what was asked for.
        state: waiting, receiving, complete, incomplete (ended with parts missing), failed.
        status: the station's last word.
        parts: in the order of arrival; only where one request is looked at.
    """

    id: str
    station_id: str
    kind: str
    request_id: int | None
    asked_by: str
    detail: Any
    state: str
    status: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    parts: list[PartView] | None = None


class Opened(Struct, frozen=True, kw_only=True):
    """A request in the database."""

    id: int
    state: str
    detail: dict[str, Any]


_SELECT = """
    SELECT r.id, s.station_id, r.kind, r.request_id, r.asked_by, r.detail, r.state, r.status, r.created_at, r.updated_at,
        r.finished_at
    FROM station_request r JOIN charging_station s ON s.key = r.station_key"""


async def next_number(db: Db) -> int:
    """A number for a station to tell by; positive, 31 bits."""
    number: int = await db.fetchval("SELECT nextval('station_request_id_seq')")
    return number


async def insert(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    kind: str,
    request_id: int | None,
    asked_by: str,
    detail: object,
    state: str = "waiting",
) -> int:
    """A new request; its key here."""
    ident: int = await db.fetchval(
        "INSERT INTO station_request (tenant_id, station_key, kind, request_id, asked_by, detail, state)"
        " VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7) RETURNING id",
        tenant_id,
        key,
        kind,
        request_id,
        asked_by,
        jsonb(detail),
        state,
    )
    return ident


async def newest(db: Db, key: StationKey, kind: str, request_id: int | None) -> Opened | None:
    """The newest request that a station means by a number, locked."""
    row = await db.fetchrow(
        "SELECT id, state, detail FROM station_request WHERE station_key = $1 AND kind = $2"
        " AND request_id IS NOT DISTINCT FROM $3 ORDER BY id DESC LIMIT 1 FOR UPDATE",
        key,
        kind,
        request_id,
    )
    return None if row is None else Opened(id=row["id"], state=row["state"], detail=json_object(row["detail"]))


async def add_part(
    db: Db,
    request: int,
    fact_id: int,
    at: datetime,
    *,
    seq_no: int | None = None,
    more: bool = False,
    status: str | None = None,
    items: object = (),
) -> bool:
    """Keeps a message of a request; False where it is kept already."""
    written: str = await db.execute(
        "INSERT INTO station_request_part (request, fact_id, seq_no, more, status, items, at)"
        " VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7) ON CONFLICT DO NOTHING",
        request,
        fact_id,
        seq_no,
        more,
        status,
        jsonb(items),
        at,
    )
    return written.endswith(" 1")


async def has_first(db: Db, request: int, but: int) -> bool:
    """Whether a first part is there that came with another fact."""
    return bool(
        await db.fetchval(
            "SELECT true FROM station_request_part WHERE request = $1 AND seq_no = 0 AND fact_id <> $2 LIMIT 1",
            request,
            but,
        )
    )


async def counts(db: Db, request: int) -> tuple[int, int | None]:
    """How many different parts are there, and the number of the last one (None where it has not come)."""
    row = await db.fetchrow(
        "SELECT count(DISTINCT seq_no) AS parts, max(seq_no) FILTER (WHERE NOT more) AS last"
        " FROM station_request_part WHERE request = $1 AND seq_no IS NOT NULL",
        request,
    )
    assert row is not None
    return row["parts"], row["last"]


async def parts_before(db: Db, key: StationKey, kind: str, request_id: int, fact_id: int) -> int:
    """How many parts of a report came before one: the place of a part that has no number of its own."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM station_request_part p WHERE p.fact_id < $4 AND p.request = (SELECT max(r.id)"
        " FROM station_request r WHERE r.station_key = $1 AND r.kind = $2 AND r.request_id = $3)",
        key,
        kind,
        request_id,
        fact_id,
    )
    return count


async def update(db: Db, request: int, state: str, status: str | None) -> None:
    """Writes how far a request is."""
    await db.execute(
        "UPDATE station_request SET state = $2, status = coalesce($3, status), updated_at = now(),"
        " finished_at = CASE WHEN $2 IN ('complete', 'incomplete', 'failed') THEN coalesce(finished_at, now()) END"
        " WHERE id = $1",
        request,
        state,
        None if status is None else made_storable(status, 255),
    )


async def parts(db: Db, request: int) -> list[PartView]:
    """The messages of a request, in the order of arrival."""
    rows = await db.fetch(
        "SELECT seq_no, more, status, items, at FROM station_request_part WHERE request = $1 ORDER BY fact_id", request
    )
    return [PartView(**{**row, "items": as_json(row["items"])}) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> StationRequestView | None:
    """The request with our id, with its parts."""
    row = await db.fetchrow(f"{_SELECT} WHERE r.tenant_id = $1 AND r.id = $2", tenant_id, ident)
    if row is None:
        return None
    return _view(row, await parts(db, ident))


STATION_REQUEST_SORTS: Final = Sorts("r.id", created_at=by_time("r.created_at"), updated_at=by_time("r.updated_at"))


async def page(
    db: Db, tenant_id: TenantId, key: StationKey, kind: str | None, limit: int, after: Position | None
) -> list[StationRequestView]:
    """A station's requests, newest first."""
    where = Where()
    where.add("r.tenant_id = ?", tenant_id)
    where.add("r.station_key = ?", key)
    where.add_if("r.kind = ?", kind)
    order = STATION_REQUEST_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row, None) for row in rows]


def _view(row: Any, parts: list[PartView] | None) -> StationRequestView:
    return StationRequestView(**{**row, "id": str(row["id"]), "detail": as_json(row["detail"]), "parts": parts})


_CLOCKS_APART: Final = timedelta(milliseconds=250)
"""How far this machine's clock may be behind that of the database."""


async def goes_on(db: Db, key: StationKey, kind: str, fact_id: int, received_at: datetime) -> int | None:
    """The number of what a message belongs to that names none (1.6 firmware and diagnostics).

    A message that was taken before belongs to what it belonged to then; one that came before something was asked for does not belong
    to that.
    """
    row = await db.fetchrow(
        "SELECT r.request_id FROM station_request r JOIN station_request_part p ON p.request = r.id AND p.fact_id = $3"
        " WHERE r.station_key = $1 AND r.kind = $2 ORDER BY r.id DESC LIMIT 1",
        key,
        kind,
        fact_id,
    )
    if row is not None:
        number: int | None = row["request_id"]
        return number
    found: int | None = await db.fetchval(
        "SELECT request_id FROM station_request WHERE station_key = $1 AND kind = $2 AND state IN ('waiting', 'receiving')"
        " AND request_id IS NOT NULL AND created_at <= $3 ORDER BY id DESC LIMIT 1",
        key,
        kind,
        received_at + _CLOCKS_APART,
    )
    return found
