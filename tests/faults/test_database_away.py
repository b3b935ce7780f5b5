"""The database is stopped and started again under sessions in all versions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from chargeplane.simulator import Entry
from chargeplane.simulator.outbox import Answer
from chargeplane.store.embedded import Cluster
from tests.faults.town import PASSWORD, Resident, database, town
from tests.support.served import Served, served


async def make_database(cluster: Cluster) -> str:
    db = await asyncpg.connect(cluster.url("postgres"))
    await db.execute("CREATE DATABASE own")
    await db.close()
    return cluster.url("own")


@pytest.mark.parametrize("outage_s", [6.0, pytest.param(30.0, marks=pytest.mark.soak)])
async def test_nothing_is_acknowledged_nobody_is_thrown_out_and_all_catch_up(
    cluster: Cluster, data_dir: Path, outage_s: float
) -> None:
    url = await make_database(cluster)
    async with (
        served(data_dir, DATABASE_URL=url) as server,
        town(server) as stations,
        town(server, 3, prefix="IDLE") as idle,
        town(server, 3, prefix="LATER") as later,
    ):
        loop = asyncio.get_running_loop()
        for station in later.stations:
            station.go_offline()
        stations.charge()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(cluster.stop)
        await asyncio.sleep(1.0)  # what was committed before may still be on its way
        stopped = loop.time()

        for station in later.stations:  # one that comes meanwhile is let in
            station.go_online()
        ready = await server.ask("GET", "/readyz")
        assert ready.status_code == 503
        assert "database does not answer" in ready.json()["detail"]
        assert (await server.ask("GET", "/healthz")).status_code == 200
        beats = [asyncio.ensure_future(_beat(station)) for station in idle.stations]
        assert all(beat.ok for beat in await asyncio.gather(*beats)), "a heartbeat needs no commit"
        await asyncio.sleep(max(0.5, outage_s - (loop.time() - stopped)))
        assert (await server.ask("GET", "/readyz")).status_code == 503
        for town_ in (stations, later):
            told = {line.action for line in town_.ledger.of(Entry.ACKNOWLEDGED) if line.at > stopped}
            assert told == set()
        assert len(stations.unanswered) == len(stations.stations)
        assert all(station.online for station in (*stations.stations, *later.stations))

        await asyncio.to_thread(cluster.start)
        cluster.unlock()
        async with asyncio.timeout(120):
            while (await server.ask("GET", "/readyz")).status_code != 200:
                await asyncio.sleep(0.02)
            for station in later.stations:
                await station.drain(everything=True)
        await asyncio.sleep(0.3)
        await stations.finish()
        async with database(url) as db:
            await stations.check_all(db)
        assert [station.counters.connects for station in stations.stations] == [1] * len(stations.stations)
        assert [station.counters.connects for station in idle.stations] == [1] * len(idle.stations)
        assert {line["event"] for line in server.log()} >= {"commit_delayed"}


async def _beat(station: Resident) -> Answer:
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    station.send(station.dialect.heartbeat(), answered.set_result)
    return await asyncio.wait_for(answered, 60)


async def test_a_server_that_starts_while_the_database_is_away_says_so(cluster: Cluster, data_dir: Path) -> None:
    url = await make_database(cluster)
    await asyncio.to_thread(cluster.stop)

    server = Served(data_dir, DATABASE_URL=url)
    await server.launch()
    try:
        assert await server.gone() != 0
        text = server.log_file.read_text()
        assert PASSWORD not in text
        assert "Traceback" not in text
        assert "database" in text.lower()
    finally:
        await server.close()
