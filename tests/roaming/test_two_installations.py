"""Two installations in every version: the driver of one charges at the virtual station of the other, by card and by command; both agree what it cost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import RoamingConfig, RoamingOperatorConfig, SessionsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Plan
from tests.invoicing.making import ISSUER
from tests.support import postgres
from tests.support.charging_house import ChargingHouse, Tenant, config
from tests.support.roaming import VERSIONS

pytestmark = pytest.mark.asyncio(loop_scope="module")
NUMBERS = itertools.count(1)
HOLD = replace(FAST, remote_plan=Plan(hold=True))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def houses(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[ChargingHouse, ChargingHouse]]:
    """The operator's installation and the provider's."""
    servers: list[Server] = []
    with postgres_server.database() as first, postgres_server.database() as second:
        for url in (first, second):
            made = replace(
                config(str(tmp_path_factory.mktemp("data")), url),
                roaming=RoamingConfig(private_networks=True, timeout_s=10.0, first_pause_s=0.1),
                roaming_operator=RoamingOperatorConfig(
                    session_push_s=0.2, status_look_every_s=1.0, command_timeout_s=10.0, authorize_timeout_s=5.0
                ),
                sessions=SessionsConfig(running_cost_s=0.2, settle_after_s=0.2, poll_s=0.05),
            )
            server = Server(made)
            await server.start()
            servers.append(server)
        pair = (ChargingHouse(servers[0]), ChargingHouse(servers[1]))
        yield pair
        for house in pair:
            await house.close()
        for server in servers:
            await server.stop()


@dataclass
class Pair:
    """An operator with a location and a tariff, a provider with a driver, registered with each other."""

    version: str
    operator: Tenant
    provider: Tenant
    partner: str
    location: str
    tariff: str
    driver_id: str
    card: str
    connection: str


async def paired(houses: tuple[ChargingHouse, ChargingHouse], version: str) -> Pair:
    number = next(NUMBERS)
    operator, provider = await houses[0].tenant(), await houses[1].tenant()
    for tenant, country, party, role in (
        (operator, "NL", f"O{number:02d}", "CPO"),
        (provider, "DE", f"P{number:02d}", "EMSP"),
    ):
        await tenant.send(
            "PUT",
            f"/roaming/parties/{country}/{party}",
            {"roles": [role], "business_details": {"name": f"{party} Ltd"}},
        )
    tariff, location = f"TARIFF{number}", f"LOC{number}"
    element = {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 19.0, "step_size": 1}]}
    await operator.send(
        "POST",
        "/tariffs",
        {"id": tariff, "type": "REGULAR", "currency": "EUR", "tax_included": "NO", "elements": [element]},
    )
    await operator.send(
        "POST",
        "/locations",
        {
            "id": location, "name": "Plein", "address": "Plein 1", "city": "Utrecht", "postal_code": "3511", "country": "NLD",
            "time_zone": "Europe/Amsterdam", "coordinates": {"latitude": "52.09000", "longitude": "5.12000"},
        },
    )  # fmt: skip
    await provider.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
    driver = await provider.send("POST", "/drivers", {"email": f"driver{number}@example.com"})
    card = f"CARD{number:04d}"
    await provider.send("POST", f"/drivers/{driver['id']}/id-tokens", {"id_token": card})
    old = version == "2.1.1"
    invited = await operator.send("POST", "/roaming/partners", {"name": "provider", "own_role": "CPO" if old else None})
    registered = await provider.send(
        "POST",
        "/roaming/partners/register",
        {
            "name": "operator", "versions_url": invited["versions_url"], "token": invited["token"], "version": version,
            "own_role": "EMSP" if old else None,
        },
    )  # fmt: skip
    return Pair(
        version=version, operator=operator, provider=provider, partner=f"NL*O{number:02d}", location=location, tariff=tariff,
        driver_id=driver["id"], card=card, connection=registered["id"],
    )  # fmt: skip


async def station_of(pair: Pair, **more: Any) -> tuple[Any, str]:
    station = await pair.operator.station("2.0.1", **more)
    uid = f"E{next(NUMBERS)}"
    connector = {
        "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "tariff_ids": [pair.tariff],
    }  # fmt: skip
    await pair.operator.send(
        "POST",
        f"/locations/{pair.location}/evses",
        {
            "uid": uid,
            "evse_id": f"{pair.partner}*{uid}",
            "station_id": station.station_id,
            "ocpp_evse_id": 1,
            "connectors": [connector],
        },
    )

    async def shown() -> Any:
        found = (await pair.provider.get("/roaming/locations", partner=pair.partner, available=True))["items"]
        return next((one for place in found for one in place["evses"] if one["uid"] == uid), None)

    evse = await pair.provider.until(shown, lambda one: one is not None and one["connectors"][0]["price"] is not None)
    # OCPI 2.1.1 has no VAT in tariffs.
    assert evse["connectors"][0]["price"]["per_kwh"]["amount"] == ("0.40" if pair.version == "2.1.1" else "0.476")
    return station, uid


async def agreed(pair: Pair, energy_kwh: str, cost: str) -> dict[str, Any]:
    """That the CDR came, was rated equal and billed, and that both sides say the same."""

    async def came() -> Any:
        found = (await pair.provider.get("/roaming/cdrs", driver_id=pair.driver_id))["items"]
        return next((one for one in found if one["billed_by"]), None)

    cdr: dict[str, Any] = await pair.provider.until(came, bool)
    assert cdr["verdict"] == "agrees", cdr["check"]
    assert float(cdr["kwh"]) == float(energy_kwh)
    assert cdr["total_excl"]["amount"] == cost
    billed = await pair.provider.get(f"/cdrs/{cdr['billed_by']}")
    assert billed["driver_id"] == pair.driver_id
    assert billed["total_excl"]["amount"] == cost
    (theirs,) = (await pair.operator.get("/cdrs"))["items"]
    assert theirs["total_excl"]["amount"] == cost
    session = (await pair.provider.get("/roaming/sessions", driver_id=pair.driver_id))["items"][0]
    assert session["status"] == "COMPLETED"
    if pair.version != "2.1.1":  # whose CDRs do not name their session
        assert session["session_id"] == cdr["session_id"]
    return cdr


@pytest.mark.parametrize("version", VERSIONS)
async def test_driver_charges_by_card_and_both_sides_agree(
    houses: tuple[ChargingHouse, ChargingHouse], version: str
) -> None:
    pair = await paired(houses, version)
    station, _ = await station_of(pair)
    station.plug_in()
    assert await pair.provider.until(lambda: station.authorize(pair.card), lambda word: word == "Accepted")
    session = await station.start_transaction(pair.card)

    async def live() -> Any:
        found = (await pair.provider.get("/roaming/sessions", driver_id=pair.driver_id))["items"]
        return found[0] if found else None

    await pair.provider.until(live, lambda one: one is not None and one["status"] == "ACTIVE")
    await station.deliver(session, 5000, meter_interval_s=60)
    await pair.provider.until(live, lambda one: float(one["kwh"]) > 0)
    await station.stop_transaction(session)
    station.unplug()
    await agreed(pair, "5", "2.00")


@pytest.mark.parametrize("version", VERSIONS)
async def test_driver_charges_by_command_and_both_sides_agree(
    houses: tuple[ChargingHouse, ChargingHouse], version: str
) -> None:
    pair = await paired(houses, version)
    _station, uid = await station_of(pair, options=HOLD)
    order = {
        "type": "start_session", "partner": pair.partner, "location_id": pair.location, "evse_uid": uid, "id_token": pair.card,
    }  # fmt: skip
    given = await pair.provider.send("POST", "/roaming/commands?wait_s=30", order)
    assert (given["state"], given["result"]) == ("done", "ACCEPTED"), given

    async def begun() -> Any:
        found = (await pair.provider.get("/roaming/sessions", driver_id=pair.driver_id))["items"]
        return next((one for one in found if one["status"] == "ACTIVE"), None)

    session = await pair.provider.until(begun, bool)
    if version != "2.1.1":  # which has no reference
        command = await pair.provider.get(f"/roaming/commands/{given['id']}")
        assert command["session_id"] == session["id"]
    stopped = await pair.provider.send(
        "POST", "/roaming/commands?wait_s=30", {"type": "stop_session", "session_id": session["id"]}
    )
    assert stopped["state"] == "done", stopped
    async with asyncio.timeout(30):
        while True:
            found = (await pair.provider.get("/roaming/cdrs", driver_id=pair.driver_id))["items"]
            if found and found[0]["billed_by"]:
                break
            await asyncio.sleep(0.05)
    assert found[0]["verdict"] == "agrees", found[0]["check"]
