"""One-time addresses that stations upload files to, and what came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.files import StoredFile
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time

RECEIVING_FOR: Final = timedelta(minutes=30)
"""An upload that began so long ago and has not ended is taken for broken off: another may begin."""


class UploadView(Struct, frozen=True, kw_only=True):
    """A file that a station uploaded, or is to upload.

    Args:
        purpose: diagnostics, security, data_collector.
        request_id: the number the station tells about it by.
        state: open, receiving, received, canceled, expired, deleted.
        name: as the station names the file.
        attempts: how often an upload began.
        last_error: why the last one that did not end well did not.
    """

    id: str
    station_id: str
    purpose: str
    request_id: int | None
    state: str
    asked_by: str
    created_at: datetime
    expires_at: datetime
    name: str | None
    content_type: str | None
    size_bytes: int | None
    sha256: str | None
    remote_address: str | None
    attempts: int
    last_error: str | None
    received_at: datetime | None


class OpenUpload(Struct, frozen=True, kw_only=True):
    """An upload that may begin.

    Args:
        max_bytes: of the file.
    """

    id: int
    tenant_id: TenantId
    station_key: StationKey
    request_id: int | None
    max_bytes: int


class KeptUpload(Struct, frozen=True, kw_only=True):
    """A file that came."""

    file: str
    name: str | None
    content_type: str | None
    size_bytes: int


_SELECT = """
    SELECT u.id::text, s.station_id, u.purpose, u.request_id, u.state, u.asked_by, u.created_at, u.expires_at, u.name,
        u.content_type, u.size_bytes, u.sha256, u.remote_address, u.attempts, u.last_error, u.received_at
    FROM upload u JOIN charging_station s ON s.key = u.station_key"""


async def insert(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    *,
    purpose: str,
    request_id: int | None,
    token_hash: bytes,
    max_bytes: int,
    valid_for: timedelta,
    asked_by: str,
) -> int:
    """A new address; its id."""
    ident: int = await db.fetchval(
        "INSERT INTO upload (tenant_id, station_key, purpose, request_id, token_hash, max_bytes, expires_at, asked_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, now() + $7, $8) RETURNING id",
        tenant_id,
        key,
        purpose,
        request_id,
        token_hash,
        max_bytes,
        valid_for,
        asked_by,
    )
    return ident


async def begin(db: Db, token_hash: bytes, remote_address: str | None) -> OpenUpload | None:
    """Takes an address for one upload; None where it does not stand open."""
    row = await db.fetchrow(
        "UPDATE upload SET state = 'receiving', receiving_at = now(), attempts = attempts + 1, remote_address = $2"
        " WHERE token_hash = $1 AND expires_at > now() AND attempts < 100"
        " AND (state = 'open' OR (state = 'receiving' AND receiving_at < now() - $3::interval))"
        " RETURNING id, tenant_id, station_key, request_id, max_bytes",
        token_hash,
        remote_address,
        RECEIVING_FOR,
    )
    return None if row is None else OpenUpload(**row)


async def state_of(db: Db, token_hash: bytes) -> str | None:
    """What became of an address; None where there never was one."""
    found: str | None = await db.fetchval(
        "SELECT CASE WHEN state IN ('open', 'receiving') AND expires_at <= now() THEN 'expired' ELSE state END"
        " FROM upload WHERE token_hash = $1",
        token_hash,
    )
    return found


async def finish(db: Db, ident: int, file: StoredFile, name: str | None, content_type: str | None) -> bool:
    """The file came; False where it is wanted no more."""
    written: str = await db.execute(
        "UPDATE upload SET state = 'received', received_at = now(), file = $2, size_bytes = $3, sha256 = $4, name = $5,"
        " content_type = $6, last_error = NULL WHERE id = $1 AND state = 'receiving'",
        ident,
        file.path,
        file.size,
        file.sha256,
        name,
        content_type,
    )
    return written.endswith(" 1")


async def reopen(db: Db, ident: int, error: str) -> None:
    """The upload broke off: another may begin."""
    await db.execute(
        "UPDATE upload SET state = 'open', last_error = $2 WHERE id = $1 AND state = 'receiving'", ident, error[:500]
    )


async def cancel(db: Db, key: StationKey, but: int) -> None:
    """A newer request takes the place of what the station was to upload (N01.FR.12)."""
    await db.execute(
        "UPDATE upload SET state = 'canceled' WHERE station_key = $1 AND id < $2 AND state IN ('open', 'receiving')",
        key,
        but,
    )


async def close(db: Db, ident: int, state: str) -> None:
    """An address that is of no use: the station refused."""
    await db.execute("UPDATE upload SET state = $2 WHERE id = $1 AND state = 'open'", ident, state)


async def expire(db: Db) -> None:
    """Closes the addresses whose time is over."""
    await db.execute("UPDATE upload SET state = 'expired' WHERE state IN ('open', 'receiving') AND expires_at <= now()")


UPLOAD_SORTS: Final = Sorts("u.id", created_at=by_time("u.created_at"), expires_at=by_time("u.expires_at"))


async def page(
    db: Db, tenant_id: TenantId, station_id: str | None, state: str | None, limit: int, after: Position | None
) -> list[UploadView]:
    """Uploads, newest first."""
    where = Where()
    where.add("u.tenant_id = ?", tenant_id)
    if station_id is not None:
        where.add("u.station_key = ANY(?)", await keys_of(db, tenant_id, station_id))
    where.add_if("u.state = ?", state)
    order = UPLOAD_SORTS.begin(where, after)
    rows = await db.fetch(
        f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values) + 1}", *where.values, limit
    )
    return [UploadView(**row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> UploadView | None:
    """An upload by our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE u.tenant_id = $1 AND u.id = $2", tenant_id, ident)
    return None if row is None else UploadView(**row)


