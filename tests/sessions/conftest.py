"""A whole server whose sessions are looked after soon, and one that leaves them to the tests; every test has a tenant of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import SessionsConfig
from chargeplane.main.wiring import Server
from tests.support.charging_house import ChargingHouse, config
from tests.support.postgres import TestServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The servers live in the loop of the session, so the tests must run there."""
    for item in items:
        if Path(__file__).parent in item.path.parents and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def sessions_database_url(postgres_server: TestServer) -> Iterator[str]:
    """A database for all of them."""
    with postgres_server.database() as url:
        yield url


async def _serve(folder: Path, url: str, sessions: SessionsConfig) -> Server:
    server = Server(replace(config(str(folder), url), sessions=sessions))
    await server.start()
    return server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory, sessions_database_url: str) -> AsyncIterator[Server]:
    """Rates and settles at once."""
    soon = SessionsConfig(running_cost_s=0.2, settle_after_s=1.0, poll_s=0.02)
    made = await _serve(tmp_path_factory.mktemp("data"), sessions_database_url, soon)
    yield made
    await made.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def calm(tmp_path_factory: pytest.TempPathFactory, postgres_server: TestServer) -> AsyncIterator[Server]:
    """Looks at no session by itself: the test does."""
    with postgres_server.database() as url:
        never = SessionsConfig(running_cost_s=3600, settle_after_s=0, poll_s=86_400)
        made = await _serve(tmp_path_factory.mktemp("data"), url, never)
        yield made
        await made.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def house(server: Server) -> AsyncIterator[ChargingHouse]:
    """The server; what a test began ends with it."""
    made = ChargingHouse(server)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def calm_house(calm: Server) -> AsyncIterator[ChargingHouse]:
    """The one that waits for the test."""
    made = ChargingHouse(calm)
    yield made
    await made.close()
