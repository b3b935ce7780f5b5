"""A server with a TLS door of the house's authority, and virtual stations on it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import httpx
from msgspec.structs import replace

from chargeplane.main.config import Config, OcppConfig, SecurityConfig, TlsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, HandshakeError, Options, VirtualStation
from chargeplane.simulator.subjects.security import security_of, trust

KEY = "test-key-0123456789"
PASSWORD = "a-password-of-20-chr"
_numbers = itertools.count(1)


class House:
    """A running server and what a test needs of it."""

    def __init__(self, server: Server, client: httpx.AsyncClient, root: str) -> None:
        assert server.ocpp is not None
        self.server = server
        self.client = client
        self.root = root
        self.plain = f"ws://localhost:{server.ocpp.ports[0]}/ocpp"
        self.secure = f"wss://localhost:{server.ocpp.ports[1]}/ocpp"
        self.stations: list[VirtualStation] = []

    async def ask(self, method: str, path: str, body: object = None, status: int | None = None) -> Any:
        """The answer's body; any status below 400 unless one is given."""
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code == status if status is not None else answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    async def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.ask("GET", path))["items"]
        return found

    async def station(
        self,
        version: str,
        profile: int = 1,
        *,
        options: Options = FAST,
        boot: bool = True,
        rooted: bool | None = None,
        **settings: Any,
    ) -> VirtualStation:
        """A registered virtual station that has booted.

        Args:
            rooted: it trusts the house's root; where None: from profile 2 on.
        """
        name = f"CS-{next(_numbers)}"
        body: dict[str, Any] = {"station_id": name, "security_profile": profile, "settings": settings}
        if profile in (1, 2):
            body["password"] = PASSWORD
        await self.ask("POST", "/v1/charging-stations", body, 201)
        url = self.plain if profile < 2 else self.secure
        station = VirtualStation(
            url, name, version, password=PASSWORD if profile in (1, 2) else None, seed=7, options=options
        )
        self.stations.append(station)
        security_of(station).secure_url = self.secure
        if rooted if rooted is not None else profile >= 2:
            trust(station, self.root)
        if boot:
            await station.connect()
            await station.boot()
        return station

    async def view(self, station: VirtualStation) -> dict[str, Any]:
        found: dict[str, Any] = await self.ask("GET", f"/v1/charging-stations/{station.station_id}")
        return found

    async def until(self, path: str, ready: Any, timeout_s: float = 30.0) -> Any:
        """The resource, once it is as a test wants it."""
        found: Any = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = await self.ask("GET", path)
                    if ready(found):
                        return found
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"{path} stays {found}") from None

    async def ended(self, noun: str, change: dict[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
        """A change of credentials when it has ended."""
        found: dict[str, Any] = await self.until(
            f"/v1/{noun}/{change['id']}", lambda view: view["finished_at"] is not None, timeout_s
        )
        return found

    async def rotate(self, station: VirtualStation, password: str | None = None) -> dict[str, Any]:
        """Begins a password rotation."""
        body = {} if password is None else {"password": password}
        path = f"/v1/charging-stations/{station.station_id}/password-rotations"
        found: dict[str, Any] = await self.ask("POST", path, body, 201)
        return found

    async def raise_profile(self, station: VirtualStation, profile: int, **more: Any) -> dict[str, Any]:
        """Begins a change of security profile."""
        path = f"/v1/charging-stations/{station.station_id}/security-profile-changes"
        body = {"security_profile": profile, "url": self.secure if profile >= 2 else None, **more}
        found: dict[str, Any] = await self.ask("POST", path, body, 201)
        return found

    async def let_in(self, station: VirtualStation, password: str) -> bool:
        """Whether somebody gets in under the station's identity by this password."""
        other = VirtualStation(
            station.url,
            station.station_id,
            station.version.value,
            password=password,
            options=replace(FAST, reconnect=False, auto_boot=False),
        )
        if station.url.startswith("wss"):
            trust(other, self.root)
        try:
            await other.connect()
        except HandshakeError as error:
            if error.status not in (401, 403):
                raise
            return False
        await other.close()
        return True

    async def close(self) -> None:
        """All stations hang up."""
        stations, self.stations = self.stations, []
        for station in stations:
            await station.close()


def config_of(database_url: str, data_dir: str, **more: Any) -> Config:
    """A server's configuration for these tests."""
    own: dict[str, Any] = {
        "tls": TlsConfig(server_names="localhost", organization="Operator"),
        "security": SecurityConfig(reconnect_wait_s=0.4, certificate_care_s=0.2),
    }
    return Config(
        bind="127.0.0.1",
        http_port=0,
        ocpp_port=0,
        ocpps_port=0,
        data_dir=data_dir,
        database_url=database_url,
        admin_key=KEY,
        ocpp=OcppConfig(trigger_boot_after_s=0.5, close_timeout_s=0.5, shutdown_grace_s=1.0),
        **(own | more),
    )
