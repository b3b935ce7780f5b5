"""Taxes by country: one file each, with rates and from when to when they hold; and which of them an invoice's line has.

Who is taxed where (Directive 2006/112/EC, articles 38 to 39 and 44, 194 to 196): electricity where it is charged, services to a company where the
customer is. Where the seller is not established, a customer with a VAT number there owes the tax (reverse charge).
"""

from __future__ import annotations

import enum
import tomllib
from datetime import date
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain import vat_numbers
from chargeplane.domain.invoicing.parties import Customer, Issuer

NONE: Final = Decimal(0)


class TaxCategory(enum.StrEnum):
    """EN 16931's codes (UNTDID 5305)."""

    STANDARD = "S"
    ZERO = "Z"
    EXEMPT = "E"
    REVERSE_CHARGE = "AE"
    NOT_SUBJECT = "O"


class Supply(enum.StrEnum):
    """What is sold."""

    ELECTRICITY = "electricity"
    SERVICE = "service"


class LineTax(Struct, frozen=True, kw_only=True):
    """How a line is taxed.

    Args:
        place: ISO 3166-1 alpha-2, with the state where states tax, as `US-NY`.
        note: key of the sentence that the invoice must have.
        reason: of an exemption, in words.
    """

    category: TaxCategory
    percent: Decimal
    place: str
    note: str | None = None
    reason: str | None = None


class TaxRate(Struct, frozen=True, kw_only=True):
    """A rate and when it holds; `until` is not included."""

    id: str
    percent: Decimal
    since: date
    until: date | None = None
    region: str | None = None


class TaxProfile(Struct, frozen=True, kw_only=True):
    """A country's taxes on charging.

    Args:
        tax: what it is called there.
        uses: which rate is for which supply.
        vat: whether it is a value-added tax, as EN 16931 knows them.
        eu: a member state of the European Union.
    """

    country: str
    name: str
    currency: str
    tax: str
    vat: bool
    eu: bool
    rates: tuple[TaxRate, ...]
    uses: dict[Supply, str]

    def rate(self, supply: Supply, on: date, region: str | None = None) -> Decimal:
        """The rate for a supply on a day, in percent; where states tax, the state's, and nothing where none is known."""
        for rate in self.rates:
            if rate.id != self.uses[supply] or rate.region != (region if rate.region is not None else None):
                continue
            if rate.since <= on and (rate.until is None or on < rate.until):
                return rate.percent
        return NONE


@lru_cache(maxsize=1)
def profiles() -> dict[str, TaxProfile]:
    """The profiles by country."""
    found = {}
    for file in files("chargeplane.domain.invoicing.taxes").iterdir():
        if file.name.endswith(".toml"):
            profile = _profile(tomllib.loads(file.read_text(encoding="utf-8")))
            found[profile.country] = profile
    return dict(sorted(found.items()))


def _profile(said: dict[str, Any]) -> TaxProfile:
    return TaxProfile(
        country=said["country"],
        name=said["name"],
        currency=said["currency"],
        tax=said["tax"],
        vat=said["vat"],
        eu=said["eu"],
        rates=tuple(
            TaxRate(
                id=rate["id"],
                percent=Decimal(rate["percent"]),
                since=rate["since"],
                until=rate.get("until"),
                region=rate.get("region"),
            )
            for rate in said["rates"]
        ),
        uses={Supply(supply): rate for supply, rate in said["uses"].items()},
    )


def vat_country(vat_id: str | None) -> str | None:
    """The country of a VAT number that has the form of one; Greece writes EL."""
    if vat_id is None or not vat_numbers.can_be(vat_id):
        return None
    country = vat_numbers.normalized(vat_id)[:2]
    return "GR" if country == "EL" else country


def treatment(
    issuer: Issuer,
    customer: Customer,
    supply: Supply,
    on: date,
    *,
    place: str | None = None,
    region: str | None = None,
    trusted: bool = True,
) -> LineTax:
    """How a supply is taxed.

    Args:
        on: the day of the supply.
        place: country where it was charged, ISO 3166-1 alpha-2; None: the issuer's.
        region: state there.
        trusted: whether the customer's VAT number counts; one of a member state that does not leaves them a private person.
    """
    home = issuer.address.country
    buyer = vat_country(customer.vat_id)
    if not trusted and buyer is not None and buyer != home and buyer in EU:
        buyer = None
    where = place or home
    if place is None:
        region = issuer.address.region
    members = {country for country, profile in profiles().items() if profile.eu} | EU
    if supply is Supply.SERVICE and buyer is not None and buyer != home:
        where = buyer  # services to a company are taxed where the company is
        if home in members and buyer not in members:
            return LineTax(category=TaxCategory.NOT_SUBJECT, percent=NONE, place=where, note="outside_scope")
    spot = f"{where}-{region}" if where == "US" and region else where
    if customer.exempt is not None:
        return LineTax(category=TaxCategory.EXEMPT, percent=NONE, place=spot, note="exempt", reason=customer.exempt)
    registered = {vat_country(number) for number in (issuer.vat_id, *issuer.vat_registrations)}
    if where != home and where in members and buyer == where and where not in registered:
        return LineTax(category=TaxCategory.REVERSE_CHARGE, percent=NONE, place=spot, note="reverse_charge")
    profile = profiles().get(where) or profiles().get(home)
    if profile is None:
        return LineTax(category=TaxCategory.NOT_SUBJECT, percent=NONE, place=spot, note="outside_scope")
    percent = profile.rate(supply, on, region)
    category = TaxCategory.STANDARD if percent else TaxCategory.ZERO
    return LineTax(category=category, percent=percent, place=spot)


EU: Final = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IT",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    ]
)
"""The member states, also those whose profile is not there."""
