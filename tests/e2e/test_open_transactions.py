"""Open transactions that something is missing of: asked about, waited for, closed, reopened; how their time was spent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import TransactionsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Fault, Plan, StopReason, VirtualStation
from tests.support import postgres
from tests.support.charging_house import VERSIONS, VERSIONS_2X, ChargingHouse, Tenant, config

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


async def details(tenant: Tenant, station: VirtualStation) -> Any:
    """What REST says beside the station's only transaction."""
    one = await tenant.transaction(station)
    return await tenant.get(f"/transactions/{one['id']}/details")


async def asked(tenant: Tenant, station: VirtualStation, reason: str, answer: str) -> Any:
    """The inquiry when it has come so far."""
    return await tenant.until(
        lambda: details(tenant, station),
        lambda seen: (
            seen["inquiry"] is not None and (seen["inquiry"]["reason"], seen["inquiry"]["answer"]) == (reason, answer)
        ),
    )


async def charging(tenant: Tenant, version: str, **more: Any) -> tuple[VirtualStation, Any]:
    """A station where a car charges."""
    tag = (await tenant.token())["id_token"]
    station = await tenant.station(version, **more)
    station.plug_in()
    session = await station.start_transaction(tag)
    await station.deliver(session, energy_wh=800, meter_interval_s=20)
    await station.meter_values()
    return station, session


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_e14_a_gap_in_a_running_transaction_is_asked_about(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant()
    station, _ = await charging(tenant, version, faults=frozenset({Fault.SEQ_NO_GAP}))
    seen = await asked(tenant, station, "gap", "kept")
    assert (seen["inquiry"]["ongoing"], seen["inquiry"]["messages_in_queue"]) == (True, False)
    one = await tenant.transaction(station)
    assert one["gaps"]
    assert (one["state"], one["flags"]) == ("open", ["seq_gap"])
    assert [payload["transactionId"] for action, payload in station.calls if action == "GetTransactionStatus"] == [
        one["ocpp_transaction_id"]
    ]


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_e14_a_transaction_that_is_gone_after_a_reconnect_is_closed(house: ChargingHouse, version: str) -> None:
    """The end was lost; the car still stands there, so no status speaks against the transaction."""
    tenant = await house.tenant()
    station, session = await charging(tenant, version, faults=frozenset({Fault.LOST_STOP}))
    station.go_offline()
    await station.stop_transaction(session, StopReason.EV_DISCONNECTED)
    station.go_online()
    await station.wait_online()
    seen = await asked(tenant, station, "reconnect", "closed")
    assert (seen["inquiry"]["ongoing"], seen["inquiry"]["messages_in_queue"]) == (False, False)
    one = await tenant.transaction(station)
    assert (one["state"], one["energy_wh"]) == ("closed", 800)
    assert one["stop_reason"] == "The station no longer had it when it came back"
    assert "closed_by_evidence" in one["flags"]


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_a_transaction_that_goes_on_over_a_power_loss_is_kept(house: ChargingHouse, version: str) -> None:
    """E10 and resume after power loss: nothing is closed, not a Wh is lost."""
    tenant = await house.tenant()
    station, session = await charging(tenant, version)
    station.power_loss(0.05, resumes=True)
    await tenant.until(_online(station), bool)
    await station.wait_online()
    await asked(tenant, station, "reconnect", "kept")
    await station.deliver(session, energy_wh=400)
    await station.stop_transaction(session)
    one = await tenant.transaction(station)
    assert (one["state"], one["energy_wh"]) == ("closed", session.energy_wh)


def _online(station: VirtualStation) -> Any:
    async def read() -> bool:
        return station.online and station.accepted

    return read


async def test_a_silent_transaction_is_closed_and_reopened_when_its_station_speaks_of_it(house: ChargingHouse) -> None:
    """1.6 cannot be asked: a station that tells other things for long, and no car there."""
    tenant = await house.tenant()
    station, session = await charging(tenant, "1.6")
    station.fault(1)  # ends nothing by itself: the session is asked to stop and its script has ended

    async def talk() -> Any:
        station.tell_status(station.evse(1), force=True)
        return await tenant.transaction(station)

    one = await tenant.until(talk, lambda seen: seen["state"] == "closed", timeout_s=30)
    assert (one["flags"], one["energy_wh"]) == (["closed_by_evidence"], 800)
    assert one["stop_reason"] == "Nothing was heard of it any more"
    session.stop_request = None
    await station.meter_values()
    again = await tenant.transaction(station)
    assert (again["state"], again["flags"], again["stopped_at"], again["id"]) == ("open", ["reopened"], None, one["id"])
    await station.stop_transaction(session)
    done = await tenant.transaction(station)
    assert (done["state"], done["flags"], done["energy_wh"]) == ("closed", ["reopened"], 800)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_silent_transaction_with_a_car_is_kept(house: ChargingHouse, version: str) -> None:
    """A full car that stands there for long is idle, not gone."""
    tenant = await house.tenant()
    station, _ = await charging(tenant, version)

    async def talk() -> Any:
        station.tell_status(station.evse(1), force=True)
        return await details(tenant, station)

    seen = await tenant.until(
        talk, lambda seen: seen["inquiry"] is not None and seen["inquiry"]["reason"] == "silence", timeout_s=30
    )
    assert seen["inquiry"]["answer"] == "kept"
    assert (await tenant.transaction(station))["state"] == "open"


async def test_a_transaction_that_lasts_too_long_is_ended(postgres_server: postgres.TestServer, tmp_path: Any) -> None:
    """The station is asked to stop first; one that refuses has its transaction closed by policy."""
    with postgres_server.database() as url:
        times = TransactionsConfig(quiet_s=0.3, eternal_after_s=1.0, look_every_s=0.1)
        server = Server(replace(config(str(tmp_path), url), transactions=times))
        await server.start()
        house = ChargingHouse(server)
        try:
            tenant = await house.tenant()
            tag = (await tenant.token())["id_token"]
            willing = await tenant.station("2.0.1", replace(FAST, remote_plan=Plan(hold=True)))
            await tenant.command(willing, type="start", id_token=tag)
            refusing, session = await charging(tenant, "1.6", faults=frozenset({Fault.REJECTS_ALL}))
            one = await tenant.until(
                lambda: tenant.transactions(willing), lambda seen: [each["state"] for each in seen] == ["closed"]
            )
            assert (one[0]["stop_reason"], one[0]["flags"]) == ("Remote", [])
            other = await tenant.until(lambda: tenant.transaction(refusing), lambda seen: seen["state"] == "closed")
            assert other["flags"] == ["closed_by_policy"]
            await refusing.deliver(session, energy_wh=200)
            await refusing.meter_values()
            late = await tenant.transaction(refusing)
            assert (late["state"], late["energy_wh"]) == ("closed", 1000)
        finally:
            await house.close()
            await server.stop()


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_charging_time_and_idle_time_are_told_apart(house: ChargingHouse, version: str) -> None:
    tenant = await house.tenant()
    station, session = await charging(tenant, version)
    await station.stop_transaction(session)
    seen = await details(tenant, station)
    whole = seen["charging_s"] + seen["idle_s"]
    assert seen["charging_s"] > 0
    assert [span["stated"] for span in seen["spans"]]
    assert sum(_seconds(span) for span in seen["spans"]) == pytest.approx(whole, abs=0.01)


def _seconds(span: dict[str, str]) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(span["until"]) - datetime.fromisoformat(span["since"])).total_seconds()


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_a_token_that_comes_after_the_start_is_judged_then(house: ChargingHouse, version: str) -> None:
    """TxStartPoint EVConnected (E03): the transaction begins with the cable, the token comes in an Updated."""
    tenant = await house.tenant()
    blocked = (await tenant.token(status="Blocked"))["id_token"]
    station = await tenant.station(version)
    begin = {
        "eventType": "Started",
        "timestamp": "2026-01-31T12:00:00Z",
        "triggerReason": "CablePluggedIn",
        "seqNo": 0,
        "transactionInfo": {"transactionId": f"{station.station_id}-t", "chargingState": "EVConnected"},
        "evse": {"id": 1, "connectorId": 1},
    }
    present = {
        **begin,
        "eventType": "Updated",
        "timestamp": "2026-01-31T12:01:00Z",
        "triggerReason": "Authorized",
        "seqNo": 1,
        "idToken": {"idToken": blocked, "type": "ISO14443"},
        "reservationId": 7,
    }
    for number, payload in enumerate((begin, present)):
        await _call(station, f"own-{number}", "TransactionEvent", payload)
    one = await tenant.until(lambda: tenant.transaction(station), lambda seen: seen["events"] == 2)
    assert (one["id_token"], one["authorization_status"], one["reservation_id"]) == (blocked, "Blocked", 7)
    assert one["flags"] == ["refused_token"]
    listed = await tenant.get("/transactions", id_token=blocked)
    assert [each["id"] for each in listed["items"]] == [one["id"]]


async def _call(station: VirtualStation, ident: str, action: str, payload: dict[str, Any]) -> None:
    from msgspec import json

    station.send_raw(json.encode([2, ident, action, payload]).decode())
    await asyncio.sleep(0)
