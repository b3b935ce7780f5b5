"""Agreements on live charging: virtual stations of all versions against the whole server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Plan
from tests.support import postgres
from tests.support.charging_house import VERSIONS, ChargingHouse, Tenant, config

HOLD = replace(FAST, remote_plan=Plan(hold=True))

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """One server for all of these tests."""
    with postgres_server.database() as url:
        server = Server(config(str(tmp_path_factory.mktemp("data")), url))
        await server.start()
        yield server
        await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(server: Server) -> AsyncIterator[ChargingHouse]:
    """The server; what a test began ends with it."""
    made = ChargingHouse(server)
    yield made
    await made.close()


async def agreement(tenant: Tenant, group: str, **more: Any) -> str:
    """An active agreement for a group of id tokens; its id."""
    body = {
        "kind": "fleet",
        "currency": "EUR",
        "parties": [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "company", "id": "fleet"}],
        "scope": [{"kind": "token_group", "value": group}],
        "starts_at": "2026-01-01T00:00:00Z",
        **more,
    }
    ident: str = (await tenant.send("POST", "/service-agreements", body))["id"]
    for action in ("propose", "accept"):
        await act(tenant, ident, action)
    return ident


async def act(tenant: Tenant, ident: str, action: str, **more: Any) -> None:
    await tenant.send("POST", f"/service-agreements/{ident}/{action}", more)


async def held(tenant: Tenant, token: dict[str, Any], **expected: Any) -> None:
    """Waits until the id token is held so; without words: until nothing holds it."""
    await tenant.until(
        lambda: tenant.get(f"/id-tokens/{token['id']}"),
        lambda seen: (
            seen["held"] is not None and all(seen["held"][name] == value for name, value in expected.items())
            if expected
            else seen["held"] is None
        ),
        30,
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_who_is_suspended_or_over_is_refused(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant()
    token = await tenant.token(group_id="vans")
    station = await tenant.station(version)
    ident = await agreement(tenant, "vans")
    assert await station.authorize(token["id_token"]) == "Accepted"
    await act(tenant, ident, "suspend")
    await held(tenant, token, status="Blocked")
    assert await station.authorize(token["id_token"]) == "Blocked"
    await act(tenant, ident, "resume")
    await held(tenant, token)
    assert await station.authorize(token["id_token"]) == "Accepted"
    await act(tenant, ident, "end")
    await held(tenant, token, status="Expired")
    assert await station.authorize(token["id_token"]) == "Expired"


async def test_nobody_begins_beyond_the_sessions_of_the_agreement(house: ChargingHouse) -> None:
    tenant = await house.tenant()
    one, other = await tenant.token(group_id="vans"), await tenant.token(group_id="vans")
    await agreement(tenant, "vans", limits={"concurrent_sessions": 1})
    await held(tenant, other, concurrent_limit=1)
    station, second = await tenant.station("2.0.1"), await tenant.station("1.6")
    station.plug_in(1)
    session = await station.start_transaction(one["id_token"], 1)
    charging = asyncio.create_task(station.deliver(session, energy_wh=20_000_000))
    # Its own row limits the one that charges at once; the other follows the fact of the start.
    assert await second.authorize(one["id_token"]) == "ConcurrentTx"
    await held(tenant, other, concurrent_limit=0)
    assert await second.authorize(other["id_token"]) == "ConcurrentTx"
    charging.cancel()
    await asyncio.gather(charging, return_exceptions=True)
    await station.stop_transaction(session)
    await held(tenant, other, concurrent_limit=1)
    assert await second.authorize(other["id_token"]) == "Accepted"


@pytest.mark.parametrize(("version", "word"), [("1.6", "Blocked"), ("2.0.1", "NoCredit"), ("2.1", "NoCredit")])
async def test_nobody_begins_beyond_the_months_energy(house: ChargingHouse, version: str, word: str) -> None:
    tenant = await house.tenant()
    token = await tenant.token(group_id="vans")
    await agreement(tenant, "vans", limits={"kwh_per_month": "1"})
    await held(tenant, token, left_wh=1000)
    station = await tenant.station(version)
    assert await station.authorize(token["id_token"]) == "Accepted"
    other = await tenant.station(version)
    charging = asyncio.create_task(station.charge(id_token=token["id_token"], energy_wh=1500))
    await held(tenant, token, left_wh=0)
    assert await other.authorize(token["id_token"]) == word
    charging.cancel()  # a station of 2.1 knows the limit and waits for its driver
    await asyncio.gather(charging, return_exceptions=True)


async def test_tokens_without_an_agreement_are_nobodys_business(house: ChargingHouse) -> None:
    tenant = await house.tenant()
    token, other = await tenant.token(group_id="vans"), await tenant.token()
    ident = await agreement(tenant, "vans")
    await act(tenant, ident, "suspend")
    await held(tenant, token, status="Blocked")
    station = await tenant.station("2.1")
    assert await station.authorize(other["id_token"]) == "Accepted"
    assert (await tenant.get(f"/id-tokens/{other['id']}"))["held"] is None


async def test_a_running_session_is_stopped_with_its_agreement_where_the_tenant_wants_it(house: ChargingHouse) -> None:
    tenant = await house.tenant(stop_deauthorized=True)
    token = await tenant.token(group_id="vans")
    ident = await agreement(tenant, "vans")
    station = await tenant.station("2.0.1", HOLD)
    await tenant.command(station, type="start", id_token=token["id_token"])
    await tenant.until(lambda: tenant.transactions(station), lambda seen: len(seen) == 1, 30)
    await act(tenant, ident, "suspend")
    one = await tenant.until(lambda: tenant.transaction(station), lambda seen: seen["state"] == "closed", 30)
    assert one["stop_reason"] == "Remote"
