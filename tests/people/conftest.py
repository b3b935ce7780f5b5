"""One REST door for all tests about people; they keep apart by the names they use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.postgres import TestServer
from tests.support.rest import Rest, running_rest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server lives in the loop of the session, so the tests must run there."""
    for item in items:
        if Path(__file__).parent in item.path.parents and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rest(postgres_server: TestServer) -> AsyncIterator[Rest]:
    """The running server with the admin's client."""
    with postgres_server.database() as url:
        async with running_rest(url) as running:
            yield running
