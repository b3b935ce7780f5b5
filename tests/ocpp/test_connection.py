"""The rules of one OCPP-J connection."""

from __future__ import annotations

import json

import pytest

from chargeplane.kernel.errors import LocalProtocolError, UnavailableError
from chargeplane.ocpp import (
    CallDisconnected,
    CallReceived,
    CallRepeated,
    CallTimedOut,
    CallUndecodable,
    Connection,
    ErrorCode,
    ErrorReceived,
    FrameRefused,
    LateOrForeignAnswer,
    OcppVersion,
    Problem,
    ResultErrorReceived,
    ResultReceived,
    Role,
    SendReceived,
    Severity,
    v16,
    v21,
)
from chargeplane.ocpp.connection import MAX_QUEUED, REMEMBERED_ANSWERS

V16, V201, V21 = OcppVersion.V16, OcppVersion.V201, OcppVersion.V21

HEARTBEAT = b'[2,"m1","Heartbeat",{}]'
AUTHORIZE = b'[2,"m1","Authorize",{"idTag":"AABB"}]'
HEARTBEAT_ANSWER = v16.HeartbeatResponse(current_time="2026-01-31T12:00:00.000Z")
STOP = b'[2,"%b","StopTransaction",{"transactionId":7,"meterStop":%d,"timestamp":"2026-01-31T12:00:00Z"}]'


def received(connection: Connection, data: bytes, now: float = 0.0) -> CallReceived:
    event = connection.receive(data, now)
    assert isinstance(event, CallReceived), event
    return event


def refused(connection: Connection, data: bytes) -> tuple[FrameRefused, list[object]]:
    event = connection.receive(data, 0.0)
    assert isinstance(event, FrameRefused), event
    assert event.reply is not None
    return event, json.loads(event.reply)


# ---------------------------------------------------------------- the peer's calls


def test_a_call_is_decoded_and_answered() -> None:
    connection = Connection(V16)
    event = received(connection, STOP % (b"m1", 4200))
    assert event.message_id == "m1"
    assert event.action == "StopTransaction"
    assert event.spec.transactional
    assert isinstance(event.request, v16.StopTransactionRequest)
    assert event.request.meter_stop == 4200
    assert json.loads(event.payload)["transactionId"] == 7
    assert len(event.content_hash) == 16
    assert event.repaired is None
    assert connection.waits("m1")
    assert connection.reply("m1", v16.StopTransactionResponse()) == b'[3,"m1",{}]'
    assert not connection.waits("m1")
    assert connection.calls_in_progress == 0


def test_a_call_is_refused_in_the_versions_spelling() -> None:
    old, new = Connection(V16), Connection(V201)
    received(old, HEARTBEAT)
    received(new, HEARTBEAT)
    assert json.loads(old.refuse("m1", ErrorCode.FORMAT_VIOLATION, "why")) == [4, "m1", "FormationViolation", "why", {}]
    answer = json.loads(new.refuse("m1", ErrorCode.FORMAT_VIOLATION, "x" * 300, b'{"a":1}'))
    assert answer == [4, "m1", "FormatViolation", "x" * 255, {"a": 1}]


def test_only_a_waiting_call_can_be_answered() -> None:
    connection = Connection(V16)
    with pytest.raises(LocalProtocolError):
        connection.reply("m1", HEARTBEAT_ANSWER)
    received(connection, HEARTBEAT)
    connection.reply("m1", HEARTBEAT_ANSWER)
    with pytest.raises(LocalProtocolError):
        connection.reply("m1", HEARTBEAT_ANSWER)


def test_a_repeated_frame_gets_the_stored_answer() -> None:
    connection = Connection(V16)
    first = received(connection, STOP % (b"m1", 1))
    answer = connection.reply("m1", v16.StopTransactionResponse())
    assert connection.receive(STOP % (b"m1", 1), 0.0) == CallRepeated("m1", first.spec, answer)
    assert connection.calls_in_progress == 0


def test_a_repeated_frame_gets_a_stored_refusal_too() -> None:
    connection = Connection(V16)
    received(connection, AUTHORIZE)
    answer = connection.refuse("m1", ErrorCode.INTERNAL_ERROR)
    event = connection.receive(AUTHORIZE, 0.0)
    assert isinstance(event, CallRepeated)
    assert event.answer == answer


def test_a_heartbeat_is_never_answered_with_an_old_time() -> None:
    connection = Connection(V16)
    received(connection, HEARTBEAT)
    connection.reply("m1", HEARTBEAT_ANSWER)
    assert isinstance(connection.receive(HEARTBEAT, 0.5), CallReceived)


