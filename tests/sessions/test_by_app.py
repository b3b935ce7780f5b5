"""A driver who charges with the app: an account of their own, the door `/v1/me`, no card and no key of an operator."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Plan
from tests.sessions.making import ENERGY, site
from tests.support.charging_house import VERSIONS, ChargingHouse

ADDRESS = "app-{}@example.org"
PASSWORD = "correct horse battery"


async def mailed_code(folder: Path, address: str) -> str:
    """The code in the mail that went to an address."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for file in folder.glob("*.eml"):
            message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            if str(message["To"]) == address:
                body = message.get_body(("plain",))
                found = re.search(r"\?code=([A-Za-z0-9_-]{20,})", "" if body is None else str(body.get_content()))
                assert found is not None
                return found.group(1)
        await asyncio.sleep(0.05)
    raise AssertionError(f"no mail to {address}")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_driver_registers_starts_stops_and_sees_the_exact_energy(
    house: ChargingHouse, server: Server, version: str
) -> None:
    made = await site(house, ENERGY)
    # Charges until it is told to stop, however long that takes.
    station = await made.station(version, replace(FAST, remote_plan=Plan(hold=True)))
    station.clock.freeze(
        datetime.now(UTC)
    )  # else its status of before is newer than what it charges, and speaks against it
    (evse,) = (await made.tenant.get(f"/locations/{made.location_id}"))["evses"]
    who = {"email": ADDRESS.format(version.replace(".", "")), "password": PASSWORD, "tenant": made.tenant.slug}
    async with httpx.AsyncClient(base_url=house.base, timeout=60) as app:
        assert (await app.post("/me/register", json=who)).status_code == 202
        code = await mailed_code(Path(server.config.data_dir) / "mail", who["email"])
        assert (await app.post("/me/verify-email", json={"code": code})).status_code < 300
        login = await app.post("/me/login", json=who)
        assert login.status_code < 300, login.text
        app.headers["Authorization"] = f"Bearer {login.json()['token']}"
        started = await app.post("/me/charges?wait_s=30", json={"evse_code": evse["code"]})
        assert (started.status_code, started.json()["state"]) == (202, "accepted"), started.text
        session = station.evse(1).session
        assert session is not None
        async with asyncio.timeout(30):
            while session.transaction_id is None or session.energy_wh < 1000:
                await asyncio.sleep(0.01)
        (mine,) = (await app.get("/me/transactions")).json()["items"]
        stopped = await app.post(f"/me/transactions/{mine['id']}/stop?wait_s=30")
        assert stopped.status_code == 202, stopped.text
        assert stopped.json()["state"] == "accepted", stopped.text
        await session.ended()
        await station.drain()
        (cdr,) = await made.settled()
        (mine,) = (await app.get("/me/transactions")).json()["items"]
        assert (mine["energy_wh"], mine["stop_reason"]) == (session.energy_wh, "Remote")
        assert cdr["energy_wh"] == session.energy_wh
        (driver,) = (await made.tenant.get("/drivers", email=who["email"]))["items"]
        assert cdr["driver_id"] == driver["id"]
