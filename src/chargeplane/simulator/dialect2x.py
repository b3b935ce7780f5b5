"""A virtual station that speaks OCPP 2.0.1 or 2.1: one dialect, for what it says in 2.0.1 is valid 2.1 as well.

Requests arrive in their version's own types; their fields have the same names in both.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from msgspec import Struct, json
from msgspec.structs import replace

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v21, v201
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.ocpp.versions import OcppVersion
from chargeplane.simulator import acts, signing, subjects
from chargeplane.simulator.dialect import BootAnswer, Draft, Moment, Reading, Reply
from chargeplane.simulator.evse import ChargingState, Evse, EvseStatus, Session, StopReason
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.memory import plain_token
from chargeplane.simulator.meter import Measured, Quantity
from chargeplane.simulator.settings import RESUMPTION_TIMEOUT
from chargeplane.simulator.subjects import firmware, logs, smart_charging

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_MEASURANDS: Final = {
    quantity: v201.MeasurandEnumType(quantity.value)
    for quantity in Quantity
    if quantity is not Quantity.TEMPERATURE  # 2.x has it as a variable, not as a measurand
}
_PHASES: Final = {phase.value: phase for phase in v201.PhaseEnumType}
_UNITS: Final = {unit: v201.UnitOfMeasureType(unit=unit) for unit in ("Wh", "W", "A", "V", "Percent", "Hz")}

_STATUSES: Final = {
    EvseStatus.AVAILABLE: v201.ConnectorStatusEnumType.AVAILABLE,
    EvseStatus.PREPARING: v201.ConnectorStatusEnumType.OCCUPIED,
    EvseStatus.CHARGING: v201.ConnectorStatusEnumType.OCCUPIED,
    EvseStatus.SUSPENDED_EV: v201.ConnectorStatusEnumType.OCCUPIED,
    EvseStatus.SUSPENDED_EVSE: v201.ConnectorStatusEnumType.OCCUPIED,
    EvseStatus.FINISHING: v201.ConnectorStatusEnumType.OCCUPIED,
    EvseStatus.RESERVED: v201.ConnectorStatusEnumType.RESERVED,
    EvseStatus.UNAVAILABLE: v201.ConnectorStatusEnumType.UNAVAILABLE,
    EvseStatus.FAULTED: v201.ConnectorStatusEnumType.FAULTED,
}
_STATES: Final = {state: v201.ChargingStateEnumType(state.value) for state in ChargingState}

_Trigger: TypeAlias = v201.TriggerReasonEnumType
_Reason: TypeAlias = v201.ReasonEnumType
_STOPS: Final = {
    StopReason.LOCAL: (_Trigger.STOP_AUTHORIZED, _Reason.LOCAL),
    StopReason.REMOTE: (_Trigger.REMOTE_STOP, _Reason.REMOTE),
    StopReason.EV_DISCONNECTED: (_Trigger.EV_COMMUNICATION_LOST, _Reason.EV_DISCONNECTED),
    StopReason.POWER_LOSS: (_Trigger.ABNORMAL_CONDITION, _Reason.POWER_LOSS),
    StopReason.HARD_RESET: (_Trigger.RESET_COMMAND, _Reason.IMMEDIATE_RESET),
    StopReason.SOFT_RESET: (_Trigger.RESET_COMMAND, _Reason.REBOOT),
    StopReason.DEAUTHORIZED: (_Trigger.DEAUTHORIZED, _Reason.DE_AUTHORIZED),
    StopReason.UNLOCK: (_Trigger.UNLOCK_COMMAND, _Reason.OTHER),
    StopReason.EMERGENCY_STOP: (_Trigger.ABNORMAL_CONDITION, _Reason.EMERGENCY_STOP),
    StopReason.ENERGY_LIMIT: (_Trigger.ENERGY_LIMIT_REACHED, _Reason.ENERGY_LIMIT_REACHED),
    StopReason.TRANSFER_REFUSED: (_Trigger.ABNORMAL_CONDITION, _Reason.OTHER),
    StopReason.TIME_LIMIT: (_Trigger.TIME_LIMIT_REACHED, _Reason.TIME_LIMIT_REACHED),
    StopReason.MASTER_PASS: (_Trigger.STOP_AUTHORIZED, _Reason.MASTER_PASS),
}
_BY_TOKEN: Final = (StopReason.LOCAL, StopReason.MASTER_PASS)
_MOMENTS: Final = {
    Moment.PERIODIC: (_Trigger.METER_VALUE_PERIODIC, v201.ReadingContextEnumType.SAMPLE_PERIODIC),
    Moment.STATE_CHANGED: (_Trigger.CHARGING_STATE_CHANGED, v201.ReadingContextEnumType.OTHER),
    Moment.TRIGGERED: (_Trigger.TRIGGER, v201.ReadingContextEnumType.TRIGGER),
    Moment.POWER_BACK: (_Trigger.ABNORMAL_CONDITION, v201.ReadingContextEnumType.INTERRUPTION_END),
    Moment.RATE_CHANGED: (_Trigger.CHARGING_RATE_CHANGED, v201.ReadingContextEnumType.OTHER),
    Moment.RESETTING: (_Trigger.RESET_COMMAND, v201.ReadingContextEnumType.OTHER),
    # a word of 2.1: only its stations resume
    Moment.RESUMED: (cast("_Trigger", v21.TriggerReasonEnumType.TX_RESUMED), v201.ReadingContextEnumType.OTHER),
}
_NO_TOKEN: Final = v201.IdTokenType(id_token="", type=v201.IdTokenEnumType.NO_AUTHORIZATION)


def _token(id_token: str) -> v201.IdTokenType:
    """An RFID card, unless the text says what else it is (`Central:app-user-7`)."""
    if not id_token:
        return _NO_TOKEN
    kind, colon, text = id_token.partition(":")
    if colon and kind in _TOKEN_TYPES:
        return v201.IdTokenType(id_token=text, type=_TOKEN_TYPES[kind])
    return v201.IdTokenType(id_token=id_token, type=v201.IdTokenEnumType.ISO14443)


_TOKEN_TYPES: Final = {word.value: word for word in v201.IdTokenEnumType} | {
    # words of 2.1: only its stations are told them, and tell them
    word: cast("v201.IdTokenEnumType", word)
    for word in ("DirectPayment", "EVCCID", "VIN")
}


def _sampled(values: Sequence[Measured], context: v201.ReadingContextEnumType) -> tuple[v201.SampledValueType, ...]:
    return tuple(
        v201.SampledValueType(
            value=value.value,
            context=context,
            measurand=_MEASURANDS[value.quantity],
            phase=_PHASES[value.phase] if value.phase is not None else None,
            unit_of_measure=_UNITS[value.unit],
        )
        for value in values
        if value.quantity in _MEASURANDS
    )


def _meter_value(reading: Reading, context: v201.ReadingContextEnumType) -> tuple[v201.MeterValueType, ...] | None:
    sampled = _sampled(reading.values, context)
    return (v201.MeterValueType(timestamp=rfc3339(reading.at), sampled_value=sampled),) if sampled else None


def _energy(reading: Reading) -> Reading:
    return Reading(reading.at, [value for value in reading.values if value.quantity is Quantity.ENERGY])


def _signed_value(
    reading: Reading, context: v201.ReadingContextEnumType, signed: signing.Signed | None
) -> tuple[v201.MeterValueType, ...] | None:
    """The energy, with what the meter signed of it."""
    made = _meter_value(_energy(reading), context)
    if signed is None or made is None:
        return made
    (value,) = made
    first, *others = value.sampled_value
    whole = replace(
        first,
        signed_meter_value=v201.SignedMeterValueType(
            signed_meter_data=base64.b64encode(signed.data.encode()).decode(),
            signing_method=signing.METHOD,
            encoding_method=signing.ENCODING,
            public_key=signed.public_key,
        ),
    )
    return (replace(value, sampled_value=(whole, *others)),)


class Dialect2x:
    """OCPP 2.0.1 and 2.1."""

    __slots__ = ("_authorize", "_boot", "_event", "_heartbeat", "version")

    def __init__(self, version: OcppVersion) -> None:
        self.version = version
        is_21 = version is OcppVersion.V21
        self._boot = json.Decoder(v201.BootNotificationResponse)
        self._heartbeat = json.Decoder(v201.HeartbeatResponse)
        self._authorize: json.Decoder[v201.AuthorizeResponse] | json.Decoder[v21.AuthorizeResponse] = (
            json.Decoder(v21.AuthorizeResponse) if is_21 else json.Decoder(v201.AuthorizeResponse)
        )
        self._event: json.Decoder[v201.TransactionEventResponse] | json.Decoder[v21.TransactionEventResponse] = (
            json.Decoder(v21.TransactionEventResponse) if is_21 else json.Decoder(v201.TransactionEventResponse)
        )

    # ---------------------------------------------------------------- what it says

    def boot(self, station: VirtualStation, reason: str) -> Draft:
        model = station.options.model
        request = v201.BootNotificationRequest(
            charging_station=v201.ChargingStationType(
                vendor_name=model.vendor,
                model=model.model[:20],
                serial_number=station.station_id[:25],
                firmware_version=model.firmware,
            ),
            reason=v201.BootReasonEnumType(reason),
        )
        return Draft("BootNotification", lambda: request)

    def heartbeat(self) -> Draft:
        return Draft("Heartbeat", v201.HeartbeatRequest)

    def word(self, status: EvseStatus) -> str:
        return _STATUSES[status].value

    def status(self, station: VirtualStation, evse: Evse | None) -> Draft:
        word = v201.ConnectorStatusEnumType.AVAILABLE
        if evse is not None:
            word = _STATUSES[evse.status]
        elif not station.operative:
            word = v201.ConnectorStatusEnumType.UNAVAILABLE
        request = v201.StatusNotificationRequest(
            timestamp=rfc3339(station.clock.now()),
            connector_status=word,
            evse_id=0 if evse is None else evse.id,
            connector_id=0 if evse is None else 1,
        )
        return Draft("StatusNotification", lambda: request)

    def authorize(self, id_token: str) -> Draft:
        request = v201.AuthorizeRequest(id_token=_token(id_token))
        return Draft("Authorize", lambda: request)

    def _transaction_event(
        self,
        station: VirtualStation,
        evse: Evse,
        session: Session,
        kind: v201.TransactionEventEnumType,
        trigger: v201.TriggerReasonEnumType,
        at: datetime,
        offline: bool,
        *,
        meter_value: tuple[v201.MeterValueType, ...] | None,
        id_token: v201.IdTokenType | None = None,
        reason: v201.ReasonEnumType | None = None,
        state: v201.ChargingStateEnumType | None = None,
    ) -> Draft:
        seq_no = session.next_seq_no()
        if kind is v201.TransactionEventEnumType.UPDATED and seq_no % 3 == 2 and station.has(Fault.SEQ_NO_GAP):
            seq_no = session.next_seq_no()
        if station.has(Fault.SEQ_NO_ZERO):
            seq_no = 0
        elif station.has(Fault.SEQ_NO_REPEATED):
            seq_no = min(seq_no, 2)
        assert session.transaction_id is not None
        started = kind is v201.TransactionEventEnumType.STARTED
        about = v201.TransactionType(
            transaction_id=session.transaction_id,
            charging_state=state,
            stopped_reason=reason,
            remote_start_id=session.remote_start_id if started else None,
        )
        if started and session.tariff_id is not None:
            # 2.1 I08.FR.22: once; the same on the wire but for the tariff
            fields = {name: getattr(about, name) for name in about.__struct_fields__}
            about = cast(v201.TransactionType, v21.TransactionType(**fields, tariff_id=session.tariff_id))
        request = v201.TransactionEventRequest(
            event_type=kind,
            timestamp=rfc3339(at),
            trigger_reason=trigger,
            seq_no=seq_no,
            transaction_info=about,
            meter_value=meter_value,
            offline=True if offline else None,
            number_of_phases_used=None if evse.meter.model.dc else evse.meter.model.phases,
            reservation_id=session.reservation_id if started else None,
            evse=v201.EVSEType(id=evse.id, connector_id=1),
            id_token=id_token,
        )
        return Draft("TransactionEvent", lambda: request)

    def started(self, station: VirtualStation, evse: Evse, session: Session, reading: Reading, offline: bool) -> Draft:
        session.transaction_id = station.noise.uuid()
        remote = session.remote_start_id is not None
        return self._transaction_event(
            station,
            evse,
            session,
            v201.TransactionEventEnumType.STARTED,
            _Trigger.REMOTE_START if remote else _Trigger.AUTHORIZED,
            reading.at,
            offline,
            meter_value=_signed_value(
                reading, v201.ReadingContextEnumType.TRANSACTION_BEGIN, signing.began(station, session, reading.at)
            ),
            id_token=_token(session.id_token),
            state=_STATES[session.charging_state],
        )

    def updated(
        self, station: VirtualStation, evse: Evse, session: Session, reading: Reading, moment: Moment, offline: bool
    ) -> Draft | None:
        trigger, context = _MOMENTS[moment]
        return self._transaction_event(
            station,
            evse,
            session,
            v201.TransactionEventEnumType.UPDATED,
            trigger,
            reading.at,
            offline,
            meter_value=_meter_value(_energy(reading) if moment is Moment.STATE_CHANGED else reading, context),
            state=_STATES[session.charging_state],
        )

    def ended(
        self, station: VirtualStation, evse: Evse, session: Session, reading: Reading, reason: StopReason, offline: bool
    ) -> Draft:
        trigger, word = _STOPS[reason]
        signed = signing.ended(station, session, reading.at)
        if reason is StopReason.TRANSFER_REFUSED and self.version is OcppVersion.V21:
            word = cast(_Reason, v21.ReasonEnumType.REQ_ENERGY_TRANSFER_REJECTED)  # Q01.FR.06; the same on the wire
        return self._transaction_event(
            station,
            evse,
            session,
            v201.TransactionEventEnumType.ENDED,
            trigger,
            reading.at,
            offline,
            meter_value=_signed_value(
                reading, v201.ReadingContextEnumType.TRANSACTION_END, None if signed is None else signed[1]
            ),
            id_token=_token(session.stop_id_token or session.id_token) if reason in _BY_TOKEN else None,
            reason=word,
            state=v201.ChargingStateEnumType.IDLE if evse.car is None else v201.ChargingStateEnumType.EV_CONNECTED,
        )

    def meter_values(self, station: VirtualStation, evse: Evse, reading: Reading) -> Draft:
        sampled = _sampled(reading.values, v201.ReadingContextEnumType.SAMPLE_PERIODIC)
        value = v201.MeterValueType(timestamp=rfc3339(reading.at), sampled_value=sampled)
        request = v201.MeterValuesRequest(evse_id=evse.id, meter_value=(value,))
        return Draft("MeterValues", lambda: request)

    def reservation_ended(self, station: VirtualStation, reservation_id: int, word: str) -> Draft | None:
        request = v201.ReservationStatusUpdateRequest(
            reservation_id=reservation_id, reservation_update_status=v201.ReservationUpdateStatusEnumType(word)
        )
        return Draft("ReservationStatusUpdate", lambda: request)

    # ---------------------------------------------------------------- what it is answered

    def read_boot(self, payload: bytes) -> BootAnswer:
        answer = self._boot.decode(payload)
        return BootAnswer(answer.status, answer.interval, parse_timestamp(answer.current_time))

    def read_time(self, payload: bytes) -> datetime | None:
        return parse_timestamp(self._heartbeat.decode(payload).current_time)

    def read_authorize(self, payload: bytes) -> str:
        return self._authorize.decode(payload).id_token_info.status.value

    def read_tariff(self, payload: bytes) -> str | None:
        tariff = getattr(self._authorize.decode(payload), "tariff", None)
        return None if tariff is None else str(tariff.tariff_id)

    def read_started(self, session: Session, payload: bytes) -> str | None:
        answer = self._event.decode(payload)
        limit = getattr(answer, "transaction_limit", None)  # 2.1 E16
        if limit is not None and limit.max_energy is not None:
            session.max_energy_wh = int(limit.max_energy)
        return None if answer.id_token_info is None else answer.id_token_info.status.value

    def limit_set(self, station: VirtualStation, evse: Evse, session: Session, reading: Reading) -> Draft | None:
        if self.version is not OcppVersion.V21 or session.max_energy_wh is None:
            return None
        assert session.transaction_id is not None
        request = v21.TransactionEventRequest(
            event_type=v201.TransactionEventEnumType.UPDATED,
            timestamp=rfc3339(reading.at),
            trigger_reason=v21.TriggerReasonEnumType.LIMIT_SET,
            seq_no=session.next_seq_no(),
            transaction_info=v21.TransactionType(
                transaction_id=session.transaction_id,
                transaction_limit=v21.TransactionLimitType(max_energy=Decimal(session.max_energy_wh)),
            ),
            evse=v21.EVSEType(id=evse.id, connector_id=1),
        )
        return Draft("TransactionEvent", lambda: request)

    # ---------------------------------------------------------------- what it is asked

    def handle(self, station: VirtualStation, action: str, request: Struct) -> Reply | None:
        handler = _HANDLERS.get(action)
        return None if handler is None else handler(station, request)


def _reset(station: VirtualStation, request: v201.ResetRequest | v21.ResetRequest) -> Reply:
    immediate = request.type != "OnIdle"
    evses = acts.evses_of(station, request.evse_id or 0)
    if not evses:
        return Reply(v201.ResetResponse(status=v201.ResetStatusEnumType.REJECTED))
    if request.type == "ImmediateAndResume":
        if station.settings.number(RESUMPTION_TIMEOUT) == 0:  # OCPP 2.1 B13.FR.01
            return Reply(v201.ResetResponse(status=v201.ResetStatusEnumType.REJECTED))
        return Reply(
            v201.ResetResponse(status=v201.ResetStatusEnumType.ACCEPTED),
            lambda: station.reset_and_resume(evses, whole=not request.evse_id),
        )
    if request.evse_id:
        evse = evses[0]
        if evse.busy and not immediate:
            return Reply(v201.ResetResponse(status=v201.ResetStatusEnumType.SCHEDULED))
        return Reply(
            v201.ResetResponse(status=v201.ResetStatusEnumType.ACCEPTED),
            lambda: acts.reset_evse(station, evse),
        )
    if acts.any_busy(evses) and not immediate:
        # OCPP 2.0.1 B12.FR.01: wait until no transaction is left.
        return Reply(
            v201.ResetResponse(status=v201.ResetStatusEnumType.SCHEDULED),
            lambda: station.reboot_when_idle("ScheduledReset"),
        )
    return Reply(
        v201.ResetResponse(status=v201.ResetStatusEnumType.ACCEPTED),
        lambda: station.reboot("RemoteReset", stop=StopReason.HARD_RESET),
    )


def _request_start(
    station: VirtualStation, request: v201.RequestStartTransactionRequest | v21.RequestStartTransactionRequest
) -> Reply:
    id_token = plain_token(request.id_token)
    evse = acts.evse_for_remote_start(station, request.evse_id, id_token)
    if evse is None:
        return Reply(v201.RequestStartTransactionResponse(status=v201.RequestStartStopStatusEnumType.REJECTED))
    if request.charging_profile is not None:
        profile = smart_charging.profile2x(evse.id, request.charging_profile)
        if smart_charging.refusal(station, profile, starting=True) is not None:
            return Reply(v201.RequestStartTransactionResponse(status=v201.RequestStartStopStatusEnumType.REJECTED))
        station.profiles.put(profile, replaces_level=False)
    return Reply(
        v201.RequestStartTransactionResponse(status=v201.RequestStartStopStatusEnumType.ACCEPTED),
        lambda: station.remote_start(evse, id_token, request.remote_start_id),
    )


def _request_stop(station: VirtualStation, request: v201.RequestStopTransactionRequest) -> Reply:
    session = station.session_of(request.transaction_id)
    if session is None:
        return Reply(v201.RequestStopTransactionResponse(status=v201.RequestStartStopStatusEnumType.REJECTED))
    return Reply(
        v201.RequestStopTransactionResponse(status=v201.RequestStartStopStatusEnumType.ACCEPTED),
        lambda: session.request_stop(StopReason.REMOTE),
    )


def _unlock(station: VirtualStation, request: v201.UnlockConnectorRequest | v21.UnlockConnectorRequest) -> Reply:
    evse = acts.find_evse(station, request.evse_id)
    if evse is None or request.connector_id != 1:
        status = v201.UnlockStatusEnumType.UNKNOWN_CONNECTOR
    elif evse.busy:
        status = v201.UnlockStatusEnumType.ONGOING_AUTHORIZED_TRANSACTION  # OCPP 2.0.1 F05.FR.02
    else:
        status = v201.UnlockStatusEnumType.UNLOCKED
    return Reply(v201.UnlockConnectorResponse(status=status))


def _change_availability(
    station: VirtualStation, request: v201.ChangeAvailabilityRequest | v21.ChangeAvailabilityRequest
) -> Reply:
    evse_id = 0 if request.evse is None else request.evse.id
    evses = acts.evses_of(station, evse_id)
    if not evses:
        return Reply(v201.ChangeAvailabilityResponse(status=v201.ChangeAvailabilityStatusEnumType.REJECTED))
    operative = request.operational_status == "Operative"
    statuses = v201.ChangeAvailabilityStatusEnumType
    status = statuses.SCHEDULED if acts.any_busy(evses) and not operative else statuses.ACCEPTED
    return Reply(
        v201.ChangeAvailabilityResponse(status=status),
        lambda: acts.change_availability(station, evses, operative, whole_station=evse_id == 0),
    )


def _data_transfer(station: VirtualStation, request: v201.DataTransferRequest) -> Reply:
    statuses = v201.DataTransferStatusEnumType
    if request.vendor_id != station.options.model.vendor:
        return Reply(v201.DataTransferResponse(status=statuses.UNKNOWN_VENDOR_ID))
    return Reply(v201.DataTransferResponse(status=statuses.ACCEPTED, data=request.data))


def _trigger_message(station: VirtualStation, request: v201.TriggerMessageRequest | v21.TriggerMessageRequest) -> Reply:
    evses = acts.evses_of(station, 0 if request.evse is None else request.evse.id)
    then = _trigger(station, request.requested_message.value, evses) if evses else None
    statuses = v201.TriggerMessageStatusEnumType
    if not evses:
        return Reply(v201.TriggerMessageResponse(status=statuses.REJECTED))
    if then is None:
        return Reply(v201.TriggerMessageResponse(status=statuses.NOT_IMPLEMENTED))
    return Reply(v201.TriggerMessageResponse(status=statuses.ACCEPTED), then)


def _trigger(station: VirtualStation, word: str, evses: list[Evse]) -> Callable[[], None] | None:
    if word == "BootNotification":
        return station.trigger_boot
    if word in ("MeterValues", "TransactionEvent"):
        return lambda: acts.trigger_meter_values(station, evses)
    drafts: Callable[[], list[Draft]]
    if word == "Heartbeat":
        drafts = lambda: [station.dialect.heartbeat()]  # noqa: E731
    elif word == "StatusNotification":
        drafts = lambda: [station.dialect.status(station, evse) for evse in evses]  # noqa: E731
    elif word == "FirmwareStatusNotification":
        drafts = lambda: [firmware.triggered(station)]  # noqa: E731
    elif word == "LogStatusNotification":
        drafts = lambda: [logs.triggered(station)]  # noqa: E731
    elif word == "PublishFirmwareStatusNotification":
        drafts = lambda: [firmware.publishing_triggered(station)]  # noqa: E731
    else:
        return None
    return lambda: acts.send_all(station, drafts(), first=True)


def _cost_updated(station: VirtualStation, request: v201.CostUpdatedRequest) -> Reply:
    return Reply(v201.CostUpdatedResponse())


def _installed_certificates(
    station: VirtualStation,
    request: v201.GetInstalledCertificateIdsRequest | v21.GetInstalledCertificateIdsRequest,
) -> Reply:
    status = v201.GetInstalledCertificateStatusEnumType.NOT_FOUND
    return Reply(v201.GetInstalledCertificateIdsResponse(status=status))


def _install_certificate(
    station: VirtualStation, request: v201.InstallCertificateRequest | v21.InstallCertificateRequest
) -> Reply:
    return Reply(v201.InstallCertificateResponse(status=v201.InstallCertificateStatusEnumType.REJECTED))


def _delete_certificate(station: VirtualStation, request: v201.DeleteCertificateRequest) -> Reply:
    return Reply(v201.DeleteCertificateResponse(status=v201.DeleteCertificateStatusEnumType.NOT_FOUND))


def _certificate_signed(
    station: VirtualStation, request: v201.CertificateSignedRequest | v21.CertificateSignedRequest
) -> Reply:
    return Reply(v201.CertificateSignedResponse(status=v201.CertificateSignedStatusEnumType.REJECTED))


_HANDLERS: dict[str, Callable[[VirtualStation, Any], Reply]] = {
    "CertificateSigned": _certificate_signed,
    "ChangeAvailability": _change_availability,
    "CostUpdated": _cost_updated,
    "DataTransfer": _data_transfer,
    "DeleteCertificate": _delete_certificate,
    "GetInstalledCertificateIds": _installed_certificates,
    "InstallCertificate": _install_certificate,
    "RequestStartTransaction": _request_start,
    "RequestStopTransaction": _request_stop,
    "Reset": _reset,
    "TriggerMessage": _trigger_message,
    "UnlockConnector": _unlock,
    **subjects.handlers("HANDLERS2X"),
}
_HANDLERS = subjects.wrapped("WRAPS2X", _HANDLERS)

DIALECT_201: Final = Dialect2x(OcppVersion.V201)
"""OCPP 2.0.1: the one object for all stations of the process."""

DIALECT_21: Final = Dialect2x(OcppVersion.V21)
"""OCPP 2.1: the one object for all stations of the process."""
