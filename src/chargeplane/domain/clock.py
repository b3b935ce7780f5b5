"""Which time to believe: the station's or ours.

A station's clock may stand at 1970 after a power cut, show local time as if it were UTC, or run ahead. Both times are
kept; rules that need an order use the effective time: the station's where it is plausible, else ours.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

EARLIEST_PLAUSIBLE: Final = datetime(2010, 1, 1, tzinfo=UTC)
"""No station of the field was built before; clocks that lost their time stand at 1970 or 2000."""

FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""A station may be this far ahead of us before its time is not believed."""

_FIRST_YEAR: Final = EARLIEST_PLAUSIBLE.year


def plausible(at: datetime | None, now: datetime) -> bool:
    """Whether a station's time can be believed: not before 2010, not more than 5 minutes ahead of `now`.

    Args:
        at: the station's time, aware UTC; None where it sent none or garbage.
        now: when the message came in.
    """
    return at is not None and at.year >= _FIRST_YEAR and at <= now + FUTURE_TOLERANCE


def effective(at: datetime | None, now: datetime) -> datetime:
    """The station's time where it is plausible, else ours."""
    return at if at is not None and at.year >= _FIRST_YEAR and at <= now + FUTURE_TOLERANCE else now


class ClockOffset(Struct, frozen=True, kw_only=True):
    """How far a station's clock is from ours, as its live messages show.

    A message says "now" late, never early, so of several measurements the one with the least delay is the best: the
    largest (station minus ours) of the last few minutes.

    Args:
        offset_s: station's clock minus ours in seconds; positive where the station is ahead.
        measured_at: our time of that measurement.
        zone_like: the offset is within two minutes of a whole quarter of an hour and at least half an hour: local time
            sent as UTC.
    """

    offset_s: float
    measured_at: datetime
    zone_like: bool


_MEASURE_WINDOW: Final = timedelta(minutes=15)


_LATE_S: Final = -60.0


def measure(
    previous: ClockOffset | None, at: datetime | None, now: datetime, *, may_be_old: bool = False
) -> ClockOffset | None:
    """The clock offset after a message that was sent live (a status, an event not flagged offline).

    Args:
        at: the station's time in the message; None leaves the offset as it was.
        now: when the message came in.
        may_be_old: the time may be that of something long ago (a status is sent again after a reconnect with the time of
            its change): where it is past, it tells nothing.
    Returns:
        The offset, or None where nothing could be measured yet.
    """
    if at is None:
        return previous
    offset = (at - now).total_seconds()
    if may_be_old and offset < _LATE_S and at.year >= _FIRST_YEAR and (previous is None or offset < previous.offset_s):
        return previous
    if previous is not None and offset < previous.offset_s and now - previous.measured_at < _MEASURE_WINDOW:
        return previous
    return ClockOffset(offset_s=offset, measured_at=now, zone_like=zone_like(offset))


def zone_like(offset_s: float) -> bool:
    """Whether a clock is off by about a whole quarter of an hour, half an hour at least: local time shown as UTC."""
    quarter = 900.0
    rest = abs(offset_s) % quarter
    return 1800.0 - 120.0 <= abs(offset_s) <= 14 * 3600.0 + 120.0 and min(rest, quarter - rest) <= 120.0
