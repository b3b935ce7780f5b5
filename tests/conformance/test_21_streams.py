"""OCPP 2.1 beyond 2.0.1: streams of periodic values."""

from __future__ import annotations

from typing import Any

from tests.conformance.rest import Operator
from tests.conformance.station import Station, moment
from tests.conformance.use_cases import requires

VERSION = "2.1"


async def opened(csms: Operator, number: int = 3) -> Station:
    """A station with a stream."""
    station = await csms.booted(VERSION)
    data = {"id": number, "variableMonitoringId": 42, "params": {"interval": 10, "values": 5}}
    assert (await station.send("OpenPeriodicEventStream", constantStreamData=data))["status"] == "Accepted"
    return station


async def streams(csms: Operator, station: Station) -> list[Any]:
    found: list[Any] = await csms.get(f"/charging-stations/{station.id}/event-streams")
    return found


@requires("FR.04", "FR.06")
async def test_N11_a_stream_is_accepted_and_known_by_its_monitor(csms: Operator) -> None:
    station = await opened(csms)
    (stream,) = await streams(csms, station)
    assert (stream["id"], stream["monitor_id"], stream["interval_s"], stream["closed_at"]) == (3, 42, 10, None)


@requires()
async def test_N12_the_station_tells_its_streams(csms: Operator) -> None:
    station = await opened(csms)
    doing = csms.begin("POST", f"/charging-stations/{station.id}/event-streams/refresh")
    data = {"id": 7, "variableMonitoringId": 43, "params": {"interval": 20}}
    await (await station.expect("GetPeriodicEventStream")).answer(constantStreamData=[data])
    await doing.done()
    found = {one["id"]: one["closed_at"] is None for one in await streams(csms, station)}
    assert found == {3: False, 7: True}


@requires("FR.02")
async def test_N13_a_closed_stream_is_closed(csms: Operator) -> None:
    station = await opened(csms)
    assert await station.send("ClosePeriodicEventStream", id=3) == {}
    await csms.eventually(lambda: streams(csms, station), lambda rows: rows[0]["closed_at"] is not None)


@requires("FR.01")
async def test_N14_the_rate_of_a_stream_is_adjusted(csms: Operator) -> None:
    station = await opened(csms)
    doing = csms.begin("PUT", f"/charging-stations/{station.id}/event-streams/3", {"interval_s": 5})
    asked = await station.expect("AdjustPeriodicEventStream", id=3)
    assert asked["params"]["interval"] == 5
    await asked.answer(status="Accepted")
    await doing.done()
    assert (await streams(csms, station))[0]["interval_s"] == 5


@requires("FR.02", "FR.03")
async def test_N15_values_are_kept_with_their_stream_and_never_answered(csms: Operator) -> None:
    station = await opened(csms)
    data = [{"t": 0, "v": "16.1"}, {"t": 2.5, "v": "16.4"}]
    told = {"id": 3, "pending": 0, "basetime": moment(), "data": data}
    await station.write([6, "n15", "NotifyPeriodicEventStream", told])
    path = f"/charging-stations/{station.id}/event-streams/3/values"
    values = await csms.eventually(lambda: csms.items(path), lambda rows: len(rows) == 2)
    assert {one["value"] for one in values} == {"16.1", "16.4"}
    # a CALLRESULT or CALLERROR to it would have failed the station: nothing waits for one
    await station.send("Heartbeat")
    assert station.problem is None
