"""What both syntaxes of EN 16931 share: codes, texts, the parties' electronic addresses, whether an invoice can be one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.invoicing.model import InvoiceContent, InvoiceKind, Line, TaxSum
from chargeplane.domain.invoicing.parties import Customer, Issuer, PostalAddress
from chargeplane.domain.invoicing.taxes import TaxCategory, profiles
from chargeplane.domain.languages import say
from chargeplane.kernel.errors import ConflictError
from chargeplane.store.queries.invoices import Invoice

GUIDELINE: Final = "urn:cen.eu:en16931:2017"
"""BT-24: the core invoice, without a profile's extensions."""

CREDIT_TRANSFER: Final = "58"
"""UNTDID 4461: SEPA credit transfer; 30 outside of SEPA."""

EXEMPTION_CODES: Final = {
    TaxCategory.REVERSE_CHARGE: "VATEX-EU-AE",
    TaxCategory.NOT_SUBJECT: "VATEX-EU-O",
}
"""Codes of the CEF's list of exemption reasons."""


class Facts(Struct, frozen=True, kw_only=True):
    """An issued invoice as the standard wants it.

    Args:
        type_code: UNTDID 1001: 380 invoice, 381 credit note.
        due: what is to be paid; `prepaid` the rest.
    """

    number: str
    type_code: str
    issued_on: date
    due_on: date
    content: InvoiceContent
    prepaid: Decimal
    due: Decimal
    buyer_country: str


def facts_of(invoice: Invoice, content: InvoiceContent) -> Facts:
    """The invoice for the standard.

    Raises:
        ConflictError: its taxes are no value-added taxes, or lines without VAT stand beside others.
    """
    assert invoice.number is not None
    assert invoice.issued_on is not None
    assert invoice.due_on is not None
    home = content.issuer.address.country
    profile = profiles().get(home)
    if profile is not None and not profile.vat:
        raise ConflictError(f"EN 16931 knows value-added taxes alone; {profile.name} has a {profile.tax}.")
    categories = {one.tax.category for one in content.taxes}
    if TaxCategory.NOT_SUBJECT in categories and len(categories) > 1:
        raise ConflictError("EN 16931 has no invoice with lines outside the scope of VAT beside others (BR-O-11).")
    # A guest has paid when the receipt is made.
    prepaid = content.gross if content.kind is InvoiceKind.RECEIPT else Decimal(0)
    return Facts(
        number=invoice.number,
        type_code="381" if content.kind is InvoiceKind.CREDIT_NOTE else "380",
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        content=content,
        prepaid=prepaid,
        due=content.gross - prepaid,
        buyer_country=content.customer.address.country if content.customer.address is not None else home,
    )


def merged(taxes: tuple[TaxSum, ...]) -> list[tuple[TaxCategory, Decimal, Decimal, Decimal, str | None]]:
    """(category, percent, base, amount, reason): one for each category and rate, whatever the place (BG-23)."""
    sums: dict[tuple[TaxCategory, Decimal], tuple[Decimal, Decimal, str | None]] = {}
    for one in taxes:
        key = (one.tax.category, one.tax.percent)
        base, amount, reason = sums.get(key, (Decimal(0), Decimal(0), None))
        sums[key] = (base + one.base, amount + one.amount, reason or one.tax.reason)
    return [(category, percent, *rest) for (category, percent), rest in sums.items()]


def exemption(category: TaxCategory, reason: str | None, language: str) -> str | None:
    """Why a category has no tax, in words (BT-120)."""
    if category is TaxCategory.REVERSE_CHARGE:
        return say("invoice.reverse_charge", language)
    if category is TaxCategory.NOT_SUBJECT:
        return say("invoice.outside_scope", language)
    if category is TaxCategory.EXEMPT:
        return reason or say("invoice.exempt", language)
    return None


def amount(value: Decimal) -> str:
    """An amount; never `-0.00`."""
    return f"{value if value else abs(value):f}"


def percent(value: Decimal) -> str:
    """A rate."""
    return f"{value:f}"


def priced(line: Line) -> tuple[Decimal, Decimal]:
    """(quantity, price) that make the line's net; a price is never below nothing (BR-27)."""
    quantity = line.quantity
    if quantity and (line.net / quantity) * quantity == line.net:
        price = line.net / quantity
        if price >= 0 and -int(price.as_tuple().exponent) <= 6:
            return quantity, price
    return Decimal(-1 if line.net < 0 else 1), abs(line.net)


def details(line: Line) -> list[tuple[str, str]]:
    """What a machine reads of a session (BG-32): name and value."""
    evidence = line.evidence
    if line.booking is not None:
        return [("Booking", line.booking.booking_id), ("EVSE", line.booking.evse)]
    if evidence is None:
        return []
    found = [
        ("Energy kWh", f"{evidence.energy_kwh:f}"),
        ("EVSE", evidence.evse),
        ("Charge detail record", evidence.cdr_id),
    ]
    if evidence.proof is not None:
        found.append(("Signed meter values", evidence.proof.value))
    return found


def explanation(line: Line) -> str:
    """How a line was rated, in words; empty where it was not."""
    said = line.evidence or line.booking
    return "" if said is None else "; ".join(said.explanation)[:2000]


def address_lines(address: PostalAddress | None) -> list[str]:
    """At most three lines."""
    return [] if address is None else list(address.lines[:3])


def endpoint(party: Issuer | Customer) -> tuple[str, str] | None:
    """(scheme, address) for networks of e-invoices."""
    if party.electronic_address is not None:
        return party.electronic_address
    return None if party.email is None else ("EM", party.email)
