"""Raw calls and commands over REST."""

from __future__ import annotations

import asyncio

from chargeplane.domain.commands import CommandState, Start, Stop
from tests.support.rest import Rest, StationDouble, assert_problem

CALLS = "/v1/charging-stations/CP1/calls"
COMMANDS = "/v1/charging-stations/CP1/commands"
JSON = {"Content-Type": "application/json"}


async def test_a_raw_call_goes_out_as_given_and_compact(rest: Rest) -> None:
    station = rest.stations.connected[await rest.station()] = StationDouble(answer=b'{"b": 1.50, "a": [ ]}')
    body = '{"action": "Foo", "timeout_s": 5, "payload": {"z": 1.0, "a" : [1e2, "\\u0041\\u0000"],\n "m": 12345678901234567890}}'
    response = await rest.client.post(CALLS, content=body, headers=JSON)
    assert response.status_code == 200, response.text
    assert station.calls == [("Foo", b'{"z":1.0,"a":[1e2,"\\u0041\\u0000"],"m":12345678901234567890}', 5.0)]
    assert b'"payload":{"b": 1.50, "a": [ ]}' in response.content
    assert response.json()["outcome"] == "callresult"
    assert response.json()["latency_ms"] == 1.5
    listed = (await rest.client.get(COMMANDS)).json()["items"][0]
    assert listed["type"] == "call"
    assert listed["state"] == "accepted"
    assert listed["request"]["payload"]["m"] == 12345678901234567890


async def test_a_callerror_is_an_outcome(rest: Rest) -> None:
    rest.stations.connected[await rest.station()] = StationDouble()
    answer = (await rest.client.post(CALLS, json={"action": "Unknown", "payload": {}})).json()
    assert answer["outcome"] == "callerror"
    assert answer["error_code"] == "NotImplemented"
    assert answer["error_details"] == {}
    assert "payload" not in answer


async def test_a_call_to_a_station_that_is_away_is_a_conflict(rest: Rest) -> None:
    await rest.station()
    assert_problem(await rest.client.post(CALLS, json={"action": "Foo"}), 409)
    assert_problem(await rest.client.post("/v1/charging-stations/none/calls", json={"action": "Foo"}), 404)


async def test_a_payload_that_does_not_fit_is_named(rest: Rest) -> None:
    rest.stations.connected[await rest.station()] = StationDouble()
    assert_problem(
        await rest.client.post(CALLS, json={"action": "Reset", "payload": {}}), 422, pointer="#/payload/type"
    )
    for body, pointer in (
        ({"action": "Foo", "payload": []}, "#/payload"),
        ({"action": "Foo", "payload": None}, "#/payload"),
        ({"action": "Föö"}, "#/action"),
        ({"action": "Foo", "timeout_s": 0}, "#/timeout_s"),
        ({"action": "Foo", "timeout_s": 1e9}, "#/timeout_s"),
        ({"payload": {}}, "#/action"),
        ({"action": "Foo", "extra": 1}, "#/extra"),
    ):
        assert_problem(await rest.client.post(CALLS, json=body), 422, pointer=pointer)
    deep = b'{"action":"Foo","payload":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001
    assert_problem(await rest.client.post(CALLS, content=deep, headers=JSON), 400)
    for payload in (b'{"a":1e400000}', b'{"a":NaN}', b'{"a":01}', b'{"a":"\\q"}', b'{"a":}', b"{,}"):
        body = b'{"action":"Foo","payload":' + payload + b"}"
        response = await rest.client.post(CALLS, content=body, headers=JSON)
        assert response.status_code < 500, (payload, response.text)


async def test_a_command_is_waited_for(rest: Rest) -> None:
    station = rest.stations.connected[await rest.station()] = StationDouble()
    response = await rest.client.post(f"{COMMANDS}?wait_s=30", json={"type": "start", "id_token": "AB", "evse_id": 1})
    assert response.status_code == 202, response.text
    body = response.json()
    assert body["state"] == "accepted"
    assert body["answer"] == {"status": "Accepted"}
    assert body["action"] == "RemoteStartTransaction"
    (start,) = station.commands
    assert isinstance(start, Start)
    assert start.id_token.value == "AB"
    assert start.remote_start_id == int(body["id"])
    assert (await rest.client.get(response.headers["location"])).json() == body


async def test_a_command_waits_until_its_station_is_there(rest: Rest) -> None:
    key = await rest.station()
    pending = await rest.client.post(COMMANDS, json={"type": "clear_cache"})
    assert pending.json()["state"] == "pending"
    station = StationDouble(accepted=False)
    rest.stations.connected[key] = station
    assert (await rest.client.get(pending.headers["location"])).json()["state"] == "pending"
    station.accepted = True
    async with asyncio.timeout(30):
        while (await rest.client.get(pending.headers["location"])).json()["state"] != "accepted":
            await asyncio.sleep(0.05)


