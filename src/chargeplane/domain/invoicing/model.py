"""What an invoice says; frozen when it is issued."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.domain.invoicing.parties import Customer, Issuer
from chargeplane.domain.invoicing.taxes import LineTax, TaxCategory
from chargeplane.domain.vat_numbers import VatCheck
from chargeplane.kernel.money import Money

_ONE: Final = Decimal(1)
_NOTHING: Final = Decimal(0)


class InvoiceKind(enum.StrEnum):
    """What a document is."""

    INVOICE = "invoice"
    RECEIPT = "receipt"
    """An invoice for what a guest paid."""
    CREDIT_NOTE = "credit_note"
    """Takes an invoice back, whole or in part; its amounts are above nothing."""


class LineKind(enum.StrEnum):
    """What a line is for."""

    CHARGING = "charging"
    FEE = "fee"
    MINIMUM = "minimum"
    RESERVATION = "reservation"
    NO_SHOW = "no_show"
    CANCELLATION = "cancellation"
    OTHER = "other"


class Proof(enum.StrEnum):
    """What signed meter values say of the energy."""

    PROVEN = "proven"
    UNPROVEN = "unproven"


class Evidence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a line about charging rests on.

    Args:
        cdr_id: the record with its rating lines, down to the meter values.
        explanation: the rating lines in words.
        register_begin_wh, register_end_wh: of the signed values.
    """

    cdr_id: str
    session_id: str
    started_at: datetime
    ended_at: datetime
    time_zone: str
    place: str
    address: str
    evse: str
    energy_kwh: Decimal
    tariff: str | None = None
    explanation: tuple[str, ...] = ()
    proof: Proof | None = None
    register_begin_wh: Decimal | None = None
    register_end_wh: Decimal | None = None


class BookingEvidence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a line about a booking rests on.

    Args:
        explanation: the rating lines in words.
        session_id: of the session that used it.
    """

    booking_id: str
    starts_at: datetime
    ends_at: datetime
    time_zone: str
    place: str
    evse: str
    session_id: str | None = None
    explanation: tuple[str, ...] = ()


class Charge(Struct, frozen=True, kw_only=True):
    """What is to be on an invoice, before taxes are summed.

    Args:
        amount: before tax, or with it where `included`.
        quantity: how many of `price`; the two make `amount` where it is not of a session.
    """

    kind: LineKind
    text: str
    amount: Decimal
    tax: LineTax
    included: bool = False
    quantity: Decimal = _ONE
    evidence: Evidence | None = None
    since: datetime | None = None
    until: datetime | None = None
    item: str | None = None
    booking: BookingEvidence | None = None


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of an invoice.

    Args:
        net: in minor units, before tax; the lines of a tax rate make its base.
        gross: with tax, where the price is one with tax.
        since, until: of a period, the latter not included.
        item: of the agreement.
    """

    number: int
    kind: LineKind
    text: str
    quantity: Decimal
    net: Decimal
    tax: LineTax
    gross: Decimal | None = None
    evidence: Evidence | None = None
    since: datetime | None = None
    until: datetime | None = None
    item: str | None = None
    booking: BookingEvidence | None = None


class TaxSum(Struct, frozen=True, kw_only=True):
    """What a tax makes of the lines that have it."""

    tax: LineTax
    base: Decimal
    amount: Decimal


class Sums(Struct, frozen=True, kw_only=True):
    """The lines and what they make: `net` + `tax` = `gross`, in minor units."""

    lines: tuple[Line, ...]
    taxes: tuple[TaxSum, ...]
    net: Decimal
    tax: Decimal
    gross: Decimal


