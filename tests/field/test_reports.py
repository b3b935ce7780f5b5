"""stations.md, "Reports and the rest": how stations report, answer and upload, and what simulators send that is valid and odd."""

from __future__ import annotations

import random
import string
from typing import Any

import pytest
from msgspec import json

from tests.support.field import PASSWORD, VERSIONS, VERSIONS_2X, Station, World, at, sampled, token_status
from tests.support.raw_station import RawStation

HEARTBEAT = {"component": "OCPPCommCtrlr", "variable": "HeartbeatInterval"}


def path(station: Station, rest: str) -> str:
    """A resource of the station."""
    return f"/charging-stations/{station.id}/{rest}"


async def command(world: World, station: Station, **body: Any) -> Any:
    """A command that is waited for."""
    answer = await world.rest.post(path(station, "commands?wait_s=20"), json=body)
    assert answer.status_code < 300, answer.text
    return answer.json()


def variable(name: str, value: str) -> dict[str, Any]:
    """An item of a NotifyReport."""
    return {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": name},
        "variableAttribute": [{"value": value}],
    }


async def values(world: World, station: Station) -> dict[str, str]:
    """The station's device model in REST."""
    return {one["variable"]: one["value"] for one in (await world.get(path(station, "variables")))["items"]}


# -- line 1: boots and statuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_status_of_connector_0_without_a_time_and_with_free_text(world: World, version: str) -> None:
    """Line 1: connector 0 or EVSE 0 connector 0 in status; no timestamp; free `info`."""
    station = await world.station(version)
    if version == "1.6":
        whole: dict[str, Any] = {"connectorId": 0, "status": "Unavailable", "errorCode": "NoError"}
        free = {"connectorId": 1, "status": "Faulted", "errorCode": "OtherError", "info": "Schütz klebt; ☎ 0815"}
    else:
        whole = {"evseId": 0, "connectorId": 0, "connectorStatus": "Unavailable"}
        free = {"evseId": 1, "connectorId": 1, "connectorStatus": "Faulted", "info": "Schütz klebt; ☎ 0815"}
    assert await station.call("StatusNotification", whole) == {}
    seen = await station.view()
    assert seen["evses"] == []
    assert seen["status"] == "Unavailable"
    assert await station.call("StatusNotification", free) == {}
    (evse,) = (await station.view())["evses"]
    assert (evse["evse_id"], evse["status"]) == (1, "Faulted")
    page = await world.eventually(
        lambda: world.get(path(station, "messages"), action="StatusNotification"),
        lambda found: len(found["items"]) == 2,
    )
    assert page["items"][0]["payload"]["info"] == "Schütz klebt; ☎ 0815"


# -- line 2: reports ---------------------------------------------------------------------------------------------------------


