"""What an agreement changes of a session's price: discounts, and what is left of what it includes.

An allowance is free up to a volume of each period; what a CDR used of it is written down under a key, and a credit gives it back. Included sessions
cost nothing as long as any are left; an included amount is taken off the bill last, after all discounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from chargeplane.domain.agreements.items import Allowance as Included
from chargeplane.domain.agreements.items import AppliesTo, Every, Item, RoamingFee
from chargeplane.domain.agreements.items import Discount as AgreedDiscount
from chargeplane.domain.rating import (
    Allowance,
    Discount,
    DiscountKind,
    LineKind,
    Rating,
    Surcharge,
    SurchargeKind,
    Terms,
)
from chargeplane.domain.tariffs.model import Tariff, TariffDimension, TaxIncluded
from chargeplane.kernel.money import Money

_NOTHING: Final = Decimal(0)
_ALL: Final = Decimal(100)
_DIMENSIONS: Final = {
    AppliesTo.ENERGY: TariffDimension.ENERGY,
    AppliesTo.TIME: TariffDimension.TIME,
    AppliesTo.PARKING_TIME: TariffDimension.PARKING_TIME,
    AppliesTo.FLAT: TariffDimension.FLAT,
}
_FOREVER: Final = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
_MONTHS: Final = {Every.MONTH: 1, Every.QUARTER: 3, Every.YEAR: 12}
MOST_CARRIED: Final = 36
"""Periods back from which something is carried over."""


class Grant(Struct, frozen=True, kw_only=True):
    """What an agreement gives in a period.

    Args:
        key: under which its use is written down.
        volume: Wh, seconds, sessions, or an amount in the agreement's currency, each period.
    """

    key: str
    name: str
    kind: str
    volume: Decimal
    every: Every
    carry_over: bool


class SessionTerms(Struct, frozen=True, kw_only=True):
    """What holds for a session's price.

    Args:
        allowances: keys of the allowances in `terms`, in their order.
        sessions, amounts: (key, name) of included sessions and amounts among its discounts.
        other_currency: amounts of the agreement are in another currency than the tariff's, and were left out.
    """

    terms: Terms = Terms()
    allowances: tuple[str, ...] = ()
    sessions: tuple[tuple[str, str], ...] = ()
    amounts: tuple[tuple[str, str], ...] = ()
    other_currency: bool = False


def grants_of(items: Iterable[Item]) -> list[Grant]:
    """What the items of an agreement include."""
    found: list[Grant] = []
    for item in items:
        if not isinstance(item, Included):
            continue
        volumes = (
            ("energy", item.energy_wh),
            ("time", None if item.minutes is None else Decimal(60 * item.minutes)),
            ("sessions", None if item.sessions is None else Decimal(item.sessions)),
            ("amount", None if item.amount is None else item.amount.amount),
        )
        found += [
            Grant(
                key=f"{kind}:{item.name}",
                name=item.name,
                kind=kind,
                volume=volume,
                every=item.every,
                carry_over=item.carry_over,
            )
            for kind, volume in volumes
            if volume is not None
        ]
    return found


def periods_of(grant: Grant, at: datetime, time_zone: str, since: datetime | None) -> list[tuple[datetime, datetime]]:
    """The periods that count for what is left at a moment, in order, the last one around it.

    Args:
        since: when the agreement began; nothing is carried over from before.
    """
    if grant.every is Every.ONCE:
        return [_FOREVER]
    zone = ZoneInfo(time_zone)
    months = _MONTHS[grant.every]
    start = _first(at.astimezone(zone), months)
    periods = [(start, _moved(start, months))]
    while grant.carry_over and since is not None and periods[0][0] > since and len(periods) < MOST_CARRIED:
        periods.insert(0, (_moved(periods[0][0], -months), periods[0][0]))
    return [(a.astimezone(UTC), b.astimezone(UTC)) for a, b in periods]


def _first(at: datetime, months: int) -> datetime:
    month = (at.month - 1) // months * months + 1
    return at.replace(month=month, day=1, hour=0, minute=0, second=0, microsecond=0)


def _moved(start: datetime, months: int) -> datetime:
    number = start.year * 12 + start.month - 1 + months
    return start.replace(year=number // 12, month=number % 12 + 1)


def left_of(grant: Grant, used: Sequence[Decimal]) -> Decimal:
    """What is left of a grant.

    Args:
        used: in each of `periods_of`.
    """
    left = _NOTHING
    for amount in used:
        left = max(grant.volume + (left if grant.carry_over else _NOTHING) - amount, _NOTHING)
    return left


def terms_of(items: Sequence[Item], currency: str, tariff: Tariff, left: Mapping[str, Decimal]) -> SessionTerms:
    """The terms of a session.

    Args:
        currency: of the agreement.
        left: of each grant, by its key.
    """
    allowances: list[tuple[str, Allowance]] = []
    discounts: list[Discount] = []
    sessions: list[tuple[str, str]] = []
    amounts: list[tuple[str, str]] = []
    foreign = False
    taxed = _tax_factor(tariff)
    last: list[Discount] = []
    for grant in grants_of(items):
        volume = left.get(grant.key, _NOTHING)
        if grant.kind in ("energy", "time"):
            dimension = TariffDimension.ENERGY if grant.kind == "energy" else TariffDimension.TIME
            allowances.append((grant.key, Allowance(dimension=dimension, volume=volume, reference=grant.name)))
        elif grant.kind == "sessions":
            sessions.append((grant.key, grant.name))
            if volume >= 1:
                discounts.append(Discount(kind=DiscountKind.PERCENT, value=_ALL, reference=grant.name))
        elif currency != tariff.currency:
            foreign = True
        else:
            amounts.append((grant.key, grant.name))
            if volume > 0:
                last.append(Discount(kind=DiscountKind.ABSOLUTE, value=volume * taxed, reference=grant.name))
    for item in items:
        if not isinstance(item, AgreedDiscount):
            continue
        if item.percent is not None and item.applies_to is AppliesTo.RESERVATION:
            discounts.append(_of_reservation(item))
        elif item.percent is not None:
            dimension_of = _DIMENSIONS.get(item.applies_to)
            discounts.append(
                Discount(kind=DiscountKind.PERCENT, value=item.percent, dimension=dimension_of, reference=item.name)
            )
        if item.per_kwh is not None:
            if _other(item.per_kwh, tariff):
                foreign = True
                continue
            discounts.append(
                Discount(
                    kind=DiscountKind.ABSOLUTE,
                    value=item.per_kwh.amount * taxed,
                    dimension=TariffDimension.ENERGY,
                    reference=item.name,
                )
            )
    surcharges, other = _surcharges(items, tariff)
    foreign = foreign or other
    return SessionTerms(
        terms=Terms(
            discounts=(*discounts, *last), allowances=tuple(one for _, one in allowances), surcharges=tuple(surcharges)
        ),
        allowances=tuple(key for key, _ in allowances),
        sessions=tuple(sessions),
        amounts=tuple(amounts),
        other_currency=foreign,
    )


def reservation_discounts(items: Sequence[Item]) -> tuple[Discount, ...]:
    """What is taken off a reservation that nobody used: discounts of the whole price, and of reservations."""
    return tuple(
        _of_reservation(item)
        for item in items
        if isinstance(item, AgreedDiscount)
        and item.percent is not None
        and item.applies_to in (AppliesTo.ALL, AppliesTo.RESERVATION)
    )


def _of_reservation(item: AgreedDiscount) -> Discount:
    assert item.percent is not None
    return Discount(kind=DiscountKind.PERCENT, value=item.percent, reservation=True, reference=item.name)


def _surcharges(items: Sequence[Item], tariff: Tariff) -> tuple[list[Surcharge], bool]:
    """What roaming fees add, and whether some is in another currency than the tariff's, and was left out."""
    found: list[Surcharge] = []
    foreign = False
    for item in items:
        if not isinstance(item, RoamingFee):
            continue
        for kind, money in ((SurchargeKind.SESSION, item.per_session), (SurchargeKind.ENERGY, item.per_kwh)):
            if money is not None and _other(money, tariff):
                foreign = True
            elif money is not None:
                found.append(Surcharge(kind=kind, value=money.amount, reference=item.name))
        if item.percent is not None:
            found.append(Surcharge(kind=SurchargeKind.PERCENT, value=item.percent, reference=item.name))
    return found, foreign


