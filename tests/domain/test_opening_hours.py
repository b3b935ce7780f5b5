"""When a station is open."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chargeplane.domain.opening_hours import OpeningHours, changed_at, is_open
from chargeplane.domain.token_rules import WeeklyTime

WORKDAYS = (1, 2, 3, 4, 5)
SHOP = OpeningHours(
    time_zone="Europe/Berlin",
    weekly_times=(
        WeeklyTime(days=WORKDAYS, start="08:00", until="18:00"),
        WeeklyTime(days=(5,), start="20:00", until="02:00"),
    ),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "expected", "since"),
    [
        ("2026-01-30T06:59:59", False, "2026-01-29T17:00:00"),  # a Friday, one hour ahead of UTC
        ("2026-01-30T07:00:00", True, "2026-01-30T07:00:00"),
        ("2026-01-30T18:30:00", False, "2026-01-30T17:00:00"),
        ("2026-01-31T00:59:00", True, "2026-01-30T19:00:00"),  # over midnight
        ("2026-02-02T06:00:00", False, "2026-01-31T01:00:00"),  # over the weekend
        ("2026-03-30T06:00:00", True, "2026-03-30T06:00:00"),  # summer time has begun the day before
    ],
)
def test_it_is_open_by_the_clocks_of_its_place_and_it_is_known_since_when(now: str, expected: bool, since: str) -> None:
    assert is_open(SHOP, at(now)) is expected
    assert changed_at(SHOP, at(now)) == at(since)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (OpeningHours(), False),
        (OpeningHours(weekly_times=(WeeklyTime(days=(1, 2, 3, 4, 5, 6, 7)),)), True),
        (OpeningHours(weekly_times=(WeeklyTime(days=(1, 2, 3, 4, 5, 6, 7)),), time_zone="Pacific/Kiritimati"), True),
    ],
)
def test_what_never_changes_has_no_moment_of_change(hours: OpeningHours, expected: bool) -> None:
    now = at("2026-01-30T12:00:00")
    assert is_open(hours, now) is expected
    assert changed_at(hours, now) is None
