"""When a station is open: weekly times on the clocks of its place (OCPP block G)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from chargeplane.domain.token_rules import WeeklyTime, within

_WEEK_AND_A_DAY = 8


class OpeningHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Opening hours of a station.

    Args:
        weekly_times: when it is open; none at all is closed until they are set again.
        time_zone: of these times.
    """

    weekly_times: Annotated[tuple[WeeklyTime, ...], Meta(max_length=100)] = ()
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"


def is_open(hours: OpeningHours, now: datetime) -> bool:
    """Whether it is open at a moment."""
    return within(hours.weekly_times, hours.time_zone, now)


def changed_at(hours: OpeningHours, now: datetime) -> datetime | None:
    """When it last opened or closed, in UTC; None where it did neither within a week."""
    moments = sorted({moment for moment in _edges(hours, now) if moment <= now}, reverse=True)
    for moment in moments:
        if is_open(hours, moment) is not is_open(hours, moment - timedelta(minutes=1)):
            return moment
    return None


def _edges(hours: OpeningHours, now: datetime) -> Iterator[datetime]:
    try:
        zone = ZoneInfo(hours.time_zone)
    except (KeyError, ValueError, OSError):
        zone = ZoneInfo("UTC")
    today = now.astimezone(zone).date()
    texts = {text for one in hours.weekly_times for text in (one.start, one.until)} | {"00:00"}
    for back in range(_WEEK_AND_A_DAY + 1):
        day = today - timedelta(days=back)
        for text in texts:
            hour, minute = int(text[:2]), int(text[3:])
            on = day + timedelta(days=1) if hour == 24 else day
            yield datetime.combine(on, time(hour % 24, minute), zone).astimezone(UTC)
