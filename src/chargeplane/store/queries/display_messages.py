"""Messages on stations' displays."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.payloads import as_json, jsonb


class DisplayMessageView(Struct, frozen=True, kw_only=True):
    """A message on a station's display.

    Args:
        state: sending, shown, refused, clearing, gone (the station does not have it any more).
        by_us: false where the station had it by itself.
        seen_at: when the station last said that it has it.
    """

    id: int
    message: Any
    state: str
    by_us: bool
    reason: str | None
    changed_by: str | None
    changed_at: datetime
    seen_at: datetime | None


_FIELDS = "id, message, state, by_us, reason, changed_by, changed_at, seen_at"


async def put(db: Db, tenant_id: TenantId, key: StationKey, ident: int, message: object, by: str) -> None:
    """A message on its way to the station, in place of one with the same number."""
    await db.execute(
        "INSERT INTO display_message (station_key, id, tenant_id, message, state, by_us, changed_by)"
        " VALUES ($1, $2, $3, $4::text::jsonb, 'sending', true, $5) ON CONFLICT (station_key, id) DO UPDATE SET"
        " message = excluded.message, state = 'sending', by_us = true, reason = NULL, changed_by = excluded.changed_by,"
        " changed_at = now()",
        key,
        ident,
        tenant_id,
        jsonb(message),
        by,
    )


async def free_number(db: Db, key: StationKey) -> int:
    """A number that no message of the station has; the station's row is locked."""
    await db.execute("SELECT FROM charging_station WHERE key = $1 FOR UPDATE", key)
    number: int = await db.fetchval("SELECT coalesce(max(id), 0) + 1 FROM display_message WHERE station_key = $1", key)
    return number


async def settle(db: Db, key: StationKey, ident: int, state: str, reason: str | None) -> None:
    """Notes how the sending or clearing ended; a message that is cleared goes."""
    if state == "cleared":
        await db.execute("DELETE FROM display_message WHERE station_key = $1 AND id = $2", key, ident)
        return
    await db.execute(
        "UPDATE display_message SET state = $3, reason = $4, changed_at = now(),"
        " seen_at = CASE WHEN $3 = 'shown' THEN now() ELSE seen_at END WHERE station_key = $1 AND id = $2",
        key,
        ident,
        state,
        reason,
    )


async def seen(db: Db, tenant_id: TenantId, key: StationKey, ident: int, message: object, at: datetime) -> None:
    """Notes that the station has a message; ours stays as we wrote it."""
    await db.execute(
        "INSERT INTO display_message (station_key, id, tenant_id, message, state, by_us, seen_at)"
        " VALUES ($1, $2, $3, $4::text::jsonb, 'shown', false, $5) ON CONFLICT (station_key, id) DO UPDATE SET"
        " message = CASE WHEN display_message.by_us THEN display_message.message ELSE excluded.message END,"
        " state = CASE WHEN display_message.state = 'clearing' THEN 'clearing' ELSE 'shown' END, seen_at = excluded.seen_at",
        key,
        ident,
        tenant_id,
        jsonb(message),
        at,
    )


async def unseen(db: Db, key: StationKey, there: list[int], asked_at: datetime) -> None:
    """After a whole report: messages the station does not have. Its own go; ours stay as gone."""
    await db.execute(
        "DELETE FROM display_message WHERE station_key = $1 AND NOT by_us AND id <> ALL($2) AND changed_at < $3",
        key,
        there,
        asked_at,
    )
    await db.execute(
        "UPDATE display_message SET state = 'gone' WHERE station_key = $1 AND by_us AND state = 'shown'"
        " AND id <> ALL($2) AND changed_at < $3",
        key,
        there,
        asked_at,
    )


async def told(db: Db, request: int) -> tuple[list[int], datetime]:
    """Which messages a station told of on request, and when it was asked."""
    rows = await db.fetch(
        "SELECT (jsonb_array_elements(items)->>'id')::int AS id FROM station_request_part"
        " WHERE request = $1 AND jsonb_typeof(items) = 'array'",
        request,
    )
    asked_at: datetime = await db.fetchval("SELECT created_at FROM station_request WHERE id = $1", request)
    return [row["id"] for row in rows], asked_at


async def of_station(db: Db, key: StationKey) -> list[DisplayMessageView]:
    """All messages of a station."""
    rows = await db.fetch(f"SELECT {_FIELDS} FROM display_message WHERE station_key = $1 ORDER BY id LIMIT 1000", key)
    return [DisplayMessageView(**{**row, "message": as_json(row["message"])}) for row in rows]


async def one(db: Db, key: StationKey, ident: int) -> DisplayMessageView | None:
    """One message of a station."""
    row = await db.fetchrow(f"SELECT {_FIELDS} FROM display_message WHERE station_key = $1 AND id = $2", key, ident)
    return None if row is None else DisplayMessageView(**{**row, "message": as_json(row["message"])})
