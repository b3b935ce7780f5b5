"""Block J: clock-aligned and sampled meter values, signed ones too."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session, register_value
from tests.conformance.station import Station, moment

SIGNED = {
    "signedMeterData": "T0NNRnx7fXx7fQ==",
    "signingMethod": "ECDSA-secp256r1-SHA256",
    "encodingMethod": "OCMF",
    "publicKey": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE",
}


async def session(csms: Operator, version: str) -> Session:
    """A booted station and a driver with a valid id token."""
    return Session(await csms.booted(version), await csms.id_token())


async def clock_aligned(station: Station, wh: float, evses: tuple[int, ...]) -> None:
    """Values of the meters at one time of the clock: MeterValues in 2.0.1, NotifyEvent in 2.1."""
    for evse in evses:
        if station.version == "2.0.1":
            values = [register_value(wh, "Sample.Clock")]
            assert await station.send("MeterValues", evseId=evse, meterValue=values) == {}
            continue
        component: dict[str, Any] = {"name": "FiscalMetering"}
        if evse:
            component["evse"] = {"id": evse}
        event = {
            "eventId": int(wh) + evse,
            "timestamp": moment(),
            "trigger": "Periodic",
            "actualValue": str(wh),
            "eventNotificationType": "PreconfiguredMonitor",
            "component": component,
            "variable": {"name": "EnergyImportRegister"},
        }
        assert await station.send("NotifyEvent", generatedAt=moment(), seqNo=0, eventData=[event]) == {}


async def energy_is(csms: Operator, driver: Session, wh: float, contexts: list[str]) -> list[Any]:
    """The operator sees this energy and samples of these contexts in their order."""
    seen = await csms.transaction(driver.station)
    assert (seen["energy_wh"], seen["flags"]) == (wh, [])
    values = await csms.items(f"/transactions/{seen['id']}/meter-values")
    samples = [sample for value in values for sample in value["samples"]]
    assert [sample["context"] for sample in samples] == contexts
    return samples


@case()
async def test_TC_J_01_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    for wh in (100, 100, 100):
        await clock_aligned(station, wh, (0, 1, 2))
    assert await csms.transactions(station) == []


@case()
async def test_TC_J_02_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    for wh in (100, 250, 400):
        await clock_aligned(driver.station, 5000, (0, 2))
        await driver.event("MeterValueClock", meterValue=[register_value(wh, "Sample.Clock")])
    await energy_is(csms, driver, 300, ["Sample.Clock"] * 3)


async def ends_with(driver: Session, context: str, signed: dict[str, str] | None = None) -> None:
    """State EVDisconnected with all values of the transaction in its last message."""
    await driver.stop_authorized()
    await driver.ev_connected_post_session()
    await driver.connector("Available")
    values = [
        register_value(100, "Transaction.Begin", signed=signed),
        register_value(200, context, signed=signed),
        register_value(450, context, signed=signed),
        register_value(600, "Transaction.End", signed=signed),
    ]
    await driver.ended("EVCommunicationLost", state="Idle", stopped="EVDisconnected", meterValue=values)


async def ended_with(csms: Operator, version: str, context: str, signed: dict[str, str] | None = None) -> None:
    """J01.FR.08 and J02.FR.08: the values of the whole transaction come with its end."""
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await ends_with(driver, context, signed)
    samples = await energy_is(csms, driver, 500, ["Transaction.Begin", context, context, "Transaction.End"])
    if signed is not None:
        assert [sample["signed"]["data"] for sample in samples] == [signed["signedMeterData"]] * 4


@case()
async def test_TC_J_03_CSMS(csms: Operator, version: str) -> None:
    await ended_with(csms, version, "Sample.Clock")


@case()
async def test_TC_J_04_CSMS(csms: Operator, version: str) -> None:
    await ended_with(csms, version, "Sample.Clock", SIGNED)


@case()
async def test_TC_J_07_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.connector("Occupied")
    begin = [register_value(1000, "Transaction.Begin")]
    await driver.event("CablePluggedIn", state="EVConnected", evse=driver.evse, meterValue=begin)
    assert (await csms.transaction(driver.station))["meter_start_wh"] == 1000


@case()
async def test_TC_J_08_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    assert (await driver.authorize())["status"] == "Accepted"
    answer = await driver.event("Authorized", token=driver.token)
    assert answer["idTokenInfo"]["status"] == "Accepted"
    driver.authorized_before = True
    await driver.connector("Occupied")
    begin = [register_value(1000, "Transaction.Begin")]
    await driver.event("CablePluggedIn", state="EVConnected", evse=driver.evse, meterValue=begin)
    driver.ev_connected = True
    await driver.energy_transfer_started()
    seen = await csms.transaction(driver.station)
    assert (seen["meter_start_wh"], seen["evse_id"], seen["connector_id"]) == (1000, 1, 1)


@case()
async def test_TC_J_09_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    for wh in (100, 250, 400):
        await driver.event("MeterValuePeriodic", meterValue=[register_value(wh)])
    await energy_is(csms, driver, 300, ["Sample.Periodic"] * 3)


@case()
async def test_TC_J_10_CSMS(csms: Operator, version: str) -> None:
    await ended_with(csms, version, "Sample.Periodic")


@case()
async def test_TC_J_11_CSMS(csms: Operator, version: str) -> None:
    await ended_with(csms, version, "Sample.Periodic", SIGNED)
