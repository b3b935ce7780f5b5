"""OCPP 1.6 to the domain and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from chargeplane.bridge import OUTGOING
from chargeplane.bridge.ocpp16 import NARROWED, STATE
from chargeplane.domain.messages import (
    Acknowledged,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    Boot,
    BootAnswer,
    CertificateAnswer,
    CertificateRequest,
    ConnectorState,
    ConnectorStatus,
    HeartbeatAnswer,
    IdToken,
    IdTokenInfo,
    MeterReport,
    Notice,
    Reading,
    Registration,
    ReportKind,
    Sample,
    StationMessage,
    TransactionAnswer,
    TransactionReport,
)
from chargeplane.ocpp import v16
from tests.bridge.wire import V16, take, validate

T = "2026-01-31T12:00:00Z"
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
REGISTER = "Energy.Active.Import.Register"


def came(action: str, **fields: Any) -> StationMessage:
    """The domain's form of a message that fits the official schema."""
    validate(V16, f"{action}Request", fields)
    message = take(V16, action, json.dumps(fields).encode())
    assert message is not None
    return message


def went(action: str, answer: Any) -> Any:
    """The answer on the wire; it fits the official schema."""
    payload = json.loads(OUTGOING[V16][action](None, answer))
    validate(V16, f"{action}Response", payload)
    return payload


def test_boot() -> None:
    assert came(
        "BootNotification",
        chargePointVendor=" ABB ",
        chargePointModel="CDT_TACW22::NET_WIFI",
        chargePointSerialNumber="TACW22",
        chargeBoxSerialNumber="BOX1",
        firmwareVersion="TAC3::V1.8.21",
        iccid="",
        imsi="901",
        meterType="V1",
        meterSerialNumber="M1",
    ) == Boot(
        vendor="ABB",
        model="CDT_TACW22::NET_WIFI",
        serial_number="TACW22",
        box_serial_number="BOX1",
        firmware_version="TAC3::V1.8.21",
        imsi="901",
        meter_type="V1",
        meter_serial_number="M1",
    )


@pytest.mark.parametrize("status", list(Registration))
def test_boot_answer(status: Registration) -> None:
    assert went("BootNotification", BootAnswer(status=status, interval_s=300, now=AT)) == {
        "currentTime": "2026-01-31T12:00:00.000Z",
        "interval": 300,
        "status": status.value,
    }


def test_heartbeat_answer() -> None:
    assert went("Heartbeat", HeartbeatAnswer(now=AT)) == {"currentTime": "2026-01-31T12:00:00.000Z"}


def test_every_state_of_1_6_has_one_of_the_five() -> None:
    assert {status.value for status in v16.ChargePointStatus} <= set(STATE)
    assert set(STATE.values()) == set(ConnectorState)


def test_connector_n_is_evse_n_connector_1() -> None:
    assert came(
        "StatusNotification",
        connectorId=2,
        errorCode="GroundFailure",
        status="SuspendedEV",
        timestamp=T,
        info="free text",
        vendorId="v",
        vendorErrorCode="0x1",
    ) == ConnectorStatus(
        evse_id=2,
        connector_id=1,
        status=ConnectorState.OCCUPIED,
        reported="SuspendedEV",
        at=AT,
        error_code="GroundFailure",
        info="free text",
        vendor_id="v",
        vendor_error_code="0x1",
    )


def test_connector_0_is_the_station() -> None:
    assert came("StatusNotification", connectorId=0, errorCode="NoError", status="Available") == ConnectorStatus(
        evse_id=0, connector_id=0, status=ConnectorState.AVAILABLE, reported="Available"
    )


def test_authorize() -> None:
    assert came("Authorize", idTag="04a1B2c3") == Authorize(id_token=IdToken(value="04a1B2c3"))
    until = datetime(2027, 1, 1, tzinfo=UTC)
    info = IdTokenInfo(status=AuthorizationStatus.ACCEPTED, valid_until=until, group_id="FLEET")
    assert went("Authorize", AuthorizeAnswer(id_token_info=info)) == {
        "idTagInfo": {"status": "Accepted", "expiryDate": "2027-01-01T00:00:00.000Z", "parentIdTag": "FLEET"}
    }


@pytest.mark.parametrize("status", list(AuthorizationStatus))
def test_authorization_is_narrowed_to_what_1_6_can_say(status: AuthorizationStatus) -> None:
    payload = went("Authorize", AuthorizeAnswer(id_token_info=IdTokenInfo(status=status)))
    assert payload["idTagInfo"]["status"] == NARROWED[status].value
    assert (payload["idTagInfo"]["status"] == "Accepted") is (status is AuthorizationStatus.ACCEPTED)


