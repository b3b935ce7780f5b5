"""Whole installations that roam with each other: real servers, real sockets, a database each, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from chargeplane.domain.roaming.connection import Peer
from chargeplane.main.config import Config, LoginConfig, RoamingConfig
from chargeplane.main.roaming import Roaming
from chargeplane.main.wiring import Server
from tests.support.postgres import TestServer

KEY = "an-admin-key-of-the-tests"
VERSIONS = ("2.1.1", "2.2.1", "2.3.0")


@dataclass
class Node:
    """An installation.

    Args:
        party: country code and party id of its own party.
        rest: the admin's client.
    """

    name: str
    server: Server
    party: tuple[str, str]
    rest: httpx.AsyncClient
    database_url: str
    peers: dict[str, int] = field(default_factory=dict)
    """Ids of its connections, by the other node's name."""

    @property
    def port(self) -> int:
        assert self.server.http is not None
        return self.server.http.port

    @property
    def base_url(self) -> str:
        """Of its door for partners."""
        return f"http://127.0.0.1:{self.port}/ocpi"

    @property
    def roaming(self) -> Roaming:
        """What main made."""
        assert self.server.business is not None
        found = self.server.business.roaming
        assert isinstance(found, Roaming)
        return found

    async def peer(self, other: str | int) -> Peer:
        """A connection as it is now, by the other node's name or its id."""
        found = await self.roaming.connections.get(self.peers[other] if isinstance(other, str) else other)
        assert found is not None
        return found

    async def post(self, path: str, body: Any = None, status: int = 201) -> Any:
        """The answer to a POST at REST."""
        answer = await self.rest.post(path, json={} if body is None else body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def execute(self, sql: str, *values: Any) -> Any:
        """Runs a statement; what its first row's first column holds."""
        async with self.server.database.change() as db:
            return await db.fetchval(sql, *values)


@contextlib.asynccontextmanager
async def running_node(
    postgres: TestServer,
    name: str,
    party: tuple[str, str],
    roles: tuple[str, ...] = ("CPO", "EMSP"),
    **config: Any,
) -> AsyncIterator[Node]:
    """An installation with one party.

    Args:
        config: sections of the configuration that are to be otherwise.
    """
    config.setdefault("roaming", RoamingConfig(private_networks=True, timeout_s=5.0, first_pause_s=0.1))
    with postgres.database() as url, TemporaryDirectory(prefix=f"chargeplane-{name}-") as folder:
        server = Server(
            Config(
                data_dir=str(Path(folder)),
                database_url=url,
                admin_key=KEY,
                bind="127.0.0.1",
                ocpp_port=0,
                http_port=0,
                login=LoginConfig(password_memory_kib=64, password_passes=1),
                **config,
            )
        )
        await server.start()
        try:
            assert server.http is not None
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{server.http.port}",
                headers={"Authorization": f"Bearer {KEY}"},
                timeout=60,
            ) as rest:
                node = Node(name, server, party, rest, url)
                answer = await rest.put(
                    f"/v1/roaming/parties/{party[0]}/{party[1]}",
                    json={"roles": list(roles), "business_details": {"name": f"{name} Ltd"}},
                )
                assert answer.status_code in (200, 201), answer.text
                yield node
        finally:
            await server.stop()


async def register(
    host: Node,
    guest: Node,
    version: str | None = None,
    *,
    host_role: str | None = None,
    guest_role: str | None = None,
    name: str = "",
    host_is_hub: bool = False,
    host_quirks: dict[str, Any] | None = None,
    guest_quirks: dict[str, Any] | None = None,
) -> None:
    """Registers two nodes: the host invites, the guest does the handshake over the wire.

    Args:
        version: the only one to use; None: the newest.
        host_role, guest_role: of 2.1.1: in which role each meets the other.
        name: under which the connection is kept in `peers`, in front of the other node's.
    """
    invited = await host.post(
        "/v1/roaming/partners",
        {"name": guest.name, "own_role": host_role, **({"quirks": host_quirks} if host_quirks else {})},
    )
    host.peers[name + guest.name] = int(invited["partner"]["id"])
    registered = await guest.post(
        "/v1/roaming/partners/register",
        {
            "name": host.name,
            "versions_url": invited["versions_url"],
            "token": invited["token"],
            "version": version,
            "own_role": guest_role,
            "is_hub": host_is_hub,
            **({"quirks": guest_quirks} if guest_quirks else {}),
        },
    )
    guest.peers[name + host.name] = int(registered["id"])


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = 20.0) -> Any:
    """What a condition gives once it holds."""
    ends = time.monotonic() + within_s
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < ends, "it did not come about"
        await asyncio.sleep(0.02)
