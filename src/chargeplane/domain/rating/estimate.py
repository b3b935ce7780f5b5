"""The price before a session starts: of what it will probably be, and the prices of the moment for lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from chargeplane.domain.rating.bill import unit_price
from chargeplane.domain.rating.charge import Charge, Period, PeriodState
from chargeplane.domain.rating.engine import holding_at, rate
from chargeplane.domain.rating.plan import Priced, plan_of
from chargeplane.domain.rating.result import Cost, Rating, Tax
from chargeplane.domain.rating.terms import Terms
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import InvalidInputError

LONGEST: Final = timedelta(days=7)
MOST_WH: Final = Decimal(10_000_000)
MOST_W: Final = Decimal(10_000_000)
_HOUR_S: Final = Decimal(3600)


class Step(Struct, frozen=True, kw_only=True):
    """A part of a session with an even power.

    Args:
        power_w: 0 is a pause that still charges.
        duration_s: seconds.
    """

    power_w: Decimal
    duration_s: int


class Expected(Struct, frozen=True, kw_only=True):
    """What a session will probably be: a profile, or two of energy, duration and power.

    Args:
        at: when it begins, aware.
        default_power_w: of the connector, where only energy or duration is given.
        parking_s: connected after charging has ended.
        reserved_s: reserved before it begins.
    """

    at: datetime
    energy_wh: Decimal | None = None
    duration_s: int | None = None
    power_w: Decimal | None = None
    profile: Sequence[Step] = ()
    default_power_w: Decimal | None = None
    parking_s: int = 0
    reserved_s: int = 0


class PricesNow(Struct, frozen=True, kw_only=True):
    """What holds in the first moment of a session.

    Args:
        per_kwh, per_hour, per_parking_hour, fee: None where nothing is asked for it.
        until: when the clock changes something next; None: never, or only by energy, duration and power.
    """

    per_kwh: Cost | None
    per_hour: Cost | None
    per_parking_hour: Cost | None
    fee: Cost | None
    until: datetime | None


def estimate(
    expected: Expected,
    tariff: Tariff,
    time_zone: ZoneInfo,
    *,
    terms: Terms | None = None,
    taxes: Sequence[Tax] = (),
) -> Rating:
    """What a session would cost.

    Args:
        time_zone: of the location.
        terms: what the agreement changes.
    Raises:
        InvalidInputError: naming what is missing, too much or too long.
    """
    return rate(charge_expected(expected), tariff, time_zone, terms=terms, taxes=taxes)


def charge_expected(expected: Expected) -> Charge:
    """The periods of what a session will probably be.

    Raises:
        InvalidInputError: naming what is missing, too much or too long.
    """
    periods: list[Period] = []
    if expected.reserved_s:
        begun = expected.at - _lasting("reserved_s", expected.reserved_s)
        periods.append(Period(start=begun, end=expected.at, state=PeriodState.RESERVED))
    at = expected.at
    for number, step in enumerate(expected.profile or _steps(expected)):
        name = f"profile/{number}" if expected.profile else ""
        end = at + _lasting(f"{name}/duration_s".strip("/"), step.duration_s)
        power = _bounded(f"{name}/power_w".strip("/"), step.power_w, MOST_W)
        energy = power * step.duration_s / _HOUR_S
        if not expected.profile and expected.energy_wh is not None:
            energy = expected.energy_wh
        periods.append(Period(start=at, end=end, energy_wh=energy, min_power=power, max_power=power))
        at = end
    if expected.parking_s:
        end = at + _lasting("parking_s", expected.parking_s)
        periods.append(Period(start=at, end=end, state=PeriodState.PARKING))
    if periods and periods[-1].end - periods[0].start > 2 * LONGEST:
        raise _wrong("profile", f"Must last at most {LONGEST.days} days")
    return Charge(periods=tuple(periods))


def prices_now(
    tariff: Tariff, time_zone: ZoneInfo, at: datetime, *, power_w: Decimal | None = None, taxes: Sequence[Tax] = ()
) -> PricesNow:
    """The prices of the moment, for lists and maps.

    Args:
        power_w: a vehicle would charge with; restrictions on power are not met without.
    """
    held = holding_at(tariff, time_zone, at, power_w)
    _, until = plan_of(tariff).clock(at, time_zone)

    def unit(priced: Priced | None) -> Cost | None:
        return None if priced is None else unit_price(tariff, priced.price, taxes)

    return PricesNow(
        per_kwh=unit(held.energy),
        per_hour=unit(held.time),
        per_parking_hour=unit(held.parking),
        fee=unit(held.flat),
        until=until,
    )


def _steps(expected: Expected) -> tuple[Step, ...]:
    energy, seconds, power = expected.energy_wh, expected.duration_s, expected.power_w
    if energy is not None:
        _bounded("energy_wh", energy, MOST_WH)
    if power is not None:
        _bounded("power_w", power, MOST_W)
    if energy is not None and seconds is not None:
        if power is not None:
            raise _wrong("power_w", "Energy and duration are given: leave one of the three out")
        if not seconds:
            raise _wrong("duration_s", "Must be more than 0 where there is energy")
        return (Step(power_w=energy * _HOUR_S / seconds, duration_s=seconds),)
    if power is None:
        power = expected.default_power_w
    if energy is not None:
        if not power:
            raise _wrong("power_w", "Energy alone does not tell how long: give power_w or duration_s")
        lasts = int((energy * _HOUR_S / power).to_integral_value())
        if lasts > LONGEST.total_seconds():
            raise _wrong("power_w", f"At this power it takes longer than {LONGEST.days} days")
        return (Step(power_w=power, duration_s=max(1, lasts)),)
    if seconds is None:
        if not expected.parking_s and not expected.reserved_s:
            raise _wrong("energy_wh", "Give energy_wh, duration_s, a profile, parking_s or reserved_s")
        return ()
    if power is None:
        raise _wrong("power_w", "Duration alone does not tell how much: give power_w or energy_wh")
    return (Step(power_w=power, duration_s=seconds),)


def _lasting(name: str, seconds: int) -> timedelta:
    if not 0 <= seconds <= LONGEST.total_seconds():
        raise _wrong(name, f"Must be from 0 to {int(LONGEST.total_seconds()):,} seconds")
    return timedelta(seconds=seconds)


def _bounded(name: str, value: Decimal, most: Decimal) -> Decimal:
    if not value.is_finite() or not 0 <= value <= most:
        raise _wrong(name, f"Must be a number from 0 to {most:,}")
    return value


def _wrong(name: str, sentence: str) -> InvalidInputError:
    return InvalidInputError(f"'{name}': {sentence}.", ((f"/{name}", sentence),))
