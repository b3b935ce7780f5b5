"""Charging sessions while they run (OCPI 2.2.1 mod_sessions)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import CiString2, CiString3, CiString36, DateTime, Number, String3, String255
from chargeplane.ocpi.v2_2_1.cdrs import CdrToken, ChargingPeriod
from chargeplane.ocpi.v2_2_1.enums import AuthMethod, SessionStatus
from chargeplane.ocpi.v2_2_1.types import Price
from chargeplane.ocpi.v2_3_0.sessions import ChargingPreferences

__all__ = [
    "ChargingPreferences",
    "Session",
]


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
