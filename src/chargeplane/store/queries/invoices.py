"""Invoices, what was paid on them, their settings and customers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.invoicing.model import InvoiceContent, InvoiceKind, content_of, content_text
from chargeplane.domain.invoicing.parties import Customer, InvoicingSettings
from chargeplane.domain.invoicing.states import InvoiceState, Standing
from chargeplane.domain.ledger import PayerKind
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_day, by_number, by_text, like

_settings = msgspec.json.Decoder(InvoicingSettings).decode
_customer = msgspec.json.Decoder(Customer).decode


class Invoice(Struct, frozen=True, kw_only=True):
    """An invoice without what it says."""

    id: int
    key: str
    kind: InvoiceKind
    state: InvoiceState
    number: str | None
    run_id: int | None
    agreement_id: int | None
    driver_id: int | None
    payment_id: int | None
    payer_kind: PayerKind
    payer_id: str
    customer: str
    currency: str
    net: Decimal
    tax: Decimal
    gross: Decimal
    paid: Decimal
    credited: Decimal
    written_off: Decimal
    credits: int | None
    reason: str | None
    issued_on: date | None
    due_on: date | None
    dunning_level: int
    dunned_at: datetime | None
    sent_at: datetime | None
    revision: int
    created_at: datetime
    issued_at: datetime | None

    @property
    def standing(self) -> Standing:
        """What became of it."""
        return Standing(gross=self.gross, paid=self.paid, credited=self.credited, written_off=self.written_off)


class NewInvoice(Struct, frozen=True, kw_only=True):
    """A draft to be written."""

    key: str
    content: InvoiceContent
    payer_kind: PayerKind
    payer_id: str
    run_id: int | None = None
    agreement_id: int | None = None
    driver_id: int | None = None
    payment_id: int | None = None
    credits: int | None = None


class InvoiceFilter(Struct, frozen=True, kw_only=True):
    """Which invoices; `since` and `until` are days of issue, the latter not included."""

    state: str | None = None
    kind: str | None = None
    agreement_id: int | None = None
    driver_id: int | None = None
    payment_id: int | None = None
    run_id: int | None = None
    credits: int | None = None
    q: str | None = None
    since: date | None = None
    until: date | None = None


class PaymentOnInvoice(Struct, frozen=True, kw_only=True):
    """What was paid on an invoice; `surplus` is more than was owed."""

    id: int
    key: str
    amount: Decimal
    surplus: Decimal
    method: str
    reference: str | None
    paid_at: datetime
    created_by: str


_COLUMNS = (
    "id, key, kind, state, number, run_id, agreement_id, driver_id, payment_id, payer_kind, payer_id, customer, currency, net, tax,"
    " gross, paid, credited, written_off, credits, reason, issued_on, due_on, dunning_level, dunned_at, sent_at, revision,"
    " created_at, issued_at"
)


def _invoice(row: Any) -> Invoice:
    said = dict(row)
    said.pop("body", None)
    said["kind"] = InvoiceKind(said["kind"])
    said["state"] = InvoiceState(said["state"])
    said["payer_kind"] = PayerKind(said["payer_kind"])
    return Invoice(**said)


async def settings(db: Db, tenant_id: TenantId) -> tuple[InvoicingSettings, int]:
    """The tenant's settings and their revision; the defaults with 0 where nothing was set."""
    row = await db.fetchrow("SELECT body, revision FROM invoicing_settings WHERE tenant_id = $1", tenant_id)
    return (InvoicingSettings(), 0) if row is None else (_settings(row["body"]), row["revision"])


async def put_settings(db: Db, tenant_id: TenantId, said: InvoicingSettings) -> None:
    """Replaces the tenant's settings."""
    await db.execute(
        "INSERT INTO invoicing_settings (tenant_id, body) VALUES ($1, $2) ON CONFLICT (tenant_id) DO UPDATE"
        " SET body = excluded.body, revision = invoicing_settings.revision + 1, updated_at = now()",
        tenant_id,
        msgspec.json.encode(said).decode(),
    )


async def customer(db: Db, tenant_id: TenantId, kind: PayerKind, ident: str) -> Customer | None:
    """Who a payer is, as was put for the invoices."""
    body = await db.fetchval(
        "SELECT body FROM invoice_customer WHERE tenant_id = $1 AND kind = $2 AND id = $3", tenant_id, kind.value, ident
    )
    return None if body is None else _customer(body)


async def put_customer(db: Db, tenant_id: TenantId, kind: PayerKind, ident: str, said: Customer) -> None:
    """Puts who a payer is."""
    await db.execute(
        "INSERT INTO invoice_customer (tenant_id, kind, id, body) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (tenant_id, kind, id) DO UPDATE SET body = excluded.body, revision = invoice_customer.revision + 1,"
        " updated_at = now()",
        tenant_id,
        kind.value,
        ident,
        msgspec.json.encode(said).decode(),
    )