def test_an_authorization_is_asked_again_after_a_minute_by_a_station_with_one_id_for_all() -> None:
    connection = Connection(V16)
    assert isinstance(connection.receive(AUTHORIZE, 1000.0), CallReceived)
    answer = connection.reply_raw("m1", b'{"idTagInfo":{"status":"Accepted"}}')
    event = connection.receive(AUTHORIZE, 1059.0)
    assert isinstance(event, CallRepeated)
    assert event.answer == answer
    assert isinstance(connection.receive(AUTHORIZE, 1062.0), CallReceived)


def test_a_transactions_message_is_recognised_however_late_it_is_repeated() -> None:
    connection = Connection(V16)
    connection.receive(STOP % (b"m1", 1), 1000.0)
    answer = connection.reply("m1", v16.StopTransactionResponse())
    event = connection.receive(STOP % (b"m1", 1), 90_000.0)
    assert isinstance(event, CallRepeated)
    assert event.answer == answer


def test_a_repeat_of_a_call_in_progress_is_ignored() -> None:
    connection = Connection(V16)
    received(connection, HEARTBEAT)
    event = connection.receive(HEARTBEAT, 0.0)
    assert isinstance(event, CallRepeated)
    assert event.answer is None
    assert connection.calls_in_progress == 1


def test_the_same_id_with_other_content_is_another_call() -> None:
    connection = Connection(V16)
    received(connection, STOP % (b"m1", 1))
    connection.reply("m1", v16.StopTransactionResponse())
    received(connection, STOP % (b"m1", 2))
    answer = connection.reply("m1", v16.StopTransactionResponse())
    event = connection.receive(STOP % (b"m1", 2), 0.0)
    assert isinstance(event, CallRepeated)
    assert event.answer == answer
    received(connection, STOP % (b"m1", 1))  # its answer gave way to the newer one of that id


def test_two_calls_under_one_id_are_both_answered() -> None:
    connection = Connection(V16)
    received(connection, STOP % (b"m1", 1))
    received(connection, STOP % (b"m1", 2))
    assert connection.calls_in_progress == 2
    assert isinstance(connection.receive(STOP % (b"m1", 1), 0.0), CallRepeated)
    connection.reply("m1", v16.StopTransactionResponse())
    assert connection.waits("m1")
    connection.reply("m1", v16.StopTransactionResponse())
    assert not connection.waits("m1")


def test_a_second_call_before_the_answer_is_taken_in_order_and_counted() -> None:
    connection = Connection(V16)
    received(connection, STOP % (b"m1", 1))
    assert connection.overlapping_calls == 0
    received(connection, STOP % (b"m2", 2))
    received(connection, STOP % (b"m3", 3))
    assert connection.overlapping_calls == 2
    assert connection.calls_in_progress == 3
    for message_id in ("m1", "m2", "m3"):
        connection.reply(message_id, v16.StopTransactionResponse())
    received(connection, STOP % (b"m4", 4))
    assert connection.overlapping_calls == 2


def test_only_the_last_answers_are_remembered() -> None:
    connection = Connection(V16)
    for n in range(REMEMBERED_ANSWERS + 1):
        received(connection, STOP % (b"m%d" % n, n))
        connection.reply(f"m{n}", v16.StopTransactionResponse())
    assert isinstance(connection.receive(STOP % (b"m1", 1), 0.0), CallRepeated)
    received(connection, STOP % (b"m0", 0))


def test_an_unknown_action_is_not_implemented() -> None:
    event, answer = refused(Connection(V16), b'[2,"m1","Frobnicate",{}]')
    assert event.severity is Severity.CALL
    assert answer[:3] == [4, "m1", "NotImplemented"]


def test_a_known_action_of_the_other_side_is_not_supported() -> None:
    _, answer = refused(Connection(V16), b'[2,"m1","Reset",{"type":"Hard"}]')
    assert answer[:3] == [4, "m1", "NotSupported"]
    _, answer = refused(Connection(V16, Role.STATION), HEARTBEAT)
    assert answer[:3] == [4, "m1", "NotSupported"]


def test_an_action_of_another_version_is_not_implemented() -> None:
    _, answer = refused(Connection(V201), b'[2,"m1","StartTransaction",{}]')
    assert answer[2] == "NotImplemented"


