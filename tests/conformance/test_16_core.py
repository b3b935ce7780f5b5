"""OCPP 1.6: the cases of the core profile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states16 import VERSION, Session16, has_ended, session
from tests.conformance.station import moment


@case("1.6")
async def test_TC_001_CSMS(csms: Operator, version: str) -> None:
    station = await csms.register(version)
    await station.connect()
    answer = await station.boot()
    assert (answer["status"], answer["interval"]) == ("Accepted", 300)
    for connector in (0, 1, 2):
        await station.notify_status("Available", connector)
    assert (await station.send("Heartbeat"))["currentTime"]
    seen = await csms.view(station)
    assert (seen["registration"], seen["status"], seen["vendor"]) == ("accepted", "Available", "Plain")


@case("1.6")
async def test_TC_003_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.charging()
    seen = await csms.transaction(driver.station)
    assert (seen["state"], seen["id_token"]) == ("open", driver.tag)


@case("1.6")
async def test_TC_004_1_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    assert await driver.authorize() == "Accepted"
    await driver.status("Preparing")
    assert await driver.start() == "Accepted"
    await driver.status("Charging")
    assert (await csms.transaction(driver.station))["state"] == "open"


@case("1.6")
async def test_TC_004_2_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    assert await driver.authorize() == "Accepted"
    await driver.status("Preparing")
    await driver.status("Available")
    assert await csms.transactions(driver.station) == []
    assert await csms.status_of(driver.station) == "Available"


@case("1.6")
async def test_TC_005_1_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.charging()
    await driver.status("SuspendedEV")
    await driver.stop("EVDisconnected")
    await driver.status("Finishing")
    await driver.status("Available")
    await has_ended(csms, driver, "EVDisconnected")


@case("1.6")
async def test_TC_007_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.status("Preparing")
    assert await driver.start() == "Accepted"
    await driver.status("Charging")
    assert (await csms.transaction(driver.station))["id_token"] == driver.tag


async def remote_start(csms: Operator, driver: Session16, answer: str = "Accepted") -> None:
    """The operator starts a transaction from afar."""
    doing = csms.command(driver.station, "start", id_token=driver.tag, evse_id=1)
    asked = await driver.station.expect("RemoteStartTransaction", idTag=driver.tag, connectorId=1)
    assert "chargingProfile" not in asked.payload
    await asked.answer(status=answer)
    await doing.ends(answer.lower(), answer)


@case("1.6")
async def test_TC_010_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.status("Preparing")
    await remote_start(csms, driver)
    assert await driver.authorize() == "Accepted"
    assert await driver.start() == "Accepted"
    await driver.status("Charging")
    assert (await csms.transaction(driver.station))["state"] == "open"


@case("1.6")
async def test_TC_011_1_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await remote_start(csms, driver)
    assert await driver.authorize() == "Accepted"
    await driver.status("Preparing")
    assert await driver.start() == "Accepted"
    await driver.status("Charging")
    assert (await csms.transaction(driver.station))["state"] == "open"


@case("1.6")
async def test_TC_011_2_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await remote_start(csms, driver)
    assert await driver.authorize() == "Accepted"
    await driver.status("Preparing")
    await driver.status("Available")
    assert await csms.transactions(driver.station) == []


async def remote_stop(csms: Operator, driver: Session16, answer: str) -> None:
    """The operator stops the transaction from afar."""
    doing = csms.command(driver.station, "stop", transaction_id=(await csms.transaction(driver.station))["id"])
    asked = await driver.station.expect("RemoteStopTransaction", transactionId=driver.transaction_id)
    await asked.answer(status=answer)
    await doing.ends(answer.lower(), answer)


@case("1.6")
async def test_TC_012_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.charging()
    await remote_stop(csms, driver, "Accepted")
    await driver.stop("Remote")
    await driver.status("Finishing")
    await driver.status("Available")
    await has_ended(csms, driver, "Remote")


async def reset(csms: Operator, kind: str, word: str) -> None:
    """The operator restarts the charge point, and it comes back."""
    station = await csms.booted(VERSION)
    doing = csms.command(station, "reset", kind=kind)
    await (await station.expect("Reset", type=word)).answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    await station.connect()
    assert (await station.boot())["status"] == "Accepted"
    await station.notify_all("Available")


@case("1.6")
async def test_TC_013_CSMS(csms: Operator, version: str) -> None:
    await reset(csms, "immediate", "Hard")


@case("1.6")
async def test_TC_014_CSMS(csms: Operator, version: str) -> None:
    await reset(csms, "on_idle", "Soft")


async def unlock(csms: Operator, driver: Session16, answer: str, state: str) -> None:
    """The operator unlocks the connector."""
    doing = csms.command(driver.station, "unlock", evse_id=1)
    await (await driver.station.expect("UnlockConnector", connectorId=1)).answer(status=answer)
    view = await doing.ends(state, answer)
    assert state == "accepted" or view["reason"]


@case("1.6")
async def test_TC_017_1_CSMS(csms: Operator, version: str) -> None:
    await unlock(csms, await session(csms), "Unlocked", "accepted")


@case("1.6")
async def test_TC_017_2_CSMS(csms: Operator, version: str) -> None:
    await unlock(csms, await session(csms), "NotSupported", "rejected")


@case("1.6")
async def test_TC_018_1_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.charging()
    await unlock(csms, driver, "Unlocked", "accepted")
    await driver.status("Finishing")
    await driver.stop("UnlockCommand")
    await driver.status("Available")
    await has_ended(csms, driver, "UnlockCommand")


@case("1.6")
async def test_TC_023_1_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    driver.tag = "NOBODY-KNOWS-THIS"
    assert await driver.authorize() == "Invalid"


@case("1.6")
async def test_TC_023_2_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for expired in (await csms.id_token("Expired"), await csms.id_token(valid_until=yesterday)):
        assert await Session16(station, expired.value).authorize() == "Expired"


@case("1.6")
async def test_TC_023_3_CSMS(csms: Operator, version: str) -> None:
    blocked = await csms.id_token("Blocked")
    assert await Session16(await csms.booted(version), blocked.value).authorize() == "Blocked"


@case("1.6")
async def test_TC_024_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    assert await driver.authorize() == "Accepted"
    await driver.status("Preparing")
    await driver.status("Faulted", "ConnectorLockFailure")
    (evse,) = [one for one in (await csms.view(driver.station))["evses"] if one["evse_id"] == 1]
    (connector,) = evse["connectors"]
    assert (connector["status"], connector["error_code"]) == ("Faulted", "ConnectorLockFailure")
    assert await csms.transactions(driver.station) == []


@case("1.6")
async def test_TC_026_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await remote_start(csms, driver, "Rejected")
    assert await csms.transactions(driver.station) == []


@case("1.6")
async def test_TC_028_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.charging()
    await remote_stop(csms, driver, "Rejected")
    assert (await csms.transaction(driver.station))["state"] == "open"


@case("1.6")
async def test_TC_030_CSMS(csms: Operator, version: str) -> None:
    await unlock(csms, await session(csms), "UnlockFailed", "rejected")


@case("1.6")
async def test_TC_031_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    doing = csms.command(driver.station, "unlock", evse_id=7)
    await (await driver.station.expect("UnlockConnector", connectorId=7)).answer(status="NotSupported")
    assert (await doing.ends("rejected", "NotSupported"))["reason"]


@case("1.6")
async def test_TC_032_1_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.charging()
    await driver.station.connect()
    assert (await driver.station.boot())["status"] == "Accepted"
    await driver.status("Finishing")
    await driver.station.notify_status("Available", 2)
    await driver.stop("PowerLoss")
    await has_ended(csms, driver, "PowerLoss")


@case("1.6")
async def test_TC_037_1_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.station.connect()
    assert await driver.start(at=moment(-120)) == "Accepted"
    await driver.status("Charging")
    seen = await csms.transaction(driver.station)
    assert (seen["state"], seen["id_token"]) == ("open", driver.tag)


@case("1.6")
async def test_TC_037_3_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    driver.tag = "NOBODY-KNOWS-THIS"
    await driver.station.connect()
    assert await driver.start(at=moment(-120)) == "Invalid"
    await driver.status("Charging")
    await driver.stop("DeAuthorized")
    await driver.status("Finishing")
    seen = await has_ended(csms, driver, "DeAuthorized")
    assert seen["flags"] == ["refused_token"]


@case("1.6")
async def test_TC_039_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms)
    await driver.station.connect()
    assert await driver.start(at=moment(-120)) == "Accepted"
    await driver.stop("Local", at=moment(-60), tag=True)
    await has_ended(csms, driver, "Local")


@case("1.6")
async def test_TC_061_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "clear_cache")
    await (await station.expect("ClearCache")).answer(status="Accepted")
    await doing.ends("accepted", "Accepted")


@case("1.6")
async def test_TC_064_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    answer = await station.send("DataTransfer", vendorId="org.example.nobody", messageId="Hello")
    assert answer["status"] in {"Rejected", "UnknownMessageId", "UnknownVendorId"}
