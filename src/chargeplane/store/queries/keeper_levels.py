"""How much work of the business waits, and how much of it fails, all tenants together."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from chargeplane.store.queries.paging import Db

COUNTED: Final = 10_000
"""More than so many are not counted: what waits is then far too much anyway."""


class KeeperLevel(Struct, frozen=True, kw_only=True):
    """Of one keeper.

    Args:
        keeper: sessions, cdrs (what follows from them), payments, payment_webhooks, invoicing, bookings, webhooks.
        waiting: what is due now.
        failing: what failed when it was last tried, due or not; of deliveries and facts, what was given up.
        oldest_s: for how long the oldest is due; 0 where nothing waits.
    """

    keeper: str
    waiting: int
    failing: int
    oldest_s: float


async def levels(db: Db) -> list[KeeperLevel]:
    """All of them; each count is a look at an index."""
    return [KeeperLevel(**row) for row in await db.fetch(_LEVELS, COUNTED)]


def _level(keeper: str, waiting: str, failing: str) -> str:
    return (
        f"SELECT '{keeper}' AS keeper, (SELECT count(*) FROM (SELECT FROM {waiting} LIMIT $1) w)::int AS waiting,"
        f" (SELECT count(*) FROM (SELECT FROM {failing} LIMIT $1) f)::int AS failing,"
        f" coalesce((SELECT extract(epoch FROM now() - min(since)) FROM (SELECT {{since}} AS since FROM {waiting}"
        " ORDER BY {since} LIMIT 1) o), 0)::float8 AS oldest_s"
    )


_LEVELS: Final = " UNION ALL ".join(
    (
        _level(
            "sessions", "session_work WHERE due_at <= now()", "session_work WHERE attempts > 0 AND error IS NOT NULL"
        ).format(since="due_at"),
        _level(
            "payments", "payment WHERE next_at <= now()", "payment WHERE next_at IS NOT NULL AND attempts > 0"
        ).format(since="next_at"),
        _level(
            "payment_webhooks",
            "payment_webhook WHERE applied_at IS NULL",
            "payment_webhook WHERE applied_at IS NULL AND received_at < now() - interval '5 minutes'",
        ).format(since="received_at"),
        _level(
            "invoicing", "billing_run WHERE finished_at IS NULL", "billing_run WHERE finished_at IS NULL AND failed > 0"
        ).format(since="created_at"),
        _level(
            "bookings", "booking WHERE due_at <= now()", "booking_hold WHERE over_at IS NULL AND refusals > 0"
        ).format(since="due_at"),
        _level(
            "webhooks",
            "webhook_delivery WHERE state = 'pending' AND next_at <= now()",
            "webhook_delivery WHERE state = 'failed'",
        ).format(since="next_at"),
        _level(
            "cdrs",
            "outbox WHERE topic LIKE 'cdr.%' AND parked_at IS NULL",
            "outbox WHERE topic LIKE 'cdr.%' AND parked_at IS NOT NULL",
        ).format(since="created_at"),
    )
)
