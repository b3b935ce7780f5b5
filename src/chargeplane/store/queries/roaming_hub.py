"""What our hub keeps: between whom it lets messages pass, and URLs of others behind URLs of ours."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class RouteView(Struct, frozen=True, kw_only=True):
    """Whether messages of one party may go to another.

    Args:
        from_party, to_party: country code and party id as `NLABC`, or `*`.
        modules: only these; null: all.
    """

    from_party: str
    to_party: str
    modules: list[str] | None
    allowed: bool
    created_at: datetime
    created_by: str


async def routes(db: Db, tenant_id: TenantId) -> list[RouteView]:
    """All of a tenant, oldest first; at most 10,000."""
    rows = await db.fetch(
        "SELECT from_party, to_party, modules, allowed, created_at, created_by FROM roaming_route WHERE tenant_id = $1"
        " ORDER BY id LIMIT 10000",
        tenant_id,
    )
    return [RouteView(**row) for row in rows]


async def put_route(
    db: Db, tenant_id: TenantId, from_party: str, to_party: str, modules: list[str] | None, allowed: bool, by: str
) -> None:
    """Says whether messages may pass."""
    await db.execute(
        "INSERT INTO roaming_route AS r (tenant_id, from_party, to_party, modules, allowed, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, from_party, to_party)"
        " DO UPDATE SET modules = excluded.modules, allowed = excluded.allowed, created_by = excluded.created_by",
        tenant_id,
        from_party,
        to_party,
        modules,
        allowed,
        by,
    )


async def delete_route(db: Db, tenant_id: TenantId, from_party: str, to_party: str) -> bool:
    """Forgets it; False where there was none."""
    row = await db.fetchrow(
        "DELETE FROM roaming_route WHERE tenant_id = $1 AND from_party = $2 AND to_party = $3 RETURNING id",
        tenant_id,
        from_party,
        to_party,
    )
    return row is not None


async def keep_url(
    db: Db, reference: str, tenant_id: TenantId, connection_id: int, url: str, kind: str, for_connection_id: int
) -> None:
    """Puts a URL of a partner behind one of ours.

    Args:
        for_connection_id: of the partner that is told ours: nobody else may come to it.
    """
    await db.execute(
        "INSERT INTO roaming_forward_url (reference, tenant_id, connection_id, url, kind, for_connection_id)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        reference,
        tenant_id,
        connection_id,
        url,
        kind,
        for_connection_id,
    )


async def kept_url(
    db: Db, reference: str, tenant_id: TenantId, kind: str, for_connection_id: int
) -> tuple[int, str] | None:
    """The connection and URL behind one of ours."""
    row = await db.fetchrow(
        "SELECT connection_id, url FROM roaming_forward_url WHERE reference = $1 AND tenant_id = $2 AND kind = $3"
        " AND coalesce(for_connection_id, $4) = $4",
        reference,
        tenant_id,
        kind,
        for_connection_id,
    )
    return None if row is None else (row["connection_id"], row["url"])


async def told_parties(db: Db, connection_id: int) -> str | None:
    """Which parties behind our hub a partner was told of last; None: of none yet."""
    found: str | None = await db.fetchval("SELECT told_parties FROM roaming_connection WHERE id = $1", connection_id)
    return found


async def note_told_parties(db: Db, connection_id: int, parties: str) -> None:
    """A partner was told of these."""
    await db.execute("UPDATE roaming_connection SET told_parties = $2 WHERE id = $1", connection_id, parties)
