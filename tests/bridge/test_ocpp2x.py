"""OCPP 2.0.1 and 2.1 to the domain and back: the same rules for both."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from chargeplane.bridge import OUTGOING
from chargeplane.domain.contracts import ContractCheck
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
    Question,
    Reading,
    Registration,
    ReportKind,
    Sample,
    SignedValue,
    StationMessage,
    TransactionAnswer,
    TransactionReport,
)
from chargeplane.domain.reservations import ReservationUpdate
from chargeplane.domain.station_exchanges import DataTransferAsk, StreamValues
from chargeplane.ocpp.catalogue import decode_request
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V21, V201, take, validate

T = "2026-01-31T12:00:00Z"
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
REGISTER = "Energy.Active.Import.Register"
BOTH = pytest.mark.parametrize("version", [V201, V21])


def came(version: OcppVersion, action: str, **fields: Any) -> StationMessage:
    """The domain's form of a message that fits the official schema."""
    validate(version, f"{action}Request", fields)
    message = take(version, action, json.dumps(fields).encode())
    assert message is not None
    return message


def went(version: OcppVersion, action: str, answer: Any, request: Any = None) -> Any:
    """The answer on the wire; it fits the official schema."""
    payload = json.loads(OUTGOING[version][action](request, answer))
    validate(version, f"{action}Response", payload)
    return payload


def event(**more: Any) -> dict[str, Any]:
    return {
        "eventType": "Updated",
        "timestamp": T,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": 3,
        "transactionInfo": {"transactionId": "tx-1"},
    } | more


@BOTH
def test_boot(version: OcppVersion) -> None:
    station = {
        "vendorName": "V",
        "model": "M",
        "serialNumber": "",
        "firmwareVersion": "1.0",
        "modem": {"iccid": "89", "imsi": ""},
    }
    boot = came(version, "BootNotification", reason="PowerUp", chargingStation=station)
    assert boot == Boot(vendor="V", model="M", firmware_version="1.0", reason="PowerUp", iccid="89")
    assert went(version, "BootNotification", BootAnswer(status=Registration.PENDING, interval_s=30, now=AT)) == {
        "currentTime": "2026-01-31T12:00:00.000Z",
        "interval": 30,
        "status": "Pending",
    }
    assert went(version, "Heartbeat", HeartbeatAnswer(now=AT)) == {"currentTime": "2026-01-31T12:00:00.000Z"}


@BOTH
def test_status(version: OcppVersion) -> None:
    body = {"timestamp": T, "connectorStatus": "Occupied", "evseId": 2, "connectorId": 3}
    assert came(version, "StatusNotification", **body) == ConnectorStatus(
        evse_id=2, connector_id=3, status=ConnectorState.OCCUPIED, reported="Occupied", at=AT
    )
    station = came(version, "StatusNotification", **body | {"evseId": 0, "connectorId": 0})
    assert isinstance(station, ConnectorStatus)
    assert (station.evse_id, station.connector_id) == (0, 0)


@BOTH
def test_authorize(version: OcppVersion) -> None:
    message = came(version, "Authorize", idToken={"idToken": "DE8AA1", "type": "eMAID"})
    told = IdToken(value="DE8AA1", type="eMAID")
    assert message == Authorize(id_token=told, takes_tariff=version is OcppVersion.V21)
    info = IdTokenInfo(
        status=AuthorizationStatus.NOT_AT_THIS_TIME,
        valid_until=AT,
        group_id="FLEET",
        group_type="ISO14443",
        language="de",
        personal_message="Ab 18 Uhr",
    )
    assert went(version, "Authorize", AuthorizeAnswer(id_token_info=info)) == {
        "idTokenInfo": {
            "status": "NotAtThisTime",
            "cacheExpiryDateTime": "2026-01-31T12:00:00.000Z",
            "language1": "de",
            "groupIdToken": {"idToken": "FLEET", "type": "ISO14443"},
            "personalMessage": {"format": "UTF8", "language": "de", "content": "Ab 18 Uhr"},
        }
    }


