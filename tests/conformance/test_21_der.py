"""OCPP 2.1 beyond 2.0.1: distributed energy resources."""

from __future__ import annotations

from typing import Any

from tests.conformance.rest import Operator
from tests.conformance.station import moment
from tests.conformance.use_cases import requires

VERSION = "2.1"
CURVE: dict[str, Any] = {
    "type": "VoltWatt",
    "is_default": True,
    "curve": {"points": [{"x": 100, "y": 100}, {"x": 110, "y": 0}], "unit": "PctMaxW", "priority": 3},
}


@requires()
async def test_R04_a_control_is_set_reported_and_cleared(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    path = f"/charging-stations/{station.id}/der-controls"
    doing = csms.begin("PUT", f"{path}/volt-watt", CURVE)
    asked = await station.expect("SetDERControl", controlId="volt-watt", controlType="VoltWatt", isDefault=True)
    assert asked["curve"]["curveData"] == [{"x": 100, "y": 100}, {"x": 110, "y": 0}]
    assert (asked["curve"]["yUnit"], asked["curve"]["priority"]) == ("PctMaxW", 3)
    await asked.answer(status="Accepted")
    assert (await doing.done())["state"] == "installed"

    report = csms.begin("POST", f"{path}/report")
    asked = await station.expect("GetDERControl")
    await asked.answer(status="Accepted")
    await report.done()
    held = {key: asked_value for key, asked_value in station.seen[-2][1].items() if key == "curve"}
    told = {
        "id": "volt-watt",
        "curve": held["curve"],
        "curveType": "VoltWatt",
        "isDefault": True,
        "isSuperseded": False,
    }
    assert await station.send("ReportDERControl", requestId=asked["requestId"], curve=[told], tbc=False) == {}
    await csms.eventually(lambda: csms.items(path), lambda rows: [row["reported"] for row in rows] != [None])

    doing = csms.begin("DELETE", f"{path}/volt-watt")
    asked = await station.expect("ClearDERControl", controlId="volt-watt")
    await asked.answer(status="Accepted")
    await doing.done()


@requires()
async def test_R04_a_control_that_supersedes_another_is_shown(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    path = f"/charging-stations/{station.id}/der-controls"
    for name, answer in (("old", {}), ("new", {"supersededIds": ["old"]})):
        doing = csms.begin("PUT", f"{path}/{name}", CURVE)
        await (await station.expect("SetDERControl", controlId=name)).answer(status="Accepted", **answer)
        await doing.done()
    found = {row["id"]: row["superseded"] for row in await csms.items(path)}
    assert found == {"old": True, "new": False}


@requires()
async def test_R05_events_are_answered_and_an_alarm_stands_until_it_ends(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    started = {"controlId": "volt-watt", "started": True, "timestamp": moment()}
    assert await station.send("NotifyDERStartStop", started) == {}
    alarm = {"controlType": "VoltWatt", "gridEventFault": "OverVoltage", "timestamp": moment()}
    assert await station.send("NotifyDERAlarm", alarm) == {}

    async def alerts() -> list[Any]:
        return await csms.items("/alerts", station_id=station.id, kind="der_alarm", standing="true")

    await csms.eventually(alerts, lambda rows: len(rows) == 1)
    assert await station.send("NotifyDERAlarm", alarm, alarmEnded=True) == {}
    await csms.eventually(alerts, lambda rows: not rows)
    kinds = {one["kind"] for one in await csms.items(f"/charging-stations/{station.id}/der-events")}
    assert {"started", "alarm", "alarm_ended"} <= kinds
