"""Two installations, an operator's and a provider's, as processes that are killed again and again while drivers of the one charge at the
stations of the other, by card and by command: in the end both say the same of every session, and each is billed once.

All that one asks of the other goes over a wire of the test's, which kills at the moments that matter: before a message is taken, and
after it was, when who sent it does not know yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from chargeplane.main.wiring import Server
from chargeplane.simulator import Plan, Session, VirtualStation
from tests.faults.town import CHARGING
from tests.support import postgres
from tests.support.charging_house import KEY, ChargingHouse
from tests.support.ocpi_wire import Seen, Wire, onwards
from tests.support.roaming_pair import Pair, paired, station_of
from tests.support.served import Served

SOAK_KILLS = int(os.environ.get("CHARGEPLANE_SOAK_ROAMING_KILLS", "100"))
PATIENCE_S = 120.0
"""On a machine with much else to do; nothing waits for so long on an idle one."""

OPERATOR, PROVIDER = "operator", "provider"
REMOTE = replace(CHARGING, remote_plan=Plan(energy_wh=4_000, meter_interval_s=60))
SETTINGS = {
    "ADMIN_KEY": KEY,
    "ROAMING_PRIVATE_NETWORKS": "true",
    "ROAMING_TIMEOUT_S": "10",
    "ROAMING_FIRST_PAUSE_S": "0.1",
    "ROAMING_LEASE_S": "1",
    "ROAMING_OPERATOR_SESSION_PUSH_S": "0.2",
    "ROAMING_OPERATOR_STATUS_LOOK_EVERY_S": "1",
    "ROAMING_OPERATOR_COMMAND_TIMEOUT_S": "5",
    "ROAMING_OPERATOR_AUTHORIZE_TIMEOUT_S": "5",
    "SESSIONS_RUNNING_COST_S": "0.2",
    "SESSIONS_POLL_S": "0.1",
    "SESSIONS_LEASE_S": "2",
    "SESSIONS_SETTLE_AFTER_S": "0.5",
}


@dataclass(frozen=True)
class Strike:
    """A kill.

    Args:
        whom: who is killed, at once.
        at: of what passes the wire, as `METHOD path`; None: at any moment.
        answered: when it was taken and answered, and who asked does not know yet; else before it arrives.
        after_s: of those at any moment.
    """

    whom: tuple[str, ...]
    at: str | None = None
    answered: bool = False
    after_s: float = 0.5


CDR, SESSION = r"POST .*/receiver/cdrs", r"PUT .*/receiver/sessions/"
START, RESULT, STATUS = (
    r"POST .*/receiver/commands/START_SESSION",
    r"POST .*/sender/commands/",
    r"(PATCH|PUT) .*/locations/",
)

SHORT = (
    Strike((OPERATOR, PROVIDER), CDR, answered=True),
    Strike((PROVIDER,), CDR),
    Strike((OPERATOR,), START, answered=True),
    Strike((OPERATOR, PROVIDER), RESULT),
)
"""Six processes: a start takes seconds, and those that are killed together start together."""


def drawn(rng: random.Random) -> Strike:
    """One of all kinds."""
    whom = rng.choice([(OPERATOR,), (PROVIDER,), (OPERATOR, PROVIDER)])
    at = rng.choice([None, None, CDR, CDR, SESSION, SESSION, START, RESULT, STATUS])
    return Strike(whom, at, answered=rng.random() < 0.6, after_s=rng.uniform(0.05, 1.5))


@dataclass
class Two:
    """The installations, and who charges."""

    servers: dict[str, Served]
    wires: list[Wire]
    urls: dict[str, str]
    pairs: list[Pair] = field(default_factory=list)
    sessions: list[tuple[VirtualStation, Session]] = field(default_factory=list)
    stations: dict[str, list[VirtualStation]] = field(default_factory=dict)
    ordered: int = 0
    going: bool = False
    drivers: list[asyncio.Task[None]] = field(default_factory=list)

    async def furnish(self, houses: tuple[ChargingHouse, ChargingHouse], versions: Sequence[str]) -> None:
        """A pair for each version: two stations, a driver with a card and an app."""
        for version in versions:
            pair = await paired(houses, version)
            by_card, _ = await station_of(pair, options=CHARGING)
            by_command, uid = await station_of(pair, options=REMOTE)
            await pair.provider.until(lambda: by_card.authorize(pair.card), lambda word: word == "Accepted")  # noqa: B023
            self.pairs.append(pair)
            self.stations[version] = [by_card, by_command]
            self.drivers += [
                asyncio.create_task(self._with_card(pair, by_card)),
                asyncio.create_task(self._with_app(pair, by_command, uid)),
            ]

    async def _with_card(self, pair: Pair, station: VirtualStation) -> None:
        for number in itertools.count():
            while not self.going:
                await asyncio.sleep(0.02)
            session = await station.charge(id_token=pair.card, energy_wh=9_000 + 17 * number, meter_interval_s=60)
            self.sessions.append((station, session))
            await asyncio.sleep(0.8)  # drivers come and go

    async def _with_app(self, pair: Pair, station: VirtualStation, uid: str) -> None:
        order = {
            "type": "start_session", "partner": pair.partner, "location_id": pair.location, "evse_uid": uid, "id_token": pair.card,
        }  # fmt: skip
        while True:
            await asyncio.sleep(0.05)
            if not self.going or not station.evse(1).free:
                continue
            with contextlib.suppress(httpx.TransportError):
                answer = await pair.provider.client.post("/roaming/commands?wait_s=2", json=order)
                self.ordered += answer.status_code == 200 or answer.status_code == 201

    async def strike(self, one: Strike) -> None:
        """Kills at its moment, and starts again who was killed."""
        struck = asyncio.Event()

        def kill() -> None:
            if not struck.is_set():
                struck.set()
                for name in one.whom:
                    self.servers[name].kill()

        async def look(seen: Seen) -> bool:
            if (
                not struck.is_set()
                and seen.answered is one.answered
                and re.match(one.at or "", f"{seen.method} {seen.path}")
            ):
                kill()
                return False
            return True

        if one.at is None:
            await asyncio.sleep(one.after_s)
            kill()
        else:
            for wire in self.wires:
                wire.look = look
        try:
            async with asyncio.timeout(PATIENCE_S):
                await struck.wait()
        except TimeoutError:
            raise AssertionError(f"{one} never came: {self.state()}") from None
        for wire in self.wires:
            wire.look = onwards
        await asyncio.gather(*(self.servers[name].gone() for name in one.whom))
        await asyncio.gather(*(self.servers[name].start() for name in one.whom))

    def state(self) -> list[str]:
        """What every station is at, in words."""
        everywhere = [station for some in self.stations.values() for station in some]
        said = [
            f"{one.station_id}: online {one.online}, accepted {one.accepted}, unsent {one.unsent}, busy {one.evse(1).busy}"
            for one in everywhere
        ]
        return [*said, f"{len(self.sessions)} by card, {self.ordered} ordered, {self.drivers}"]

    async def finish(self) -> None:
        """Nobody begins any more; what charges comes to its end."""
        self.going = False
        everywhere = [station for some in self.stations.values() for station in some]
        async with asyncio.timeout(PATIENCE_S):
            while any(station.evse(1).busy for station in everywhere):
                await asyncio.sleep(0.05)
            for station in everywhere:
                await station.wait_online(PATIENCE_S)
                await station.drain(PATIENCE_S, everything=True)

    async def close(self) -> None:
        for driver in self.drivers:
            driver.cancel()
        await asyncio.gather(*self.drivers, return_exceptions=True)

    async def settled(self, pair: Pair) -> dict[str, list[dict[str, Any]]]:
        """What both sides have of a pair's sessions, once neither has anything left to do."""
        seen: dict[str, Any] = {}

        async def look() -> Any:
            seen["sessions"] = await _items(pair.operator, "/sessions")
            seen["told"] = await _items(pair.provider, "/roaming/sessions")
            seen["cdrs"] = await _items(pair.operator, "/cdrs")
            seen["taken"] = await _items(pair.provider, "/roaming/cdrs")
            seen["left"] = await self._left()
            return (
                not seen["left"]
                and all(one["state"] == "settled" for one in seen["sessions"])
                and len(seen["cdrs"]) == len(seen["sessions"])
                and len(seen["told"]) == len(seen["sessions"])
                and all(one["status"] == "COMPLETED" for one in seen["told"])
                and len(seen["taken"]) == len(seen["cdrs"])
                and all(one["billed_by"] for one in seen["taken"])
            )

        try:
            async with asyncio.timeout(PATIENCE_S):
                while not await look():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            numbers = {name: len(found) for name, found in seen.items()}
            open_ = [one for one in seen.get("sessions", ()) if one["state"] != "settled"]
            untold = [one for one in seen.get("told", ()) if one["status"] != "COMPLETED"]
            unbilled = [one for one in seen.get("taken", ()) if not one["billed_by"]]
            raise AssertionError(
                f"{pair.version}: {numbers}, left {seen.get('left')}, {open_=}, {untold=}, {unbilled=}"
            ) from None
        return seen

    async def _left(self) -> list[Any]:
        """What is still to be told, answered or heard of."""
        found: list[Any] = []
        for name, url in self.urls.items():
            db = await asyncpg.connect(url)
            try:
                for what in (
                    "SELECT module, key, attempts, error FROM roaming_outgoing",
                    "SELECT id, kind, error FROM roaming_request WHERE result IS NULL",
                    "SELECT id, type, state FROM partner_command WHERE ended_at IS NULL AND expires_at < now() - interval '10 s'",
                ):
                    found += [(name, *row) for row in await db.fetch(what)]
            finally:
                db.terminate()
        return found


