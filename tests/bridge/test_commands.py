"""Version-free commands in the three versions, and how they ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chargeplane.bridge.commands import DONE, outcome, to_call
from chargeplane.domain.commands import (
    CallOutcome,
    CallOutcomeKind,
    ChangeAvailability,
    ClearCache,
    Command,
    CommandState,
    DeliverCertificate,
    GetTransactionStatus,
    Reset,
    ResetKind,
    Start,
    Stop,
    Trigger,
    Unlock,
)
from chargeplane.domain.messages import IdToken
from chargeplane.kernel.errors import InvalidInputError, RuleError
from chargeplane.ocpp.catalogue import encode
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V16, V21, V201, VERSIONS, schema, validate

TAG = IdToken(value="04A1B2")


def sent(version: OcppVersion, command: Command) -> tuple[str, Any]:
    """Action and payload of a command; the payload fits the official schema."""
    action, request = to_call(version, command)
    payload = json.loads(encode(request))
    validate(version, f"{action}Request", payload)
    return action, payload


@pytest.mark.parametrize(
    ("command", "action", "payload"),
    [
        (Start(id_token=TAG), "RemoteStartTransaction", {"idTag": "04A1B2"}),
        (
            Start(id_token=TAG, evse_id=2, remote_start_id=9),
            "RemoteStartTransaction",
            {"idTag": "04A1B2", "connectorId": 2},
        ),
        (Stop(ocpp_transaction_id="17"), "RemoteStopTransaction", {"transactionId": 17}),
        (Stop(ocpp_transaction_id="-1"), "RemoteStopTransaction", {"transactionId": -1}),
        (Unlock(evse_id=2), "UnlockConnector", {"connectorId": 2}),
        (Reset(), "Reset", {"type": "Soft"}),
        (Reset(kind=ResetKind.IMMEDIATE, evse_id=0), "Reset", {"type": "Hard"}),
        (Trigger(message="Heartbeat"), "TriggerMessage", {"requestedMessage": "Heartbeat"}),
        (
            Trigger(message="StatusNotification", evse_id=2, connector_id=1),
            "TriggerMessage",
            {"requestedMessage": "StatusNotification", "connectorId": 2},
        ),
        (
            Trigger(message="SignChargingStationCertificate"),
            "ExtendedTriggerMessage",
            {"requestedMessage": "SignChargePointCertificate"},
        ),
        (
            Trigger(message="LogStatusNotification"),
            "ExtendedTriggerMessage",
            {"requestedMessage": "LogStatusNotification"},
        ),
        (ChangeAvailability(operative=False), "ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}),
        (
            ChangeAvailability(operative=True, evse_id=2, connector_id=1),
            "ChangeAvailability",
            {"connectorId": 2, "type": "Operative"},
        ),
        (ClearCache(), "ClearCache", {}),
    ],
)
def test_commands_in_1_6(command: Command, action: str, payload: dict[str, Any]) -> None:
    assert sent(V16, command) == (action, payload)


@pytest.mark.parametrize("version", [V201, V21])
@pytest.mark.parametrize(
    ("command", "action", "payload"),
    [
        (
            Start(id_token=TAG, remote_start_id=9),
            "RequestStartTransaction",
            {"idToken": {"idToken": "04A1B2", "type": "Central"}, "remoteStartId": 9},
        ),
        (
            Start(id_token=IdToken(value="X", type="ISO14443"), remote_start_id=9, evse_id=2),
            "RequestStartTransaction",
            {"idToken": {"idToken": "X", "type": "ISO14443"}, "remoteStartId": 9, "evseId": 2},
        ),
        (Stop(ocpp_transaction_id="tx-1"), "RequestStopTransaction", {"transactionId": "tx-1"}),
        (Unlock(evse_id=2), "UnlockConnector", {"evseId": 2, "connectorId": 1}),
        (Reset(), "Reset", {"type": "OnIdle"}),
        (Reset(kind=ResetKind.IMMEDIATE, evse_id=3), "Reset", {"type": "Immediate", "evseId": 3}),
        (Trigger(message="Heartbeat"), "TriggerMessage", {"requestedMessage": "Heartbeat"}),
        (
            Trigger(message="MeterValues", evse_id=2),
            "TriggerMessage",
            {"requestedMessage": "MeterValues", "evse": {"id": 2}},
        ),
        (
            Trigger(message="StatusNotification", evse_id=2),
            "TriggerMessage",
            {"requestedMessage": "StatusNotification", "evse": {"id": 2, "connectorId": 1}},
        ),
        (ChangeAvailability(operative=False), "ChangeAvailability", {"operationalStatus": "Inoperative"}),
        (ChangeAvailability(operative=False, evse_id=0), "ChangeAvailability", {"operationalStatus": "Inoperative"}),
        (
            ChangeAvailability(operative=True, evse_id=2, connector_id=1),
            "ChangeAvailability",
            {"operationalStatus": "Operative", "evse": {"id": 2, "connectorId": 1}},
        ),
        (ClearCache(), "ClearCache", {}),
        (DeliverCertificate(chain="x"), "CertificateSigned", {"certificateChain": "x"}),
        (
            DeliverCertificate(chain="x", use="ChargingStationCertificate"),
            "CertificateSigned",
            {"certificateChain": "x", "certificateType": "ChargingStationCertificate"},
        ),
    ],
)
def test_commands_in_2_x(version: OcppVersion, command: Command, action: str, payload: dict[str, Any]) -> None:
    assert sent(version, command) == (action, payload)


def test_a_certificate_goes_out_with_the_request_id_where_the_version_has_one() -> None:
    command = DeliverCertificate(chain="x", use="ChargingStationCertificate", request_id=7)
    assert sent(V16, command) == ("CertificateSigned", {"certificateChain": "x"})
    assert "requestId" not in sent(V201, command)[1]
    assert sent(V21, command)[1]["requestId"] == 7
    for version in VERSIONS:
        with pytest.raises(InvalidInputError, match="at most 10000 characters"):
            to_call(version, DeliverCertificate(chain="x" * 10_001))


def test_1_6_has_no_reset_of_one_evse() -> None:
    with pytest.raises(RuleError, match="whole station only"):
        to_call(V16, Reset(evse_id=1))


@pytest.mark.parametrize("name", ["tx-1", "", "1.5", "99999999999", "2147483648", "\u0661", " 5", "1_0", "--5"])
def test_a_stop_in_1_6_needs_an_integer(name: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        to_call(V16, Stop(ocpp_transaction_id=name))
    assert refused.value.fields[0][0] == "/ocpp_transaction_id"


@pytest.mark.parametrize(
    ("version", "command", "pointer"),
    [
        (V16, Start(id_token=IdToken(value="A" * 21)), "/id_token/value"),
        (V16, Start(id_token=TAG, evse_id=0), "/evse_id"),
        (V16, Unlock(evse_id=0), "/connector_id"),
        (V16, Unlock(evse_id=1, connector_id=2), "/connector_id"),
        (V16, Unlock(evse_id=-1), "/evse_id"),
        (V16, Trigger(message="TransactionEvent"), "/message"),
        (V16, ChangeAvailability(operative=True, evse_id=1, connector_id=2), "/connector_id"),
        (V201, Start(id_token=TAG), "/remote_start_id"),
        (V201, Start(id_token=IdToken(value="A" * 37), remote_start_id=1), "/id_token/value"),
        (V201, Start(id_token=IdToken(value="A", type="VIN"), remote_start_id=1), "/id_token/type"),
        (V21, Start(id_token=IdToken(value="A", type="T" * 21), remote_start_id=1), "/id_token/type"),
        (V21, Start(id_token=TAG, remote_start_id=1, evse_id=0), "/evse_id"),
        (V201, Stop(ocpp_transaction_id=""), "/ocpp_transaction_id"),
        (V201, Stop(ocpp_transaction_id="t" * 37), "/ocpp_transaction_id"),
        (V201, Unlock(evse_id=0), "/evse_id"),
        (V201, Reset(evse_id=-4), "/evse_id"),
        (V201, Trigger(message="DiagnosticsStatusNotification"), "/message"),
        (V21, Trigger(message="CustomTrigger"), "/custom"),
        (V21, Trigger(message="Heartbeat", custom="x"), "/message"),
        (V201, Trigger(message="SignV2G20Certificate"), "/message"),
        (V201, Trigger(message="StatusNotification"), "/evse_id"),
        (V21, ChangeAvailability(operative=True, connector_id=1), "/evse_id"),
        (V21, ChangeAvailability(operative=True, evse_id=2**31), "/evse_id"),
    ],
)
def test_what_a_version_cannot_say_is_refused_by_field(version: OcppVersion, command: Command, pointer: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        to_call(version, command)
    assert refused.value.fields[0][0] == pointer
    assert refused.value.fields[0][1]
    assert str(refused.value).endswith(".")


def answered(command: Command, payload: bytes | dict[str, Any] | None, action: str = "X") -> Any:
    raw = payload if isinstance(payload, bytes) or payload is None else json.dumps(payload).encode()
    call = CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="1", payload=raw)
    ended = outcome(OcppVersion.V16, command, action, call)
    assert ended.call is call
    assert ended.action == action
    return ended


COMMANDS: list[Command] = [
    Start(id_token=TAG, remote_start_id=1),
    Stop(ocpp_transaction_id="1"),
    Unlock(evse_id=1),
    Reset(),
    Trigger(message="Heartbeat"),
    ChangeAvailability(operative=True),
    ClearCache(),
    DeliverCertificate(chain="x"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
def test_every_status_of_the_schema_is_accepted_or_rejected_with_a_reason(
    version: OcppVersion, command: Command
) -> None:
    action, _ = to_call(version, command)
    found = schema(version, f"{action}Response")
    status = found["properties"]["status"]
    words = status["enum"] if "enum" in status else found["definitions"][status["$ref"].rsplit("/", 1)[1]]["enum"]
    for word in words:
        ended = answered(command, {"status": word}, action)
        assert ended.status == word
        assert ended.state is (CommandState.ACCEPTED if word in DONE else CommandState.REJECTED)
        if ended.state is CommandState.REJECTED:
            assert ended.reason.endswith(".")
            assert ended.reason != f"The station answered {word}."


def test_scheduled_is_accepted_and_says_when() -> None:
    ended = answered(Reset(), {"status": "Scheduled"})
    assert ended.state is CommandState.ACCEPTED
    assert "when its transactions have ended" in ended.reason


def test_the_stations_own_reason_is_told() -> None:
    info = {"reasonCode": "UnsupportedEVSE", "additionalInfo": "no such EVSE"}
    ended = answered(Reset(evse_id=4), {"status": "Rejected", "statusInfo": info})
    assert ended.reason.endswith("It says: UnsupportedEVSE, no such EVSE")
    odd = answered(Reset(), {"status": "Rejected", "statusInfo": "text"})
    assert (odd.state, odd.status) == (CommandState.REJECTED, "Rejected")


def test_an_unknown_status_is_rejected_in_its_own_word() -> None:
    ended = answered(Stop(ocpp_transaction_id="1"), {"status": "Maybe"})
    assert (ended.state, ended.status, ended.reason) == (
        CommandState.REJECTED,
        "Maybe",
        "The station answered Maybe.",
    )


@pytest.mark.parametrize("payload", [b"{}", b"null", b"[]", b"{", None, b'{"status":5}', b'{"status":""}', b"[" * 9999])
def test_an_answer_without_a_status_is_a_failure(payload: bytes | None) -> None:
    ended = answered(Reset(), payload)
    assert ended.state is CommandState.FAILED
    assert "without a status" in ended.reason


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (CallOutcomeKind.TIMEOUT, CommandState.TIMED_OUT),
        (CallOutcomeKind.DISCONNECTED, CommandState.FAILED),
        (CallOutcomeKind.CALLERROR, CommandState.FAILED),
    ],
)
def test_a_call_without_a_result(kind: CallOutcomeKind, state: CommandState) -> None:
    call = CallOutcome(outcome=kind, message_id="1", error_code="NotSupported", error_description="no lock")
    ended = outcome(OcppVersion.V16, Unlock(evse_id=1), "UnlockConnector", call)
    assert ended.state is state
    assert ended.reason is not None
    if kind is CallOutcomeKind.CALLERROR:
        assert ended.status == "NotSupported"
        assert "no lock" in ended.reason


@pytest.mark.parametrize("version", [V201, V21])
def test_a_question_about_transactions_names_one_or_none(version: OcppVersion) -> None:
    assert sent(version, GetTransactionStatus()) == ("GetTransactionStatus", {})
    named = GetTransactionStatus(ocpp_transaction_id="T1")
    assert sent(version, named) == ("GetTransactionStatus", {"transactionId": "T1"})


@pytest.mark.parametrize("version", [V201, V21])
@pytest.mark.parametrize(
    ("payload", "status", "reply"),
    [
        (b'{"messagesInQueue":true,"ongoingIndicator":false}', "MessagesInQueue", (False, True)),
        (b'{"messagesInQueue":false}', "NothingInQueue", (None, False)),
    ],
)
def test_what_a_station_has_in_its_queue_is_told(
    version: OcppVersion, payload: bytes, status: str, reply: tuple[bool | None, bool]
) -> None:
    call = CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="1", payload=payload)
    ended = outcome(version, GetTransactionStatus(), "GetTransactionStatus", call)
    assert (ended.state, ended.status) == (CommandState.ACCEPTED, status)
    assert json.loads(ended.reply or b"") == {"ongoing": reply[0], "messages_in_queue": reply[1]}


def test_an_answer_about_transactions_that_says_nothing_is_a_failure() -> None:
    call = CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="1", payload=b"{}")
    assert outcome(V21, GetTransactionStatus(), "GetTransactionStatus", call).state is CommandState.FAILED


def test_1_6_cannot_be_asked_about_transactions() -> None:
    with pytest.raises(RuleError, match="by themselves"):
        to_call(V16, GetTransactionStatus())
