"""Charge detail records (OCPI 2.3.0 mod_cdrs)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import (
    CiString2,
    CiString3,
    CiString32,
    CiString36,
    CiString39,
    CiString48,
    DateTime,
    Int,
    Number,
    String3,
    String10,
    String20,
    String45,
    String255,
    String512,
    String5000,
)
from chargeplane.ocpi.v2_3_0.enums import (
    AnyConnectorType,
    AnyTokenType,
    AuthMethod,
    CdrDimensionType,
    ConnectorFormat,
    PowerType,
)
from chargeplane.ocpi.v2_3_0.locations import GeoLocation
from chargeplane.ocpi.v2_3_0.tariffs import Tariff
from chargeplane.ocpi.v2_3_0.types import Price

__all__ = [
    "CDR",
    "CdrDimension",
    "CdrLocation",
    "CdrToken",
    "ChargingPeriod",
    "SignedData",
    "SignedValue",
]


class CdrToken(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The token of a session."""

    country_code: CiString2
    party_id: CiString3
    uid: CiString36
    type: AnyTokenType
    contract_id: CiString36


class CdrLocation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The place of a session as it was when the session began."""

    id: CiString36
    name: String255 | None = None
    address: String45
    city: String45
    postal_code: String10 | None = None
    state: String20 | None = None
    country: String3
    coordinates: GeoLocation
    evse_uid: CiString36
    evse_id: CiString48
    connector_id: CiString36
    connector_standard: AnyConnectorType
    connector_format: ConnectorFormat
    connector_power_type: PowerType


class CdrDimension(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A quantity in a charging period, in the unit of its type."""

    type: CdrDimensionType
    volume: Number


class ChargingPeriod(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of a session to which one set of prices applies."""

    start_date_time: DateTime
    dimensions: Annotated[tuple[CdrDimension, ...], Meta(min_length=1)]
    tariff_id: CiString36 | None = None


class SignedValue(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One signed meter value, plain and signed."""

    nature: CiString32
    plain_data: String5000
    signed_data: String5000


class SignedData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Signed meter values with what is needed to check them."""

    encoding_method: CiString36
    encoding_method_version: Int | None = None
    public_key: String512 | None = None
    signed_values: Annotated[tuple[SignedValue, ...], Meta(min_length=1)]
    url: String512 | None = None


class CDR(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A charge detail record: energy in kWh, times in hours, costs in `currency`. It never changes once sent."""

    country_code: CiString2
    party_id: CiString3
    id: CiString39
    start_date_time: DateTime
    end_date_time: DateTime
    booking_id: CiString36 | None = None
    session_id: CiString36 | None = None
    cdr_token: CdrToken
    auth_method: AuthMethod
    authorization_reference: CiString36 | None = None
    cdr_location: CdrLocation
    meter_id: String255 | None = None
    currency: String3
    tariffs: tuple[Tariff, ...] = ()
    charging_periods: Annotated[tuple[ChargingPeriod, ...], Meta(min_length=1)]
    signed_data: SignedData | None = None
    total_cost: Price
    total_fixed_cost: Price | None = None
    total_energy: Number
    total_energy_cost: Price | None = None
    total_time: Number
    total_time_cost: Price | None = None
    total_parking_time: Number | None = None
    total_parking_cost: Price | None = None
    total_reservation_cost: Price | None = None
    remark: String255 | None = None
    invoice_reference_id: CiString39 | None = None
    credit: bool | None = None
    credit_reference_id: CiString39 | None = None
    home_charging_compensation: bool | None = None
    last_updated: DateTime
