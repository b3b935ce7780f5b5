"""Whether a partner's CDR costs what its tariff says: rated again by the engine, from the periods that the CDR tells.

The tariff is the one that stands in the CDR, which is as it was when the session began (OCPI 2.3.0 mod_cdrs, CDR); where it has none,
our copy of the partner's tariff, if that did not change since. What cannot be rated is told, not guessed. Compared are the total
before and after taxes, the sum of the energy, and where both tell them the parts.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from chargeplane.domain.rating import Charge, CostGroup, Period, PeriodState, Rating, rate
from chargeplane.domain.roaming.records import CdrSaid, PeriodSaid, Price, tariff_said
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import InvalidInputError, RuleError
from chargeplane.kernel.time import as_utc

_NOTHING: Final = Decimal(0)
_KWH: Final = Decimal("0.001")
_EXPIRED_STATES: Final = frozenset({PeriodState.RESERVED})


class Verdict(enum.StrEnum):
    """What came of the check."""

    WAITING = "waiting"
    """It was not looked at yet."""
    AGREES = "agrees"
    DIFFERS = "differs"
    UNRATED = "unrated"
    """It cannot be rated: the sentence says why."""
    CREDIT = "credit"
    """It takes another one back."""


class Tolerance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a CDR may be from what we find; the larger of both holds.

    Args:
        amount: in the major unit of the CDR's currency.
        percent: of the CDR's total.
    """

    amount: Decimal = Decimal("0.02")
    percent: Decimal = Decimal("0.5")


class Difference(Struct, frozen=True, kw_only=True):
    """What is not as it should be.

    Args:
        what: `total_excl`, `total_incl`, `energy_kwh`, `energy_cost`, ...
        told: by the partner; found: by us. None where there is none.
    """

    what: str
    told: Decimal | None
    found: Decimal | None
    because: str | None = None


class Check(Struct, frozen=True, kw_only=True):
    """The check of a CDR.

    Args:
        because: of UNRATED.
        tariff_id: by which it was rated.
        source: `cdr` or `replica`: whose copy of the tariff it was.
        total_excl, total_incl: as we find them.
    """

    verdict: Verdict
    because: str | None = None
    tariff_id: str | None = None
    source: str | None = None
    total_excl: Decimal | None = None
    total_incl: Decimal | None = None
    differences: tuple[Difference, ...] = ()


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Check).decode


def check_text(check: Check) -> str:
    """As stored."""
    return _encode(check).decode()


def check_of(text: str | None) -> Check | None:
    """From the store."""
    return None if text is None else _decode(text)


def charge_told(said: CdrSaid, *, canceled: bool = False) -> Charge:
    """The periods of a CDR as the engine takes them.

    A period lasts until the next one, the last until the end. One that tells TIME and PARKING_TIME both is charging first, parking then.
    RESERVATION_TIME and RESERVATION_EXPIRES are the time before a session, or without one; from the first period with
    RESERVATION_OVERTIME on a session lasts longer than it was booked for.

    Args:
        canceled: the booking of the CDR was canceled.
    Raises:
        InvalidInputError: there are none, or they are not in order.
    """
    periods: list[Period] = []
    told = said.charging_periods
    if not told:
        raise InvalidInputError("The CDR has no charging periods.")
    starts = [as_utc(one.start_date_time) for one in told]
    ends = [*starts[1:], max(as_utc(said.end_date_time), starts[-1])]
    for one, start, end in zip(told, starts, ends, strict=True):
        if end < start:
            raise InvalidInputError("The CDR's charging periods are not in order.")
        periods += _periods(one, start, end)
    expired = {one.state for one in periods} == _EXPIRED_STATES
    booked = said.booking_id is not None
    over = [start for one, start in zip(told, starts, strict=True) if one.of("RESERVATION_OVERTIME")]
    return Charge(
        periods=tuple(periods),
        reservation_expired=expired,
        booked=booked,
        canceled=booked and canceled and expired,
        booked_until=over[0] if over else None,
    )


