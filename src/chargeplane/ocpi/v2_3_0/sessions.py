"""Charging sessions while they run (OCPI 2.3.0 mod_sessions)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import CiString2, CiString3, CiString36, DateTime, Number, String3, String255
from chargeplane.ocpi.v2_3_0.cdrs import CdrToken, ChargingPeriod
from chargeplane.ocpi.v2_3_0.enums import AuthMethod, ProfileType, SessionStatus
from chargeplane.ocpi.v2_3_0.types import Price

__all__ = [
    "ChargingPreferences",
    "Session",
]


class ChargingPreferences(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the driver wants; energy in kWh."""

    profile_type: ProfileType
    departure_time: DateTime | None = None
    energy_need: Number | None = None
    discharge_allowed: bool | None = None


class Session(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A charging session as it stands; energy in kWh."""

    country_code: CiString2
    party_id: CiString3
    id: CiString36
    start_date_time: DateTime
    end_date_time: DateTime | None = None
    kwh: Number
    cdr_token: CdrToken
    auth_method: AuthMethod
    authorization_reference: CiString36 | None = None
    location_id: CiString36
    evse_uid: CiString36
    connector_id: CiString36
    meter_id: String255 | None = None
    currency: String3
    charging_periods: tuple[ChargingPeriod, ...] = ()
    total_cost: Price | None = None
    status: SessionStatus
    last_updated: DateTime
