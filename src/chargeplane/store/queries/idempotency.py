"""Idempotency keys and the answers kept under them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from msgspec import Struct

from chargeplane.store.queries.paging import Db

KEPT: Final = timedelta(hours=24)
"""How long an answer is given again."""


class KeptRequest(Struct, frozen=True, kw_only=True):
    """A request made before.

    Args:
        status, response: None while it is still running.
    """

    body_hash: bytes
    status: int | None
    response: bytes | None


async def take(
    db: Db, tenant_id: int, route: str, key: str, body_hash: bytes, stale: timedelta, kept: timedelta
) -> KeptRequest | None:
    """Takes the key: None where it is the caller's now, else the request that has it.

    Args:
        stale: age at which a request without answer has lost its key.
        kept: age at which an answer is forgotten.
    """
    row = await db.fetchrow(
        "INSERT INTO idempotency_key AS k (tenant_id, route, key, body_hash) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (tenant_id, route, key) DO UPDATE"
        " SET body_hash = excluded.body_hash, status = NULL, response = NULL, created_at = now()"
        " WHERE k.created_at < now() - (CASE WHEN k.status IS NULL THEN $5::interval ELSE $6::interval END)"
        " RETURNING true",
        tenant_id,
        route,
        key,
        body_hash,
        stale,
        kept,
    )
    if row is not None:
        return None
    found = await db.fetchrow(
        "SELECT body_hash, status, response FROM idempotency_key WHERE tenant_id = $1 AND route = $2 AND key = $3",
        tenant_id,
        route,
        key,
    )
    if found is None:  # released between the two statements
        return await take(db, tenant_id, route, key, body_hash, stale, kept)
    return KeptRequest(**found)


async def keep(db: Db, tenant_id: int, route: str, key: str, status: int, response: bytes) -> None:
    """Stores the answer under the key."""
    await db.execute(
        "UPDATE idempotency_key SET status = $4, response = $5 WHERE tenant_id = $1 AND route = $2 AND key = $3",
        tenant_id,
        route,
        key,
        status,
        response,
    )


async def release(db: Db, tenant_id: int, route: str, key: str) -> None:
    """Gives the key back: the request failed and may be tried again."""
    await db.execute(
        "DELETE FROM idempotency_key WHERE tenant_id = $1 AND route = $2 AND key = $3", tenant_id, route, key
    )
