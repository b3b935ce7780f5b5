"""A peer that this project did not write (`extrawest-ocpi`), as CPO and as eMSP: registers, starts a session by command, tells of it, and of what it cost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import RoamingConfig, RoamingOperatorConfig, SessionsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Plan
from tests.invoicing.making import ISSUER
from tests.support import postgres
from tests.support.charging_house import ChargingHouse, Tenant, config

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSIONS = ("2.1.1", "2.2.1")
PACKAGES = Path(sys.prefix) / "peers"
INVITE = "a-token-for-the-beginning"
HOLD = replace(FAST, remote_plan=Plan(hold=True))
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ChargingHouse]:
    """Our installation."""
    with postgres_server.database() as url:
        made = replace(
            config(str(tmp_path_factory.mktemp("data")), url),
            roaming=RoamingConfig(private_networks=True, timeout_s=20.0, first_pause_s=0.1),
            roaming_operator=RoamingOperatorConfig(
                session_push_s=0.2, command_timeout_s=20.0, authorize_timeout_s=20.0
            ),
            sessions=SessionsConfig(running_cost_s=0.2, settle_after_s=0.2, poll_s=0.05),
        )
        server = Server(made)
        await server.start()
        found = ChargingHouse(server)
        yield found
        await found.close()
        await server.stop()


@dataclass
class Peer:
    """The other one, in its own process.

    Args:
        control: what tests see of it.
    """

    version: str
    url: str
    control: httpx.AsyncClient

    async def get(self, what: str) -> Any:
        answer = await self.control.get(f"/control/{what}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def put(self, module: str, ident: str, document: dict[str, Any]) -> None:
        answer = await self.control.put(f"/control/{module}/{ident}", json=document)
        assert answer.status_code == 200, answer.text


@contextlib.asynccontextmanager
async def peer(version: str, role: str) -> AsyncIterator[Peer]:
    """Starts it."""
    assert PACKAGES.is_dir(), f"its packages are not there: run `make setup` ({PACKAGES})"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "peers" / "extrawest.py"),
        str(port),
        version,
        role,
        INVITE,
        env=os.environ | {"PYTHONPATH": str(PACKAGES)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as control:
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        await control.get("/control/partner")
                        break
                    await asyncio.sleep(0.1)
            yield Peer(version, f"http://127.0.0.1:{port}/ocpi/versions", control)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def tenant_with_party(house: ChargingHouse, role: str) -> tuple[Tenant, str]:
    """A tenant with a party in this role; its id."""
    tenant, party = await house.tenant(), f"F{next(_numbers):02d}"
    body = {"roles": [role], "business_details": {"name": f"{party} Ltd"}}
    await tenant.send("PUT", f"/roaming/parties/DE/{party}", body)
    return tenant, party


async def registered(tenant: Tenant, other: Peer, own_role: str) -> dict[str, Any]:
    """We register with it."""
    answer = await tenant.send(
        "POST",
        "/roaming/partners/register",
        {
            "name": "Extrawest",
            "versions_url": other.url,
            "token": INVITE,
            "version": other.version,
            "own_role": own_role if other.version == "2.1.1" else None,
        },
    )
    assert answer["state"] == "registered", answer
    return dict(answer)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def location(version: str) -> dict[str, Any]:
    """One with an EVSE, as its users would store it."""
    connector: dict[str, Any] = {"id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE"}
    evse: dict[str, Any] = {
        "uid": "E1",
        "evse_id": "NL*EXW*E1",
        "status": "AVAILABLE",
        "last_updated": now(),
    }
    made: dict[str, Any] = {
        "id": "PLEIN",
        "name": "Plein",
        "address": "Plein 1",
        "city": "Utrecht",
        "postal_code": "3511AA",
        "country": "NLD",
        "coordinates": {"latitude": "52.09000", "longitude": "5.12000"},
        "time_zone": "Europe/Amsterdam",
        "last_updated": now(),
    }
    if version == "2.1.1":
        connector |= {"voltage": 230, "amperage": 32, "tariff_id": "T1", "last_updated": now()}
        made |= {"type": "ON_STREET"}
    else:
        connector |= {"max_voltage": 230, "max_amperage": 32, "tariff_ids": ["T1"], "last_updated": now()}
        made |= {"country_code": "NL", "party_id": "EXW", "publish": True}
    return made | {"evses": [evse | {"connectors": [connector]}]}


def tariff(version: str) -> dict[str, Any]:
    component: dict[str, Any] = {"type": "ENERGY", "price": 0.4, "step_size": 1}
    made: dict[str, Any] = {"id": "T1", "currency": "EUR", "last_updated": now()}
    if version != "2.1.1":
        component["vat"] = 21.0
        made |= {"country_code": "NL", "party_id": "EXW"}
    return made | {"elements": [{"price_components": [component]}]}


def token(version: str, uid: str) -> dict[str, Any]:
    made = {
        "uid": uid,
        "type": "RFID",
        "issuer": "Extrawest",
        "valid": True,
        "whitelist": "NEVER",
        "last_updated": now(),
    }
    if version == "2.1.1":
        return made | {"auth_id": f"NL-EXW-{uid}"}
    return made | {"country_code": "NL", "party_id": "EXW", "contract_id": f"NL-EXW-{uid}"}


@pytest.mark.parametrize("version", VERSIONS)
async def test_our_driver_starts_at_its_station_by_command_and_its_cdr_is_billed(
    house: ChargingHouse, version: str
) -> None:
    async with peer(version, "cpo") as other:
        await other.put("locations", "PLEIN", location(version))
        await other.put("tariffs", "T1", tariff(version))
        tenant, _ = await tenant_with_party(house, "EMSP")
        await tenant.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
        driver = await tenant.send("POST", "/drivers", {"email": f"foreign{next(_numbers)}@example.com"})
        card = f"CARD{next(_numbers):04d}"
        await tenant.send("POST", f"/drivers/{driver['id']}/id-tokens", {"id_token": card})
        await registered(tenant, other, "EMSP")

        async def shown() -> Any:
            return (await tenant.get("/roaming/locations", partner="NL*EXW"))["items"]

        (place,) = await tenant.until(shown, bool, 60)
        # It makes ids small: they are to be compared without case.
        assert [evse["uid"].upper() for evse in place["evses"]] == ["E1"]
        order = {
            "type": "start_session",
            "partner": "NL*EXW",
            "location_id": "PLEIN",
            "evse_uid": "E1",
            "id_token": card,
        }
        given = await tenant.send("POST", "/roaming/commands?wait_s=60", order)
        assert (given["state"], given["result"]) == ("done", "ACCEPTED"), given

        async def billed() -> Any:
            found = (await tenant.get("/roaming/cdrs", driver_id=driver["id"]))["items"]
            return [one for one in found if one["billed_by"]]

        try:
            (cdr,) = await tenant.until(billed, bool, 60)
        except AssertionError:
            raise AssertionError(await other.get("pushed")) from None
        assert float(cdr["kwh"]) == 10
        assert cdr["total_excl"] == {"amount": "4.00", "currency": "EUR"}
        assert cdr["verdict"] == "agrees", cdr["check"]
        (session,) = (await tenant.get("/roaming/sessions", driver_id=driver["id"]))["items"]
        assert (session["status"], float(session["kwh"])) == ("COMPLETED", 10)
        pushed = await other.get("pushed")
        assert all(code in (200, 201) for codes in pushed.values() for code in codes), pushed


@pytest.mark.parametrize("version", VERSIONS)
async def test_its_driver_starts_at_our_station_by_command_and_gets_the_cdr(house: ChargingHouse, version: str) -> None:
    async with peer(version, "emsp") as other:
        uid = f"EXW{next(_numbers):04d}"
        await other.put("tokens", uid, token(version, uid))
        tenant, party = await tenant_with_party(house, "CPO")
        partner = await registered(tenant, other, "CPO")
        if version == "2.1.1":
            await tenant.send("PATCH", f"/roaming/partners/{partner['id']}", {"quirks": {"cdr_end_date_time": True}})
        element = {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 19.0, "step_size": 1}]}
        body = {"id": "T1", "type": "REGULAR", "currency": "EUR", "tax_included": "NO", "elements": [element]}
        await tenant.send("POST", "/tariffs", body)
        place = {
            "id": "HOF",
            "name": "Hof",
            "address": "Torstr. 1",
            "city": "Berlin",
            "postal_code": "10119",
            "country": "DEU",
            "time_zone": "Europe/Berlin",
            "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
        }
        await tenant.send("POST", "/locations", place)
        station = await tenant.station("2.0.1", HOLD)
        connector = {
            "id": "1",
            "standard": "IEC_62196_T2",
            "format": "SOCKET",
            "power_type": "AC_3_PHASE",
            "max_voltage": 230,
            "max_amperage": 32,
            "tariff_ids": ["T1"],
        }
        evse = {
            "uid": "E1",
            "evse_id": f"DE*{party}*E1",
            "station_id": station.station_id,
            "ocpp_evse_id": 1,
            "connectors": [connector],
        }
        await tenant.send("POST", "/locations/HOF/evses", evse)

        async def told() -> Any:
            return await other.get("locations"), await other.get("tariffs")

        locations, tariffs = await tenant.until(told, all, 60)
        assert (locations[0]["id"].upper(), tariffs[0]["id"].upper()) == ("HOF", "T1")
        # By its card first: asked about in real time, because the token may not be kept.
        assert await tenant.until(lambda: station.authorize(uid), lambda word: word == "Accepted", 60)
        sent = await other.control.post(
            "/control/command/START_SESSION",
            json={"token": token(version, uid), "location_id": "HOF", "evse_uid": "E1"},
        )
        assert sent.status_code == 200, sent.text
        assert sent.json()["body"]["status_code"] == 1000, sent.text

        async def answered() -> Any:
            return (await other.get("results")).get(sent.json()["id"])

        assert (await tenant.until(answered, bool, 60))["result"] == "ACCEPTED"
        session = station.evse(1).session
        assert session is not None
        async with asyncio.timeout(60):
            while session.transaction_id is None or session.energy_wh < 1000:
                await asyncio.sleep(0.01)

        async def running() -> Any:
            return next((one for one in await other.get("sessions") if one["status"] == "ACTIVE"), None)

        seen = await tenant.until(running, bool, 60)
        sent = await other.control.post("/control/command/STOP_SESSION", json={"session_id": seen["id"]})
        assert sent.json()["body"]["status_code"] == 1000, sent.text
        await session.ended()
        await station.drain()
        (cdr,) = await tenant.until(lambda: other.get("cdrs"), bool, 60)
        (ours,) = (await tenant.get("/cdrs"))["items"]
        assert ours["energy_wh"] == session.energy_wh
        assert round(cdr["total_energy"] * 1000) == session.energy_wh
        cost = cdr["total_cost"] if version == "2.1.1" else cdr["total_cost"]["excl_vat"]
        assert f"{cost:.2f}" == ours["total_excl"]["amount"]