@pytest.mark.parametrize(
    "payload", [b'{"transactionId":,}', b'{"transactionId":"x"}', b"[]", b"5", b'{"meterStop":NaN}', b'{"a":"\xff"}']
)
def test_an_undecodable_transaction_message_can_still_get_a_result(payload: bytes) -> None:
    connection = Connection(V16)
    event = connection.receive(b'[2,"m1","StopTransaction",%b]' % payload, 0.0)
    assert isinstance(event, CallUndecodable)
    assert event.spec.transactional
    assert event.payload == payload
    assert event.problem.description
    assert connection.reply("m1", v16.StopTransactionResponse()) == b'[3,"m1",{}]'
    assert isinstance(connection.receive(b'[2,"m1","StopTransaction",%b]' % payload, 0.0), CallRepeated)


def test_a_call_without_payload_is_undecodable() -> None:
    event = Connection(V16).receive(b'[2,"m1","Authorize"]', 0.0)
    assert isinstance(event, CallUndecodable)
    assert event.problem.code is ErrorCode.PROTOCOL_ERROR


def test_null_stands_for_an_empty_payload() -> None:
    assert isinstance(received(Connection(V16), b'[2,"m1","Heartbeat",null]').request, v16.HeartbeatRequest)


# ---------------------------------------------------------------- repair


def test_repair_is_asked_only_where_decoding_fails() -> None:
    asked: list[tuple[str, bytes, Problem | None]] = []

    def repair(action: str, payload: bytes, problem: Problem | None) -> bytes | None:
        asked.append((action, payload, problem))
        return payload.replace(b'"7"', b"7")

    connection = Connection(V16, repair=repair)
    received(connection, STOP % (b"m1", 1))
    assert asked == []
    text_id = (STOP % (b"m2", 1)).replace(b":7,", b':"7",')
    event = received(connection, text_id)
    assert isinstance(event.request, v16.StopTransactionRequest)
    assert event.request.transaction_id == 7
    assert b'"7"' in event.payload
    assert event.repaired is not None
    assert b'"7"' not in event.repaired
    assert len(asked) == 1
    assert asked[0][2] is not None
    assert asked[0][2].pointer == "/transactionId"


def test_repair_of_broken_json_sees_the_text_after_the_action() -> None:
    def repair(action: str, payload: bytes, problem: Problem | None) -> bytes | None:
        return payload.replace(b'"transactionId":,', b'"transactionId":-1,')

    connection = Connection(V16, repair=repair)
    event = received(connection, (STOP % (b"m1", 1)).replace(b":7,", b":,"))
    assert isinstance(event.request, v16.StopTransactionRequest)
    assert event.request.transaction_id == -1


def test_repair_first_sees_a_right_payload_too() -> None:
    def repair(action: str, payload: bytes, problem: Problem | None) -> bytes | None:
        assert problem is None
        return payload.replace(b'"meterStop":1', b'"meterStop":1000')

    connection = Connection(V16, repair=repair, repair_first=frozenset({"StopTransaction"}))
    event = received(connection, STOP % (b"m1", 1))
    assert isinstance(event.request, v16.StopTransactionRequest)
    assert event.request.meter_stop == 1000


def test_what_repair_leaves_broken_is_undecodable() -> None:
    connection = Connection(V16, repair=lambda action, payload, problem: b"{")
    event = connection.receive(b'[2,"m1","Authorize",{}]', 0.0)
    assert isinstance(event, CallUndecodable)
    assert event.payload == b"{}"


# ---------------------------------------------------------------- our calls


def test_second_call_waits_for_first_answer() -> None:
    connection = Connection(V16)
    assert connection.call("a", "ClearCache", b"{}", 30, 0.0) == b'[2,"a","ClearCache",{}]'
    assert connection.call("b", "Reset", b'{"type":"Soft"}', 30, 1.0) is None
    assert (connection.open_call, connection.queued_calls) == ("a", 1)
    event = connection.receive(b'[3,"a",{"status":"Accepted"}]', 2.0)
    assert isinstance(event, ResultReceived)
    assert event.message_id == "a"
    assert event.response == v16.ClearCacheResponse(status=v16.ClearCacheStatus.ACCEPTED)
    assert event.latency_s == 2.0
    assert event.send == b'[2,"b","Reset",{"type":"Soft"}]'
    assert (connection.open_call, connection.queued_calls) == ("b", 0)


def test_timeout_counts_from_sending() -> None:
    connection = Connection(V16)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    connection.call("b", "ClearCache", b"{}", 10, 0.0)
    assert connection.deadline == 10.0
    assert connection.tick(9.9) is None
    event = connection.tick(10.0)
    assert isinstance(event, CallTimedOut)
    assert event.message_id == "a"
    assert event.send == b'[2,"b","ClearCache",{}]'
    assert connection.deadline == 20.0
    assert connection.tick(19.9) is None
    assert isinstance(connection.tick(20.0), CallTimedOut)
    assert connection.tick(1000.0) is None
    assert connection.deadline is None