async def serialise(db: Db, tenant_id: TenantId, subject: str) -> None:
    """Lets one at a time bill a subject, until the transaction ends."""
    await db.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, $2))", f"billing {tenant_id} {subject}", 0)


async def count_of(db: Db, tenant_id: TenantId, prefix: str) -> int:
    """How many invoices have keys that begin with one."""
    found: int = await db.fetchval(
        "SELECT count(*) FROM invoice WHERE tenant_id = $1 AND starts_with(key, $2)", tenant_id, prefix
    )
    return found


async def insert(db: Db, tenant_id: TenantId, new: NewInvoice) -> int:
    """Writes a draft."""
    content = new.content
    found: int = await db.fetchval(
        "INSERT INTO invoice (tenant_id, key, kind, state, run_id, agreement_id, driver_id, payment_id, payer_kind, payer_id,"
        " customer, currency, net, tax, gross, credits, reason, body)"
        " VALUES ($1, $2, $3, 'draft', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) RETURNING id",
        tenant_id,
        new.key,
        content.kind.value,
        new.run_id,
        new.agreement_id,
        new.driver_id,
        new.payment_id,
        new.payer_kind.value,
        new.payer_id,
        content.customer.name,
        content.currency,
        content.net,
        content.tax,
        content.gross,
        new.credits,
        content.reason,
        content_text(content),
    )
    return found


async def next_number(db: Db, tenant_id: TenantId, series: str, year: int) -> int:
    """The next number of a series; its row is locked until the transaction ends, so that a rollback gives the number back."""
    found: int = await db.fetchval(
        "INSERT INTO invoice_series (tenant_id, series, year, last) VALUES ($1, $2, $3, 1)"
        " ON CONFLICT (tenant_id, series, year) DO UPDATE SET last = invoice_series.last + 1 RETURNING last",
        tenant_id,
        series,
        year,
    )
    return found


async def issue(
    db: Db,
    ident: int,
    *,
    series: str,
    year: int,
    running: int,
    number: str,
    state: InvoiceState,
    issued_on: date,
    due_on: date,
    at: datetime,
) -> None:
    """Makes a draft an invoice."""
    await db.execute(
        "UPDATE invoice SET series = $2, year = $3, running = $4, number = $5, state = $6, issued_on = $7, due_on = $8,"
        " issued_at = $9, revision = revision + 1 WHERE id = $1",
        ident,
        series,
        year,
        running,
        number,
        state.value,
        issued_on,
        due_on,
        at,
    )


async def put_standing(db: Db, ident: int, standing: Standing, state: InvoiceState) -> None:
    """Writes what became of an invoice."""
    await db.execute(
        "UPDATE invoice SET paid = $2, credited = $3, written_off = $4, state = $5, revision = revision + 1 WHERE id = $1",
        ident,
        standing.paid,
        standing.credited,
        standing.written_off,
        state.value,
    )


async def delete_draft(db: Db, ident: int) -> None:
    """Deletes a draft; what it billed is to be billed again."""
    await db.execute("UPDATE billable_cdr SET invoice_id = NULL WHERE invoice_id = $1", ident)
    await db.execute("UPDATE billable_fee SET invoice_id = NULL WHERE invoice_id = $1", ident)
    await db.execute("UPDATE billing_run_item SET invoice_id = NULL WHERE invoice_id = $1", ident)
    await db.execute("DELETE FROM invoice WHERE id = $1", ident)


INVOICE_SORTS: Final = Sorts(
    "id",
    number=by_text("number", missing=True),
    gross=by_number("gross", Decimal),
    issued_on=by_day("issued_on", missing=True),
    due_on=by_day("due_on", missing=True),
)


async def page(
    db: Db,
    tenant_id: TenantId,
    wanted: InvoiceFilter,
    limit: int,
    after: Position | None,
) -> list[Invoice]:
    """Invoices, newest first."""
    where = _where(tenant_id, wanted)
    order = INVOICE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM invoice WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_invoice(row) for row in rows]


async def with_contents(
    db: Db, tenant_id: TenantId, wanted: InvoiceFilter, limit: int, after: Position | None
) -> list[tuple[Invoice, InvoiceContent]]:
    """Invoices with what they say, oldest first."""
    where = _where(tenant_id, wanted)
    where.add("number IS NOT NULL")
    if after:
        where.add("id > ?", after[0])
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS}, body FROM invoice WHERE {where} ORDER BY id LIMIT ${len(where.values)}", *where.values
    )
    return [(_invoice(row), content_of(row["body"])) for row in rows]


