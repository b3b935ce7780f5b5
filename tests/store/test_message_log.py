"""The message log: written in batches, lossy where it must be, never a reason to fail."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from chargeplane.app.ports import LoggedCall
from chargeplane.kernel.ids import StationKey
from chargeplane.store.message_log import MessageLogWriter

NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def entry(**changed: Any) -> LoggedCall:
    values: dict[str, Any] = {
        "station": StationKey(1),
        "at": NOW,
        "from_station": True,
        "action": "Authorize",
        "message_id": "m1",
        "request": b'{"idTag":"AB"}',
        "response": b"{}",
        "outcome": "callresult",
        "error_code": None,
        "latency_us": 1234,
        "stored": False,
    }
    return LoggedCall(**(values | changed))


async def test_entries_arrive_as_they_were_noted(database_url: str) -> None:
    log = MessageLogWriter(lambda: asyncpg.connect(database_url))
    log.add(entry())
    log.add(
        entry(
            from_station=False,
            request=None,
            response=None,
            latency_us=None,
            outcome="timeout",
            error_code="X",
            stored=True,
        )
    )
    await log.flush()
    db: Any = await asyncpg.connect(database_url)
    rows = [tuple(row) for row in await db.fetch("SELECT * FROM message_log ORDER BY outcome")]
    assert rows == [
        (NOW.date(), NOW, 1, True, "Authorize", "m1", "callresult", None, 1234, '{"idTag":"AB"}', "{}", False),
        (NOW.date(), NOW, 1, False, "Authorize", "m1", "timeout", "X", None, None, None, True),
    ]
    await db.close()
    await log.stop()


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        (b'"\x00"', '"?"'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u00e5\x00".encode(), "\u00e5\ufffd"),
        (b"x" * 70_000, "x" * 65_536),
    ],
)
async def test_a_payload_the_database_would_refuse_is_made_storable(
    database_url: str, payload: bytes, stored: str
) -> None:
    log = MessageLogWriter(lambda: asyncpg.connect(database_url))
    log.add(entry(request=payload))
    await log.flush()
    db: Any = await asyncpg.connect(database_url)
    assert await db.fetchval("SELECT request FROM message_log") == stored
    assert log.dropped == 0
    await db.close()
    await log.stop()


async def test_more_than_the_queue_holds_is_dropped_and_counted(database_url: str) -> None:
    log = MessageLogWriter(lambda: asyncpg.connect(database_url), queue_limit=10)
    for _ in range(25):
        log.add(entry())
    await log.flush()
    db: Any = await asyncpg.connect(database_url)
    assert (await db.fetchval("SELECT count(*) FROM message_log"), log.dropped) == (10, 15)
    await db.close()
    await log.stop()


async def test_thousands_of_entries_arrive_in_one_copy(database_url: str) -> None:
    log = MessageLogWriter(lambda: asyncpg.connect(database_url))
    for number in range(3_456):
        log.add(entry(message_id=str(number)))
    await log.flush()
    db: Any = await asyncpg.connect(database_url)
    assert await db.fetchval("SELECT count(DISTINCT message_id) FROM message_log") == 3_456
    await db.close()
    await log.stop()


async def test_a_database_that_is_away_costs_entries_and_nothing_else(database_url: str) -> None:
    async def away() -> Any:
        raise OSError("no route")

    log = MessageLogWriter(away)
    log.add(entry())
    await log.flush()
    assert log.dropped == 1
    await log.stop()