async def test_a_command_expires(rest: Rest) -> None:
    await rest.station()
    gone = await rest.client.post(f"{COMMANDS}?wait_s=30", json={"type": "clear_cache", "expires_in_s": 0.1})
    assert gone.json()["state"] == "expired"
    assert gone.json()["reason"]


async def test_each_type_of_command_reaches_the_station(rest: Rest) -> None:
    station = rest.stations.connected[await rest.station()] = StationDouble(command_state=CommandState.REJECTED)
    for body in (
        {"type": "start", "id_token": {"id_token": "AB", "type": "Central"}},
        {"type": "stop", "ocpp_transaction_id": "17"},
        {"type": "unlock", "evse_id": 1},
        {"type": "reset", "kind": "immediate"},
        {"type": "trigger", "message": "Heartbeat"},
        {"type": "change_availability", "operative": False, "evse_id": 0},
        {"type": "clear_cache"},
    ):
        response = await rest.client.post(f"{COMMANDS}?wait_s=30", json=body)
        assert response.status_code == 202, response.text
        assert response.json()["state"] == "rejected"
        assert response.json()["type"] == body["type"]
    assert len(station.commands) == 7
    assert station.commands[1] == Stop(ocpp_transaction_id="17")
    first = (await rest.client.get(COMMANDS, params={"limit": 3})).json()
    assert [c["type"] for c in first["items"]] == ["clear_cache", "change_availability", "trigger"]
    assert (await rest.client.get(COMMANDS, params={"state": "accepted"})).json()["items"] == []
    assert_problem(await rest.client.get(COMMANDS, params={"state": "odd"}), 400, parameter="state")


async def test_wrong_commands_are_refused(rest: Rest) -> None:
    await rest.station()
    for body, pointer in (
        ({"type": "dance"}, "#/type"),
        ({}, "#/type"),
        ({"type": "start"}, "#/id_token"),
        ({"type": "start", "id_token": "A", "evse_id": 0}, "#/evse_id"),
        ({"type": "start", "id_token": "A", "colour": 1}, "#/colour"),
        ({"type": "stop"}, "#/transaction_id"),
        ({"type": "stop", "transaction_id": "17"}, "#/transaction_id"),
        ({"type": "stop", "transaction_id": "17", "ocpp_transaction_id": "1"}, "#/transaction_id"),
        ({"type": "reset", "kind": "hard"}, "#/kind"),
        ({"type": "unlock", "evse_id": 2**31}, "#/evse_id"),
    ):
        assert_problem(await rest.client.post(COMMANDS, json=body), 422, pointer=pointer)
    assert_problem(
        await rest.client.post(f"{COMMANDS}?wait_s=61", json={"type": "clear_cache"}), 400, parameter="wait_s"
    )
    assert_problem(
        await rest.client.post(f"{COMMANDS}?wait_s=nan", json={"type": "clear_cache"}), 400, parameter="wait_s"
    )
    assert_problem(await rest.client.get("/v1/commands/17"), 404)


async def test_variables_in_answers_become_the_device_model(rest: Rest) -> None:
    key = await rest.station()
    station = rest.stations.connected[key] = StationDouble(
        answer=b'{"configurationKey":[{"key":"A","readonly":true,"value":"1"},{"key":"B","readonly":false}]}'
    )
    assert (await rest.client.post(CALLS, json={"action": "GetConfiguration"})).status_code == 200
    station.answer = (
        b'{"getVariableResult":[{"attributeStatus":"Accepted","attributeValue":"30","component":{"name":"EVSE","evse":'
        b'{"id":2}},"variable":{"name":"Power"}},{"attributeStatus":"UnknownVariable","component":{"name":"X"},'
        b'"variable":{"name":"Y"}}]}'
    )
    assert (await rest.client.post(CALLS, json={"action": "GetVariables"})).status_code == 200
    station.answer = b'{"configurationKey":[{"key":"A","readonly":true,"value":"2"},{"key":"A","value":"3\\u0000"}]}'
    assert (await rest.client.post(CALLS, json={"action": "GetConfiguration"})).status_code == 200
    station.answer = b'{"configurationKey":7}'
    assert (await rest.client.post(CALLS, json={"action": "GetConfiguration"})).status_code == 200
    items = (await rest.client.get("/v1/charging-stations/CP1/variables")).json()["items"]
    assert [(v["component"], v["evse_id"], v["variable"], v["value"], v["mutability"]) for v in items] == [
        (None, None, "A", "3\ufffd", "ReadWrite"),
        (None, None, "B", None, "ReadWrite"),
        ("EVSE", 2, "Power", "30", None),
    ]
