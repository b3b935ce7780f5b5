"""A roaming partner over real HTTP that is nobody's code but this file's: it takes what is sent, says what a test wants, and asks."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec

from chargeplane.app.roaming.connections import purpose_of
from chargeplane.app.roaming.tokens import hash_of
from chargeplane.domain.roaming.connection import ModuleUrl, PartnerParty
from chargeplane.kernel.ids import TenantId
from chargeplane.main.wiring import Server
from chargeplane.store.queries import roaming_connections as queries
from chargeplane.store.secrets import InstallationKeys

_numbers = itertools.count(1)
_MODULES = ("locations", "tariffs", "sessions", "cdrs", "commands", "tokens", "chargingprofiles", "bookings")


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    at: float = field(default_factory=time.monotonic)


Answering = Callable[[Seen], Any]
"""The data of the answer, or (HTTP status, envelope, headers)."""


class HttpPartner:
    """A provider of version 2.3.0 (unless another is said) with one party."""

    def __init__(self, version: str = "2.3.0") -> None:
        number = next(_numbers)
        self.version = version
        self.party = ("NL", f"P{number:02d}")
        self.requests: list[Seen] = []
        self.answering: dict[str, Answering] = {}
        """By module: what is answered."""
        self.connection_id = 0
        self.token = f"token-of-the-partner-{number}"
        self._server: asyncio.Server | None = None
        self._came = asyncio.Event()
        self._client: httpx.AsyncClient | None = None
        self.door = ""

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> HttpPartner:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._client is not None:
            await self._client.aclose()

    async def join(self, server: Server, tenant_id: TenantId) -> None:
        """Is registered with a tenant, as if both had done the handshake."""
        business = server.business
        assert business is not None
        assert server.http is not None
        connections = business.roaming.connections
        modules = tuple(
            ModuleUrl(module, interface, f"{self.url}/{module}")
            for module in _MODULES
            for interface in ("SENDER", "RECEIVER")
        )
        party = {
            "id": {"country_code": self.party[0], "party_id": self.party[1]},
            "role": "EMSP",
            "business_details": {"name": "Partner"},
        }
        parties = (msgspec.convert(party, PartnerParty),)
        async with server.database.change() as db:
            self.connection_id = await queries.insert(
                db,
                tenant_id,
                {
                    "name": f"partner {self.party[1]}",
                    "state": "registered",
                    "version": self.version,
                    "versions_url": f"{self.url}/versions",
                    **queries.columns_of(modules=modules, parties=parties),
                },
            )
            sealed = _keys_of(server).encrypt(self.token.encode(), purpose_of(self.connection_id))
            await queries.update(db, self.connection_id, {"token": sealed})
            ours = f"token-of-ours-{self.party[1]}"
            await queries.issue(db, self.connection_id, hash_of(ours), "current", ours[:6])
        header = base64.b64encode(ours.encode()).decode()
        self.door = f"http://127.0.0.1:{server.http.port}/ocpi"
        self._client = httpx.AsyncClient(headers={"Authorization": f"Token {header}"}, timeout=30)
        for change in connections.on_change:
            change(self.connection_id)

    async def ask(self, method: str, row_path: str, body: Any = None, **query: Any) -> httpx.Response:
        """Asks at the installation's door.

        Args:
            row_path: interface and what stands behind it, such as `sender/locations`.
        """
        assert self._client is not None
        details = await self._client.get(f"{self.door}/{self.version}")
        interface, _, path = row_path.partition("/")
        module, _, rest = path.partition("/")
        (url,) = [
            one["url"]
            for one in details.json()["data"]["endpoints"]
            if one["identifier"] == module and one.get("role", interface.upper()) == interface.upper()
        ]
        return await self._client.request(method, f"{url}/{rest}" if rest else url, json=body, params=query)

    def of(self, module: str, method: str | None = None) -> list[Seen]:
        """What came for a module."""
        return [one for one in self.requests if one.path.startswith(f"/{module}") and method in (None, one.method)]

    async def until(self, holds: Callable[[], Any], within_s: float = 20.0) -> Any:
        """What a condition gives once it holds; it is looked at with each request."""
        async with asyncio.timeout(within_s):
            while not (found := holds()):
                self._came.clear()
                await self._came.wait()
        return found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                length = int(headers.get("content-length", "0"))
                text = await reader.readexactly(length) if length else b""
                method, target, _ = first.split(" ")
                parts = urlsplit(target)
                seen = Seen(
                    method, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(text) if text else None
                )
                answer = self.answering.get(parts.path.split("/")[1], lambda _: None)(seen)
                if asyncio.iscoroutine(answer):
                    answer = await answer
                status, envelope, more = answer if isinstance(answer, tuple) else (200, None, {})
                if envelope is None:
                    envelope = {"status_code": 1000, "timestamp": "2026-01-01T00:00:00Z"}
                    if not isinstance(answer, tuple) and answer is not None:
                        envelope["data"] = answer
                body = json.dumps(envelope).encode()
                extra = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                writer.write(
                    f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode()
                    + body
                )
                await writer.drain()
                self.requests.append(seen)
                self._came.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _keys_of(server: Server) -> InstallationKeys:
    return InstallationKeys.load(server.config.data_path, server.config.secret_key)
