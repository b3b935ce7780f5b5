"""Pages by position, on a table of its own: any sort shows each item once, whatever is written meanwhile."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import asyncpg
import pytest

from chargeplane.store.queries.paging import (
    Position,
    Sorts,
    Where,
    by_day,
    by_number,
    by_text,
    by_time,
    fits,
)


class Item:
    """A row with its names as attributes."""

    def __init__(self, row: Any) -> None:
        self.__dict__.update(row)


SORTS: Final = Sorts(
    "id",
    at=by_time("at"),
    gone_at=by_time("gone_at", missing=True),
    day=by_day("day", missing=True),
    count=by_number("count", missing=True),
    price=by_number("price", Decimal, missing=True),
    name=by_text("name", missing=True),
)
_BEGIN: Final = datetime(2026, 5, 1, tzinfo=UTC)


def _row(chance: random.Random) -> tuple[Any, ...]:
    """Few values, so that many are equal."""
    at = _BEGIN + timedelta(microseconds=chance.randrange(3))
    return (
        at,
        chance.choice([None, at]),
        chance.choice([None, at.date(), at.date() - timedelta(days=1)]),
        chance.choice([None, -1, 0, 7]),
        chance.choice([None, Decimal("0"), Decimal("-0.10"), Decimal("1e10"), Decimal("0.1")]),
        chance.choice([None, "a", "B", "b", "\u00e9", "z", "\U0001f50c"]),
    )


async def _write(db: asyncpg.Connection[Any], chance: random.Random, count: int) -> None:
    await db.executemany(
        "INSERT INTO item (at, gone_at, day, count, price, name) VALUES ($1, $2, $3, $4, $5, $6)",
        [_row(chance) for _ in range(count)],
    )


async def _page(db: asyncpg.Connection[Any], limit: int, after: Position | None) -> list[Item]:
    where = Where()
    where.add("id > ?", 0)
    order = SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT * FROM item WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [Item(row) for row in rows]


@pytest.mark.parametrize("seed", range(4))
async def test_walk_in_any_sort_shows_each_item_once_and_in_order(database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    db = await asyncpg.connect(database_url)
    try:
        await db.execute(
            "CREATE TEMP TABLE item (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, gone_at timestamptz,"
            " day date, count int, price numeric, name text)"
        )
        await _write(db, chance, 40)
        for sort in SORTS.choices:
            key = sort.removeprefix("-")
            before = [item.__dict__["id"] for item in await _page(db, 10_000, Position(sort=sort))]
            walked: list[Item] = []
            after = Position(sort=sort)
            limit = chance.randrange(1, 9)
            while found := await _page(db, limit, after):
                walked += found
                after = Position(SORTS.place_of(found[-1], sort), sort)
                kinds = SORTS.kinds(sort)
                assert after[0] is None or fits(after.place, kinds)
                await _write(db, chance, 1)
                if len(walked) > 3 * len(before):  # what comes behind the walk may go on coming
                    break
            shown = [item.__dict__["id"] for item in walked]
            assert len(shown) == len(set(shown))
            known = set(before)
            again = [ident for ident in shown if ident in known]
            assert again == before[: len(again)]
            assert len(again) == len(before) or len(walked) > 3 * len(before)
            values = [
                (item.__dict__[key] is not None, item.__dict__[key] or _zero(key), item.__dict__["id"])
                for item in walked
            ]
            assert values == sorted(values, reverse=sort.startswith("-"))
    finally:
        await db.close()


def _zero(key: str) -> Any:
    return {"gone_at": _BEGIN, "day": _BEGIN.date(), "name": "", "count": 0, "price": 0}.get(key)
