"""What a tenant wants of bookings: times, limits, and what happens to walk-in drivers."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, Struct

_Day = Annotated[float, Meta(ge=0, le=86_400)]


class WalkIn(enum.StrEnum):
    """What happens to a session of somebody else that runs into a booking."""

    WARN = "warn"
    """It is told on the display and to the operator; it goes on."""
    STOP = "stop"
    """The same, and it is stopped when the booking begins."""


class AccessMethod(enum.StrEnum):
    """How a driver gets to a booked EVSE (OCPI AccessMethod)."""

    OPEN = "OPEN"
    TOKEN = "TOKEN"  # noqa: S105
    LICENSE_PLATE = "LICENSE_PLATE"
    ACCESS_CODE = "ACCESS_CODE"
    INTERCOM = "INTERCOM"
    PARKING_TICKET = "PARKING_TICKET"


class BookingPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant wants. Where the driver's agreement says something of its own, that holds.

    Args:
        lead_s: the station is asked so long before the beginning.
        announce_s: load management and displays are told so long before the beginning.
        no_show_s: from the beginning on the EVSE waits so long for the driver.
        buffer_s: between two bookings of an EVSE.
        hold_s: a booking that is not confirmed is given up so long after it was made.
        retry_s: between two attempts at a station that did not keep the EVSE.
        fail_after_s: an EVSE that is not to be had so long after the beginning fails the booking.
        min_s, max_s: shortest and longest booking.
        max_ahead_s: how early it may be made.
        max_at_a_time: bookings a driver may have before them.
        free_cancel_s: before its beginning; later it costs the agreement's fee.
        relocate: drivers who agreed to it are moved to an equal EVSE at the same location where theirs is not to be had.
        partners: roaming partners may book, and are told what is free.
        access_methods: how drivers of partners get to the EVSE.
        terms_url: where partners read the terms.
    """

    lead_s: _Day = 600
    announce_s: _Day = 3600
    no_show_s: _Day = 900
    buffer_s: _Day = 300
    hold_s: _Day = 600
    retry_s: Annotated[float, Meta(ge=0.05, le=3600)] = 15
    fail_after_s: _Day = 300
    min_s: _Day = 300
    max_s: Annotated[float, Meta(gt=0, le=2_678_400)] = 86_400
    max_ahead_s: Annotated[float, Meta(gt=0, le=31_622_400)] = 2_592_000
    max_at_a_time: Annotated[int, Meta(ge=1, le=10_000)] = 3
    free_cancel_s: Annotated[float, Meta(ge=0, le=31_622_400)] = 0
    walk_in: WalkIn = WalkIn.WARN
    relocate: bool = True
    partners: bool = False
    access_methods: Annotated[tuple[AccessMethod, ...], Meta(min_length=1, max_length=6)] = (AccessMethod.TOKEN,)
    terms_url: Annotated[str, Meta(max_length=255, pattern="^https?://")] | None = None
