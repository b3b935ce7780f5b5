"""Tariffs as charging stations of OCPP 2.1 calculate with them (I07 to I12), and what is lost on the way."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.station_tariffs import (
    Conditions,
    EnergyPrice,
    EnergyPrices,
    FixedPrice,
    FixedPrices,
    Price,
    ShownText,
    StartConditions,
    StationTariff,
    TaxRate,
    TimePrice,
    TimePrices,
    Weekday,
)
from chargeplane.domain.tariffs.model import (
    BookingRestriction,
    PriceComponent,
    PriceLimit,
    ReservationRestriction,
    Restrictions,
    Tariff,
    TariffDimension,
    TaxIncluded,
)

_HUNDRED: Final = Decimal(100)
_SIXTY: Final = Decimal(60)
_FINEST: Final = Decimal(1).scaleb(-8)
"""What a station is told: finer than any invoice, coarse enough for floats."""

_SHOWN: Final = 10
_NONE: Final = Restrictions()


class Loss(Struct, frozen=True, kw_only=True):
    """Something that a station calculates otherwise than we do.

    Args:
        pointer: JSON pointer into the tariff.
        what: one sentence.
    """

    pointer: str
    what: str


class ForStation(Struct, frozen=True, kw_only=True):
    """A tariff for stations.

    Args:
        losses: empty where a station comes to the same price as we do.
    """

    tariff: StationTariff
    losses: tuple[Loss, ...]


class _Side:
    """The prices of one kind of use."""

    def __init__(self) -> None:
        self.prices: list[tuple[Decimal, Restrictions]] = []
        self.vats: list[Decimal | None] = []


def for_station(tariff: Tariff) -> ForStation:
    """A version of a tariff in OCPP's structure.

    Its id carries our version, so that what a station tells of it is understood: `ID:VERSION`.
    """
    losses: list[Loss] = []
    sides: dict[tuple[TariffDimension, bool], _Side] = {}
    for number, element in enumerate(tariff.elements):
        restrictions = element.restrictions or _NONE
        for place, component in enumerate(element.price_components):
            pointer = f"/elements/{number}/price_components/{place}"
            reserves = restrictions.about is not None
            if restrictions.booking not in (None, BookingRestriction.BOOKING):
                losses.append(Loss(pointer=pointer, what="A station has no price for what becomes of bookings."))
                continue
            if restrictions.reservation is ReservationRestriction.RESERVATION_EXPIRES:
                losses.append(Loss(pointer=pointer, what="A station has no price for reservations that expire."))
                continue
            if component.type is TariffDimension.FLAT and _beyond_the_start(restrictions):
                what = "A station decides on a fee at the start alone, so this one is left out."
                losses.append(Loss(pointer=pointer, what=what))
                continue
            if component.step_size > 1 and component.type is not TariffDimension.FLAT:
                losses.append(
                    Loss(pointer=f"{pointer}/step_size", what="A station bills what was used, without steps.")
                )
            side = sides.setdefault((component.type, reserves), _Side())
            price, exact = _net(tariff, component)
            side.prices.append((price, restrictions))
            side.vats.append(component.vat)
            if not exact:
                losses.append(Loss(pointer=f"{pointer}/price", what="It is rounded to eight decimals."))
            if tariff.tax_included is TaxIncluded.YES and component.vat is None and component.price:
                what = "Taxes are in the price and not named; a station takes it as before taxes."
                losses.append(Loss(pointer=f"{pointer}/vat", what=what))
    for (kind, _), side in sides.items():
        if len(set(side.vats)) > 1:
            what = f"A station has one tax for all {kind} prices; it gets that of the first."
            losses.append(Loss(pointer="/elements", what=what))
    if tariff.end_date_time is not None:
        losses.append(Loss(pointer="/end_date_time", what="A station keeps a tariff until it gets another one."))
    if len(tariff.tariff_alt_text) > _SHOWN:
        losses.append(Loss(pointer="/tariff_alt_text", what=f"A station takes {_SHOWN} languages."))
    energy, time = sides.get((TariffDimension.ENERGY, False)), sides.get((TariffDimension.TIME, False))
    parking, fee = sides.get((TariffDimension.PARKING_TIME, False)), sides.get((TariffDimension.FLAT, False))
    reserved = sides.get((TariffDimension.TIME, True))
    reserving = sides.get((TariffDimension.FLAT, True))
    made = StationTariff(
        tariff_id=f"{tariff.id}:{tariff.version}",
        currency=tariff.currency,
        description=tuple(
            ShownText(content=text.text, language=text.language) for text in tariff.tariff_alt_text[:_SHOWN]
        )
        or None,
        valid_from=tariff.start_date_time,
        energy=None
        if energy is None
        else EnergyPrices(
            prices=tuple(EnergyPrice(price_kwh=price, conditions=_conditions(r)) for price, r in energy.prices),
            tax_rates=_taxes(energy),
        ),
        charging_time=_times(time),
        idle_time=_times(parking),
        fixed_fee=_fees(fee),
        reservation_time=_times(reserved),
        reservation_fixed=_fees(reserving),
        min_cost=_limit(tariff.min_price),
        max_cost=_limit(tariff.max_price),
    )
    return ForStation(tariff=made, losses=tuple(losses))


def _net(tariff: Tariff, component: PriceComponent) -> tuple[Decimal, bool]:
    """The price before taxes, per kWh, minute or fee, and whether it is exact."""
    price = component.price
    if tariff.tax_included is TaxIncluded.YES and component.vat is not None:
        price = price / (1 + component.vat / _HUNDRED)
    if component.type in (TariffDimension.TIME, TariffDimension.PARKING_TIME):
        price = price / _SIXTY
    told = price.quantize(_FINEST, ROUND_HALF_EVEN)
    return told.normalize() + 0, told == price


def _times(side: _Side | None) -> TimePrices | None:
    if side is None:
        return None
    prices = tuple(TimePrice(price_minute=price, conditions=_conditions(r)) for price, r in side.prices)
    return TimePrices(prices=prices, tax_rates=_taxes(side))


def _fees(side: _Side | None) -> FixedPrices | None:
    if side is None:
        return None
    prices = tuple(FixedPrice(price_fixed=price, conditions=_start_conditions(r)) for price, r in side.prices)
    return FixedPrices(prices=prices, tax_rates=_taxes(side))


def _taxes(side: _Side) -> tuple[TaxRate, ...] | None:
    vat = next((vat for vat in side.vats if vat is not None), None)
    return None if vat is None else (TaxRate(type="vat", tax=vat),)


def _limit(limit: PriceLimit | None) -> Price | None:
    return None if limit is None else Price(excl_tax=limit.before_taxes, incl_tax=limit.after_taxes)


def _beyond_the_start(r: Restrictions) -> bool:
    """Whether it depends on what is known only while charging."""
    later = (
        r.min_kwh,
        r.max_kwh,
        r.min_current,
        r.max_current,
        r.min_power,
        r.max_power,
        r.min_duration,
        r.max_duration,
    )
    return any(value is not None for value in later)


def _conditions(r: Restrictions) -> Conditions | None:
    def thousand(value: Decimal | None) -> Decimal | None:
        return None if value is None else value * 1000

    made = Conditions(
        start_time_of_day=r.start_time,
        end_time_of_day=r.end_time,
        day_of_week=_days(r),
        valid_from_date=r.start_date,
        valid_to_date=r.end_date,
        min_energy=thousand(r.min_kwh),
        max_energy=thousand(r.max_kwh),
        min_current=r.min_current,
        max_current=r.max_current,
        min_power=thousand(r.min_power),
        max_power=thousand(r.max_power),
        min_time=r.min_duration,
        max_time=r.max_duration,
    )
    return None if made == Conditions() else made


def _start_conditions(r: Restrictions) -> StartConditions | None:
    made = StartConditions(
        start_time_of_day=r.start_time,
        end_time_of_day=r.end_time,
        day_of_week=_days(r),
        valid_from_date=r.start_date,
        valid_to_date=r.end_date,
    )
    return None if made == StartConditions() else made


def _days(r: Restrictions) -> tuple[Weekday, ...] | None:
    return tuple(Weekday(day.value.capitalize()) for day in r.day_of_week) or None
