"""What partners are to be told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_time


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


def receiver_of(module: str) -> str:
    """What stands in `roaming_connection.modules` where a partner takes a module."""
    return f'"module":"{module}","interface":"RECEIVER"'


async def note(
    db: Db,
    tenant_id: TenantId,
    module: str,
    keys: Sequence[str],
    connections: list[int] | None,
    hints: Sequence[str | None],
    correlation_id: str | None,
    delay_s: float,
) -> None:
    """Writes a row for each object and partner, or makes the row there is due again.

    Args:
        keys: each once.
        hints: of each.
    """
    await db.execute(
        "INSERT INTO roaming_outgoing AS o (tenant_id, connection_id, module, key, hint, correlation_id, next_at)"
        " SELECT c.tenant_id, c.id, $2, w.key, w.hint, $6, now() + make_interval(secs => $7) FROM roaming_connection c"
        " CROSS JOIN unnest($3::text[], $5::text[]) AS w(key, hint)"
        " WHERE c.tenant_id = $1 AND c.state IN ('registered', 'suspended')"
        # Whoever does not take the module has nothing to be told.
        " AND CASE WHEN $4::bigint[] IS NULL THEN position($8 in c.modules) > 0 ELSE c.id = ANY ($4) END"
        " ORDER BY c.id, w.key"
        " ON CONFLICT (connection_id, module, key) DO UPDATE SET ticks = o.ticks + 1,"
        " hint = CASE WHEN o.hint = excluded.hint THEN o.hint END, correlation_id = excluded.correlation_id, attempts = 0,"
        " parked_at = NULL, error = NULL, noted_at = clock_timestamp(),"
        " next_at = CASE WHEN o.attempts = 0 THEN least(o.next_at, excluded.next_at) ELSE excluded.next_at END",
        tenant_id,
        module,
        list(keys),
        connections,
        list(hints),
        correlation_id,
        delay_s,
        receiver_of(module),
    )


async def waiting(db: Db, by: str, busy: Sequence[int], limit: int) -> list[int]:
    """Connections to which something is due and nobody else sends.

    Args:
        by: who asks.
        busy: those it sends to already.
    """
    rows = await db.fetch(
        "SELECT c.id FROM roaming_connection c WHERE c.state = 'registered' AND c.id <> ALL($2::bigint[])"
        " AND (c.leased_by = $1 OR c.leased_until IS NULL OR c.leased_until < now())"
        " AND EXISTS (SELECT FROM roaming_outgoing o WHERE o.connection_id = c.id AND o.parked_at IS NULL AND o.next_at <= now())"
        " ORDER BY c.id LIMIT $3",
        by,
        list(busy),
        limit,
    )
    return [row["id"] for row in rows]


async def lease(db: Db, connection_ids: Sequence[int], by: str, seconds: float) -> list[int]:
    """Takes, or keeps, connections for a process; those that no other one has."""
    rows = await db.fetch(
        "UPDATE roaming_connection c SET leased_by = $2, leased_until = now() + make_interval(secs => $3)"
        " FROM (SELECT id FROM roaming_connection WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) free"
        " WHERE c.id = free.id AND c.state = 'registered'"
        " AND (c.leased_by = $2 OR c.leased_until IS NULL OR c.leased_until < now()) RETURNING c.id",
        list(connection_ids),
        by,
        seconds,
    )
    return [row["id"] for row in rows]


async def release(db: Db, connection_ids: Sequence[int], by: str) -> None:
    """Gives connections back."""
    await db.execute(
        "UPDATE roaming_connection SET leased_by = NULL, leased_until = NULL WHERE id = ANY($1::bigint[]) AND leased_by = $2",
        list(connection_ids),
        by,
    )


async def due(db: Db, connection_ids: Sequence[int], limit: int) -> dict[int, list[Due]]:
    """What partners are to be told of now, the longest waiting first; at most `limit` of each."""
    rows = await db.fetch(
        "SELECT c.id AS connection_id, o.* FROM unnest($1::bigint[]) AS c(id) CROSS JOIN LATERAL (SELECT o.id, o.module, o.key,"
        " o.hint, o.correlation_id, o.ticks, o.attempts, o.noted_at FROM roaming_outgoing o WHERE o.connection_id = c.id"
        " AND o.parked_at IS NULL AND o.next_at <= now() ORDER BY o.id LIMIT $2) o",
        list(connection_ids),
        limit,
    )
    found: dict[int, list[Due]] = {}
    for row in rows:
        found.setdefault(row["connection_id"], []).append(
            Due(
                id=row["id"],
                module=row["module"],
                key=row["key"],
                hint=row["hint"],
                correlation_id=row["correlation_id"],
                ticks=row["ticks"],
                attempts=row["attempts"],
                noted_at=row["noted_at"],
            )
        )
    return found


class Taken(Struct, frozen=True, kw_only=True):
    """An object that a partner took.

    Args:
        ticks: as they were when it was sent.
        location: where the partner has it.
        digest: of what was sent; None: nothing was sent, since there was nothing to tell.
    """

    id: int
    ticks: int
    connection_id: int
    module: str
    key: str
    location: str | None = None
    digest: bytes | None = None
    was_sent: bool = True


async def took(db: Db, taken: Sequence[Taken]) -> None:
    """Partners have these objects as they were; what changed since stays due."""
    await db.execute(
        # Rows are locked in the order in which `note` locks them; one that changed meanwhile has other ticks, and stays.
        "DELETE FROM roaming_outgoing o USING (SELECT o.id FROM roaming_outgoing o JOIN unnest($1::bigint[], $2::bigint[])"
        " AS w(id, ticks) ON w.id = o.id AND w.ticks = o.ticks ORDER BY o.connection_id, o.module, o.key FOR UPDATE OF o) mine"
        " WHERE o.id = mine.id",
        [one.id for one in taken],
        [one.ticks for one in taken],
    )
    unique = {(one.connection_id, one.module, one.key): one for one in taken if one.was_sent}
    if unique:
        known = [unique[place] for place in sorted(unique)]
        await db.execute(
            "INSERT INTO roaming_sent AS s (connection_id, module, key, location, digest)"
            " SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[])"
            " ON CONFLICT (connection_id, module, key) DO UPDATE SET sent_at = now(),"
            " location = coalesce(excluded.location, s.location), digest = excluded.digest",
            [one.connection_id for one in known],
            [one.module for one in known],
            [one.key for one in known],
            [None if one.location is None else made_storable(one.location, 1000) for one in known],
            [one.digest for one in known],
        )


async def more(db: Db, ident: int) -> None:
    """A partner took one message about an object, and the next one is due at once."""
    await db.execute("UPDATE roaming_outgoing SET attempts = 0, error = NULL, next_at = now() WHERE id = $1", ident)


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


async def sent_before(db: Db, connection_id: int, module: str, key: str) -> tuple[str | None, bytes | None] | None:
    """Where a partner said it has an object, and the digest of what it was sent; None where it never was."""
    row = await db.fetchrow(
        "SELECT location, digest FROM roaming_sent WHERE connection_id = $1 AND module = $2 AND key = $3",
        connection_id,
        module,
        key,
    )
    return None if row is None else (row["location"], row["digest"])


OUTGOING_SORTS: Final = Sorts(
    "id", default="id", noted_at=by_time("noted_at"), next_at=by_time("next_at"), attempts=by_number("attempts")
)


async def page(
    db: Db, tenant_id: TenantId, connection_id: int | None, parked: bool | None, limit: int, after: Position | None
) -> list[OutgoingView]:
    """What partners are to be told, the longest waiting first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("connection_id = ?", connection_id)
    if parked is not None:
        where.add("parked_at IS NOT NULL" if parked else "parked_at IS NULL")
    order = OUTGOING_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id, connection_id, module, key, attempts, noted_at, next_at, parked_at, error FROM roaming_outgoing"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
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
