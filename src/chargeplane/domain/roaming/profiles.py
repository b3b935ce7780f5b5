"""Charging profiles of partners for sessions of their drivers (OCPI 2.3.0 mod_charging_profiles)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.charging_abilities import Reported, max_stack_level
from chargeplane.domain.charging_plans import differences
from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.domain.commands.smart_charging import StationSchedule
from chargeplane.domain.composite_schedules import CompositeSchedule
from chargeplane.domain.roaming.commands import Profile
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.time import as_utc, rfc3339

FIRST_ID: Final = 1_300_000_000
"""Profiles of partners have this id, plus a number of their session's: another one for each that goes on at a station."""

_IDS: Final = 100_000_000
MOST_PERIODS: Final = 1000
_LEVEL: Final = 2
_TENTH: Final = Decimal("0.1")


def profile_id(session_id: int) -> int:
    """The id of a session's profile at its station."""
    return FIRST_ID + session_id % _IDS


def station_profile(wanted: Profile, session_id: int, evse_id: int, transaction_id: str) -> ChargingProfile:
    """A partner's profile as one of the transaction.

    Args:
        transaction_id: as the station names it.

    Raises:
        InvalidInputError: it is none that a station could be told; names the field.
    """
    try:
        unit = RateUnit(wanted.charging_rate_unit)
    except ValueError:
        raise _wrong("charging_rate_unit", "It is W or A") from None
    periods = wanted.charging_profile_period
    if not periods:
        raise _wrong("charging_profile_period", "At least one period is required")
    if len(periods) > MOST_PERIODS:
        raise _wrong("charging_profile_period", f"More than {MOST_PERIODS} periods")
    starts = [one.start_period for one in periods]
    # OCPP 1.6, 7.14 and 2.0.1 K01: the first begins at 0, each later than the one before.
    if starts[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(starts)):
        raise _wrong("charging_profile_period", "The first period starts at 0, each later than the one before")
    if any(not one.limit.is_finite() or not 0 <= one.limit < 10**9 for one in periods):
        raise _wrong("charging_profile_period", "A limit is not negative, and finite")
    if wanted.duration is not None and wanted.duration <= 0:
        raise _wrong("duration", "It is longer than nothing")
    start = None if wanted.start_date_time is None else as_utc(wanted.start_date_time)
    return ChargingProfile(
        id=profile_id(session_id),
        evse_id=evse_id,
        stack_level=0,
        purpose=ProfilePurpose.TX,
        # Without a start it counts from the start of charging.
        kind=ProfileKind.RELATIVE if start is None else ProfileKind.ABSOLUTE,
        schedules=(
            ChargingSchedule(
                id=profile_id(session_id),
                unit=unit,
                periods=tuple(
                    ChargingPeriod(start_s=one.start_period, limit=one.limit.quantize(_TENTH).normalize() + 0)
                    for one in periods
                ),
                start=start,
                duration_s=wanted.duration,
                min_charging_rate=wanted.min_charging_rate,
            ),
        ),
        transaction_id=transaction_id,
    )


def level_of(reported: Reported) -> int:
    """The stack level of a partner's profile: above what is planned for the vehicle, where the station has as many.

    Args:
        reported: what the station told of itself.
    """
    most = max_stack_level(reported)
    return _LEVEL if most is None else max(0, min(_LEVEL, most))


class ActiveProfile(Struct, frozen=True, kw_only=True):
    """What limits a session from a moment on, as a partner was told.

    Args:
        duration_s: what is later is not known.
        periods: a `limit` of None is no limit.
    """

    start: datetime
    duration_s: int
    unit: RateUnit
    periods: tuple[ChargingPeriod, ...]

    def since(self, at: datetime) -> tuple[ChargingPeriod, ...]:
        """The periods counted from a later moment."""
        passed = int((at - self.start) / timedelta(seconds=1))
        shifted = [replace(one, start_s=one.start_s - passed) for one in self.periods]
        first = max((place for place, one in enumerate(shifted) if one.start_s <= 0), default=0)
        return tuple(replace(one, start_s=max(0, one.start_s)) for one in shifted[first:])

    @property
    def document(self) -> dict[str, Any]:
        """As OCPI ActiveChargingProfile."""
        schedule = StationSchedule(start=self.start, duration_s=self.duration_s, unit=self.unit, periods=self.periods)
        return active_profile(schedule, self.start)


def told_of(schedule: CompositeSchedule) -> ActiveProfile:
    """A composite schedule as a partner is told it."""
    return ActiveProfile(
        start=schedule.start,
        duration_s=schedule.duration_s,
        unit=schedule.unit,
        periods=tuple(ChargingPeriod(start_s=one.start_s, limit=one.limit) for one in schedule.periods),
    )


def is_other(told: ActiveProfile, now: ActiveProfile) -> bool:
    """Whether what holds from now on is other than was told, as far as that went."""
    if told.unit is not now.unit or now.start < told.start:
        return True
    ends = min(told.start + timedelta(seconds=told.duration_s), now.start + timedelta(seconds=now.duration_s))
    left = int((ends - now.start) / timedelta(seconds=1))
    if left <= 0:
        return True
    return bool(differences(_until(now.periods, left), _until(told.since(now.start), left), left))


def _until(periods: Sequence[ChargingPeriod], seconds: int) -> list[ChargingPeriod]:
    return [one for one in periods if one.start_s < seconds]


def active_profile(schedule: StationSchedule, now: datetime) -> dict[str, Any]:
    """What a station plans, as OCPI ActiveChargingProfile. Periods without a limit are left out: OCPI cannot say so.

    Args:
        now: where the schedule names no start.
    """
    start = rfc3339(schedule.start or now)
    profile: dict[str, Any] = {
        "start_date_time": start,
        "charging_rate_unit": schedule.unit.value,
        "charging_profile_period": [
            {"start_period": one.start_s, "limit": float(round(one.limit, 1))}
            for one in schedule.periods
            if one.limit is not None
        ],
    }
    if schedule.duration_s is not None:
        profile["duration"] = schedule.duration_s
    return {"start_date_time": start, "charging_profile": profile}


def _wrong(field: str, sentence: str) -> InvalidInputError:
    return InvalidInputError(
        f"The charging profile is not right: {field}: {sentence}.", ((f"/charging_profile/{field}", sentence),)
    )