@BOTH
@pytest.mark.parametrize("status", list(AuthorizationStatus))
def test_every_authorization_status_is_said(version: OcppVersion, status: AuthorizationStatus) -> None:
    payload = went(version, "Authorize", AuthorizeAnswer(id_token_info=IdTokenInfo(status=status)))
    assert payload == {"idTokenInfo": {"status": status.value}}


def test_a_group_that_a_version_cannot_name() -> None:
    info = IdTokenInfo(status=AuthorizationStatus.ACCEPTED, group_id="G" * 40, group_type="Fleet")
    answer = TransactionAnswer(id_token_info=info)
    assert went(V201, "TransactionEvent", answer) == {"idTokenInfo": {"status": "Accepted"}}
    assert went(V21, "TransactionEvent", answer)["idTokenInfo"]["groupIdToken"] == {
        "idToken": "G" * 40,
        "type": "Fleet",
    }
    short = IdTokenInfo(status=AuthorizationStatus.ACCEPTED, group_id="G", group_type="Fleet")
    group = went(V201, "TransactionEvent", TransactionAnswer(id_token_info=short))["idTokenInfo"]["groupIdToken"]
    assert group == {"idToken": "G", "type": "Central"}


@BOTH
def test_what_was_found_about_a_contract_certificate_is_told(version: OcppVersion) -> None:
    raw = json.dumps({"idToken": {"idToken": "DE-8AA-1", "type": "eMAID"}, "certificate": "-----BEGIN"}).encode()
    asked = take(version, "Authorize", raw)
    assert isinstance(asked, Authorize)
    assert asked.id_token == IdToken(value="DE8AA1", type="eMAID")
    assert asked.contract == ContractCheck(emaid="DE-8AA-1", chain="-----BEGIN")
    answer = AuthorizeAnswer(
        id_token_info=IdTokenInfo(status=AuthorizationStatus.ACCEPTED), certificate_status="NoCertificateAvailable"
    )
    payload = went(version, "Authorize", answer, decode_request(version, "Authorize", raw))
    assert payload["certificateStatus"] == "NoCertificateAvailable"


@BOTH
def test_a_whole_transaction_event(version: OcppVersion) -> None:
    signed = {
        "signedMeterData": "T0NNRg==",
        "signingMethod": "ECDSA",
        "encodingMethod": "OCMF",
        "publicKey": "3059",
    }
    values = [
        {
            "timestamp": T,
            "sampledValue": [
                {"value": 1.5, "unitOfMeasure": {"unit": "Wh", "multiplier": 3}, "context": "Transaction.Begin"},
                {"value": 15, "unitOfMeasure": {"unit": "kWh", "multiplier": -1}, "signedMeterValue": signed},
                {"value": 16.1, "measurand": "Current.Import", "phase": "L2", "location": "Outlet"},
            ],
        }
    ]
    message = came(
        version,
        "TransactionEvent",
        **event(
            eventType="Started",
            triggerReason="Authorized",
            seqNo=0,
            offline=True,
            transactionInfo={
                "transactionId": "tx-1",
                "chargingState": "Charging",
                "remoteStartId": 77,
                "stoppedReason": "Local",
            },
            evse={"id": 2, "connectorId": 1},
            idToken={"idToken": "04A1", "type": "ISO14443"},
            meterValue=values,
            numberOfPhasesUsed=3,
            cableMaxCurrent=32,
            reservationId=5,
        ),
    )
    assert message == TransactionReport(
        kind=ReportKind.STARTED,
        ocpp_transaction_id="tx-1",
        csms_assigns_id=False,
        at=AT,
        seq_no=0,
        evse_id=2,
        connector_id=1,
        id_token=IdToken(value="04A1", type="ISO14443"),
        trigger_reason="Authorized",
        charging_state="Charging",
        stop_reason="Local",
        offline=True,
        readings=(
            Reading(
                AT,
                (
                    Sample(REGISTER, Decimal(1500), "Wh", None, None, "Transaction.Begin"),
                    Sample(
                        REGISTER,
                        Decimal(1500),
                        "Wh",
                        signed=SignedValue("T0NNRg==", "ECDSA", "OCMF", "3059"),
                    ),
                    Sample("Current.Import", Decimal("16.1"), "A", "L2", "Outlet"),
                ),
            ),
        ),
        reservation_id=5,
        remote_start_id=77,
        number_of_phases_used=3,
        cable_max_current=Decimal(32),
    )


