"""docs/tour.md, done as it stands there: a whole server, virtual stations, the simulated payment provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import PaymentsConfig, SessionsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator.payments import PaymentSimulator
from chargeplane.simulator.scenario import parse
from chargeplane.simulator.stage import Stage, plans_of
from tests.support import postgres
from tests.support.charging_house import KEY, config
from tests.support.pages import DOCS, Reader

PAGE = DOCS / "tour.md"
PREFIX, PASSWORD = "YARD", "a-password-of-20-chars"


@pytest_asyncio.fixture
async def server(postgres_server: postgres.TestServer, tmp_path: Path) -> AsyncIterator[Server]:
    """Settles sessions soon."""
    with postgres_server.database() as url:
        server = Server(
            replace(
                config(str(tmp_path), url),
                sessions=SessionsConfig(running_cost_s=0.2, settle_after_s=0.5, poll_s=0.05),
                payments=PaymentsConfig(look_every_s=0.1, guest_look_s=0.2, guest_requests_per_minute=100_000),
            )
        )
        await server.start()
        yield server
        await server.stop()


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[PaymentSimulator]:
    """The payment provider."""
    made = PaymentSimulator()
    await made.start()
    yield made
    await made.stop()


async def test_every_step_of_the_tour_does_what_the_page_says(server: Server, provider: PaymentSimulator) -> None:
    assert server.http is not None
    assert server.ocpp is not None
    base, ocpp = f"http://127.0.0.1:{server.http.port}", f"ws://127.0.0.1:{server.ocpp.ports[0]}/ocpp/yard"

    async def play(text: str) -> None:
        scenario = parse(text, "the page")
        stage = Stage(ocpp, scenario, plans_of(scenario, PREFIX, PASSWORD))
        try:
            await stage.play()
            assert stage.failures == []
        finally:
            await stage.close()

    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=60) as client:
        known = {"admin_key": KEY, "server": base, "provider": provider.url, "password": PASSWORD}
        reader = Reader(client, play, known)

        async def signed(request: httpx.Request) -> None:
            """As the page says: by the admin's key until the tenant has one; nothing to others than the server."""
            if request.url.host == client.base_url.host and request.url.port == client.base_url.port:
                request.headers.setdefault("Authorization", f"Bearer {reader.known.get('key', KEY)}")

        client.event_hooks["request"].append(signed)
        text = PAGE.read_text()
        assert await reader.read(text) == text.count("```http\n") + text.count("```toml\n")