def test_a_group_that_1_6_cannot_name_is_left_out() -> None:
    info = IdTokenInfo(status=AuthorizationStatus.ACCEPTED, group_id="G" * 21)
    assert went("Authorize", AuthorizeAnswer(id_token_info=info)) == {"idTagInfo": {"status": "Accepted"}}


def test_start() -> None:
    message = came("StartTransaction", connectorId=1, idTag="A", meterStart=2**33, timestamp=T, reservationId=9)
    assert message == TransactionReport(
        kind=ReportKind.STARTED,
        ocpp_transaction_id=None,
        csms_assigns_id=True,
        at=AT,
        evse_id=1,
        connector_id=1,
        id_token=IdToken(value="A"),
        meter_start=Decimal(2**33),
        readings=(Reading(AT, (Sample(REGISTER, Decimal(2**33), "Wh", None, None, "Transaction.Begin"),)),),
        reservation_id=9,
    )


def test_start_answer() -> None:
    accepted = IdTokenInfo(status=AuthorizationStatus.ACCEPTED)
    assert went("StartTransaction", TransactionAnswer(assigned_id=2**31 - 1, id_token_info=accepted)) == {
        "idTagInfo": {"status": "Accepted"},
        "transactionId": 2**31 - 1,
    }


def test_a_start_without_a_tag_is_answered_invalid() -> None:
    message = came("StartTransaction", connectorId=1, idTag="", meterStart=0, timestamp=T)
    assert isinstance(message, TransactionReport)
    assert message.id_token is None
    assert went("StartTransaction", TransactionAnswer(assigned_id=5)) == {
        "idTagInfo": {"status": "Invalid"},
        "transactionId": 5,
    }


def test_stop_with_transaction_data() -> None:
    data = [{"timestamp": T, "sampledValue": [{"value": "1.25", "unit": "kWh", "context": "Transaction.End"}]}]
    message = came(
        "StopTransaction",
        transactionId=7,
        idTag="A",
        meterStop=1250,
        timestamp=T,
        reason="EVDisconnected",
        transactionData=data,
    )
    assert message == TransactionReport(
        kind=ReportKind.ENDED,
        ocpp_transaction_id="7",
        csms_assigns_id=True,
        at=AT,
        id_token=IdToken(value="A"),
        stop_reason="EVDisconnected",
        meter_stop=Decimal(1250),
        readings=(
            Reading(AT, (Sample(REGISTER, Decimal("1250.00"), "Wh", None, None, "Transaction.End"),)),
            Reading(AT, (Sample(REGISTER, Decimal(1250), "Wh", None, None, "Transaction.End"),)),
        ),
    )


def test_stop_without_tag_and_reason() -> None:
    message = came("StopTransaction", transactionId=7, meterStop=0, timestamp=T)
    assert isinstance(message, TransactionReport)
    assert (message.id_token, message.stop_reason, message.meter_stop) == (None, None, 0)


@pytest.mark.parametrize("useless", [-1, 0])
def test_a_transaction_id_of_an_unconfirmed_start_is_no_name(useless: int) -> None:
    stop = came("StopTransaction", transactionId=useless, meterStop=5, timestamp=T)
    assert isinstance(stop, TransactionReport)
    assert stop.ocpp_transaction_id is None
    values = came(
        "MeterValues",
        connectorId=1,
        transactionId=useless,
        meterValue=[{"timestamp": T, "sampledValue": [{"value": "5"}]}],
    )
    assert isinstance(values, TransactionReport)  # the rules may match it
    assert (values.kind, values.ocpp_transaction_id, values.evse_id) == (ReportKind.UPDATED, None, 1)


def test_stop_answer() -> None:
    assert went("StopTransaction", TransactionAnswer()) == {}
    assert went("StopTransaction", Acknowledged()) == {}
    expired = IdTokenInfo(status=AuthorizationStatus.EXPIRED)
    assert went("StopTransaction", TransactionAnswer(id_token_info=expired)) == {"idTagInfo": {"status": "Expired"}}


def test_meter_values_in_a_transaction() -> None:
    message = came(
        "MeterValues",
        connectorId=3,
        transactionId=12,
        meterValue=[
            {"timestamp": T, "sampledValue": [{"value": "1"}]},
            {
                "timestamp": "2026-01-31T12:01:00Z",
                "sampledValue": [
                    {"value": "11.04", "measurand": "Power.Active.Import", "unit": "kW", "context": "Sample.Clock"},
                    {"value": "16", "measurand": "Current.Import", "phase": "L1", "location": "Outlet"},
                    {"value": "50", "measurand": "SoC", "unit": "Percent", "location": "EV"},
                    {"value": "0.30005000000000004", "unit": "kWh"},
                ],
            },
        ],
    )
    assert isinstance(message, TransactionReport)
    assert (message.kind, message.ocpp_transaction_id) == (ReportKind.UPDATED, "12")
    assert (message.evse_id, message.connector_id) == (3, 1)
    assert message.at == datetime(2026, 1, 31, 12, 1, tzinfo=UTC)
    first, second = message.readings
    assert first == Reading(AT, (Sample(REGISTER, Decimal(1), "Wh"),))
    assert second.samples == (
        Sample("Power.Active.Import", Decimal(11040), "W", None, None, "Sample.Clock"),
        Sample("Current.Import", Decimal(16), "A", "L1", "Outlet"),
        Sample("SoC", Decimal(50), "Percent", None, "EV"),
        Sample(REGISTER, Decimal("300.05"), "Wh"),
    )


