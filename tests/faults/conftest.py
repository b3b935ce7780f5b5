from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from chargeplane.store.embedded import Cluster
from tests.support import postgres
from tests.support.served import Served, served


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[Served]:
    """A server with its embedded PostgreSQL, as durable as in production."""
    async with served(data_dir) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server() -> AsyncIterator[Served]:
    """One server for all tests of a file that leave it as it was; starting one takes seconds."""
    folder = postgres.make_data_dir()
    try:
        async with served(folder) as made:
            yield made
    finally:
        await asyncio.to_thread(postgres.remove_data_dir, folder)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A PostgreSQL that nobody supervises, as durable as in production."""
    folder = postgres.make_data_dir()
    made = Cluster(folder)
    await asyncio.to_thread(made.start)
    made.unlock()
    yield made
    await asyncio.to_thread(postgres.remove_data_dir, folder)


@pytest.fixture
def other_data_dir() -> Iterator[Path]:
    """A second data folder."""
    folder = postgres.make_data_dir()
    yield folder
    postgres.remove_data_dir(folder)
