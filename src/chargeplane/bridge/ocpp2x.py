"""OCPP 2.0.1 and 2.1 to the domain and back: one translation, because both speak of the same device.

A function takes the union of both versions' types. What 2.1 alone has stands in its table only. Every function is
called once a message on the hot path: plain attribute access, tables, no isinstance.

A request may come from a repair: then an enumeration's field may hold a plain text that the version does not have, and
the fields listed in `repairs.shape.TOLERATED` may be `None`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge import contracts, exchanges, firmware, monitoring, smart_charging
from chargeplane.bridge.encoding import boot, empty, encode, heartbeat, sign_certificate
from chargeplane.bridge.mirror import as_wire
from chargeplane.bridge.narrow import decimal, number, text
from chargeplane.bridge.samples import moment, readings2x
from chargeplane.bridge.security_events import security_event
from chargeplane.bridge.variables import in_report, report_part, shows_secrets
from chargeplane.domain.authorization import canonical
from chargeplane.domain.certificates import CertificateHashData
from chargeplane.domain.messages import (
    Acknowledged,
    AdditionalIdToken,
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
    LimitKind,
    MeterReport,
    Notice,
    ReportKind,
    StationMessage,
    TransactionAnswer,
    TransactionReport,
)
from chargeplane.domain.reservations import ReservationUpdate
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v21, v201

STATE: Final[Mapping[str, ConnectorState]] = {state.value: state for state in ConnectorState} | dict.fromkeys(
    ("Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing"), ConnectorState.OCCUPIED
)
"""The states of OCPP 2.x, and the words of 1.6 that some firmwares carried over."""

KIND: Final[Mapping[str, ReportKind]] = {kind.value: kind for kind in ReportKind}
"""TransactionEventEnum words."""


def _id_token(token: v201.IdTokenType | v21.IdTokenType) -> IdToken:
    kind = token.type
    value = made_storable(token.id_token, 255)
    if token.additional_info is None and kind not in _SEPARATED:
        return IdToken(value=value, type=made_storable(kind, 64) if kind else None)
    return IdToken(
        value=canonical(value, kind),
        type=made_storable(kind, 64) if kind else None,
        additional=tuple(
            AdditionalIdToken(value=made_storable(one.additional_id_token, 255), type=made_storable(one.type, 50))
            for one in (token.additional_info or ())[:_MOST_ADDITIONAL]
            if one.additional_id_token and one.type
        ),
    )


_SEPARATED: Final = frozenset({"MacAddress", "EVCCID", "eMAID"})
_MOST_ADDITIONAL: Final = 10


def _boot(request: v201.BootNotificationRequest | v21.BootNotificationRequest) -> StationMessage:
    station = request.charging_station
    modem = station.modem
    return Boot(
        vendor=text(station.vendor_name),
        model=text(station.model),
        serial_number=text(station.serial_number),
        firmware_version=text(station.firmware_version),
        reason=request.reason,
        iccid=None if modem is None else text(modem.iccid),
        imsi=None if modem is None else text(modem.imsi),
    )


_HEARTBEAT: Final = Heartbeat()


def _heartbeat(request: v201.HeartbeatRequest | v21.HeartbeatRequest) -> StationMessage:
    return _HEARTBEAT


def _status(request: v201.StatusNotificationRequest | v21.StatusNotificationRequest) -> StationMessage:
    evse = number(request.evse_id)
    connector = number(request.connector_id)
    state = STATE.get(request.connector_status)
    if evse is None or connector is None or state is None:
        told = f"EVSE {request.evse_id} connector {request.connector_id}: {request.connector_status}"
        return Notice(action="StatusNotification", tells=told)
    return ConnectorStatus(
        evse_id=evse,
        connector_id=connector,
        status=state,
        reported=request.connector_status,
        at=moment(request.timestamp),
    )


def _authorize(request: v201.AuthorizeRequest | v21.AuthorizeRequest) -> StationMessage:
    if request.certificate is None and request.iso15118_certificate_hash_data is None:
        return Authorize(id_token=_id_token(request.id_token))
    return Authorize(id_token=_id_token(request.id_token), contract=contracts.contract_of(request))


def _authorize21(request: v21.AuthorizeRequest) -> StationMessage:
    contract = None
    if request.certificate is not None or request.iso15118_certificate_hash_data is not None:
        contract = contracts.contract_of(request)
    return Authorize(id_token=_id_token(request.id_token), contract=contract, takes_tariff=True)


def _transaction_event(request: v201.TransactionEventRequest | v21.TransactionEventRequest) -> StationMessage:
    info = request.transaction_info
    evse = request.evse
    token = request.id_token
    values = request.meter_value
    cable = request.cable_max_current
    if info is None:  # only after a repair
        info = _NAMELESS
    name = info.transaction_id
    return TransactionReport(
        kind=KIND[request.event_type],
        ocpp_transaction_id=made_storable(name, 255) if name else None,
        csms_assigns_id=False,
        at=moment(request.timestamp),
        seq_no=request.seq_no,
        evse_id=None if evse is None else number(evse.id),
        connector_id=None if evse is None else number(evse.connector_id),
        id_token=None if token is None else _id_token(token),
        trigger_reason=request.trigger_reason,
        charging_state=info.charging_state,
        stop_reason=info.stopped_reason,
        offline=request.offline is True,
        readings=readings2x(values) if values else (),
        reservation_id=request.reservation_id,
        remote_start_id=info.remote_start_id,
        number_of_phases_used=request.number_of_phases_used,
        cable_max_current=None if cable is None else decimal(cable),
    )


_NAMELESS: Final = v201.TransactionType(transaction_id="")


def _meter_values(request: v201.MeterValuesRequest | v21.MeterValuesRequest) -> StationMessage:
    evse = number(request.evse_id or 0)
    if evse is None:
        return Notice(action="MeterValues", tells=f"EVSE {request.evse_id}")
    return MeterReport(evse_id=evse, connector_id=None, readings=readings2x(request.meter_value))


def _notice(action: str, tells: Callable[[Any], object]) -> tuple[str, Callable[[Any], StationMessage]]:
    def notice(request: Any) -> StationMessage:
        told = tells(request)
        return Notice(action=action, tells=None if told is None else text(str(told)))

    return action, notice


def _sign_certificate(request: Any) -> StationMessage:
    use = request.certificate_type
    return CertificateRequest(
        csr=made_storable(request.csr),
        use=None if use is None else str(use.value),
        request_id=getattr(request, "request_id", None),  # since 2.1
        root=_root(getattr(request, "hash_root_certificate", None)),
    )


def _root(named: v21.CertificateHashDataType | None) -> CertificateHashData | None:
    """None also where it is nothing that a certificate could be named by: any hierarchy will do then."""
    if named is None:
        return None
    try:
        return msgspec.convert(
            {
                "hash_algorithm": named.hash_algorithm.value,
                "issuer_name_hash": named.issuer_name_hash,
                "issuer_key_hash": named.issuer_key_hash,
                "serial_number": named.serial_number,
            },
            CertificateHashData,
        ).folded()
    except msgspec.ValidationError:
        return None


def _reservation(
    request: v201.ReservationStatusUpdateRequest | v21.ReservationStatusUpdateRequest,
) -> StationMessage:
    number, status = request.reservation_id, made_storable(str(request.reservation_update_status), 64)
    return Notice(
        action="ReservationStatusUpdate",
        tells=text(f"{number}: {status}"),
        report=ReservationUpdate(reservation_id=number, status=status) if number is not None else None,
    )


def _security_event(request: Any) -> StationMessage:
    return Notice(action="SecurityEventNotification", tells=text(request.type), report=security_event(request))


def _part(request: Any) -> str:
    return f"request {request.request_id}"


def _numbered_part(request: Any) -> str:
    return f"request {request.request_id}, part {request.seq_no}{', more follows' if request.tbc else ''}"


def _report(request: v201.NotifyReportRequest | v21.NotifyReportRequest) -> StationMessage:
    variables = in_report(request.report_data)
    return Notice(
        action="NotifyReport",
        tells=text(_numbered_part(request)),
        variables=variables,
        report=report_part(request, variables),
        hides=shows_secrets(request.report_data),
    )


_BOTH: Final[Mapping[str, Callable[[Any], StationMessage]]] = {
    "Authorize": _authorize,
    "BootNotification": _boot,
    "DataTransfer": exchanges.data_transfer,
    **contracts.INCOMING,
    "Heartbeat": _heartbeat,
    "MeterValues": _meter_values,
    "NotifyDisplayMessages": exchanges.display_messages,
    "NotifyReport": _report,
    "StatusNotification": _status,
    "TransactionEvent": _transaction_event,
    "FirmwareStatusNotification": firmware.firmware_status,
    "LogStatusNotification": firmware.log_status,
    "NotifyCustomerInformation": firmware.customer_information,
    "NotifyEvent": monitoring.events,
    "NotifyMonitoringReport": monitoring.monitoring_report,
    "PublishFirmwareStatusNotification": firmware.publish_status,
    "ReservationStatusUpdate": _reservation,
    "SecurityEventNotification": _security_event,
    "SignCertificate": _sign_certificate,
    **smart_charging.INCOMING_BOTH,
}

INCOMING_201: Final[Mapping[str, Callable[[Any], StationMessage]]] = _BOTH
"""What each action of a 2.0.1 station means."""

INCOMING_21: Final[Mapping[str, Callable[[Any], StationMessage]]] = {
    **_BOTH,
    "Authorize": _authorize21,
    **exchanges.INCOMING_21,
    **contracts.INCOMING_21,
    **smart_charging.INCOMING_21,
}
"""What each action (and the one SEND) of a 2.1 station means."""


def info2x(v: Any, info: IdTokenInfo) -> Any:
    """IdTokenInfoType of either version; what is too long for the version is left out, half a name misleads."""
    longest_id, longest_message = (36, 512) if v is v201 else (255, 1024)
    group = None
    if info.group_id and len(info.group_id) <= longest_id:
        kind: Any = info.group_type
        if v is v201:
            kind = _GROUP_TYPES.get(kind, v201.IdTokenEnumType.CENTRAL)
        elif not kind or len(kind) > 20:
            kind = "Central"
        group = v.IdTokenType(id_token=info.group_id, type=kind)
    language = info.language if info.language and len(info.language) <= 8 else None
    message = None
    if info.personal_message:
        message = v.MessageContentType(
            format=v.MessageFormatEnumType.UTF8, language=language, content=info.personal_message[:longest_message]
        )
    made: Struct = v.IdTokenInfoType(
        status=v.AuthorizationStatusEnumType(info.status.value),
        cache_expiry_date_time=None if info.valid_until is None else rfc3339(info.valid_until),
        charging_priority=info.charging_priority,
        language1=language,
        language2=info.language2 if info.language2 and len(info.language2) <= 8 and language else None,
        evse_id=info.evse_ids or None,
        group_id_token=group,
        personal_message=message,
    )
    return made


_GROUP_TYPES: Final[Mapping[str | None, v201.IdTokenEnumType]] = {kind.value: kind for kind in v201.IdTokenEnumType}
_NO_LIMIT: Final = v21.TransactionLimitType()
_PLAIN_INFO: Final = {
    status: encode(v201.IdTokenInfoType(status=v201.AuthorizationStatusEnumType(status.value)))
    for status in AuthorizationStatus
}


def _constant(answer: Struct) -> Callable[[Any, Any], bytes]:
    encoded = encode(answer)
    return lambda request, answer: encoded


def _outgoing(v: ModuleType) -> dict[str, Callable[[Any, Any], bytes]]:
    def info_bytes(info: IdTokenInfo) -> bytes:
        if (
            info.valid_until is None
            and info.group_id is None
            and not info.personal_message
            and not info.language
            and info.charging_priority is None
            and not info.evse_ids
        ):
            return _PLAIN_INFO[info.status]
        return encode(info2x(v, info))

    def authorize(request: Any, answer: AuthorizeAnswer) -> bytes:
        info = info_bytes(answer.id_token_info)
        if answer.certificate_status is None and answer.tariff is None:
            return b'{"idTokenInfo":%b}' % info
        certificate = b""
        if answer.certificate_status is not None:
            certificate = b'"certificateStatus":"%b",' % answer.certificate_status.encode()
        if answer.tariff is None or v is v201:
            return b'{%b"idTokenInfo":%b}' % (certificate, info)
        tariff = encode(as_wire(v21.TariffType, answer.tariff))  # 2.1 I08.FR.01
        return b'{%b"idTokenInfo":%b,"tariff":%b}' % (certificate, info, tariff)

    def transaction_event(request: Any, answer: TransactionAnswer | Acknowledged) -> bytes:
        info = getattr(answer, "id_token_info", None)
        cost = getattr(answer, "total_cost", None)
        if cost is not None:  # I03.FR.02; limits are told at the start only
            total = f"{cost:f}".encode()
            return (
                b'{"totalCost":%b}' % total
                if info is None
                else b'{"totalCost":%b,"idTokenInfo":%b}' % (total, info_bytes(info))
            )
        if info is None:
            return b"{}"
        if info.limits is None or not info.limits.kept or v is v201:
            return b'{"idTokenInfo":%b}' % info_bytes(info)
        limits = info.limits  # 2.1 E16.FR.02: once, in the first answer; FR.12: only what the station keeps
        told = v21.TransactionLimitType(
            max_cost=limits.max_cost if LimitKind.COST in limits.kept else None,
            max_energy=limits.max_energy_wh if LimitKind.ENERGY in limits.kept else None,
            max_time=limits.max_time_s if LimitKind.TIME in limits.kept else None,
            max_soc=limits.max_soc if LimitKind.SOC in limits.kept else None,
        )
        if told == _NO_LIMIT:
            return b'{"idTokenInfo":%b}' % info_bytes(info)
        return b'{"idTokenInfo":%b,"transactionLimit":%b}' % (info_bytes(info), encode(told))

    return {
        "Authorize": authorize,
        "BootNotification": boot,
        "Heartbeat": heartbeat,
        "TransactionEvent": transaction_event,
        "DataTransfer": exchanges.answer_data_transfer2x,
        "SignCertificate": sign_certificate,
        **(contracts.OUTGOING_201 if v is v201 else contracts.OUTGOING_21),
        **dict.fromkeys(
            (
                "FirmwareStatusNotification",
                "LogStatusNotification",
                "MeterValues",
                "NotifyCustomerInformation",
                "NotifyDisplayMessages",
                "NotifyEvent",
                "NotifyMonitoringReport",
                "NotifyReport",
                "PublishFirmwareStatusNotification",
                "ReservationStatusUpdate",
                "SecurityEventNotification",
                "StatusNotification",
            ),
            empty,
        ),
    }


OUTGOING_201: Final[Mapping[str, Callable[[Any, Any], bytes]]] = {**_outgoing(v201), **smart_charging.OUTGOING_201}
"""The bytes of each answer in 2.0.1."""

OUTGOING_21: Final[Mapping[str, Callable[[Any, Any], bytes]]] = {
    **_outgoing(v21),
    **exchanges.OUTGOING_21,
    **dict.fromkeys(
        (
            "BatterySwap",
            "ClosePeriodicEventStream",
        ),
        empty,
    ),
    **smart_charging.OUTGOING_21,
}
"""The bytes of each answer in 2.1. NotifyPeriodicEventStream is a SEND: it has none."""

TRANSACTION_ACTIONS: Final = frozenset({"TransactionEvent", "MeterValues"})
"""Actions that are always answered with a CALLRESULT: a CALLERROR would stall the station's queue."""
