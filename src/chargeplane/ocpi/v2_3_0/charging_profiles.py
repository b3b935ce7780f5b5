"""Charging profiles, asked for by a smart charging party (OCPI 2.3.0 mod_charging_profiles)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import DateTime, Int, Number, Url
from chargeplane.ocpi.v2_3_0.enums import ChargingProfileResponseType, ChargingProfileResultType, ChargingRateUnit

__all__ = [
    "ActiveChargingProfile",
    "ActiveChargingProfileResult",
    "ChargingProfile",
    "ChargingProfilePeriod",
    "ChargingProfileResponse",
    "ChargingProfileResult",
    "ClearProfileResult",
    "SetChargingProfile",
]


class ChargingProfilePeriod(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A limit from a second of the profile on."""

    start_period: Int
    limit: Number


class ChargingProfile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits over time, in `charging_rate_unit`; durations in seconds."""

    start_date_time: DateTime | None = None
    duration: Int | None = None
    charging_rate_unit: ChargingRateUnit
    min_charging_rate: Number | None = None
    charging_profile_period: tuple[ChargingProfilePeriod, ...] = ()


class ActiveChargingProfile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The profile a station computed for a session, from its start on."""

    start_date_time: DateTime
    charging_profile: ChargingProfile


class ActiveChargingProfileResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The active profile, or why there is none."""

    result: ChargingProfileResultType
    profile: ActiveChargingProfile | None = None


class ChargingProfileResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a request about profiles is taken; `timeout` in seconds."""

    result: ChargingProfileResponseType
    timeout: Int


class ChargingProfileResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the EVSE said to a new profile."""

    result: ChargingProfileResultType


class ClearProfileResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the EVSE said to the removal of a profile."""

    result: ChargingProfileResultType


class SetChargingProfile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A profile, and where its result goes."""

    charging_profile: ChargingProfile
    response_url: Url
