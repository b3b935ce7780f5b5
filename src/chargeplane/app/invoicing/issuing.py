"""Issuing, paying, crediting: each inside the caller's transaction, with its ledger entry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.ledger import post
from chargeplane.domain.invoicing.booking import by_hand_entry, invoice_entry, moved_entry, write_off_entry
from chargeplane.domain.invoicing.model import InvoiceContent, InvoiceKind, Sums, TaxSum, part_of
from chargeplane.domain.invoicing.parties import InvoicingSettings, numbered
from chargeplane.domain.invoicing.states import InvoiceState, Standing, state_of
from chargeplane.domain.invoicing.taxes import LineTax
from chargeplane.domain.ledger import PayerKind
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.queries import billing
from chargeplane.store.queries import invoices as queries
from chargeplane.store.queries.invoices import Invoice, NewInvoice
from chargeplane.store.queries.paging import Db

Found = tuple[Invoice, InvoiceContent]


class InvoiceFact(Struct, frozen=True, kw_only=True):
    """What a fact about an invoice says."""

    invoice_id: str
    number: str | None
    kind: InvoiceKind
    state: InvoiceState
    currency: str
    gross: str
    open: str
    agreement_id: str | None
    driver_id: str | None
    payment_id: str | None


async def locked(db: Db, tenant_id: TenantId, ident: int) -> Found:
    """An invoice, locked until the transaction ends.

    Raises:
        NotFoundError: the tenant has none such.
    """
    found = await queries.one(db, tenant_id, ident, lock=True)
    if found is None:
        raise NotFoundError("invoice", str(ident))
    return found


async def tell(db: Db, tenant_id: TenantId, what: str, ident: int) -> None:
    """Writes the fact that something became of an invoice."""
    found = await queries.one(db, tenant_id, ident)
    assert found is not None
    invoice = found[0]

    def text(value: int | None) -> str | None:
        return None if value is None else str(value)

    fact = InvoiceFact(
        invoice_id=str(ident),
        number=invoice.number,
        kind=invoice.kind,
        state=invoice.state,
        currency=invoice.currency,
        gross=f"{invoice.gross:f}",
        open=f"{invoice.standing.open:f}",
        agreement_id=text(invoice.agreement_id),
        driver_id=text(invoice.driver_id),
        payment_id=text(invoice.payment_id),
    )
    await queries.tell(db, tenant_id, f"invoice.{what}", ident, fact)


async def issue(db: Db, tenant_id: TenantId, ident: int, settings: InvoicingSettings, now: datetime) -> None:
    """Gives a draft its number and books it. What was paid before is applied.

    Raises:
        NotFoundError: the tenant has none such.
        ConflictError: it is issued already, or there is no issuer.
    """
    invoice, content = await locked(db, tenant_id, ident)
    if invoice.state is not InvoiceState.DRAFT:
        raise ConflictError(f"Invoice {invoice.number} is issued already; it may be paid, sent or credited.")
    today = now.astimezone(settings.zone).date()
    due_on = today + timedelta(days=content.terms_days)
    series = {
        InvoiceKind.INVOICE: settings.invoice_series,
        InvoiceKind.RECEIPT: settings.receipt_series,
        InvoiceKind.CREDIT_NOTE: settings.credit_series,
    }[content.kind]
    # The last thing that others may wait for: the number's row is locked from here to the commit.
    running = await queries.next_number(db, tenant_id, series, today.year)
    number = numbered(settings, series, today.year, running)
    await queries.issue(
        db,
        ident,
        series=series,
        year=today.year,
        running=running,
        number=number,
        state=state_of(Standing(gross=invoice.gross), due_on, today),
        issued_on=today,
        due_on=due_on,
        at=now,
    )
    entry = invoice_entry(ident, number, content, invoice.payer_kind, invoice.payer_id, now, today)
    await post(db, tenant_id, entry)
    await tell(db, tenant_id, "issued", ident)


async def apply_payment(
    db: Db, tenant_id: TenantId, payment_id: int, settings: InvoicingSettings, now: datetime
) -> None:
    """Puts what a provider took or gave back on the invoices and credit notes of the payment's sessions; again as often as something is new."""
    seen = await billing.payment(db, tenant_id, payment_id)
    if seen is None:
        return
    captured, refunded = seen.booked_captured, seen.booked_refunded
    for ident in await billing.invoices_of_payment(db, tenant_id, payment_id):
        invoice, _ = await locked(db, tenant_id, ident)
        credit = invoice.kind is InvoiceKind.CREDIT_NOTE
        left = (seen.refunded - refunded) if credit else (seen.captured - captured)
        amount = min(left, invoice.standing.open)
        if amount <= 0 or invoice.currency != seen.currency:
            continue
        if credit:
            refunded += amount
        else:
            captured += amount
        total = refunded if credit else captured
        key = f"payment:{payment_id}:{'refund' if credit else 'capture'}:{total.normalize():f}"
        await _pay(
            db,
            tenant_id,
            invoice,
            settings,
            key=key,
            amount=amount,
            method=seen.provider,
            reference=str(payment_id),
            paid_at=now,
            by="payments",
            now=now,
        )
        guest, payer = (PayerKind.GUEST, str(payment_id)), (invoice.payer_kind, invoice.payer_id)
        if payer != guest:
            money = Money(amount=-amount if credit else amount, currency=invoice.currency)
            await post(db, tenant_id, moved_entry(f"invoice-{key}", payment_id, money, guest, payer, now))
    await billing.put_booked(db, payment_id, captured, refunded)


