"""OCPP 1.6 (with its security extension) to the domain and back.

Connector n is EVSE n, connector 1; connector 0, the station as a whole, is EVSE 0, connector 0. A transaction is named
by the integer we gave; -1 and 0, which stations send when the start was never confirmed, are no name at all. Every
function is called once a message on the hot path: plain attribute access, tables, no isinstance.

A request may come from a repair: then an enumeration's field may hold a plain text that 1.6 does not have, and the
fields listed in `repairs.shape.TOLERATED` may be `None`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.bridge import exchanges, firmware
from chargeplane.bridge.encoding import boot, empty, encode, heartbeat, sign_certificate
from chargeplane.bridge.narrow import decimal, number, text
from chargeplane.bridge.samples import moment, readings16
from chargeplane.bridge.security_events import security_event
from chargeplane.domain.authorization import canonical
from chargeplane.domain.messages import (
    Acknowledged,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    Boot,
    CertificateRequest,
    ConnectorState,
    ConnectorStatus,
    Heartbeat,
    IdToken,
    IdTokenInfo,
    MeterReport,
    Notice,
    Reading,
    ReportKind,
    Sample,
    StationMessage,
    TransactionAnswer,
    TransactionReport,
)
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16

STATE: Final[Mapping[str, ConnectorState]] = {
    "Available": ConnectorState.AVAILABLE,
    "Preparing": ConnectorState.OCCUPIED,
    "Charging": ConnectorState.OCCUPIED,
    "SuspendedEVSE": ConnectorState.OCCUPIED,
    "SuspendedEV": ConnectorState.OCCUPIED,
    "Finishing": ConnectorState.OCCUPIED,
    "Reserved": ConnectorState.RESERVED,
    "Unavailable": ConnectorState.UNAVAILABLE,
    "Faulted": ConnectorState.FAULTED,
    "Occupied": ConnectorState.OCCUPIED,  # OCPP 1.5 and 2.x; some 1.6 stations still say it
}
"""The nine states of OCPP 1.6, 7.7 as the five of 2.x."""

NARROWED: Final[Mapping[AuthorizationStatus, v16.AuthorizationStatus]] = {
    AuthorizationStatus.ACCEPTED: v16.AuthorizationStatus.ACCEPTED,
    AuthorizationStatus.BLOCKED: v16.AuthorizationStatus.BLOCKED,
    AuthorizationStatus.CONCURRENT_TX: v16.AuthorizationStatus.CONCURRENT_TX,
    AuthorizationStatus.EXPIRED: v16.AuthorizationStatus.EXPIRED,
    AuthorizationStatus.INVALID: v16.AuthorizationStatus.INVALID,
    AuthorizationStatus.NO_CREDIT: v16.AuthorizationStatus.BLOCKED,
    AuthorizationStatus.NOT_ALLOWED_TYPE_EVSE: v16.AuthorizationStatus.BLOCKED,
    AuthorizationStatus.NOT_AT_THIS_LOCATION: v16.AuthorizationStatus.BLOCKED,
    AuthorizationStatus.NOT_AT_THIS_TIME: v16.AuthorizationStatus.BLOCKED,
    AuthorizationStatus.UNKNOWN: v16.AuthorizationStatus.INVALID,
}
"""What 1.6 can say of an id token (OCPP 1.6, 7.2): known and refused for another reason is Blocked, unknown Invalid."""

UNASSIGNED: Final = -1
"""transactionId in the answer to a start to which the app gave none: stations and we know it as "never confirmed"."""

_REGISTER: Final = "Energy.Active.Import.Register"


def _id_token(tag: str | None) -> IdToken | None:
    if not tag:
        return None
    if tag[:4] == _AUTOCHARGE:
        return _autocharge(tag)
    return IdToken(value=made_storable(tag, 255))


def _autocharge(tag: str) -> IdToken:
    """The car's MAC address, as stations write it that have no types: `VID:` in front."""
    value = made_storable(tag, 255)
    return IdToken(value=canonical(value[4:], "MacAddress") or value, type="MacAddress")


