"""Timestamps as stations write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import parse_timestamp

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31T12:00:00.000Z", NOON),
        ("2026-01-31T12:00:00", NOON),
        ("2026-01-31T12:00:00z", NOON),
        ("2026-01-31t12:00:00z", NOON),
        ("2026-01-31 12:00:00Z", NOON),
        ("2026-01-31T12:00Z", NOON),
        (" 2026-01-31T12:00:00Z\n", NOON),
        ("2026-01-31T13:00:00+01:00", NOON),
        ("2026-01-31T13:00:00+0100", NOON),
        ("2026-01-31T13:00:00+01", NOON),
        ("2026-01-31T12:00:00,25Z", NOON + timedelta(milliseconds=250)),
        ("2026-01-31T12:00:00.123456789Z", NOON + timedelta(microseconds=123456)),
        ("2026-01-31T12:00:00.5", NOON + timedelta(milliseconds=500)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_common_spellings_are_read(text: str, instant: datetime) -> None:
    read = parse_timestamp(text)
    assert read == instant
    assert read is not None
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "2026-01-31",
        "12:00:00",
        "2026-13-31T12:00:00Z",
        "1769860800",
        "2026-01-31T25:00:00Z",
        "\x00" * 20,
        "9" * 5000,
    ],
)
def test_garbage_is_none(text: str) -> None:
    assert parse_timestamp(text) is None


def test_the_ends_of_the_calendar_do_not_overflow() -> None:
    assert parse_timestamp("0001-01-01T00:00:00+14:00") is not None
    assert parse_timestamp("9999-12-31T23:59:59-14:00") is not None


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    read = parse_timestamp(text)
    assert read is None or read.tzinfo is UTC


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_we_write_is_read_to_the_millisecond(instant: datetime) -> None:
    read = parse_timestamp(rfc3339(instant))
    assert read == instant.replace(microsecond=instant.microsecond // 1000 * 1000)
