"""Locations, EVSEs and connectors in OCPI 2.3.0's model, with what binds them to charging stations and how one can pay there."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.tariffs.model import CountryCode, DisplayText, EnergyMix, OcpiId, PartyId, Url

Word = Annotated[str, Meta(pattern=r"^[A-Z0-9_]{1,50}$", description="A word of OCPI's open enumeration.")]
_Texts = Annotated[tuple[DisplayText, ...], Meta(max_length=50)]
_Words = Annotated[tuple[Word, ...], Meta(max_length=50)]
_Time = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
_Instant = Annotated[datetime, Meta(tz=True)]
_Centimetres = Annotated[int, Meta(ge=0, le=100_000)]


class GeoPoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place in WGS 84, decimal degrees with five to seven decimals, as text (OCPI GeoLocation)."""

    latitude: Annotated[str, Meta(pattern=r"^-?[0-9]{1,2}\.[0-9]{5,7}$")]
    longitude: Annotated[str, Meta(pattern=r"^-?[0-9]{1,3}\.[0-9]{5,7}$")]


class NamedPoint(GeoPoint, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A related place, such as an entrance (OCPI AdditionalGeoLocation)."""

    name: DisplayText | None = None


class Image(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A picture somewhere on the web (OCPI Image)."""

    url: Url
    category: Word
    type: Annotated[str, Meta(min_length=1, max_length=4)]
    thumbnail: Url | None = None
    width: Annotated[int, Meta(ge=0, le=99_999)] | None = None
    height: Annotated[int, Meta(ge=0, le=99_999)] | None = None


class Business(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who runs or owns a place (OCPI BusinessDetails)."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    website: Url | None = None
    logo: Image | None = None


class RegularHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open on a day of the week; 1 is Monday. `24:00` is the end of the day."""

    weekday: Annotated[int, Meta(ge=1, le=7)]
    period_begin: _Time
    period_end: _Time


class ExceptionalPeriod(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open or closed once."""

    period_begin: _Instant
    period_end: _Instant


class Hours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a place is open (OCPI Hours): regular hours or always, and exceptions; closings go before openings."""

    twentyfourseven: bool
    regular_hours: Annotated[tuple[RegularHours, ...], Meta(max_length=100)] = ()
    exceptional_openings: Annotated[tuple[ExceptionalPeriod, ...], Meta(max_length=200)] = ()
    exceptional_closings: Annotated[tuple[ExceptionalPeriod, ...], Meta(max_length=200)] = ()


class PublishToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """To whom a place is shown that is not published (OCPI PublishTokenType)."""

    uid: Annotated[str, Meta(max_length=36)] | None = None
    type: Word | None = None
    visual_number: Annotated[str, Meta(max_length=64)] | None = None
    issuer: Annotated[str, Meta(max_length=64)] | None = None
    group_id: Annotated[str, Meta(max_length=36)] | None = None


class ParkingDirection(enum.StrEnum):
    """OCPI ParkingDirection."""

    PARALLEL = "PARALLEL"
    PERPENDICULAR = "PERPENDICULAR"
    ANGLE = "ANGLE"


class ParkingPlace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A parking place (OCPI Parking). Lengths in cm, weight in kg, `time_limit` in minutes."""

    id: OcpiId
    vehicle_types: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=20)]
    restricted_to_type: bool
    reservation_required: bool
    physical_reference: Annotated[str, Meta(max_length=12)] | None = None
    max_vehicle_weight: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    max_vehicle_height: _Centimetres | None = None
    max_vehicle_length: _Centimetres | None = None
    max_vehicle_width: _Centimetres | None = None
    parking_space_length: _Centimetres | None = None
    parking_space_width: _Centimetres | None = None
    dangerous_goods_allowed: bool | None = None
    direction: ParkingDirection | None = None
    drive_through: bool | None = None
    time_limit: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    roofed: bool | None = None
    images: Annotated[tuple[Image, ...], Meta(max_length=20)] = ()
    lighting: bool | None = None
    refrigeration_outlet: bool | None = None
    standards: Annotated[tuple[Annotated[str, Meta(max_length=36)], ...], Meta(max_length=20)] = ()
    apds_reference: Annotated[str, Meta(max_length=255)] | None = None


class EvsePosition(enum.StrEnum):
    """OCPI EVSEPosition."""

    LEFT = "LEFT"
    RIGHT = "RIGHT"
    CENTER = "CENTER"


class EvseParking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which parking place belongs to an EVSE (OCPI EVSEParking)."""

    parking_id: OcpiId
    evse_position: EvsePosition | None = None


class EvseStatus(enum.StrEnum):
    """OCPI Status."""

    AVAILABLE = "AVAILABLE"
    BLOCKED = "BLOCKED"
    CHARGING = "CHARGING"
    INOPERATIVE = "INOPERATIVE"
    OUTOFORDER = "OUTOFORDER"
    PLANNED = "PLANNED"
    REMOVED = "REMOVED"
    RESERVED = "RESERVED"
    UNKNOWN = "UNKNOWN"


class DeclaredStatus(enum.StrEnum):
    """What a person says of an EVSE; goes before what the station says."""

    BLOCKED = "BLOCKED"
    INOPERATIVE = "INOPERATIVE"
    OUTOFORDER = "OUTOFORDER"
    PLANNED = "PLANNED"


class StatusPeriod(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A status that is planned (OCPI StatusSchedule); for information only."""

    period_begin: _Instant
    status: EvseStatus
    period_end: _Instant | None = None


class ConnectorFormat(enum.StrEnum):
    """OCPI ConnectorFormat."""

    SOCKET = "SOCKET"
    CABLE = "CABLE"


