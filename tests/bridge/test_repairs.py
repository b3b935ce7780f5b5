"""Repairs, each from a message as it was seen on the wire; names and numbers are replaced."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeplane.bridge import INCOMING, SENTENCES, Rule, mend_frame, repair
from chargeplane.bridge.repairs.shape import BUDGET
from chargeplane.bridge.repairs.syntax import MAX_BYTES, MAX_TOKENS
from chargeplane.domain.messages import (
    Boot,
    ConnectorState,
    ConnectorStatus,
    Heartbeat,
    IdToken,
    MeterReport,
    Notice,
    ReportKind,
    TransactionReport,
    Unusable,
)
from chargeplane.domain.variables import VariableReport
from chargeplane.ocpp.catalogue import CATALOGUE, decode_request
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V16, V21, V201, VERSIONS, take

T = "2026-01-31T12:00:00Z"
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def mended(version: OcppVersion, action: str, payload: bytes | dict[str, Any]) -> tuple[Any, set[Rule]]:
    """The domain message behind a payload that strict decoding refuses, and the rules that fired."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    with pytest.raises(Exception):  # noqa: B017 - a message that decodes needs no repair and tests none
        decode_request(version, action, raw)
    repaired = repair(version, action, raw)
    assert repaired is not None
    assert repaired.names
    return INCOMING[version][action](repaired.request), set(repaired.names)


def values16(*sampled: Any, **more: Any) -> dict[str, Any]:
    return {
        "connectorId": 1,
        "transactionId": 5,
        "meterValue": [{"timestamp": T, "sampledValue": list(sampled)}],
        **more,
    }


def event(**more: Any) -> dict[str, Any]:
    return {
        "eventType": "Updated",
        "timestamp": T,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": 3,
        "transactionInfo": {"transactionId": "tx-1"},
        **more,
    }


def values2x(**sampled: Any) -> list[dict[str, Any]]:
    return [{"timestamp": T, "sampledValue": [sampled]}]


def test_every_rule_has_a_sentence_for_the_operator() -> None:
    assert set(SENTENCES) == set(Rule)
    assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in SENTENCES.values())


# --- text that is not JSON ---


@pytest.mark.parametrize(
    ("raw", "rule", "value"),
    [
        (b'[2,"7","MeterValues",{"connectorId":1,"transactionId":,"meterValue":[]}]', Rule.JSON_VALUE_MISSING,
         [2, "7", "MeterValues", {"connectorId": 1, "transactionId": None, "meterValue": []}]),
        (b'{"a":}', Rule.JSON_VALUE_MISSING, {"a": None}),
        (b'{"a":[1,2,],"b":1,}', Rule.JSON_EXTRA_COMMA, {"a": [1, 2], "b": 1}),
        (b'{"a":1,,"b":2}', Rule.JSON_EXTRA_COMMA, {"a": 1, "b": 2}),
        (b'{"a":NaN}', Rule.JSON_NOT_A_NUMBER, {"a": None}),
        (b'{"a":-Infinity}', Rule.JSON_NOT_A_NUMBER, {"a": None}),
        (b'{"a":nan}', Rule.JSON_NOT_A_NUMBER, {"a": None}),
        (b'{"a":.5,"b":5.,"c":007,"d":+3,"e":-.5}', Rule.JSON_NUMBER_FORM, {"a": 0.5, "b": 5, "c": 7, "d": 3, "e": -0.5}),
        (b'{"a":True,"b":None,"c":undefined}', Rule.JSON_NUMBER_FORM, {"a": True, "b": None, "c": None}),
        (b'{"errorDescription":"line one\r\nline\ttwo"}', Rule.JSON_CONTROL_CHARACTER,
         {"errorDescription": "line one\r\nline\ttwo"}),
        (b'{"a":"it\\\'s \\x41 \\u12"}', Rule.JSON_ESCAPE, {"a": "it's \ufffd41 \ufffd12"}),
        (b'{"a":"half \\ud83d","b":"whole \\ud83d\\ude00"}', Rule.JSON_ESCAPE, {"a": "half \ufffd", "b": "whole \U0001f600"}),
        (b"\xef\xbb\xbf{}\x00\x00", Rule.JSON_PADDING, {}),
        (b'{"vendor":"Caf\xe9"}', Rule.TEXT_ENCODING, {"vendor": "Caf\ufffd"}),
    ],
)  # fmt: skip
def test_text_that_is_nearly_json_is_mended(raw: bytes, rule: Rule, value: Any) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        msgspec.json.decode(raw)
    found = mend_frame(raw)
    assert found is not None
    assert found.names == (rule,)
    assert msgspec.json.decode(found.text) == value


