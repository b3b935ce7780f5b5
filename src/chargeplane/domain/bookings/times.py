"""When what is due for a booking."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from chargeplane.domain.bookings.policy import BookingPolicy
from chargeplane.domain.bookings.states import BookingState


class BookingTimes(Struct, frozen=True, kw_only=True):
    """Of a booking; whole seconds, aware."""

    starts_at: datetime
    ends_at: datetime
    blocked_until: datetime
    announce_at: datetime
    ask_at: datetime
    no_show_at: datetime


def times_of(policy: BookingPolicy, starts_at: datetime, ends_at: datetime) -> BookingTimes:
    """What is due when, for an interval."""
    return BookingTimes(
        starts_at=starts_at,
        ends_at=ends_at,
        blocked_until=ends_at + timedelta(seconds=policy.buffer_s),
        announce_at=starts_at - timedelta(seconds=max(policy.announce_s, policy.lead_s)),
        ask_at=starts_at - timedelta(seconds=policy.lead_s),
        no_show_at=min(starts_at + timedelta(seconds=policy.no_show_s), ends_at),
    )


def next_due(
    state: BookingState, times: BookingTimes, *, confirm_by: datetime | None, announced: bool
) -> datetime | None:
    """When a booking is to be looked at next by the clock; None: only by what others tell."""
    if state is BookingState.CREATED:
        return confirm_by
    if state is BookingState.CONFIRMED:
        return times.ask_at if announced else min(times.announce_at, times.ask_at)
    if state is BookingState.ACTIVE:
        return times.no_show_at
    return None
