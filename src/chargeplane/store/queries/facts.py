"""Facts of the outbox, written by ordinary changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Connection
from chargeplane.store.queries.paging import Db

_encode: Final = msgspec.json.Encoder().encode


async def tell(db: Db, tenant_id: TenantId, topic: str, key: str, payload: Any) -> None:
    """Writes a fact with the change it follows from.

    Args:
        key: what it must not overtake.
        payload: JSON-able.
    """
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        tenant_id,
        topic,
        key,
        _encode(payload).decode(),
    )


async def copy(
    db: Connection, tenant_ids: Sequence[int], topics: Sequence[str], keys: Sequence[str], payloads: Sequence[str]
) -> None:
    """Writes facts in the order given: their ids rise with it."""
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) "
        "SELECT t, topic, key, payload FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) "
        "WITH ORDINALITY AS u (t, topic, key, payload, place) ORDER BY place",
        tenant_ids,
        topics,
        keys,
        payloads,
    )
