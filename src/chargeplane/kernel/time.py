"""Time: always aware, always UTC. Inner rings never read a clock; `now` is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_utc(value: datetime) -> datetime:
    """The same instant in UTC; a value without zone is taken as UTC (what OCPP 1.6 3.14 asks stations to send).

    Args:
        value: aware or naive. Values at the edge of the calendar are clamped, never an OverflowError.
    """
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return value.replace(tzinfo=UTC)


def later(value: datetime, by: timedelta) -> datetime:
    """So much later; at the end of the calendar its last instant, never an OverflowError.

    Args:
        value: aware.
        by: not negative.
    """
    try:
        return value + by
    except OverflowError:
        return datetime.max.replace(tzinfo=value.tzinfo)


def rfc3339(value: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`, as OCPP asks (`2026-01-31T12:00:00.000Z`)."""
    # isoformat is ten times as fast as strftime, and pads years below 1000; its tail is "+00:00".
    return as_utc(value).isoformat(timespec="milliseconds")[:-6] + "Z"


def seconds(value: timedelta) -> float:
    """A duration in seconds."""
    return value / timedelta(seconds=1)
