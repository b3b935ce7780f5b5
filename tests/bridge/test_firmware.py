"""Firmware, logs, monitors and customer information on the wire, both ways, in the three versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from chargeplane.bridge.commands import outcome, to_call
from chargeplane.domain.commands import (
    CallOutcome,
    CallOutcomeKind,
    ClearVariableMonitoring,
    Command,
    CommandOutcome,
    CommandState,
    CustomerInformation,
    GetDiagnostics,
    GetLog,
    GetMonitoringReport,
    PublishFirmware,
    SetMonitoringBase,
    SetMonitoringLevel,
    SetVariableMonitoring,
    UnpublishFirmware,
    UpdateFirmware,
)
from chargeplane.domain.commands.diagnostics import CustomerCertificate, LogAnswer, LogKind
from chargeplane.domain.commands.monitoring import MonitorSetting, VariableCriterion
from chargeplane.domain.firmware import CustomerInformationPart, FirmwareStatus, LogStatus, PublishStatus
from chargeplane.domain.messages import IdToken, Notice
from chargeplane.domain.monitoring import (
    Monitor,
    MonitorCriterion,
    MonitoredVariable,
    MonitoringBase,
    MonitoringReportPart,
    MonitorKind,
    MonitorsCleared,
    MonitorsSet,
    StationEvent,
    StationEvents,
)
from chargeplane.kernel.errors import InvalidInputError, RuleError
from chargeplane.ocpp.catalogue import encode
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V16, V21, V201, take, validate

URL = "https://csms.example/files/fw.bin"
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
WIRE_AT = "2026-01-31T12:00:00.000Z"
TWO_X = pytest.mark.parametrize("version", [V201, V21])
POWER = MonitoredVariable(component="EVSE", evse_id=1, variable="Power")


def sent(version: OcppVersion, command: Command) -> tuple[str, Any]:
    action, request = to_call(version, command)
    payload = json.loads(encode(request))
    validate(version, f"{action}Request", payload)
    return action, payload


def answered(version: OcppVersion, command: Command, answer: Any) -> CommandOutcome:
    action, _ = to_call(version, command)
    call = CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="1", payload=json.dumps(answer).encode())
    return outcome(version, command, action, call)


def told(version: OcppVersion, action: str, **fields: Any) -> Any:
    notice = take(version, action, json.dumps(fields).encode())
    assert isinstance(notice, Notice)
    return notice.report


# --- firmware ---------------------------------------------------------------------------------------------------------


def test_unsigned_update_in_1_6() -> None:
    command = UpdateFirmware(location=URL, retrieve_at=AT, retries=3, retry_interval_s=60, request_id=7)
    assert sent(V16, command) == (
        "UpdateFirmware",
        {"location": URL, "retrieveDate": WIRE_AT, "retries": 3, "retryInterval": 60},
    )
    done = answered(V16, command, {})
    assert (done.state, done.status) == (CommandState.ACCEPTED, "Accepted")


def test_whitepaper_l01_signed_update_in_1_6() -> None:
    command = UpdateFirmware(
        location=URL, retrieve_at=AT, install_at=AT, signing_certificate="PEM", signature="abcd", request_id=7
    )
    firmware = {
        "location": URL,
        "retrieveDateTime": WIRE_AT,
        "installDateTime": WIRE_AT,
        "signingCertificate": "PEM",
        "signature": "abcd",
    }
    assert sent(V16, command) == ("SignedUpdateFirmware", {"requestId": 7, "firmware": firmware})
    refused = answered(V16, command, {"status": "InvalidCertificate"})
    assert (refused.state, refused.status) == (CommandState.REJECTED, "InvalidCertificate")
    assert "certificate" in (refused.reason or "")


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"install_at": AT}, "/install_at"),
        ({"signature": "abcd"}, "/signing_certificate"),
        ({"signing_certificate": "PEM"}, "/signature"),
    ],
)
def test_what_an_update_of_1_6_cannot_have_is_named(more: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        to_call(V16, UpdateFirmware(location=URL, **more))
    assert error.value.fields[0][0] == pointer


@TWO_X
def test_l01_l02_update_in_2x(version: OcppVersion) -> None:
    command = UpdateFirmware(location=URL, install_at=AT, signing_certificate="PEM", signature="abcd", request_id=7)
    action, payload = sent(version, command)
    assert action == "UpdateFirmware"
    assert payload["requestId"] == 7
    assert payload["firmware"]["signature"] == "abcd"
    assert payload["firmware"]["retrieveDateTime"] == "1970-01-01T00:00:00.000Z"  # at once, by every clock
    for word in ("Accepted", "AcceptedCanceled"):
        assert answered(version, command, {"status": word}).state is CommandState.ACCEPTED
    assert answered(version, command, {"status": "RevokedCertificate"}).state is CommandState.REJECTED


def test_too_long_urls_are_refused_by_version() -> None:
    long = URL + "x" * 600
    assert sent(V21, UpdateFirmware(location=long))[1]["firmware"]["location"] == long
    with pytest.raises(InvalidInputError, match="512"):
        to_call(V201, UpdateFirmware(location=long))
    with pytest.raises(InvalidInputError, match="512"):
        to_call(V16, GetLog(location=long))


@TWO_X
def test_l03_publish_and_l04_unpublish(version: OcppVersion) -> None:
    checksum = "AB" * 16
    publish = PublishFirmware(location=URL, checksum=checksum, retries=1, request_id=4)
    assert sent(version, publish) == (
        "PublishFirmware",
        {"location": URL, "checksum": checksum.lower(), "retries": 1, "requestId": 4},
    )
    unpublish = UnpublishFirmware(checksum=checksum)
    assert sent(version, unpublish) == ("UnpublishFirmware", {"checksum": checksum.lower()})
    assert answered(version, unpublish, {"status": "Unpublished"}).state is CommandState.ACCEPTED
    for word in ("NoFirmware", "DownloadOngoing"):
        assert answered(version, unpublish, {"status": word}).state is CommandState.REJECTED
    assert answered(version, unpublish, {}).state is CommandState.FAILED


@pytest.mark.parametrize(
    "command",
    [
        PublishFirmware(location=URL, checksum="0" * 32),
        UnpublishFirmware(checksum="0" * 32),
        CustomerInformation(identifier="c"),
        SetMonitoringLevel(severity=3),
        ClearVariableMonitoring(ids=(1,)),
        GetMonitoringReport(),
    ],
)
def test_what_1_6_lacks_says_since_when(command: Command) -> None:
    with pytest.raises(RuleError, match=r"2\.0\.1"):
        to_call(V16, command)


def test_firmware_statuses_of_all_versions_are_reports() -> None:
    assert told(V16, "FirmwareStatusNotification", status="Installed") == FirmwareStatus(status="Installed")
    assert told(V16, "SignedFirmwareStatusNotification", status="InvalidSignature", requestId=3) == FirmwareStatus(
        status="InvalidSignature", request_id=3
    )
    assert told(V201, "FirmwareStatusNotification", status="Idle") == FirmwareStatus(status="Idle")
    info = {"reasonCode": "LowBattery", "additionalInfo": "3 %"}
    assert told(V21, "FirmwareStatusNotification", status="DownloadPaused", requestId=3, statusInfo=info) == (
        FirmwareStatus(status="DownloadPaused", request_id=3, info="LowBattery, 3 %")
    )
    assert told(
        V201, "PublishFirmwareStatusNotification", status="Published", requestId=4, location=[URL]
    ) == PublishStatus(status="Published", request_id=4, locations=(URL,))


# --- logs -------------------------------------------------------------------------------------------------------------


def test_n01_log_in_the_three_versions() -> None:
    command = GetLog(location=URL, kind=LogKind.SECURITY, oldest_at=AT, retries=2, retry_interval_s=5, request_id=9)
    payload = {
        "log": {"remoteLocation": URL, "oldestTimestamp": WIRE_AT},
        "logType": "SecurityLog",
        "requestId": 9,
        "retries": 2,
        "retryInterval": 5,
    }
    for version in (V16, V201, V21):
        assert sent(version, command) == ("GetLog", payload)
        done = answered(version, command, {"status": "AcceptedCanceled", "filename": "a.log"})
        assert done.state is CommandState.ACCEPTED
        assert msgspec.json.decode(done.reply or b"", type=LogAnswer) == LogAnswer(filename="a.log")
    assert sent(V21, GetLog(location=URL, kind=LogKind.DATA_COLLECTOR))[1]["logType"] == "DataCollectorLog"
    for version in (V16, V201):
        with pytest.raises(InvalidInputError, match=r"2\.1"):
            to_call(version, GetLog(location=URL, kind=LogKind.DATA_COLLECTOR))


def test_diagnostics_are_mapped() -> None:
    command = GetDiagnostics(location=URL, oldest_at=AT, latest_at=AT, request_id=9)
    assert sent(V16, command) == ("GetDiagnostics", {"location": URL, "startTime": WIRE_AT, "stopTime": WIRE_AT})
    assert sent(V201, command)[1]["logType"] == "DiagnosticsLog"
    done = answered(V16, command, {"fileName": "d.zip"})
    assert done.state is CommandState.ACCEPTED
    assert msgspec.json.decode(done.reply or b"", type=LogAnswer).filename == "d.zip"
    assert answered(V16, command, {}).state is CommandState.REJECTED  # 1.6, 5.9: no file, no diagnostics


def test_log_statuses_of_all_versions_are_reports() -> None:
    assert told(V16, "DiagnosticsStatusNotification", status="UploadFailed") == LogStatus(status="UploadFailed")
    for version in (V16, V201, V21):
        assert told(version, "LogStatusNotification", status="Uploaded", requestId=2) == LogStatus(
            status="Uploaded", request_id=2
        )
        assert told(version, "LogStatusNotification", status="Idle") == LogStatus(status="Idle")


# --- customers --------------------------------------------------------------------------------------------------------


@TWO_X
def test_n09_n10_customer_information(version: OcppVersion) -> None:
    token = CustomerInformation(id_token=IdToken(value="04A1", type="ISO14443"), clear=True, request_id=5)
    action, payload = sent(version, token)
    assert action == "CustomerInformation"
    assert payload == {
        "requestId": 5,
        "report": True,
        "clear": True,
        "idToken": {"idToken": "04A1", "type": "ISO14443"},
    }
    hashes = CustomerCertificate(
        hash_algorithm="SHA256", issuer_name_hash="aa", issuer_key_hash="bb", serial_number="01"
    )
    assert sent(version, CustomerInformation(certificate=hashes))[1]["customerCertificate"]["hashAlgorithm"] == "SHA256"
    assert sent(version, CustomerInformation(identifier="c-1"))[1]["customerIdentifier"] == "c-1"
    for wrong in (
        CustomerInformation(),
        CustomerInformation(identifier="c", certificate=hashes),
        CustomerInformation(identifier="c", report=False),  # N09.FR.07
    ):
        with pytest.raises(InvalidInputError):
            to_call(version, wrong)
    part = told(version, "NotifyCustomerInformation", data="d", seqNo=1, generatedAt=WIRE_AT, requestId=5, tbc=True)
    assert part == CustomerInformationPart(request_id=5, seq_no=1, more=True, data="d")


@TWO_X
def test_what_a_customer_is_known_for_is_not_in_what_is_told_of_the_message(version: OcppVersion) -> None:
    fields = {"data": "Jane Doe", "seqNo": 0, "generatedAt": WIRE_AT, "requestId": 5}
    notice = take(version, "NotifyCustomerInformation", json.dumps(fields).encode())
    assert isinstance(notice, Notice)
    assert "Jane" not in (notice.tells or "")


# --- monitoring -------------------------------------------------------------------------------------------------------

UPPER = MonitorSetting(variable=POWER, kind=MonitorKind.UPPER_THRESHOLD, value=Decimal("11000.5"), severity=4)


@TWO_X
def test_n04_set_monitors(version: OcppVersion) -> None:
    command = SetVariableMonitoring(monitors=(UPPER, msgspec.structs.replace(UPPER, id=3, during_transactions=True)))
    action, payload = sent(version, command)
    assert action == "SetVariableMonitoring"
    plain = {
        "value": 11000.5,
        "type": "UpperThreshold",
        "severity": 4,
        "component": {"name": "EVSE", "evse": {"id": 1}},
        "variable": {"name": "Power"},
    }
    assert payload == {"setMonitoringData": [plain, {**plain, "id": 3, "transaction": True}]}
    result = {"type": "UpperThreshold", "severity": 4, "component": plain["component"], "variable": plain["variable"]}
    both = [{**result, "status": "Accepted", "id": 1000}, {**result, "status": "Duplicate"}]
    done = answered(version, command, {"setMonitoringResult": both})
    assert (done.state, done.status) == (CommandState.REJECTED, "Duplicate")
    assert "EVSE#1.Power UpperThreshold: Duplicate" in (done.reason or "")
    reply = msgspec.json.decode(done.reply or b"", type=MonitorsSet)
    assert [(one.variable, one.status, one.id) for one in reply.results] == [
        (POWER, "Accepted", 1000),
        (POWER, "Duplicate", None),
    ]
    assert answered(version, command, {"setMonitoringResult": both[:1]}).state is CommandState.ACCEPTED
    for nonsense in ({}, {"setMonitoringResult": []}, {"setMonitoringResult": "no"}):
        assert answered(version, command, nonsense).state is CommandState.FAILED


def test_n04_kinds_of_2_1_are_refused_in_2_0_1() -> None:
    command = SetVariableMonitoring(monitors=(msgspec.structs.replace(UPPER, kind=MonitorKind.TARGET_DELTA),))
    assert sent(V21, command)[1]["setMonitoringData"][0]["type"] == "TargetDelta"
    with pytest.raises(InvalidInputError) as error:
        to_call(V201, command)
    assert error.value.fields[0][0] == "/monitors/0/kind"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1E+999999"])
def test_n04_no_number_is_no_threshold(value: str) -> None:
    command = SetVariableMonitoring(monitors=(msgspec.structs.replace(UPPER, value=Decimal(value)),))
    with pytest.raises(InvalidInputError) as error:
        to_call(V21, command)
    assert error.value.fields[0][0] == "/monitors/0/value"


@TWO_X
def test_n06_clear_monitors(version: OcppVersion) -> None:
    command = ClearVariableMonitoring(ids=(1, 2))
    assert sent(version, command) == ("ClearVariableMonitoring", {"id": [1, 2]})
    gone = [{"id": 1, "status": "Accepted"}, {"id": 2, "status": "NotFound"}]
    done = answered(version, command, {"clearMonitoringResult": gone})
    assert done.state is CommandState.ACCEPTED
    assert len(msgspec.json.decode(done.reply or b"", type=MonitorsCleared).results) == 2
    kept = [{"id": 1, "status": "Rejected"}]
    assert answered(version, command, {"clearMonitoringResult": kept}).state is CommandState.REJECTED


@TWO_X
def test_n02_n03_n05_report_base_level(version: OcppVersion) -> None:
    ask = GetMonitoringReport(
        criteria=(MonitorCriterion.THRESHOLD, MonitorCriterion.PERIODIC),
        variables=(VariableCriterion(component="EVSE", evse_id=1), VariableCriterion(component="X", variable="Y")),
        request_id=6,
    )
    assert sent(version, ask) == (
        "GetMonitoringReport",
        {
            "requestId": 6,
            "monitoringCriteria": ["ThresholdMonitoring", "PeriodicMonitoring"],
            "componentVariable": [
                {"component": {"name": "EVSE", "evse": {"id": 1}}},
                {"component": {"name": "X"}, "variable": {"name": "Y"}},
            ],
        },
    )
    assert answered(version, ask, {"status": "EmptyResultSet"}).state is CommandState.REJECTED
    assert sent(version, GetMonitoringReport(request_id=6))[1] == {"requestId": 6}
    base = SetMonitoringBase(base=MonitoringBase.HARD_WIRED_ONLY)
    assert sent(version, base) == ("SetMonitoringBase", {"monitoringBase": "HardWiredOnly"})
    assert sent(version, SetMonitoringLevel(severity=4)) == ("SetMonitoringLevel", {"severity": 4})


@TWO_X
def test_n02_report_of_monitors(version: OcppVersion) -> None:
    each: dict[str, Any] = {"id": 1, "transaction": False, "value": 60, "type": "UpperThreshold", "severity": 4}
    if version is V21:
        each["eventNotificationType"] = "CustomMonitor"
    item = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
    report = told(
        version,
        "NotifyMonitoringReport",
        requestId=6,
        seqNo=0,
        generatedAt=WIRE_AT,
        monitor=[{**item, "variableMonitoring": [each]}],
        tbc=True,
    )
    origin = "CustomMonitor" if version is V21 else None
    monitor = Monitor(variable=POWER, id=1, kind="UpperThreshold", value=Decimal(60), severity=4, origin=origin)
    assert report == MonitoringReportPart(request_id=6, seq_no=0, more=True, monitors=(monitor,))
    empty = told(version, "NotifyMonitoringReport", requestId=6, seqNo=0, generatedAt=WIRE_AT)
    assert empty == MonitoringReportPart(request_id=6, seq_no=0, more=False, monitors=())


EVENT: dict[str, Any] = {
    "eventId": 11,
    "timestamp": WIRE_AT,
    "trigger": "Alerting",
    "actualValue": "61.5",
    "eventNotificationType": "CustomMonitor",
    "component": {"name": "EVSE", "evse": {"id": 1}},
    "variable": {"name": "Power"},
    "variableMonitoringId": 1000,
    "cause": 10,
    "techCode": "E1",
    "techInfo": "hot",
    "cleared": True,
    "transactionId": "T1",
}


@TWO_X
def test_n07_events(version: OcppVersion) -> None:
    more = {"severity": 3} if version is V21 else {}
    report = told(version, "NotifyEvent", generatedAt=WIRE_AT, seqNo=0, eventData=[{**EVENT, **more}])
    event = StationEvent(
        event_id=11,
        at=AT,
        trigger="Alerting",
        origin="CustomMonitor",
        variable=POWER,
        actual_value="61.5",
        cleared=True,
        transaction_id="T1",
        monitor_id=1000,
        severity=3 if version is V21 else None,
        cause=10,
        tech_code="E1",
        tech_info="hot",
    )
    assert report == StationEvents(seq_no=0, more=False, events=(event,))
    assert msgspec.json.decode(msgspec.json.encode(report), type=StationEvents) == report


@TWO_X
def test_n07_event_with_half_of_its_fields_is_kept(version: OcppVersion) -> None:
    bare = {key: EVENT[key] for key in ("component", "variable")}
    report = told(version, "NotifyEvent", eventData=[bare])
    assert report.events[0].variable == POWER
    assert report.events[0].trigger == "Alerting"
    assert report.events[0].at is None


@TWO_X
def test_names_and_numbers_of_no_station_are_bounded(version: OcppVersion) -> None:
    wild = {
        **EVENT,
        "component": {"name": "E" * 400, "evse": {"id": 1_634_030_126, "connectorId": -4}},
        "variable": {"name": "V" * 400, "instance": "\u0000"},
        "eventId": 2**31 - 1,
    }
    report = told(version, "NotifyEvent", generatedAt="yesterday", seqNo=-1, eventData=[wild])
    assert msgspec.json.decode(msgspec.json.encode(report), type=StationEvents) == report
    variable = report.events[0].variable
    assert (len(variable.component), variable.evse_id, variable.connector_id) == (50, 0, 0)
