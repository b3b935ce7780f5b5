"""One database and one REST door for the tests about operations that need no server of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio

from tests.operations.receiver import Receiver
from tests.support.postgres import TestServer
from tests.support.rest import Rest, running_rest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server lives in the loop of the session, so the tests must run there."""
    for item in items:
        if Path(__file__).parent in item.path.parents and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def operations_database_url(postgres_server: TestServer) -> Iterator[str]:
    """A database for all of them."""
    with postgres_server.database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rest(operations_database_url: str) -> AsyncIterator[Rest]:
    """The running server with the admin's client."""
    async with running_rest(operations_database_url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody who takes webhooks."""
    async with Receiver() as listening:
        yield listening
