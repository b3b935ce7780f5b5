"""OCPP 1.6: the cases of the smart charging profile."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states16 import Session16, session
from tests.conformance.station import Station, moment
from tests.conformance.test_k_smart_charging import DURATION_S, at, profile, relative, same_time


def check_same(wire: dict[str, Any], ours: dict[str, Any]) -> None:
    """What goes out is what the operator wrote, in 1.6's words."""
    assert (wire["chargingProfileId"], wire["stackLevel"]) == (ours["id"], ours["stack_level"])
    words = {"ChargingStationMaxProfile": "ChargePointMaxProfile"}
    assert wire["chargingProfilePurpose"] == words.get(ours["purpose"], ours["purpose"])
    assert wire["chargingProfileKind"] == ours["kind"]
    assert "recurrencyKind" not in wire
    for name, field in (("validFrom", "valid_from"), ("validTo", "valid_to")):
        assert (name in wire) == (field in ours)
        assert field not in ours or same_time(wire[name], ours[field])
    schedule, (wanted,) = wire["chargingSchedule"], ours["schedules"]
    assert schedule["chargingRateUnit"] == wanted["unit"]
    assert schedule.get("duration") == wanted.get("duration_s")
    assert ("startSchedule" in schedule) == ("start" in wanted)
    found = [(p["startPeriod"], p["limit"], p["numberPhases"]) for p in schedule["chargingSchedulePeriod"]]
    assert found == [(p["start_s"], p["limit"], p["number_phases"]) for p in wanted["periods"]]


async def set_profile(csms: Operator, station: Station, ours: dict[str, Any], transaction: int | None = None) -> None:
    """The operator sets a profile, and the charge point takes it."""
    doing = csms.command(station, "set_charging_profile", profile=ours)
    called = await station.expect("SetChargingProfile", connectorId=ours["evse_id"])
    wire = called["csChargingProfiles"]
    check_same(wire, ours)
    assert wire.get("transactionId") == transaction
    await called.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")


@case("1.6")
async def test_TC_056_CSMS(csms: Operator, version: str) -> None:
    await set_profile(csms, await csms.booted(version), profile())


async def charging(csms: Operator) -> Session16:
    """A session that charges."""
    driver = await session(csms)
    await driver.charging()
    return driver


@case("1.6")
async def test_TC_057_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms)
    number = driver.transaction_id
    await set_profile(csms, driver.station, relative(7, transaction_id=str(number)), number)
    absolute = profile(7, purpose="TxProfile", transaction_id=str(number))
    await set_profile(csms, driver.station, absolute, number)


@case("1.6")
async def test_TC_059_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    ours = relative(7)
    doing = csms.command(driver.station, "start", id_token=driver.tag, evse_id=1, charging_profile=ours)
    called = await driver.station.expect("RemoteStartTransaction", idTag=driver.tag, connectorId=1)
    check_same(called["chargingProfile"], ours)
    assert "transactionId" not in called["chargingProfile"]
    await called.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    assert await driver.authorize() == "Accepted"
    await driver.status("Preparing")
    assert await driver.start() == "Accepted"
    await driver.status("Charging")


@case("1.6")
async def test_TC_066_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await set_profile(csms, station, profile())
    doing = csms.command(station, "get_composite_schedule", evse_id=1, duration_s=DURATION_S, unit="A")
    called = await station.expect("GetCompositeSchedule", connectorId=1, duration=DURATION_S, chargingRateUnit="A")
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6}], "duration": 300}
    await called.answer(status="Accepted", connectorId=1, scheduleStart=moment(), chargingSchedule=schedule)
    view = await doing.ends("accepted", "Accepted")
    assert view["answer"]["chargingSchedule"] == schedule


@case("1.6")
async def test_TC_067_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms)
    station = driver.station
    name = str(driver.transaction_id)
    valid = {"valid_from": at(0), "valid_to": at(DURATION_S)}
    await set_profile(csms, station, profile(8, id=1, evse_id=0, purpose="ChargingStationMaxProfile", **valid))
    await set_profile(csms, station, profile(7, id=2, stack_level=2))
    await set_profile(csms, station, relative(6, id=3, transaction_id=name), driver.transaction_id)
    by_level = {"evse_id": 1, "purpose": "TxDefaultProfile", "stack_level": 2}
    wire = {"connectorId": 1, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 2}
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [({"id": 1}, {"id": 1}), (by_level, wire), ({}, {})]
    for ours, asked in cases:
        doing = csms.command(station, "clear_charging_profile", **ours)
        called = await station.expect("ClearChargingProfile")
        assert called.payload == asked
        await called.answer(status="Accepted")
        await doing.ends("accepted", "Accepted")
