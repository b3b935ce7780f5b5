"""Campaigns over many virtual stations: waves, failures, pause, a server that is stopped in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from chargeplane.main.config import Config
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Fault, VirtualStation
from chargeplane.simulator.timers import Timers

KEY = "test-key-0123456789"
PASSWORD = "a-password-of-20-chars"
VERSIONS = ("1.6", "2.0.1", "2.1")
FIRMWARE = b"firmware 2.0.0\n" + bytes(2000)
OPTIONS = replace(FAST, reconnect_max_s=0.2, record_calls=True)


class Town:
    """Servers on one database, one after the other or together, and the stations."""

    def __init__(self, url: str, folder: Path) -> None:
        self.config = Config(
            bind="127.0.0.1", http_port=0, ocpp_port=0, data_dir=str(folder), database_url=url, admin_key=KEY
        )
        self.stations: list[VirtualStation] = []
        self.timers = Timers(asyncio.get_running_loop())
        self.server: Server | None = None
        self.client = httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False)

    async def start(self) -> None:
        self.server = Server(self.config)
        await self.server.start()
        assert self.server.http is not None and self.server.ocpp is not None  # noqa: PT018
        # the next server listens where this one did: the stations find it again
        self.config = replace(self.config, http_port=self.server.http.port, ocpp_port=self.server.ocpp.ports[0])

    async def stop(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            await server.stop()

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        url = f"http://127.0.0.1:{self.config.http_port}{path}"
        answer = await self.client.request(method, url, json=body)
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    async def firmware(self, **fields: str) -> str:
        answer = await self.client.post(
            f"http://127.0.0.1:{self.config.http_port}/v1/firmware",
            files={"file": ("fw.bin", FIRMWARE)},
            data={"version": "2.0.0", **fields},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def settle(self, count: int, *, version: str | None = None) -> list[VirtualStation]:
        """More stations, connected and booted."""
        first = len(self.stations)
        made = [
            VirtualStation(
                f"ws://127.0.0.1:{self.config.ocpp_port}/ocpp",
                f"CP-{number:04d}",
                version or VERSIONS[number % 3],
                password=PASSWORD,
                seed=number,
                options=OPTIONS,
                timers=self.timers,
            )
            for number in range(first, first + count)
        ]
        self.stations += made
        for start in range(0, count, 20):
            batch = made[start : start + 20]
            await asyncio.gather(
                *(
                    self.ask("POST", "/v1/charging-stations", {"station_id": one.station_id, "password": PASSWORD})
                    for one in batch
                )
            )
            await asyncio.gather(*(one.connect() for one in batch))
            await asyncio.gather(*(one.boot() for one in batch))
        return made

    async def gone(self, station: VirtualStation) -> None:
        """Waits until the server knows that a station's socket is closed."""
        async with asyncio.timeout(30):
            while (await self.ask("GET", f"/v1/charging-stations/{station.station_id}"))["connected"]:
                await asyncio.sleep(0.02)

    async def campaign(self, firmware: str, **fields: Any) -> str:
        plan = {"retry_after_s": 0.2, "step_timeout_s": 60, "verify_timeout_s": 60, **fields.pop("plan", {})}
        body = {
            "name": "c",
            "firmware_id": firmware,
            "stations": {"station_ids": [one.station_id for one in self.stations]},
            "plan": plan,
            **fields,
        }
        return str((await self.ask("POST", "/v1/firmware-campaigns", body))["id"])

    async def view(self, ident: str) -> dict[str, Any]:
        return dict(await self.ask("GET", f"/v1/firmware-campaigns/{ident}"))

    async def until(self, ident: str, condition: Any, timeout_s: float = 120.0) -> dict[str, Any]:
        view: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(view := await self.view(ident)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"still {view}") from None
        return view

    async def members(self, ident: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.ask("GET", f"/v1/firmware-campaigns/{ident}/stations?limit=200{cursor}")
            found += page["items"]
            if not page.get("next_cursor"):
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def close(self) -> None:
        for start in range(0, len(self.stations), 50):
            await asyncio.gather(*(one.close() for one in self.stations[start : start + 50]))
        self.timers.close()
        await self.stop()
        await self.client.aclose()


@asynccontextmanager
async def town_of(url: str, folder: Path) -> AsyncIterator[Town]:
    town = Town(url, folder)
    try:
        await town.start()
        yield town
    finally:
        await town.close()


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with town_of(database_url, tmp_path) as made:
        yield made


def asked(station: VirtualStation) -> int:
    return sum(1 for action, _ in station.calls if action in ("UpdateFirmware", "SignedUpdateFirmware"))


async def test_campaign_over_200_stations_with_failures_a_pause_and_a_restart(town: Town) -> None:
    stations = await town.settle(200)
    for number, fault in (
        (5, Fault.FIRMWARE_DOWNLOAD_FAILS),
        (50, Fault.FIRMWARE_INSTALL_FAILS),
        (130, Fault.FIRMWARE_KEEPS_OLD_VERSION),
        (170, Fault.REJECTS_ALL),
    ):
        stations[number].give_faults(fault)
    firmware = await town.firmware(sign="true")
    ident = await town.campaign(
        firmware,
        plan={
            "waves": [{"count": 10}, {"percent": 30}],
            "max_parallel": 40,
            "retries": 3,
            "step_timeout_s": 3,
            "verify_timeout_s": 3,
        },
    )
    await town.until(ident, lambda view: view["progress"].get("succeeded", 0) >= 20)
    paused = await town.ask("POST", f"/v1/firmware-campaigns/{ident}/pause")
    assert paused["state"] == "paused"
    still = await town.until(ident, lambda view: not {"asking", "updating", "installed"} & set(view["progress"]))
    before = Counter(asked(one) > 0 for one in stations)
    assert before[False] >= 100
    await town.ask("POST", f"/v1/firmware-campaigns/{ident}/resume", {})
    await town.until(ident, lambda view: view["progress"].get("succeeded", 0) > still["progress"]["succeeded"] + 10)
    await town.stop()  # in the midst of it
    await town.start()
    done = await town.until(ident, lambda view: view["state"] == "finished")
    assert done["progress"] == {"succeeded": 196, "failed": 4}
    members = {one["station_id"]: one for one in await town.members(ident)}
    assert len(members) == 200
    assert {one["wave"] for one in members.values()} == {1, 2, 3}
    told = {number: members[stations[number].station_id] for number in (5, 50, 130, 170)}
    assert all(one["state"] == "failed" and one["attempts"] == 4 for one in told.values()), told
    assert "DownloadFailed" in told[5]["reason"]
    assert "InstallationFailed" in told[50]["reason"]
    assert "boots with version 1.0.0" in told[130]["reason"]
    assert all(
        one["to_version"] == "2.0.0" and one["from_version"] == "1.0.0"
        for one in members.values()
        if one["state"] == "succeeded"
    )
    assert all(one.options.model.firmware == "2.0.0" for one in stations if not one.options.faults)


async def test_campaign_stops_where_too_many_fail_and_goes_on_when_told(town: Town) -> None:
    stations = await town.settle(8, version="2.0.1")
    for one in stations[:4]:
        one.give_faults(Fault.FIRMWARE_DOWNLOAD_FAILS)
    firmware = await town.firmware()
    plan = {"max_parallel": 1, "stop_at_failed_percent": 50, "stop_after": 2, "retries": 0}
    ident = await town.campaign(firmware, plan=plan)
    stopped = await town.until(ident, lambda view: view["state"] == "stopped")
    assert "2 of 2 stations failed" in stopped["reason"]
    assert stopped["progress"] == {"failed": 2, "waiting": 6}
    for one in stations:
        one.give_faults()
    await town.ask("POST", f"/v1/firmware-campaigns/{ident}/resume", {"retry_failed": True})
    done = await town.until(ident, lambda view: view["state"] == "finished")
    assert done["progress"] == {"succeeded": 8}


async def test_next_wave_waits_for_the_first(town: Town) -> None:
    stations = await town.settle(4, version="2.1")
    stations[0].give_faults(Fault.FIRMWARE_STUCK)
    ident = await town.campaign(
        await town.firmware(),
        plan={"waves": [{"count": 1}], "retries": 0, "stop_at_failed_percent": None, "step_timeout_s": 5},
    )
    await town.until(ident, lambda view: view["progress"].get("updating") == 1)
    while True:
        seen = [asked(one) for one in stations]
        if "failed" in (await town.view(ident))["progress"]:
            break
        assert seen == [1, 0, 0, 0]
    (stuck,) = [one for one in await town.members(ident) if one["state"] == "failed"]
    assert "stuck" in stuck["reason"]
    done = await town.until(ident, lambda view: view["state"] == "finished")
    assert done["progress"] == {"succeeded": 3, "failed": 1}
    assert done["wave"] == 2


async def test_station_that_is_away_holds_nobody_up_and_is_updated_when_it_comes(town: Town) -> None:
    stations = await town.settle(4, version="2.0.1")
    stations[0].go_offline()
    await town.gone(stations[0])
    ident = await town.campaign(await town.firmware(), plan={"waves": [{"count": 2}]})
    waiting = await town.until(ident, lambda view: view["progress"].get("succeeded") == 3)
    assert waiting["state"] == "running"
    assert waiting["progress"] == {"succeeded": 3, "waiting": 1}
    stations[0].go_online()
    done = await town.until(ident, lambda view: view["state"] == "finished")
    assert done["progress"] == {"succeeded": 4}


async def test_canceled_campaign_asks_nobody_more(town: Town) -> None:
    stations = await town.settle(3, version="1.6")
    ident = await town.campaign(await town.firmware(), paused=True)
    await town.ask("POST", f"/v1/firmware-campaigns/{ident}/cancel")
    done = await town.until(ident, lambda view: view["finished_at"] is not None)
    assert (done["state"], done["progress"]) == ("canceled", {"canceled": 3})
    assert sum(asked(one) for one in stations) == 0
    answer = await town.client.post(
        f"http://127.0.0.1:{town.config.http_port}/v1/firmware-campaigns/{ident}/resume", json={}
    )
    assert answer.status_code == 409


async def test_stations_that_have_the_version_or_are_of_another_model_are_left_out(town: Town) -> None:
    await town.settle(2, version="2.0.1")
    firmware = await town.firmware(vendor="Other", model="Virtual")
    ident = await town.campaign(firmware)
    done = await town.until(ident, lambda view: view["state"] == "finished")
    assert done["progress"] == {"skipped": 2}
    assert "vendor Other" in (await town.members(ident))[0]["reason"]
    for wrong, pointer in (
        ({"firmware_id": "999999"}, "#/firmware_id"),
        ({"stations": {"station_ids": ["nobody"]}}, "#/stations/station_ids"),
        ({"stations": {"vendor": "nobody"}}, "#/stations"),
        ({"plan": {"waves": [{}]}}, "#/plan/waves/0"),
    ):
        body = {"name": "c", "firmware_id": firmware, **wrong}
        answer = await town.client.post(f"http://127.0.0.1:{town.config.http_port}/v1/firmware-campaigns", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer
