"""Swaps of batteries."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.messages import IdToken
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time
from chargeplane.store.queries.payloads import as_json, jsonb


class BatterySwapView(Struct, frozen=True, kw_only=True):
    """A driver's swap of batteries.

    Args:
        request_id: the station's, or ours where we asked for it.
        state: in (batteries were brought), complete (others were taken), not_taken (none were taken in time).
    """

    id: str
    station_id: str
    request_id: int
    id_token: str
    id_token_type: str | None
    batteries_in: Any
    batteries_out: Any
    state: str
    in_at: datetime | None
    out_at: datetime | None


async def note(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    request_id: int,
    token: IdToken,
    event: str,
    batteries: object,
    at: datetime,
    fact_id: int,
) -> int | None:
    """Notes what was brought or taken; the swap's id, None for a repeat.

    A second bringing under one number begins another swap: stations begin to count again.
    """
    row = await db.fetchrow(
        "SELECT id, in_at, out_at, facts FROM battery_swap WHERE station_key = $1 AND request_id = $2"
        " ORDER BY id DESC LIMIT 1 FOR UPDATE",
        key,
        request_id,
    )
    if row is not None and fact_id in row["facts"]:
        return None
    brought = event == "BatteryIn"
    known = row is not None and (row["in_at"] is None if brought else row["out_at"] is None)
    state = "in" if brought else "complete" if event == "BatteryOut" else "not_taken"
    if known and row is not None:
        if brought and row["out_at"] is not None:
            state = "complete"
        side = (
            "batteries_in = $3::text::jsonb, in_at = $4" if brought else "batteries_out = $3::text::jsonb, out_at = $4"
        )
        await db.execute(
            f"UPDATE battery_swap SET state = $2, {side}, facts = facts || $5::bigint WHERE id = $1",
            row["id"],
            state,
            jsonb(batteries),
            at,
            fact_id,
        )
        ident: int = row["id"]
        return ident
    made: int = await db.fetchval(
        "INSERT INTO battery_swap (tenant_id, station_key, request_id, id_token, id_token_type, batteries_in,"
        " batteries_out, state, in_at, out_at, facts) VALUES ($1, $2, $3, $4, $5,"
        " CASE WHEN $7 THEN $6::text::jsonb ELSE '[]' END, CASE WHEN $7 THEN '[]' ELSE $6::text::jsonb END, $8,"
        " CASE WHEN $7 THEN $9::timestamptz END, CASE WHEN NOT $7 THEN $9::timestamptz END, ARRAY[$10::bigint])"
        " RETURNING id",
        tenant_id,
        key,
        request_id,
        token.value,
        token.type,
        jsonb(batteries),
        brought,
        state,
        at,
        fact_id,
    )
    return made


_SELECT = """
    SELECT b.id, s.station_id, b.request_id, b.id_token, b.id_token_type, b.batteries_in, b.batteries_out, b.state,
        b.in_at, b.out_at
    FROM battery_swap b JOIN charging_station s ON s.key = b.station_key"""


SWAP_SORTS: Final = Sorts("b.id", in_at=by_time("b.in_at", missing=True), out_at=by_time("b.out_at", missing=True))


async def page(
    db: Db, tenant_id: TenantId, station_id: str | None, limit: int, after: Position | None
) -> list[BatterySwapView]:
    """Swaps, newest first."""
    where = Where()
    where.add("b.tenant_id = ?", tenant_id)
    if station_id is not None:
        where.add("b.station_key = ANY(?)", await keys_of(db, tenant_id, station_id))
    order = SWAP_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def one(db: Db, ident: int) -> BatterySwapView:
    """The swap with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE b.id = $1", ident)
    assert row is not None
    return _view(row)


def _view(row: Any) -> BatterySwapView:
    return BatterySwapView(
        **{
            **row,
            "id": str(row["id"]),
            "batteries_in": as_json(row["batteries_in"]),
            "batteries_out": as_json(row["batteries_out"]),
        }
    )
