"""Block O: messages on a station's display."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session
from tests.conformance.station import Asked, Station

TEXT = {"content": "Welcome", "format": "UTF8", "language": "en"}


async def shown(
    csms: Operator,
    station: Station,
    answer: str = "Accepted",
    *,
    number: int | None = None,
    priority: str = "AlwaysFront",
    text: dict[str, str] = TEXT,
    **more: Any,
) -> int:
    """The operator shows a message and the station says what it does with it; the message's number.

    Args:
        number: of the message that is replaced; a free one without.
        more: fields of the message by the resource's names.
    """
    path = f"/charging-stations/{station.id}/display-messages"
    body = {"texts": [text], "priority": priority, **more}
    doing = csms.begin("POST", path, body) if number is None else csms.begin("PUT", f"{path}/{number}", body)
    called = await station.expect("SetDisplayMessage")
    message = called["message"]
    assert message["priority"] == priority
    assert message["message"] == text
    assert message.get("state") == more.get("state")
    assert message.get("transactionId") == more.get("ocpp_transaction_id")
    for ours, wire in (("start", "startDateTime"), ("end", "endDateTime")):
        assert (wire in message) == (ours in more)
        if ours in more:
            assert datetime.fromisoformat(message[wire]) == datetime.fromisoformat(more[ours])
    await called.answer(status=answer)
    view = await doing.done()
    assert (view["id"], view["state"]) == (message["id"], "shown" if answer == "Accepted" else "refused")
    assert answer == "Accepted" or view["reason"]
    found: int = view["id"]
    assert number is None or found == number
    return found


def later(minutes: float) -> str:
    """A time in the future."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).replace(microsecond=0).isoformat()


def wire_message(number: int, **more: Any) -> dict[str, Any]:
    """A message as its station tells of it."""
    return {"id": number, "priority": "AlwaysFront", "message": TEXT, **more}


async def told(station: Station, called: Asked, *messages: dict[str, Any]) -> None:
    """The station tells its messages, one at a time."""
    for number, message in enumerate(messages):
        payload = {"requestId": called["requestId"], "messageInfo": [message], "tbc": number < len(messages) - 1}
        assert await station.send("NotifyDisplayMessages", payload) == {}


async def messages_of(csms: Operator, station: Station) -> dict[int, str]:
    """States of the messages by number, as the operator sees them."""
    return {one["id"]: one["state"] for one in await csms.get(f"/charging-stations/{station.id}/display-messages")}


@case()
async def test_TC_O_01_CSMS(csms: Operator, version: str) -> None:
    await shown(csms, await csms.booted(version), state="Idle")


@case()
async def test_TC_O_02_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    ours = await shown(csms, station)
    doing = csms.begin("POST", f"/charging-stations/{station.id}/display-messages/refresh")
    called = await station.expect("GetDisplayMessages", id=None, priority=None, state=None)
    await called.answer(status="Accepted")
    assert (await doing.done())["request_id"] == called["requestId"]
    await told(station, called, wire_message(ours), wire_message(77))
    await csms.eventually(lambda: messages_of(csms, station), lambda found: found == {ours: "shown", 77: "shown"})


@case()
async def test_TC_O_03_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.begin("POST", f"/charging-stations/{station.id}/display-messages/refresh")
    called = await station.expect("GetDisplayMessages", id=None, priority=None, state=None)
    await called.answer(status="Unknown")
    assert (await doing.done())["request_id"] == called["requestId"]
    assert await messages_of(csms, station) == {}


@case()
async def test_TC_O_04_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    number = await shown(csms, station)
    doing = csms.begin("DELETE", f"/charging-stations/{station.id}/display-messages/{number}")
    await (await station.expect("ClearDisplayMessage", id=number)).answer(status="Accepted")
    await doing.done()
    assert await messages_of(csms, station) in ({}, {number: "gone"})


