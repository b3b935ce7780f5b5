"""A virtual station that speaks OCPP 1.6 with its security extension. Connector n is EVSE n."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, json

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.ocpp.versions import OcppVersion
from chargeplane.simulator import acts, signing, subjects
from chargeplane.simulator.dialect import BootAnswer, Draft, Moment, Reading, Reply
from chargeplane.simulator.evse import Evse, EvseStatus, Session, StopReason
from chargeplane.simulator.meter import Measured, Quantity
from chargeplane.simulator.subjects import firmware, logs, smart_charging

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_MEASURANDS: Final = {quantity: v16.Measurand(quantity.value) for quantity in Quantity}
_PHASES: Final = {phase.value: phase for phase in v16.Phase}
_UNITS: Final = {unit.value: unit for unit in v16.UnitOfMeasure}  # 1.6 has none for Hz

_REASONS: Final = {
    StopReason.LOCAL: v16.Reason.LOCAL,
    StopReason.REMOTE: v16.Reason.REMOTE,
    StopReason.EV_DISCONNECTED: v16.Reason.EV_DISCONNECTED,
    StopReason.POWER_LOSS: v16.Reason.POWER_LOSS,
    StopReason.HARD_RESET: v16.Reason.HARD_RESET,
    StopReason.SOFT_RESET: v16.Reason.SOFT_RESET,
    StopReason.DEAUTHORIZED: v16.Reason.DE_AUTHORIZED,
    StopReason.UNLOCK: v16.Reason.UNLOCK_COMMAND,
    StopReason.EMERGENCY_STOP: v16.Reason.EMERGENCY_STOP,
    StopReason.ENERGY_LIMIT: v16.Reason.LOCAL,
    StopReason.TRANSFER_REFUSED: v16.Reason.OTHER,
    StopReason.TIME_LIMIT: v16.Reason.LOCAL,
    StopReason.MASTER_PASS: v16.Reason.LOCAL,
}
_BY_TOKEN: Final = (StopReason.LOCAL, StopReason.MASTER_PASS)
_CONTEXTS: Final = {
    Moment.PERIODIC: v16.ReadingContext.SAMPLE_PERIODIC,
    Moment.TRIGGERED: v16.ReadingContext.TRIGGER,
    Moment.POWER_BACK: v16.ReadingContext.INTERRUPTION_END,
    Moment.RATE_CHANGED: v16.ReadingContext.OTHER,
}
_UNKNOWN_TRANSACTION: Final = -1  # OCPP 1.6 is silent on a stop whose start was never confirmed; most stations send -1

_boot: Final = json.Decoder(v16.BootNotificationResponse)
_heartbeat: Final = json.Decoder(v16.HeartbeatResponse)
_authorize: Final = json.Decoder(v16.AuthorizeResponse)
_start: Final = json.Decoder(v16.StartTransactionResponse)


def _sampled(values: list[Measured], context: v16.ReadingContext) -> tuple[v16.SampledValue, ...]:
    return tuple(
        v16.SampledValue(
            value=str(value.value),
            context=context,
            measurand=_MEASURANDS[value.quantity],
            phase=_PHASES[value.phase] if value.phase is not None else None,
            unit=_UNITS.get(value.unit),
        )
        for value in values
    )


def _transaction_id(session: Session) -> int:
    return _UNKNOWN_TRANSACTION if session.transaction_id is None else int(session.transaction_id)


class Dialect16:
    """OCPP 1.6."""

    version = OcppVersion.V16

    # ---------------------------------------------------------------- what it says

    def boot(self, station: VirtualStation, reason: str) -> Draft:
        model = station.options.model
        request = v16.BootNotificationRequest(
            charge_point_vendor=model.vendor[:20],
            charge_point_model=model.model[:20],
            charge_point_serial_number=station.station_id[:25],
            firmware_version=model.firmware,
            meter_type="virtual",
        )
        return Draft("BootNotification", lambda: request)

    def heartbeat(self) -> Draft:
        return Draft("Heartbeat", v16.HeartbeatRequest)

    def word(self, status: EvseStatus) -> str:
        return status.value

    def status(self, station: VirtualStation, evse: Evse | None) -> Draft:
        if evse is None:
            word = v16.ChargePointStatus.AVAILABLE if station.operative else v16.ChargePointStatus.UNAVAILABLE
        else:
            word = v16.ChargePointStatus(evse.status.value)
        faulted = word is v16.ChargePointStatus.FAULTED
        request = v16.StatusNotificationRequest(
            connector_id=0 if evse is None else evse.id,
            error_code=v16.ChargePointErrorCode.GROUND_FAILURE if faulted else v16.ChargePointErrorCode.NO_ERROR,
            status=word,
            timestamp=rfc3339(station.clock.now()),
        )
        return Draft("StatusNotification", lambda: request)

    def authorize(self, id_token: str) -> Draft:
        request = v16.AuthorizeRequest(id_tag=id_token)
        return Draft("Authorize", lambda: request)

    def started(self, station: VirtualStation, evse: Evse, session: Session, reading: Reading, offline: bool) -> Draft:
        signing.began(station, session, reading.at)  # sent with the stop: StartTransaction has no place for it
        request = v16.StartTransactionRequest(
            connector_id=evse.id,
            id_tag=session.id_token,
            meter_start=session.meter_start_wh,
            timestamp=rfc3339(reading.at),
            reservation_id=session.reservation_id,
        )
        return Draft("StartTransaction", lambda: request)

    def updated(
        self, station: VirtualStation, evse: Evse, session: Session, reading: Reading, moment: Moment, offline: bool
    ) -> Draft | None:
        context = _CONTEXTS.get(moment)
        if context is None:
            return None  # 1.6 tells a change of state as a status
        value = v16.MeterValue(timestamp=rfc3339(reading.at), sampled_value=_sampled(reading.values, context))
        return Draft(
            "MeterValues",
            lambda: v16.MeterValuesRequest(
                connector_id=evse.id, transaction_id=_transaction_id(session), meter_value=(value,)
            ),
        )

    def ended(
        self, station: VirtualStation, evse: Evse, session: Session, reading: Reading, reason: StopReason, offline: bool
    ) -> Draft:
        assert session.meter_stop_wh is not None
        meter_stop = session.meter_stop_wh
        values = [value for value in reading.values if value.quantity is Quantity.ENERGY]
        sampled = _sampled(values, v16.ReadingContext.TRANSACTION_END)
        signed = signing.ended(station, session, reading.at)
        if signed is not None:
            contexts = (v16.ReadingContext.TRANSACTION_BEGIN, v16.ReadingContext.TRANSACTION_END)
            sampled += tuple(
                v16.SampledValue(
                    value=one.as_text,
                    context=context,
                    format=v16.ValueFormat.SIGNED_DATA,
                    measurand=_MEASURANDS[Quantity.ENERGY],
                )
                for one, context in zip(signed, contexts, strict=True)
            )
        data = v16.MeterValue(timestamp=rfc3339(reading.at), sampled_value=sampled)
        return Draft(
            "StopTransaction",
            lambda: v16.StopTransactionRequest(
                meter_stop=meter_stop,
                timestamp=rfc3339(reading.at),
                transaction_id=_transaction_id(session),
                id_tag=(session.stop_id_token or session.id_token) if reason in _BY_TOKEN else None,
                reason=_REASONS[reason],
                transaction_data=(data,) if sampled else None,
            ),
        )

    def meter_values(self, station: VirtualStation, evse: Evse, reading: Reading) -> Draft:
        value = v16.MeterValue(
            timestamp=rfc3339(reading.at), sampled_value=_sampled(reading.values, v16.ReadingContext.SAMPLE_PERIODIC)
        )
        request = v16.MeterValuesRequest(connector_id=evse.id, meter_value=(value,))
        return Draft("MeterValues", lambda: request)

    def reservation_ended(self, station: VirtualStation, reservation_id: int, word: str) -> Draft | None:
        return None  # 1.6 tells it by the status alone

    # ---------------------------------------------------------------- what it is answered

    def read_boot(self, payload: bytes) -> BootAnswer:
        answer = _boot.decode(payload)
        return BootAnswer(answer.status, answer.interval, parse_timestamp(answer.current_time))

    def read_time(self, payload: bytes) -> datetime | None:
        return parse_timestamp(_heartbeat.decode(payload).current_time)

    def read_authorize(self, payload: bytes) -> str:
        return _authorize.decode(payload).id_tag_info.status.value

    def read_tariff(self, payload: bytes) -> str | None:
        return None

    def read_started(self, session: Session, payload: bytes) -> str | None:
        answer = _start.decode(payload)
        session.transaction_id = str(answer.transaction_id)
        return answer.id_tag_info.status.value

    def limit_set(self, station: VirtualStation, evse: Evse, session: Session, reading: Reading) -> Draft | None:
        return None  # 1.6 knows no limits

    # ---------------------------------------------------------------- what it is asked

    def handle(self, station: VirtualStation, action: str, request: Struct) -> Reply | None:
        handler = _HANDLERS.get(action)
        return None if handler is None else handler(station, request)


def _reset(station: VirtualStation, request: v16.ResetRequest) -> Reply:
    reason = StopReason.HARD_RESET if request.type is v16.ResetType.HARD else StopReason.SOFT_RESET
    return Reply(v16.ResetResponse(status=v16.ResetStatus.ACCEPTED), lambda: station.reboot("RemoteReset", stop=reason))


def _remote_start(station: VirtualStation, request: v16.RemoteStartTransactionRequest) -> Reply:
    evse = acts.evse_for_remote_start(station, request.connector_id, request.id_tag)
    if evse is None:
        return Reply(v16.RemoteStartTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED))
    if request.charging_profile is not None:
        profile = smart_charging.profile16(evse.id, request.charging_profile)
        if smart_charging.refusal(station, profile, starting=True) is not None:
            return Reply(v16.RemoteStartTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED))
        station.profiles.put(profile)
    return Reply(
        v16.RemoteStartTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED),
        lambda: station.remote_start(evse, request.id_tag),
    )


def _remote_stop(station: VirtualStation, request: v16.RemoteStopTransactionRequest) -> Reply:
    session = station.session_of(str(request.transaction_id))
    if session is None:
        return Reply(v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.REJECTED))
    return Reply(
        v16.RemoteStopTransactionResponse(status=v16.RemoteStartStopStatus.ACCEPTED),
        lambda: session.request_stop(StopReason.REMOTE),
    )


def _unlock(station: VirtualStation, request: v16.UnlockConnectorRequest) -> Reply:
    evse = acts.find_evse(station, request.connector_id)
    if evse is None:
        return Reply(v16.UnlockConnectorResponse(status=v16.UnlockStatus.NOT_SUPPORTED))
    # OCPP 1.6, 5.19: an ongoing transaction is ended first.
    return Reply(
        v16.UnlockConnectorResponse(status=v16.UnlockStatus.UNLOCKED),
        lambda: acts.stop_if_busy(evse, StopReason.UNLOCK),
    )


def _change_availability(station: VirtualStation, request: v16.ChangeAvailabilityRequest) -> Reply:
    evses = acts.evses_of(station, request.connector_id)
    if not evses:
        return Reply(v16.ChangeAvailabilityResponse(status=v16.AvailabilityStatus.REJECTED))
    operative = request.type is v16.AvailabilityType.OPERATIVE
    scheduled = acts.any_busy(evses) and not operative
    status = v16.AvailabilityStatus.SCHEDULED if scheduled else v16.AvailabilityStatus.ACCEPTED
    whole = request.connector_id == 0
    return Reply(
        v16.ChangeAvailabilityResponse(status=status),
        lambda: acts.change_availability(station, evses, operative, whole_station=whole),
    )


def _data_transfer(station: VirtualStation, request: v16.DataTransferRequest) -> Reply:
    if request.vendor_id != station.options.model.vendor:
        return Reply(v16.DataTransferResponse(status=v16.DataTransferStatus.UNKNOWN_VENDOR_ID))
    return Reply(v16.DataTransferResponse(status=v16.DataTransferStatus.ACCEPTED, data=request.data))


def _trigger(station: VirtualStation, word: str, connector_id: int | None) -> Callable[[], None] | None:
    """What to do for a trigger; None where the station cannot."""
    evses = acts.evses_of(station, connector_id or 0)
    if not evses:
        return None
    drafts: Callable[[], list[Draft]]
    if word == "BootNotification":
        return station.trigger_boot
    if word == "Heartbeat":
        drafts = lambda: [DIALECT_16.heartbeat()]  # noqa: E731
    elif word == "StatusNotification":
        drafts = lambda: [DIALECT_16.status(station, evse) for evse in evses]  # noqa: E731
    elif word == "MeterValues":
        return lambda: acts.trigger_meter_values(station, evses)
    elif word == "DiagnosticsStatusNotification":
        drafts = lambda: [logs.triggered(station, diagnostics=True)]  # noqa: E731
    elif word == "FirmwareStatusNotification":
        drafts = lambda: [firmware.triggered(station)]  # noqa: E731
    elif word == "LogStatusNotification":
        drafts = lambda: [logs.triggered(station)]  # noqa: E731
    else:
        return None
    return lambda: acts.send_all(station, drafts(), first=True)


def _trigger_message(station: VirtualStation, request: v16.TriggerMessageRequest) -> Reply:
    then = _trigger(station, request.requested_message.value, request.connector_id)
    status = v16.TriggerMessageStatus.REJECTED if then is None else v16.TriggerMessageStatus.ACCEPTED
    return Reply(v16.TriggerMessageResponse(status=status), then)


def _extended_trigger_message(station: VirtualStation, request: v16.ExtendedTriggerMessageRequest) -> Reply:
    then = _trigger(station, request.requested_message.value, request.connector_id)
    status = v16.TriggerMessageStatus.NOT_IMPLEMENTED if then is None else v16.TriggerMessageStatus.ACCEPTED
    return Reply(v16.ExtendedTriggerMessageResponse(status=status), then)


def _installed_certificates(station: VirtualStation, request: v16.GetInstalledCertificateIdsRequest) -> Reply:
    return Reply(v16.GetInstalledCertificateIdsResponse(status=v16.GetInstalledCertificateStatus.NOT_FOUND))


def _install_certificate(station: VirtualStation, request: v16.InstallCertificateRequest) -> Reply:
    return Reply(v16.InstallCertificateResponse(status=v16.InstallCertificateStatus.REJECTED))


def _delete_certificate(station: VirtualStation, request: v16.DeleteCertificateRequest) -> Reply:
    return Reply(v16.DeleteCertificateResponse(status=v16.DeleteCertificateStatus.NOT_FOUND))


def _certificate_signed(station: VirtualStation, request: v16.CertificateSignedRequest) -> Reply:
    return Reply(v16.CertificateSignedResponse(status=v16.CertificateSignedStatus.REJECTED))


_HANDLERS: dict[str, Callable[[VirtualStation, Any], Reply]] = {
    "CertificateSigned": _certificate_signed,
    "ChangeAvailability": _change_availability,
    "DataTransfer": _data_transfer,
    "DeleteCertificate": _delete_certificate,
    "ExtendedTriggerMessage": _extended_trigger_message,
    "GetInstalledCertificateIds": _installed_certificates,
    "InstallCertificate": _install_certificate,
    "RemoteStartTransaction": _remote_start,
    "RemoteStopTransaction": _remote_stop,
    "Reset": _reset,
    "TriggerMessage": _trigger_message,
    "UnlockConnector": _unlock,
    **subjects.handlers("HANDLERS16"),
}
_HANDLERS = subjects.wrapped("WRAPS16", _HANDLERS)

DIALECT_16: Final = Dialect16()
"""The one object for all stations of the process."""
