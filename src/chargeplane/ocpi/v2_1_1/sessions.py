"""Charging sessions while they run (OCPI 2.1.1 mod_sessions)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import DateTime, Number, String3, String36, String255
from chargeplane.ocpi.v2_1_1.cdrs import ChargingPeriod
from chargeplane.ocpi.v2_1_1.enums import AuthMethod, SessionStatus
from chargeplane.ocpi.v2_1_1.locations import Location

__all__ = [
    "Session",
]


class Session(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A charging session as it stands; energy in kWh."""

    id: String36
    start_datetime: DateTime
    end_datetime: DateTime | None = None
    kwh: Number
    auth_id: String36
    auth_method: AuthMethod
    location: Location
    meter_id: String255 | None = None
    currency: String3
    charging_periods: tuple[ChargingPeriod, ...] = ()
    total_cost: Number | None = None
    status: SessionStatus
    last_updated: DateTime
