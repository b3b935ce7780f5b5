"""Tenants."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position


class TenantView(Struct, frozen=True, kw_only=True):
    """A tenant.

    Args:
        slug: first path segment of its stations' addresses, `/ocpp/{slug}/{station_id}`.
    """

    slug: str
    name: str
    created_at: datetime


_COLUMNS = "slug, name, created_at"


async def page(db: Db, limit: int, after: Position | None) -> list[TenantView]:
    """Tenants in the order of their slugs."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM tenant WHERE slug > $1 ORDER BY slug LIMIT $2",
        after[0] if after else "",
        limit,
    )
    return [TenantView(**row) for row in rows]


async def by_slug(db: Db, slug: str) -> TenantView | None:
    """The tenant with this slug."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM tenant WHERE slug = $1", slug)
    return None if row is None else TenantView(**row)


async def id_of(db: Db, slug: str) -> TenantId | None:
    """Our key of the tenant with this slug."""
    found: TenantId | None = await db.fetchval("SELECT id FROM tenant WHERE slug = $1", slug)
    return found


async def insert(db: Db, slug: str, name: str) -> TenantView:
    """A new tenant."""
    row = await db.fetchrow(f"INSERT INTO tenant (slug, name) VALUES ($1, $2) RETURNING {_COLUMNS}", slug, name)
    assert row is not None
    return TenantView(**row)


async def update(db: Db, slug: str, name: str) -> TenantView | None:
    """Renames a tenant."""
    row = await db.fetchrow(f"UPDATE tenant SET name = $2 WHERE slug = $1 RETURNING {_COLUMNS}", slug, name)
    return None if row is None else TenantView(**row)
