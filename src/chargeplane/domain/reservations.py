"""Reservations at stations: what becomes of one, by what the station and the operator say.

A reservation is an interval of time for a token at a place. A station knows only those that have begun: it is told at
`valid_from` and holds the place until `valid_until`.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Final

from msgspec import Struct


class ReservationState(enum.StrEnum):
    """What has become of a reservation."""

    REQUESTED = "requested"
    """The station has not answered yet."""
    ACCEPTED = "accepted"
    """The station holds it."""
    OCCUPIED = "occupied"
    FAULTED = "faulted"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNREACHED = "unreached"
    """The station was not asked in time, or did not answer."""
    USED = "used"
    """A transaction began with it."""
    EXPIRED = "expired"
    REMOVED = "removed"
    """The station gave it up: its EVSE became faulted or unavailable (OCPP 2.0.1 H01.FR.16)."""
    NO_TRANSACTION = "no_transaction"
    """The driver came and began no transaction (OCPP 2.1)."""
    CANCELLED = "cancelled"


STANDING: Final = frozenset({ReservationState.REQUESTED, ReservationState.ACCEPTED})
"""States in which a station may hold a place."""

_ANSWERS: Final = {
    "Accepted": ReservationState.ACCEPTED,
    "Occupied": ReservationState.OCCUPIED,
    "Faulted": ReservationState.FAULTED,
    "Rejected": ReservationState.REJECTED,
    "Unavailable": ReservationState.UNAVAILABLE,
}
_UPDATES: Final = {
    "Expired": ReservationState.EXPIRED,
    "Removed": ReservationState.REMOVED,
    "NoTransaction": ReservationState.NO_TRANSACTION,
}


class ReservationUpdate(Struct, frozen=True, kw_only=True, tag="reservation_update"):
    """A station tells what became of a reservation (ReservationStatusUpdate).

    Args:
        status: OCPP's word.
    """

    reservation_id: int
    status: str


def answered(status: str | None) -> ReservationState:
    """The state after the station's answer to ReserveNow; `unreached` where it gave none."""
    if status is None:
        return ReservationState.UNREACHED
    return _ANSWERS.get(status, ReservationState.REJECTED)


def told(status: str) -> ReservationState:
    """The state that a station tells; a word we do not know is taken for removed, for the station no longer holds it."""
    return _UPDATES.get(status, ReservationState.REMOVED)


def may_follow(before: ReservationState, after: ReservationState) -> bool:
    """Whether a state may follow on another. What a transaction has used stays used, whatever order the words arrive in."""
    if before is after:
        return False
    if before in STANDING:
        return True
    # A station that was taken for silent may have accepted; what counts in the end is whether it was used.
    return after is ReservationState.USED and before is not ReservationState.CANCELLED


def is_over(valid_until: datetime, now: datetime) -> bool:
    """Whether its time has passed."""
    return now >= valid_until
