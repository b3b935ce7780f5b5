"""What is wrong with a tariff beyond its form: numbers, dates that are none, prices that can never hold."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from chargeplane.domain.tariffs.model import (
    DECIMALS,
    LARGEST,
    EnergyMix,
    PriceComponent,
    PriceLimit,
    Restrictions,
    TariffContent,
    TariffDimension,
    TaxIncluded,
)
from chargeplane.kernel.errors import InvalidInputError

_RESERVABLE = (TariffDimension.FLAT, TariffDimension.TIME)
_RANGES = (("kwh", "kWh"), ("current", "A"), ("power", "kW"), ("duration", "s"))


def check(tariff: TariffContent) -> None:
    """Refuses a tariff that cannot be meant.

    Raises:
        InvalidInputError: with a JSON pointer and a sentence for everything that is wrong.
    """
    faults: list[tuple[str, str]] = []
    for number, element in enumerate(tariff.elements):
        at = f"/elements/{number}"
        reserves = element.restrictions is not None and element.restrictions.about is not None
        seen: set[TariffDimension] = set()
        for place, component in enumerate(element.price_components):
            faults += _component(tariff, component, f"{at}/price_components/{place}")
            if component.type in seen:
                faults.append((f"{at}/price_components/{place}/type", f"There is a {component.type} here already"))
            seen.add(component.type)
            if reserves and component.type not in _RESERVABLE:
                sentence = "A reservation can only have FLAT and TIME prices"
                faults.append((f"{at}/price_components/{place}/type", sentence))
        if element.restrictions is not None:
            faults += _restrictions(element.restrictions, f"{at}/restrictions")
    faults += _limits(tariff)
    faults += _number("/preauthorize_amount", tariff.preauthorize_amount)
    faults += _mix(tariff.energy_mix)
    start, end = tariff.start_date_time, tariff.end_date_time
    if start is not None and end is not None and end <= start:
        faults.append(("/end_date_time", "Must be after start_date_time"))
    languages = [text.language for text in tariff.tariff_alt_text]
    if len(set(languages)) < len(languages):
        faults.append(("/tariff_alt_text", "There are two texts in one language"))
    if faults:
        pointer, sentence = faults[0]
        raise InvalidInputError(f"The tariff is not right: {pointer}: {sentence}.", tuple(faults))


def _component(tariff: TariffContent, component: PriceComponent, at: str) -> list[tuple[str, str]]:
    faults = [*_number(f"{at}/price", component.price), *_number(f"{at}/vat", component.vat, most=Decimal(100))]
    if component.vat is not None and tariff.tax_included is TaxIncluded.NOT_APPLICABLE:
        faults.append((f"{at}/vat", "tax_included says that no taxes apply"))
    return faults


def _restrictions(restrictions: Restrictions, at: str) -> list[tuple[str, str]]:
    faults: list[tuple[str, str]] = []
    days: dict[str, date] = {}
    for name in ("start_date", "end_date"):
        text = getattr(restrictions, name)
        if text is None:
            continue
        try:
            days[name] = date.fromisoformat(text)
        except ValueError:
            faults.append((f"{at}/{name}", "There is no such day"))
    if len(days) == 2 and days["end_date"] <= days["start_date"]:
        faults.append((f"{at}/end_date", "Must be after start_date: it does not belong"))
    if len(set(restrictions.day_of_week)) < len(restrictions.day_of_week):
        faults.append((f"{at}/day_of_week", "A day is named twice"))
    for name, unit in _RANGES:
        least, most = getattr(restrictions, f"min_{name}"), getattr(restrictions, f"max_{name}")
        if unit != "s":
            faults += [*_number(f"{at}/min_{name}", least), *_number(f"{at}/max_{name}", most)]
        if least is not None and most is not None and not (most > least):
            faults.append((f"{at}/max_{name}", f"Must be more than min_{name}: it does not belong"))
    return faults


def _limits(tariff: TariffContent) -> list[tuple[str, str]]:
    faults: list[tuple[str, str]] = []
    for name, limit in (("min_price", tariff.min_price), ("max_price", tariff.max_price)):
        if limit is None:
            continue
        wrong = _number(f"/{name}/before_taxes", limit.before_taxes)
        wrong += _number(f"/{name}/after_taxes", limit.after_taxes)
        if not wrong and limit.after_taxes is not None and limit.after_taxes < limit.before_taxes:
            wrong.append((f"/{name}/after_taxes", "Must not be less than before_taxes"))
        faults += wrong
    if not faults and tariff.min_price is not None and tariff.max_price is not None:
        faults += _order(tariff.min_price, tariff.max_price)
    return faults


def _order(least: PriceLimit, most: PriceLimit) -> list[tuple[str, str]]:
    if least.before_taxes > most.before_taxes:
        return [("/max_price/before_taxes", "Must not be less than that of min_price")]
    if None not in (least.after_taxes, most.after_taxes) and (least.after_taxes or 0) > (most.after_taxes or 0):
        return [("/max_price/after_taxes", "Must not be less than that of min_price")]
    return []


def _mix(mix: EnergyMix | None) -> list[tuple[str, str]]:
    if mix is None:
        return []
    faults: list[tuple[str, str]] = []
    for number, source in enumerate(mix.energy_sources):
        faults += _number(f"/energy_mix/energy_sources/{number}/percentage", source.percentage, most=Decimal(100))
    for number, impact in enumerate(mix.environ_impact):
        faults += _number(f"/energy_mix/environ_impact/{number}/amount", impact.amount)
    if not faults and mix.energy_sources and sum(source.percentage for source in mix.energy_sources) != 100:
        faults.append(("/energy_mix/energy_sources", "The percentages must make 100"))
    return faults


def _number(pointer: str, value: Decimal | None, most: Decimal = LARGEST) -> list[tuple[str, str]]:
    if value is None:
        return []
    if not value.is_finite() or not 0 <= value <= most:
        return [(pointer, f"Must be a number from 0 to {most:,}")]
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMALS:
        return [(pointer, f"Must have at most {DECIMALS} decimals")]
    return []
