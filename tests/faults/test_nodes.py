"""Two servers where one should be, and two that share a database: one owner of a folder, one owner of a station."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chargeplane.store.embedded import Cluster
from tests.faults.test_bad_rows import dial, plug, say
from tests.faults.test_database_away import make_database
from tests.faults.town import database, town
from tests.support.served import Served, served

SECRET = "an-installation-key-for-both-nodes-of-the-test"


@pytest.mark.parametrize("embedded", [True, False])
async def test_a_second_server_on_a_data_folder_is_refused_and_the_first_goes_on(
    data_dir: Path, cluster: Cluster, embedded: bool
) -> None:
    settings = {} if embedded else {"DATABASE_URL": await make_database(cluster)}
    async with served(data_dir, **settings) as first, town(first, 3) as stations:
        stations.charge()
        second = Served(data_dir, **settings)
        try:
            await second.launch()
            assert await second.gone() == 1
        finally:
            await second.close()
        text = second.log_file.read_text()
        assert f"Another server (pid {first.pid}) runs on the data folder {data_dir}" in text
        assert "Traceback" not in text
        await stations.finish()
        async with database(settings.get("DATABASE_URL") or first.database_url()) as db:
            await stations.check_all(db)


async def test_stations_that_change_nodes_in_the_middle_of_a_session_lose_and_double_nothing(
    data_dir: Path, other_data_dir: Path, cluster: Cluster
) -> None:
    url = await make_database(cluster)
    async with (
        served(data_dir, DATABASE_URL=url, SECRET_KEY=SECRET) as one,
        town(one) as stations,  # before the other node starts, which hears of no changes: there is no bus between them
        served(other_data_dir, DATABASE_URL=url, SECRET_KEY=SECRET) as two,
    ):
        stations.charge()
        for turn in range(6):
            await asyncio.sleep(0.25)
            for number, station in enumerate(stations.stations):
                station.move((one, two)[(turn + number) % 2].url)
        await asyncio.sleep(0.25)
        two.kill()  # and where a node dies, the other one takes its stations
        await two.gone()
        for station in stations.stations:
            station.move(one.url)
        await stations.finish()
        async with database(url) as db:
            await stations.check_all(db)


async def test_an_old_socket_on_the_old_node_is_closed_and_stores_nothing(
    data_dir: Path, other_data_dir: Path, cluster: Cluster
) -> None:
    url = await make_database(cluster)
    async with served(data_dir, DATABASE_URL=url, SECRET_KEY=SECRET) as one:
        old = await plug(one, "CS1", "1.6")
        await one.ask("POST", "/v1/id-tokens", {"id_token": "TAG1"})
        start = b'{"connectorId":1,"idTag":"TAG1","meterStart":10,"timestamp":"2026-05-01T12:00:00Z"}'
        begun = await say(old, "1", "StartTransaction", start)
        number = begun[2]["transactionId"]
        async with served(other_data_dir, DATABASE_URL=url, SECRET_KEY=SECRET) as two:
            new = await dial(two, "CS1", "1.6")
            values = (
                b'{"connectorId":1,"transactionId":%d,"meterValue":[{"timestamp":"2026-05-01T12:%02d:00Z",'
                b'"sampledValue":[{"value":"%d"}]}]}'
            )
            assert (await say(new, "2", "MeterValues", values % (number, 10, 500)))[0] == 3
            old.send(b'[2,"3","MeterValues",%b]' % (values % (number, 20, 700)))
            assert await old.close_code() == 1012
            stop = b'{"transactionId":%d,"meterStop":1010,"timestamp":"2026-05-01T13:00:00Z"}' % number
            assert (await say(new, "4", "StopTransaction", stop))[0] == 3
            (row,) = await two.items("/v1/transactions")
            assert (row["energy_wh"], row["state"]) == (1000, "closed")
            async with database(url) as db:
                rows = await db.fetch("SELECT message_id FROM transaction_event ORDER BY ordinal")
                assert [row[0] for row in rows] == ["1", "2", "4"]