async def kept(db: Db, tenant_id: TenantId, ident: int) -> KeptUpload | None:
    """Where the file is; None where none came, or it was deleted."""
    row = await db.fetchrow(
        "SELECT file, name, content_type, size_bytes FROM upload WHERE tenant_id = $1 AND id = $2 AND state = 'received'",
        tenant_id,
        ident,
    )
    return None if row is None else KeptUpload(**row)


async def delete(db: Db, tenant_id: TenantId, ident: int) -> str | None:
    """Marks a file as deleted; where it is."""
    found: str | None = await db.fetchval(
        "UPDATE upload SET state = 'deleted' WHERE tenant_id = $1 AND id = $2 AND state = 'received' RETURNING file",
        tenant_id,
        ident,
    )
    return found


async def delete_older(db: Db, keep: timedelta, most: int) -> list[str]:
    """Marks files as deleted that came too long ago; where they are."""
    rows = await db.fetch(
        "WITH old AS MATERIALIZED (SELECT id FROM upload WHERE state = 'received' AND received_at < now() - $1::interval"
        " ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)"
        " UPDATE upload SET state = 'deleted' FROM old WHERE upload.id = old.id RETURNING file",
        keep,
        most,
    )
    return [row["file"] for row in rows]


async def unknown(db: Db, files: list[str]) -> list[str]:
    """Those of some files that no upload has."""
    rows = await db.fetch("SELECT file FROM upload WHERE file = ANY($1) AND state = 'received'", files)
    known = {row["file"] for row in rows}
    return [file for file in files if file not in known]


async def fail(db: Db, key: StationKey, request_id: int, status: str) -> list[int]:
    """Closes the addresses of a request that the station gave up; their ids."""
    rows = await db.fetch(
        "UPDATE upload SET state = 'canceled', last_error = $3 WHERE station_key = $1 AND request_id = $2 AND state = 'open'"
        " RETURNING id",
        key,
        request_id,
        f"The station says {status}.",
    )
    return [row["id"] for row in rows]
