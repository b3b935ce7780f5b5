"""A04: security events of stations and of the doors are kept, shown, and raise alerts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.simulator import FAST, HandshakeError, VirtualStation
from chargeplane.simulator.subjects.security import report_event
from tests.support.security import PASSWORD, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
VERSIONS = ("1.6", "2.0.1", "2.1")


async def events(house: House, station: VirtualStation, count: int, more: str = "") -> list[dict[str, Any]]:
    path = f"/v1/security-events?station_id={station.station_id}{more}"
    found: dict[str, Any] = await house.until(path, lambda page: len(page["items"]) >= count)
    assert len(found["items"]) == count
    return list(found["items"])


async def alerts(house: House, station: VirtualStation, count: int) -> list[dict[str, Any]]:
    path = f"/v1/alerts?station_id={station.station_id}&kind=security_event"
    found: dict[str, Any] = await house.until(path, lambda page: len(page["items"]) == count)
    return list(found["items"])


async def fails(url: str, station_id: str, password: str | None) -> int | None:
    station = VirtualStation(url, station_id, "2.0.1", password=password, options=replace(FAST, reconnect=False))
    with pytest.raises(HandshakeError) as refused:
        await station.connect()
    return refused.value.status


@pytest.mark.parametrize("version", VERSIONS)
async def test_critical_event_of_a_station_is_kept_and_raises_an_alert(house: House, version: str) -> None:
    station = await house.station(version)
    report_event(station, "TamperDetectionActivated", "the door")
    await station.drain()
    (event,) = await events(house, station, 1)
    assert (event["source"], event["type"], event["severity"]) == ("station", "TamperDetectionActivated", "critical")
    assert (event["info"], event["hits"]) == ("the door", 1)
    assert event["at"] is not None
    (alert,) = await alerts(house, station, 1)
    assert (alert["severity"], alert["ident"]) == ("critical", "TamperDetectionActivated")
    report_event(station, "TamperDetectionActivated", "again")
    await events(house, station, 2)
    await house.until(f"/v1/alerts/{alert['id']}", lambda view: view["hits"] == 2)


async def test_event_that_is_not_critical_is_kept_without_an_alert_and_filters_find_it(house: House) -> None:
    station = await house.station("2.0.1")
    report_event(station, "ReconfigurationOfSecurityParameters")
    report_event(station, "ResetOrReboot")
    await station.drain()
    await events(house, station, 2)
    assert len(await events(house, station, 1, "&severity=info")) == 1
    assert len(await events(house, station, 1, "&type=ResetOrReboot&source=station")) == 1
    await events(house, station, 0, "&received_to=2020-01-01T00:00:00Z")
    (alert,) = await alerts(house, station, 1)
    assert (alert["ident"], alert["severity"]) == ("ResetOrReboot", "info")


async def test_events_of_an_outage_come_when_the_station_is_back(house: House) -> None:
    """A04.FR.02."""
    station = await house.station("2.0.1")
    station.go_offline()
    report_event(station, "MemoryExhaustion")
    station.go_online()
    (event,) = await events(house, station, 1)
    assert event["type"] == "MemoryExhaustion"


async def test_1_6_words_are_shown_as_the_newest_ones(house: House) -> None:
    station = await house.station("1.6")
    report_event(station, "InvalidCentralSystemCertificate")
    assert [event["type"] for event in await events(house, station, 1)] == ["InvalidCsmsCertificate"]


async def test_flood_of_a_station_is_counted_in_one_row(house: House) -> None:
    station = await house.station("2.0.1")
    for number in range(75):
        report_event(station, "InvalidMessages", f"number {number}")
    await station.drain()
    path = f"/v1/security-events?station_id={station.station_id}&limit=200"
    found = await house.until(path, lambda page: sum(row["hits"] for row in page["items"]) == 75)
    assert len(found["items"]) == 61
    assert found["items"][0]["hits"] == 15


async def test_wrong_passwords_are_counted_in_one_row_and_raise_an_alert_when_there_are_many(house: House) -> None:
    station = await house.station("2.0.1")
    assert await fails(house.plain, station.station_id, "wrong-password-000001") == 401
    (event,) = await events(house, station, 1)
    assert (event["type"], event["source"], event["severity"]) == ("FailedPassword", "server", "notice")
    assert event["remote_address"] == "127.0.0.1"
    await alerts(house, station, 0)
    for _ in range(4):
        await fails(house.plain, station.station_id, "wrong-password-000001")
    (alert,) = await alerts(house, station, 1)
    assert (alert["ident"], alert["severity"]) == ("FailedPassword", "warning")
    (event,) = await events(house, station, 1)
    assert event["hits"] == 5
    assert "wrong-password" not in str(event)


async def test_attempt_by_another_profile_is_critical(house: House) -> None:
    station = await house.station("2.0.1", 2)
    assert await fails(house.plain, station.station_id, PASSWORD) == 403
    (event,) = await events(house, station, 1)
    assert (event["type"], event["severity"]) == ("WrongSecurityProfile", "critical")
    await alerts(house, station, 1)


async def test_second_socket_of_the_same_id_is_noted(house: House) -> None:
    station = await house.station("2.0.1")
    other = VirtualStation(
        house.plain, station.station_id, "2.0.1", password=PASSWORD, options=replace(FAST, auto_boot=False)
    )
    station.give_faults()
    await other.connect()
    house.stations.append(other)
    rows = await house.until(f"/v1/security-events?station_id={station.station_id}", lambda page: bool(page["items"]))
    assert rows["items"][0]["type"] == "SecondConnection"


async def test_unknown_stations_are_one_row_however_many_ids_are_tried(house: House) -> None:
    path = "/v1/security-events?type=UnknownStation"
    before = sum(row["hits"] for row in await house.items(path))
    for number in range(5):
        assert await fails(house.plain, f"NOBODY-{number}", "some-password-0001") == 404
    found = await house.until(path, lambda page: sum(row["hits"] for row in page["items"]) == before + 5)
    assert len(found["items"]) == 1
    assert found["items"][0]["station_id"] is None


async def test_events_are_shown_live(house: House) -> None:
    station = await house.station("2.0.1")
    async with house.client.stream("GET", "/v1/events?type=security", timeout=60) as stream:
        told = stream.aiter_lines()
        await anext(told)
        report_event(station, "TamperDetectionActivated")
        async with asyncio.timeout(30):
            async for line in told:
                if line.startswith("data:") and station.station_id in line:
                    assert '"type":"security.event"' in line
                    break


async def test_events_and_their_filters_are_checked(house: House) -> None:
    await house.ask("GET", "/v1/security-events?severity=loud", status=400)
    await house.ask("GET", "/v1/security-events?received_from=yesterday", status=400)
    await house.ask("GET", "/v1/security-events/999999999", status=404)
    await house.ask("GET", "/v1/security-events/x", status=404)
