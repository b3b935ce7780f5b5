"""A tariff of OCPI as an energy rate. What DATEX II cannot say with fields it says in words, so that no price is shown without its conditions.

An element becomes a group of prices; a price per hour becomes one per minute. Amounts of DATEX II have two decimals: where that is not
the price itself, the price stands beside it in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from zoneinfo import ZoneInfo

from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.tariffs.model import (
    PriceComponent,
    Restrictions,
    Tariff,
    TariffDimension,
    TaxIncluded,
)
from chargeplane.edges.datex2.words import MEANS
from chargeplane.edges.datex2.xml import attribute, instant, leaf, node, texts

_CENT: Final = Decimal("0.01")
_MOST: Final = Decimal("999999.99")
_TYPES: Final = {
    TariffDimension.ENERGY: "pricePerKWh",
    TariffDimension.TIME: "pricePerMinute",
    TariffDimension.PARKING_TIME: "pricePerMinute",
    TariffDimension.FLAT: "basePrice",
}


def energy_rate(ident: str, tariff: Tariff, zone: ZoneInfo, paying: Iterable[PaymentMethod]) -> str:
    """What charging costs whoever has no contract.

    Args:
        ident: unique in the publication.
        zone: of the location: times of day in a tariff are local.
    """
    means = [MEANS[method] for method in paying if method in MEANS]
    prices = "".join(
        _price(group, part, element.restrictions, tariff, zone)
        for group, element in enumerate(tariff.elements, 1)
        if element.restrictions is None or element.restrictions.about is None
        for part in element.price_components
    )
    return node(
        "aegi:energyRate",
        leaf("aegi:ratePolicy", "adHoc"),
        leaf("aegi:lastUpdated", instant(tariff.last_updated)),
        leaf("aegi:applicableCurrency", tariff.currency),
        texts("aegi:rateName", [(text.language, text.text) for text in tariff.tariff_alt_text]),
        leaf("aegi:maximumDeliveryFee", _limit(tariff, tariff.max_price)),
        leaf("aegi:minimumDeliveryFee", _limit(tariff, tariff.min_price)),
        node("aegi:payment", *(leaf("afac:paymentMeans", word) for word in dict.fromkeys(means))) if means else "",
        prices,
        attributes=f" id={attribute(ident)}",
    )


def _price(group: int, part: PriceComponent, when: Restrictions | None, tariff: Tariff, zone: ZoneInfo) -> str:
    timed = part.type in (TariffDimension.TIME, TariffDimension.PARKING_TIME)
    exact = part.price / 60 if timed else part.price
    shown = _money(exact)
    said = [] if shown == exact else [_exactly(part, tariff)]
    if part.type is TariffDimension.PARKING_TIME:
        said.append("while the vehicle takes no energy")
    if part.step_size > 1:
        said.append(f"billed in steps of {part.step_size} {'s' if timed else 'Wh'}")
    said += _in_words(when)
    taxed = tariff.tax_included is TaxIncluded.YES
    free = part.price == 0
    return node(
        "aegi:energyPrice",
        leaf("aegi:priceGroupIndex", group),
        leaf("aegi:priceType", "free" if free else _TYPES[part.type]),
        leaf("aegi:value", shown),
        leaf("aegi:taxIncluded", None if tariff.tax_included is TaxIncluded.NOT_APPLICABLE else str(taxed).lower()),
        leaf("aegi:taxRate", None if part.vat is None else f"{part.vat.normalize():f}"),
        texts("aegi:additionalInformation", [("en", "; ".join(said))] if said else []),
        _period(when, tariff, zone),
        _minutes(when),
        _energy(when),
    )


def _money(amount: Decimal) -> Decimal:
    return min(amount.quantize(_CENT, ROUND_HALF_UP), _MOST)


def _exactly(part: PriceComponent, tariff: Tariff) -> str:
    unit = {
        TariffDimension.ENERGY: "per kWh",
        TariffDimension.TIME: "per hour",
        TariffDimension.PARKING_TIME: "per hour",
        TariffDimension.FLAT: "per session",
    }[part.type]
    return f"exactly {part.price.normalize():f} {tariff.currency} {unit}"


def _limit(tariff: Tariff, limit: object) -> Decimal | None:
    before, after = getattr(limit, "before_taxes", None), getattr(limit, "after_taxes", None)
    wanted = after if tariff.tax_included is TaxIncluded.YES and after is not None else before
    return None if wanted is None else _money(wanted)


def _period(when: Restrictions | None, tariff: Tariff, zone: ZoneInfo) -> str:
    """Days and times of day at which a price holds."""
    if when is None:
        return ""
    days = "".join(leaf("com:applicableDay", day.value.lower()) for day in when.day_of_week)
    day_times = ""
    if when.start_time is not None or when.end_time is not None:
        start, end = when.start_time or "00:00", when.end_time or "00:00"
        spans = [(start, end)] if start < end or end == "00:00" else [(start, "00:00"), ("00:00", end)]
        day_times = "".join(
            node(
                "com:recurringTimePeriodOfDay",
                leaf("com:startTimeOfPeriod", f"{begin}:00"),
                leaf("com:endTimeOfPeriod", "24:00:00" if until == "00:00" else f"{until}:00"),
            )
            for begin, until in spans
        )
    if not days and not day_times and when.start_date is None and when.end_date is None:
        return ""
    begins = tariff.last_updated if when.start_date is None else _midnight(when.start_date, zone)
    recurring = day_times + (node("com:recurringDayWeekMonthPeriod", days) if days else "")
    return node(
        "aegi:overallPeriod",
        leaf("com:overallStartTime", instant(begins)),
        leaf("com:overallEndTime", None if when.end_date is None else instant(_midnight(when.end_date, zone))),
        node("com:validPeriod", recurring) if recurring else "",
    )


def _midnight(day: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC)


def _minutes(when: Restrictions | None) -> str:
    if when is None or (when.min_duration is None and when.max_duration is None):
        return ""
    return node(
        "aegi:timeBasedApplicability",
        leaf("aegi:fromMinute", None if when.min_duration is None else when.min_duration // 60),
        leaf("aegi:toMinute", None if when.max_duration is None else -(-when.max_duration // 60)),
    )


def _energy(when: Restrictions | None) -> str:
    if when is None or (when.min_kwh is None and when.max_kwh is None):
        return ""
    return node(
        "aegi:energyBasedApplicability",
        leaf("aegi:fromKWh", None if when.min_kwh is None else int(when.min_kwh)),
        leaf("aegi:toKWh", None if when.max_kwh is None else -int(-when.max_kwh // 1)),
    )


def _in_words(when: Restrictions | None) -> list[str]:
    """What no field says, or says only in whole minutes and kWh."""
    if when is None:
        return []
    said = []
    for low, high, unit in (
        (when.min_current, when.max_current, "A"),
        (when.min_power, when.max_power, "kW"),
    ):
        if low is not None:
            said.append(f"from {low.normalize():f} {unit}")
        if high is not None:
            said.append(f"below {high.normalize():f} {unit}")
    for value, word in ((when.min_kwh, "from"), (when.max_kwh, "up to")):
        if value is not None and value != int(value):
            said.append(f"{word} {value.normalize():f} kWh")
    for seconds, word in ((when.min_duration, "from"), (when.max_duration, "up to")):
        if seconds is not None and seconds % 60:
            said.append(f"{word} {seconds} s")
    return said