async def pay_by_hand(
    db: Db,
    tenant_id: TenantId,
    ident: int,
    settings: InvoicingSettings,
    *,
    key: str,
    amount: Decimal,
    method: str,
    reference: str | None,
    paid_at: datetime,
    by: str,
    now: datetime,
) -> None:
    """Notes what somebody paid, in full, in part, or too much; of a credit note: what was paid back.

    Raises:
        ConflictError: the invoice is a draft.
        InvalidInputError: the amount is none.
    """
    invoice, _ = await locked(db, tenant_id, ident)
    if invoice.number is None:
        raise ConflictError("The invoice is a draft: issue it first.")
    money = Money(amount=amount, currency=invoice.currency)
    if not amount.is_finite() or amount <= 0 or amount > 10**9 or money.rounded().amount != amount:
        sentence = "Must be more than 0, in whole minor units of the currency"
        raise InvalidInputError(f"'amount': {sentence}.", (("/amount/amount", sentence),))
    made = await _pay(
        db,
        tenant_id,
        invoice,
        settings,
        key=key,
        amount=amount,
        method=method,
        reference=reference,
        paid_at=paid_at,
        by=by,
        now=now,
    )
    if made is None:
        return
    signed = Money(amount=-amount if invoice.kind is InvoiceKind.CREDIT_NOTE else amount, currency=invoice.currency)
    entry = by_hand_entry(key, made, invoice.number, signed, invoice.payer_kind, invoice.payer_id, paid_at)
    await post(db, tenant_id, entry)


async def _pay(
    db: Db,
    tenant_id: TenantId,
    invoice: Invoice,
    settings: InvoicingSettings,
    *,
    key: str,
    amount: Decimal,
    method: str,
    reference: str | None,
    paid_at: datetime,
    by: str,
    now: datetime,
) -> int | None:
    applied = min(amount, invoice.standing.open)
    made = await queries.insert_payment(
        db,
        tenant_id,
        key=key,
        invoice_id=invoice.id,
        amount=amount,
        surplus=amount - applied,
        method=method,
        reference=reference,
        paid_at=paid_at,
        by=by,
    )
    if made is not None:
        await _stand(
            db, tenant_id, invoice, replace(invoice.standing, paid=invoice.paid + applied), settings, now, "paid"
        )
    return made


async def _stand(
    db: Db,
    tenant_id: TenantId,
    invoice: Invoice,
    standing: Standing,
    settings: InvoicingSettings,
    now: datetime,
    what: str,
) -> None:
    assert invoice.due_on is not None
    state = state_of(standing, invoice.due_on, now.astimezone(settings.zone).date())
    await queries.put_standing(db, invoice.id, standing, state)
    if standing.open == 0 and invoice.standing.open > 0:
        await tell(db, tenant_id, what, invoice.id)


