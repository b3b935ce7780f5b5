"""Charge detail records (OCPI 2.1.1 mod_cdrs)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import CiString36, DateTime, Number, String3, String36, String255
from chargeplane.ocpi.v2_1_1.enums import AuthMethod, CdrDimensionType
from chargeplane.ocpi.v2_1_1.locations import Location
from chargeplane.ocpi.v2_1_1.tariffs import Tariff

__all__ = [
    "CDR",
    "CdrDimension",
    "ChargingPeriod",
]


class CdrDimension(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A quantity in a charging period, in the unit of its type."""

    type: CdrDimensionType
    volume: Number


class ChargingPeriod(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of a session to which one set of prices applies."""

    start_date_time: DateTime
    dimensions: Annotated[tuple[CdrDimension, ...], Meta(min_length=1)]


class CDR(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A charge detail record: energy in kWh, times in hours, costs in `currency`. It never changes once sent."""

    id: CiString36
    start_date_time: DateTime
    stop_date_time: DateTime
    auth_id: String36
    auth_method: AuthMethod
    location: Location
    meter_id: String255 | None = None
    currency: String3
    tariffs: tuple[Tariff, ...] = ()
    charging_periods: Annotated[tuple[ChargingPeriod, ...], Meta(min_length=1)]
    total_cost: Number
    total_energy: Number
    total_time: Number
    total_parking_time: Number | None = None
    remark: String255 | None = None
    last_updated: DateTime
