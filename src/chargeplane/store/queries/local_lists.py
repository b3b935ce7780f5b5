"""What stations hold of their local lists."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from chargeplane.domain.local_lists import Held, ListLimits
from chargeplane.kernel.ids import StationKey
from chargeplane.store.queries.paging import Db


class StoredList(Struct, frozen=True, kw_only=True):
    """A station's list as last known.

    Args:
        held: what it acknowledged; None where that is not known.
    """

    held: Held | None
    limits: ListLimits


class LocalListView(Struct, frozen=True, kw_only=True):
    """A station's local list.

    Args:
        state: `in_sync`, `pending`, `failed`, `unsupported`, `disabled`; `unmanaged` where no policy keeps it.
        tokens: all, groups or none: what the policy puts there.
        version: of the list the station holds; 0 is none.
        entries: id tokens on it.
        wanted: id tokens that should be on it.
        left_out: id tokens that had no room or do not fit the station's version.
        reported_version: what the station last said.
        reason: why it is not in sync.
    """

    state: str
    tokens: str
    in_sync: bool
    version: int
    entries: int
    wanted: int
    left_out: int
    reported_version: int | None
    max_entries: int | None
    items_per_message: int | None
    reason: str | None
    checked_at: datetime | None
    sent_at: datetime | None


_entries = msgspec.json.Decoder(dict[str, str]).decode


async def stored(db: Db, key: StationKey) -> StoredList | None:
    """What is known of a station's list."""
    row = await db.fetchrow(
        "SELECT version, entries, state, max_entries, items_per_message FROM station_local_list WHERE station_key = $1",
        key,
    )
    if row is None:
        return None
    return StoredList(
        held=Held(version=row["version"], entries=_entries(row["entries"])),
        limits=ListLimits(max_entries=row["max_entries"], items_per_message=row["items_per_message"]),
    )


async def store(
    db: Db,
    key: StationKey,
    held: Held,
    limits: ListLimits,
    *,
    state: str,
    reason: str | None,
    wanted: int,
    left_out: int,
    reported_version: int | None,
    sent_at: datetime | None,
) -> None:
    """Writes what is known by now.

    Args:
        reported_version, sent_at: None leaves what was written before.
    """
    await db.execute(
        "INSERT INTO station_local_list AS l (station_key, version, entries, entry_count, wanted_count, left_out, state,"
        " reason, reported_version, max_entries, items_per_message, checked_at, sent_at, updated_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now(), $12, now())"
        " ON CONFLICT (station_key) DO UPDATE SET version = excluded.version, entries = excluded.entries,"
        " entry_count = excluded.entry_count, wanted_count = excluded.wanted_count, left_out = excluded.left_out,"
        " state = excluded.state, reason = excluded.reason,"
        " reported_version = coalesce(excluded.reported_version, l.reported_version),"
        " max_entries = excluded.max_entries, items_per_message = excluded.items_per_message,"
        " checked_at = excluded.checked_at, sent_at = coalesce(excluded.sent_at, l.sent_at), updated_at = now()",
        key,
        held.version,
        msgspec.json.encode(held.entries).decode(),
        len(held.entries),
        wanted,
        left_out,
        state,
        reason,
        reported_version,
        limits.max_entries,
        limits.items_per_message,
        sent_at,
    )


async def view(db: Db, key: StationKey, tokens: str) -> LocalListView:
    """A station's list as the API shows it.

    Args:
        tokens: what the policy puts there.
    """
    row: Any = await db.fetchrow(
        "SELECT version, entry_count, wanted_count, left_out, state, reason, reported_version, max_entries,"
        " items_per_message, checked_at, sent_at FROM station_local_list WHERE station_key = $1",
        key,
    )
    managed = tokens != "none"
    state = "unmanaged" if not managed else "pending" if row is None else row["state"]
    return LocalListView(
        state=state,
        tokens=tokens,
        in_sync=state == "in_sync",
        version=0 if row is None else row["version"],
        entries=0 if row is None else row["entry_count"],
        wanted=0 if row is None else row["wanted_count"],
        left_out=0 if row is None else row["left_out"],
        reported_version=None if row is None else row["reported_version"],
        max_entries=None if row is None else row["max_entries"],
        items_per_message=None if row is None else row["items_per_message"],
        reason=None if row is None else row["reason"],
        checked_at=None if row is None else row["checked_at"],
        sent_at=None if row is None else row["sent_at"],
    )


async def reported_limit(db: Db, key: StationKey) -> int | None:
    """The largest number of entries as the station's device model says, where it was reported (OCPP 2.x)."""
    text = await db.fetchval(
        "SELECT characteristics->>'max_limit' FROM station_variable WHERE station_key = $1"
        " AND lower(component) = 'localauthlistctrlr' AND lower(variable) = 'entries'"
        " AND characteristics->>'max_limit' IS NOT NULL LIMIT 1",
        key,
    )
    try:
        return None if text is None else int(float(text))
    except (ValueError, OverflowError):
        return None
