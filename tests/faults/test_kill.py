"""The server is killed at chosen and at random moments, under sessions in all versions: nothing acknowledged is lost, nothing doubles."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from chargeplane.simulator import Entry, Line
from chargeplane.store.embedded import Cluster
from chargeplane.store.embedded.cluster import Postmaster
from tests.faults.town import Resident, Town, database, town
from tests.support.served import Served

SOAK_KILLS = int(os.environ.get("CHARGEPLANE_SOAK_KILLS", "200"))
SOAK_POSTGRES_KILLS = int(os.environ.get("CHARGEPLANE_SOAK_POSTGRES_KILLS", "25"))

PATIENCE_S = 120.0
"""On a machine with much else to do; nothing waits for so long on an idle one."""

Kill = Callable[[], None]
Point = Callable[[Town, Kill], Awaitable[None]]
"""Waits for its moment, kills, and returns when that was done."""


def sent(action: str, event: str = "", *, after_s: float = 0.0) -> Point:
    """So long after a frame of this kind was sent; 0: before the server can have read it."""
    wanted = f'"eventType":"{event}"'.encode() if event else b""

    async def point(town: Town, kill: Kill) -> None:
        struck = asyncio.Event()
        loop = asyncio.get_running_loop()

        def strike() -> None:
            if town.unanswered:
                kill()
                struck.set()
            else:  # all were faster than the delay: the next frame will do
                town.on_line = strike_soon

        def strike_soon(line: Line) -> None:
            if line.entry is Entry.SENT:
                town.on_line = None
                loop.call_soon(strike)

        def look(line: Line) -> None:
            if line.entry is Entry.SENT and line.action == action and wanted in line.payload:
                town.on_line = None
                # The line is noted just before the frame goes out.
                if after_s:
                    loop.call_later(after_s, strike)
                else:
                    loop.call_soon(strike)

        town.on_line = look
        async with asyncio.timeout(PATIENCE_S):
            await struck.wait()

    return point


def answered(action: str, version: str) -> Point:
    """When the answer to such a message arrives: it is committed, and the station never gets to see that."""

    async def point(town: Town, kill: Kill) -> None:
        struck = asyncio.Event()

        def look(station: Resident, data: bytes) -> bool:
            if struck.is_set():
                return True  # what else was on its way is lost with the server
            if station.version.value == version and station.asking == action and data.startswith(b"[3"):
                kill()
                struck.set()
                return True
            return False

        for station in town.stations:
            station.withhold = look
        async with asyncio.timeout(PATIENCE_S):
            await struck.wait()

    return point


def committing(*, ends_before_restart: bool) -> Point:
    """While a batch is being written: the database goes on with it after its client is dead.

    Args:
        ends_before_restart: else it ends only when the next server already takes stations, and must not count.
    """

    async def point(town: Town, kill: Kill) -> None:
        url = town.server.database_url()
        blocker = await asyncpg.connect(url)
        async with database(url) as watcher:
            await blocker.execute("BEGIN; LOCK TABLE transaction_event IN SHARE MODE")
            async with asyncio.timeout(PATIENCE_S):
                while not await watcher.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'transaction_event'::regclass"
                ):
                    await asyncio.sleep(0.005)
            kill()
            if ends_before_restart:
                await blocker.execute("ROLLBACK")
                async with asyncio.timeout(PATIENCE_S):
                    while await watcher.fetchval(
                        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'WITH fence%'"
                    ):
                        await asyncio.sleep(0.005)
                await blocker.close()
            else:
                town.after_restart.append(lambda: _roll_back(blocker))

    return point


async def _roll_back(blocker: asyncpg.Connection) -> None:
    await blocker.execute("ROLLBACK")
    await blocker.close()


def at_random(rng: random.Random) -> Point:
    """Any moment."""
    delay = rng.uniform(0.02, 0.7)

    async def point(town: Town, kill: Kill) -> None:
        await asyncio.sleep(delay)
        async with asyncio.timeout(PATIENCE_S):
            while not town.unanswered:
                await asyncio.sleep(0)
        kill()

    return point


def drawn(rng: random.Random) -> Point:
    """One of all kinds."""
    delay = rng.uniform(0.0, 0.006)
    event = rng.choice(["Started", "Updated", "Ended"])
    version = rng.choice(["2.0.1", "2.1"])
    return rng.choice(
        [
            at_random(rng),
            at_random(rng),
            sent("StartTransaction", after_s=delay),
            sent("StopTransaction", after_s=delay),
            sent("MeterValues", after_s=delay),
            sent("Authorize", after_s=delay),
            sent("StatusNotification", after_s=delay),
            sent("TransactionEvent", event, after_s=delay),
            answered("StartTransaction", "1.6"),
            answered("StopTransaction", "1.6"),
            answered("MeterValues", "1.6"),
            answered("TransactionEvent", version),
            committing(ends_before_restart=True),
            committing(ends_before_restart=False),
        ]
    )


SERIES: dict[str, list[Point]] = {
    "sent": [
        sent("StartTransaction"),
        sent("StopTransaction", after_s=0.001),
        sent("MeterValues", after_s=0.002),
        sent("TransactionEvent", "Ended"),
        sent("Authorize", after_s=0.001),
    ],
    "answered": [
        answered("StartTransaction", "1.6"),
        answered("StopTransaction", "1.6"),
        answered("MeterValues", "1.6"),
        answered("TransactionEvent", "2.0.1"),
        answered("TransactionEvent", "2.1"),
    ],
    "committing": [
        committing(ends_before_restart=True),
        committing(ends_before_restart=False),
        sent("TransactionEvent", "Started", after_s=0.002),
        committing(ends_before_restart=True),
        committing(ends_before_restart=False),
    ],
    "random": [at_random(random.Random(seed)) for seed in range(5)],
}


async def survive(server: Served, points: list[Point], kill: Kill, *, tell: bool = False) -> None:
    """Kills at every point and starts again; then everything must be there, once."""
    async with town(server) as stations:
        unanswered: list[int] = []

        def strike() -> None:
            unanswered.append(len(stations.unanswered))
            kill()

        stations.charge()
        for number, point in enumerate(points):
            await asyncio.sleep(0.15)
            await point(stations, strike)
            await server.gone()
            for station in stations.stations:
                station.withhold = None
            if kill == server.kill:
                async with database(server.database_url()) as db:
                    await stations.check_acknowledged(db)
            await server.start()
            async with database(server.database_url()) as db:
                for step in stations.after_restart:
                    await step()
                stations.after_restart.clear()
                count = await stations.check_acknowledged(db)
            if tell:
                print(
                    f"kill {number + 1} of {len(points)}: {count} messages acknowledged so far, all there, once",
                    flush=True,
                )
        await asyncio.sleep(0.3)
        await stations.finish()
        async with database(server.database_url()) as db:
            await stations.check_all(db)
        assert all(unanswered), "nothing was in flight"


@pytest.mark.parametrize("series", SERIES)
async def test_nothing_acknowledged_is_lost_or_doubled_by_a_kill(server: Served, series: str) -> None:
    await survive(server, SERIES[series], server.kill)


async def test_nor_where_postgresql_is_killed_as_well(server: Served) -> None:
    rng = random.Random(7)
    points = [
        at_random(rng),
        sent("StopTransaction", after_s=0.002),
        answered("TransactionEvent", "2.0.1"),
        answered("StartTransaction", "1.6"),
        at_random(rng),
    ]
    await survive(server, points, server.kill_with_postgres)


async def test_nor_where_postgresql_alone_is_killed(server: Served) -> None:
    async with town(server) as stations:
        stations.charge()
        for _ in range(2):
            await asyncio.sleep(0.3)
            cluster = Cluster(server.data_dir)
            before = cluster.running()
            assert before is not None
            server.kill_postgres()
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    now = cluster.running()
                    if now is not None and now.pid != before.pid and now.state is Postmaster.READY:
                        break
                    await asyncio.sleep(0.01)
                while (await server.ask("GET", "/readyz")).status_code != 200:
                    await asyncio.sleep(0.01)
            async with database(server.database_url()) as db:
                await stations.check_acknowledged(db)
        await stations.finish()
        async with database(server.database_url()) as db:
            await stations.check_all(db)
        assert all(station.counters.connects == 1 for station in stations.stations)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
async def test_soak_of_kills(server: Served, seed: int) -> None:
    rng = random.Random(seed)
    await survive(server, [drawn(rng) for _ in range(-(-SOAK_KILLS // 4))], server.kill, tell=True)


@pytest.mark.soak
async def test_soak_of_kills_with_postgresql(server: Served) -> None:
    rng = random.Random(99)
    points = [
        rng.choice(
            [at_random(rng), sent("StopTransaction", after_s=rng.uniform(0, 0.006)), answered("MeterValues", "1.6")]
        )
        for _ in range(SOAK_POSTGRES_KILLS)
    ]
    await survive(server, points, server.kill_with_postgres, tell=True)