class InvoiceContent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An invoice.

    Args:
        terms_days: until it is due.
        language: it is written in.
        since, until: what it bills, the latter not included.
        reference: the customer's own.
        agreement: number of the agreement.
        credited_number, credited_on: of the invoice that a credit note takes back.
        method: how it is paid: `transfer`, `card`, ...
        notes: keys of sentences it must have.
        vat_check: what was known of the customer's VAT number.
    """

    kind: InvoiceKind
    currency: str
    issuer: Issuer
    customer: Customer
    lines: tuple[Line, ...]
    taxes: tuple[TaxSum, ...]
    net: Decimal
    tax: Decimal
    gross: Decimal
    terms_days: int
    language: str
    method: str = "transfer"
    since: date | None = None
    until: date | None = None
    reference: str | None = None
    agreement: str | None = None
    credited_number: str | None = None
    credited_on: date | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()
    vat_check: VatCheck | None = None


_content = msgspec.json.Decoder(InvoiceContent).decode
_encode: Final = msgspec.json.Encoder().encode


def content_text(content: InvoiceContent) -> str:
    """As stored."""
    return _encode(content).decode()


def content_of(text: str) -> InvoiceContent:
    """From the store."""
    return _content(text)


def summed(charges: Sequence[Charge], currency: str) -> Sums:
    """Lines with their sums.

    Prices without tax: the tax of a rate is that of the sum of its lines, rounded once. Prices with tax: the tax is what is in the sum of them,
    so that what was shown is what is asked for; the lines' parts before tax are shared out so that they make its base.
    """
    nets: dict[int, Decimal] = {}
    taxes: dict[LineTax, tuple[Decimal, Decimal]] = {}
    for tax in dict.fromkeys(charge.tax for charge in charges):
        factor = 1 + tax.percent / 100
        base = amount = _NOTHING
        inside = [n for n, one in enumerate(charges) if one.tax == tax and one.included]
        if inside:
            gross = sum((_minor(charges[n].amount, currency) for n in inside), _NOTHING)
            net = _minor(gross / factor, currency)
            shares = Money(amount=net, currency=currency).shared(
                [_minor(charges[n].amount, currency) / factor for n in inside]
            )
            nets.update(zip(inside, shares, strict=True))
            base, amount = base + net, amount + gross - net
        outside = [n for n, one in enumerate(charges) if one.tax == tax and not one.included]
        if outside:
            for n in outside:
                nets[n] = _minor(charges[n].amount, currency)
            net = sum((nets[n] for n in outside), _NOTHING)
            base, amount = base + net, amount + _minor(net * tax.percent / 100, currency)
        taxes[tax] = (base, amount)
    lines = tuple(
        Line(
            number=n + 1,
            kind=one.kind,
            text=one.text,
            quantity=one.quantity,
            net=nets[n],
            tax=one.tax,
            gross=_minor(one.amount, currency) if one.included else None,
            evidence=one.evidence,
            since=one.since,
            until=one.until,
            item=one.item,
            booking=one.booking,
        )
        for n, one in enumerate(charges)
    )
    sums = tuple(TaxSum(tax=tax, base=base, amount=amount) for tax, (base, amount) in taxes.items())
    net = sum((one.base for one in sums), _NOTHING)
    owed = sum((one.amount for one in sums), _NOTHING)
    return Sums(lines=lines, taxes=sums, net=net, tax=owed, gross=net + owed)


def turned(sums: Sums) -> Sums:
    """With the other sign: what is owed back becomes a credit note."""
    return Sums(
        lines=tuple(
            msgspec.structs.replace(one, net=-one.net, gross=None if one.gross is None else -one.gross)
            for one in sums.lines
        ),
        taxes=tuple(TaxSum(tax=one.tax, base=-one.base, amount=-one.amount) for one in sums.taxes),
        net=-sums.net,
        tax=-sums.tax,
        gross=-sums.gross,
    )


def part_of(content: InvoiceContent, numbers: Sequence[int]) -> Sums:
    """The sums of some lines of an invoice, taxed as they were, for a credit note. All lines make exactly the invoice."""
    if set(numbers) == {line.number for line in content.lines}:
        return Sums(lines=content.lines, taxes=content.taxes, net=content.net, tax=content.tax, gross=content.gross)
    chosen = [
        Charge(
            kind=line.kind,
            text=line.text,
            amount=line.net if line.gross is None else line.gross,
            tax=line.tax,
            included=line.gross is not None,
            quantity=line.quantity,
            evidence=line.evidence,
            since=line.since,
            until=line.until,
            item=line.item,
            booking=line.booking,
        )
        for line in content.lines
        if line.number in numbers
    ]
    return summed(chosen, content.currency)


def notes_of(taxes: Sequence[TaxSum]) -> tuple[str, ...]:
    """Keys of the sentences that the taxes need."""
    return tuple(dict.fromkeys(one.tax.note for one in taxes if one.tax.note is not None))


def taxed(category: TaxCategory) -> bool:
    """Whether a category has a rate."""
    return category is TaxCategory.STANDARD


def _minor(amount: Decimal, currency: str) -> Decimal:
    return Money(amount=amount, currency=currency).rounded().amount
