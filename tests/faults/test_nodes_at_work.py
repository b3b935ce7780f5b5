"""Work over many stations that two nodes hold: a firmware campaign and a configuration template, and a node that dies in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from chargeplane.edges.bus import EmbeddedNats
from chargeplane.simulator import FAST, VirtualStation
from chargeplane.simulator.station import Route
from chargeplane.simulator.subjects.firmware import FirmwareState
from chargeplane.store.embedded import Cluster
from tests.faults.test_database_away import make_database
from tests.faults.town import PASSWORD, VERSIONS, database
from tests.support.served import KEY, Served, served

SECRET = "an-installation-key-for-both-nodes-of-the-test"
OPTIONS = replace(FAST, reconnect_max_s=0.2, record_calls=True)
COUNT = 12


class Pair:
    """Two nodes on one PostgreSQL, one NATS and one folder of files, and stations on both."""

    def __init__(self, one: Served, two: Served, url: str) -> None:
        self.nodes = [one, two]
        self.url = url
        self.stations: list[VirtualStation] = []

    async def settle(self) -> None:
        """Stations, every other one on the other node."""
        for number in range(COUNT):
            name = f"CP-{number:02d}"
            made = await self.ask("POST", "/v1/charging-stations", {"station_id": name, "password": PASSWORD})
            assert made["station_id"] == name
            station = VirtualStation(
                self.nodes[number % 2].url,
                name,
                VERSIONS[number // 2 % 3],
                password=PASSWORD,
                seed=number,
                options=OPTIONS,
            )
            # A reboot takes it back to the address of its network profile; this one is what its name leads to.
            station.route = partial(self.way, number)
            self.stations.append(station)
        await asyncio.gather(*(one.connect() for one in self.stations))
        await asyncio.gather(*(one.boot() for one in self.stations))

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer of the first node that lives."""
        answer = await self.nodes[0].ask(method, path, body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def until(self, path: str, holds: Callable[[Any], bool], timeout_s: float = 60.0) -> Any:
        """The resource when it is as a test wants it."""
        seen: Any = None
        try:
            async with asyncio.timeout(timeout_s):
                while not holds(seen := await self.ask("GET", path)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{path} stays {seen}") from None
        return seen

    async def kill(self, node: Served) -> None:
        """A node dies; its stations go to the other one, and what it had claimed is free (as it is when its lease is over)."""
        node.kill()
        await node.gone()
        self.nodes.remove(node)
        async with database(self.url) as db:
            await db.execute("UPDATE firmware_campaign SET claimed_until = now() WHERE claimed_until > now()")
            await db.execute("UPDATE variable_change SET claimed_until = now() WHERE claimed_until > now()")

    def way(self, number: int) -> Route:
        """How a station comes in: by its own node while that lives, as behind one name for both."""
        return Route(self.nodes[number % len(self.nodes)].url, None)

    async def close(self) -> None:
        """The stations hang up."""
        for station in self.stations:
            await station.close()


@pytest.fixture
async def pair(data_dir: Path, other_data_dir: Path, cluster: Cluster, tmp_path: Path) -> AsyncIterator[Pair]:
    nats = EmbeddedNats(tmp_path)
    bus = await nats.start()
    try:
        url = await make_database(cluster)
        settings = {
            "DATABASE_URL": url,
            "SECRET_KEY": SECRET,
            "NATS_URL": bus,
            "FILES_FOLDER": str(tmp_path / "files"),
            "OCPP_SHUTDOWN_GRACE_S": "1",
            # what a station has is read at once after its boot, not spread over a minute
            "DEVICE_MODEL_READ_DELAY_S": "0",
            "DEVICE_MODEL_READ_SPREAD_S": "0",
            "DEVICE_MODEL_READ_RATE_PER_S": "100",
        }
        async with served(data_dir, **settings) as one, served(other_data_dir, **settings) as two:
            made = Pair(one, two, url)
            try:
                await made.settle()
                yield made
            finally:
                await made.close()
    finally:
        await nats.stop()


def asked(station: VirtualStation) -> int:
    """How often it was asked to update."""
    return sum(action in ("UpdateFirmware", "SignedUpdateFirmware") for action, _ in station.calls)


def installed(station: VirtualStation) -> int:
    """How often it installed something."""
    return station.state_of(FirmwareState).history.count("Installed")


async def campaign(pair: Pair) -> str:
    """Of all stations, four at a time; its path."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False) as client:
        made = await client.post(
            f"{pair.nodes[0].rest}/v1/firmware",
            files={"file": ("fw.bin", b"firmware 2.0.0\n" + bytes(2000))},
            data={"version": "2.0.0"},
        )
    assert made.status_code == 201, made.text
    plan = {
        "waves": [{"count": 4}],
        "max_parallel": 4,
        "retries": 5,
        "retry_after_s": 0.2,
        "step_timeout_s": 5,
        "verify_timeout_s": 5,
        "stop_at_failed_percent": None,
    }
    body = {
        "name": "both nodes",
        "firmware_id": made.json()["id"],
        "stations": {"station_ids": [one.station_id for one in pair.stations]},
        "plan": plan,
    }
    return f"/v1/firmware-campaigns/{(await pair.ask('POST', '/v1/firmware-campaigns', body))['id']}"


async def test_a_campaign_over_stations_of_two_nodes_updates_each_once(pair: Pair) -> None:
    path = await campaign(pair)
    done = await pair.until(path, lambda view: view["state"] == "finished")
    assert done["progress"] == {"succeeded": COUNT}
    assert [asked(one) for one in pair.stations] == [1] * COUNT
    assert [installed(one) for one in pair.stations] == [1] * COUNT


@pytest.mark.parametrize("victim", [0, 1])
async def test_a_campaign_goes_on_where_a_node_dies_and_updates_each_once(pair: Pair, victim: int) -> None:
    """One of the two victims works on the campaign, the other one holds stations only."""
    path = await campaign(pair)
    await pair.until(path, lambda view: view["progress"].get("succeeded", 0) >= 2)
    await pair.kill(pair.nodes[victim])
    done = await pair.until(path, lambda view: view["state"] == "finished")
    assert done["progress"] == {"succeeded": COUNT}
    assert [installed(one) for one in pair.stations] == [1] * COUNT
    assert {one.options.model.firmware for one in pair.stations} == {"2.0.0"}
    # A question whose answer died with the node may be asked again; nobody else is asked twice.
    assert all(count <= 2 for count in map(asked, pair.stations))
    assert Counter(map(asked, pair.stations))[1] >= COUNT // 2


async def template(pair: Pair) -> str:
    """Of all stations; its path."""
    body = {
        "name": "both nodes",
        "selector": {"station_id": [one.station_id for one in pair.stations]},
        "apply": "auto",
        "wave_size": COUNT,
        "variables": [{"variable": "MeterValueSampleInterval", "value": "33"}],
    }
    return f"/v1/configuration-templates/{(await pair.ask('POST', '/v1/configuration-templates', body))['id']}"


async def check_template(pair: Pair, path: str) -> None:
    """Every station is as the template wants it, by one change."""
    await pair.until(path, lambda view: view["stations"] == {"in_sync": COUNT})
    for station in pair.stations:
        path = f"/v1/charging-stations/{station.station_id}/variable-changes"
        changes = (await pair.until(path, lambda page: all(one["finished_at"] for one in page["items"])))["items"]
        assert [one["state"] for one in changes] == ["succeeded"], station.station_id


def written(station: VirtualStation) -> int:
    """How often the station was told the value."""
    return sum(
        action in ("SetVariables", "ChangeConfiguration") and "33" in str(payload) for action, payload in station.calls
    )


async def test_a_template_over_stations_of_two_nodes_is_applied_to_each_once(pair: Pair) -> None:
    await check_template(pair, await template(pair))
    assert [written(one) for one in pair.stations] == [1] * COUNT


async def test_a_template_is_applied_to_each_once_where_a_node_dies(pair: Pair) -> None:
    path = await template(pair)
    await pair.until(path, lambda view: view["stations"].get("in_sync", 0) >= 1)
    await pair.kill(pair.nodes[0])  # the one that was asked for it
    await check_template(pair, path)
    assert all(1 <= count <= 2 for count in map(written, pair.stations))