def _where(tenant_id: TenantId, wanted: InvoiceFilter) -> Where:
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("state = ?", wanted.state)
    where.add_if("kind = ?", wanted.kind)
    where.add_if("agreement_id = ?", wanted.agreement_id)
    where.add_if("driver_id = ?", wanted.driver_id)
    where.add_if("payment_id = ?", wanted.payment_id)
    where.add_if("run_id = ?", wanted.run_id)
    where.add_if("credits = ?", wanted.credits)
    where.add_if("issued_on >= ?", wanted.since)
    where.add_if("issued_on < ?", wanted.until)
    if wanted.q is not None:
        where.add("lower(coalesce(number, '') || chr(10) || customer) LIKE ?", like(wanted.q))
    return where


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> tuple[Invoice, InvoiceContent] | None:
    """An invoice with what it says."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS}, body FROM invoice WHERE tenant_id = $1 AND id = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else (_invoice(row), content_of(row["body"]))


async def credited_lines(db: Db, tenant_id: TenantId, ident: int) -> list[InvoiceContent]:
    """What the credit notes of an invoice say."""
    rows = await db.fetch(
        "SELECT body FROM invoice WHERE tenant_id = $1 AND credits = $2 AND number IS NOT NULL ORDER BY id",
        tenant_id,
        ident,
    )
    return [content_of(row["body"]) for row in rows]


async def insert_payment(
    db: Db,
    tenant_id: TenantId,
    *,
    key: str,
    invoice_id: int,
    amount: Decimal,
    surplus: Decimal,
    method: str,
    reference: str | None,
    paid_at: datetime,
    by: str,
) -> int | None:
    """Writes what was paid; None where the key is known."""
    found: int | None = await db.fetchval(
        "INSERT INTO invoice_payment (tenant_id, key, invoice_id, amount, surplus, method, reference, paid_at, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, key) DO NOTHING RETURNING id",
        tenant_id,
        key,
        invoice_id,
        amount,
        surplus,
        method,
        reference,
        paid_at,
        by,
    )
    return found


async def payments(db: Db, tenant_id: TenantId, ident: int) -> list[PaymentOnInvoice]:
    """What was paid on an invoice, oldest first."""
    rows = await db.fetch(
        "SELECT id, key, amount, surplus, method, reference, paid_at, created_by FROM invoice_payment"
        " WHERE tenant_id = $1 AND invoice_id = $2 ORDER BY id",
        tenant_id,
        ident,
    )
    return [PaymentOnInvoice(**row) for row in rows]


async def to_remind(db: Db, today: date, most: int) -> list[tuple[TenantId, int]]:
    """Invoices that are due and not paid, of all tenants, the longest overdue first."""
    rows = await db.fetch(
        "SELECT tenant_id, id FROM invoice WHERE state IN ('issued', 'overdue') AND due_on < $1 AND dunning_level < 5"
        " AND kind <> 'credit_note' AND (dunned_at IS NULL OR dunned_at < now() - interval '12 hours')"
        " ORDER BY due_on, id LIMIT $2",
        today,
        most,
    )
    return [(TenantId(row["tenant_id"]), row["id"]) for row in rows]


async def put_dunning(db: Db, ident: int, level: int, state: InvoiceState, at: datetime) -> None:
    """Writes a reminder."""
    await db.execute(
        "UPDATE invoice SET dunning_level = $2, state = $3, dunned_at = $4, revision = revision + 1 WHERE id = $1",
        ident,
        level,
        state.value,
        at,
    )


async def receipt_of_payment(db: Db, tenant_id: TenantId, payment_id: int) -> int | None:
    """The newest receipt of a guest's payment that was issued."""
    found: int | None = await db.fetchval(
        "SELECT id FROM invoice WHERE tenant_id = $1 AND payment_id = $2 AND kind = 'receipt' AND number IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        tenant_id,
        payment_id,
    )
    return found


async def put_sent(db: Db, ident: int, at: datetime) -> None:
    """Writes that it was sent."""
    await db.execute("UPDATE invoice SET sent_at = $2, revision = revision + 1 WHERE id = $1", ident, at)


async def tell(db: Db, tenant_id: TenantId, topic: str, ident: int, payload: Any) -> None:
    """Writes a fact about an invoice."""
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        tenant_id,
        topic,
        f"invoice:{ident}",
        msgspec.json.encode(payload).decode(),
    )


async def numbers(db: Db, tenant_id: TenantId, series: str, year: int) -> Sequence[int]:
    """The numbers given in a series and year, in order."""
    rows = await db.fetch(
        "SELECT running FROM invoice WHERE tenant_id = $1 AND series = $2 AND year = $3 ORDER BY running",
        tenant_id,
        series,
        year,
    )
    return [row["running"] for row in rows]