_AUTOCHARGE: Final = "VID:"


def _transaction(value: int | None) -> str | None:
    return str(value) if value is not None and value > 0 else None


def _boot(request: v16.BootNotificationRequest) -> StationMessage:
    return Boot(
        vendor=text(request.charge_point_vendor),
        model=text(request.charge_point_model),
        serial_number=text(request.charge_point_serial_number),
        box_serial_number=text(request.charge_box_serial_number),
        firmware_version=text(request.firmware_version),
        iccid=text(request.iccid),
        imsi=text(request.imsi),
        meter_type=text(request.meter_type),
        meter_serial_number=text(request.meter_serial_number),
    )


_HEARTBEAT: Final = Heartbeat()


def _heartbeat(request: v16.HeartbeatRequest) -> StationMessage:
    return _HEARTBEAT


def _status(request: v16.StatusNotificationRequest) -> StationMessage:
    connector = number(request.connector_id)
    state = STATE.get(request.status)
    if connector is None or state is None:
        return Notice(action="StatusNotification", tells=f"connector {request.connector_id}: {request.status}")
    error: str | None = request.error_code
    return ConnectorStatus(
        evse_id=connector,
        connector_id=1 if connector else 0,
        status=state,
        reported=request.status,
        at=moment(request.timestamp),
        error_code=error if error and error != "NoError" else None,
        info=text(request.info),
        vendor_id=text(request.vendor_id),
        vendor_error_code=text(request.vendor_error_code),
    )


def _authorize(request: v16.AuthorizeRequest) -> StationMessage:
    return Authorize(id_token=_id_token(request.id_tag) or IdToken(value=""))


def _start(request: v16.StartTransactionRequest) -> StationMessage:
    connector = number(request.connector_id)
    at = moment(request.timestamp)
    meter = decimal(request.meter_start)
    return TransactionReport(
        kind=ReportKind.STARTED,
        ocpp_transaction_id=None,
        csms_assigns_id=True,
        at=at,
        evse_id=connector,
        connector_id=None if connector is None else 1 if connector else 0,
        id_token=_id_token(request.id_tag),
        meter_start=meter,
        readings=() if meter is None else (_register(at, meter, "Transaction.Begin"),),
        reservation_id=request.reservation_id,
    )


def _register(at: Any, meter: Decimal, context: str) -> Reading:
    return Reading(at, (Sample(_REGISTER, meter, "Wh", None, None, context),))


def _stop(request: v16.StopTransactionRequest) -> StationMessage:
    at = moment(request.timestamp)
    meter = decimal(request.meter_stop)
    data = request.transaction_data
    readings = readings16(data) if data else ()
    if meter is not None:
        readings = (*readings, _register(at, meter, "Transaction.End"))
    return TransactionReport(
        kind=ReportKind.ENDED,
        ocpp_transaction_id=_transaction(request.transaction_id),
        csms_assigns_id=True,
        at=at,
        id_token=_id_token(request.id_tag),
        stop_reason=request.reason,
        meter_stop=meter,
        readings=readings,
    )


def _meter_values(request: v16.MeterValuesRequest) -> StationMessage:
    readings = readings16(request.meter_value)
    connector = number(request.connector_id)
    transaction = request.transaction_id
    if transaction is not None:
        return TransactionReport(
            kind=ReportKind.UPDATED,
            ocpp_transaction_id=str(transaction) if transaction > 0 else None,
            csms_assigns_id=True,
            at=readings[-1].at if readings else None,
            evse_id=connector,
            connector_id=None if connector is None else 1 if connector else 0,
            readings=readings,
        )
    if connector is None:
        return Notice(action="MeterValues", tells=f"connector {request.connector_id}")
    return MeterReport(evse_id=connector, connector_id=1 if connector else 0, readings=readings)


def _notice(action: str, tells: Callable[[Any], object]) -> Callable[[Any], StationMessage]:
    def notice(request: Any) -> StationMessage:
        told = tells(request)
        return Notice(action=action, tells=None if told is None else text(str(told)))

    return notice


