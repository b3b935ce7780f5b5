"""Block F: start, unlock and trigger from afar."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session, register_value
from tests.conformance.station import moment


async def started_from_afar(csms: Operator, driver: Session, **answer: Any) -> int:
    """The operator starts a transaction and the station takes it (F01, F02); the number to find it by."""
    token = {"id_token": driver.token.value, "type": driver.token.type}
    doing = csms.command(driver.station, "start", id_token=token, evse_id=1)
    asked = await driver.station.expect("RequestStartTransaction", idToken=driver.token.wire, evseId=1)
    await asked.answer(status="Accepted", **answer)
    await doing.ends("accepted", "Accepted")
    number: int = asked["remoteStartId"]
    return number


async def session(csms: Operator, version: str) -> Session:
    """A booted station and a driver with a valid id token."""
    return Session(await csms.booted(version), await csms.id_token())


async def told_of_start(csms: Operator, driver: Session, number: int) -> None:
    """The station's event names the number, and the operator finds the transaction."""
    answer = await driver.event("RemoteStart", info={"remoteStartId": number}, token=driver.token, **driver.where())
    assert answer["idTokenInfo"]["status"] == "Accepted"
    driver.authorized_before = True
    seen = await csms.transaction(driver.station)
    assert (seen["ocpp_transaction_id"], seen["id_token"]) == (driver.transaction_id, driver.token.value)


@case()
async def test_TC_F_01_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.ev_connected_pre_session()
    number = await started_from_afar(csms, driver, transactionId=driver.transaction_id)
    await told_of_start(csms, driver, number)
    await driver.energy_transfer_started()


@case()
async def test_TC_F_02_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    number = await started_from_afar(csms, driver)
    assert (await driver.authorize())["status"] == "Accepted"
    await told_of_start(csms, driver, number)
    await driver.energy_transfer_started()


@case()
async def test_TC_F_03_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await told_of_start(csms, driver, await started_from_afar(csms, driver))
    await driver.energy_transfer_started()


@case()
async def test_TC_F_04_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await told_of_start(csms, driver, await started_from_afar(csms, driver))
    await driver.event("EVConnectTimeout")
    assert (await csms.transaction(driver.station))["state"] == "open"


@case()
async def test_TC_F_06_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "unlock", evse_id=1, connector_id=1)
    await (await station.expect("UnlockConnector", evseId=1, connectorId=1)).answer(status="Unlocked")
    await doing.ends("accepted", "Unlocked")


async def triggered(csms: Operator, driver: Session, message: str, evse: dict[str, int] | None, **asked: Any) -> None:
    """The operator triggers a message and the station accepts."""
    doing = csms.command(driver.station, "trigger", message=message, **asked)
    called = await driver.station.expect("TriggerMessage", requestedMessage=message, evse=evse)
    await called.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")


@case()
async def test_TC_F_11_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await triggered(csms, driver, "MeterValues", {"id": 1}, evse_id=1)
    assert await driver.station.send("MeterValues", evseId=1, meterValue=[register_value(10, "Trigger")]) == {}


@case()
async def test_TC_F_12_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await triggered(csms, driver, "MeterValues", None)
    for evse in (1, 2):
        assert await driver.station.send("MeterValues", evseId=evse, meterValue=[register_value(10, "Trigger")]) == {}


@case()
async def test_TC_F_13_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await triggered(csms, driver, "TransactionEvent", {"id": 1}, evse_id=1)
    await driver.event("Trigger", evse=driver.evse, state="Charging", meterValue=[register_value(10, "Trigger")])
    seen = await csms.transaction(driver.station)
    assert len(await csms.items(f"/transactions/{seen['id']}/events")) == driver.seq_no


@case()
async def test_TC_F_14_CSMS(csms: Operator, version: str) -> None:
    one = await session(csms, version)
    two = Session(one.station, await csms.id_token(), evse=2)
    for driver in (one, two):
        await driver.energy_transfer_started()
    await triggered(csms, one, "TransactionEvent", None)
    for driver in (one, two):
        await driver.event("Trigger", state="Charging", meterValue=[register_value(10, "Trigger")])
    for seen in await csms.transactions(one.station):
        assert len(await csms.items(f"/transactions/{seen['id']}/events")) == one.seq_no


@case()
async def test_TC_F_15_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await triggered(csms, driver, "LogStatusNotification", None)
    assert await driver.station.send("LogStatusNotification", status="Idle") == {}


@case()
async def test_TC_F_18_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await triggered(csms, driver, "FirmwareStatusNotification", None)
    assert await driver.station.send("FirmwareStatusNotification", status="Idle") == {}


@case()
async def test_TC_F_20_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await triggered(csms, driver, "Heartbeat", None)
    assert (await driver.station.send("Heartbeat"))["currentTime"]


@case()
async def test_TC_F_23_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await triggered(csms, driver, "StatusNotification", {"id": 1, "connectorId": 1}, evse_id=1)
    await driver.connector("Available")
    assert await csms.status_of(driver.station) == "Available"


@case()
async def test_TC_F_24_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.connector("Occupied")
    await triggered(csms, driver, "StatusNotification", {"id": 1, "connectorId": 1}, evse_id=1, connector_id=1)
    await driver.connector("Occupied")
    assert await csms.status_of(driver.station) == "Occupied"


@case()
async def test_TC_F_27_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "trigger", message="LogStatusNotification")
    await (await station.expect("TriggerMessage")).answer(status="NotImplemented")
    assert (await doing.ends("rejected", "NotImplemented"))["reason"]
    assert (await station.send("Heartbeat"))["currentTime"] <= moment(60)
