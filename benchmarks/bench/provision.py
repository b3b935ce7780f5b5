"""Stations and id tokens for the generator, through the REST door as anybody would make them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from benchmarks.bench.processes import ADMIN_KEY, STATION_PASSWORD, Failed, Server
from benchmarks.load.watch import log

_AT_ONCE = 16


class Rest:
    """REST of a server, with the admin key."""

    def __init__(self, server: Server) -> None:
        self._client = httpx.AsyncClient(
            base_url=server.rest,
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=60,
            limits=httpx.Limits(max_connections=_AT_ONCE),
        )

    async def __aenter__(self) -> Rest:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def make(self, path: str, body: dict[str, Any]) -> None:
        """Makes one object; one that is there already is fine.

        Raises:
            Failed: refused.
        """
        answer = await self._client.post(path, json=body)
        if answer.status_code not in (201, 409):
            raise Failed(f"POST {path} {body}: {answer.status_code} {answer.text[:300]}")

    async def change(self, path: str, body: dict[str, Any]) -> None:
        """Changes one object.

        Raises:
            Failed: refused.
        """
        answer = await self._client.patch(path, json=body)
        if answer.status_code != 200:
            raise Failed(f"PATCH {path} {body}: {answer.status_code} {answer.text[:300]}")

    async def get(self, path: str, **parameters: str | int) -> Any:
        """A resource.

        Raises:
            Failed: refused.
        """
        answer = await self._client.get(path, params=parameters)
        if answer.status_code != 200:
            raise Failed(f"GET {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


async def _make_all(server: Server, stations: range, profile: int) -> None:
    numbers = iter(stations)
    async with Rest(server) as rest:

        async def worker() -> None:
            for i in numbers:
                name = f"LOAD{i:06d}"
                station = {"station_id": name, "security_profile": profile, "password": STATION_PASSWORD}
                await rest.make("/v1/charging-stations", station)
                if profile != 1:
                    await rest.change(f"/v1/charging-stations/{name}", {"security_profile": profile})
                    continue
                token = {"id_token": f"AB{i:06X}", "type": "ISO14443", "status": "Accepted"}
                await rest.make("/v1/id-tokens", token)

        await asyncio.gather(*[worker() for _ in range(_AT_ONCE)])


def provision(server: Server, count: int, first: int = 0, profile: int = 1) -> None:
    """Registers LOAD000000 and on, with password, and, for security profile 1, their id tokens AB000000 and on."""
    log(f"registering {count} stations of security profile {profile}")
    asyncio.run(_make_all(server, range(first, first + count), profile))
