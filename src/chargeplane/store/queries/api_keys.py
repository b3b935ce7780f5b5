"""API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time, like


class ApiKeyView(Struct, frozen=True, kw_only=True):
    """An API key without its text.

    Args:
        key_prefix: its first characters, to recognise it by.
        last_used_at: to the minute.
    """

    id: str
    name: str
    key_prefix: str
    scopes: list[str]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    last_used_at: datetime | None


class StoredApiKey(Struct, frozen=True, kw_only=True):
    """What authentication needs of a key."""

    id: int
    tenant_id: int
    name: str
    scopes: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None


_VIEW = "id::text AS id, name, key_prefix, scopes, created_at, created_by, expires_at, last_used_at"


async def by_hash(db: Db, hashed: bytes) -> StoredApiKey | None:
    """The key with this hash unless it is revoked."""
    row = await db.fetchrow(
        "SELECT id, tenant_id, name, scopes, expires_at, last_used_at FROM api_key"
        " WHERE key_hash = $1 AND revoked_at IS NULL",
        hashed,
    )
    return None if row is None else StoredApiKey(**row)


async def touch(db: Db, key_id: int, now: datetime) -> None:
    """Notes that the key was used."""
    await db.execute("UPDATE api_key SET last_used_at = $2 WHERE id = $1", key_id, now)


API_KEY_SORTS: Final = Sorts(
    "api_key.id",
    name=by_text("name"),
    created_at=by_time("created_at"),
    last_used_at=by_time("last_used_at", missing=True),
)


async def page(db: Db, tenant_id: TenantId, q: str | None, limit: int, after: Position | None) -> list[ApiKeyView]:
    """Keys that are not revoked, newest first."""
    where = Where()
    where.add("tenant_id = ? AND revoked_at IS NULL", tenant_id)
    if q is not None:
        where.add("lower(name) LIKE ?", like(q))
    order = API_KEY_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_VIEW} FROM api_key WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [ApiKeyView(**row) for row in rows]


async def insert(
    db: Db,
    tenant_id: TenantId,
    *,
    name: str,
    hashed: bytes,
    prefix: str,
    scopes: Sequence[str],
    created_by: str | None,
    expires_at: datetime | None,
) -> ApiKeyView:
    """A new key."""
    row = await db.fetchrow(
        "INSERT INTO api_key (tenant_id, name, key_hash, key_prefix, scopes, created_by, expires_at)"
        f" VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_VIEW}",
        tenant_id,
        name,
        hashed,
        prefix,
        list(scopes),
        created_by,
        expires_at,
    )
    assert row is not None  # RETURNING gives the row
    return ApiKeyView(**row)


async def ensure(db: Db, tenant_id: TenantId, name: str, hashed: bytes, prefix: str, scopes: Sequence[str]) -> None:
    """The key exists after this; one that was revoked stays so."""
    await db.execute(
        "INSERT INTO api_key (tenant_id, name, key_hash, key_prefix, scopes, created_by)"
        " VALUES ($1, $2, $3, $4, $5, 'configuration') ON CONFLICT (key_hash) DO NOTHING",
        tenant_id,
        name,
        hashed,
        prefix,
        list(scopes),
    )


async def insert_first(
    db: Db, tenant_id: TenantId, name: str, hashed: bytes, prefix: str, scopes: Sequence[str]
) -> bool:
    """Adds the key unless the tenant has had one; tells whether it did."""
    status: str = await db.execute(
        "INSERT INTO api_key (tenant_id, name, key_hash, key_prefix, scopes, created_by)"
        " SELECT $1, $2, $3, $4, $5, 'first start' WHERE NOT EXISTS (SELECT 1 FROM api_key WHERE tenant_id = $1)",
        tenant_id,
        name,
        hashed,
        prefix,
        list(scopes),
    )
    return status.endswith(" 1")


async def revoke(db: Db, tenant_id: TenantId, key_id: int) -> bool:
    """Revokes a key; False where the tenant has no such key that is not revoked yet."""
    status: str = await db.execute(
        "UPDATE api_key SET revoked_at = now() WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant_id,
        key_id,
    )
    return status.endswith(" 1")
