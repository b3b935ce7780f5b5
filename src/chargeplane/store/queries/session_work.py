"""Transactions that the business has to look at: noted with the facts about them, taken by whoever is free.

Facts of tenants without a location leave nothing here: what they cost is one indexed query a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.store.outbox import Fact
from chargeplane.store.queries.paging import Db

_TOPICS: Final = frozenset({"transaction.started", "transaction.ended", "transaction.amended", "transaction.reopened"})
_BUSINESS: Final = """
    SELECT tenant_id FROM unnest($1::integer[]) AS t (tenant_id)
    WHERE EXISTS (SELECT FROM location l WHERE l.tenant_id = t.tenant_id AND l.deleted_at IS NULL)
"""
_NOTE: Final = """
    INSERT INTO session_work (transaction_id, tenant_id) SELECT * FROM unnest($1::bigint[], $2::integer[])
    ON CONFLICT (transaction_id) DO UPDATE SET ticks = session_work.ticks + 1, due_at = now()
"""
_TAKE: Final = """
    UPDATE session_work SET due_at = now() + make_interval(secs => $2), attempts = attempts + 1
    WHERE transaction_id = ANY(ARRAY(
        SELECT transaction_id FROM session_work WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING transaction_id, tenant_id, ticks, attempts
"""


class Work(Struct, frozen=True, kw_only=True):
    """A transaction to look at.

    Args:
        ticks: as of when it was taken; a fact that comes meanwhile raises them.
        attempts: this one included, since the last that succeeded.
    """

    transaction_id: TransactionId
    tenant_id: TenantId
    ticks: int
    attempts: int


async def note(db: Db, facts: Sequence[Fact]) -> None:
    """Notes what facts are about (a `Keeper` of store/outbox)."""
    about = {int(fact.key): fact.tenant_id for fact in facts if fact.topic in _TOPICS and fact.key.isdecimal()}
    if not about:
        return
    rows = await db.fetch(_BUSINESS, list(set(about.values())))
    if not rows:
        return
    business = {row["tenant_id"] for row in rows}
    noted = sorted((ident, tenant) for ident, tenant in about.items() if tenant in business)
    await db.execute(_NOTE, [ident for ident, _ in noted], [tenant for _, tenant in noted])


async def look_at(db: Db, tenant_id: TenantId, ident: TransactionId) -> None:
    """Has a transaction looked at, for another reason than a fact about it."""
    await db.execute(_NOTE, [ident], [tenant_id])


async def take(db: Db, limit: int, lease_s: float) -> list[Work]:
    """What is due, claimed for so long."""
    return [Work(**row) for row in await db.fetch(_TAKE, limit, lease_s)]


async def done(db: Db, work: Work, again_at: datetime | None) -> None:
    """Ends a look; what came meanwhile is looked at again at once.

    Args:
        again_at: when to look again; None: when a fact says so.
    """
    if again_at is None:
        await db.execute(
            "DELETE FROM session_work WHERE transaction_id = $1 AND ticks = $2", work.transaction_id, work.ticks
        )
    else:
        await db.execute(
            "UPDATE session_work SET due_at = $3, attempts = 0, error = NULL WHERE transaction_id = $1 AND ticks = $2",
            work.transaction_id,
            work.ticks,
            again_at,
        )


async def failed(db: Db, work: Work, error: str, delay_s: float) -> None:
    """Tries again later."""
    await db.execute(
        "UPDATE session_work SET due_at = now() + make_interval(secs => $3), error = $4"
        " WHERE transaction_id = $1 AND ticks = $2",
        work.transaction_id,
        work.ticks,
        delay_s,
        error.replace("\x00", "")[:2000],
    )


async def given_back(db: Db, works: Sequence[Work]) -> None:
    """Frees what was claimed and not looked at."""
    await db.execute(
        "UPDATE session_work SET due_at = now(), attempts = attempts - 1 WHERE transaction_id = ANY($1) AND attempts > 0",
        [work.transaction_id for work in works],
    )


async def waiting(db: Db) -> tuple[int, float]:
    """How many are due, and for how long the oldest is, in seconds."""
    row = await db.fetchrow(
        "SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS oldest_s"
        " FROM (SELECT due_at FROM session_work WHERE due_at <= now() ORDER BY due_at LIMIT 100000) w"
    )
    return (0, 0.0) if row is None else (row["waiting"], row["oldest_s"])
