"""Two nodes, one database: a station that moved is answered by its new node alone, however the old one learns of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from chargeplane.app.ports import CloseReason
from chargeplane.domain.messages import ReportKind
from tests.support.place import Place, Talk, report


@pytest.fixture
async def nodes(database_url: str) -> AsyncIterator[tuple[Place, Place]]:
    db: Any = await asyncpg.connect(database_url)
    for number in (1, 2):
        await db.execute("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, $1)", f"CS{number}")
    await db.close()
    one, two = await Place(database_url, "one").start(), await Place(database_url, "two").start()
    yield one, two
    await one.stop()
    await two.stop()


async def begin(one: Place, two: Place) -> tuple[Talk, Talk, Talk]:
    """Both stations charge at node one; then CS1 comes to node two and goes on there. CS1's two sockets, and CS2's."""
    first, other = Talk(one, "CS1"), Talk(one, "CS2")
    await first.say(report(ReportKind.STARTED, 1000, seq=0))
    await other.say(report(ReportKind.STARTED, 1000, seq=0))
    moved = Talk(two, "CS1")
    moved.number = 100
    await moved.say(report(ReportKind.UPDATED, 2000, seq=1))
    return first, moved, other


async def closed(talk: Talk) -> None:
    async with asyncio.timeout(30):
        while CloseReason.FENCED not in talk.link.closed:
            await asyncio.sleep(0.005)


async def test_the_old_node_commits_nothing_for_a_station_that_moved(nodes: tuple[Place, Place]) -> None:
    one, two = nodes
    first, moved, _other = await begin(one, two)
    late = first.say(report(ReportKind.UPDATED, 1500, seq=7))
    await closed(first)
    assert not late.done()
    await moved.say(report(ReportKind.ENDED, 3000, seq=2))
    rows = await one.db.fetch("SELECT energy_wh FROM transaction_event WHERE station_key = 1 ORDER BY ordinal")
    assert [row[0] for row in rows] == [0, 1000, 2000]


async def test_nor_after_it_learnt_of_the_takeover_by_another_stations_message(nodes: tuple[Place, Place]) -> None:
    one, two = nodes
    first, moved, other = await begin(one, two)
    await other.say(report(ReportKind.UPDATED, 2000, seq=1))  # meets the raised fence, and goes on under the new one
    await closed(first)  # from here on its socket takes nothing
    assert not first.actor.is_loaded
    await moved.say(report(ReportKind.ENDED, 3000, seq=2))
    await other.say(report(ReportKind.ENDED, 2000, seq=2))
    assert other.link.closed == []


async def test_nor_where_its_connection_was_lost_at_the_same_time(nodes: tuple[Place, Place]) -> None:
    one, two = nodes
    first, moved, other = await begin(one, two)
    await two.db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'WITH fence%'"
    )
    late = first.say(report(ReportKind.UPDATED, 1500, seq=7))
    await other.say(report(ReportKind.UPDATED, 2000, seq=1))
    await closed(first)
    assert not late.done()
    await moved.say(report(ReportKind.ENDED, 3000, seq=2))
    rows = await one.db.fetch("SELECT energy_wh FROM transaction_event WHERE station_key = 1 ORDER BY ordinal")
    assert [row[0] for row in rows] == [0, 1000, 2000]


async def test_a_station_that_comes_back_is_taken_back_with_what_the_other_node_wrote(
    nodes: tuple[Place, Place],
) -> None:
    one, two = nodes
    first, _moved, other = await begin(one, two)
    await other.say(report(ReportKind.UPDATED, 2000, seq=1))
    await closed(first)
    back = Talk(one, "CS1")
    back.number = 200
    async with asyncio.timeout(30):
        await back.say(report(ReportKind.ENDED, 4000, seq=2))
    row = await one.db.fetchrow("SELECT energy_wh, is_open, ordinal FROM transaction WHERE station_key = 1")
    assert tuple(row) == (Decimal(3000), False, 3)
    assert back.link.closed == []