@BOTH
def test_a_sparse_transaction_event(version: OcppVersion) -> None:
    # Ended often lacks EVSE, id token and values; Started lacks connector and value
    message = came(version, "TransactionEvent", **event(eventType="Ended"))
    assert message == TransactionReport(
        kind=ReportKind.ENDED,
        ocpp_transaction_id="tx-1",
        csms_assigns_id=False,
        at=AT,
        seq_no=3,
        trigger_reason="MeterValuePeriodic",
    )
    started = came(version, "TransactionEvent", **event(eventType="Started", evse={"id": 1}))
    assert isinstance(started, TransactionReport)
    assert (started.evse_id, started.connector_id) == (1, None)


@BOTH
def test_transaction_event_answer(version: OcppVersion) -> None:
    assert went(version, "TransactionEvent", TransactionAnswer()) == {}
    assert went(version, "TransactionEvent", Acknowledged()) == {}
    blocked = IdTokenInfo(status=AuthorizationStatus.BLOCKED)
    assert went(version, "TransactionEvent", TransactionAnswer(id_token_info=blocked)) == {
        "idTokenInfo": {"status": "Blocked"}
    }


@BOTH
def test_an_id_token_of_no_authorization_is_a_token(version: OcppVersion) -> None:
    body = event(idToken={"idToken": "", "type": "NoAuthorization"})
    message = came(version, "TransactionEvent", **body)
    assert isinstance(message, TransactionReport)
    assert message.id_token == IdToken(value="", type="NoAuthorization")


@BOTH
def test_meter_values(version: OcppVersion) -> None:
    message = came(version, "MeterValues", evseId=0, meterValue=[{"timestamp": T, "sampledValue": [{"value": 1}]}])
    assert message == MeterReport(
        evse_id=0, connector_id=None, readings=(Reading(AT, (Sample(REGISTER, Decimal(1), "Wh"),)),)
    )


@BOTH
def test_a_json_number_keeps_its_digits(version: OcppVersion) -> None:
    raw = b'{"evseId":1,"meterValue":[{"timestamp":"%s","sampledValue":[{"value":123456789012.345678}]}]}' % T.encode()
    message = take(version, "MeterValues", raw)
    assert isinstance(message, MeterReport)
    assert message.readings[0].samples[0].value == Decimal("123456789012.345678")


@BOTH
@pytest.mark.parametrize(
    ("action", "fields", "tells"),
    [
        ("FirmwareStatusNotification", {"status": "Installed", "requestId": 1}, "Installed"),
        ("LogStatusNotification", {"status": "AcceptedCanceled", "requestId": 0}, "AcceptedCanceled"),
        ("SecurityEventNotification", {"type": "StartupOfTheDevice", "timestamp": T}, "StartupOfTheDevice"),
        (
            "NotifyReport",
            {"requestId": 4, "generatedAt": T, "seqNo": 2, "tbc": True},
            "request 4, part 2, more follows",
        ),
        ("NotifyReport", {"requestId": 4, "generatedAt": T, "seqNo": 3}, "request 4, part 3"),
    ],
)
def test_notices(version: OcppVersion, action: str, fields: dict[str, Any], tells: str) -> None:
    told = came(version, action, **fields)
    assert isinstance(told, Notice)
    assert (told.action, told.tells) == (action, tells)


