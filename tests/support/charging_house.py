"""A whole server that does by itself, soon, what it does by itself; virtual stations of several tenants, results read over REST."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from chargeplane.main.config import AgreementsConfig, Config, LocalListsConfig, OcppConfig, TransactionsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Options, VirtualStation

KEY = "an-admin-key-of-these-tests"
PASSWORD = "a-password-of-20-chars"
VERSIONS = ("1.6", "2.0.1", "2.1")
VERSIONS_2X = ("2.0.1", "2.1")

SOON = {
    "ocpp": OcppConfig(
        trigger_boot_after_s=0.5,
        ask_by_evidence_after_s=0.2,
        close_by_evidence_after_s=1.0,
        seen_flush_s=0.2,
        availability_after_boot_s=0.3,
        opening_hours_every_s=0.1,
        shutdown_grace_s=1.0,
    ),
    "transactions": TransactionsConfig(quiet_s=0.3, silent_after_s=1.5, look_every_s=0.2, limits_every_s=0.1),
    "agreements": AgreementsConfig(look_every_s=0.3),
    "local_lists": LocalListsConfig(settle_s=0.1, spread_s=0.1, retry_s=0.3),
}
_numbers = itertools.count(1)


class Tenant:
    """A tenant with its own key.

    Args:
        client: with the tenant's key.
    """

    def __init__(self, house: ChargingHouse, slug: str, client: httpx.AsyncClient) -> None:
        self.house = house
        self.slug = slug
        self.client = client

    async def get(self, path: str, **query: Any) -> Any:
        """A resource."""
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def send(self, method: str, path: str, body: object = None, status: int | None = None) -> Any:
        """Changes something."""
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code == status if status else answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def token(self, value: str | None = None, **more: Any) -> dict[str, Any]:
        """A new id token."""
        made = await self.send("POST", "/id-tokens", {"id_token": value or f"TAG{next(_numbers)}", **more})
        return dict(made)

    async def station(
        self, version: str, options: Options = FAST, *, settings: dict[str, Any] | None = None, **more: Any
    ) -> VirtualStation:
        """A new virtual station that has connected and booted."""
        registered = {key: more.pop(key) for key in ("location_id",) if key in more}
        station_id = f"AUTH-{next(_numbers)}"
        body = {"station_id": station_id, "password": PASSWORD, "settings": settings or {}, **registered}
        await self.send("POST", "/charging-stations", body)
        url = f"{self.house.url}/{self.slug}"
        station = VirtualStation(url, station_id, version, password=PASSWORD, seed=5, options=options, **more)
        self.house.stations.append(station)
        await station.connect()
        await station.boot()
        return station

    async def command(self, station: VirtualStation, status: str = "accepted", **body: Any) -> Any:
        """A command that is waited for."""
        path = f"/charging-stations/{station.station_id}/commands?wait_s=30"
        view = await self.send("POST", path, body)
        assert view["state"] == status, view
        return view

    async def transactions(self, station: VirtualStation) -> list[Any]:
        """A station's transactions, oldest first."""
        return list(reversed((await self.get("/transactions", station_id=station.station_id))["items"]))

    async def transaction(self, station: VirtualStation) -> Any:
        """A station's only transaction, once it is there."""
        (one,) = await self.until(lambda: self.transactions(station), bool)
        return one

    async def until(
        self, read: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool], timeout_s: float = 30.0
    ) -> Any:
        """What is read when it holds."""
        seen: Any = None
        try:
            async with asyncio.timeout(timeout_s):
                while not holds(seen := await read()):
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"did not come to hold: {seen}") from None
        return seen


class ChargingHouse:
    """A running server."""

    def __init__(self, server: Server) -> None:
        assert server.http is not None
        assert server.ocpp is not None
        self.server = server
        self.base = f"http://127.0.0.1:{server.http.port}/v1"
        self.url = f"ws://127.0.0.1:{server.ocpp.ports[0]}/ocpp"
        self.stations: list[VirtualStation] = []
        self._clients: list[httpx.AsyncClient] = []
        self.admin = self._client(KEY)

    def _client(self, key: str) -> httpx.AsyncClient:
        client = httpx.AsyncClient(base_url=self.base, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        self._clients.append(client)
        return client

    async def tenant(self, **settings: Any) -> Tenant:
        """A new tenant with these settings."""
        slug = f"tenant-{next(_numbers)}"
        made = await self.admin.post("/tenants", json={"slug": slug, "name": slug, "settings": settings})
        assert made.status_code == 201, made.text
        key = await self.admin.post("/api-keys", json={"name": "test", "scopes": ["admin"], "tenant": slug})
        assert key.status_code == 201, key.text
        return Tenant(self, slug, self._client(key.json()["key"]))

    async def close(self) -> None:
        """Ends what the tests began."""
        for station in self.stations:
            await station.close()
        for client in self._clients:
            await client.aclose()


def config(data_dir: str, database_url: str) -> Config:
    """Of such a server."""
    return Config(
        bind="127.0.0.1",
        http_port=0,
        ocpp_port=0,
        data_dir=data_dir,
        database_url=database_url,
        admin_key=KEY,
        **SOON,  # type: ignore[arg-type]
    )