async def _items(tenant: Any, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {"limit": 200}
    while True:
        page = await tenant.get(path, **more)
        found += page["items"]
        if not page.get("next_cursor"):
            return found
        more["cursor"] = page["next_cursor"]


@contextlib.asynccontextmanager
async def two(server: postgres.TestServer, folder: Path, versions: Sequence[str]) -> AsyncIterator[Two]:
    """Both run, and everything that charging needs is there."""
    with server.database() as first, server.database() as second:
        urls = {OPERATOR: first, PROVIDER: second}
        servers: dict[str, Served] = {}
        wires: list[Wire] = []
        houses: list[ChargingHouse] = []
        made = Two(servers, wires, urls)
        try:
            for name, url in urls.items():
                wire = Wire(lambda name=name: int(servers[name].settings["HTTP_PORT"]))  # type: ignore[misc]
                await wire.start()
                wires.append(wire)
                (folder / name).mkdir()
                servers[name] = Served(folder / name, DATABASE_URL=url, ROAMING_PUBLIC_URL=wire.url, **SETTINGS)
            await asyncio.gather(*(one.start() for one in servers.values()))
            for one in servers.values():
                ports = SimpleNamespace(
                    http=SimpleNamespace(port=int(one.settings["HTTP_PORT"])),
                    ocpp=SimpleNamespace(ports=[one.ocpp_port]),
                )
                houses.append(ChargingHouse(cast("Server", ports)))
            await made.furnish((houses[0], houses[1]), versions)
            yield made
        finally:
            await made.close()
            for house in houses:
                await house.close()
            for one in servers.values():
                await one.close()
            for wire in wires:
                await wire.stop()


async def survive(found: Two, strikes: Sequence[Strike], *, tell: bool = False) -> None:
    """Kills, one after the other; then both sides must agree."""
    found.going = True
    began = time.monotonic()
    for number, one in enumerate(strikes):
        await found.strike(one)
        if tell:
            print(
                f"{time.monotonic() - began:.1f} s, kill {number + 1} of {len(strikes)}: {one}; {len(found.sessions)} by card so far",
                flush=True,
            )
    await asyncio.sleep(0.3)
    await found.finish()
    for pair in found.pairs:
        seen = await found.settled(pair)
        sessions, told, cdrs, taken = seen["sessions"], seen["told"], seen["cdrs"], seen["taken"]
        version = pair.version
        assert len(sessions) >= 4, version
        kwh = {one["id"]: Decimal(str(one["energy_wh"])) / 1000 for one in sessions}
        assert {one["session_id"]: Decimal(str(one["kwh"])) for one in told} == kwh, version
        assert {one["kind"] for one in cdrs} == {"original"}
        assert sorted(one["session_id"] for one in cdrs) == sorted(kwh), version
        totals = {one["id"]: (one["total_excl"]["amount"], kwh[one["session_id"]]) for one in cdrs}
        assert {one["cdr_id"]: (one["total_excl"]["amount"], Decimal(str(one["kwh"]))) for one in taken} == totals, (
            version
        )
        assert {one["verdict"] for one in taken} == {"agrees"}, version
        billed = {one["id"]: one for one in await _items(pair.provider, "/cdrs")}
        assert sorted(billed) == sorted(one["billed_by"] for one in taken), version
        assert all(billed[one["billed_by"]]["total_excl"] == one["total_excl"] for one in taken), version
        ledger = await pair.provider.get("/ledger/check")
        assert ledger["sound"], ledger["flaws"]
        # And what both say is what the stations' meters say.
        charged = Counter(
            session.energy_wh for station, session in found.sessions if station is found.stations[version][0]
        )
        at_card = [one for one in sessions if one["station_id"] == found.stations[version][0].station_id]
        assert Counter(one["energy_wh"] for one in at_card) == charged, version
        if tell:
            print(
                f"{time.monotonic() - began:.1f} s, {version}: {len(sessions)} sessions, told, billed and agreed once each",
                flush=True,
            )


async def test_both_agree_of_every_session_however_often_either_is_killed(
    postgres_server: postgres.TestServer, tmp_path: Path
) -> None:
    async with two(postgres_server, tmp_path, ("2.2.1", "2.1.1")) as found:
        await survive(found, SHORT)


@pytest.mark.soak
async def test_soak_of_kills_of_two_that_roam(postgres_server: postgres.TestServer, tmp_path: Path) -> None:
    rng = random.Random(5)
    async with two(postgres_server, tmp_path, ("2.1.1", "2.2.1", "2.3.0")) as found:
        await survive(found, [drawn(rng) for _ in range(SOAK_KILLS)], tell=True)