class PowerType(enum.StrEnum):
    """OCPI PowerType."""

    AC_1_PHASE = "AC_1_PHASE"
    AC_2_PHASE = "AC_2_PHASE"
    AC_2_PHASE_SPLIT = "AC_2_PHASE_SPLIT"
    AC_3_PHASE = "AC_3_PHASE"
    DC = "DC"


class PaymentMethod(enum.StrEnum):
    """How one can pay at an EVSE."""

    CONTRACT = "contract"
    """An agreement with us or a roaming partner, by card, app or any other id token."""
    PLUG_AND_CHARGE = "plug_and_charge"
    """A contract certificate in the vehicle (ISO 15118)."""
    WEB = "web"
    """Without a contract: scan the code, pay on the web."""
    TERMINAL_CREDIT_CARD = "terminal_credit_card"
    TERMINAL_DEBIT_CARD = "terminal_debit_card"
    TERMINAL_CONTACTLESS = "terminal_contactless"
    WALLET = "wallet"
    """A balance that was paid in before."""
    FREE = "free"


class ConnectorContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A connector as it is described (OCPI Connector).

    Args:
        standard: OCPI ConnectorType, such as `IEC_62196_T2_COMBO`.
        max_voltage: V; line to neutral where it has three phases.
        max_amperage: A.
        max_electric_power: W, where it is less than voltage and current make.
        tariff_ids: tariffs that hold here; of each type one at a time.
        ocpp_connector_id: the station's number for it.
    """

    id: OcpiId
    standard: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,50}$")]
    format: ConnectorFormat
    power_type: PowerType
    max_voltage: Annotated[int, Meta(ge=1, le=10_000)]
    max_amperage: Annotated[int, Meta(ge=1, le=10_000)]
    max_electric_power: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    tariff_ids: Annotated[tuple[OcpiId, ...], Meta(max_length=20)] = ()
    terms_and_conditions: Url | None = None
    capabilities: _Words = ()
    ocpp_connector_id: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1

    @property
    def power_w(self) -> int:
        """What it can give at most, in W."""
        phases = {
            PowerType.AC_2_PHASE: 2,
            PowerType.AC_2_PHASE_SPLIT: 2,
            PowerType.AC_3_PHASE: 3,
        }.get(self.power_type, 1)
        made = self.max_voltage * self.max_amperage * phases
        return made if self.max_electric_power is None else min(made, self.max_electric_power)


class EvseContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An EVSE as it is described (OCPI EVSE).

    Args:
        evse_id: such as `DE*ABC*E1234`.
        declared_status: what a person says; None: what the station says.
        accepted_service_providers: names of eMSPs whose contracts are taken.
        payment_methods: how one can pay here; empty: nothing is said.
    """

    evse_id: Annotated[str, Meta(min_length=1, max_length=48, pattern=r"^[!-~]+$")] | None = None
    declared_status: DeclaredStatus | None = None
    status_schedule: Annotated[tuple[StatusPeriod, ...], Meta(max_length=50)] = ()
    capabilities: _Words = ()
    floor_level: Annotated[str, Meta(max_length=4)] | None = None
    coordinates: GeoPoint | None = None
    physical_reference: Annotated[str, Meta(max_length=16)] | None = None
    directions: _Texts = ()
    parking_restrictions: _Words = ()
    parking: Annotated[tuple[EvseParking, ...], Meta(max_length=20)] = ()
    images: Annotated[tuple[Image, ...], Meta(max_length=20)] = ()
    accepted_service_providers: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=50)], ...], Meta(max_length=1000)
    ] = ()
    payment_methods: Annotated[tuple[PaymentMethod, ...], Meta(max_length=20)] = ()


class LocationContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A location as it is described (OCPI Location), without its EVSEs.

    Args:
        country: ISO 3166-1 alpha-3.
        time_zone: IANA name; what "local" means in tariffs and opening times.
        opening_times: None: nothing is said, taken as always.
        charging_when_closed: whether it goes on charging outside of the opening times.
        country_code, party_id: of the operator; None: the tenant's own.
        tags: words of ours, by which partners are shown some locations and not others; told to nobody.
    """

    address: Annotated[str, Meta(min_length=1, max_length=255)]
    city: Annotated[str, Meta(min_length=1, max_length=45)]
    country: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
    coordinates: GeoPoint
    time_zone: Annotated[str, Meta(min_length=1, max_length=255)]
    name: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    postal_code: Annotated[str, Meta(min_length=1, max_length=10)] | None = None
    state: Annotated[str, Meta(min_length=1, max_length=45)] | None = None
    publish: bool = True
    publish_allowed_to: Annotated[tuple[PublishToken, ...], Meta(max_length=1000)] = ()
    related_locations: Annotated[tuple[NamedPoint, ...], Meta(max_length=50)] = ()
    parking_type: Word | None = None
    parking_places: Annotated[tuple[ParkingPlace, ...], Meta(max_length=200)] = ()
    directions: _Texts = ()
    operator: Business | None = None
    suboperator: Business | None = None
    owner: Business | None = None
    facilities: _Words = ()
    opening_times: Hours | None = None
    charging_when_closed: bool = True
    images: Annotated[tuple[Image, ...], Meta(max_length=50)] = ()
    energy_mix: EnergyMix | None = None
    help_phone: Annotated[str, Meta(min_length=1, max_length=25)] | None = None
    country_code: CountryCode | None = None
    party_id: PartyId | None = None
    tags: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=50)], ...], Meta(max_length=50)] = ()


def degrees(point: GeoPoint) -> tuple[Decimal, Decimal]:
    """Latitude and longitude."""
    return Decimal(point.latitude), Decimal(point.longitude)
