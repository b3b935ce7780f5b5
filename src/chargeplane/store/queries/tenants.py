"""Tenants."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.payloads import json_object


class TenantView(Struct, frozen=True, kw_only=True):
    """A tenant.

    Args:
        slug: first path segment of its stations' addresses, `/ocpp/{slug}/{station_id}`.
        settings: what holds for all its stations.
    """

    slug: str
    name: str
    settings: dict[str, Any]
    created_at: datetime


_COLUMNS = "id, slug, name, settings, created_at"


async def page(db: Db, limit: int, after: Position | None) -> list[TenantView]:
    """Tenants in the order of their slugs."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM tenant WHERE slug > $1 ORDER BY slug LIMIT $2",
        after[0] if after else "",
        limit,
    )
    return [_view(row) for row in rows]


async def by_slug(db: Db, slug: str) -> TenantView | None:
    """The tenant with this slug."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM tenant WHERE slug = $1", slug)
    return None if row is None else _view(row)


async def id_of(db: Db, slug: str) -> TenantId | None:
    """Our key of the tenant with this slug."""
    found: TenantId | None = await db.fetchval("SELECT id FROM tenant WHERE slug = $1", slug)
    return found


async def insert(db: Db, slug: str, name: str, settings: dict[str, Any]) -> TenantView:
    """A new tenant."""
    row = await db.fetchrow(
        f"INSERT INTO tenant (slug, name, settings) VALUES ($1, $2, $3::text::jsonb) RETURNING {_COLUMNS}",
        slug,
        name,
        msgspec.json.encode(settings).decode(),
    )
    return _view(row)


async def update(db: Db, slug: str, name: str | None, settings: dict[str, Any] | None) -> TenantView | None:
    """Changes what is not None."""
    row = await db.fetchrow(
        "UPDATE tenant SET name = coalesce($2, name), settings = coalesce($3::text::jsonb, settings)"
        f" WHERE slug = $1 RETURNING {_COLUMNS}",
        slug,
        name,
        None if settings is None else msgspec.json.encode(settings).decode(),
    )
    return None if row is None else _view(row)


def _view(row: Any) -> TenantView:
    return TenantView(
        slug=row["slug"], name=row["name"], settings=json_object(row["settings"]), created_at=row["created_at"]
    )