def test_text_inside_of_strings_is_left_alone() -> None:
    raw = rb'{"a":"x:, NaN ,] \" :} 007","b":,}'
    found = mend_frame(raw)
    assert found is not None
    assert msgspec.json.decode(found.text) == {"a": 'x:, NaN ,] " :} 007', "b": None}


def test_good_text_is_not_mended() -> None:
    assert mend_frame(b'[2,"1","Heartbeat",{"a":[1,-2.5e3,true,null,"x\\n\\u00e9"]}]') is None


@settings(max_examples=60, deadline=None, database=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_no_good_json_is_changed(value: Any) -> None:
    raw = json.dumps(value).encode()
    found = mend_frame(raw)
    if found is not None:  # half a surrogate pair alone
        assert found.names == (Rule.JSON_ESCAPE,)


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=200) | st.text('{}[]:,"\\-+.019eEnNaA \n', max_size=80).map(str.encode))
def test_no_bytes_raise(raw: bytes) -> None:
    mend_frame(raw)
    for version, action in ((V16, "MeterValues"), (V201, "TransactionEvent"), (V21, "BootNotification")):
        repair(version, action, raw)


@pytest.mark.parametrize(
    "unit", [b'"', b'\\"', b",", b"[,", b":", b": ", b"+", b"-", b"{", b", ", b"\\", b"\\u12", b"\x01", b"1.", b"nan"]
)  # fmt: skip
def test_the_scan_is_linear_in_hostile_text(unit: bytes) -> None:
    def cost(size: int) -> float:
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            mend_frame(unit * (size // len(unit)))
            mend_frame(b'{"' + unit * (size // len(unit)))
            best = min(best, time.process_time() - begin)
        return best

    # four times the text may not take ten times as long (quadratic work would take sixteen times)
    assert cost(MAX_BYTES - 10) < 10 * cost(MAX_BYTES // 4) + 0.005


@pytest.mark.parametrize("text", [b'"' + b"\x01" * MAX_TOKENS * 2 + b'"', b'{"a":NaN}' + b'""' * MAX_TOKENS])
def test_text_with_more_tokens_than_any_frame_is_given_up(text: bytes) -> None:
    assert len(text) < MAX_BYTES
    assert mend_frame(text) is None


def test_text_beyond_the_limit_is_not_scanned() -> None:
    assert mend_frame(b'{"a":NaN}') is not None
    assert mend_frame(b'{"a":NaN}' + b" " * MAX_BYTES) is None


# --- requirements/ocpp: too long serials, empty vendor, object for array, unknown units, null payloads ... ---


def test_a_serial_that_is_too_long_is_kept() -> None:
    serial = "SN-" + "1" * 60
    boot, names = mended(
        V16, "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M", "chargePointSerialNumber": serial}
    )
    assert boot == Boot(vendor="V", model="M", serial_number=serial)
    assert names == {Rule.TEXT_TOO_LONG}


def test_a_text_is_cut_at_what_the_database_keeps() -> None:
    payload = {"reason": "PowerUp", "chargingStation": {"model": "M" * 4000, "vendorName": "V"}}
    boot, names = mended(V201, "BootNotification", payload)
    assert boot.model == "M" * 255
    assert names == {Rule.TEXT_TOO_LONG}


def test_an_empty_vendor_is_none() -> None:
    payload = b'{"chargePointModel":"ACChargePoint","chargePointSerialNumber":"","chargePointVendor":""}'
    assert take(V16, "BootNotification", payload) == Boot(model="ACChargePoint")


def test_a_boot_without_vendor_and_model_is_taken() -> None:
    boot, names = mended(V16, "BootNotification", {"chargePointSerialNumber": "S"})
    assert boot == Boot(serial_number="S")
    assert names == {Rule.FIELD_MISSING}
    boot, names = mended(V21, "BootNotification", {"chargingStation": {"serialNumber": "S"}})
    assert boot == Boot(serial_number="S")


def test_an_object_where_a_list_belongs() -> None:
    payload = values16()
    payload["meterValue"] = {"timestamp": T, "sampledValue": {"value": "1500"}}
    report, names = mended(V16, "MeterValues", payload)
    assert report.readings[0].samples[0].value == 1500
    assert names == {Rule.OBJECT_FOR_LIST}


def test_a_list_where_an_object_belongs() -> None:
    report, names = mended(V201, "TransactionEvent", event(evse=[{"id": 2, "connectorId": 1}]))
    assert (report.evse_id, report.connector_id) == (2, 1)
    assert names == {Rule.LIST_FOR_OBJECT}


def test_a_bare_value_where_an_object_belongs() -> None:
    report, names = mended(V201, "TransactionEvent", event(idToken="04A1B2", evse=1))
    assert report.id_token == IdToken(value="04A1B2")
    assert report.evse_id == 1
    assert names == {Rule.VALUE_FOR_OBJECT, Rule.FIELD_MISSING}


def test_an_unknown_unit_is_kept_with_its_number() -> None:
    report, names = mended(V16, "MeterValues", values16({"value": "7", "unit": "Furlong"}))
    sample = report.readings[0].samples[0]
    assert (sample.value, sample.unit) == (7, "Furlong")
    assert sample.repaired
    assert names == {Rule.WORD_UNKNOWN}


@pytest.mark.parametrize(
    ("unit", "value", "wh"), [("KWH", "1.5", 1500), ("kwh", "1.5", 1500), ("WH", "7", 7), ("Kwh ", "2", 2000)]
)
def test_a_unit_in_other_case_is_understood(unit: str, value: str, wh: int) -> None:
    report, _ = mended(V16, "MeterValues", values16({"value": value, "unit": unit}))
    assert report.readings[0].samples[0].value == wh


@pytest.mark.parametrize("payload", [b"null", b"[]", b'""', b""])
def test_a_null_payload_is_an_object_without_fields(payload: bytes) -> None:
    message, names = mended(V16, "Heartbeat", payload)
    assert message == Heartbeat()
    assert names == {Rule.NULL_PAYLOAD}


def test_a_null_payload_of_a_message_with_content_is_refused_or_kept() -> None:
    assert take(V16, "StatusNotification", b"null") is None
    for payload in (b"null", b"{}", b"[]", b"", b'{"reason":"Local"}', b'{"transactionData":[{"sampledValue":[]}]}'):
        assert isinstance(take(V16, "StopTransaction", payload), Unusable)
    assert isinstance(take(V201, "TransactionEvent", b"null"), Unusable)


def test_one_field_to_match_by_or_to_book_is_enough() -> None:
    for payload in (
        b'{"transactionId":7}',
        b'{"meterStop":1500}',
        b'{"idTag":"A"}',
        b'{"timestamp":"2026-01-31T12:00:00Z"}',
    ):
        message = take(V16, "StopTransaction", payload)
        assert isinstance(message, TransactionReport)
        assert message.kind is ReportKind.ENDED


def test_an_empty_sampled_value() -> None:
    # OCPP 1.6: seen with "sampledValue":[] from a station without a meter
    assert take(V16, "MeterValues", json.dumps(values16()).encode()).readings[0].samples == ()  # type: ignore[union-attr]
    report, names = mended(V201, "TransactionEvent", event(meterValue=[{"timestamp": T, "sampledValue": []}]))
    assert report.readings[0].samples == ()
    assert names == {Rule.EMPTY_LIST, Rule.FIELD_MISSING}
    report, names = mended(V21, "TransactionEvent", event(meterValue=[]))
    assert report.readings == ()
    assert names == {Rule.EMPTY_LIST, Rule.FIELD_UNUSABLE}


def test_a_field_name_without_a_value() -> None:
    raw = json.dumps(values16({"value": "1"})).encode().replace(b'"transactionId": 5', b'"transactionId":')
    assert b'"transactionId":,' in raw
    message, names = mended(V16, "MeterValues", raw)
    assert isinstance(message, MeterReport)
    assert message.evse_id == 1
    assert names == {Rule.JSON_VALUE_MISSING, Rule.NULL_DROPPED}


def test_a_value_that_is_a_number_in_1_6_keeps_its_digits() -> None:
    raw = (
        b'{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":['
        b'{"value":604.213,"unit":"kWh"},{"value":0,"measurand":"Power.Active.Import","unit":"W"},'
        b'{"value":0.30005000000000004,"unit":"kWh"}]}]}'
    )
    message, names = mended(V16, "MeterValues", raw)
    assert [sample.value for sample in message.readings[0].samples] == [604213, 0, Decimal("300.05")]
    assert names == {Rule.NUMBER_FOR_TEXT}


@pytest.mark.parametrize("word", ["string", "", "-", "null", "1.2.3", "NaN", "Infinity", "1E+999999", "9" * 200])
def test_a_value_that_is_no_number_keeps_its_text(word: str) -> None:
    message = take(V16, "MeterValues", json.dumps(values16({"value": word}, {"value": "5"})).encode())
    assert isinstance(message, TransactionReport)
    bad, good = message.readings[0].samples
    assert bad.value is None
    assert bad.raw == word[:128]
    assert good.value == 5


def test_a_value_that_is_no_number_in_2_x_keeps_its_signed_value() -> None:
    signed = {"signedMeterData": "OCMF|{}|{}", "encodingMethod": "OCMF"}
    for version in (V201, V21):
        report, names = mended(
            version, "TransactionEvent", event(meterValue=values2x(value="string", signedMeterValue=signed))
        )
        sample = report.readings[0].samples[0]
        assert sample.value is None
        assert sample.signed.data == "OCMF|{}|{}"
        assert Rule.VALUE_UNUSABLE in names


def test_a_signed_value_without_a_number_or_key_is_kept() -> None:
    signed = {"signedMeterData": "T0NNRg=="}
    report, names = mended(V201, "TransactionEvent", event(meterValue=values2x(signedMeterValue=signed)))
    sample = report.readings[0].samples[0]
    assert (sample.value, sample.signed.data, sample.signed.public_key) == (None, "T0NNRg==", None)
    assert names == {Rule.FIELD_MISSING}


def test_a_missing_timestamp() -> None:
    report, names = mended(V16, "StartTransaction", {"connectorId": 1, "idTag": "A", "meterStart": 5})
    assert (report.at, report.meter_start) == (None, 5)
    assert names == {Rule.FIELD_MISSING}
    payload = values16()
    payload["meterValue"] = [{"sampledValue": [{"value": "1"}]}]
    report, _ = mended(V16, "MeterValues", payload)
    assert report.at is None
    body = event()
    del body["timestamp"]
    report, _ = mended(V21, "TransactionEvent", body)
    assert report.at is None
    status, _ = mended(V201, "StatusNotification", {"connectorStatus": "Available", "evseId": 1, "connectorId": 1})
    assert status == ConnectorStatus(evse_id=1, connector_id=1, status=ConnectorState.AVAILABLE, reported="Available")


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2026-01-31T13:00:00+0100", "2026-01-31T12:00:00,000Z"]
)
def test_a_timestamp_in_another_form_needs_no_repair(text: str) -> None:
    payload = {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": text}
    message = take(V16, "StartTransaction", json.dumps(payload).encode())
    assert isinstance(message, TransactionReport)
    assert message.at == AT


@pytest.mark.parametrize("text", ["", "garbage", "31.01.2026", "2026-13-45T99:99:99Z"])
def test_a_garbage_timestamp_does_not_cost_the_message(text: str) -> None:
    message = take(V201, "TransactionEvent", json.dumps(event(timestamp=text)).encode())
    assert isinstance(message, TransactionReport)
    assert message.at is None


def test_numbers_as_text_and_text_as_numbers() -> None:
    payload = {"connectorId": "1", "idTag": 123456, "meterStart": "5000", "timestamp": T, "reservationId": " 7 "}
    report, names = mended(V16, "StartTransaction", payload)
    assert report.evse_id == 1
    assert report.id_token == IdToken(value="123456")
    assert (report.meter_start, report.reservation_id) == (5000, 7)
    assert names == {Rule.TEXT_FOR_NUMBER, Rule.NUMBER_FOR_TEXT}
    report, names = mended(
        V201, "TransactionEvent", event(seqNo="4", transactionInfo={"transactionId": 42}, offline="true")
    )
    assert (report.seq_no, report.ocpp_transaction_id, report.offline) == (4, "42", True)
    assert names == {Rule.TEXT_FOR_NUMBER, Rule.NUMBER_FOR_TEXT, Rule.VALUE_FOR_FLAG}


def test_a_transaction_id_as_text_in_1_6() -> None:
    report, _ = mended(V16, "StopTransaction", {"transactionId": "17", "meterStop": 9, "timestamp": T})
    assert report.ocpp_transaction_id == "17"
    report, names = mended(V16, "StopTransaction", {"transactionId": "abc", "meterStop": 9, "timestamp": T})
    assert report.ocpp_transaction_id is None
    assert report.meter_stop == 9
    assert names == {Rule.FIELD_MISSING}


def test_decimals_in_whole_numbers() -> None:
    # a register's fraction of a Wh is energy and is kept; an id's ".0" is not
    report, names = mended(V16, "StopTransaction", {"transactionId": 17.0, "meterStop": 26008.333, "timestamp": T})
    assert report.ocpp_transaction_id == "17"
    assert report.meter_stop == Decimal("26008.333")
    assert report.readings[-1].samples[0].value == Decimal("26008.333")
    assert names == {Rule.FRACTION_FOR_INTEGER}


def test_a_register_without_a_number_is_none_never_zero() -> None:
    report, names = mended(V16, "StopTransaction", {"transactionId": 17, "meterStop": None, "timestamp": T})
    assert report.meter_stop is None
    assert report.readings == ()
    assert names == {Rule.NULL_DROPPED, Rule.FIELD_MISSING}


@pytest.mark.parametrize("field", ["context", "measurand", "phase", "location", "unit", "format"])
def test_an_unknown_word_in_a_sample_is_kept(field: str) -> None:
    report, names = mended(V16, "MeterValues", values16({"value": "7", field: "Odd.Word"}))
    sample = report.readings[0].samples[0]
    if field != "format":
        assert getattr(sample, field) == "Odd.Word"
    assert sample.value == 7
    assert names == {Rule.WORD_UNKNOWN}


@pytest.mark.parametrize("version", [V201, V21])
def test_unknown_reasons_are_kept(version: OcppVersion) -> None:
    info = {"transactionId": "t", "stoppedReason": "VendorStop", "chargingState": "Sleeping"}
    report, names = mended(version, "TransactionEvent", event(triggerReason="Cosmic", transactionInfo=info))
    assert (report.trigger_reason, report.stop_reason, report.charging_state) == ("Cosmic", "VendorStop", "Sleeping")
    assert names == {Rule.WORD_UNKNOWN}


def test_a_word_of_another_version_is_kept() -> None:
    report, names = mended(
        V201, "TransactionEvent", event(meterValue=values2x(value=5, measurand="Display.PresentSOC"))
    )
    assert report.readings[0].samples[0].measurand == "Display.PresentSOC"
    report, names = mended(
        V16, "StopTransaction", {"transactionId": 1, "meterStop": 5, "timestamp": T, "reason": "StoppedByEV"}
    )
    assert report.stop_reason == "StoppedByEV"
    assert names == {Rule.WORD_UNKNOWN}


def test_a_word_in_other_case_is_matched() -> None:
    report, names = mended(
        V16, "StopTransaction", {"transactionId": 1, "meterStop": 5, "timestamp": T, "reason": "ev_disconnected"}
    )
    assert report.stop_reason == "EVDisconnected"
    assert names == {Rule.WORD_SPELLING}
    report, names = mended(V201, "TransactionEvent", event(eventType="STARTED"))
    assert report.kind is ReportKind.STARTED


def test_an_unknown_event_type_makes_the_message_unusable() -> None:
    message = take(V201, "TransactionEvent", json.dumps(event(eventType="Exploded")).encode())
    assert isinstance(message, Unusable)
    assert "eventType" in message.reason


def test_an_unknown_status_is_a_notice_and_no_state() -> None:
    payload = {"connectorId": 1, "errorCode": "NoError", "status": "Meditating"}
    assert take(V16, "StatusNotification", json.dumps(payload).encode()) == Notice(
        action="StatusNotification", tells="connector 1: Meditating"
    )
    occupied, _ = mended(V16, "StatusNotification", {**payload, "status": "Occupied"})
    assert occupied.status is ConnectorState.OCCUPIED


def test_an_unknown_error_code_is_kept() -> None:
    payload = {"connectorId": 1, "errorCode": "CableOnFire", "status": "Faulted", "info": "x" * 80}
    status, names = mended(V16, "StatusNotification", payload)
    assert (status.error_code, status.info) == ("CableOnFire", "x" * 80)
    assert names == {Rule.WORD_UNKNOWN, Rule.TEXT_TOO_LONG}


def test_a_field_name_in_other_case_is_matched() -> None:
    report, names = mended(V16, "StopTransaction", {"TransactionID": 1, "meter_stop": 5, "timeStamp": T})
    assert (report.ocpp_transaction_id, report.meter_stop, report.at) == ("1", 5, AT)
    assert names == {Rule.FIELD_SPELLING}


def test_one_broken_item_does_not_cost_the_others() -> None:
    report, names = mended(V16, "MeterValues", values16({"value": "1"}, None, "x", {"unit": "Wh"}, {"value": "2"}))
    assert [sample.value for sample in report.readings[0].samples] == [1, 2]
    assert names == {Rule.ITEM_DROPPED}


def test_an_optional_field_beyond_reading_does_not_cost_the_message() -> None:
    report, names = mended(
        V201, "TransactionEvent", event(evse={"id": {}}, cableMaxCurrent="thick", reservationId=2**40)
    )
    assert (report.evse_id, report.cable_max_current, report.reservation_id) == (None, None, None)
    assert names == {Rule.FIELD_UNUSABLE, Rule.NUMBER_OUT_OF_RANGE}


def test_a_transaction_event_without_transaction_info_is_kept() -> None:
    body = event()
    del body["transactionInfo"], body["seqNo"], body["triggerReason"]
    report, names = mended(V201, "TransactionEvent", body)
    assert (report.ocpp_transaction_id, report.seq_no, report.trigger_reason) == (None, None, None)
    assert names == {Rule.FIELD_MISSING}


def test_an_id_token_that_is_too_long_is_kept_to_255_characters() -> None:
    report, _ = mended(V16, "StartTransaction", {"connectorId": 1, "idTag": "A" * 21, "meterStart": 5, "timestamp": T})
    assert report.id_token == IdToken(value="A" * 21)
    report, _ = mended(
        V16, "StartTransaction", {"connectorId": 1, "idTag": "A" * 5000, "meterStart": 5, "timestamp": T}
    )
    assert report.id_token == IdToken(value="A" * 255)


def test_a_report_part_with_an_empty_list_or_without_tbc_is_kept() -> None:
    part = {"requestId": 1, "generatedAt": T, "seqNo": 0, "reportData": []}
    notice, names = mended(V201, "NotifyReport", part)
    report = VariableReport(request_id=1, seq_no=0, more=False, places=())
    assert notice == Notice(action="NotifyReport", tells="request 1, part 0", report=report)
    assert names == {Rule.EMPTY_LIST, Rule.FIELD_UNUSABLE}
    assert take(V201, "NotifyReport", json.dumps({**part, "reportData": None, "seqNo": 7}).encode()) == Notice(
        action="NotifyReport",
        tells="request 1, part 7",
        report=VariableReport(request_id=1, seq_no=7, more=False, places=()),
    )


# --- bounds ---


@pytest.mark.parametrize("version", VERSIONS)
def test_a_depth_bomb_is_given_up(version: OcppVersion) -> None:
    for bomb in (b"[" * 100_000, b'{"a":' * 100_000, b'{"connectorId":' + b"[" * 50_000 + b"1" + b"]" * 50_000 + b"}"):
        assert repair(version, "MeterValues", bomb) is None
        assert isinstance(take(version, "MeterValues", bomb), Unusable)
        assert take(version, "BootNotification", bomb) is None


@pytest.mark.parametrize(
    "number", [b"1e400000", b"9" * 5000, b"1E+999999", b"-1E-999999", b"123456789012345678901234567890"]
)
def test_a_number_never_allocates(number: bytes) -> None:
    begin = time.perf_counter()
    raw = b'{"transactionId":%b,"meterStop":%b,"timestamp":%b}' % (number, number, number)
    message = take(V16, "StopTransaction", raw)
    assert isinstance(message, TransactionReport | Unusable)
    if isinstance(message, TransactionReport):
        assert message.meter_stop in (None, 0)
    text = b'{"transactionId":"%b","meterStop":"%b","timestamp":"x"}' % (number, number)
    assert isinstance(take(V16, "StopTransaction", text), TransactionReport)
    multiplier = b'{"value":1,"unitOfMeasure":{"unit":"Wh","multiplier":2147483647}}'
    raw = b'{"evseId":1,"meterValue":[{"timestamp":"","sampledValue":[%b]}]}' % multiplier
    values = take(V201, "MeterValues", raw)
    assert isinstance(values, MeterReport)
    assert values.readings[0].samples[0].value is None
    assert time.perf_counter() - begin < 0.5


def test_a_list_beyond_the_budget_is_given_up() -> None:
    payload = values16(*([1] * (BUDGET + 1)))
    assert repair(V16, "MeterValues", json.dumps(payload).encode()) is None
    assert isinstance(take(V16, "MeterValues", json.dumps(payload).encode()), Unusable)


def test_ids_beyond_reason_open_no_connector() -> None:
    # one station reported 1,634,030,126 connectors
    payload = {"connectorId": 1634030126, "errorCode": "NoError", "status": "Available"}
    assert isinstance(take(V16, "StatusNotification", json.dumps(payload).encode()), Notice)
    body = {"timestamp": T, "connectorStatus": "Available", "evseId": 1, "connectorId": 1634030126}
    assert isinstance(take(V21, "StatusNotification", json.dumps(body).encode()), Notice)
    report = take(V201, "TransactionEvent", json.dumps(event(evse={"id": 1634030126, "connectorId": 1})).encode())
    assert isinstance(report, TransactionReport)
    assert report.evse_id is None


def test_sql_and_nul_in_strings_are_only_text() -> None:
    payload = {"connectorId": 1, "idTag": "'; DROP TABLE--\x00", "meterStart": 5, "timestamp": T}
    report = take(V16, "StartTransaction", json.dumps(payload).encode())
    assert isinstance(report, TransactionReport)
    assert report.id_token == IdToken(value="'; DROP TABLE--\ufffd")


def test_a_good_message_is_not_repaired() -> None:
    for version in VERSIONS:
        assert repair(version, "Heartbeat", b"{}") is None


def test_actions_that_no_station_sends_are_not_repaired() -> None:
    assert repair(V16, "Reset", b'{"type":"hard"}') is None
    assert repair(V16, "Nonsense", b"null") is None


def test_a_missing_field_that_matters_is_refused() -> None:
    assert take(V16, "Authorize", b"{}") is None
    assert take(V16, "StatusNotification", b'{"connectorId":1}') is None
    assert take(V201, "Authorize", b"{}") is None
    assert CATALOGUE[V16]["Authorize"].transactional is False
