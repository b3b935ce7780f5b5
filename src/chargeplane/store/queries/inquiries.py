"""What stations said when they were asked about transactions."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from chargeplane.kernel.ids import TransactionId
from chargeplane.store.queries.paging import Db


class InquiryView(Struct, frozen=True, kw_only=True):
    """The last question about a transaction, and what came of it.

    Args:
        reason: gap, reconnect, silence, age.
        times: how often it was asked.
        ongoing, messages_in_queue: as the station answered; null where it did not say.
        answer: waiting, kept, complete, closed, unknown.
    """

    reason: str
    asked_at: datetime
    times: int
    ongoing: bool | None
    messages_in_queue: bool | None
    answer: str


async def note(
    db: Db,
    transaction_id: TransactionId,
    *,
    reason: str,
    asked_at: datetime,
    times: int,
    ongoing: bool | None,
    messages_in_queue: bool | None,
    answer: str,
) -> None:
    """Writes what came of the last question about a transaction."""
    await db.execute(
        "INSERT INTO transaction_inquiry (transaction_id, reason, asked_at, times, ongoing, messages_in_queue, answer)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (transaction_id) DO UPDATE SET reason = excluded.reason,"
        " asked_at = excluded.asked_at, times = excluded.times, ongoing = excluded.ongoing,"
        " messages_in_queue = excluded.messages_in_queue, answer = excluded.answer",
        transaction_id,
        reason,
        asked_at,
        times,
        ongoing,
        messages_in_queue,
        answer,
    )


async def of_transaction(db: Db, transaction_id: TransactionId) -> InquiryView | None:
    """The last question about a transaction; None where none was asked."""
    row = await db.fetchrow(
        "SELECT reason, asked_at, times, ongoing, messages_in_queue, answer FROM transaction_inquiry"
        " WHERE transaction_id = $1",
        transaction_id,
    )
    return None if row is None else InquiryView(**row)


async def last_heard(db: Db, transaction_id: TransactionId, opened_at: datetime) -> datetime | None:
    """When the newest message of a transaction came in."""
    found: datetime | None = await db.fetchval(
        "SELECT max(received_at) FROM transaction_event"
        " WHERE transaction_id = $1 AND opened_on = ($2::timestamptz AT TIME ZONE 'UTC')::date",
        transaction_id,
        opened_at,
    )
    return found
