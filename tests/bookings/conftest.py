"""One database and one REST door for all tests about bookings; each test has ids of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio

from chargeplane.main.config import BookingsConfig
from tests.support.postgres import TestServer
from tests.support.rest import Rest, running_rest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server lives in the loop of the session, so the tests must run there."""
    for item in items:
        if Path(__file__).parent in item.path.parents and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def bookings_database_url(postgres_server: TestServer) -> Iterator[str]:
    """A database for all of them."""
    with postgres_server.database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rest(bookings_database_url: str) -> AsyncIterator[Rest]:
    """The running server with the admin's client. Bookings are looked after by the tests alone, whose clocks differ."""
    async with running_rest(bookings_database_url, bookings=BookingsConfig(look_every_s=86_400)) as running:
        yield running
