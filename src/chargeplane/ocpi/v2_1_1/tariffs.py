"""Tariffs (OCPI 2.1.1 mod_tariffs)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import DateTime, Int, Number, String3, String5, String10, String36, Url
from chargeplane.ocpi.v2_1_1.enums import DayOfWeek, TariffDimensionType
from chargeplane.ocpi.v2_1_1.locations import EnergyMix
from chargeplane.ocpi.v2_1_1.types import DisplayText

__all__ = [
    "PriceComponent",
    "Tariff",
    "TariffElement",
    "TariffRestrictions",
]


class PriceComponent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price per unit: kWh, hour or session; `step_size` in Wh or seconds."""

    type: TariffDimensionType
    price: Number
    step_size: Int


class TariffRestrictions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When an element applies: kWh, A, kW and seconds."""

    start_time: String5 | None = None
    end_time: String5 | None = None
    start_date: String10 | None = None
    end_date: String10 | None = None
    min_kwh: Number | None = None
    max_kwh: Number | None = None
    min_power: Number | None = None
    max_power: Number | None = None
    min_duration: Int | None = None
    max_duration: Int | None = None
    day_of_week: tuple[DayOfWeek, ...] = ()


class TariffElement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Prices, and when they apply."""

    price_components: Annotated[tuple[PriceComponent, ...], Meta(min_length=1)]
    restrictions: TariffRestrictions | None = None


class Tariff(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Prices by elements, of which the first that fits applies per dimension."""

    id: String36
    currency: String3
    tariff_alt_text: tuple[DisplayText, ...] = ()
    tariff_alt_url: Url | None = None
    elements: Annotated[tuple[TariffElement, ...], Meta(min_length=1)]
    energy_mix: EnergyMix | None = None
    last_updated: DateTime
