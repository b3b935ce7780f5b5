"""How tenants are paid."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.payloads import json_object


class StoredProvider(Struct, frozen=True, kw_only=True):
    """A provider with its sealed secrets.

    Args:
        secrets: sealed JSON object; None where it needs none.
        webhook_token: part of the address where it tells us what happens.
    """

    tenant_id: TenantId
    name: str
    kind: str
    enabled: bool
    for_guests: bool
    settings: dict[str, Any]
    secrets: bytes | None
    webhook_token: str
    revision: int
    created_at: datetime
    updated_at: datetime


_COLUMNS: Final = (
    "tenant_id, name, kind, enabled, for_guests, settings, secrets, webhook_token, revision, created_at, updated_at"
)


async def all_of(db: Db, tenant_id: TenantId) -> list[StoredProvider]:
    """Those of a tenant, by name."""
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM payment_provider WHERE tenant_id = $1 ORDER BY name", tenant_id)
    return [_stored(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, name: str, *, lock: bool = False) -> StoredProvider | None:
    """The tenant's provider of a name."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM payment_provider WHERE tenant_id = $1 AND name = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        name,
    )
    return None if row is None else _stored(row)


async def for_guests(db: Db, tenant_id: TenantId) -> StoredProvider | None:
    """By which guests pay; None where they cannot."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM payment_provider WHERE tenant_id = $1 AND for_guests AND enabled", tenant_id
    )
    return None if row is None else _stored(row)


async def by_token(db: Db, webhook_token: str) -> StoredProvider | None:
    """Whose address for webhooks holds a token."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM payment_provider WHERE webhook_token = $1", webhook_token)
    return None if row is None else _stored(row)


async def put(
    db: Db,
    tenant_id: TenantId,
    name: str,
    kind: str,
    enabled: bool,
    for_guests: bool,
    settings: str,
    secrets: bytes | None,
    webhook_token: str,
) -> StoredProvider:
    """Sets a provider; the token of one that is there stays."""
    if for_guests:
        await db.execute(
            "UPDATE payment_provider SET for_guests = false WHERE tenant_id = $1 AND name <> $2 AND for_guests",
            tenant_id,
            name,
        )
    row = await db.fetchrow(
        "INSERT INTO payment_provider (tenant_id, name, kind, enabled, for_guests, settings, secrets, webhook_token)"
        " VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8) ON CONFLICT (tenant_id, name) DO UPDATE SET kind = $3,"
        " enabled = $4, for_guests = $5, settings = $6::text::jsonb, secrets = $7, revision = payment_provider.revision + 1,"
        f" updated_at = now() RETURNING {_COLUMNS}",
        tenant_id,
        name,
        kind,
        enabled,
        for_guests,
        settings,
        secrets,
        webhook_token,
    )
    return _stored(row)


async def has_payments(db: Db, tenant_id: TenantId, name: str) -> bool:
    """Whether there are payments by it."""
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM payment WHERE tenant_id = $1 AND provider = $2)", tenant_id, name
    )
    return found


async def delete(db: Db, tenant_id: TenantId, name: str) -> None:
    """Removes it."""
    await db.execute("DELETE FROM payment_provider WHERE tenant_id = $1 AND name = $2", tenant_id, name)


def _stored(row: Any) -> StoredProvider:
    return StoredProvider(**{**row, "settings": json_object(row["settings"])})