def test_a_late_answer_is_never_matched_to_another_call() -> None:
    connection = Connection(V16)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    connection.call("b", "ClearCache", b"{}", 10, 0.0)
    connection.tick(10.0)
    assert connection.receive(b'[3,"a",{"status":"Accepted"}]', 11.0) == LateOrForeignAnswer("a", True)
    assert connection.receive(b'[4,"a","GenericError","",{}]', 11.0) == LateOrForeignAnswer("a", True)
    assert connection.open_call == "b"


def test_a_foreign_answer_is_dropped() -> None:
    connection = Connection(V16)
    assert connection.receive(b'[3,"x",{}]', 0.0) == LateOrForeignAnswer("x", False)
    assert connection.receive(b'[4,"-1","NotImplemented","",{}]', 0.0) == LateOrForeignAnswer("-1", False)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    assert connection.receive(b'[3,"x",{}]', 0.0) == LateOrForeignAnswer("x", False)
    assert connection.open_call == "a"


def test_an_error_without_readable_id_ends_the_open_call() -> None:
    connection = Connection(V16)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    connection.call("b", "ClearCache", b"{}", 10, 0.0)
    event = connection.receive(b'[4,"-1","NotImplemented","no such action",{}]', 1.0)
    assert isinstance(event, ErrorReceived)
    assert (event.message_id, event.code, event.description) == ("a", "NotImplemented", "no such action")
    assert event.send is not None


@pytest.mark.parametrize(
    ("frame", "code", "description", "details"),
    [
        (b'[4,"a","InternalError","%b",{"x":1}]' % (b"long\\n" * 200), "InternalError", "long\n" * 200, b'{"x":1}'),
        (b'[4,"a","InternalError"]', "InternalError", "", b"{}"),
        (b'[4,"a"]', "", "", b"{}"),
        (b'[4,"a",null,null,null]', "", "", b"{}"),
        (b'[4,"a",500,["x"],"y"]', "500", '["x"]', b"{}"),
        (b'[4,"a","InternalError","broken json]', "", "", b"{}"),
    ],
)
def test_an_error_of_any_shape_ends_the_call(frame: bytes, code: str, description: str, details: bytes) -> None:
    connection = Connection(V16)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    event = connection.receive(frame, 1.0)
    assert isinstance(event, ErrorReceived)
    assert (event.code, event.description, event.details) == (code, description, details)
    assert connection.open_call is None


@pytest.mark.parametrize("payload", [b'{"status":"Maybe"}', b"[]", b"{", b'{"status":"\xff"}'])
def test_an_answer_that_does_not_fit_still_ends_the_call(payload: bytes) -> None:
    connection = Connection(V16)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    event = connection.receive(b'[3,"a",%b]' % payload, 1.0)
    assert isinstance(event, ResultReceived)
    assert event.response is None
    assert event.problem is not None
    assert event.payload == payload
    assert connection.result_error("a", event.problem) is None  # 1.6 has no CALLRESULTERROR


def test_an_answer_without_payload_is_an_empty_one() -> None:
    connection = Connection(V16)
    connection.call("a", "UpdateFirmware", b"{}", 10, 0.0)
    event = connection.receive(b'[3,"a"]', 1.0)
    assert isinstance(event, ResultReceived)
    assert event.response == v16.UpdateFirmwareResponse()


def test_directions_are_independent() -> None:
    connection = Connection(V16)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    received(connection, b'[2,"a","Heartbeat",{}]')  # a call, though under the id of ours
    assert connection.open_call == "a"
    event = connection.receive(b'[3,"a",{"status":"Accepted"}]', 1.0)
    assert isinstance(event, ResultReceived)
    assert connection.waits("a")
    assert connection.reply("a", HEARTBEAT_ANSWER).startswith(b'[3,"a",{"currentTime"')


def test_a_withdrawn_call_is_not_sent() -> None:
    connection = Connection(V16)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    connection.call("b", "ClearCache", b"{}", 10, 0.0)
    assert connection.withdraw("b")
    assert not connection.withdraw("a")
    event = connection.receive(b'[3,"a",{"status":"Accepted"}]', 1.0)
    assert isinstance(event, ResultReceived)
    assert event.send is None