def reporting(station: Station, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Makes the station answer a request for a report; what it was asked is collected."""
    asked: list[dict[str, Any]] = []

    def said(frame: list[Any]) -> list[Any]:
        asked.append(frame[3])
        return [3, frame[1], answer]

    for action in ("GetBaseReport", "GetReport"):
        station.answers[action] = said
    return asked


async def told(station: Station, request_id: int, seq_no: int, items: list[Any], **more: Any) -> None:
    """A part of a report."""
    report = {"requestId": request_id, "generatedAt": at(0), "seqNo": seq_no, "reportData": items} | more
    await station.call("NotifyReport", report)


async def ended(world: World, station: Station, request_id: int) -> Any:
    """The request for variables of this number when it has ended."""

    def of(page: Any) -> list[Any]:
        return [one for one in page["items"] if one["request_id"] == request_id and one["finished_at"]]

    return of(await world.eventually(lambda: world.get(path(station, "requests"), kind="variables"), of, 20))[0]


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_report_of_which_part_0_never_arrives(world: World, version: str) -> None:
    """Line 2: part 0 never arrives, only the last part: what came is kept, what was known stays, the report is incomplete."""
    station = await world.station(version, settings={"read_variables": False})
    await told(station, 77_000_001, 0, [variable("HeartbeatInterval", "300"), variable("ResetRetries", "1")])
    asked = reporting(station, {"status": "Accepted"})
    assert (await command(world, station, type="get_base_report"))["state"] == "accepted"
    await told(station, asked[0]["requestId"], 1, [variable("HeartbeatInterval", "60")], tbc=False)
    assert (await ended(world, station, asked[0]["requestId"]))["state"] == "incomplete"
    assert await values(world, station) == {"HeartbeatInterval": "60", "ResetRetries": "1"}


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_report_whose_last_part_is_an_empty_list_and_none_says_that_more_comes(
    world: World, version: str
) -> None:
    """Line 2: a part with an empty list; `tbc` absent, before another part as well."""
    station = await world.station(version, settings={"read_variables": False})
    asked = reporting(station, {"status": "Accepted"})
    assert (await command(world, station, type="get_base_report"))["state"] == "accepted"
    ident = asked[0]["requestId"]
    await told(station, ident, 0, [variable("HeartbeatInterval", "300")])
    await told(station, ident, 1, [variable("ResetRetries", "1")])
    await told(station, ident, 2, [])
    assert (await ended(world, station, ident))["state"] == "complete"
    wanted = {"HeartbeatInterval": "300", "ResetRetries": "1"}
    await world.eventually(lambda: values(world, station), lambda found: found == wanted)


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_full_list_for_a_criterion_that_the_station_does_not_know(world: World, version: str) -> None:
    """Line 2: a full list for an unknown criterion: all of it is kept, and nothing is taken for gone by it."""
    station = await world.station(version, settings={"read_variables": False})
    await told(station, 77_000_001, 0, [variable("Kept", "1")])
    asked = reporting(station, {"status": "Accepted"})
    done = await command(world, station, type="get_report", criteria=["problem"])
    assert done["state"] == "accepted", done
    assert asked[0]["componentCriteria"] == ["Problem"]
    await told(station, asked[0]["requestId"], 0, [variable(f"V{n}", str(n)) for n in range(40)], tbc=False)
    assert (await ended(world, station, asked[0]["requestId"]))["state"] == "complete"
    found = await values(world, station)
    assert found == {"Kept": "1"} | {f"V{n}": str(n) for n in range(40)}


# -- line 3: answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("field", ["listVersion", "versionNumber"])
async def test_list_version_in_the_field_of_either_version(world: World, version: str, field: str) -> None:
    """Line 3: GetLocalListVersion answered with the 1.6 field; the other way round it is read as well."""
    station = await world.station(version)
    station.answers["GetLocalListVersion"] = {field: 7}
    done = await command(world, station, type="get_local_list_version")
    assert (done["state"], done["reply"]) == ("accepted", {"version": 7})


@pytest.mark.parametrize("version", VERSIONS)
async def test_composite_schedule_with_limit_minus_1_and_a_start_between_seconds(world: World, version: str) -> None:
    """Line 3: a composite schedule with limit -1; startPeriod 591.217."""
    station = await world.station(version)
    periods = [{"startPeriod": 0, "limit": 16.0}, {"startPeriod": 591.217, "limit": -1}]
    schedule: dict[str, Any] = {"chargingRateUnit": "A", "chargingSchedulePeriod": periods}
    if version == "1.6":
        answer = {"status": "Accepted", "connectorId": 1, "scheduleStart": at(0), "chargingSchedule": schedule}
    else:
        whole = schedule | {"evseId": 1, "duration": 3600, "scheduleStart": at(0)}
        answer = {"status": "Accepted", "schedule": whole}
    station.answers["GetCompositeSchedule"] = answer
    done = await command(world, station, type="get_composite_schedule", evse_id=1, duration_s=3600, unit="A")
    assert done["state"] == "accepted", done
    first, second = done["reply"]["periods"]
    assert (first["start_s"], float(first["limit"])) == (0, 16)
    assert second["start_s"] == 591
    assert second.get("limit") is None  # -1 is no limit


async def test_16_all_keys_whatever_was_asked(world: World) -> None:
    """Line 3: GetConfiguration returns all keys whatever was asked: each question finds its answer, the rest is kept."""
    station = await world.station("1.6", settings={"read_variables": False})
    keys = [{"key": f"Key{n}", "readonly": False, "value": str(n)} for n in range(60)]
    keys.append({"key": "HeartbeatInterval", "readonly": False, "value": "240"})
    station.answers["GetConfiguration"] = {"configurationKey": keys}
    done = await command(world, station, type="get_variables", variables=[HEARTBEAT])
    assert done["state"] == "accepted", done
    assert next(one["value"] for one in done["reply"]["results"] if one["variable"] == "HeartbeatInterval") == "240"
    assert (await values(world, station))["HeartbeatInterval"] == "240"


@pytest.mark.parametrize("version", VERSIONS)
async def test_change_that_is_accepted_and_read_back_as_it_was(world: World, version: str) -> None:
    """Line 3: "Accepted" for every change: what it did is read back and told."""
    station = await world.station(version, settings={"read_variables": False})
    _variables(station, "300")
    changed = await world.rest.patch(
        path(station, "variables?wait_s=20"), json={"variables": [{**HEARTBEAT, "value": "60"}]}
    )
    (item,) = changed.json()["variables"]
    assert (changed.json()["state"], item["state"], item["has"]) == ("failed", "mismatch", "300")


@pytest.mark.parametrize("version", VERSIONS)
async def test_value_that_is_accepted_and_not_told(world: World, version: str) -> None:
    """Line 3: Accepted without the value: no value is made up, and what was known stays unless it is told."""
    station = await world.station(version, settings={"read_variables": False})
    _variables(station, None)
    done = await command(world, station, type="get_variables", variables=[HEARTBEAT])
    assert done["state"] == "accepted", done
    assert [one.get("value") for one in done["reply"]["results"]] == [None]
    changed = await world.rest.patch(
        path(station, "variables?wait_s=20"), json={"variables": [{**HEARTBEAT, "value": "60"}]}
    )
    (item,) = changed.json()["variables"]
    assert (changed.json()["state"], item["state"]) == ("succeeded", "accepted")
    assert item["reason"] == "The station does not tell the value."


def _variables(station: Station, value: str | None) -> None:
    """Every change is accepted; what is read is always this."""
    name = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
    station.answers["ChangeConfiguration"] = {"status": "Accepted"}
    station.answers["SetVariables"] = {"setVariableResult": [{**name, "attributeStatus": "Accepted"}]}
    told_16 = {"key": "HeartbeatInterval", "readonly": False} | ({"value": value} if value is not None else {})
    told_2x = {**name, "attributeStatus": "Accepted"} | ({"attributeValue": value} if value is not None else {})
    station.answers["GetConfiguration"] = {"configurationKey": [told_16]}
    station.answers["GetVariables"] = {"getVariableResult": [told_2x]}


# -- line 4: uploads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_new_log_cancels_the_old_and_says_so(world: World, version: str) -> None:
    """Line 4: a new GetLog cancels the old (AcceptedCanceled). The uploads themselves: tests/e2e/test_files.py, tests/edges/test_ftp.py."""
    station = await world.station(version)
    made = []
    for word in ("Accepted", "AcceptedCanceled"):
        station.answers["GetLog"] = {"status": word, "filename": "log.txt"}
        answer = await world.rest.post(path(station, "logs?wait_s=20"), json={"kind": "diagnostics"})
        assert answer.status_code < 300, answer.text
        made.append(answer.json())
    assert made[1]["state"] == "open"
    await world.eventually(lambda: world.get(f"/uploads/{made[0]['id']}"), lambda seen: seen["state"] == "canceled")


@pytest.mark.parametrize("version", VERSIONS)
async def test_request_id_0_after_a_trigger(world: World, version: str) -> None:
    """Line 4: request id 0 after a trigger is a request of its own, and no error."""
    station = await world.station(version)
    calls: list[tuple[str, dict[str, Any], str]] = [
        ("LogStatusNotification", {"status": "Uploading", "requestId": 0}, "log"),
        ("FirmwareStatusNotification", {"status": "Downloading", "requestId": 0}, "firmware"),
    ]
    if version == "1.6":
        calls[1] = ("SignedFirmwareStatusNotification", {"status": "Downloading", "requestId": 0}, "firmware")
    for action, payload, kind in calls:
        assert await station.call(action, payload | {"status": "Idle"}) == {}, action
        assert await station.call(action, payload) == {}, action

        async def requests(kind: str = kind) -> Any:
            return (await world.get(path(station, "requests"), kind=kind))["items"]

        (one,) = await world.eventually(requests, bool)
        assert (one["request_id"], one["status"]) == (None, payload["status"])  # of no request of ours


# -- line 5: random and valid ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_messages_of_the_csms_sent_by_a_station(world: World, version: str) -> None:
    """Line 5: no boot first, CSMS-side actions sent by the station: they are known and not supported, and it goes on."""
    station = await world.station(version, boot=False)
    calls: dict[str, dict[str, Any]] = {
        "Reset": {"type": "Soft" if version == "1.6" else "Immediate"},
        "ClearCache": {},
        "GetLocalListVersion": {},
        "TriggerMessage": {"requestedMessage": "Heartbeat"},
    }
    for action, payload in calls.items():
        frame = await station.frame(action, payload)
        assert (frame[0], frame[2]) == (4, "NotSupported"), frame
    assert "currentTime" in await station.call("Heartbeat", {})
    assert station.close_code is None


@pytest.mark.parametrize("version", VERSIONS)
async def test_random_tags_and_a_stop_for_transaction_1(world: World, version: str) -> None:
    """Line 5: no boot first, 20-character random tags, stop for transaction 1."""
    chance = random.Random(5)
    station = await world.station(version, boot=False)
    for _ in range(10):
        tag = "".join(chance.choices(string.printable.strip(), k=20))
        asked = {"idTag": tag} if version == "1.6" else {"idToken": {"idToken": tag, "type": "ISO14443"}}
        answer = token_status(await station.call("Authorize", asked))
        assert answer == ("Invalid" if version == "1.6" else "Unknown")
    charge = station.charge(ocpp_id="1", tag=tag)
    frame = await station.frame(*charge.ended(1500, 20, tag))
    assert frame[0] == 3, frame
    one = await station.transaction()
    assert (one["state"], one["energy_wh"], one["flags"]) == ("closed", 0, ["opened_by_stop", "start_unconfirmed"])


# -- line 6: broken ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_message_ids_and_payloads_that_are_none(world: World, version: str) -> None:
    """Line 6: message id not a string, payload missing or not an object, message type 99: answered where that can be, and it goes on."""
    station = await world.station(version)
    for text in (
        '[2,17,"Heartbeat",{}]',
        '[2,null,"Heartbeat",{}]',
        '[2,{"a":1},"Heartbeat",{}]',
        '[2,"p1","Heartbeat"]',
        '[2,"p2","Heartbeat","text"]',
        '[2,"p3","StatusNotification",[1,2]]',
        '[99,"p4","Heartbeat",{}]',
        "[2]",
        "[]",
        '{"a":1}',
        "17",
    ):
        station.raw.send(text)
        assert "currentTime" in await station.call("Heartbeat", {}), text
    frame = await station.text('[2,"p5","StatusNotification","text"]', "p5")
    assert frame[0] == 4, frame
    assert station.close_code is None


@pytest.mark.parametrize("version", VERSIONS)
async def test_frames_over_128_kb_are_taken_and_endless_ones_end_their_own_socket_alone(
    world: World, version: str
) -> None:
    """Line 6: frames over 128 KB."""
    station, neighbour = await world.station(version), await world.station(version)
    charge = station.charge()
    await charge.start(0, 0)
    many = [sampled(version, n, at(n / 100), measurand="Energy.Active.Import.Register") for n in range(1500)]
    action, payload = charge.updated(0, 20, meterValue=many)
    assert 128 * 1024 < len(json.encode(payload)) < 256 * 1024
    await station.call(action, payload)
    assert (await station.transaction())["energy_wh"] == 1499
    station.raw.send(b'[2,"big","DataTransfer",{"vendorId":"' + b"x" * 300_000 + b'"}]')
    await station.until(lambda: station.close_code is not None, 20)
    assert station.close_code == 1009
    assert "currentTime" in await neighbour.call("Heartbeat", {})
    again = charge.station = await world.plug(station.id, version)
    await charge.end(1600, 30)
    assert (await again.transaction())["energy_wh"] == 1600


@pytest.mark.parametrize("version", VERSIONS)
async def test_invalid_subprotocol(world: World, version: str) -> None:
    """Line 6: invalid subprotocol: the handshake ends without one, and the socket is closed; beside a known one it harms nothing."""
    station_id = await world.register()
    for offered, kept in (("ocpp9.9", None), ("soap, ocpp1.5", None), (f"ocpp9.9, ocpp{version}", f"ocpp{version}")):
        raw = await RawStation.dial(world.server.ocpp.ports[0])
        answer = await raw.upgrade(f"/ocpp/{station_id}", protocols=offered, auth=f"{station_id}:{PASSWORD}".encode())
        assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (101, kept)
        if kept is None:
            assert await raw.close_code() == 1002
        raw.hang_up()


@pytest.mark.parametrize("version", VERSIONS)
async def test_text_in_place_of_numbers(world: World, version: str) -> None:
    """Line 6: text in place of numbers: read as the number where it is one, counted, and the energy is right."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0, **({"connectorId": "1"} if version == "1.6" else {"seqNo": "0"}))
    if version == "1.6":
        end: dict[str, Any] = {"transactionId": charge.ocpp_id, "meterStop": "1700"}
    else:
        end = {"seqNo": "1", "evse": {"id": "1", "connectorId": "1"}}
    await charge.end(1700, 20, **end)
    one = await station.transaction()
    assert (one["energy_wh"], one["state"], one["evse_id"]) == (700, "closed", 1)
    assert await station.quirks("text_for_number", least=2)


@pytest.mark.parametrize("version", VERSIONS)
async def test_sql_in_strings_is_text(world: World, version: str) -> None:
    """Line 6: SQL in strings: kept as it came, in tags, vendors and free text."""
    sql = "'; DROP TABLE transaction; --"
    station = await world.station(version, boot=False)
    if version == "1.6":
        boot: dict[str, Any] = {"chargePointVendor": sql[:20], "chargePointModel": "M", "firmwareVersion": sql}
    else:
        boot = {"reason": "PowerUp", "chargingStation": {"vendorName": sql, "model": "M", "firmwareVersion": sql}}
    assert (await station.call("BootNotification", boot))["status"] == "Accepted"
    charge = station.charge(tag=sql)
    await charge.start(1000, 0)
    await charge.end(1500, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["id_token"]) == (500, sql)
    assert (await station.view())["firmware"] == sql
    assert one["id"] in [each["id"] for each in (await world.get("/transactions", id_token=sql))["items"]]