def test_meter_values_of_the_station() -> None:
    message = came("MeterValues", connectorId=0, meterValue=[{"timestamp": T, "sampledValue": [{"value": "1"}]}])
    assert message == MeterReport(
        evse_id=0, connector_id=0, readings=(Reading(AT, (Sample(REGISTER, Decimal(1), "Wh"),)),)
    )


OCMF = 'OCMF|{"FV":"1.0","GI":"GW","RD":[{"RV":1.5,"RU":"kWh"}]}|{"SD":"3045"}'


def test_a_signed_value_is_kept_as_it_is() -> None:
    sampled = {"value": OCMF, "format": "SignedData", "context": "Transaction.End"}
    message = came(
        "StopTransaction",
        transactionId=7,
        meterStop=1500,
        timestamp=T,
        transactionData=[{"timestamp": T, "sampledValue": [sampled]}],
    )
    assert isinstance(message, TransactionReport)
    sample = message.readings[0].samples[0]
    assert sample.value is None
    assert sample.repaired is None
    assert sample.signed is not None
    assert (sample.signed.data, sample.signed.encoding_method) == (OCMF, "OCMF")


def test_a_signed_value_as_json_text_is_unwrapped() -> None:
    wrapped = {"signedMeterData": OCMF, "signingMethod": "ECDSA", "encodingMethod": "OCMF", "publicKey": "3059"}
    for value in (json.dumps(wrapped), json.dumps(wrapped, indent=2)):
        message = came(
            "MeterValues",
            connectorId=1,
            transactionId=7,
            meterValue=[{"timestamp": T, "sampledValue": [{"value": value, "format": "SignedData"}]}],
        )
        assert isinstance(message, TransactionReport)
        signed = message.readings[0].samples[0].signed
        assert signed is not None
        assert (signed.data, signed.signing_method, signed.encoding_method, signed.public_key) == (
            OCMF,
            "ECDSA",
            "OCMF",
            "3059",
        )


@pytest.mark.parametrize("value", ["{", '{"a":1}', "[]", '{"signedMeterData":5}', '{"a":' * 10_000])
def test_a_signed_value_of_another_kind_is_kept_whole(value: str) -> None:
    message = came(
        "MeterValues",
        connectorId=1,
        meterValue=[{"timestamp": T, "sampledValue": [{"value": value, "format": "SignedData"}]}],
    )
    assert isinstance(message, MeterReport)
    signed = message.readings[0].samples[0].signed
    assert signed is not None
    assert signed.data == value[:32768]


@pytest.mark.parametrize(
    ("action", "fields", "tells"),
    [
        ("DiagnosticsStatusNotification", {"status": "Uploading"}, "Uploading"),
        ("FirmwareStatusNotification", {"status": "Downloading"}, "Downloading"),
        ("LogStatusNotification", {"status": "Uploaded", "requestId": 0}, "Uploaded"),
        ("SecurityEventNotification", {"type": "SettingSystemTime", "timestamp": T}, "SettingSystemTime"),
        ("SignedFirmwareStatusNotification", {"status": "InvalidSignature"}, "InvalidSignature"),
    ],
)
def test_notices(action: str, fields: dict[str, Any], tells: str | None) -> None:
    told = came(action, **fields)
    assert isinstance(told, Notice)
    assert (told.action, told.tells) == (action, tells)


def test_a_request_for_a_certificate_is_answered_as_the_desk_says() -> None:
    assert came("SignCertificate", csr="-----BEGIN \u0000") == CertificateRequest(csr="-----BEGIN \ufffd")
    assert went("SignCertificate", CertificateAnswer(accepted=True)) == {"status": "Accepted"}
    assert went("SignCertificate", CertificateAnswer(accepted=False)) == {"status": "Rejected"}
    assert went("SignCertificate", Acknowledged()) == {"status": "Rejected"}


def test_answers_to_notices_say_what_is_true() -> None:
    assert went("DataTransfer", Acknowledged()) == {"status": "UnknownVendorId"}
    assert went("SecurityEventNotification", Acknowledged()) == {}
