"""From CDRs and agreements' items to what is on an invoice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.invoicing.model import Charge, Evidence, LineKind, Proof
from chargeplane.domain.invoicing.taxes import LineTax, Supply, TaxCategory
from chargeplane.domain.languages import number, say
from chargeplane.domain.rating import Rating, words
from chargeplane.domain.rating.result import Cost
from chargeplane.domain.tariffs.model import TaxIncluded

MOST_EXPLAINED: Final = 30
"""Rating lines of a session that an invoice spells out; the CDR has them all."""
_NOTHING: Final = Decimal(0)


class BilledPlace(Struct, frozen=True, kw_only=True):
    """Where a session was, of its CDR."""

    name: str | None = None
    address: str = ""
    city: str = ""
    state: str | None = None
    country_alpha2: str = ""
    time_zone: str = "UTC"
    evse_uid: str = ""
    evse_id: str | None = None


class BilledTotals(Struct, frozen=True, kw_only=True):
    """Of a CDR."""

    energy_kwh: Decimal
    cost: Cost | None = None


class BilledProof(Struct, frozen=True, kw_only=True):
    """Of a CDR."""

    proven: bool
    begin_wh: Decimal | None = None
    end_wh: Decimal | None = None


class BilledTariff(Struct, frozen=True, kw_only=True):
    """Of a CDR."""

    tax_included: TaxIncluded = TaxIncluded.NO


class BilledCdr(Struct, frozen=True, kw_only=True):
    """What an invoice takes of a CDR's content."""

    place: BilledPlace
    started_at: datetime
    ended_at: datetime
    totals: BilledTotals
    rating: Rating | None = None
    signed: BilledProof | None = None
    tariff: BilledTariff | None = None
    credit: bool = False


class CdrToBill(Struct, frozen=True, kw_only=True):
    """A CDR that is to be billed."""

    cdr_id: int
    session_id: int
    currency: str
    payment_id: int | None
    holds: tuple[str, ...]
    content: BilledCdr


Taxing = Callable[[Supply, datetime, str | None, str | None], LineTax]
"""(supply, when, country, state) -> how it is taxed."""


def cdr_charges(cdr: CdrToBill, taxing: Taxing, language: str, *, tax_included: bool | None = None) -> list[Charge]:
    """The lines of a CDR: one for each tax rate.

    The taxes that it was rated with stand, unless its customer is not taxed; where its tariff named none, those of the place are put on it.

    Args:
        tax_included: whether the gross is what counts; None: as the tariff's prices are.
    """
    content, cost = cdr.content, cdr.content.totals.cost
    if cost is None:
        return []
    place = content.place
    tax = taxing(Supply.ELECTRICITY, content.started_at, place.country_alpha2 or None, place.state)
    gross_counts = tax_included if tax_included is not None else _with_tax(content)
    evidence = _evidence(cdr, language)
    text = say(
        "invoice.credited_session" if content.credit else "invoice.session",
        language,
        place=place.name or place.address or place.evse_uid,
        energy=number(abs(content.totals.energy_kwh), language, 3),
    )

    def charge(amount: Decimal, taxed: LineTax, included: bool) -> Charge:
        quantity = Decimal(-1 if amount < 0 else 1)
        return Charge(
            kind=LineKind.CHARGING,
            text=text,
            amount=amount,
            tax=taxed,
            included=included,
            quantity=quantity,
            evidence=evidence,
            since=content.started_at,
            until=content.ended_at,
        )

    standard = taxing(Supply.ELECTRICITY, content.started_at, None, None).percent
    return [charge(*one) for one in taxed_amounts(cost, tax, standard, gross_counts)]


def taxed_amounts(
    cost: Cost, tax: LineTax, standard: Decimal, gross_counts: bool
) -> list[tuple[Decimal, LineTax, bool]]:
    """A rated cost by tax rates: (amount, how it is taxed, whether the tax is in it).

    Args:
        tax: as the place and the customer have it.
        standard: percent that prices with taxes have in them, where they do not say.
    """
    known = bool(cost.taxes) and all(one.percentage is not None for one in cost.taxes)
    if tax.category not in (TaxCategory.STANDARD, TaxCategory.ZERO):
        untaxed = cost.incl / (1 + standard / 100) if not known and gross_counts else cost.excl
        return [(untaxed, tax, False)]
    if not known:
        # Nothing was said of taxes: with prices that have them in, they are taken out, else put on.
        return [(cost.incl, tax, gross_counts)]
    stacked = len(cost.taxes) > 1 and all(one.base == cost.excl for one in cost.taxes)
    if stacked:
        percent = sum((one.percentage or _NOTHING for one in cost.taxes), _NOTHING)
        return [(cost.incl if gross_counts else cost.excl, _rated(tax, percent), gross_counts)]
    made = [
        (one.base + one.amount if gross_counts else one.base, _rated(tax, one.percentage or _NOTHING), gross_counts)
        for one in cost.taxes
        if one.base or one.amount
    ]
    rest = cost.excl - sum((one.base for one in cost.taxes), _NOTHING)
    if rest or not made:
        made.append((rest, _rated(tax, _NOTHING), gross_counts))
    return made


def _rated(tax: LineTax, percent: Decimal) -> LineTax:
    return LineTax(
        category=TaxCategory.STANDARD if percent else TaxCategory.ZERO, percent=_plain(percent), place=tax.place
    )


def _plain(percent: Decimal) -> Decimal:
    """One value for one rate: 19 and 19.0 are the same tax."""
    short = percent.normalize()
    return short.quantize(Decimal(1)) if int(short.as_tuple().exponent) > 0 else short


def _with_tax(content: BilledCdr) -> bool:
    return content.tariff is not None and content.tariff.tax_included is TaxIncluded.YES


def _evidence(cdr: CdrToBill, language: str) -> Evidence:
    content, place, rating = cdr.content, cdr.content.place, cdr.content.rating
    explanation: Sequence[str] = ()
    if rating is not None:
        explanation = [words(line, rating.currency, language) for line in rating.lines[:MOST_EXPLAINED]]
        if len(rating.lines) > MOST_EXPLAINED:
            explanation = [
                *explanation,
                say("invoice.more_lines", language, count=str(len(rating.lines) - MOST_EXPLAINED)),
            ]
    signed = content.signed
    return Evidence(
        cdr_id=str(cdr.cdr_id),
        session_id=str(cdr.session_id),
        started_at=content.started_at,
        ended_at=content.ended_at,
        time_zone=place.time_zone,
        place=place.name or place.address or place.evse_uid,
        address=", ".join(part for part in (place.address, place.city) if part),
        evse=place.evse_id or place.evse_uid,
        energy_kwh=content.totals.energy_kwh,
        tariff=None if rating is None else f"{rating.tariff_id} v{rating.tariff_version}",
        explanation=tuple(explanation),
        proof=None if signed is None else Proof.PROVEN if signed.proven else Proof.UNPROVEN,
        register_begin_wh=None if signed is None else signed.begin_wh,
        register_end_wh=None if signed is None else signed.end_wh,
    )
