"""Block P: data of vendors."""

from __future__ import annotations

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session
from tests.conformance.station import moment

CUSTOM = {"vendorId": "org.example.custom", "anything": {"nested": [1, "two", None]}}


@case()
async def test_TC_P_02_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    answer = await station.send("DataTransfer", vendorId="org.example.nobody", messageId="Hello")
    assert answer["status"] in {"UnknownVendorId", "UnknownMessageId", "Rejected"}


@case()
async def test_TC_P_03_CSMS(csms: Operator, version: str) -> None:
    driver = Session(await csms.booted(version), await csms.id_token())
    told = {"evseId": 1, "connectorId": 1, "connectorStatus": "Occupied", "timestamp": moment()}
    assert await driver.station.send("StatusNotification", told, customData=CUSTOM) == {}
    await driver.event(
        "CablePluggedIn", state="EVConnected", evse=driver.evse, info={"customData": CUSTOM}, customData=CUSTOM
    )
    seen = await csms.transaction(driver.station)
    (event,) = await csms.items(f"/transactions/{seen['id']}/events")
    assert event["payload"]["customData"] == event["payload"]["transactionInfo"]["customData"] == CUSTOM
