"""What the ledger has of invoices and payments."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Final

from chargeplane.domain.invoicing.model import InvoiceContent, InvoiceKind
from chargeplane.domain.ledger import (
    Account,
    Entry,
    EntryKind,
    PayerKind,
    Posting,
    bank,
    clearing,
    disputed,
    fees,
    receivable,
    revenue,
    tax,
    write_off,
)
from chargeplane.domain.payments.states import Dispute
from chargeplane.kernel.money import Money


def _posting(account: Account, amount: Decimal, currency: str) -> Posting:
    return Posting(account=account, amount=Money(amount=amount, currency=currency))


def invoice_entry(
    ident: int, number: str, content: InvoiceContent, payer: PayerKind, payer_id: str, at: datetime, on: date
) -> Entry:
    """An invoice: its payer owes it; net earned, tax owed on. A credit note the other way round."""
    sign = -1 if content.kind is InvoiceKind.CREDIT_NOTE else 1
    currency = content.currency
    postings = [_posting(receivable(payer, payer_id), sign * content.gross, currency)]
    for line in content.lines:
        account = revenue(line.kind.value, line.tax.place, line.tax.category.value, line.tax.percent)
        postings.append(_posting(account, -sign * line.net, currency))
    postings += [_posting(tax(one.tax.place, one.tax.percent), -sign * one.amount, currency) for one in content.taxes]
    return Entry(
        key=f"invoice:{ident}",
        kind=EntryKind.CREDIT_NOTE if sign < 0 else EntryKind.INVOICE,
        text=number,
        happened_at=at,
        booked_on=on,
        postings=tuple(postings),
        reference_kind="invoice",
        reference=str(ident),
    )


def by_hand_entry(
    key: str, ident: int, number: str, amount: Money, payer: PayerKind, payer_id: str, at: datetime
) -> Entry:
    """What somebody paid outside of a provider; below nothing: paid back."""
    return Entry(
        key=f"invoice-payment:{key}",
        kind=EntryKind.PAYMENT if amount.amount > 0 else EntryKind.REFUND,
        text=number,
        happened_at=at,
        postings=(
            Posting(account=bank(), amount=amount),
            _posting(receivable(payer, payer_id), -amount.amount, amount.currency),
        ),
        reference_kind="invoice-payment",
        reference=str(ident),
    )


def provider_entry(
    payment_id: int, total: Money, change: Decimal, source: Account, payer: Account, at: datetime
) -> Entry:
    """What was taken for us, or given back.

    Args:
        total: taken, or given back, in all by now: part of the key, so that every change is booked once.
        change: since it was booked last; below nothing: given back.
        source: where the money is: at a provider, in a wallet.
        payer: whose account it counts on.
    """
    refund = change < 0
    return Entry(
        key=f"payment:{payment_id}:{'refunded' if refund else 'captured'}:{total.amount.normalize():f}",
        kind=EntryKind.REFUND if refund else EntryKind.PAYMENT,
        text=f"Payment {payment_id}",
        happened_at=at,
        postings=(_posting(source, change, total.currency), _posting(payer, -change, total.currency)),
        reference_kind="payment",
        reference=str(payment_id),
    )


def fee_entry(payment_id: int, provider: str, total: Money, change: Decimal, at: datetime) -> Entry:
    """What a provider keeps of a payment for its work.

    Args:
        total: kept in all by now: part of the key, so that every change is booked once.
        change: since it was booked last.
    """
    return Entry(
        key=f"payment:{payment_id}:fee:{total.amount.normalize():f}",
        kind=EntryKind.FEE,
        text=f"Payment {payment_id}",
        happened_at=at,
        postings=(
            _posting(fees(provider), change, total.currency),
            _posting(clearing(provider), -change, total.currency),
        ),
        reference_kind="payment",
        reference=str(payment_id),
    )


_PLACES: Final = {Dispute.NONE: "clearing", Dispute.WON: "clearing", Dispute.OPEN: "disputed", Dispute.LOST: "lost"}


def dispute_entry(
    payment_id: int, provider: str, amount: Money, before: Dispute, after: Dispute, at: datetime
) -> Entry | None:
    """What a payer's bank took back: open, it is neither ours nor lost; won, the provider has it again; lost, it is given up. None where
    the money stays where it is.

    Args:
        amount: that is disputed.
        before: as it was booked last.
    """

    def account(place: str) -> Account:
        return {"clearing": clearing, "disputed": disputed}[place](provider) if place != "lost" else write_off()

    source, target = _PLACES[before], _PLACES[after]
    if source == target:
        return None
    return Entry(
        key=f"payment:{payment_id}:dispute:{after.value}",
        kind=EntryKind.DISPUTE,
        text=f"Payment {payment_id}",
        happened_at=at,
        postings=(
            Posting(account=account(target), amount=amount),
            _posting(account(source), -amount.amount, amount.currency),
        ),
        reference_kind="payment",
        reference=str(payment_id),
    )


def moved_entry(
    key: str, payment_id: int, amount: Money, source: tuple[PayerKind, str], target: tuple[PayerKind, str], at: datetime
) -> Entry:
    """What was paid before it was known for whom: to the account of who owed it."""
    return Entry(
        key=key,
        kind=EntryKind.ADJUSTMENT,
        text=f"Payment {payment_id}",
        happened_at=at,
        postings=(
            Posting(account=receivable(*source), amount=amount),
            _posting(receivable(*target), -amount.amount, amount.currency),
        ),
        reference_kind="payment",
        reference=str(payment_id),
    )


def write_off_entry(ident: int, number: str, amount: Money, payer: PayerKind, payer_id: str, at: datetime) -> Entry:
    """What is given up of an invoice."""
    return Entry(
        key=f"write-off:{ident}",
        kind=EntryKind.WRITE_OFF,
        text=number,
        happened_at=at,
        postings=(
            Posting(account=write_off(), amount=amount),
            _posting(receivable(payer, payer_id), -amount.amount, amount.currency),
        ),
        reference_kind="write-off",
        reference=str(ident),
    )
