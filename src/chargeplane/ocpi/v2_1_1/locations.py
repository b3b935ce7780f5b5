"""Sites, EVSEs and connectors (OCPI 2.1.1 mod_locations)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import (
    DateTime,
    Int,
    Int5,
    Number,
    String3,
    String4,
    String10,
    String16,
    String36,
    String39,
    String45,
    String48,
    String64,
    String100,
    String255,
    Url,
)
from chargeplane.ocpi.v2_1_1.enums import (
    Capability,
    ConnectorFormat,
    ConnectorType,
    EnvironmentalImpactCategory,
    Facility,
    ImageCategory,
    LocationType,
    ParkingRestriction,
    PowerType,
    Status,
)
from chargeplane.ocpi.v2_1_1.types import DisplayText
from chargeplane.ocpi.v2_3_0.locations import (
    AdditionalGeoLocation,
    EnergySource,
    ExceptionalPeriod,
    GeoLocation,
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
    "RegularHours",
    "StatusSchedule",
]


class Image(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A picture by its URL, sizes in pixels."""

    url: Url
    thumbnail: Url | None = None
    category: ImageCategory
    type: String4
    width: Int5 | None = None
    height: Int5 | None = None


class BusinessDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Name, site and logo of a company."""

    name: String100
    website: Url | None = None
    logo: Image | None = None


class Connector(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A socket or cable; volts, amperes and watts."""

    id: String36
    standard: ConnectorType
    format: ConnectorFormat
    power_type: PowerType
    voltage: Int
    amperage: Int
    tariff_id: String36 | None = None
    terms_and_conditions: Url | None = None
    last_updated: DateTime


class EVSE(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What charges one vehicle at a time."""

    uid: String39
    evse_id: String48 | None = None
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

    source: EnvironmentalImpactCategory
    amount: Number


class EnergyMix(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the energy comes from."""

    is_green_energy: bool
    energy_sources: tuple[EnergySource, ...] = ()
    environ_impact: tuple[EnvironmentalImpact, ...] = ()
    supplier_name: String64 | None = None
    energy_product_name: String64 | None = None


class Hours(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Opening hours, in local time."""

    regular_hours: tuple[RegularHours, ...] = ()
    twentyfourseven: bool | None = None
    exceptional_openings: tuple[ExceptionalPeriod, ...] = ()
    exceptional_closings: tuple[ExceptionalPeriod, ...] = ()


class Location(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A site with its EVSEs."""

    id: String39
    type: LocationType
    name: String255 | None = None
    address: String45
    city: String45
    postal_code: String10
    country: String3
    coordinates: GeoLocation
    related_locations: tuple[AdditionalGeoLocation, ...] = ()
    evses: tuple[EVSE, ...] = ()
    directions: tuple[DisplayText, ...] = ()
    operator: BusinessDetails | None = None
    suboperator: BusinessDetails | None = None
    owner: BusinessDetails | None = None
    facilities: tuple[Facility, ...] = ()
    time_zone: String255 | None = None
    opening_times: Hours | None = None
    charging_when_closed: bool | None = None
    images: tuple[Image, ...] = ()
    energy_mix: EnergyMix | None = None
    last_updated: DateTime
