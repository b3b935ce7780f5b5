"""One whole server for all tests about what stations do besides charging; every test has virtual stations of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chargeplane.main.config import Config
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Options, VirtualStation
from tests.support.postgres import TestServer
from tests.support.rest import ADMIN_KEY

PASSWORD = "a-password-of-20-chars"
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server lives in the loop of the session, so the tests must run there."""
    for item in items:
        if Path(__file__).parent in item.path.parents and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class Town:
    """A running server, and what a test needs of it."""

    def __init__(self, server: Server) -> None:
        assert server.http is not None
        assert server.ocpp is not None
        self.server = server
        self.url = f"ws://127.0.0.1:{server.ocpp.ports[0]}/ocpp"
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.http.port}/v1",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=60,
        )
        self.stations: list[VirtualStation] = []

    async def ask(self, method: str, path: str, body: object = None, *, status: int | None = None) -> Any:
        """A REST call; its answer."""
        response = await self.client.request(method, path, json=body)
        if status is None:
            assert response.is_success, response.text
        else:
            assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def station(self, version: str, options: Options = FAST, **arguments: Any) -> VirtualStation:
        """A registered station that has booted."""
        station_id = f"SUB-{next(_numbers)}"
        await self.ask("POST", "/charging-stations", {"station_id": station_id, "password": PASSWORD})
        station = VirtualStation(self.url, station_id, version, password=PASSWORD, seed=7, options=options, **arguments)
        self.stations.append(station)
        await station.connect()
        await station.boot()
        return station

    async def command(self, station: VirtualStation, body: dict[str, Any]) -> Any:
        """A version-free command, ended."""
        return await self.ask("POST", f"/charging-stations/{station.station_id}/commands?wait_s=30", body)

    async def eventually(self, look: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
        """What `look` finds once it is as it should be."""
        async with asyncio.timeout(30):
            while True:
                found = await look()
                if holds(found):
                    return found
                await asyncio.sleep(0.05)


@pytest.fixture(scope="session")
def subjects_database_url(postgres_server: TestServer) -> Iterator[str]:
    """A database for all of them."""
    with postgres_server.database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def subjects_server(
    subjects_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """The server."""
    server = Server(
        Config(
            bind="127.0.0.1",
            http_port=0,
            ocpp_port=0,
            ocpps_port=0,
            data_dir=str(tmp_path_factory.mktemp("subjects")),
            database_url=subjects_database_url,
            admin_key=ADMIN_KEY,
        )
    )
    await server.start()
    town = Town(server)
    await town.ask("POST", "/id-tokens", {"id_token": "TAG1"})
    await town.client.aclose()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def town(subjects_server: Server) -> AsyncIterator[Town]:
    """The server; stations that a test made end with it."""
    made = Town(subjects_server)
    yield made
    for station in made.stations:
        await station.close()
    await made.client.aclose()
