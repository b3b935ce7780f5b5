"""Moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chargeplane.kernel.time import later


def test_later_than_the_end_of_the_calendar_is_its_last_instant() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert later(last, timedelta(hours=1)) == datetime.max.replace(tzinfo=UTC)
    assert later(datetime(2026, 1, 31, tzinfo=UTC), timedelta(hours=1)) == datetime(2026, 1, 31, 1, tzinfo=UTC)
