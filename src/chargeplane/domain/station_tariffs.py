"""Tariffs that a charging station calculates with by itself (OCPP 2.1 I07 to I12), and what it tells about them.

The structure is OCPP's, which maps onto those of roaming protocols. Prices are in the major unit of `currency`, without tax.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final

from msgspec import Meta, Struct

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_TimeOfDay = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
_Date = Annotated[str, Meta(pattern=r"^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
_Seconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]

TariffId = Annotated[str, Meta(min_length=1, max_length=60)]
"""OCPP tariffId."""


_LARGEST: Final = Decimal(10**12)


def within_reason(value: Struct, *names: str) -> None:
    """Refuses numbers below 0 and beyond what any price or quantity can be; msgspec has no limits for Decimals.

    Raises:
        ValueError: which the decoder makes its own error of.
    """
    for name in names:
        number = getattr(value, name)
        if number is not None and not (number.is_finite() and 0 <= number <= _LARGEST):
            raise ValueError(f"{name} must be a number from 0 to {_LARGEST:,}")


class TextFormat(enum.StrEnum):
    """OCPP 2.1 MessageFormatEnum."""

    ASCII = "ASCII"
    HTML = "HTML"
    URI = "URI"
    UTF8 = "UTF8"
    QRCODE = "QRCODE"


class ShownText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text for a display (OCPP MessageContentType).

    Args:
        language: RFC 5646, such as `en` or `de-CH`.
    """

    content: _Text
    format: TextFormat = TextFormat.UTF8
    language: Annotated[str, Meta(min_length=2, max_length=8)] | None = None


class Weekday(enum.StrEnum):
    """OCPP 2.1 DayOfWeekEnum."""

    MONDAY = "Monday"
    TUESDAY = "Tuesday"
    WEDNESDAY = "Wednesday"
    THURSDAY = "Thursday"
    FRIDAY = "Friday"
    SATURDAY = "Saturday"
    SUNDAY = "Sunday"


class CurrentKind(enum.StrEnum):
    """OCPP 2.1 EvseKindEnum."""

    AC = "AC"
    DC = "DC"


class Conditions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a price holds; all that are given must be met (OCPP 2.1 TariffConditionsType).

    Args:
        start_time_of_day, end_time_of_day: local time of the station, `HH:MM`; the end does not belong.
        valid_from_date, valid_to_date: local days; the last one does not belong.
        min_energy, max_energy: of the transaction so far, in Wh.
        min_current, max_current: sum over phases, in A.
        min_power, max_power: in W.
        min_time, max_time, min_charging_time, max_charging_time, min_idle_time, max_idle_time: of the transaction so far, in s.
    """

    start_time_of_day: _TimeOfDay | None = None
    end_time_of_day: _TimeOfDay | None = None
    day_of_week: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7)] | None = None
    valid_from_date: _Date | None = None
    valid_to_date: _Date | None = None
    evse_kind: CurrentKind | None = None
    min_energy: Decimal | None = None
    max_energy: Decimal | None = None
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    min_time: _Seconds | None = None
    max_time: _Seconds | None = None
    min_charging_time: _Seconds | None = None
    max_charging_time: _Seconds | None = None
    min_idle_time: _Seconds | None = None
    max_idle_time: _Seconds | None = None

    def __post_init__(self) -> None:
        within_reason(self, "min_energy", "max_energy", "min_current", "max_current", "min_power", "max_power")


class StartConditions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a fee at the start holds (OCPP 2.1 TariffConditionsFixedType).

    Args:
        payment_brand, payment_recognition: as in OCPP's lists, such as `Visa` and `CC`.
    """

    start_time_of_day: _TimeOfDay | None = None
    end_time_of_day: _TimeOfDay | None = None
    day_of_week: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7)] | None = None
    valid_from_date: _Date | None = None
    valid_to_date: _Date | None = None
    evse_kind: CurrentKind | None = None
    payment_brand: Annotated[str, Meta(max_length=20)] | None = None
    payment_recognition: Annotated[str, Meta(max_length=20)] | None = None


