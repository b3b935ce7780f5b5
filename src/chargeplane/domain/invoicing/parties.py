"""Who sends an invoice, who gets it, and how a tenant's invoices are made."""

from __future__ import annotations

import enum
import string
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta, Struct

from chargeplane.domain import vat_numbers

Line = Annotated[str, Meta(min_length=1, max_length=200)]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2.")]
Region = Annotated[
    str, Meta(pattern="^[A-Z0-9]{1,3}$", description="State, where states tax: the second part of ISO 3166-2.")
]
Series = Annotated[str, Meta(pattern="^[A-Z0-9]{1,8}$")]
Language = Annotated[str, Meta(pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$", max_length=12)]


class PostalAddress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where somebody is."""

    lines: Annotated[tuple[Line, ...], Meta(max_length=3)] = ()
    postal_code: Annotated[str, Meta(max_length=20)] | None = None
    city: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    region: Region | None = None
    country: Country


class Issuer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who sends the invoices.

    Args:
        vat_id: VAT number with its country in front; `tax_number` the local one.
        vat_registrations: VAT numbers in other countries.
        registration: in the register of companies.
        iban, bic, account_name: where is paid to.
        electronic_address: (scheme of EAS, address) for networks of e-invoices; the e-mail address where absent.
    """

    name: Line
    address: PostalAddress
    vat_id: Annotated[str, Meta(min_length=4, max_length=20)] | None = None
    tax_number: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    vat_registrations: Annotated[
        tuple[Annotated[str, Meta(min_length=4, max_length=20)], ...], Meta(max_length=40)
    ] = ()
    registration: Line | None = None
    contact: Line | None = None
    email: Annotated[str, Meta(min_length=3, max_length=254)] | None = None
    phone: Annotated[str, Meta(min_length=3, max_length=40)] | None = None
    website: Annotated[str, Meta(min_length=3, max_length=200)] | None = None
    iban: Annotated[str, Meta(pattern="^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$")] | None = None
    bic: Annotated[str, Meta(pattern="^[A-Z0-9]{8}([A-Z0-9]{3})?$")] | None = None
    account_name: Line | None = None
    electronic_address: tuple[Annotated[str, Meta(pattern="^[0-9A-Z]{2,4}$")], Line] | None = None


class Customer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who gets an invoice.

    Args:
        exempt: why no tax is put on it, such as a diplomatic mission; None: it is taxed.
        reference: the buyer's own (BT-10), as a Leitweg-ID.
        electronic_address: (scheme of EAS, address).
    """

    name: Line
    address: PostalAddress | None = None
    vat_id: Annotated[str, Meta(min_length=4, max_length=20)] | None = None
    exempt: Line | None = None
    email: Annotated[str, Meta(min_length=3, max_length=254)] | None = None
    language: Language | None = None
    reference: Line | None = None
    electronic_address: tuple[Annotated[str, Meta(pattern="^[0-9A-Z]{2,4}$")], Line] | None = None


class DunningStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reminder: days after the due date."""

    after_days: Annotated[int, Meta(ge=1, le=365)]


class ReverseCharge(enum.StrEnum):
    """Of which customers in other member states a VAT number counts."""

    VERIFIED = "verified"
    """Of those that the register knows."""
    FORM = "form"
    """Of all that have the form of their country."""


class InvoicingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a tenant's invoices are made.

    Args:
        issuer: None: nothing can be issued.
        series: of invoices, receipts of guests, and credit notes; each has numbers of its own, from 1 in every year.
        number_format: with {series}, {year} and {number}, the latter also as {number:06d}.
        terms_days: where no agreement says otherwise.
        language: where the customer has none.
        time_zone: in which days and years begin (IANA).
        receipts: whether guests' receipts are made by themselves.
        mail: whether what is issued is mailed to customers who have an e-mail address.
        dunning: reminders, each later than the one before.
        reverse_charge: which VAT numbers of other member states make their customer owe the tax.
    """

    issuer: Issuer | None = None
    invoice_series: Series = "INV"
    receipt_series: Series = "R"
    credit_series: Series = "CN"
    number_format: Annotated[str, Meta(min_length=3, max_length=40)] = "{series}-{year}-{number:06d}"
    terms_days: Annotated[int, Meta(ge=0, le=365)] = 14
    language: Language = "en"
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    receipts: bool = True
    reverse_charge: ReverseCharge = ReverseCharge.VERIFIED
    mail: bool = True
    dunning: Annotated[tuple[DunningStep, ...], Meta(max_length=5)] = (
        DunningStep(after_days=7),
        DunningStep(after_days=21),
    )

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)


_FIELDS: Final = {"series": "INV", "year": 2026, "number": 1}


def numbered(settings: InvoicingSettings, series: str, year: int, number: int) -> str:
    """An invoice's number as text."""
    return settings.number_format.format(series=series, year=year, number=number)


def check_settings(settings: InvoicingSettings) -> list[tuple[str, str]]:
    """What is wrong: JSON pointers and sentences."""
    faults: list[tuple[str, str]] = []
    try:
        ZoneInfo(settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        faults.append(("/time_zone", "There is no such time zone (IANA)"))
    names: list[str] = []
    try:
        parts = list(string.Formatter().parse(settings.number_format))
        names = [name for _, name, _, _ in parts if name is not None]
        plain = all(
            (spec or "") in ("", "d") or (spec or "").strip("0").rstrip("d").isdecimal() for _, _, spec, _ in parts
        )
        if set(names) != set(_FIELDS) or len(names) != 3 or not plain:
            raise ValueError
        text = settings.number_format.format_map(_FIELDS)
        if len(text) > 60:
            raise ValueError
    except (ValueError, KeyError, IndexError):
        faults.append(
            ("/number_format", "Must have {series}, {year} and {number} once each, as {series}-{year}-{number:06d}")
        )
    if len({settings.invoice_series, settings.receipt_series, settings.credit_series}) != 3:
        faults.append(("/credit_series", "The three series must differ"))
    days = [step.after_days for step in settings.dunning]
    if days != sorted(set(days)):
        faults.append(("/dunning", "Each step must be later than the one before"))
    if settings.issuer is not None:
        faults += _check_vat("/issuer/vat_id", settings.issuer.vat_id)
        for number, other in enumerate(settings.issuer.vat_registrations):
            faults += _check_vat(f"/issuer/vat_registrations/{number}", other)
        if settings.issuer.iban is not None and not iban_is_valid(settings.issuer.iban):
            faults.append(("/issuer/iban", "Is no IBAN: its check digits are wrong"))
        if settings.issuer.vat_id is None and settings.issuer.tax_number is None:
            faults.append(("/issuer/vat_id", "An issuer has a VAT number or a tax number"))
    return faults


def check_customer(customer: Customer) -> list[tuple[str, str]]:
    """What is wrong: JSON pointers and sentences."""
    return _check_vat("/vat_id", customer.vat_id)


def _check_vat(pointer: str, vat_id: str | None) -> list[tuple[str, str]]:
    if vat_id is None or vat_numbers.can_be(vat_id):
        return []
    return [(pointer, "Is no VAT number: it has not the form of its country")]


def iban_is_valid(iban: str) -> bool:
    """Whether an IBAN's check digits are right (ISO 13616, mod 97)."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(char, 36)) for char in turned)) % 97 == 1
