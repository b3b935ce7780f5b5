"""Block G: in and out of service, and faults."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session
from tests.conformance.station import Station, moment

EVSE = {"evse": {"id": 1}}
CONNECTOR = {"evse": {"id": 1, "connectorId": 1}}
STATION: dict[str, Any] = {"evse": None}
_ASKED: dict[int, dict[str, int]] = {
    id(EVSE): {"evse_id": 1},
    id(CONNECTOR): {"evse_id": 1, "connector_id": 1},
    id(STATION): {},
}


async def change(csms: Operator, station: Station, what: dict[str, Any], operative: bool, answer: str) -> None:
    """The operator takes something in or out of service, and the station agrees."""
    doing = csms.command(station, "change_availability", operative=operative, **_ASKED[id(what)])
    word = "Operative" if operative else "Inoperative"
    await (await station.expect("ChangeAvailability", operationalStatus=word, **what)).answer(status=answer)
    await doing.ends("accepted", answer)


async def told(csms: Operator, station: Station, status: str, evses: tuple[int, ...]) -> None:
    """The station tells the states of its connectors, and the operator sees them."""
    for evse in evses:
        await station.notify_status(status, evse)
    for evse in evses:
        assert await csms.status_of(station, evse) == status


@case()
async def test_TC_G_03_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await change(csms, station, EVSE, False, "Accepted")
    await told(csms, station, "Unavailable", (1,))


@case()
async def test_TC_G_04_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await change(csms, station, EVSE, False, "Accepted")
    await told(csms, station, "Unavailable", (1,))
    await change(csms, station, EVSE, True, "Accepted")
    await told(csms, station, "Available", (1,))


@case()
async def test_TC_G_05_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await change(csms, station, STATION, False, "Accepted")
    await told(csms, station, "Unavailable", (1, 2))
    assert (await csms.view(station))["status"] == "Unavailable"


@case()
async def test_TC_G_06_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await change(csms, station, STATION, False, "Accepted")
    await told(csms, station, "Unavailable", (1, 2))
    await change(csms, station, STATION, True, "Accepted")
    await told(csms, station, "Available", (1, 2))
    assert (await csms.view(station))["status"] == "Available"


@case()
async def test_TC_G_07_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await change(csms, station, CONNECTOR, False, "Accepted")
    await told(csms, station, "Unavailable", (1,))


@case()
async def test_TC_G_08_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await change(csms, station, CONNECTOR, False, "Accepted")
    await told(csms, station, "Unavailable", (1,))
    await change(csms, station, CONNECTOR, True, "Accepted")
    await told(csms, station, "Available", (1,))


async def in_a_transaction(csms: Operator, version: str, what: dict[str, Any], idle: tuple[int, ...]) -> None:
    """The change waits for the end of the transaction (G03, G04)."""
    driver = Session(await csms.booted(version), await csms.id_token())
    await driver.energy_transfer_started()
    await change(csms, driver.station, what, False, "Scheduled")
    await told(csms, driver.station, "Unavailable", idle)
    await driver.stop_authorized()
    await driver.ev_connected_post_session()
    await driver.ev_disconnected()
    await told(csms, driver.station, "Unavailable", (1,))
    assert (await csms.transaction(driver.station))["state"] == "closed"


@case()
async def test_TC_G_11_CSMS(csms: Operator, version: str) -> None:
    await in_a_transaction(csms, version, EVSE, ())


@case()
async def test_TC_G_14_CSMS(csms: Operator, version: str) -> None:
    await in_a_transaction(csms, version, STATION, (2,))


@case()
async def test_TC_G_17_CSMS(csms: Operator, version: str) -> None:
    await in_a_transaction(csms, version, CONNECTOR, ())


@case()
async def test_TC_G_20_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    event = {
        "eventId": 1,
        "timestamp": moment(),
        "trigger": "Delta",
        "actualValue": "true",
        "eventNotificationType": "HardWiredNotification",
        "component": {"name": "ConnectorPlugRetentionLock", "evse": {"id": 1, "connectorId": 1}},
        "variable": {"name": "Problem"},
    }
    assert await station.send("NotifyEvent", generatedAt=moment(), seqNo=0, eventData=[event]) == {}
