"""ocpp.md, item 13: times without zone, local time as UTC, 1970, the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.field import VERSIONS, World, now


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _told(world: World, version: str, times: tuple[str, str]) -> tuple[Any, list[Any]]:
    """A session whose start and stop carry these times: the transaction and its events."""
    station = await world.station(version)
    charge = station.charge()
    if version == "1.6":
        await charge.start(1000, 0, timestamp=times[0])
        await charge.end(1500, 0, timestamp=times[1])
    else:
        start = [{"timestamp": times[0], "sampledValue": [{"value": 1000}]}]
        stop = [{"timestamp": times[1], "sampledValue": [{"value": 1500}]}]
        await charge.start(0, 0, timestamp=times[0], meterValue=start)
        await charge.end(0, 0, timestamp=times[1], meterValue=stop)
    return await station.transaction(), await station.events()


@pytest.mark.parametrize("version", VERSIONS)
async def test_time_without_zone_is_utc(world: World, version: str) -> None:
    """Item 13: timestamps without zone."""
    one, events = await _told(world, version, ("2026-01-31T12:00:00", "2026-01-31T12:30:00.123"))
    assert (one["energy_wh"], one["flags"], one["started_at"]) == (500, [], "2026-01-31T12:00:00Z")
    assert events[1]["at"] == "2026-01-31T12:30:00.123000Z"


@pytest.mark.parametrize("version", VERSIONS)
async def test_1970_is_kept_and_not_believed(world: World, version: str) -> None:
    """Item 13: 1970; the station's time is kept beside ours."""
    began = datetime.now(UTC) - timedelta(seconds=1)
    one, events = await _told(world, version, ("1970-01-01T00:00:10Z", "1970-01-01T00:30:00Z"))
    assert (one["energy_wh"], one["flags"], one["state"]) == (500, ["time_untrusted"], "closed")
    assert began <= _moment(one["started_at"]) <= _moment(one["stopped_at"])
    assert [event["at"] for event in events] == ["1970-01-01T00:00:10Z", "1970-01-01T00:30:00Z"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_future_is_never_trusted(world: World, version: str) -> None:
    """Item 13: never trust the future."""
    one, events = await _told(world, version, ("2038-01-19T03:14:07Z", "2038-01-19T04:14:07Z"))
    assert (one["energy_wh"], one["flags"], one["state"]) == (500, ["time_untrusted"], "closed")
    assert _moment(one["stopped_at"]) <= datetime.now(UTC)
    assert events[0]["at"] == "2038-01-19T03:14:07Z"


@pytest.mark.parametrize("version", VERSIONS)
async def test_offset_of_a_clock_is_measured_and_shown(world: World, version: str) -> None:
    """Item 13: measure the offset; local time as UTC is seen."""
    station = await world.station(version)
    assert (await station.view())["connection"]["clock"] is None
    await station.status("Available", now(+7200))
    seen = await world.eventually(station.view, lambda view: view["connection"]["clock"] is not None)
    clock = seen["connection"]["clock"]
    assert 7190 < clock["offset_s"] < 7201
    assert clock["like_local_time"]
    # a late message says nothing about the clock, a reconnect forgets nothing
    await station.status("Occupied", now(+7000))
    await station.leave()
    again = await world.plug(station.id, version)
    seen = await world.eventually(again.view, lambda view: view["connected"])
    assert 7190 < seen["connection"]["clock"]["offset_s"] < 7201


@pytest.mark.parametrize("version", VERSIONS)
async def test_clock_is_measured_by_live_transactions_and_not_by_replayed_ones(world: World, version: str) -> None:
    """Item 13: measure the offset."""
    station = await world.station(version)
    charge = station.charge()
    if version == "1.6":
        await charge.start(0, 0, timestamp=now(-300))
    else:
        await charge.start(0, 0, timestamp=now(-86_400), offline=True)
        await charge.update(0, 0, timestamp=now(-300), transactionInfo=_info(charge.ocpp_id, "Charging"))
    seen = await world.eventually(station.view, lambda view: view["connection"]["clock"] is not None)
    assert -310 < seen["connection"]["clock"]["offset_s"] <= -299
    assert not seen["connection"]["clock"]["like_local_time"]


def _info(ocpp_id: str, state: str) -> dict[str, str]:
    return {"transactionId": ocpp_id, "chargingState": state}