def _security_event(request: v16.SecurityEventNotificationRequest) -> StationMessage:
    return Notice(action="SecurityEventNotification", tells=text(request.type), report=security_event(request))


def _sign_certificate(request: v16.SignCertificateRequest) -> StationMessage:
    return CertificateRequest(csr=made_storable(request.csr))


INCOMING: Final[Mapping[str, Callable[[Any], StationMessage]]] = {
    "Authorize": _authorize,
    "BootNotification": _boot,
    "DataTransfer": exchanges.data_transfer,
    "DiagnosticsStatusNotification": firmware.diagnostics_status,
    "FirmwareStatusNotification": firmware.firmware_status,
    "Heartbeat": _heartbeat,
    "LogStatusNotification": firmware.log_status,
    "MeterValues": _meter_values,
    "SecurityEventNotification": _security_event,
    "SignCertificate": _sign_certificate,
    "SignedFirmwareStatusNotification": firmware.signed_firmware_status,
    "StartTransaction": _start,
    "StatusNotification": _status,
    "StopTransaction": _stop,
}
"""What each action of a station means."""


def info16(info: IdTokenInfo) -> v16.IdTagInfo:
    """IdTagInfo; a group that is too long for 1.6 is left out."""
    group = info.group_id
    return v16.IdTagInfo(
        status=NARROWED[info.status],
        expiry_date=None if info.valid_until is None else rfc3339(info.valid_until),
        parent_id_tag=group if group and len(group) <= 20 else None,  # a longer one is not sent: half a name misleads
    )


_PLAIN_INFO: Final = {
    status: encode(v16.IdTagInfo(status=narrowed)) for status, narrowed in NARROWED.items()
}  # what nearly every answer carries: the status alone


def _info_bytes(info: IdTokenInfo) -> bytes:
    return _PLAIN_INFO[info.status] if info.valid_until is None and info.group_id is None else encode(info16(info))


_INVALID: Final = _PLAIN_INFO[AuthorizationStatus.INVALID]


def _answer_authorize(request: Any, answer: AuthorizeAnswer) -> bytes:
    return b'{"idTagInfo":%b}' % _info_bytes(answer.id_token_info)


def _answer_start(request: Any, answer: TransactionAnswer | Acknowledged) -> bytes:
    """OCPP 1.6, 6.46: both fields are required, so a start without a tag, or one that could not be understood, is
    answered Invalid with the id that the app gave."""
    info = getattr(answer, "id_token_info", None)
    assigned = getattr(answer, "assigned_id", None)
    return b'{"idTagInfo":%b,"transactionId":%d}' % (
        _INVALID if info is None else _info_bytes(info),
        UNASSIGNED if assigned is None else assigned,
    )


def _answer_stop(request: Any, answer: TransactionAnswer | Acknowledged) -> bytes:
    info = getattr(answer, "id_token_info", None)
    return b"{}" if info is None else b'{"idTagInfo":%b}' % _info_bytes(info)


def _constant(answer: Struct) -> Callable[[Any, Any], bytes]:
    encoded = encode(answer)
    return lambda request, answer: encoded


OUTGOING: Final[Mapping[str, Callable[[Any, Any], bytes]]] = {
    "Authorize": _answer_authorize,
    "BootNotification": boot,
    "DataTransfer": exchanges.answer_data_transfer16,
    "DiagnosticsStatusNotification": empty,
    "FirmwareStatusNotification": empty,
    "Heartbeat": heartbeat,
    "LogStatusNotification": empty,
    "MeterValues": empty,
    "SecurityEventNotification": empty,
    "SignCertificate": sign_certificate,
    "SignedFirmwareStatusNotification": empty,
    "StartTransaction": _answer_start,
    "StatusNotification": empty,
    "StopTransaction": _answer_stop,
}
"""The bytes of each answer."""

TRANSACTION_ACTIONS: Final = frozenset({"StartTransaction", "StopTransaction", "MeterValues"})
"""Actions that are always answered with a CALLRESULT: a CALLERROR would stall the station's queue."""
