"""ocpp.md, items 11, 12 and 14: first statuses at once, shapes that no schema has, numbers that would allocate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import json

from chargeplane.ocpp import OcppVersion
from tests.bridge.wire import validate
from tests.support.field import VERSIONS, VERSIONS_2X, Station, World, at, sampled, token_status

SERIAL = "S" * 300


def boot_of(version: str, **more: Any) -> dict[str, Any]:
    """A BootNotification with fields by their 1.6 names without prefix."""
    if version == "1.6":
        names = {"serialNumber": "chargePointSerialNumber", "vendor": "chargePointVendor", "model": "chargePointModel"}
        return {names.get(name, name): value for name, value in more.items()}
    names = {"vendor": "vendorName"}
    return {"reason": "PowerUp", "chargingStation": {names.get(name, name): value for name, value in more.items()}}


@pytest.mark.parametrize("version", VERSIONS)
async def test_first_statuses_at_once_do_not_deadlock(world: World, version: str) -> None:
    """Item 11: two first status messages at once must not deadlock."""
    stations = [await world.station(version, boot=False) for _ in range(4)]
    answers = [
        station.begin("StatusNotification", station.status_payload("Available", at(0), evse))
        for evse in (1, 2, 3, 1)
        for station in stations
    ]
    frames = await asyncio.gather(*answers)
    assert [frame[0] for frame in frames] == [3] * 16
    for station in stations:
        assert [evse["status"] for evse in (await station.view())["evses"]] == ["Available"] * 3


@pytest.mark.parametrize("version", VERSIONS)
async def test_serial_that_is_too_long(world: World, version: str) -> None:
    """Item 12: too long serials."""
    station = await world.station(version, boot=False)
    answer = await station.call("BootNotification", boot_of(version, vendor="V", model="M", serialNumber=SERIAL))
    assert answer["status"] == "Accepted"
    assert (await station.view())["serial_number"] == SERIAL[:255]
    assert await station.quirks("text_too_long") == {"text_too_long": 1}


@pytest.mark.parametrize("version", VERSIONS)
async def test_empty_vendor_and_serial(world: World, version: str) -> None:
    """Item 12: empty vendor; stations.md: empty strings for serials."""
    station = await world.station(version, boot=False)
    answer = await station.call("BootNotification", boot_of(version, vendor="", model="M", serialNumber=""))
    assert answer["status"] == "Accepted"
    seen = await station.view()
    assert (seen["vendor"], seen["model"], seen["serial_number"]) == (None, "M", None)


@pytest.mark.parametrize("version", VERSIONS)
async def test_object_where_an_array_belongs(world: World, version: str) -> None:
    """Item 12: an object where an array belongs."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    value = sampled(version, 1400, at(10))
    value["sampledValue"] = value["sampledValue"][0]
    await charge.update(0, 10, meterValue=value)
    assert (await station.transaction())["energy_wh"] == 400
    assert "object_for_list" in await station.quirks("object_for_list")


@pytest.mark.parametrize("version", VERSIONS)
async def test_unknown_unit(world: World, version: str) -> None:
    """Item 12: unknown units are kept with the number and book no energy by guess."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1400, 10, unit="Furlong")
    await charge.update(1500, 11)
    one = await station.transaction()
    assert one["energy_wh"] == 500
    (odd,) = [sample for sample in await station.samples() if sample["unit"] == "Furlong"]
    assert (odd["value"], odd["repaired"]) == (1400, "unit_unknown")
    assert await station.quirks("unit_unknown")


@pytest.mark.parametrize("version", VERSIONS)
async def test_null_payload(world: World, version: str) -> None:
    """Item 12: null payloads; 1.6 allows them where there is nothing to say."""
    station = await world.station(version)
    assert "currentTime" in await station.call("Heartbeat", None)


NOTHING = (
    "null", "{}", "[]", '""', "[{}]", "[[]]", "0", '{"meterValue":[]}', '{"meterValue":[{}]}', '{"idTag":""}',
    '{"transactionInfo":{}}', '{"eventType":"Ended","seqNo":3,"transactionInfo":{"stoppedReason":"Local"}}',
)  # fmt: skip


@pytest.mark.parametrize(
    ("version", "action"),
    [
        ("1.6", "StartTransaction"),
        ("1.6", "StopTransaction"),
        ("1.6", "MeterValues"),
        *((version, action) for version in VERSIONS_2X for action in ("TransactionEvent", "MeterValues")),
    ],
)
async def test_transaction_messages_that_say_nothing(world: World, version: str, action: str) -> None:
    """Item 12, and item 4: nothing can be booked by them and nothing ends by them, they are kept for the operator to see."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    for number, payload in enumerate(NOTHING):
        frame = await station.text(f'[2,"n{number}","{action}",{payload}]', f"n{number}")
        assert frame[0] == 3, (payload, frame)
        validate(OcppVersion(version), f"{action}Response", frame[2])
        if action == "StartTransaction":
            assert token_status(frame[2]) == "Invalid"
            assert frame[2]["transactionId"] > 0
    frame = await station.text(f'[2,"bare","{action}"]', "bare")
    assert frame[0] == 3, frame
    kept = await station.quarantine()
    assert sorted(entry["message_id"] for entry in kept) == sorted(["bare", *(f"n{n}" for n in range(len(NOTHING)))])
    assert {entry["action"] for entry in kept} == {action}
    assert all(entry["reason"] for entry in kept)
    one = await station.transaction()
    assert (one["state"], one["energy_wh"]) == ("open", 0)
    await charge.end(1500, 20)
    assert (await station.transaction())["energy_wh"] == 500