@BOTH
def test_a_reservation_that_ended_is_reported(version: OcppVersion) -> None:
    """OCPP 2.0.1 H04.FR.01."""
    fields = {"reservationId": 9, "reservationUpdateStatus": "Expired"}
    assert came(version, "ReservationStatusUpdate", **fields) == Notice(
        action="ReservationStatusUpdate",
        tells="9: Expired",
        report=ReservationUpdate(reservation_id=9, status="Expired"),
    )


@BOTH
def test_a_request_for_a_certificate_is_answered_as_the_desk_says(version: OcppVersion) -> None:
    assert came(version, "SignCertificate", csr="x", certificateType="V2GCertificate") == CertificateRequest(
        csr="x", use="V2GCertificate"
    )
    assert went(version, "SignCertificate", CertificateAnswer(accepted=True)) == {"status": "Accepted"}
    assert went(version, "SignCertificate", CertificateAnswer(accepted=False)) == {"status": "Rejected"}
    if version is V21:
        assert came(V21, "SignCertificate", csr="x", requestId=4) == CertificateRequest(csr="x", request_id=4)


@BOTH
@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ("DataTransfer", {"status": "UnknownVendorId"}),
        ("SignCertificate", {"status": "Rejected"}),
        ("Get15118EVCertificate", {"status": "Failed", "exiResponse": ""}),
        ("GetCertificateStatus", {"status": "Failed"}),
        ("NotifyEVChargingNeeds", {"status": "Rejected"}),
        ("NotifyEVChargingSchedule", {"status": "Accepted"}),
        ("NotifyEvent", {}),
        ("NotifyReport", {}),
        ("SecurityEventNotification", {}),
    ],
)
def test_answers_to_notices_say_what_is_true(version: OcppVersion, action: str, answer: dict[str, Any]) -> None:
    assert went(version, action, Acknowledged()) == answer


def test_what_2_1_asks_and_nobody_can_answer_is_refused_by_name() -> None:
    raw = b'{"vatNumber":"DE123456789","evseId":1}'
    asked = decode_request(V21, "VatNumberValidation", raw)
    assert went(V21, "VatNumberValidation", Acknowledged(), asked) == {
        "vatNumber": "DE123456789",
        "evseId": 1,
        "status": "Rejected",
    }
    certificate = {"hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b", "serialNumber": "c"}
    request = {"certificateHashData": certificate, "source": "OCSP", "urls": ["http://ocsp"]}
    raw = json.dumps({"certificateStatusRequests": [request]}).encode()
    status = went(
        V21, "GetCertificateChainStatus", Acknowledged(), decode_request(V21, "GetCertificateChainStatus", raw)
    )
    assert status["certificateStatus"][0]["status"] == "Failed"
    assert status["certificateStatus"][0]["certificateHashData"] == certificate
    assert went(V21, "OpenPeriodicEventStream", Acknowledged()) == {"status": "Rejected"}
    refused = {"status": "Rejected", "statusInfo": {"reasonCode": "InvalidProfile"}}
    assert went(V21, "PullDynamicScheduleUpdate", Acknowledged()) == refused


def test_a_periodic_event_stream_is_a_notice_without_an_answer() -> None:
    body = {"id": 3, "pending": 0, "basetime": T, "data": [{"t": 0, "v": "1"}, {"t": 1, "v": "2"}]}
    message = take(V21, "NotifyPeriodicEventStream", json.dumps(body).encode())
    assert isinstance(message, Notice)
    assert message.tells == "stream 3: 2 value(s), 0 more held"
    assert isinstance(message.report, StreamValues)
    assert [one.value for one in message.report.values] == ["1", "2"]


@pytest.mark.parametrize("version", [V201, V21])
def test_data_of_a_vendor_is_a_question(version: OcppVersion) -> None:
    message = came(version, "DataTransfer", vendorId="com.x", data={"any": [1]})
    asks = DataTransferAsk(vendor_id="com.x", data=b'{"any":[1]}')
    assert message == Question(action="DataTransfer", tells="com.x", asks=asks)
    assert "NotifyPeriodicEventStream" not in OUTGOING[V21]
