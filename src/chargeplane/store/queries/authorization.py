"""What follows from changes of id tokens, and accounts that transactions take from."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from chargeplane.domain.authorization import token_key
from chargeplane.domain.messages import LimitKind, TransactionLimits
from chargeplane.domain.token_rules import supported_limits
from chargeplane.kernel.ids import NodeId, StationKey, TenantId, TransactionId
from chargeplane.store.queries.charging_stations import NODE_LIVES
from chargeplane.store.queries.id_tokens import IdTokenView
from chargeplane.store.queries.paging import Db

TOKEN_CHANGED = "id_token.changed"  # noqa: S105
"""Topic of the outbox: an id token was changed or removed."""


class TokenChanged(Struct, frozen=True, kw_only=True):
    """An id token was changed or removed; `id_token` and `type` as they were before."""

    id_token: str
    type: str


async def note_change(db: Db, tenant_id: TenantId, before: IdTokenView) -> None:
    """Writes the fact of a change within the caller's change."""
    told = TokenChanged(id_token=before.id_token, type=before.type)
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        tenant_id,
        TOKEN_CHANGED,
        f"id token {before.id}",
        msgspec.json.encode(told).decode(),
    )


class RunningTransaction(Struct, frozen=True, kw_only=True):
    """An open transaction and who began it."""

    id: TransactionId
    tenant_id: TenantId
    station_key: StationKey
    ocpp_transaction_id: str | None
    id_token: str
    id_token_type: str | None


_RUNNING = (
    "SELECT t.id, t.tenant_id, t.station_key, t.ocpp_transaction_id, t.id_token, t.id_token_type"
    " FROM open_transaction o JOIN transaction t ON t.id = o.transaction_id"
)


async def running_with(db: Db, tenant_id: TenantId, value: str) -> list[RunningTransaction]:
    """Open transactions that an id token began."""
    rows = await db.fetch(
        f"{_RUNNING} WHERE o.tenant_id = $1 AND o.token_key = $2 AND t.id_token IS NOT NULL",
        tenant_id,
        token_key(value),
    )
    return [RunningTransaction(**row) for row in rows]


async def running_expired(
    db: Db, tenant_ids: list[TenantId], since: datetime, now: datetime, node_id: NodeId, *, by: str
) -> list[RunningTransaction]:
    """Open transactions of tokens whose time ended in (since, now], at stations that are this node's: last connected to it, or to none
    that lives.

    Args:
        by: who asks them to stop; what was asked since its token's time ended is left out.
    """
    rows = await db.fetch(
        f"{_RUNNING} JOIN id_token i ON i.tenant_id = o.tenant_id AND i.token_key = o.token_key"
        " WHERE o.tenant_id = ANY($1) AND i.valid_until > $2 AND i.valid_until <= $3 AND t.id_token IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM station_connection c JOIN node n ON n.id = c.node_id"
        " WHERE c.station_key = t.station_key AND c.node_id <> $4 AND n.seen_at > now() - $5::interval)"
        " AND NOT EXISTS (SELECT FROM command k WHERE k.station_key = t.station_key AND k.type = 'stop'"
        " AND k.requested_by = $6 AND k.created_at >= i.valid_until AND strpos(k.request, t.ocpp_transaction_id) > 0)",
        tenant_ids,
        since,
        now,
        node_id,
        NODE_LIVES,
        by,
    )
    return [RunningTransaction(**row) for row in rows]


class LimitedTransaction(Struct, frozen=True, kw_only=True):
    """An open transaction with limits."""

    transaction_id: TransactionId
    tenant_id: TenantId
    station_key: StationKey
    limits: TransactionLimits
    stop_asked_at: datetime | None


_decode_limits = msgspec.json.Decoder(TransactionLimits, strict=False).decode


async def limits_kept(db: Db, key: StationKey) -> list[LimitKind]:
    """The limits of transactions that a station keeps by itself, as its device model says (OCPP 2.1 TxCtrlr.SupportedLimits)."""
    told: str | None = await db.fetchval(
        "SELECT value FROM station_variable WHERE station_key = $1 AND lower(component) IN ('txctrlr', 'txctrl')"
        " AND lower(variable) = 'supportedlimits' AND attribute = 'Actual' LIMIT 1",
        key,
    )
    return sorted(supported_limits(told or ""))