@pytest.mark.parametrize("version", VERSIONS)
async def test_null_fields(world: World, version: str) -> None:
    """Item 12: null where a field could be left out."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0, reservationId=None)
    await charge.update(1400, 10, reservationId=None)
    assert (await station.transaction())["energy_wh"] == 400


@pytest.mark.parametrize("version", VERSIONS)
async def test_empty_sampled_value(world: World, version: str) -> None:
    """Item 12: empty sampledValue."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(0, 5, meterValue=[{"timestamp": at(5), "sampledValue": []}])
    await charge.update(1400, 10)
    assert (await station.transaction())["energy_wh"] == 400
    if version != "1.6":  # whose schema allows it
        assert await station.quirks("empty_list")


@pytest.mark.parametrize("version", VERSIONS)
async def test_invalid_json_with_a_value_missing(world: World, version: str) -> None:
    """Item 12: invalid JSON such as `"transactionId":,` is repaired; what it says is matched."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    values = json.encode([sampled(version, 1400, at(10))]).decode()
    if version == "1.6":
        await station.text(f'[2,"x","MeterValues",{{"connectorId":1,"transactionId":,"meterValue":{values}}}]')
    else:
        text = json.encode([2, "x", *charge.updated(1400, 10, remoteStartId=7)]).decode()
        await station.text(text.replace('"remoteStartId":7', '"reservationId":'))
    assert (await station.transaction())["energy_wh"] == 400
    assert (await station.quirks("json_value_missing"))["json_value_missing"] == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("number", [1_634_030_126, -5, 2**63])
async def test_numbers_that_allocate_are_bounded(world: World, version: str, number: int) -> None:
    """Item 14: one station reported 1,634,030,126 connectors."""
    station = await world.station(version)
    frame = await station.frame("StatusNotification", station.status_payload("Available", at(0), number))
    assert frame[0] == 3 or frame[2] == "PropertyConstraintViolation", frame
    await station.status("Available", at(0))
    assert [evse["evse_id"] for evse in (await station.view())["evses"]] == [1]


@pytest.mark.parametrize("version", VERSIONS)
async def test_transaction_on_a_connector_beyond_reason_is_kept(world: World, version: str) -> None:
    """Item 14, and item 6: the number opens no connector, the energy counts."""
    station = await world.station(version)
    charge = station.charge(evse=1_634_030_126)
    await charge.start(1000, 0)
    await charge.end(1500, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["state"]) == (500, "closed")
    assert (await station.view())["evses"] == []


async def _alive(station: Station) -> None:
    assert "currentTime" in await station.call("Heartbeat", {})


@pytest.mark.parametrize("version", VERSIONS)
async def test_frames_beyond_repair_harm_nobody(world: World, version: str) -> None:
    """stations.md, Reports and the rest, last line: message id not a string, payload missing, type 99, SQL in strings."""
    station = await world.station(version)
    for text in ('[2,17,"Heartbeat",{}]', '[2,"a","Heartbeat"]', '[99,"b","Heartbeat",{}]', '{"a":1}', "[]", "nothing"):
        station.raw.send(text)
    await _alive(station)
    sql = "'; DROP TABLE transaction; --"
    charge = station.charge(tag=sql)
    await charge.start(1000, 0)
    await charge.end(1500, 20)
    assert (await station.transaction())["energy_wh"] == 500
