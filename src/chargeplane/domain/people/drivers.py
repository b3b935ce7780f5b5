"""Drivers: what is told of them, and whose id tokens are."""

from __future__ import annotations

import enum
import re
import unicodedata
from typing import Annotated, Final

from msgspec import Meta, Struct

from chargeplane.domain import vat_numbers
from chargeplane.domain.locations.countries import ALPHA3

Line = Annotated[str, Meta(min_length=1, max_length=200)]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2.")]
Language = Annotated[str, Meta(pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$", max_length=12, description="BCP 47.")]
Phone = Annotated[str, Meta(pattern=r"^\+?[0-9 ()./-]{3,30}$")]
Email = Annotated[str, Meta(min_length=3, max_length=254)]

_EMAIL: Final = re.compile(
    r"[^\s@<>\"(),:;\[\]\\]{1,64}@(?:[^\s@<>\"(),:;\[\]\\.]{1,63}\.)+[^\s@<>\"(),:;\[\]\\.]{2,63}"
)


class DriverStatus(enum.StrEnum):
    """What a driver may do. The id tokens of a driver who is not active charge nothing."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    """By an operator, until it is taken back."""
    CLOSED = "closed"
    """By the driver or an operator, for good; what was charged stays with the driver."""
    ERASED = "erased"
    """Nothing of the person is left but what tax law wants kept."""


class TokenOrigin(enum.StrEnum):
    """How a driver came by an id token."""

    OPERATOR = "operator"
    CARD = "card"
    """Claimed by the number on the card and its activation code."""
    APP = "app"
    """The driver's own, for starting by app."""
    CONTRACT = "contract"
    """An eMAID that the driver entered."""
    AUTOCHARGE = "autocharge"
    """A car's address, confirmed by a first charging session of the driver."""
    KEY_CODE = "key_code"
    """A PIN for stations with a keypad."""


class Address(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A postal address.

    Args:
        country: ISO 3166-1 alpha-2.
    """

    lines: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=5)]
    postal_code: Annotated[str, Meta(max_length=20)] | None = None
    city: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    region: Annotated[str, Meta(max_length=100)] | None = None
    country: Country | None = None


class DriverContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is told of a driver.

    Args:
        language: of mails and pages; of the id tokens, where they have none.
        country: where invoices go to, unless an address says otherwise; ISO 3166-1 alpha-2.
        tax_id: VAT number with its country in front.
        billing_address: on invoices.
        note: of the operator, not shown to the driver.
    """

    first_name: Annotated[str, Meta(max_length=100)] | None = None
    last_name: Annotated[str, Meta(max_length=100)] | None = None
    phone: Phone | None = None
    language: Language | None = None
    country: Country | None = None
    company: Annotated[str, Meta(max_length=200)] | None = None
    tax_id: Annotated[str, Meta(min_length=4, max_length=30)] | None = None
    billing_address: Address | None = None
    delivery_address: Address | None = None
    note: Annotated[str, Meta(max_length=2000)] | None = None


def email_key(email: str) -> str:
    """What e-mail addresses are compared by: without case, in one form of Unicode."""
    return unicodedata.normalize("NFC", email).casefold()


def check_email(email: str) -> str | None:
    """What is wrong with an e-mail address, as a sentence; None where mail can be sent to it."""
    if _EMAIL.fullmatch(email) and ".." not in email and not any(unicodedata.category(c)[0] == "C" for c in email):
        return None
    return "Must be an e-mail address, such as anna@example.org"


def check_driver(content: DriverContent) -> list[tuple[str, str]]:
    """What is wrong with what is told of a driver: JSON pointers and sentences."""
    faults: list[tuple[str, str]] = []
    countries = [
        ("/country", content.country),
        ("/billing_address/country", content.billing_address and content.billing_address.country),
        ("/delivery_address/country", content.delivery_address and content.delivery_address.country),
    ]
    faults += [
        (pointer, f"'{code}' is no country of ISO 3166-1 alpha-2")
        for pointer, code in countries
        if code is not None and code not in ALPHA3
    ]
    if content.tax_id is not None and not vat_numbers.can_be(content.tax_id):
        faults.append(("/tax_id", "Must be a VAT number with its country in front, such as DE123456789"))
    for name in ("first_name", "last_name", "company"):
        text = getattr(content, name)
        if text is not None and any(unicodedata.category(c) == "Cc" for c in text):
            faults.append((f"/{name}", "Must not hold control characters"))
    return faults


def visual_key(number: str) -> str:
    """What the numbers on cards are compared by: without the spaces and hyphens that people write, in upper case."""
    return re.sub(r"[\s.\-]", "", number).upper()


def name_of(content: DriverContent) -> str | None:
    """How the driver is addressed; None where no name is known."""
    return " ".join(part for part in (content.first_name, content.last_name) if part) or content.company