def test_closing_ends_every_call() -> None:
    connection = Connection(V16)
    received(connection, HEARTBEAT)
    connection.call("a", "ClearCache", b"{}", 10, 0.0)
    connection.call("b", "Reset", b"{}", 10, 0.0)
    ended = connection.closed()
    assert [(e.message_id, e.sent) for e in ended] == [("a", True), ("b", False)]
    assert all(isinstance(e, CallDisconnected) for e in ended)
    assert connection.closed() == ()
    assert connection.calls_in_progress == 0


def test_the_queue_is_bounded() -> None:
    connection = Connection(V16)
    for n in range(MAX_QUEUED + 1):
        connection.call(str(n), "ClearCache", b"{}", 10, 0.0)
    with pytest.raises(UnavailableError):
        connection.call("more", "ClearCache", b"{}", 10, 0.0)


def test_we_send_only_what_is_ours() -> None:
    connection = Connection(V16)
    with pytest.raises(LocalProtocolError, match="no action"):
        connection.call("a", "Frobnicate", b"{}", 10, 0.0)
    with pytest.raises(LocalProtocolError, match="not sent by the CSMS"):
        connection.call("a", "Heartbeat", b"{}", 10, 0.0)
    station = Connection(V16, Role.STATION)
    assert station.call("a", "Heartbeat", b"{}", 10, 0.0) is not None
    with pytest.raises(LocalProtocolError, match="not sent by the station"):
        station.call("b", "Reset", b"{}", 10, 0.0)
    assert Connection(V16).call("a", "DataTransfer", b"{}", 10, 0.0) is not None


# ---------------------------------------------------------------- OCPP 2.1


STREAM = b'{"id":1,"pending":0,"basetime":"2026-01-31T12:00:00Z","data":[{"t":0,"v":"230.4"}]}'


def test_a_send_is_taken_and_not_answered() -> None:
    connection = Connection(V21)
    event = connection.receive(b'[6,"m1","NotifyPeriodicEventStream",%b]' % STREAM, 0.0)
    assert isinstance(event, SendReceived)
    assert isinstance(event.request, v21.NotifyPeriodicEventStream)
    assert not connection.waits("m1")


@pytest.mark.parametrize(
    "frame",
    [
        b'[6,"m1","Heartbeat",{}]',
        b'[6,"m1","Frobnicate",{}]',
        b'[6,"m1"]',
        b"[6]",
        b'[6,"m1","Frobnicate",{',
        b'[5,"m1',
    ],
)
def test_a_wrong_send_gets_no_answer(frame: bytes) -> None:
    event = Connection(V21).receive(frame, 0.0)
    assert isinstance(event, FrameRefused)
    assert event.reply is None


@pytest.mark.parametrize("payload", [b"{}", b"{"])
def test_an_undecodable_send_is_reported(payload: bytes) -> None:
    event = Connection(V21).receive(b'[6,"m1","NotifyPeriodicEventStream",%b]' % payload, 0.0)
    assert isinstance(event, SendReceived)
    assert event.request is None
    assert event.problem is not None


def test_an_action_for_send_is_not_taken_as_a_call() -> None:
    _, answer = refused(Connection(V21), b'[2,"m1","NotifyPeriodicEventStream",%b]' % STREAM)
    assert answer[2] == "NotSupported"
    station = Connection(V21, Role.STATION)
    with pytest.raises(LocalProtocolError):
        station.call("a", "NotifyPeriodicEventStream", STREAM, 10, 0.0)
    assert station.send("a", "NotifyPeriodicEventStream", STREAM).startswith(b'[6,"a","NotifyPeriodicEventStream",{')
    with pytest.raises(LocalProtocolError):
        station.send("a", "Heartbeat", b"{}")


def test_result_errors_travel_in_2_1() -> None:
    connection = Connection(V21)
    event = connection.receive(b'[5,"m1","FormatViolation","cannot read it",{"a":1}]', 0.0)
    assert event == ResultErrorReceived("m1", "FormatViolation", "cannot read it", b'{"a":1}')
    frame = connection.result_error("m1", Problem(ErrorCode.FORMAT_VIOLATION, "why"))
    assert frame is not None
    assert json.loads(frame) == [5, "m1", "FormatViolation", "why", {}]


@pytest.mark.parametrize("version", [V16, V201])
@pytest.mark.parametrize("kind", [5, 6])
def test_message_types_of_2_1_are_unknown_before(version: OcppVersion, kind: int) -> None:
    _, answer = refused(Connection(version), b'[%d,"m1","NotifyPeriodicEventStream",{}]' % kind)
    assert answer[:3] == [4, "m1", "GenericError" if version is V16 else "MessageTypeNotSupported"]
