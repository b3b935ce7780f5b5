"""Block B: boot, device model, reset, network profiles."""

from __future__ import annotations

import asyncio

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session
from tests.conformance.station import Station


async def waiting(csms: Operator, version: str) -> Station:
    """A connected station that the operator has not accepted yet."""
    station = await csms.register(version, registration="pending")
    await station.connect()
    return station


async def rebooted(station: Station, reason: str) -> None:
    """The station is back after a reset."""
    assert (await station.boot(reason))["status"] == "Accepted"
    await station.notify_all("Available")


@case()
async def test_TC_B_01_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    seen = await csms.view(station)
    assert (seen["vendor"], seen["model"], seen["status"]) == ("Plain", "Scripted", "Available")


@case()
async def test_TC_B_02_CSMS(csms: Operator, version: str) -> None:
    station = await waiting(csms, version)
    answer = await station.boot()
    assert answer["status"] == "Pending"
    await csms.patch(f"/charging-stations/{station.id}", {"registration": "accepted"})
    await asyncio.sleep(answer["interval"])
    assert (await station.boot())["status"] == "Accepted"
    await station.notify_all("Available")


@case()
async def test_TC_B_30_CSMS(csms: Operator, version: str) -> None:
    for registration in ("pending", "rejected"):
        station = await csms.register(version, registration=registration)
        await station.connect()
        assert (await station.boot())["status"] == registration.capitalize()
        told = {"evseId": 1, "connectorId": 1, "connectorStatus": "Available", "timestamp": "2026-01-31T12:00:00Z"}
        assert (await station.error("StatusNotification", told)).code == "SecurityError"
        assert (await csms.view(station))["evses"] == []


@case()
async def test_TC_B_31_CSMS(csms: Operator, version: str) -> None:
    station = await waiting(csms, version)
    assert (await station.boot())["status"] == "Pending"
    await csms.patch(f"/charging-stations/{station.id}", {"registration": "accepted"})
    doing = csms.command(station, "trigger", message="BootNotification")
    await (await station.expect("TriggerMessage", requestedMessage="BootNotification")).answer(status="Accepted")
    assert (await station.boot("Triggered"))["status"] == "Accepted"
    await doing.ends("accepted")
    await station.notify_all("Available")


@case()
async def test_TC_B_20_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "reset", kind="on_idle")
    asked = await station.expect("Reset", type="OnIdle", evseId=None)
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    await station.connect()
    await rebooted(station, "RemoteReset")


async def charging(csms: Operator, version: str) -> Session:
    """State EnergyTransferStarted."""
    driver = Session(await csms.booted(version), await csms.id_token())
    await driver.energy_transfer_started()
    return driver


async def ends_on_idle(driver: Session) -> None:
    """What ends the transaction that a reset waits for."""
    await driver.event("StopAuthorized", state="EVConnected", token=driver.token)
    await driver.ended("EVCommunicationLost", state="Idle", stopped="EVDisconnected")


@case()
async def test_TC_B_21_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    station = driver.station
    doing = csms.command(station, "reset", kind="on_idle")
    await (await station.expect("Reset", type="OnIdle", evseId=None)).answer(status="Scheduled")
    await doing.ends("accepted", "Scheduled")
    await ends_on_idle(driver)
    await station.connect()
    await rebooted(station, "ScheduledReset")
    assert (await csms.transaction(station))["stop_reason"] == "EVDisconnected"


@case()
async def test_TC_B_22_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    station = driver.station
    doing = csms.command(station, "reset", kind="immediate")
    await (await station.expect("Reset", type="Immediate", evseId=None)).answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    await driver.ended("ResetCommand", state="EVConnected", stopped="ImmediateReset")
    await station.connect()
    await rebooted(station, "RemoteReset")
    assert (await csms.transaction(station))["stop_reason"] == "ImmediateReset"


@case()
async def test_TC_B_25_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "reset", kind="on_idle", evse_id=1)
    await (await station.expect("Reset", type="OnIdle", evseId=1)).answer(status="Accepted")
    await doing.ends("accepted", "Accepted")


@case()
async def test_TC_B_26_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    doing = csms.command(driver.station, "reset", kind="on_idle", evse_id=1)
    await (await driver.station.expect("Reset", type="OnIdle", evseId=1)).answer(status="Scheduled")
    await doing.ends("accepted", "Scheduled")
    await ends_on_idle(driver)
    assert (await csms.transaction(driver.station))["state"] == "closed"


@case()
async def test_TC_B_27_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    doing = csms.command(driver.station, "reset", kind="immediate", evse_id=1)
    await (await driver.station.expect("Reset", type="Immediate", evseId=1)).answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    await driver.ended("ResetCommand", state="EVConnected", stopped="ImmediateReset")
    assert (await csms.transaction(driver.station))["stop_reason"] == "ImmediateReset"
