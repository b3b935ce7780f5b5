"""A real server, killed with kill -9 at the worst moments of a guest's session and started again: one capture, the rest released."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.simulator import FAST, Plan, VirtualStation
from chargeplane.simulator.payments import Intent, PaymentSimulator
from tests.support import postgres
from tests.support.served import Served

PASSWORD = "a-password-of-20-chars"
PATIENCE_S = 120.0


class Killer:
    """Kills the server when the provider has done something, before it can answer; and starts it again."""

    def __init__(self, server: Served, simulator: PaymentSimulator) -> None:
        self.server = server
        self.kinds: list[str] = []
        self.killed = 0
        self._restarts: asyncio.Task[None] | None = None
        inner = simulator.book._changed

        def changed(kind: str, intent: Intent) -> None:
            inner(kind, intent)
            if kind in self.kinds:
                self.kinds.remove(kind)
                self.kill()

        simulator.book._changed = changed

    def kill(self) -> None:
        self.server.kill()
        self.killed += 1
        self._restarts = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        await self.server.gone()
        await self.server.start()

    async def over(self) -> None:
        """Returns when the server is there again."""
        async with asyncio.timeout(PATIENCE_S):
            while self.kinds or self._restarts is None:
                await asyncio.sleep(0.02)
            await self._restarts
        self._restarts = None


@pytest_asyncio.fixture
async def server(postgres_server: postgres.TestServer, tmp_path: Path) -> AsyncIterator[Served]:
    """A server as a process on a database of the tests."""
    with postgres_server.database() as url:
        made = Served(
            tmp_path,
            DATABASE_URL=url,
            PAYMENTS_LOOK_EVERY_S="0.1",
            PAYMENTS_CALL_TIMEOUT_S="3",
            PAYMENTS_CLAIM_S="1",
            PAYMENTS_GUEST_ANSWER_S="2",
            PAYMENTS_GUEST_LOOK_S="0.3",
            PAYMENTS_GUEST_PLUG_IN_S="60",
            PAYMENTS_GUEST_REQUESTS_PER_MINUTE="100000",
        )
        try:
            await made.start()
            yield made
        finally:
            await made.close()


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[PaymentSimulator]:
    made = PaymentSimulator()
    await made.start()
    yield made
    await made.stop()


async def furnish(server: Served, simulator: PaymentSimulator) -> str:
    """By REST: a provider, a price, a place with a station; the code of its EVSE."""

    async def send(method: str, path: str, body: Any) -> Any:
        answer = await server.ask(method, path, body)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json()

    provider = await send(
        "PUT",
        "/v1/payment-providers/cards",
        {
            "kind": "simulator",
            "for_guests": True,
            "settings": {"url": simulator.url},
            "secrets": {"key": "merchant-of-kills", "webhook_secret": "secret"},
        },
    )
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:
        told = {"url": server.rest + provider["webhook_path"], "secret": "secret"}
        await client.put("/v1/webhook", json=told, headers={"Authorization": "Bearer merchant-of-kills"})
    await send(
        "POST",
        "/v1/tariffs",
        {
            "id": "guests",
            "name": "Guests",
            "currency": "EUR",
            "tax_included": "YES",
            "type": "AD_HOC_PAYMENT",
            "elements": [{"price_components": [{"type": "ENERGY", "price": 0.5, "vat": 19}]}],
        },
    )
    await send(
        "POST",
        "/v1/locations",
        {
            "id": "harbour",
            "name": "Harbour",
            "address": "Quay 1",
            "city": "Kiel",
            "country": "DEU",
            "time_zone": "Europe/Berlin",
            "coordinates": {"latitude": "54.32000", "longitude": "10.14000"},
        },
    )
    await send("POST", "/v1/charging-stations", {"station_id": "KILL-1", "password": PASSWORD})
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 32,
        "tariff_ids": ["guests"],
    }
    evse = {
        "uid": "E1",
        "station_id": "KILL-1",
        "ocpp_evse_id": 1,
        "payment_methods": ["web"],
        "connectors": [connector],
    }
    return str((await send("POST", "/v1/locations/harbour/evses", evse))["code"])


async def test_killed_when_it_was_begun_held_started_and_captured_a_guest_pays_once(
    server: Served, simulator: PaymentSimulator
) -> None:
    code = await furnish(server, simulator)
    options = replace(FAST, remote_plan=Plan(energy_wh=8_000, meter_interval_s=60, hold=True))
    station = VirtualStation(server.url, "KILL-1", "2.0.1", password=PASSWORD, seed=3, options=options)
    killer = Killer(server, simulator)
    try:
        await station.connect()
        await station.boot()
        async with httpx.AsyncClient(trust_env=False, timeout=30) as browser:

            async def ask(method: str, path: str, **more: Any) -> httpx.Response:
                """The guest tries again while the server is away."""
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        with contextlib.suppress(httpx.TransportError):
                            answer = await browser.request(method, server.rest + path, **more)
                            if answer.status_code < 500:
                                return answer
                        await asyncio.sleep(0.05)

            async def until(path: str, *stages: str) -> Any:
                token = path.rsplit("/", 1)[-1]
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        seen = (await ask("GET", f"/v1/public/visits/{token}")).json()
                        if seen["stage"] in stages:
                            return seen
                        await asyncio.sleep(0.05)

            killer.kinds = ["intent.created"]
            with contextlib.suppress(httpx.TransportError):  # killed while it asks the provider to begin
                await browser.post(f"{server.rest}/pay/{code}?lang=en")
            await killer.over()
            (begun,) = simulator.book.all()
            assert begun.return_url is not None
            visit = urlsplit(begun.return_url).path
            killer.kinds = ["intent.authorized"]
            await browser.post(f"{simulator.url}/pay/{begun.id}", data={"do": "pay", "number": "4242424242424242"})
            await killer.over()
            async with asyncio.timeout(PATIENCE_S):
                while not [name for name, _ in station.calls if name == "RequestStartTransaction"]:
                    await asyncio.sleep(0.01)
            killer.kill()  # the start is on its way, or just answered
            await killer.over()
            await until(visit, "charging")
            async with asyncio.timeout(PATIENCE_S):
                while (await until(visit, "charging"))["energy_wh"] != 8_000:
                    await asyncio.sleep(0.05)
            killer.kinds = ["intent.captured"]
            assert (await ask("POST", f"{visit}/stop")).status_code == 303
            await killer.over()
            done = await until(visit, "done")
    finally:
        await station.close()
    assert killer.killed == 4
    assert done["paid"] == {"amount": "4.00", "currency": "EUR"}
    (intent,) = simulator.book.all()
    assert (intent.captures, str(intent.captured), intent.holds, intent.released) == (1, "4.00", 1, True)
    started = [payload for name, payload in station.calls if name == "RequestStartTransaction"]
    assert len({payload["idToken"]["idToken"] for payload in started}) == 1
    transactions = await server.items("/v1/transactions?station_id=KILL-1")
    assert len(transactions) == 1
