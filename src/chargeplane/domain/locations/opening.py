"""Whether a place is open (OCPI Hours): closings go before openings, openings before regular hours."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from chargeplane.domain.locations.model import Hours


def is_open(hours: Hours | None, at: datetime, time_zone: ZoneInfo) -> bool:
    """Whether a place is open at a moment.

    Args:
        hours: None: nothing is said, taken as always.
        at: aware.
    """
    if hours is None:
        return True
    if any(period.period_begin <= at < period.period_end for period in hours.exceptional_closings):
        return False
    if hours.twentyfourseven or any(p.period_begin <= at < p.period_end for p in hours.exceptional_openings):
        return True
    local = at.astimezone(time_zone)
    now = f"{local.hour:02}:{local.minute:02}"
    return any(
        regular.weekday == local.isoweekday() and regular.period_begin <= now < regular.period_end
        for regular in hours.regular_hours
    )
