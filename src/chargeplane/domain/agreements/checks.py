"""What terms and agreements must fulfil: a JSON pointer and a sentence for each field that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeAlias

from msgspec import Struct

from chargeplane.domain import vat_numbers
from chargeplane.domain.agreements.items import (
    Allowance,
    Discount,
    EnergyTerms,
    ReservationTerms,
    RevenueShare,
    RoamingFee,
    Sla,
)
from chargeplane.domain.agreements.model import (
    SIGNING,
    AgreementKind,
    Party,
    PartyKind,
    RenewalMode,
    ScopeKind,
    Terms,
)
from chargeplane.domain.agreements.scope import people_of
from chargeplane.domain.token_rules import zone_exists
from chargeplane.kernel.money import Money

Wrong: TypeAlias = tuple[str, str]
"""JSON pointer, sentence."""

MOST: Final = Decimal(1_000_000_000)
_CURRENCY = re.compile(r"[A-Z]{3}")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_OCPI_PARTY = re.compile(r"[A-Za-z]{2}\*[A-Za-z0-9]{3}")
_ONE_OF: Final[dict[type, tuple[tuple[str, ...], str]]] = {
    Discount: (("percent", "per_kwh"), "exactly one"),
    RevenueShare: (("percent", "per_kwh"), "exactly one"),
    Allowance: (("energy_wh", "minutes", "sessions", "amount"), "exactly one"),
    RoamingFee: (("per_session", "per_kwh", "percent"), "at least one"),
    Sla: (("uptime_percent", "response_minutes", "repair_minutes"), "at least one"),
    EnergyTerms: (("supplier", "product", "renewable_percent", "price_per_kwh", "passed_through"), "at least one"),
}
_WHO_NEEDED: Final = (AgreementKind.DRIVER_PLAN, AgreementKind.FLEET, AgreementKind.ROAMING_BILATERAL)


def wrong_frame(
    *, currency: str, time_zone: str, starts_at: datetime | None, ends_at: datetime | None, parties: Sequence[Party]
) -> list[Wrong]:
    """What is wrong with what versions do not change."""
    found: list[Wrong] = []
    if not _CURRENCY.fullmatch(currency):
        found.append(("/currency", "Must be a currency of ISO 4217, such as EUR"))
    if not zone_exists(time_zone):
        found.append(("/time_zone", "Must be the name of a time zone, such as Europe/Berlin"))
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        found.append(("/ends_at", "Must be after starts_at"))
    roles = set()
    for number, party in enumerate(parties):
        at = f"/parties/{number}"
        if party.role in SIGNING and party.role in roles:
            found.append((f"{at}/role", f"There is a {party.role.value} already"))
        roles.add(party.role)
        if (party.kind is PartyKind.HOUSE) is not (party.id is None):
            house = party.kind is PartyKind.HOUSE
            found.append((f"{at}/id", "The house has none" if house else "Must be there: who it is"))
        elif party.kind is PartyKind.OCPI_PARTY and not _OCPI_PARTY.fullmatch(party.id or ""):
            found.append((f"{at}/id", "Must be a country code and a party id, such as DE*ABC"))
        if party.vat_id is not None and not vat_numbers.can_be(party.vat_id):
            found.append((f"{at}/vat_id", "Is no VAT number: it has not the form of its country"))
    return found


def wrong_terms(terms: Terms, currency: str, ends_at: datetime | None) -> list[Wrong]:
    """What is wrong with terms by themselves."""
    found = list(_wrong_amounts(terms, "", currency))
    for number, entry in enumerate(terms.scope):
        at = f"/scope/{number}"
        if (entry.kind is ScopeKind.TENANT) is not (entry.value is None):
            tenant = entry.kind is ScopeKind.TENANT
            found.append((f"{at}/value", "The tenant has none" if tenant else "Must be there: which one"))
        elif entry.kind is ScopeKind.COUNTRY and not _COUNTRY.fullmatch(entry.value or ""):
            found.append((f"{at}/value", "Must be a country's two letters, such as DE"))
        if entry.id_token_type is not None and entry.kind is not ScopeKind.ID_TOKEN:
            found.append((f"{at}/id_token_type", "Only an id token has one"))
    reservations = 0
    for number, item in enumerate(terms.items):
        at = f"/items/{number}"
        names, how_many = _ONE_OF.get(type(item), ((), ""))
        given = sum(getattr(item, name) not in (None, False) for name in names)
        if names and (given == 0 or (given > 1 and how_many == "exactly one")):
            found.append((at, f"Needs {how_many} of {', '.join(names)}"))
        reservations += isinstance(item, ReservationTerms)
        if isinstance(item, ReservationTerms) and reservations > 1:
            found.append((at, "There are reservation terms already"))
    for number, document in enumerate(terms.documents):
        if document.text is None and document.sha256 is None:
            found.append((f"/documents/{number}/sha256", "Must be there, or the text itself"))
    if terms.renewal.mode is not RenewalMode.NONE and ends_at is None:
        found.append(("/renewal/mode", "An agreement without an end (ends_at) needs no renewal"))
    return found


def wrong_proposal(kind: AgreementKind, parties: Sequence[Party], terms: Terms) -> list[Wrong]:
    """What a draft lacks before it can be proposed."""
    found: list[Wrong] = []
    roles = {party.role for party in parties}
    found += [("/parties", f"There must be a {role.value}") for role in SIGNING if role not in roles]
    if kind in _WHO_NEEDED and not people_of(terms, parties):
        found.append(
            ("/scope", "Must say who charges: id tokens or a group, or a consumer that is a driver or an OCPI party")
        )
    return found


def _wrong_amounts(value: object, at: str, currency: str) -> Iterator[Wrong]:
    """Numbers that are too large, too fine or negative, and money of another currency, wherever they stand."""
    if isinstance(value, Money):
        if value.currency != currency:
            yield (f"{at}/currency", f"Must be the agreement's currency, {currency}")
        yield from _wrong_amounts(value.amount, f"{at}/amount", currency)
    elif isinstance(value, Decimal):
        percent = at.endswith("percent")
        most = Decimal(100) if percent else MOST
        if not (value.is_finite() and 0 <= value <= most and value == round(value, 6)):
            yield (at, f"Must be from 0 to {most:f}, with at most 6 decimals")
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _wrong_amounts(getattr(value, name), f"{at}/{name}", currency)
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from _wrong_amounts(inner, f"{at}/{number}", currency)
