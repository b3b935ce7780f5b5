"""The operator's side: the REST resources and nothing else, as a person at a console would use them."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from tests.conformance.station import PATIENCE_S, Station

PASSWORD = "a-password-of-the-conformance-tests"[:40]
_numbers = itertools.count(1)
_RUN = os.environ.get("PYTEST_XDIST_WORKER", "main")


class IdToken:
    """A registered id token."""

    def __init__(self, view: dict[str, Any]) -> None:
        self.id: str = view["id"]
        self.value: str = view["id_token"]
        self.type: str = view["type"] or "Central"

    @property
    def wire(self) -> dict[str, str]:
        """An OCPP 2.x IdTokenType."""
        return {"idToken": self.value, "type": self.type}


class Operator:
    """Who works with the server through its REST door.

    Args:
        client: with the address and the key.
        ocpp_port, ocpps_port: where stations connect, plain and over TLS.
    """

    def __init__(self, client: httpx.AsyncClient, ocpp_port: int, ocpps_port: int) -> None:
        self.client = client
        self.ocpp_port = ocpp_port
        self.ocpps_port = ocpps_port
        self.stations: list[Station] = []
        self.tasks: list[asyncio.Task[Any]] = []

    # -- plain requests ---------------------------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, body: object = None, **params: Any) -> httpx.Response:
        """The answer to a request, whatever it is."""
        return await self.client.request(method, path, json=body, params=params)

    async def get(self, path: str, **params: Any) -> Any:
        """A resource."""
        return _ok(await self.ask("GET", path, **params))

    async def items(self, path: str, **params: Any) -> list[Any]:
        """The first page of a list."""
        found: list[Any] = (await self.get(path, **params))["items"]
        return found

    async def post(self, path: str, body: object = None, **params: Any) -> Any:
        """Makes or does something."""
        return _ok(await self.ask("POST", path, body, **params))

    async def put(self, path: str, body: object = None, **params: Any) -> Any:
        """Sets something."""
        return _ok(await self.ask("PUT", path, body, **params))

    async def patch(self, path: str, body: object) -> Any:
        """Changes something."""
        return _ok(await self.ask("PATCH", path, body))

    async def delete(self, path: str, **params: Any) -> Any:
        """Removes something."""
        return _ok(await self.ask("DELETE", path, **params))

    # -- stations ---------------------------------------------------------------------------------------------------------

    async def register(self, version: str, **more: Any) -> Station:
        """A newly registered station, not yet connected; security profile 1 unless said otherwise."""
        name = f"CS-{_RUN}-{next(_numbers)}"
        profile = more.get("security_profile", 1)
        password = PASSWORD if profile in (1, 2) else None
        given = {"password": password} if password else {}
        await self.post("/charging-stations", {"station_id": name, **given, **more})
        return self.at(name, version, profile, password)

    def at(
        self, name: str, version: str, profile: int = 1, password: str | None = PASSWORD, tls: Any = None
    ) -> Station:
        """A station by name, on the door for its security profile."""
        url = f"ws://127.0.0.1:{self.ocpp_port}/ocpp/{name}"
        if profile >= 2:
            url = f"wss://127.0.0.1:{self.ocpps_port}/ocpp/{name}"
        station = Station(url, name, version, password=password, tls=tls)
        self.stations.append(station)
        return station

    async def booted(self, version: str, **more: Any) -> Station:
        """A station that has connected, booted and told its connectors' state (the official state Booted)."""
        station = await self.register(version, **more)
        await station.connect()
        assert (await station.boot())["status"] == "Accepted"
        await station.notify_all("Available")
        return station

    async def view(self, station: Station) -> Any:
        """A station in REST."""
        return await self.get(f"/charging-stations/{station.id}")

    async def status_of(self, station: Station, evse: int = 1, connector: int = 1) -> str | None:
        """A connector's status in REST."""
        for one in (await self.view(station))["evses"]:
            for there in one["connectors"]:
                if (one["evse_id"], there["connector_id"]) == (evse, connector):
                    return str(there["status"])
        return None

    async def transactions(self, station: Station) -> list[Any]:
        """A station's transactions in REST, oldest first."""
        return list(reversed(await self.items("/transactions", station_id=station.id, limit=200)))

    async def transaction(self, station: Station) -> Any:
        """Its only transaction."""
        (one,) = await self.transactions(station)
        return one

    async def request_becomes(self, station: Station, kind: str, number: int, state: str) -> None:
        """What a station was asked for and tells about by a number comes to this state."""
        await self.eventually(
            lambda: self.items(f"/charging-stations/{station.id}/requests", kind=kind),
            lambda rows: [row["state"] for row in rows if row["request_id"] == number] == [state],
        )

    # -- id tokens --------------------------------------------------------------------------------------------------------

    async def id_token(self, status: str = "Accepted", **more: Any) -> IdToken:
        """A newly registered id token."""
        value = f"{next(_numbers):08X}{sum(map(ord, _RUN)):04X}"
        return IdToken(await self.post("/id-tokens", {"id_token": value, "type": "ISO14443", "status": status, **more}))

    # -- commands ---------------------------------------------------------------------------------------------------------

    def command(self, station: Station, command: str, /, **fields: Any) -> Doing:
        """Gives a version-free command; its outcome is awaited when the station has answered."""
        doing = self.begin(
            "POST", f"/charging-stations/{station.id}/commands", {"type": command, **fields}, wait_s=PATIENCE_S
        )
        doing.station = station
        return doing

    def begin(self, method: str, path: str, body: object = None, **params: Any) -> Doing:
        """A request whose answer waits for what the station does."""

        async def done() -> Any:
            return _ok(await self.ask(method, path, body, **params))

        task = asyncio.create_task(done())
        self.tasks.append(task)
        return Doing(task)

    def ask_later(self, method: str, path: str, body: object = None) -> Doing:
        """The same where the answer may be a refusal: the response itself."""
        task = asyncio.create_task(self.ask(method, path, body))
        self.tasks.append(task)
        return Doing(task)

    async def commands_given(self) -> list[tuple[str, str, str]]:
        """Version, version-free command and OCPP action of what its stations were asked in this test."""
        found = set()
        for station in self.stations:
            if station.seen:
                for one in await self.items(f"/charging-stations/{station.id}/commands", limit=200):
                    if one["action"] is not None and one["type"] != "call":
                        found.add((station.version, one["type"], one["action"]))
        return sorted(found)

    async def eventually(self, read: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
        """What is read when it holds; for what the server does by itself in its own time."""
        seen: Any = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not holds(seen := await read()):
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"did not come to hold: {seen}") from None
        return seen

    async def hang_up(self) -> None:
        """Ends what a test opened.

        Raises:
            AssertionError: a message of the server was not as it must be.
        """
        stations, tasks, self.stations, self.tasks = self.stations, self.tasks, [], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(station.close() for station in stations), return_exceptions=True)
        for station in stations:
            if station.problem is not None:
                raise station.problem


class Doing:
    """A request under way.

    Args:
        station: answers what is asked in the background while the answer is awaited.
    """

    def __init__(self, task: asyncio.Task[Any], station: Station | None = None) -> None:
        self.task = task
        self.station = station

    async def done(self) -> Any:
        """Its answer."""
        if self.station is not None:
            await asyncio.wait_for(self.station.attend(self.task), PATIENCE_S + 5)
        return await asyncio.wait_for(asyncio.shield(self.task), PATIENCE_S + 5)

    async def ends(self, state: str, status: str | None = None) -> Any:
        """The command, which has ended so: with our word and the station's."""
        view = await self.done()
        assert view["state"] == state, view
        if status is not None:
            assert view["status"] == status, view
        return view


def _ok(answer: httpx.Response) -> Any:
    assert answer.status_code < 300, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None
