"""Fees that are to be billed beside CDRs: of bookings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.invoicing.fees import BookingFee, FeeToBill
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.billing import Subject
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_time

_content = msgspec.json.Decoder(BookingFee).decode
_text: Final = msgspec.json.Encoder(decimal_format="string").encode


class NewFee(Struct, frozen=True, kw_only=True):
    """A fee that fell due."""

    content: BookingFee
    net: Decimal
    gross: Decimal
    agreement_id: int | None
    driver_id: int | None
    payment_id: int | None


class UnbilledFee(Struct, frozen=True, kw_only=True):
    """A fee that is on no invoice; nobody is billed where it has neither agreement, nor driver, nor payment."""

    id: int
    booking_id: int
    kind: str
    session_id: int | None
    agreement_id: int | None
    driver_id: int | None
    payment_id: int | None
    currency: str
    net: Decimal
    gross: Decimal
    fell_due_at: datetime


async def take(db: Db, tenant_id: TenantId, fee: NewFee) -> int | None:
    """Notes a fee as one that is to be billed; None where it is noted already."""
    said = fee.content
    ident: int | None = await db.fetchval(
        "INSERT INTO billable_fee (tenant_id, key, booking_id, kind, session_id, agreement_id, driver_id, payment_id, currency,"
        " net, gross, fell_due_at, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        " ON CONFLICT (tenant_id, key) DO NOTHING RETURNING id",
        tenant_id,
        f"booking:{said.booking_id}:{said.kind.value}",
        int(said.booking_id),
        said.kind.value,
        None if said.session_id is None else int(said.session_id),
        fee.agreement_id,
        fee.driver_id,
        fee.payment_id,
        said.rating.currency,
        fee.net,
        fee.gross,
        said.at,
        _text(said).decode(),
    )
    return ident


async def to_bill(db: Db, tenant_id: TenantId, subject: Subject, until: datetime, most: int) -> list[FeeToBill]:
    """What a subject has to be billed, that fell due before `until`, in that order."""
    where = Where()
    where.add("tenant_id = ? AND invoice_id IS NULL AND fell_due_at < ?", tenant_id, until)
    if subject.agreement_id is not None:
        where.add("agreement_id = ?", subject.agreement_id)
    elif subject.payment_id is not None:
        where.add("payment_id = ? AND agreement_id IS NULL", subject.payment_id)
    else:
        where.add("driver_id = ? AND agreement_id IS NULL AND payment_id IS NULL", subject.driver_id)
    where.values.append(most)
    rows = await db.fetch(
        f"SELECT id, currency, gross, payment_id, body FROM billable_fee WHERE {where} ORDER BY fell_due_at, id"
        f" LIMIT ${len(where.values)}",
        *where.values,
    )
    return [
        FeeToBill(
            fee_id=row["id"],
            currency=row["currency"],
            gross=row["gross"],
            payment_id=row["payment_id"],
            content=_content(row["body"]),
        )
        for row in rows
    ]


async def mark(db: Db, fee_ids: Sequence[int], invoice_id: int) -> None:
    """Fees are on an invoice now.

    Raises:
        RuntimeError: one was on an invoice already: a bug, and the transaction must go.
    """
    done = await db.execute(
        "UPDATE billable_fee SET invoice_id = $2 WHERE id = ANY($1) AND invoice_id IS NULL", list(fee_ids), invoice_id
    )
    if done != f"UPDATE {len(set(fee_ids))}":
        raise RuntimeError(f"Of {len(fee_ids)} fees of invoice {invoice_id} not all were free: {done}.")


async def subjects(db: Db, tenant_id: TenantId, until: datetime) -> list[str]:
    """Payments and drivers without an agreement who have fees to be billed."""
    rows = await db.fetch(
        "SELECT DISTINCT CASE WHEN payment_id IS NOT NULL THEN 'payment:' || payment_id ELSE 'driver:' || driver_id END AS subject"
        " FROM billable_fee WHERE tenant_id = $1 AND invoice_id IS NULL AND agreement_id IS NULL AND fell_due_at < $2"
        " AND (payment_id IS NOT NULL OR driver_id IS NOT NULL)",
        tenant_id,
        until,
    )
    return [row["subject"] for row in rows]


async def bind(db: Db, tenant_id: TenantId, session_id: int, payment_id: int) -> None:
    """The fees of a session's booking are paid by the session's payment."""
    await db.execute(
        "UPDATE billable_fee SET payment_id = $3 WHERE tenant_id = $1 AND session_id = $2 AND payment_id IS NULL"
        " AND invoice_id IS NULL",
        tenant_id,
        session_id,
        payment_id,
    )


async def of_payment(db: Db, tenant_id: TenantId, payment_id: int) -> Decimal | None:
    """The fees that a payment pays, with tax; None where there are none."""
    found: Decimal | None = await db.fetchval(
        "SELECT sum(gross) FROM billable_fee WHERE tenant_id = $1 AND payment_id = $2", tenant_id, payment_id
    )
    return found


async def place_of(db: Db, tenant_id: TenantId, evse_uid: str) -> Any:
    """The location's body and time zone of an EVSE, also of a removed one."""
    return await db.fetchrow(
        "SELECT l.body, l.time_zone FROM evse e JOIN location l ON l.key = e.location_key"
        " WHERE l.tenant_id = $1 AND lower(e.uid) = lower($2) ORDER BY e.removed_at IS NOT NULL, e.key DESC LIMIT 1",
        tenant_id,
        evse_uid,
    )


FEE_SORTS: Final = Sorts("id", fell_due_at=by_time("fell_due_at"), gross=by_number("gross", Decimal))


async def unbilled(
    db: Db, tenant_id: TenantId, kind: str | None, limit: int, after: Position | None
) -> list[UnbilledFee]:
    """Fees that are on no invoice, newest first."""
    where = Where()
    where.add("tenant_id = ? AND invoice_id IS NULL", tenant_id)
    where.add_if("kind = ?", kind)
    order = FEE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id, booking_id, kind, session_id, agreement_id, driver_id, payment_id, currency, net, gross, fell_due_at"
        f" FROM billable_fee WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [UnbilledFee(**row) for row in rows]