class TaxRate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tax.

    Args:
        type: such as `vat`.
        tax: percent.
        stack: order where taxes are put on taxes; equal ones add up.
    """

    type: Annotated[str, Meta(min_length=1, max_length=20)]
    tax: Decimal
    stack: Annotated[int, Meta(ge=0, le=100)] | None = None

    def __post_init__(self) -> None:
        within_reason(self, "tax")


_Taxes = Annotated[tuple[TaxRate, ...], Meta(min_length=1, max_length=5)] | None


class EnergyPrice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price a kWh; the first of a list whose conditions are met holds."""

    price_kwh: Decimal
    conditions: Conditions | None = None

    def __post_init__(self) -> None:
        within_reason(self, "price_kwh")


class TimePrice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price a minute; the first of a list whose conditions are met holds."""

    price_minute: Decimal
    conditions: Conditions | None = None

    def __post_init__(self) -> None:
        within_reason(self, "price_minute")


class FixedPrice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fee at the start; the first of a list whose conditions are met holds."""

    price_fixed: Decimal
    conditions: StartConditions | None = None

    def __post_init__(self) -> None:
        within_reason(self, "price_fixed")


class EnergyPrices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What energy costs."""

    prices: Annotated[tuple[EnergyPrice, ...], Meta(min_length=1, max_length=100)]
    tax_rates: _Taxes = None


class TimePrices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What time costs."""

    prices: Annotated[tuple[TimePrice, ...], Meta(min_length=1, max_length=100)]
    tax_rates: _Taxes = None


class FixedPrices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is paid at the start."""

    prices: Annotated[tuple[FixedPrice, ...], Meta(min_length=1, max_length=100)]
    tax_rates: _Taxes = None


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount, with or without tax."""

    excl_tax: Decimal | None = None
    incl_tax: Decimal | None = None
    tax_rates: _Taxes = None

    def __post_init__(self) -> None:
        within_reason(self, "excl_tax", "incl_tax")


class StationTariff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a station calculates with.

    Args:
        tariff_id: ours.
        currency: ISO 4217.
        description: for the display, one a language.
        valid_from: a default tariff waits for it.
        idle_time: connected without charging.
        min_cost, max_cost: of the whole transaction.
    """

    tariff_id: TariffId
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
    description: Annotated[tuple[ShownText, ...], Meta(min_length=1, max_length=10)] | None = None
    valid_from: Annotated[datetime, Meta(tz=True)] | None = None
    energy: EnergyPrices | None = None
    charging_time: TimePrices | None = None
    idle_time: TimePrices | None = None
    fixed_fee: FixedPrices | None = None
    reservation_time: TimePrices | None = None
    reservation_fixed: FixedPrices | None = None
    min_cost: Price | None = None
    max_cost: Price | None = None


class TariffAssignment(Struct, frozen=True, kw_only=True):
    """A tariff a station has.

    Args:
        kind: DefaultTariff or DriverTariff.
        evse_ids: where it holds.
        id_tokens: whose it is.
    """

    tariff_id: str
    kind: str
    valid_from: datetime | None = None
    evse_ids: tuple[int, ...] = ()
    id_tokens: tuple[str, ...] = ()


class TariffsThere(Struct, frozen=True, kw_only=True):
    """What a station answers to GetTariffs."""

    assignments: tuple[TariffAssignment, ...] = ()


class TariffCleared(Struct, frozen=True, kw_only=True):
    """How the clearing of one tariff ended.

    Args:
        status: Accepted, Rejected or NoTariff.
    """

    tariff_id: str | None
    status: str


class TariffsCleared(Struct, frozen=True, kw_only=True):
    """What a station answers to ClearTariffs."""

    results: tuple[TariffCleared, ...] = ()
