"""Tariffs (OCPI 2.3.0 mod_tariffs)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import (
    CiString2,
    CiString3,
    CiString36,
    DateTime,
    Int,
    Number,
    String3,
    String5,
    String10,
    Url,
)
from chargeplane.ocpi.v2_3_0.enums import (
    BookingRestrictionType,
    DayOfWeek,
    ReservationRestrictionType,
    TariffDimensionType,
    TariffType,
    TaxIncluded,
)
from chargeplane.ocpi.v2_3_0.locations import EnergyMix
from chargeplane.ocpi.v2_3_0.types import DisplayText

__all__ = [
    "PriceComponent",
    "PriceLimit",
    "Tariff",
    "TariffElement",
    "TariffRestrictions",
]


class PriceComponent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price per unit: kWh, hour or session; `step_size` in Wh or seconds."""

    type: TariffDimensionType
    price: Number
    vat: Number | None = None
    step_size: Int


class PriceLimit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A least or highest amount."""

    before_taxes: Number
    after_taxes: Number | None = None


class TariffRestrictions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When an element applies: kWh, A, kW and seconds."""

    start_time: String5 | None = None
    end_time: String5 | None = None
    start_date: String10 | None = None
    end_date: String10 | None = None
    min_kwh: Number | None = None
    max_kwh: Number | None = None
    min_current: Number | None = None
    max_current: Number | None = None
    min_power: Number | None = None
    max_power: Number | None = None
    min_duration: Int | None = None
    max_duration: Int | None = None
    day_of_week: tuple[DayOfWeek, ...] = ()
    reservation: ReservationRestrictionType | None = None
    booking: BookingRestrictionType | None = None


class TariffElement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Prices, and when they apply."""

    price_components: Annotated[tuple[PriceComponent, ...], Meta(min_length=1)]
    restrictions: TariffRestrictions | None = None


class Tariff(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Prices by elements, of which the first that fits applies per dimension."""

    country_code: CiString2
    party_id: CiString3
    id: CiString36
    currency: String3
    type: TariffType | None = None
    tariff_alt_text: tuple[DisplayText, ...] = ()
    tariff_alt_url: Url | None = None
    min_price: PriceLimit | None = None
    max_price: PriceLimit | None = None
    preauthorize_amount: Number | None = None
    elements: Annotated[tuple[TariffElement, ...], Meta(min_length=1)]
    tax_included: TaxIncluded
    start_date_time: DateTime | None = None
    end_date_time: DateTime | None = None
    energy_mix: EnergyMix | None = None
    last_updated: DateTime
