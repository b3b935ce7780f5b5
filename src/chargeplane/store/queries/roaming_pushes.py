"""Partners that are pushed all they may see of a module, whether it changed or not."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.domain.roaming.publication import Publication
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_documents import CDRS, LOCATIONS, SESSIONS, TARIFFS, visible

TOKENS: Final = "tokens"
MODULES: Final = (LOCATIONS, TARIFFS, SESSIONS, CDRS, TOKENS)
"""Modules whose objects can be pushed as a whole."""

_INTO: Final = "INSERT INTO roaming_outgoing (tenant_id, connection_id, module, key)"
_AGAIN: Final = (
    " ON CONFLICT (connection_id, module, key) DO UPDATE SET ticks = roaming_outgoing.ticks + 1, hint = NULL, attempts = 0,"
    " next_at = now(), parked_at = NULL, error = NULL RETURNING 1"
)


class PushView(Struct, frozen=True, kw_only=True):
    """A module that was pushed as a whole.

    Args:
        objects: how many were to be sent. waiting: how many of the module are still to be sent, what changed since among them.
        parked: how many the partner refused for good.
    """

    module: str
    objects: int
    waiting: int
    parked: int
    requested_by: str
    requested_at: datetime


async def note_all(db: Db, tenant_id: TenantId, connection_id: int, module: str, rule: Publication) -> int:
    """Notes all objects of a module that a partner may see; how many. CDRs that it took are left out: they never change."""
    if module == TOKENS:
        found: int = await db.fetchval(
            f"WITH noted AS ({_INTO} SELECT tenant_id, $2, 'tokens', id_token_id::text FROM provider_token"
            f" WHERE tenant_id = $1 AND type = 'RFID' ORDER BY key{_AGAIN}) SELECT count(*) FROM noted",
            tenant_id,
            connection_id,
        )
        return found
    where = visible(tenant_id, module, connection_id, rule)
    where.add("d.removed_at IS NULL")
    if module == CDRS:
        where.add(
            "NOT EXISTS (SELECT FROM roaming_sent s WHERE s.connection_id = ? AND s.module = 'cdrs' AND s.key = d.id)",
            connection_id,
        )
    where.values.append(connection_id)
    found = await db.fetchval(
        f"WITH noted AS ({_INTO} SELECT d.tenant_id, ${len(where.values)}::bigint, d.module, d.id FROM roaming_document d"
        f" WHERE {where} ORDER BY d.seq{_AGAIN}) SELECT count(*) FROM noted",
        *where.values,
    )
    return found


async def keep(db: Db, connection_id: int, module: str, objects: int, by: str) -> None:
    """That a module was pushed, in place of what was kept before."""
    await db.execute(
        "INSERT INTO roaming_push (connection_id, module, objects, requested_by) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (connection_id, module) DO UPDATE SET objects = excluded.objects,"
        " requested_by = excluded.requested_by, requested_at = now()",
        connection_id,
        module,
        objects,
        by,
    )


async def of_partner(db: Db, connection_id: int) -> list[PushView]:
    """What a partner was pushed, and how far it is."""
    rows = await db.fetch(
        "SELECT p.module, p.objects, p.requested_by, p.requested_at,"
        " count(o.id) FILTER (WHERE o.parked_at IS NULL) AS waiting, count(o.parked_at) AS parked"
        " FROM roaming_push p LEFT JOIN roaming_outgoing o USING (connection_id, module) WHERE p.connection_id = $1"
        " GROUP BY p.connection_id, p.module ORDER BY p.module",
        connection_id,
    )
    return [PushView(**row) for row in rows]


async def due(db: Db, limit: int) -> list[int]:
    """Partners that read nothing themselves and were pushed nothing since they are registered."""
    rows = await db.fetch(
        "SELECT c.id FROM roaming_connection c WHERE c.state = 'registered' AND (c.quirks::json ->> 'push_all')::boolean"
        " AND NOT EXISTS (SELECT FROM roaming_push p WHERE p.connection_id = c.id) ORDER BY c.id LIMIT $1",
        limit,
    )
    return [row["id"] for row in rows]


async def forget(db: Db, connection_id: int) -> None:
    """The connection ended: whoever registers anew has nothing of ours. Only CDRs are told once and for all."""
    await db.execute("DELETE FROM roaming_push WHERE connection_id = $1", connection_id)
    await db.execute("DELETE FROM roaming_sent WHERE connection_id = $1 AND module <> 'cdrs'", connection_id)
