"""Installations that live as long as the session, for the tests about roaming."""

from __future__ import annotations

from collections.abc import AsyncIterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.postgres import TestServer
from tests.support.roaming import Node, running_node


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The installations live in the loop of the session, so tests with them must run there."""
    for item in items:
        inside = Path(__file__).parent in item.path.parents
        names = getattr(item, "fixturenames", ())
        if inside and iscoroutinefunction(getattr(item, "function", None)) and {"operator", "provider"} & set(names):
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
