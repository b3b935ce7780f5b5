"""B05 to B09 and 1.6 5.3, 5.8 on the wire: what is asked in each version, and what the answers mean."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from chargeplane.bridge.commands import outcome, to_call
from chargeplane.domain.commands import (
    ApnAccess,
    CallOutcome,
    CallOutcomeKind,
    Command,
    CommandOutcome,
    CommandState,
    GetBaseReport,
    GetReport,
    GetVariables,
    ReportBase,
    ReportCriterion,
    ReportTarget,
    Reset,
    ResetKind,
    SetNetworkProfile,
    SetVariables,
    VariableAnswers,
    VpnAccess,
)
from chargeplane.domain.messages import Notice
from chargeplane.domain.variables import Attribute, VariableName, VariableSetting
from chargeplane.kernel.errors import InvalidInputError, RuleError
from chargeplane.ocpp.catalogue import encode
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V16, V21, V201, take, validate

TWO_X = pytest.mark.parametrize("version", [V201, V21])
INTERVAL = VariableName(component="OCPPCommCtrlr", variable="HeartbeatInterval")


def sent(version: OcppVersion, command: Command) -> tuple[str, Any]:
    action, request = to_call(version, command)
    payload = json.loads(encode(request))
    validate(version, f"{action}Request", payload)
    return action, payload


def ended(version: OcppVersion, command: Command, answer: Any) -> CommandOutcome:
    action, _ = to_call(version, command)
    payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return outcome(
        version, command, action, CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="1", payload=payload)
    )


def told(one: CommandOutcome) -> list[tuple[str, str, str | None]]:
    assert one.reply is not None
    return [
        (each.variable, each.status, each.value)
        for each in msgspec.json.decode(one.reply, type=VariableAnswers).results
    ]


# --- B05 Set Variables, B06 Get Variables -----------------------------------------------------------------------------


@TWO_X
def test_b06_get_variables_names_component_evse_instance_and_attribute(version: OcppVersion) -> None:
    name = VariableName(
        component="Connector",
        component_instance="left",
        evse_id=2,
        connector_id=1,
        variable="ACCurrent",
        variable_instance="L1",
        attribute=Attribute.MAX_SET,
    )
    assert sent(version, GetVariables(variables=(name, INTERVAL))) == (
        "GetVariables",
        {
            "getVariableData": [
                {
                    "component": {"name": "Connector", "instance": "left", "evse": {"id": 2, "connectorId": 1}},
                    "variable": {"name": "ACCurrent", "instance": "L1"},
                    "attributeType": "MaxSet",
                },
                {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}},
            ]
        },
    )


@TWO_X
def test_b05_set_variables_takes_a_standard_1_6_key(version: OcppVersion) -> None:
    setting = VariableSetting(variable="MeterValueSampleInterval", value="30")
    assert sent(version, SetVariables(variables=(setting,))) == (
        "SetVariables",
        {
            "setVariableData": [
                {
                    "component": {"name": "SampledDataCtrlr"},
                    "variable": {"name": "TxUpdatedInterval"},
                    "attributeValue": "30",
                }
            ]
        },
    )


@TWO_X
def test_a_key_that_2_x_does_not_have_is_refused_before_it_is_sent(version: OcppVersion) -> None:
    with pytest.raises(InvalidInputError) as refused:
        to_call(version, GetVariables(variables=(INTERVAL, VariableName(variable="AcmeLedColour"))))
    assert refused.value.fields[0][0] == "/variables/1/component"
    with pytest.raises(InvalidInputError) as refused:
        to_call(version, GetVariables(variables=(VariableName(component="C", variable="V", connector_id=1),)))
    assert refused.value.fields[0][0] == "/variables/0/evse_id"


def test_values_fit_their_version() -> None:
    long = SetVariables(variables=(VariableSetting(component="C", variable="V", value="x" * 1001),))
    sent(V21, long)
    with pytest.raises(InvalidInputError):
        to_call(V201, long)
    with pytest.raises(InvalidInputError):
        to_call(V16, SetVariables(variables=(VariableSetting(variable="V", value="x" * 501),)))


def result(variable: str, status: str, component: str = "OCPPCommCtrlr", **more: Any) -> dict[str, Any]:
    return {"attributeStatus": status, "component": {"name": component}, "variable": {"name": variable}, **more}


@TWO_X
def test_b06_answers_in_any_order_find_their_questions(version: OcppVersion) -> None:
    ask = GetVariables(
        variables=(
            INTERVAL,
            VariableName(component="C", variable="Gone"),
            VariableName(component="C", variable="Silent"),
        )
    )
    one = ended(
        version,
        ask,
        {
            "getVariableResult": [
                result("gone", "UnknownVariable", "c", attributeStatusInfo={"reasonCode": "NotFound"}),
                result("HeartbeatInterval", "Accepted", attributeValue="300", attributeType="Actual"),
            ]
        },
    )
    assert one.state is CommandState.ACCEPTED
    assert told(one) == [
        ("HeartbeatInterval", "Accepted", "300"),
        ("Gone", "UnknownVariable", None),
        ("Silent", "NotAnswered", None),
    ]
    assert one.reason == (
        "The station did not read 2 of 3 variables: C/Gone: it has no such variable. It says: NotFound"
    )


@TWO_X
def test_b06_a_station_that_misnames_what_it_answers_is_read_by_place(version: OcppVersion) -> None:
    one = ended(
        version,
        GetVariables(variables=(INTERVAL,)),
        {"getVariableResult": [result("Interval", "Accepted", attributeValue="7")]},
    )
    assert told(one) == [("HeartbeatInterval", "Accepted", "7")]


@TWO_X
def test_b06_fr_09_what_is_write_only_is_not_kept_though_a_station_tells_it(version: OcppVersion) -> None:
    password = VariableName(component="SecurityCtrlr", variable="BasicAuthPassword")
    answer = {"getVariableResult": [result("BasicAuthPassword", "Accepted", "SecurityCtrlr", attributeValue="secret")]}
    assert told(ended(version, GetVariables(variables=(password,)), answer)) == [
        ("BasicAuthPassword", "Accepted", None)
    ]


@TWO_X
@pytest.mark.parametrize(
    ("words", "state", "status"),
    [
        (["Accepted", "Accepted"], CommandState.ACCEPTED, "Accepted"),
        (["Accepted", "RebootRequired"], CommandState.ACCEPTED, "RebootRequired"),
        (["Accepted", "Rejected"], CommandState.REJECTED, "Rejected"),
        (["UnknownComponent", "Rejected"], CommandState.REJECTED, "UnknownComponent"),
    ],
)
def test_b05_a_change_is_accepted_when_every_variable_was(
    version: OcppVersion, words: list[str], state: CommandState, status: str
) -> None:
    ask = SetVariables(variables=tuple(VariableSetting(component="C", variable=f"V{n}", value="1") for n in range(2)))
    answer = {"setVariableResult": [result(f"V{n}", word, "C") for n, word in enumerate(words)]}
    one = ended(version, ask, answer)
    assert (one.state, one.status) == (state, status)
    assert [status for _, status, _ in told(one)] == words


@TWO_X
@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b'{"setVariableResult":[{"attributeStatus":3}]}', b"\xff", b'{"a":' * 3000]
)
def test_an_answer_that_says_nothing_changes_nothing(version: OcppVersion, answer: bytes) -> None:
    one = ended(version, SetVariables(variables=(VariableSetting(component="C", variable="V", value="1"),)), answer)
    assert one.state in (CommandState.REJECTED, CommandState.FAILED)


# --- 1.6, 5.3 Change Configuration, 5.8 Get Configuration -------------------------------------------------------------


def test_1_6_5_8_variables_are_read_by_their_keys() -> None:
    ask = GetVariables(
        variables=(INTERVAL, VariableName(variable="heartbeatinterval"), VariableName(variable="AcmeLed"))
    )
    assert sent(V16, ask) == ("GetConfiguration", {"key": ["HeartbeatInterval", "AcmeLed"]})
    assert sent(V16, GetBaseReport()) == ("GetConfiguration", {})


def test_1_6_5_8_all_keys_are_answered_whatever_was_asked() -> None:
    answer = {
        "configurationKey": [
            {"key": "MeterValueSampleInterval", "readonly": False, "value": "60"},
            {"key": "heartbeatInterval", "readonly": False, "value": "300"},
            {"key": "AcmeLed", "readonly": True},
            {"key": "AuthorizationKey", "readonly": False, "value": "73656372657473656372657473656372657473656372"},
        ],
        "unknownKey": ["AcmeGone"],
    }
    ask = GetVariables(
        variables=(INTERVAL, *(VariableName(variable=key) for key in ("AcmeLed", "AcmeGone", "AcmeSilent")))
    )
    one = ended(V16, ask, answer)
    assert told(one) == [
        ("HeartbeatInterval", "Accepted", "300"),
        ("AcmeLed", "Accepted", None),
        ("AcmeGone", "UnknownVariable", None),
        ("AcmeSilent", "NotAnswered", None),
    ]
    everything = msgspec.json.decode(ended(V16, GetBaseReport(), answer).reply or b"", type=VariableAnswers).results
    assert [(each.component, each.variable, each.value, each.mutability) for each in everything] == [
        ("SampledDataCtrlr", "TxUpdatedInterval", "60", "ReadWrite"),
        ("OCPPCommCtrlr", "HeartbeatInterval", "300", "ReadWrite"),
        (None, "AcmeLed", None, "ReadOnly"),
        ("SecurityCtrlr", "BasicAuthPassword", None, "ReadWrite"),
    ]


def test_1_6_5_8_nothing_known_is_a_refusal() -> None:
    one = ended(V16, GetVariables(variables=(VariableName(variable="AcmeGone"),)), {"unknownKey": ["acmegone"]})
    assert (one.state, one.status) == (CommandState.REJECTED, "UnknownVariable")


def test_1_6_5_3_one_key_at_a_time_in_the_words_of_1_6() -> None:
    unit = VariableSetting(component="SmartChargingCtrlr", variable="RateUnit", value="A,W")
    assert sent(V16, SetVariables(variables=(unit,))) == (
        "ChangeConfiguration",
        {"key": "ChargingScheduleAllowedChargingRateUnit", "value": "Current,Power"},
    )
    with pytest.raises(RuleError):
        to_call(V16, SetVariables(variables=(unit, unit)))


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Accepted", CommandState.ACCEPTED),
        ("RebootRequired", CommandState.ACCEPTED),
        ("Rejected", CommandState.REJECTED),
        ("NotSupported", CommandState.REJECTED),
    ],
)
def test_1_6_5_3_every_status_of_a_change(word: str, state: CommandState) -> None:
    one = ended(V16, SetVariables(variables=(VariableSetting(variable="AcmeLed", value="1"),)), {"status": word})
    assert (one.state, one.status) == (state, word)
    assert told(one) == [("AcmeLed", word, None)]


def test_1_6_has_keys_of_the_whole_station_with_one_value() -> None:
    for name in (
        VariableName(component="EVSE", variable="Power", evse_id=1),
        VariableName(variable="HeartbeatInterval", attribute=Attribute.TARGET),
    ):
        with pytest.raises(InvalidInputError):
            to_call(V16, GetVariables(variables=(name,)))


# --- B07, B08 reports -------------------------------------------------------------------------------------------------


@TWO_X
@pytest.mark.parametrize(
    ("base", "word"),
    [
        (ReportBase.FULL_INVENTORY, "FullInventory"),
        (ReportBase.CONFIGURATION_INVENTORY, "ConfigurationInventory"),
        (ReportBase.SUMMARY_INVENTORY, "SummaryInventory"),
    ],
)
def test_b07_base_reports(version: OcppVersion, base: ReportBase, word: str) -> None:
    assert sent(version, GetBaseReport(report=base, request_id=7)) == (
        "GetBaseReport",
        {"requestId": 7, "reportBase": word},
    )
    with pytest.raises(InvalidInputError):
        to_call(version, GetBaseReport(report=base))


@TWO_X
def test_b08_custom_report_by_criteria_and_targets(version: OcppVersion) -> None:
    ask = GetReport(
        request_id=8,
        criteria=(ReportCriterion.PROBLEM, ReportCriterion.ACTIVE),
        targets=(ReportTarget(component="EVSE", evse_id=1), ReportTarget(component="EVSE", variable="Power")),
    )
    assert sent(version, ask) == (
        "GetReport",
        {
            "requestId": 8,
            "componentCriteria": ["Problem", "Active"],
            "componentVariable": [
                {"component": {"name": "EVSE", "evse": {"id": 1}}},
                {"component": {"name": "EVSE"}, "variable": {"name": "Power"}},
            ],
        },
    )
    assert sent(version, GetReport(request_id=8)) == ("GetReport", {"requestId": 8})
    one = ended(version, ask, {"status": "EmptyResultSet"})
    assert (one.state, one.reason) == (CommandState.REJECTED, "The station has nothing that fits.")


def test_b08_1_6_has_no_report_by_criteria() -> None:
    with pytest.raises(RuleError):
        to_call(V16, GetReport())
    with pytest.raises(RuleError):
        to_call(V16, GetBaseReport(report=ReportBase.SUMMARY_INVENTORY))


# --- B09 network profiles ---------------------------------------------------------------------------------------------


def test_b09_network_profile_of_2_0_1() -> None:
    ask = SetNetworkProfile(
        slot=1,
        url="wss://csms.example/ocpp",
        security_profile=2,
        apn=ApnAccess(apn="internet", authentication="PAP", user="u", password="p"),
        vpn=VpnAccess(server="vpn.example", type="IPSec", user="u", password="p", key="k"),
    )
    action, payload = sent(V201, ask)
    assert action == "SetNetworkProfile"
    assert payload == {
        "configurationSlot": 1,
        "connectionData": {
            "ocppVersion": "OCPP20",
            "ocppTransport": "JSON",
            "ocppCsmsUrl": "wss://csms.example/ocpp",
            "messageTimeout": 30,
            "securityProfile": 2,
            "ocppInterface": "Wired0",
            "apn": {"apn": "internet", "apnAuthentication": "PAP", "apnUserName": "u", "apnPassword": "p"},
            "vpn": {"server": "vpn.example", "type": "IPSec", "user": "u", "password": "p", "key": "k"},
        },
    }


def test_b09_identity_and_password_came_with_2_1() -> None:
    ask = SetNetworkProfile(
        slot=0,
        url="wss://c",
        security_profile=2,
        identity="CP-1",
        password="x" * 20,
        interface="Any",
        ocpp_version="2.1",
    )
    _, payload = sent(V21, ask)
    assert payload["connectionData"] == {
        "ocppVersion": "OCPP21",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": "wss://c",
        "messageTimeout": 30,
        "securityProfile": 2,
        "ocppInterface": "Any",
        "identity": "CP-1",
        "basicAuthPassword": "x" * 20,
    }
    with pytest.raises(InvalidInputError):
        to_call(V201, ask)
    with pytest.raises(RuleError):
        to_call(V16, ask)
    one = ended(V21, ask, {"status": "Failed"})
    assert (one.state, one.status) == (CommandState.REJECTED, "Failed")


# --- B13 ---------------------------------------------------------------------------------------------------------------


def test_b13_only_2_1_resumes_transactions_after_a_reset() -> None:
    ask = Reset(kind=ResetKind.IMMEDIATE_AND_RESUME, evse_id=1)
    assert sent(V21, ask) == ("Reset", {"type": "ImmediateAndResume", "evseId": 1})
    for version in (V16, V201):
        with pytest.raises(RuleError):
            to_call(version, Reset(kind=ResetKind.IMMEDIATE_AND_RESUME))


# --- what is reported --------------------------------------------------------------------------------------------------


@TWO_X
def test_b07_fr_03_a_report_tells_no_write_only_value(version: OcppVersion) -> None:
    data = [
        {
            "component": {"name": component},
            "variable": {"name": variable},
            "variableAttribute": [{"value": "seen", "mutability": mutability}],
            "variableCharacteristics": {"dataType": "string", "supportsMonitoring": False},
        }
        for component, variable, mutability in (
            ("SecurityCtrlr", "BasicAuthPassword", "ReadWrite"),
            ("AcmeCtrlr", "Badge", "WriteOnly"),
            ("AcmeCtrlr", "Colour", "ReadWrite"),
        )
    ]
    payload = {"requestId": 0, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0, "reportData": data}
    message = take(version, "NotifyReport", json.dumps(payload).encode())
    assert isinstance(message, Notice)
    assert [one.value for one in message.variables] == [None, None, "seen"]