@case()
async def test_TC_O_05_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "clear_display_message", id=999)
    await (await station.expect("ClearDisplayMessage", id=999)).answer(status="Unknown")
    assert (await doing.ends("rejected", "Unknown"))["reason"]


async def charging(csms: Operator, version: str) -> Session:
    """State EnergyTransferStarted."""
    driver = Session(await csms.booted(version), await csms.id_token())
    await driver.energy_transfer_started()
    return driver


@case()
async def test_TC_O_06_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    await shown(csms, driver.station, ocpp_transaction_id=driver.transaction_id)
    await driver.stop_authorized()
    await driver.ev_connected_post_session()
    await driver.ev_disconnected()


async def asked(csms: Operator, station: Station, answer: str, wire: dict[str, Any], **criteria: Any) -> Asked:
    """The operator asks for some messages only."""
    doing = csms.command(station, "get_display_messages", request_id=4711, **criteria)
    wanted: dict[str, Any] = {"id": None, "priority": None, "state": None, **wire}
    called = await station.expect("GetDisplayMessages", requestId=4711, **wanted)
    await called.answer(status=answer)
    await doing.ends("accepted" if answer == "Accepted" else "rejected", answer)
    return called


@case()
async def test_TC_O_07_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    number = await shown(csms, station)
    called = await asked(csms, station, "Accepted", {"id": [number]}, ids=[number])
    await told(station, called, wire_message(number))


@case()
async def test_TC_O_08_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    number = await shown(csms, station, priority="InFront")
    called = await asked(csms, station, "Accepted", {"priority": "InFront"}, priority="InFront")
    await told(station, called, wire_message(number, priority="InFront"))


@case()
async def test_TC_O_09_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    number = await shown(csms, station, state="Faulted")
    called = await asked(csms, station, "Accepted", {"state": "Faulted"}, state="Faulted")
    await told(station, called, wire_message(number, state="Faulted"))


@case()
async def test_TC_O_10_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    await shown(csms, driver.station, "UnknownTransaction", ocpp_transaction_id="never-was")


@case()
async def test_TC_O_11_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    number = await shown(csms, station)
    await asked(csms, station, "Unknown", {"id": [number + 1]}, ids=[number + 1])


@case()
async def test_TC_O_12_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    number = await shown(csms, station)
    await shown(csms, station, number=number, priority="InFront")
    assert await messages_of(csms, station) == {number: "shown"}


@case()
async def test_TC_O_13_CSMS(csms: Operator, version: str) -> None:
    await shown(csms, await csms.booted(version), start=later(10))


@case()
async def test_TC_O_14_CSMS(csms: Operator, version: str) -> None:
    await shown(csms, await csms.booted(version), end=later(10))


@case()
async def test_TC_O_17_CSMS(csms: Operator, version: str) -> None:
    await shown(csms, await csms.booted(version), "NotSupportedPriority")


@case()
async def test_TC_O_18_CSMS(csms: Operator, version: str) -> None:
    await shown(csms, await csms.booted(version), "NotSupportedState", state="Faulted")


@case()
async def test_TC_O_19_CSMS(csms: Operator, version: str) -> None:
    html = {"content": "<p>Welcome</p>", "format": "HTML", "language": "en"}
    await shown(csms, await csms.booted(version), "NotSupportedMessageFormat", text=html)


@case()
async def test_TC_O_25_CSMS(csms: Operator, version: str) -> None:
    await shown(csms, await csms.booted(version), state="Charging")


@case()
async def test_TC_O_26_CSMS(csms: Operator, version: str) -> None:
    await shown(csms, await csms.booted(version), "Rejected", priority="NormalCycle")


@case()
async def test_TC_O_27_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    await shown(csms, driver.station, start=later(1), ocpp_transaction_id=driver.transaction_id)


@case()
async def test_TC_O_28_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    name = driver.transaction_id
    await shown(csms, driver.station, end=later(1), state="Charging", ocpp_transaction_id=name)