async def credit(
    db: Db,
    tenant_id: TenantId,
    ident: int,
    settings: InvoicingSettings,
    *,
    reason: str,
    lines: Sequence[int] | None,
    now: datetime,
) -> int:
    """Takes an invoice back, whole or by lines, with a credit note that is issued at once; its id.

    What is still owed is set off; what was paid already is owed back, on the credit note.

    Raises:
        ConflictError: it is a draft or a credit note, or the lines are credited already.
        InvalidInputError: there are no such lines.
    """
    invoice, content = await locked(db, tenant_id, ident)
    if invoice.number is None:
        raise ConflictError("The invoice is a draft: delete it instead.")
    if invoice.kind is InvoiceKind.CREDIT_NOTE:
        raise ConflictError("A credit note is not credited; issue what is owed with the next invoice.")
    before = await queries.credited_lines(db, tenant_id, ident)
    gone = {_origin(line.item) for note in before for line in note.lines}
    wanted = [line.number for line in content.lines if line.number not in gone] if lines is None else sorted(set(lines))
    unknown = [number for number in wanted if number not in {line.number for line in content.lines}]
    if unknown:
        sentence = f"The invoice has no line {unknown[0]}"
        raise InvalidInputError(f"'lines': {sentence}.", (("/lines", sentence),))
    twice = [number for number in wanted if number in gone]
    if twice or not wanted:
        which = f"Line {twice[0]}" if twice else "The whole invoice"
        raise ConflictError(f"{which} is credited already.")
    sums = part_of(content, wanted)
    # Whatever rounding did to the parts, all credit notes together make exactly the invoice.
    if len(gone) + len(wanted) == len(content.lines) and before:
        sums = _rest(content, before, sums)
    note = replace(
        content,
        kind=InvoiceKind.CREDIT_NOTE,
        lines=tuple(
            replace(line, number=n + 1, item=f"line:{number}")
            for n, (line, number) in enumerate(zip(sums.lines, wanted, strict=True))
        ),
        taxes=sums.taxes,
        net=sums.net,
        tax=sums.tax,
        gross=sums.gross,
        terms_days=0,
        credited_number=invoice.number,
        credited_on=invoice.issued_on,
        reason=reason,
    )
    made = await queries.insert(
        db,
        tenant_id,
        NewInvoice(
            key=f"credit:{ident}:{len(before) + 1}",
            content=note,
            payer_kind=invoice.payer_kind,
            payer_id=invoice.payer_id,
            agreement_id=invoice.agreement_id,
            driver_id=invoice.driver_id,
            payment_id=invoice.payment_id,
            credits=ident,
        ),
    )
    await issue(db, tenant_id, made, settings, now)
    set_off = min(invoice.standing.open, note.gross)
    standing = replace(invoice.standing, credited=invoice.credited + note.gross)
    if set_off < note.gross:
        # What was paid is owed back by the credit note; the invoice itself is even.
        standing = replace(standing, paid=invoice.paid - (note.gross - set_off))
    await _stand(db, tenant_id, invoice, standing, settings, now, "credited")
    if set_off == invoice.standing.open == 0:
        await tell(db, tenant_id, "credited", ident)
    if set_off > 0:
        other, _ = await locked(db, tenant_id, made)
        await _stand(db, tenant_id, other, replace(other.standing, paid=set_off), settings, now, "paid")
    return made


def _origin(item: str | None) -> int:
    return int((item or "line:0").partition(":")[2])


def _rest(content: InvoiceContent, before: Sequence[InvoiceContent], sums: Sums) -> Sums:
    taxes = tuple(
        replace(
            one,
            base=_base(content.taxes, one.tax) - sum((_base(note.taxes, one.tax) for note in before), Decimal(0)),
            amount=_amount(content.taxes, one.tax) - sum((_amount(note.taxes, one.tax) for note in before), Decimal(0)),
        )
        for one in sums.taxes
    )
    lines = sums.lines
    for one in taxes:  # the lines of a rate make its base
        mine = [line for line in lines if line.tax == one.tax]
        off = one.base - sum((line.net for line in mine), Decimal(0))
        if off and mine:
            lines = tuple(replace(line, net=line.net + off) if line is mine[-1] else line for line in lines)
    net = sum((one.base for one in taxes), Decimal(0))
    tax = sum((one.amount for one in taxes), Decimal(0))
    return Sums(lines=lines, taxes=taxes, net=net, tax=tax, gross=net + tax)


def _base(taxes: Sequence[TaxSum], tax: LineTax) -> Decimal:
    return next((one.base for one in taxes if one.tax == tax), Decimal(0))


def _amount(taxes: Sequence[TaxSum], tax: LineTax) -> Decimal:
    return next((one.amount for one in taxes if one.tax == tax), Decimal(0))


async def write_off(db: Db, tenant_id: TenantId, ident: int, settings: InvoicingSettings, now: datetime) -> Decimal:
    """Gives up what is still owed; the amount.

    Raises:
        ConflictError: nothing is owed.
    """
    invoice, _ = await locked(db, tenant_id, ident)
    left = invoice.standing.open
    if invoice.number is None or invoice.kind is InvoiceKind.CREDIT_NOTE or left <= 0:
        raise ConflictError("Only what is owed on an issued invoice can be written off.")
    await post(
        db,
        tenant_id,
        write_off_entry(
            ident,
            invoice.number,
            Money(amount=left, currency=invoice.currency),
            invoice.payer_kind,
            invoice.payer_id,
            now,
        ),
    )
    standing = replace(invoice.standing, written_off=invoice.written_off + left)
    await _stand(db, tenant_id, invoice, standing, settings, now, "written_off")
    return left
