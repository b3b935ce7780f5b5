"""Bookings: what can be booked, asked for and agreed (OCPI 2.3.0 mod_bookings)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import CiString2, CiString3, CiString36, DateTime, Int, Number, Url
from chargeplane.ocpi.v2_3_0.enums import (
    AccessMethod,
    AnyConnectorType,
    AnyTokenType,
    AnyVehicleType,
    CanceledReason,
    ConnectorFormat,
    EVSEPosition,
    PowerType,
    ReservationRequestStatus,
    ReservationStatus,
    Role,
)

__all__ = [
    "AccessInformation",
    "Booking",
    "BookingLocation",
    "BookingOption",
    "BookingRequest",
    "BookingRequestStatus",
    "BookingTerms",
    "BookingToken",
    "Calendar",
    "Cancellation",
    "Period",
    "Policy",
    "Timeslot",
]


class AccessInformation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a driver gets in."""

    method: AccessMethod
    value: str | None = None


class BookingOption(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is booked: an EVSE, or properties one must have; lengths in cm, weights in kg."""

    evse_uid: CiString36 | None = None
    connector_id: CiString36 | None = None
    parking_id: CiString36 | None = None
    evse_position: tuple[EVSEPosition, ...] = ()
    vehicle_types: tuple[AnyVehicleType, ...] = ()
    connector_format: tuple[ConnectorFormat, ...] = ()
    connector_types: tuple[AnyConnectorType, ...] = ()
    power_types: tuple[PowerType, ...] = ()
    max_vehicle_weight: Number | None = None
    max_vehicle_height: Number | None = None
    max_vehicle_length: Number | None = None
    max_vehicle_width: Number | None = None
    min_parking_space_length: Number | None = None
    min_parking_space_width: Number | None = None
    dangerous_goods_allowed: bool | None = None
    drive_through: bool | None = None
    refrigeration_outlet: bool | None = None


class BookingToken(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token that a booking may be used with."""

    country_code: CiString2
    party_id: CiString3
    uid: CiString36
    type: AnyTokenType
    contract_id: CiString36


class Timeslot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A time that can be booked; powers in W."""

    start_date_time: DateTime
    end_date_time: DateTime
    min_power: Number | None = None
    max_power: Number | None = None
    green_energy_support: bool | None = None


class Cancellation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who cancelled, and why."""

    cancellation_reason: CanceledReason
    who_canceled: Role


class BookingTerms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The terms of a booking; times in minutes."""

    rfid_auth_required: bool | None = None
    token_groups_supported: bool | None = None
    remote_auth_supported: bool | None = None
    supported_access_methods: Annotated[tuple[AccessMethod, ...], Meta(min_length=1)]
    change_until_minutes: Number
    cancel_until_minutes: Number
    change_not_allowed: bool | None = None
    early_start_allowed: bool | None = None
    early_start_time: Number | None = None
    noshow_timeout: Number | None = None
    noshow_fee: bool | None = None
    late_stop_allowed: bool | None = None
    late_stop_time: Number | None = None
    overlapping_bookings_allowed: bool | None = None
    min_booking_duration: Number | None = None
    max_booking_duration: Number | None = None
    booking_terms: Url | None = None


class Period(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From, to."""

    start_date_time: DateTime
    end_date_time: DateTime


class BookingRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an eMSP asks to book."""

    country_code: CiString2
    party_id: CiString3
    request_id: CiString36
    booking_option: BookingOption | None = None
    location_id: CiString36
    booking_location_id: CiString36
    tokens: tuple[BookingToken, ...] = ()
    access_information: tuple[AccessInformation, ...] = ()
    period: Period
    authorization_reference: CiString36
    power_required: Int | None = None
    canceled: Cancellation | None = None


class BookingRequestStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request and how it stands."""

    request_status: ReservationRequestStatus
    booking_request: BookingRequest
    request_received: DateTime


class Booking(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A booking as the CPO holds it."""

    id: CiString36
    country_code: CiString2
    party_id: CiString3
    request_id: CiString36
    booking_option: BookingOption | None = None
    location_id: CiString36
    booking_tokens: tuple[BookingToken, ...] = ()
    tariff_ids: tuple[CiString36, ...] = ()
    period: Timeslot
    reservation_status: ReservationStatus
    canceled: Cancellation | None = None
    access_information: tuple[AccessInformation, ...] = ()
    authorization_reference: CiString36
    booking_terms: BookingTerms
    booking_requests: Annotated[tuple[BookingRequestStatus, ...], Meta(min_length=1)]
    last_updated: DateTime


class Policy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether one must book, and how many may charge without."""

    reservation_required: bool
    ad_hoc: Number | None = None


class Calendar(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When something can be booked; `timeslot_increment` in minutes."""

    id: CiString36
    begin_from: DateTime
    end_before: DateTime
    timeslot_increment: Int | None = None
    available_timeslots: Annotated[tuple[Timeslot, ...], Meta(min_length=1)]
    last_updated: DateTime


class BookingLocation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What can be booked at a location, on which terms and when."""

    country_code: CiString2
    party_id: CiString3
    id: CiString36
    location_id: CiString36
    booking_option: BookingOption | None = None
    policy: Policy | None = None
    tariff_ids: tuple[CiString36, ...] = ()
    booking_terms: BookingTerms | None = None
    calendars: tuple[Calendar, ...] = ()
    last_updated: DateTime
