"""OCPP 2.1 beyond 2.0.1: battery swap."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.rest import IdToken, Operator
from tests.conformance.states import Session
from tests.conformance.station import Station
from tests.conformance.use_cases import requires

VERSION = "2.1"


async def swap(station: Station, token: IdToken, kind: str, soc: float, number: int = 9) -> None:
    """A battery goes in or out."""
    battery = {"evseId": 1, "serialNumber": f"B-{kind}", "soC": soc, "soH": 98}
    told = {"eventType": kind, "requestId": number, "idToken": token.wire, "batteryData": [battery]}
    assert await station.send("BatterySwap", told) == {}


async def swaps(csms: Operator, station: Station) -> list[Any]:
    return await csms.items("/battery-swaps", station_id=station.id)


@requires()
async def test_S01_a_driver_is_authorised_and_swaps(csms: Operator) -> None:
    station, token = await csms.booted(VERSION), await csms.id_token()
    answer = await station.send("Authorize", idToken=token.wire)
    assert answer["idTokenInfo"]["status"] == "Accepted"
    await swap(station, token, "BatteryIn", 12)
    await swap(station, token, "BatteryOut", 95)
    (row,) = await csms.eventually(
        lambda: swaps(csms, station), lambda rows: bool(rows) and rows[0]["state"] == "complete"
    )
    assert row["id_token"] == token.value


@requires()
async def test_S02_a_swap_is_asked_for(csms: Operator) -> None:
    station, token = await csms.booted(VERSION), await csms.id_token()
    wanted = {"value": token.value, "type": token.type}
    doing = csms.command(station, "request_battery_swap", request_id=77, id_token=wanted)
    asked = await station.expect("RequestBatterySwap", requestId=77)
    assert asked["idToken"] == token.wire
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")


@pytest.mark.parametrize("status", ["Blocked", "unknown"])
@requires("FR.03")
async def test_S02_no_swap_is_asked_for_a_token_that_is_not_authorised(csms: Operator, status: str) -> None:
    station = await csms.booted(VERSION)
    value = "NOBODY" if status == "unknown" else (await csms.id_token(status)).value
    body = {"type": "request_battery_swap", "request_id": 78, "id_token": {"value": value, "type": "ISO14443"}}
    del body["type"]
    view = await csms.command(station, "request_battery_swap", **body).ends("rejected")
    assert ("Blocked" if status == "Blocked" else "Unknown") in view["reason"]
    assert "RequestBatterySwap" not in [action for action, _ in station.seen]


@requires()
async def test_S03_a_battery_that_nobody_took_is_told(csms: Operator) -> None:
    station, token = await csms.booted(VERSION), await csms.id_token()
    await swap(station, token, "BatteryIn", 12)
    await swap(station, token, "BatteryOutTimeout", 95)
    await csms.eventually(lambda: swaps(csms, station), lambda rows: bool(rows) and rows[0]["state"] == "not_taken")


@requires()
async def test_S04_a_battery_that_charges_is_a_transaction(csms: Operator) -> None:
    driver = Session(await csms.booted(VERSION), IdToken({"id": "", "id_token": "", "type": "NoAuthorization"}))
    await driver.event("CablePluggedIn", state="Charging", evse=driver.evse)
    await driver.ended("ChargingStateChanged", stopped="Other")
    assert (await csms.transaction(driver.station))["state"] == "closed"
