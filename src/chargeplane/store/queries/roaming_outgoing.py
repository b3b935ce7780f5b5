"""What partners are to be told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.queries.paging import Db, Position, Where


class Due(Struct, frozen=True, kw_only=True):
    """An object that a partner is to be told of now."""

    id: int
    module: str
    key: str
    hint: str | None
    correlation_id: str | None
    ticks: int
    attempts: int
    noted_at: datetime


class OutgoingView(Struct, frozen=True, kw_only=True):
    """An object that a partner is to be told of.

    Args:
        parked_at: when it was given up; a person has to look at it.
    """

    id: str
    partner_id: str
    module: str
    key: str
    attempts: int
    noted_at: datetime
    next_at: datetime
    parked_at: datetime | None
    error: str | None


async def note(
    db: Db,
    tenant_id: TenantId,
    module: str,
    key: str,
    connections: list[int] | None,
    hint: str | None,
    correlation_id: str | None,
    delay_s: float,
) -> None:
    """Writes a row for each partner, or makes the row there is due again."""
    await db.execute(
        "INSERT INTO roaming_outgoing AS o (tenant_id, connection_id, module, key, hint, correlation_id, next_at)"
        " SELECT c.tenant_id, c.id, $2, $3, $5, $6, now() + make_interval(secs => $7) FROM roaming_connection c"
        " WHERE c.tenant_id = $1 AND c.state IN ('registered', 'suspended') AND ($4::bigint[] IS NULL OR c.id = ANY ($4))"
        " ORDER BY c.id"
        " ON CONFLICT (connection_id, module, key) DO UPDATE SET ticks = o.ticks + 1,"
        " hint = CASE WHEN o.hint = excluded.hint THEN o.hint END, correlation_id = excluded.correlation_id, attempts = 0,"
        " parked_at = NULL, error = NULL, noted_at = clock_timestamp(),"
        " next_at = CASE WHEN o.attempts = 0 THEN least(o.next_at, excluded.next_at) ELSE excluded.next_at END",
        tenant_id,
        module,
        key,
        connections,
        hint,
        correlation_id,
        delay_s,
    )


async def waiting(db: Db, limit: int) -> list[int]:
    """Connections to which something is due and nobody sends."""
    rows = await db.fetch(
        "SELECT c.id FROM roaming_connection c WHERE c.state = 'registered' AND (c.leased_until IS NULL OR c.leased_until < now())"
        " AND EXISTS (SELECT FROM roaming_outgoing o WHERE o.connection_id = c.id AND o.parked_at IS NULL AND o.next_at <= now())"
        " ORDER BY c.id LIMIT $1",
        limit,
    )
    return [row["id"] for row in rows]


async def lease(db: Db, connection_id: int, by: str, seconds: float) -> bool:
    """Takes, or keeps, a connection for a process; False where another one has it."""
    row = await db.fetchrow(
        "UPDATE roaming_connection SET leased_by = $2, leased_until = now() + make_interval(secs => $3)"
        " WHERE id = $1 AND state = 'registered' AND (leased_by = $2 OR leased_until IS NULL OR leased_until < now())"
        " RETURNING id",
        connection_id,
        by,
        seconds,
    )
    return row is not None


async def release(db: Db, connection_id: int, by: str) -> None:
    """Gives a connection back."""
    await db.execute(
        "UPDATE roaming_connection SET leased_by = NULL, leased_until = NULL WHERE id = $1 AND leased_by = $2",
        connection_id,
        by,
    )


async def due(db: Db, connection_id: int, limit: int) -> list[Due]:
    """What a partner is to be told of now, the longest waiting first."""
    rows = await db.fetch(
        "SELECT id, module, key, hint, correlation_id, ticks, attempts, noted_at FROM roaming_outgoing"
        " WHERE connection_id = $1 AND parked_at IS NULL AND next_at <= now() ORDER BY id LIMIT $2",
        connection_id,
        limit,
    )
    return [Due(**row) for row in rows]


async def done(db: Db, ident: int, ticks: int) -> None:
    """A partner has an object as it was; what changed since is due at once."""
    await db.execute(
        "WITH gone AS (DELETE FROM roaming_outgoing WHERE id = $1 AND ticks = $2 RETURNING id)"
        " UPDATE roaming_outgoing SET attempts = 0, error = NULL, next_at = now()"
        " WHERE id = $1 AND NOT EXISTS (SELECT FROM gone)",
        ident,
        ticks,
    )


async def failed(db: Db, ident: int, error: str, again_in_s: float | None, *, whole: bool = False) -> None:
    """It did not go.

    Args:
        again_in_s: None: it is given up.
        whole: the next attempt tells the whole object, whatever changed.
    """
    await db.execute(
        "UPDATE roaming_outgoing SET attempts = attempts + 1, error = $2, hint = CASE WHEN NOT $4 THEN hint END,"
        " parked_at = CASE WHEN $3::float8 IS NULL THEN now() END,"
        " next_at = now() + make_interval(secs => coalesce($3::float8, 0)) WHERE id = $1",
        ident,
        made_storable(error, 500),
        again_in_s,
        whole,
    )


async def postpone(db: Db, connection_id: int, seconds: float) -> None:
    """A partner is left alone for a while: nothing is due until then."""
    await db.execute(
        "UPDATE roaming_outgoing SET next_at = now() + make_interval(secs => $2)"
        " WHERE connection_id = $1 AND parked_at IS NULL AND next_at < now() + make_interval(secs => $2)",
        connection_id,
        seconds,
    )


async def wake(db: Db, connection_id: int) -> None:
    """A partner is back: what waited for another attempt is due now."""
    await db.execute(
        "UPDATE roaming_outgoing SET next_at = now() WHERE connection_id = $1 AND parked_at IS NULL AND next_at > now()"
        " AND attempts > 0",
        connection_id,
    )


async def sent(
    db: Db, connection_id: int, module: str, key: str, location: str | None, digest: bytes | None = None
) -> None:
    """Notes that a partner has an object."""
    await db.execute(
        "INSERT INTO roaming_sent AS s (connection_id, module, key, location, digest) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (connection_id, module, key) DO UPDATE SET sent_at = now(),"
        " location = coalesce(excluded.location, s.location), digest = excluded.digest",
        connection_id,
        module,
        key,
        None if location is None else made_storable(location, 1000),
        digest,
    )


async def sent_before(db: Db, connection_id: int, module: str, key: str) -> tuple[str | None, bytes | None] | None:
    """Where a partner said it has an object, and the digest of what it was sent; None where it never was."""
    row = await db.fetchrow(
        "SELECT location, digest FROM roaming_sent WHERE connection_id = $1 AND module = $2 AND key = $3",
        connection_id,
        module,
        key,
    )
    return None if row is None else (row["location"], row["digest"])


async def page(
    db: Db, tenant_id: TenantId, connection_id: int | None, parked: bool | None, limit: int, after: Position | None
) -> list[OutgoingView]:
    """What partners are to be told, the longest waiting first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("connection_id = ?", connection_id)
    if parked is not None:
        where.add("parked_at IS NOT NULL" if parked else "parked_at IS NULL")
    if after:
        where.add("id > ?", after[0])
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id, connection_id, module, key, attempts, noted_at, next_at, parked_at, error FROM roaming_outgoing"
        f" WHERE {where} ORDER BY id LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_view(row) for row in rows]


def _view(row: Any) -> OutgoingView:
    plain = {name: row[name] for name in OutgoingView.__struct_fields__ if name not in ("id", "partner_id")}
    return OutgoingView(id=str(row["id"]), partner_id=str(row["connection_id"]), **plain)


async def retry(db: Db, tenant_id: TenantId, connection_id: int) -> int:
    """Has what was given up tried again; how many."""
    done_ = await db.fetch(
        "UPDATE roaming_outgoing SET parked_at = NULL, attempts = 0, next_at = now() WHERE tenant_id = $1"
        " AND connection_id = $2 AND (parked_at IS NOT NULL OR attempts > 0) RETURNING id",
        tenant_id,
        connection_id,
    )
    return len(done_)
