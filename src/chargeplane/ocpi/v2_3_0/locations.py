"""Sites, EVSEs and connectors (OCPI 2.3.0 mod_locations)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import (
    CiString,
    CiString2,
    CiString3,
    CiString4,
    CiString25,
    CiString36,
    CiString48,
    DateTime,
    Int,
    Int1,
    Int5,
    Number,
    String3,
    String4,
    String5,
    String10,
    String11,
    String12,
    String16,
    String45,
    String50,
    String64,
    String100,
    String255,
    Url,
)
from chargeplane.ocpi.v2_3_0.enums import (
    AnyCapability,
    AnyConnectorCapability,
    AnyConnectorType,
    AnyEnvironmentalImpactCategory,
    AnyFacility,
    AnyImageCategory,
    AnyParkingRestriction,
    AnyParkingType,
    AnyTokenType,
    AnyVehicleType,
    ConnectorFormat,
    EnergySourceCategory,
    EVSEPosition,
    ParkingDirection,
    PowerType,
    Status,
)
from chargeplane.ocpi.v2_3_0.types import DisplayText

__all__ = [
    "EVSE",
    "AdditionalGeoLocation",
    "BusinessDetails",
    "Connector",
    "EVSEParking",
    "EnergyMix",
    "EnergySource",
    "EnvironmentalImpact",
    "ExceptionalPeriod",
    "GeoLocation",
    "Hours",
    "Image",
    "Location",
    "Parking",
    "PublishTokenType",
    "RegularHours",
    "StatusSchedule",
]


class AdditionalGeoLocation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A point near a site, with a name."""

    latitude: String10
    longitude: String11
    name: DisplayText | None = None


class Image(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A picture by its URL, sizes in pixels."""

    url: Url
    thumbnail: Url | None = None
    category: AnyImageCategory
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
    standard: AnyConnectorType
    format: ConnectorFormat
    power_type: PowerType
    max_voltage: Int
    max_amperage: Int
    max_electric_power: Int | None = None
    tariff_ids: tuple[CiString36, ...] = ()
    terms_and_conditions: Url | None = None
    capabilities: tuple[AnyConnectorCapability, ...] = ()
    last_updated: DateTime


class StatusSchedule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A status that is planned."""

    period_begin: DateTime
    period_end: DateTime | None = None
    status: Status


class GeoLocation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A point in WGS 84, decimal degrees as text."""

    latitude: String10
    longitude: String11


class EVSEParking(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parking place of an EVSE."""

    parking_id: CiString36
    evse_position: EVSEPosition | None = None


class EVSE(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What charges one vehicle at a time."""

    uid: CiString36
    evse_id: CiString48 | None = None
    status: Status
    status_schedule: tuple[StatusSchedule, ...] = ()
    capabilities: tuple[AnyCapability, ...] = ()
    connectors: Annotated[tuple[Connector, ...], Meta(min_length=1)]
    floor_level: String4 | None = None
    coordinates: GeoLocation | None = None
    physical_reference: String16 | None = None
    directions: tuple[DisplayText, ...] = ()
    parking_restrictions: tuple[AnyParkingRestriction, ...] = ()
    parking: tuple[EVSEParking, ...] = ()
    images: tuple[Image, ...] = ()
    accepted_service_providers: tuple[String50, ...] = ()
    last_updated: DateTime


class EnergySource(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A source and its share in percent."""

    source: EnergySourceCategory
    percentage: Number


class EnvironmentalImpact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An impact in g/kWh."""

    category: AnyEnvironmentalImpactCategory
    amount: Number


class EnergyMix(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the energy comes from."""

    is_green_energy: bool
    energy_sources: tuple[EnergySource, ...] = ()
    environ_impact: tuple[EnvironmentalImpact, ...] = ()
    supplier_name: String64 | None = None
    energy_product_name: String64 | None = None


class ExceptionalPeriod(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A time open or closed against the rule."""

    period_begin: DateTime
    period_end: DateTime


class RegularHours(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Hours of a weekday, 1 (Monday) to 7, as HH:MM."""

    weekday: Int1
    period_begin: String5
    period_end: String5


class Hours(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Opening hours, in local time."""

    twentyfourseven: bool
    regular_hours: tuple[RegularHours, ...] = ()
    exceptional_openings: tuple[ExceptionalPeriod, ...] = ()
    exceptional_closings: tuple[ExceptionalPeriod, ...] = ()


class PublishTokenType(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who a location may be shown to."""

    uid: CiString36 | None = None
    type: AnyTokenType | None = None
    visual_number: String64 | None = None
    issuer: String64 | None = None
    group_id: CiString36 | None = None


class Parking(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parking place; lengths in cm, weight in kg, `time_limit` in minutes."""

    id: CiString36
    physical_reference: String12 | None = None
    vehicle_types: Annotated[tuple[AnyVehicleType, ...], Meta(min_length=1)]
    max_vehicle_weight: Number | None = None
    max_vehicle_height: Number | None = None
    max_vehicle_length: Number | None = None
    max_vehicle_width: Number | None = None
    parking_space_length: Number | None = None
    parking_space_width: Number | None = None
    dangerous_goods_allowed: bool | None = None
    direction: ParkingDirection | None = None
    drive_through: bool | None = None
    restricted_to_type: bool
    reservation_required: bool
    time_limit: Number | None = None
    roofed: bool | None = None
    images: tuple[Image, ...] = ()
    lighting: bool | None = None
    refrigeration_outlet: bool | None = None
    standards: tuple[CiString36, ...] = ()
    apds_reference: CiString | None = None


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
    parking_type: AnyParkingType | None = None
    evses: tuple[EVSE, ...] = ()
    parking_places: tuple[Parking, ...] = ()
    directions: tuple[DisplayText, ...] = ()
    operator: BusinessDetails | None = None
    suboperator: BusinessDetails | None = None
    owner: BusinessDetails | None = None
    facilities: tuple[AnyFacility, ...] = ()
    time_zone: String255
    opening_times: Hours | None = None
    charging_when_closed: bool | None = None
    images: tuple[Image, ...] = ()
    energy_mix: EnergyMix | None = None
    help_phone: CiString25 | None = None
    last_updated: DateTime
