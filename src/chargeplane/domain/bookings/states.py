"""What becomes of a booking."""

from __future__ import annotations

import enum
from typing import Final


class BookingState(enum.StrEnum):
    """What has become of a booking. OCPI's ReservationStatus stands behind: PENDING is `created`, RESERVED `confirmed` and `active`, FULFILLED `used` and `completed`."""

    CREATED = "created"
    """The EVSE is held until the booking is confirmed, or its time to be confirmed has passed. PENDING."""
    CONFIRMED = "confirmed"
    """RESERVED."""
    ACTIVE = "active"
    """The driver is expected: the station is asked to keep the EVSE. RESERVED."""
    USED = "used"
    """The driver charges. FULFILLED: a session has started with it (OCPI 2.3.0 mod_bookings, ReservationStatus)."""
    COMPLETED = "completed"
    """The session has ended. FULFILLED."""
    NO_SHOW = "no_show"
    """Nobody came. NO_SHOW."""
    CANCELED = "canceled"
    """By the driver or the operator, or never confirmed. CANCELED."""
    FAILED = "failed"
    """The EVSE could not be had, and no equal one. CANCELED by the CPO: FAILED is of requests alone."""


HOLDING: Final = (BookingState.CREATED, BookingState.CONFIRMED, BookingState.ACTIVE, BookingState.USED)
"""States in which nobody else can book the EVSE for the interval; the database's constraint names the same."""

OPEN: Final = (BookingState.CREATED, BookingState.CONFIRMED, BookingState.ACTIVE)
"""States in which a driver may still come."""

_FOLLOWS: Final = {
    BookingState.CREATED: {BookingState.CONFIRMED, BookingState.CANCELED},
    BookingState.CONFIRMED: {BookingState.ACTIVE, BookingState.USED, BookingState.CANCELED, BookingState.FAILED},
    BookingState.ACTIVE: {
        BookingState.CONFIRMED,  # moved to a later time
        BookingState.USED,
        BookingState.NO_SHOW,
        BookingState.CANCELED,
        BookingState.FAILED,
    },
    BookingState.USED: {BookingState.COMPLETED},
}


def may_follow(before: BookingState, after: BookingState) -> bool:
    """Whether a state may follow on another; what has ended stays as it ended."""
    return after in _FOLLOWS.get(before, ())


def allowed_after(state: BookingState) -> str:
    """What may be done with a booking in a state, in words."""
    if state in OPEN:
        return "it may be changed and canceled"
    if state is BookingState.USED:
        return "its end may be changed; the session ends it"
    return "it is over and stays as it is"
