from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from chargeplane.edges.ocpp_server import Listener, OcppServer, OcppServerConfig
from chargeplane.kernel.measures import Measures
from tests.support.raw_station import RawStation
from tests.support.station_gateway import ListLog, MemoryGateway

Door = Callable[..., Awaitable[OcppServer]]


@pytest.fixture
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """The loop that the server runs in."""
    return uvloop.EventLoopPolicy()


@pytest.fixture
def gateway() -> MemoryGateway:
    return MemoryGateway()


@pytest.fixture
def message_log() -> ListLog:
    return ListLog()


@pytest.fixture
async def door(gateway: MemoryGateway, message_log: ListLog) -> AsyncIterator[Door]:
    """Opens a server with the settings given; closed at the end."""
    servers: list[OcppServer] = []

    async def open_door(**settings: object) -> OcppServer:
        config = OcppServerConfig(**{"listeners": (Listener(host="127.0.0.1", port=0),), "tick_s": 0.02, **settings})
        server = OcppServer(gateway, config, Measures(), message_log)
        await server.start()
        servers.append(server)
        return server

    yield open_door
    for server in servers:
        await server.stop(0.0)


@pytest.fixture
async def dial() -> AsyncIterator[Callable[[OcppServer], Awaitable[RawStation]]]:
    """Connects raw stations; hung up at the end."""
    stations: list[RawStation] = []

    async def connect(server: OcppServer) -> RawStation:
        station = await RawStation.dial(server.ports[0])
        stations.append(station)
        return station

    yield connect
    for station in stations:
        station.hang_up()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The loop of production, for these tests alone; the newer hook for it would have to serve the tests of all folders.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings('ignore:Overriding the "event_loop_policy" fixture'))
