"""What a line of a rating says to the driver, in their language."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from chargeplane.domain.languages import duration, money, number, say
from chargeplane.domain.rating.result import CostGroup, Line, LineKind
from chargeplane.domain.tariffs.model import ReservationRestriction, TariffDimension

_THOUSAND: Final = Decimal(1000)
_NAMES: Final = {
    TariffDimension.ENERGY: "energy",
    TariffDimension.TIME: "time",
    TariffDimension.PARKING_TIME: "parking",
    TariffDimension.FLAT: "flat",
}


def words(line: Line, currency: str, language: str | None) -> str:
    """One line in words.

    Args:
        currency: of the rating.
    """
    price = money(line.price, currency, language, exact=True)
    name = "all" if line.dimension is None else _NAMES[line.dimension]
    if line.kind in (LineKind.MINIMUM, LineKind.MAXIMUM):
        return say(f"rating.{line.kind.value}", language, price=price)
    if line.kind is LineKind.SURCHARGE:
        return _surcharge(line, price, language)
    if line.kind is LineKind.DISCOUNT:
        if line.group is CostGroup.RESERVATION:
            name = "reservation"
        value = f"{number(line.price, language)} %" if line.percent else price
        return say(f"rating.discount_{name}", language, value=value)
    if line.kind is LineKind.ALLOWANCE:
        return say(f"rating.allowance_{name}", language, volume=_volume(line, line.billed, language))
    if line.reservation is not None:
        used = line.reservation is ReservationRestriction.RESERVATION
        name = f"{'reservation' if used else 'expired'}_{name}"
    text = say(f"rating.{name}", language, volume=_volume(line, line.billed, language), price=price)
    if line.billed == line.volume or line.step_size <= 1:
        return text
    step = Decimal(line.step_size)
    unit = " kWh" if line.dimension is TariffDimension.ENERGY else ""
    return say(
        "rating.rounded",
        language,
        text=text,
        measured=_volume(line, line.volume, language) + unit,
        step=_volume(line, step, language) + unit,
    )


def _surcharge(line: Line, price: str, language: str | None) -> str:
    name = line.reference or ""
    if line.percent:
        return say("rating.surcharge_percent", language, name=name, value=f"{number(line.price, language)} %")
    if line.dimension is TariffDimension.ENERGY:
        volume = _volume(line, line.billed, language)
        return say("rating.surcharge_energy", language, name=name, volume=volume, price=price)
    return say("rating.surcharge_session", language, name=name, price=price)


def _volume(line: Line, volume: Decimal, language: str | None) -> str:
    if line.dimension is TariffDimension.ENERGY:
        return number(volume / _THOUSAND, language)
    if line.dimension is TariffDimension.FLAT:
        return number(volume, language)
    return duration(volume, language)
