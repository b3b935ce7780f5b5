"""Two servers where one should be, and two that share a database: one owner of a folder, one owner of a station."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chargeplane.store.embedded import Cluster
from tests.faults.test_bad_rows import dial, plug, say
from tests.faults.test_database_away import make_database
from tests.faults.town import PASSWORD, database, town
from tests.support.raw_station import RawStation
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


async def _knock(server: Served, station_id: str, password: str = PASSWORD) -> tuple[int, RawStation]:
    station = await RawStation.dial(server.ocpp_port)
    answer = await station.upgrade(f"/ocpp/{station_id}", auth=f"{station_id}:{password}".encode())
    return answer.status, station


async def _comes_to(server: Served, station_id: str, status: int, password: str = PASSWORD) -> RawStation:
    """A socket of the station once the node answers its handshake so."""
    async with asyncio.timeout(30):
        while True:
            answered, station = await _knock(server, station_id, password)
            if answered == status:
                return station
            station.hang_up()
            await asyncio.sleep(0.1)


async def test_nodes_without_a_bus_learn_of_each_others_changes_from_the_database(
    data_dir: Path, other_data_dir: Path, cluster: Cluster
) -> None:
    url = await make_database(cluster)
    settings = {"DATABASE_URL": url, "SECRET_KEY": SECRET, "OCPP_FAILED_PASSWORDS_BURST": "1000"}
    async with served(data_dir, **settings) as one, served(other_data_dir, **settings) as two:
        made = await one.ask("POST", "/v1/charging-stations", {"station_id": "CS1", "password": PASSWORD})
        assert made.status_code == 201, made.text
        station = await _comes_to(two, "CS1", 101)
        fresh = "another-password-of-30-chars!!"
        changed = await one.ask("PATCH", "/v1/charging-stations/CS1", {"password": fresh})
        assert changed.status_code == 200, changed.text
        assert await asyncio.wait_for(station.close_code(), 30) == 1008
        assert (await _knock(two, "CS1"))[0] == 401
        station = await _comes_to(two, "CS1", 101, fresh)
        assert (await one.ask("DELETE", "/v1/charging-stations/CS1")).status_code == 204
        assert await asyncio.wait_for(station.close_code(), 30) == 1008
        assert (await _knock(two, "CS1", fresh))[0] == 404
