"""Sites, EVSEs and connectors (OCPI 2.2.1 mod_locations)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import (
    CiString2,
    CiString3,
    CiString4,
    CiString36,
    CiString48,
    DateTime,
    Int,
    Int5,
    Number,
    String3,
    String4,
    String10,
    String16,
    String45,
    String64,
    String100,
    String255,
    Url,
)
from chargeplane.ocpi.v2_2_1.enums import (
    Capability,
    ConnectorFormat,
    ConnectorType,
    EnvironmentalImpactCategory,
    Facility,
    ImageCategory,
    ParkingRestriction,
    ParkingType,
    PowerType,
    Status,
    TokenType,
)
from chargeplane.ocpi.v2_2_1.types import DisplayText
from chargeplane.ocpi.v2_3_0.locations import (
    AdditionalGeoLocation,
    EnergySource,
    ExceptionalPeriod,
    GeoLocation,
    Hours,
    RegularHours,
    StatusSchedule,
)

__all__ = [
    "EVSE",
    "AdditionalGeoLocation",
    "BusinessDetails",
    "Connector",
    "EnergyMix",
    "EnergySource",
    "EnvironmentalImpact",
    "ExceptionalPeriod",
    "GeoLocation",
    "Hours",
    "Image",
    "Location",
    "PublishTokenType",
    "RegularHours",
    "StatusSchedule",
]


class Image(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A picture by its URL, sizes in pixels."""

    url: Url
    thumbnail: Url | None = None
    category: ImageCategory
    type: CiString4
    width: Int5 | None = None
    height: Int5 | None = None


class BusinessDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Name, site and logo of a company."""

    name: String100
    website: Url | None = None
    logo: Image | None = None


class Connector(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A socket or cable; volts, amperes and watts."""

    id: CiString36
    standard: ConnectorType
    format: ConnectorFormat
    power_type: PowerType
    max_voltage: Int
    max_amperage: Int
    max_electric_power: Int | None = None
    tariff_ids: tuple[CiString36, ...] = ()
    terms_and_conditions: Url | None = None
    last_updated: DateTime


class EVSE(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What charges one vehicle at a time."""

    uid: CiString36
    evse_id: CiString48 | None = None
    status: Status
    status_schedule: tuple[StatusSchedule, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    connectors: Annotated[tuple[Connector, ...], Meta(min_length=1)]
    floor_level: String4 | None = None
    coordinates: GeoLocation | None = None
    physical_reference: String16 | None = None
    directions: tuple[DisplayText, ...] = ()
    parking_restrictions: tuple[ParkingRestriction, ...] = ()
    images: tuple[Image, ...] = ()
    last_updated: DateTime


class EnvironmentalImpact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An impact in g/kWh."""

    category: EnvironmentalImpactCategory
    amount: Number


class EnergyMix(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the energy comes from."""

    is_green_energy: bool
    energy_sources: tuple[EnergySource, ...] = ()
    environ_impact: tuple[EnvironmentalImpact, ...] = ()
    supplier_name: String64 | None = None
    energy_product_name: String64 | None = None


class PublishTokenType(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who a location may be shown to."""

    uid: CiString36 | None = None
    type: TokenType | None = None
    visual_number: String64 | None = None
    issuer: String64 | None = None
    group_id: CiString36 | None = None


class Location(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A site with its EVSEs."""

    country_code: CiString2
    party_id: CiString3
    id: CiString36
    publish: bool
    publish_allowed_to: tuple[PublishTokenType, ...] = ()
    name: String255 | None = None
    address: String255
    city: String45
    postal_code: String10 | None = None
    state: String45 | None = None
    country: String3
    coordinates: GeoLocation
    related_locations: tuple[AdditionalGeoLocation, ...] = ()
    parking_type: ParkingType | None = None
    evses: tuple[EVSE, ...] = ()
    directions: tuple[DisplayText, ...] = ()
    operator: BusinessDetails | None = None
    suboperator: BusinessDetails | None = None
    owner: BusinessDetails | None = None
    facilities: tuple[Facility, ...] = ()
    time_zone: String255
    opening_times: Hours | None = None
    charging_when_closed: bool | None = None
    images: tuple[Image, ...] = ()
    energy_mix: EnergyMix | None = None
    last_updated: DateTime
