"""One whole server for all tests about the field; every test has stations of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio

from chargeplane.main.config import Config, TlsConfig
from chargeplane.main.wiring import Server
from tests.support.authority import Authority
from tests.support.field import QUICK, World, running
from tests.support.postgres import TestServer
from tests.support.rest import ADMIN_KEY


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server lives in the loop of the session, so the tests must run there."""
    for item in items:
        if Path(__file__).parent in item.path.parents and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def field_database_url(postgres_server: TestServer) -> Iterator[str]:
    """A database for all of them."""
    with postgres_server.database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def field_server(field_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The server."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority()
    chain, key = authority.issue("localhost", dns="localhost").write(folder, "server")
    config = Config(
        bind="127.0.0.1",
        http_port=0,
        ocpp_port=0,
        ocpps_port=0,
        tls=TlsConfig(certificate_file=str(chain), key_file=str(key)),
        data_dir=str(tmp_path_factory.mktemp("field")),
        database_url=field_database_url,
        admin_key=ADMIN_KEY,
        ocpp=QUICK,
    )
    async with running(Server(config), ADMIN_KEY) as world:
        world.authority = authority.pem
        await world.post("/id-tokens", {"id_token": "TAG", "type": "ISO14443"})
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(field_server: World) -> AsyncIterator[World]:
    """The server; connections that a test opened end with it."""
    yield field_server
    field_server.hang_up()