def _other(amount: Money, tariff: Tariff) -> bool:
    return amount.currency != tariff.currency


def _tax_factor(tariff: Tariff) -> Decimal:
    """By what an amount without tax is multiplied to be taken off prices that have taxes in them: as for energy."""
    if tariff.tax_included is not TaxIncluded.YES:
        return Decimal(1)
    components = [one for element in tariff.elements for one in element.price_components]
    components.sort(key=lambda one: one.type is not TariffDimension.ENERGY)
    vat = next((one.vat for one in components if one.vat is not None), None)
    return Decimal(1) if vat is None else 1 + vat / 100


def used_of(terms: SessionTerms, rating: Rating, tariff: Tariff) -> list[tuple[str, Decimal]]:
    """What a session used of what is included: key and Wh, seconds, sessions, or an amount without tax."""
    used = [(key, amount) for key, amount in zip(terms.allowances, rating.used, strict=False) if amount]
    given: dict[str, Decimal] = {}
    for line in rating.lines:
        if line.kind is LineKind.DISCOUNT and line.reference is not None:
            cost = line.cost.incl if tariff.tax_included is TaxIncluded.YES else line.cost.excl
            given[line.reference] = given.get(line.reference, _NOTHING) - cost
    used += [(key, Decimal(1)) for key, name in terms.sessions if given.get(name, _NOTHING) > 0]
    factor = _tax_factor(tariff)
    used += [(key, given[name] / factor) for key, name in terms.amounts if given.get(name, _NOTHING) > 0]
    return used
