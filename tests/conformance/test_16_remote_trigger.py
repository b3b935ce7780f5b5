"""OCPP 1.6: the cases of the remote trigger profile."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import Station, moment

METER = {"timestamp": "2026-01-31T12:00:00Z", "sampledValue": [{"value": "1000", "context": "Trigger"}]}


async def trigger(csms: Operator, station: Station, message: str, answer: str, state: str, **asked: Any) -> None:
    """The operator triggers a message; connector 1 where one is named."""
    doing = csms.command(station, "trigger", message=message, **asked)
    connector = 1 if asked else None
    called = await station.expect("TriggerMessage", requestedMessage=message, connectorId=connector)
    await called.answer(status=answer)
    await doing.ends(state, answer)


@case("1.6")
async def test_TC_054_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await trigger(csms, station, "MeterValues", "Accepted", "accepted", evse_id=1)
    assert await station.send("MeterValues", connectorId=1, meterValue=[METER]) == {}
    await trigger(csms, station, "Heartbeat", "Accepted", "accepted")
    assert (await station.send("Heartbeat"))["currentTime"] < moment(60)
    await trigger(csms, station, "StatusNotification", "Accepted", "accepted", evse_id=1)
    await station.notify_status("Available")
    await trigger(csms, station, "DiagnosticsStatusNotification", "Accepted", "accepted")
    assert await station.send("DiagnosticsStatusNotification", status="Idle") == {}
    await trigger(csms, station, "FirmwareStatusNotification", "Accepted", "accepted")
    assert await station.send("FirmwareStatusNotification", status="Idle") == {}
    await trigger(csms, station, "FirmwareStatusNotification", "NotImplemented", "rejected")


@case("1.6")
async def test_TC_055_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await trigger(csms, station, "MeterValues", "Rejected", "rejected", evse_id=1)
