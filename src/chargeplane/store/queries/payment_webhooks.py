"""What payment providers told by themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from chargeplane.domain.payments.states import Seen
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class StoredWebhook(Struct, frozen=True, kw_only=True):
    """One that is to be applied."""

    id: int
    tenant_id: TenantId
    provider: str
    kind: str
    ref: str | None
    seen: Seen | None
    received_at: datetime


class WebhookView(Struct, frozen=True, kw_only=True):
    """What a provider told by itself.

    Args:
        kind: the provider's word.
        hits: how often it was told.
        applied_at: null while it waits.
    """

    id: str
    event_id: str
    kind: str
    hits: int
    received_at: datetime
    applied_at: datetime | None


_seen = msgspec.json.Decoder(Seen).decode


async def keep(
    db: Db,
    tenant_id: TenantId,
    provider: str,
    event_id: str,
    kind: str,
    ref: str | None,
    payload: str,
    seen: Seen | None,
) -> int | None:
    """Keeps what was told; its id, None where it is kept already."""
    row = await db.fetchrow(
        "INSERT INTO payment_webhook (tenant_id, provider, event_id, kind, ref, payload, seen)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, provider, event_id)"
        " DO UPDATE SET hits = payment_webhook.hits + 1 RETURNING id, hits",
        tenant_id,
        provider,
        event_id,
        kind,
        ref,
        payload,
        None if seen is None else msgspec.json.encode(seen).decode(),
    )
    assert row is not None
    return row["id"] if row["hits"] == 1 else None


async def locked(db: Db, ident: int) -> StoredWebhook | None:
    """One that is to be applied, locked until the transaction ends; None where it was, or somebody is at it."""
    row: Any = await db.fetchrow(
        "SELECT id, tenant_id, provider, kind, ref, seen, received_at FROM payment_webhook WHERE id = $1"
        " AND applied_at IS NULL FOR UPDATE SKIP LOCKED",
        ident,
    )
    if row is None:
        return None
    return StoredWebhook(**{**row, "seen": None if row["seen"] is None else _seen(row["seen"])})


async def waiting(db: Db, most: int = 100) -> list[int]:
    """Those that are to be applied, oldest first."""
    return [
        row["id"]
        for row in await db.fetch("SELECT id FROM payment_webhook WHERE applied_at IS NULL ORDER BY id LIMIT $1", most)
    ]


async def applied(db: Db, ident: int, payment_id: int | None) -> None:
    """Notes that it was."""
    await db.execute("UPDATE payment_webhook SET applied_at = now(), payment_id = $2 WHERE id = $1", ident, payment_id)


async def views(db: Db, payment_id: int) -> list[WebhookView]:
    """What was told of a payment, oldest first."""
    rows = await db.fetch(
        "SELECT id::text AS id, event_id, kind, hits, received_at, applied_at FROM payment_webhook"
        " WHERE payment_id = $1 ORDER BY payment_webhook.id LIMIT 200",
        payment_id,
    )
    return [WebhookView(**row) for row in rows]