async def limits_told(db: Db, transaction_id: int) -> TransactionLimits | None:
    """The limits that a transaction began with, with those of them that its station keeps; None where they are not noted."""
    told: str | None = await db.fetchval(
        "SELECT limits::text FROM transaction_limit WHERE transaction_id = $1", transaction_id
    )
    return None if told is None else _decode_limits(told)


async def limit(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    transaction_id: int,
    limits: TransactionLimits,
    id_token: tuple[str, str | None],
) -> None:
    """Notes the limits of a transaction, and the account it takes from; once."""
    value, kind = id_token
    await db.execute(
        "INSERT INTO transaction_limit (transaction_id, tenant_id, station_key, limits, id_token_id)"
        " VALUES ($1, $2, $3, $4::text::jsonb, (SELECT id FROM id_token WHERE tenant_id = $2 AND token_key = $5"
        " AND ($6::text IS NULL OR type = $6) AND credit_wh IS NOT NULL ORDER BY id LIMIT 1))"
        " ON CONFLICT (transaction_id) DO NOTHING",
        transaction_id,
        tenant_id,
        key,
        msgspec.json.encode(limits).decode(),
        token_key(value),
        kind,
    )


async def limited(db: Db, node_id: NodeId) -> list[LimitedTransaction]:
    """The open ones of this node's stations."""
    rows = await db.fetch(
        "SELECT l.transaction_id, l.tenant_id, l.station_key, l.limits, l.stop_asked_at FROM transaction_limit l"
        " JOIN open_transaction o ON o.transaction_id = l.transaction_id"
        " JOIN station_connection c ON c.station_key = l.station_key AND c.node_id = $1 WHERE l.over_at IS NULL",
        node_id,
    )
    return [LimitedTransaction(**{**row, "limits": _decode_limits(row["limits"])}) for row in rows]


async def limit_reached(db: Db, transaction_id: int, reached: str, now: datetime) -> None:
    """Notes that the station was asked to stop."""
    await db.execute(
        "UPDATE transaction_limit SET reached = $2, stop_asked_at = $3 WHERE transaction_id = $1",
        transaction_id,
        reached,
        now,
    )


async def settle(db: Db, again_since: datetime) -> int:
    """Takes from accounts what limited transactions that ended have used, and what arrived after their end; how many changed.

    The difference to what was booked is booked, in one statement with the note of it, so nothing counts twice.

    Args:
        again_since: those that ended before are left alone.
    """
    status = await db.execute(
        "WITH due AS (SELECT l.transaction_id, l.id_token_id, t.energy_wh, t.energy_wh - l.booked_wh AS more"
        " FROM transaction_limit l JOIN transaction t ON t.id = l.transaction_id"
        " WHERE NOT t.is_open AND (l.over_at IS NULL OR (l.over_at >= $1 AND t.energy_wh <> l.booked_wh))"
        " ORDER BY l.transaction_id LIMIT 500 FOR UPDATE OF l SKIP LOCKED),"
        " booked AS (UPDATE id_token i SET credit_wh = i.credit_wh - s.more, updated_at = now() FROM"
        " (SELECT id_token_id, sum(more) AS more FROM due WHERE id_token_id IS NOT NULL AND more <> 0 GROUP BY 1) s"
        " WHERE i.id = s.id_token_id AND i.credit_wh IS NOT NULL)"
        " UPDATE transaction_limit l SET booked_wh = due.energy_wh, over_at = coalesce(l.over_at, now())"
        " FROM due WHERE l.transaction_id = due.transaction_id",
        again_since,
    )
    return int(status.rpartition(" ")[2])


class LimitView(Struct, frozen=True, kw_only=True):
    """The limits of a transaction.

    Args:
        reached: energy, time or soc where the station was asked to stop for it.
    """

    max_energy_wh: Decimal | None
    max_cost: Decimal | None
    max_time_s: int | None
    max_soc: int | None
    reached: str | None
    stop_asked_at: datetime | None


async def limits_of(db: Db, transaction_id: int) -> LimitView | None:
    """A transaction's limits."""
    row: Any = await db.fetchrow(
        "SELECT limits, reached, stop_asked_at FROM transaction_limit WHERE transaction_id = $1", transaction_id
    )
    if row is None:
        return None
    limits = _decode_limits(row["limits"])
    return LimitView(
        max_energy_wh=limits.max_energy_wh,
        max_cost=limits.max_cost,
        max_time_s=limits.max_time_s,
        max_soc=limits.max_soc,
        reached=row["reached"],
        stop_asked_at=row["stop_asked_at"],
    )
