"""Booking locations and bookings as OCPI tells them (OCPI 2.3.0 mod_bookings)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from chargeplane.bridge.roaming.values import Document, filled, moment
from chargeplane.domain.roaming.bookings import BookingNow, BookingPlaceNow, Cancellation, RequestKept, Terms
from chargeplane.domain.roaming.connection import PartyId


def booking_location_document(place: BookingPlaceNow, party: PartyId, at: datetime) -> Document:
    """A BookingLocation: one EVSE with its calendar. A calendar has at least one timeslot, so an EVSE that is never free has none."""
    connectors = place.connectors
    return filled(
        {
            "country_code": party.country_code,
            "party_id": party.party_id,
            "id": place.evse_uid,
            "location_id": place.location_id,
            "booking_option": filled(
                {
                    "evse_uid": place.evse_uid,
                    "connector_format": list(dict.fromkeys(one.format for one in connectors)),
                    "connector_types": list(dict.fromkeys(one.standard for one in connectors)),
                    "power_types": list(dict.fromkeys(one.power_type for one in connectors)),
                }
            ),
            "policy": {"reservation_required": False},
            "tariff_ids": list(place.tariff_ids),
            "booking_terms": terms_document(place.terms),
            "calendars": [calendar_document(place, at)] if place.free else [],
            "last_updated": moment(at),
        }
    )


def calendar_document(place: BookingPlaceNow, at: datetime) -> Document:
    """A Calendar."""
    return filled(
        {
            "id": place.evse_uid,
            "begin_from": moment(place.days.start),
            "end_before": moment(place.days.end),
            "timeslot_increment": 1,
            "available_timeslots": [
                filled(
                    {
                        "start_date_time": moment(one.start),
                        "end_date_time": moment(one.end),
                        "max_power": place.power_w or None,
                    }
                )
                for one in place.free
            ],
            "last_updated": moment(at),
        }
    )


def terms_document(terms: Terms) -> Document:
    """BookingTerms."""
    said: Document = msgspec.to_builtins(terms)
    return said


def booking_document(booking: BookingNow, party: PartyId, at: datetime) -> Document:
    """A Booking."""
    kept = booking.kept
    option = filled({"evse_uid": booking.evse_uid, "connector_id": booking.connector_id})
    return filled(
        {
            "id": booking.id,
            "country_code": party.country_code,
            "party_id": party.party_id,
            "request_id": booking.request_id,
            "booking_option": option or None,
            "location_id": booking.location_id,
            "booking_tokens": [msgspec.to_builtins(one) for one in kept.tokens],
            "tariff_ids": list(booking.tariff_ids),
            "period": filled(
                {
                    "start_date_time": moment(booking.starts_at),
                    "end_date_time": moment(booking.ends_at),
                    "max_power": booking.power_w,
                }
            ),
            "reservation_status": booking.status.value,
            "canceled": _canceled(booking.canceled),
            "access_information": [msgspec.json.decode(one) for one in kept.access_information],
            "authorization_reference": kept.reference,
            "booking_terms": terms_document(kept.terms),
            "booking_requests": [_request(one) for one in kept.requests],
            "last_updated": moment(at),
        }
    )


def _canceled(said: Cancellation | None) -> Document | None:
    return None if said is None else msgspec.to_builtins(said)


def _request(kept: RequestKept) -> dict[str, Any]:
    return {
        "request_status": kept.status.value,
        "booking_request": msgspec.json.decode(kept.request),
        "request_received": moment(kept.received_at),
    }