def _periods(said: PeriodSaid, start: datetime, end: datetime) -> list[Period]:
    energy = max((said.of("ENERGY") or _NOTHING) * 1000, _NOTHING)
    time, parking = said.of("TIME"), said.of("PARKING_TIME")
    reserved = said.of("RESERVATION_TIME") or said.of("RESERVATION_EXPIRES")

    def period(since: datetime, until: datetime, state: PeriodState, wh: Decimal) -> Period:
        power_min, power_max = said.of("MIN_POWER"), said.of("MAX_POWER")
        return Period(
            start=since,
            end=until,
            energy_wh=wh,
            state=state,
            min_current=said.of("MIN_CURRENT"),
            max_current=said.of("MAX_CURRENT"),
            min_power=None if power_min is None else power_min * 1000,
            max_power=None if power_max is None else power_max * 1000,
        )

    if reserved:
        return [period(start, end, PeriodState.RESERVED, _NOTHING)]
    if parking and time:
        middle = min(end, start + timedelta(seconds=float(time * 3600)))
        return [
            period(start, middle, PeriodState.CHARGING, energy),
            period(middle, end, PeriodState.PARKING, _NOTHING),
        ]
    state = PeriodState.PARKING if parking else PeriodState.CHARGING
    return [period(start, end, state, energy)]


def tariff_for(said: CdrSaid, replicas: Mapping[str, bytes]) -> tuple[Tariff, str]:
    """The tariff that a CDR is to be rated by, and whose copy it is.

    Args:
        replicas: our copies of the partner's tariffs, by their id in lower case.
    Raises:
        InvalidInputError: there is none, there are several, or it changed since the session began.
    """
    named = {one.tariff_id.lower() for one in said.charging_periods if one.tariff_id is not None}
    embedded = [tariff_said(bytes(one)) for one in said.tariffs]
    if len(named) > 1:
        raise InvalidInputError("Its periods are priced by several tariffs.")
    if named:
        embedded = [one for one in embedded if one.id.lower() in named] or embedded
    if len(embedded) == 1:
        return embedded[0], "cdr"
    if embedded:
        raise InvalidInputError("It has several tariffs and does not say which priced it.")
    for ident in named:
        if ident in replicas:
            tariff = tariff_said(replicas[ident])
            if tariff.last_updated > as_utc(said.start_date_time):
                raise InvalidInputError(f"Its tariff '{tariff.id}' has changed since the session began.")
            return tariff, "replica"
    raise InvalidInputError("It has no tariff.")


def checked(
    said: CdrSaid, replicas: Mapping[str, bytes], time_zone: ZoneInfo, tolerance: Tolerance, *, canceled: bool = False
) -> tuple[Check, Rating | None, Tariff | None]:
    """Rates a CDR again and compares.

    Args:
        time_zone: of the Location.
        canceled: the booking of the CDR was canceled.
    """
    if said.credit:
        return Check(verdict=Verdict.CREDIT), None, None
    try:
        tariff, source = tariff_for(said, replicas)
        if tariff.currency != said.currency:
            raise InvalidInputError(f"The tariff is in {tariff.currency}, the CDR in {said.currency}.")
        rating = rate(charge_told(said, canceled=canceled), tariff, time_zone)
    except (RuleError, ArithmeticError, OverflowError) as error:
        return Check(verdict=Verdict.UNRATED, because=str(error)), None, None
    differences = _differences(said, rating, tolerance)
    return (
        Check(
            verdict=Verdict.DIFFERS if differences else Verdict.AGREES,
            tariff_id=tariff.id,
            source=source,
            total_excl=rating.due.excl,
            total_incl=rating.due.incl,
            differences=tuple(differences),
        ),
        rating,
        tariff,
    )


def _differences(said: CdrSaid, rating: Rating, tolerance: Tolerance) -> list[Difference]:
    told = said.total_cost.cost
    allowed = max(tolerance.amount, abs(told.incl) * tolerance.percent / 100)
    found: list[Difference] = []

    def compare(what: str, one: Decimal, other: Decimal, within: Decimal) -> None:
        if abs(one - other) > within:
            found.append(Difference(what=what, told=one, found=other))

    compare("total_excl", told.excl, rating.due.excl, allowed)
    if said.total_cost.taxes:
        compare("total_incl", told.incl, rating.due.incl, allowed)
    counted = sum((one.of("ENERGY") or _NOTHING for one in said.charging_periods), _NOTHING)
    compare("energy_kwh", said.total_energy, counted, _KWH)
    for what, price, group in _parts(said):
        part = rating.groups.get(group)
        if price is not None:
            compare(what, price.before_taxes, _NOTHING if part is None else part.excl, allowed)
    return found


def _parts(said: CdrSaid) -> Sequence[tuple[str, Price | None, CostGroup]]:
    return (
        ("fixed_cost", said.total_fixed_cost, CostGroup.FIXED),
        ("energy_cost", said.total_energy_cost, CostGroup.ENERGY),
        ("time_cost", said.total_time_cost, CostGroup.TIME),
        ("parking_cost", said.total_parking_cost, CostGroup.PARKING),
        ("reservation_cost", said.total_reservation_cost, CostGroup.RESERVATION),
    )
