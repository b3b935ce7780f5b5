"""One server with a TLS door of the house's authority, and virtual stations on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from chargeplane.main.wiring import Server
from tests.support import postgres
from tests.support.security import KEY, House, config_of


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """One server for all of these tests."""
    with postgres_server.database() as url:
        server = Server(config_of(url, str(tmp_path_factory.mktemp("security"))))
        await server.start()
        assert server.http is not None
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.http.port}", headers=headers, timeout=60
        ) as client:
            root = (await client.get("/v1/certificate-authority")).json()["root"]
            try:
                yield House(server, client, root)
            finally:
                await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def house(running: House) -> AsyncIterator[House]:
    """The server; a test's stations hang up with it."""
    yield running
    await running.close()
