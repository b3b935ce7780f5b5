"""The server as a user starts it, and the operator who works with its REST."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from tests.support import postgres

KEY = "an-admin-key-of-the-test"
_READY = re.compile(r"OCPP at (ws://\S+)/STATION_ID, REST at (http://\S+)/v1 .*wss://[^:]+:(\d+)/ocpp/STATION_ID")
_SETTINGS = {
    "BIND": "127.0.0.1",
    "HTTP_PORT": "0",
    "OCPP_PORT": "0",
    "OCPPS_PORT": "0",
    "ADMIN_KEY": KEY,
    "TLS_SERVER_NAMES": "localhost",
    "DEVICE_MODEL_READ_DELAY_S": "0",
    "DEVICE_MODEL_READ_SPREAD_S": "0",
    "LOCAL_LISTS_SETTLE_S": "0.05",
    "LOCAL_LISTS_SPREAD_S": "0",
}


@dataclass
class Address:
    """Where the server is: stations without and with TLS, REST."""

    ocpp: str
    secure: str
    rest: str


def served() -> Iterator[Address]:
    """`chargeplane serve` as a process of its own, as `make run` starts it, on free ports, with a TLS door of the house's authority."""
    folder = postgres.make_data_dir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHARGEPLANE_")}
    environment |= {f"CHARGEPLANE_{name}": value for name, value in _SETTINGS.items()}
    environment |= {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "CHARGEPLANE_DATA_DIR": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from chargeplane.main.cli import main; main(['serve'])"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = _READY.search(line.decode())
            if found:
                yield Address(found[1], f"wss://localhost:{found[3]}/ocpp", found[2])
                break
        else:
            raise AssertionError(f"The server did not start:\n{(folder / 'log').read_text()}")
    finally:
        process.terminate()
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
            postgres.remove_data_dir(folder)


class Operator:
    """Whoever works with REST, and the station they look at."""

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self.client = client
        self.name = name
        self.password = ""
        self.tag = f"TAG{uuid.uuid4().hex[:12].upper()}"

    @property
    def station(self) -> str:
        """The station's path."""
        return f"/charging-stations/{self.name}"

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(f"/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json(parse_float=Decimal)

    async def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        return list((await self.get(path, **query))["items"])

    async def send(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = await self.client.request(method, f"/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def post(self, path: str, body: Any, status: int) -> Any:
        return await self.send("POST", path, body, status)

    async def command(self, **body: Any) -> Any:
        return await self.post(f"{self.station}/commands?wait_s=20", body, 202)

    async def until(self, path: str, holds: Callable[[Any], bool], **query: Any) -> Any:
        """The resource as soon as `holds` of it."""
        found: Any = None
        try:
            async with asyncio.timeout(25):
                while not holds(found := await self.get(path, **query)):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{path} stays {found}") from None
        return found

    async def request(self, kind: str, state: str = "complete") -> Any:
        """What the station was asked for last and told later, once it is in this state."""
        path = f"{self.station}/requests"
        page = await self.until(
            path, lambda found: found["items"] and found["items"][0]["state"] == state, kind=kind, limit=1
        )
        return await self.get(f"/requests/{page['items'][0]['id']}")

    async def asked(self, *leave_out: str) -> list[str]:
        """The CALLs that the server has sent, oldest first, as its log of messages shows them."""
        page = await self.items(f"{self.station}/messages", direction="to_station", limit=200)
        return [one["action"] for one in reversed(page) if one["action"] not in leave_out]


@contextlib.asynccontextmanager
async def operator(address: Address, name: str, **registered: Any) -> AsyncIterator[Operator]:
    """Registers the station (security profile 1, its variables unread) and a card, `tag`."""
    async with httpx.AsyncClient(
        base_url=address.rest, headers={"Authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False
    ) as client:
        one = Operator(client, name)
        settings = {"read_variables": False} | registered.pop("settings", {})
        body = {"station_id": name, "security_profile": 1, "settings": settings, **registered}
        made = await one.post("/charging-stations", body, 201)
        one.password = made["password"]
        await one.post("/id-tokens", {"id_token": one.tag}, 201)
        yield one
