"""The tariff of the house: OCPI 2.3.0's, with a version of our own.

A tariff is a list of elements; each has price components for dimensions (energy, time, parking, a flat fee) and restrictions
that say when they hold. For each dimension the first element holds whose restrictions are met (OCPI 2.3.0 mod_tariffs).
`preauthorize_amount` is of OCPI 2.3.0 Payments. Prices are in the major unit of the currency, unrounded.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final

from msgspec import Meta, Struct

LARGEST: Final = Decimal(10**9)
"""No price, limit or quantity of a tariff is larger."""

DECIMALS: Final = 6
"""Decimals a price may have; OCPI's numbers have four."""

Language = Annotated[str, Meta(pattern=r"^[a-z]{2}$", description="ISO 639-1, such as `en`.")]
CountryCode = Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2.")]
PartyId = Annotated[str, Meta(pattern=r"^[A-Z0-9]{3}$", description="Of the operator, by ISO 15118.")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217.")]
Url = Annotated[str, Meta(max_length=255, pattern=r"^https?://[^\s]+$")]
OcpiId = Annotated[str, Meta(min_length=1, max_length=36, pattern=r"^[!-~]+$")]
"""An id of OCPI: 1 to 36 printable ASCII characters, kept as given, compared without case."""

_TimeOfDay = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
_Date = Annotated[str, Meta(pattern=r"^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
_Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]


class DisplayText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text for people in one language (OCPI types, DisplayText)."""

    language: Language
    text: Annotated[str, Meta(min_length=1, max_length=512)]


class TariffType(enum.StrEnum):
    """Whom a tariff is for (OCPI TariffType)."""

    AD_HOC_PAYMENT = "AD_HOC_PAYMENT"
    PROFILE_CHEAP = "PROFILE_CHEAP"
    PROFILE_FAST = "PROFILE_FAST"
    PROFILE_GREEN = "PROFILE_GREEN"
    REGULAR = "REGULAR"


class TaxIncluded(enum.StrEnum):
    """Whether taxes are in the prices (OCPI TaxIncluded)."""

    YES = "YES"
    NO = "NO"
    NOT_APPLICABLE = "N/A"


class TariffDimension(enum.StrEnum):
    """What a price is for (OCPI TariffDimensionType): energy per kWh, times per hour, a flat fee once."""

    ENERGY = "ENERGY"
    FLAT = "FLAT"
    PARKING_TIME = "PARKING_TIME"
    TIME = "TIME"


class DayOfWeek(enum.StrEnum):
    """OCPI DayOfWeek, in the order of `date.weekday()`."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


class ReservationRestriction(enum.StrEnum):
    """That an element is about a reservation, or one that was not used (OCPI ReservationRestrictionType)."""

    RESERVATION = "RESERVATION"
    RESERVATION_EXPIRES = "RESERVATION_EXPIRES"


class BookingRestriction(enum.StrEnum):
    """Which part of a booking an element is about (OCPI BookingRestrictionType)."""

    BOOKING = "BOOKING"
    BOOKING_EXPIRES = "BOOKING_EXPIRES"
    """Nobody came."""
    BOOKING_CANCELLATION_FEES = "BOOKING_CANCELLATION_FEES"
    BOOKING_OVERTIME = "BOOKING_OVERTIME"
    """Charging goes on after the booking's end."""


class PriceComponent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one dimension costs.

    Args:
        price: per kWh, hour or once; with or without taxes as `tax_included` of the tariff says.
        vat: percent; None where the tariff names no tax.
        step_size: Wh or seconds that are billed together; 0 as 1.
    """

    type: TariffDimension
    price: Decimal
    vat: Decimal | None = None
    step_size: Annotated[int, Meta(ge=0, le=10_000_000)] = 1


class Restrictions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When an element holds; all that are given must be met (OCPI TariffRestrictions).

    Args:
        start_time, end_time: local time of day, `HH:MM`; the end does not belong; an end before the start is on the next day.
        start_date, end_date: local days; the last one does not belong.
        min_kwh, max_kwh: of the session so far.
        min_current, max_current: A, sum over phases, at the moment.
        min_power, max_power: kW, at the moment.
        min_duration, max_duration: s, of the session so far.
        reservation: the element is about a reservation.
        booking: the element is about a booking; instead of `reservation`, and for bookings it goes before that.
    """

    start_time: _TimeOfDay | None = None
    end_time: _TimeOfDay | None = None
    start_date: _Date | None = None
    end_date: _Date | None = None
    min_kwh: Decimal | None = None
    max_kwh: Decimal | None = None
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    min_duration: _Seconds | None = None
    max_duration: _Seconds | None = None
    day_of_week: Annotated[tuple[DayOfWeek, ...], Meta(max_length=7)] = ()
    reservation: ReservationRestriction | None = None
    booking: BookingRestriction | None = None

    @property
    def about(self) -> ReservationRestriction | BookingRestriction | None:
        """What the element is about instead of a session."""
        return self.booking or self.reservation


class TariffElement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Prices that hold under the same restrictions."""

    price_components: Annotated[tuple[PriceComponent, ...], Meta(min_length=1, max_length=20)]
    restrictions: Restrictions | None = None


class PriceLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The least or most that a session costs, before and after taxes; both hold."""

    before_taxes: Decimal
    after_taxes: Decimal | None = None


class EnergySourceCategory(enum.StrEnum):
    """OCPI EnergySourceCategory."""

    NUCLEAR = "NUCLEAR"
    GENERAL_FOSSIL = "GENERAL_FOSSIL"
    COAL = "COAL"
    GAS = "GAS"
    GENERAL_GREEN = "GENERAL_GREEN"
    SOLAR = "SOLAR"
    WIND = "WIND"
    WATER = "WATER"


class EnergySource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share of the energy, in percent."""

    source: EnergySourceCategory
    percentage: Decimal


class EnvironmentalImpact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a kWh leaves behind.

    Args:
        category: NUCLEAR_WASTE, CARBON_DIOXIDE, or another (an open enumeration).
        amount: g/kWh.
    """

    category: Annotated[str, Meta(min_length=1, max_length=50)]
    amount: Decimal


class EnergyMix(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the energy comes from (OCPI EnergyMix)."""

    is_green_energy: bool
    energy_sources: Annotated[tuple[EnergySource, ...], Meta(max_length=20)] = ()
    environ_impact: Annotated[tuple[EnvironmentalImpact, ...], Meta(max_length=20)] = ()
    supplier_name: Annotated[str, Meta(max_length=64)] | None = None
    energy_product_name: Annotated[str, Meta(max_length=64)] | None = None


class TariffContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a version of a tariff says: OCPI's Tariff without its ids and times of storage.

    Args:
        country_code, party_id: of the operator; None: the tenant's own.
        tax_included: whether taxes are in the prices; OCPI 2.2.1 and before: NO.
        min_price, max_price: of a session, before and after taxes.
        preauthorize_amount: what a payment terminal should reserve (OCPI 2.3.0 Payments).
        start_date_time, end_date_time: when the tariff holds; a session that began under it ends under it.
    """

    currency: Currency
    elements: Annotated[tuple[TariffElement, ...], Meta(min_length=1, max_length=100)]
    tax_included: TaxIncluded
    country_code: CountryCode | None = None
    party_id: PartyId | None = None
    type: TariffType | None = None
    tariff_alt_text: Annotated[tuple[DisplayText, ...], Meta(max_length=50)] = ()
    tariff_alt_url: Url | None = None
    min_price: PriceLimit | None = None
    max_price: PriceLimit | None = None
    preauthorize_amount: Decimal | None = None
    start_date_time: Annotated[datetime, Meta(tz=True)] | None = None
    end_date_time: Annotated[datetime, Meta(tz=True)] | None = None
    energy_mix: EnergyMix | None = None


class Tariff(TariffContent, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A version of a tariff: never changed, so that what a session froze stays what it was.

    Args:
        id: unique within the tenant.
        version: ours, from 1.
        last_updated: when this version was stored.
    """

    id: OcpiId
    last_updated: datetime
    version: int = 1

    def holds(self, at: datetime) -> bool:
        """Whether the tariff may be begun with at a moment: from `start_date_time` until before `end_date_time`."""
        started = self.start_date_time is None or at >= self.start_date_time
        return started and (self.end_date_time is None or at < self.end_date_time)
