"""Nothing a peer sends raises, is left without an answer that is due, or is kept in memory."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest

from chargeplane.ocpp import (
    CallReceived,
    CallRepeated,
    CallUndecodable,
    Connection,
    ErrorCode,
    ErrorReceived,
    Event,
    FrameRefused,
    LateOrForeignAnswer,
    OcppVersion,
    ResultErrorReceived,
    ResultReceived,
    Role,
    SendReceived,
)
from chargeplane.ocpp.frames import MAX_MESSAGE_ID
from tests.ocpp.hostile import FORGIVEN, HOSTILE

EVENTS = (
    CallReceived,
    CallRepeated,
    CallUndecodable,
    ErrorReceived,
    FrameRefused,
    LateOrForeignAnswer,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
)
CODES = {version: {code.spelled(version) for code in ErrorCode} for version in OcppVersion}


def check_error_frame(frame: bytes, version: OcppVersion) -> None:
    kind, message_id, code, description, details = json.loads(frame)
    assert kind == 4
    assert isinstance(message_id, str)
    assert len(message_id) <= MAX_MESSAGE_ID
    assert code in CODES[version]
    assert 0 < len(description) <= 255
    assert details == {}


def handled(connection: Connection, data: bytes) -> Event:
    """Receives and answers as an edge would; checks what goes out."""
    event = connection.receive(data, 0.0)
    assert isinstance(event, EVENTS)
    if isinstance(event, FrameRefused):
        assert event.problem.description
        if event.reply is not None:
            check_error_frame(event.reply, connection.version)
    elif isinstance(event, CallUndecodable):
        problem = event.problem
        check_error_frame(connection.refuse(event.message_id, problem.code, problem.description), connection.version)
    elif isinstance(event, CallReceived):
        connection.reply_raw(event.message_id, b"{}")
    return event


@pytest.mark.parametrize("version", list(OcppVersion))
@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_frame_gets_a_clear_error(version: OcppVersion, name: str) -> None:
    data = HOSTILE[name]
    event = handled(Connection(version), data)
    if data.lstrip()[:2] in (b"[3", b"[4") or (version is OcppVersion.V21 and data[:2] in (b"[5", b"[6")):
        assert not isinstance(event, FrameRefused) or event.reply is None
    elif isinstance(event, CallReceived):
        assert name in ("SQL", "decimal 1E-999999")
    else:
        assert isinstance(event, CallUndecodable) or (isinstance(event, FrameRefused) and event.reply is not None)


@pytest.mark.parametrize("version", list(OcppVersion))
@pytest.mark.parametrize("name", list(FORGIVEN))
def test_an_odd_frame_is_understood(version: OcppVersion, name: str) -> None:
    event = Connection(version).receive(FORGIVEN[name], 0.0)
    assert isinstance(event, CallReceived)


def test_a_frame_whose_id_cannot_be_read_is_answered_under_minus_one() -> None:
    for version in OcppVersion:
        for name in ("text", "id as number", "id of a megabyte", "deep arrays", "lone surrogate in the id"):
            event = Connection(version).receive(HOSTILE[name], 0.0)
            assert isinstance(event, FrameRefused)
            assert event.reply is not None
            assert json.loads(event.reply)[1] == "-1"


def test_a_broken_frame_whose_id_can_be_read_is_answered_under_it() -> None:
    for name in ("truncated in the action", "type 99", "action as number", "no action"):
        event = Connection(OcppVersion.V201).receive(HOSTILE[name], 0.0)
        assert isinstance(event, FrameRefused)
        assert event.reply is not None
        assert json.loads(event.reply)[1] == "m1"


def test_a_truncated_transaction_message_is_known_as_one() -> None:
    event = Connection(OcppVersion.V16).receive(HOSTILE["truncated in the payload"], 0.0)
    assert isinstance(event, CallUndecodable)
    assert event.spec.transactional


def test_hostile_frames_leave_nothing_in_memory() -> None:
    connection = Connection(OcppVersion.V21)
    frames = list(HOSTILE.values())
    for data in frames:
        handled(connection, data)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            for data in frames:
                handled(connection, data)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 64 * 1024


RIGHT = [
    b'[2,"m1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]',
    b'[2,"m1","MeterValues",{"connectorId":1,"transactionId":7,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z",'
    b'"sampledValue":[{"value":"1.5","unit":"kWh","measurand":"Energy.Active.Import.Register"}]}]}]',
    b'[2,"m1","TransactionEvent",{"eventType":"Updated","timestamp":"2026-01-31T12:00:00Z","triggerReason":"Trigger",'
    b'"seqNo":1,"transactionInfo":{"transactionId":"x"},"meterValue":[{"timestamp":"2026-01-31T12:00:00Z",'
    b'"sampledValue":[{"value":1.5,"signedMeterValue":{"signedMeterData":"a","signingMethod":"b",'
    b'"encodingMethod":"c","publicKey":"d"}}]}],"customData":{"vendorId":"v","more":[1,2.5,null]}}]',
    b'[3,"open",{"status":"Accepted"}]',
    b'[4,"open","GenericError","why",{"a":1}]',
    b'[5,"m1","FormatViolation","why",{}]',
    b'[6,"m1","NotifyPeriodicEventStream",{"id":1,"pending":0,"basetime":"x","data":[{"t":0,"v":"1"}]}]',
]
SPICES = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"-1", b"1e999", b"\\u0000", b"\\ud800", b"\xff", b"\x00",
          b"NaN", b"true", b'"sNaN"', b"9" * 30, b"[" * 2000, b"\xef\xbb\xbf"]  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The frame with one to four small faults."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                del changed[at : at + rng.randint(1, 20)]
            case 1:
                changed[at:at] = rng.choice(SPICES)
            case 2 if changed:
                changed[at % len(changed)] = rng.randrange(256)
            case 3:
                end = at + rng.randint(1, 30)
                changed[at:at] = changed[at:end]
            case _:
                end = at + rng.randint(1, 12)
                changed[at:end] = rng.choice(SPICES)
    return bytes(changed)


@pytest.mark.parametrize("version", list(OcppVersion))
@pytest.mark.parametrize("role", list(Role))
def test_mutated_frames_never_raise(version: OcppVersion, role: Role) -> None:
    rng = random.Random(f"{version} {role}")
    action = "ClearCache" if role is Role.CSMS else "Heartbeat"
    connection = Connection(version, role, repair=lambda action, payload, problem: payload.replace(b"null", b"1"))
    for n in range(4000):
        if connection.open_call is None:
            connection.call("open", action, b"{}", 10, 0.0)
        handled(connection, mutated(rng.choice(RIGHT), rng))
        if n % 100 == 0:
            connection.tick(1000.0)
    assert connection.calls_in_progress == 0
