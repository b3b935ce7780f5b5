"""Timestamps as stations write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from chargeplane.kernel.time import as_utc

_SHORTEST = len("2026-01-31T12:00")
_LEAP_SECOND = re.compile(r"(?<=:\d\d:)60")


def parse_timestamp(text: str) -> datetime | None:
    """The instant a wire timestamp names.

    Takes RFC 3339 and its common misspellings: no zone (taken as UTC), comma for the decimal point, any number of
    fraction digits (cut to microseconds), `z`, `+0100`, a blank for the `T`, a leap second (taken as the second before).

    Args:
        text: as received.
    Returns:
        Aware UTC; None where it is no date with a time.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return _from_odd(text)
    if value.tzinfo is UTC:
        return value if len(text) >= _SHORTEST else None
    return as_utc(value) if len(text) >= _SHORTEST else None


def _from_odd(text: str) -> datetime | None:
    """Second try for what `datetime.fromisoformat` refuses."""
    text = text.strip().upper()
    if not _SHORTEST <= len(text) <= 64:
        return None
    try:
        return as_utc(datetime.fromisoformat(_LEAP_SECOND.sub("59", text, count=1)))
    except ValueError:
        return None
