"""Installations that live as long as the session, for the tests about roaming."""

from __future__ import annotations

from collections.abc import AsyncIterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import RoamingConfig, RoamingOperatorConfig, SessionsConfig
from chargeplane.main.wiring import Server
from tests.support.charging_house import ChargingHouse, config
from tests.support.postgres import TestServer
from tests.support.roaming import Node, running_node


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The installations live in the loop of the session, so tests with them must run there."""
    for item in items:
        inside = Path(__file__).parent in item.path.parents
        names = getattr(item, "fixturenames", ())
        if (
            inside
            and iscoroutinefunction(getattr(item, "function", None))
            and {"operator", "provider", "houses"} & set(names)
        ):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operator(postgres_server: TestServer) -> AsyncIterator[Node]:
    """An installation that is CPO and eMSP."""
    async with running_node(postgres_server, "operator", ("NL", "OPE")) as node:
        yield node


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider(postgres_server: TestServer) -> AsyncIterator[Node]:
    """Another one."""
    async with running_node(postgres_server, "provider", ("DE", "PRO")) as node:
        yield node


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def houses(
    postgres_server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[ChargingHouse, ChargingHouse]]:
    """The operator's installation and the provider's."""
    servers: list[Server] = []
    with postgres_server.database() as first, postgres_server.database() as second:
        for url in (first, second):
            made = replace(
                config(str(tmp_path_factory.mktemp("data")), url),
                roaming=RoamingConfig(private_networks=True, timeout_s=10.0, first_pause_s=0.1),
                roaming_operator=RoamingOperatorConfig(
                    session_push_s=0.2, status_look_every_s=1.0, command_timeout_s=10.0, authorize_timeout_s=5.0
                ),
                sessions=SessionsConfig(running_cost_s=0.2, settle_after_s=0.2, poll_s=0.05),
            )
            server = Server(made)
            await server.start()
            servers.append(server)
        pair = (ChargingHouse(servers[0]), ChargingHouse(servers[1]))
        yield pair
        for house in pair:
            await house.close()
        for server in servers:
            await server.stop()
