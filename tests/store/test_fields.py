"""The binary fields of the group commit mean to PostgreSQL what they mean to us."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargeplane.store.commit import fields as f

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
VALUES = {
    "text": (f.text_or_null, st.none() | TEXT),
    "bytea": (f.raw_or_null, st.none() | st.binary()),
    "int4": (f.int4_or_null, st.none() | st.integers(-(2**31), 2**31 - 1)),
    "int8": (f.int8, st.integers(-(2**63), 2**63 - 1)),
    "bool": (f.boolean, st.booleans()),
    "date": (f.day, st.dates(date(1, 1, 1), date(9999, 12, 31))),
    "timestamptz": (
        f.timestamp_or_null,
        st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    ),
}


@pytest.mark.parametrize("type_", VALUES)
def test_a_column_arrives_as_it_was_sent(database_url: str, type_: str) -> None:
    make, values = VALUES[type_]
    loop = asyncio.new_event_loop()
    db: Any = loop.run_until_complete(asyncpg.connect(database_url))
    f.take_arrays_as_bytes(db)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(values, min_size=1, max_size=20))
    def check(column: list[Any]) -> None:
        rows = loop.run_until_complete(
            db.fetch(
                f"SELECT v FROM unnest($1::{type_}[]) WITH ORDINALITY x(v, n) ORDER BY n",
                f.array(type_, tuple(map(make, column))),
            )
        )
        assert [row["v"] for row in rows] == column

    try:
        check()
    finally:
        loop.run_until_complete(db.close())
        loop.close()


async def test_numbers_keep_every_digit(database_url: str) -> None:
    db: Any = await asyncpg.connect(database_url)
    f.take_arrays_as_bytes(db)
    column = [Decimal("0.1"), Decimal("-12345678901234.123456789012"), Decimal("1E+3"), None]
    rows = await db.fetch(
        "SELECT v::numeric AS v FROM unnest($1::text[]) WITH ORDINALITY x(v, n) ORDER BY n",
        f.array("text", tuple(f.number_or_null(value) for value in column)),
    )
    assert [row["v"] for row in rows] == column
    await db.close()


def test_a_time_in_another_zone_is_the_same_instant() -> None:
    here = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert f.timestamp(here) == f.timestamp(datetime(2026, 7, 1, 10, tzinfo=UTC))


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_an_integer_that_does_not_fit_is_refused_before_the_batch(value: int) -> None:
    with pytest.raises(Exception, match=r"argument out of range|format requires"):
        f.int4(value)


def test_a_lone_surrogate_is_refused_before_the_batch() -> None:
    with pytest.raises(UnicodeEncodeError):
        f.text("\ud800")
