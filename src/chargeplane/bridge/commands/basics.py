"""The basic commands as CALLs: start, stop, unlock, restart, and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from chargeplane.bridge.commands.checks import MAX_INT, checked, id_tag16, id_token2x, invalid
from chargeplane.bridge.commands.smart_charging import starting_profile
from chargeplane.bridge.commands.subject import Subject, ToCall
from chargeplane.domain.commands import (
    ChangeAvailability,
    ClearCache,
    DeliverCertificate,
    Reset,
    ResetKind,
    Start,
    Stop,
    Trigger,
    Unlock,
)
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

_MAX_CHAIN: Final = 10_000

_REASONS: Final[Mapping[tuple[type, str], str]] = {
    (Start, "Rejected"): "The station refused to start: the EVSE may be occupied, faulted, reserved or out of service.",
    (Stop, "Rejected"): "The station refused to stop: it knows no running transaction of that id.",
    (Unlock, "UnlockFailed"): "The station tried and could not unlock the connector.",
    (Unlock, "NotSupported"): "The station has no lock on that connector, or no such connector.",
    (Unlock, "OngoingAuthorizedTransaction"): "A transaction runs on that connector; stop it first.",
    (Unlock, "UnknownConnector"): "The station has no such connector.",
    (Reset, "Rejected"): "The station refused to restart.",
    (Trigger, "Rejected"): "The station will not send that message now.",
    (Trigger, "NotImplemented"): "The station cannot send that message on request.",
    (ChangeAvailability, "Rejected"): "The station refused the change of availability.",
    (
        DeliverCertificate,
        "Rejected",
    ): "The station does not take the certificate: it may not trust the authority that signed it.",
    (ClearCache, "Rejected"): "The station did not clear its cache; it may have none.",
}
_RESETS: Final[Mapping[ResetKind, str]] = {
    ResetKind.IMMEDIATE: "Immediate",
    ResetKind.ON_IDLE: "OnIdle",
    ResetKind.IMMEDIATE_AND_RESUME: "ImmediateAndResume",
}
_NO_RESUME: Final = (
    "Only OCPP 2.1 goes on with transactions after a restart: use on_idle to wait for them, or immediate to end them."
)
_SOON: Final[Mapping[type, str]] = {
    Reset: "The station restarts when its transactions have ended.",
    ChangeAvailability: "The change takes effect when the running transaction has ended.",
}

# --- OCPP 1.6 ---------------------------------------------------------------------------------------------------------


def _connector16(evse_id: int, connector_id: int | None, least: int) -> int:
    """EVSE n, connector 1 is 1.6's connector n."""
    if connector_id is not None and connector_id != (1 if evse_id else 0):
        raise invalid(
            f"In OCPP 1.6 EVSE {evse_id} has connector 1 only.", "/connector_id", "1, or leave it out (0 for EVSE 0)"
        )
    return checked(evse_id, least, "/evse_id")


def _start16(command: Start) -> tuple[str, Struct]:
    tag = id_tag16(command.id_token)
    connector = None if command.evse_id is None else checked(command.evse_id, 1, "/evse_id")
    return "RemoteStartTransaction", v16.RemoteStartTransactionRequest(
        id_tag=tag, connector_id=connector, charging_profile=starting_profile(OcppVersion.V16, command)
    )


def _stop16(command: Stop) -> tuple[str, Struct]:
    name = command.ocpp_transaction_id
    # isdecimal takes digits of all scripts, isascii keeps to ours; a sign is allowed, stations have such ids
    digits = name.removeprefix("-")
    if len(name) > 11 or not (digits.isascii() and digits.isdecimal()) or not -(2**31) <= int(name) <= MAX_INT:
        raise invalid(
            f"The station speaks OCPP 1.6, where transactions are named by 32-bit integers; '{made_storable(name, 64)}' is none.",
            "/ocpp_transaction_id",
            "the integer that the station was given for the transaction",
        )
    return "RemoteStopTransaction", v16.RemoteStopTransactionRequest(transaction_id=int(name))


def _unlock16(command: Unlock) -> tuple[str, Struct]:
    connector = _connector16(command.evse_id, command.connector_id, 1)
    return "UnlockConnector", v16.UnlockConnectorRequest(connector_id=connector)


def _reset16(command: Reset) -> tuple[str, Struct]:
    if command.evse_id:
        raise RuleError(
            "OCPP 1.6 resets the whole station only: leave evse_id out, or take the EVSE out of service and back with "
            "change_availability."
        )
    if command.kind is ResetKind.IMMEDIATE_AND_RESUME:
        raise RuleError(_NO_RESUME)
    kind = v16.ResetType.HARD if command.kind is ResetKind.IMMEDIATE else v16.ResetType.SOFT
    return "Reset", v16.ResetRequest(type=kind)


_TRIGGERS16: Final[Mapping[str, v16.MessageTrigger | v16.ExtendedMessageTrigger]] = {
    "BootNotification": v16.MessageTrigger.BOOT_NOTIFICATION,
    "DiagnosticsStatusNotification": v16.MessageTrigger.DIAGNOSTICS_STATUS_NOTIFICATION,
    "FirmwareStatusNotification": v16.MessageTrigger.FIRMWARE_STATUS_NOTIFICATION,
    "Heartbeat": v16.MessageTrigger.HEARTBEAT,
    "MeterValues": v16.MessageTrigger.METER_VALUES,
    "StatusNotification": v16.MessageTrigger.STATUS_NOTIFICATION,
    # the security extension has a trigger of its own (security whitepaper, ExtendedTriggerMessage)
    "LogStatusNotification": v16.ExtendedMessageTrigger.LOG_STATUS_NOTIFICATION,
    "SignChargingStationCertificate": v16.ExtendedMessageTrigger.SIGN_CHARGE_POINT_CERTIFICATE,
}


def _trigger16(command: Trigger) -> tuple[str, Struct]:
    word = _TRIGGERS16.get(command.message)
    if word is None:
        raise invalid(
            f"OCPP 1.6 has no trigger for '{made_storable(command.message, 64)}'.",
            "/message",
            "one of " + ", ".join(_TRIGGERS16),
        )
    connector = _connector16(command.evse_id, command.connector_id, 0) if command.evse_id else None
    if isinstance(word, v16.ExtendedMessageTrigger):
        return "ExtendedTriggerMessage", v16.ExtendedTriggerMessageRequest(
            requested_message=word, connector_id=connector
        )
    return "TriggerMessage", v16.TriggerMessageRequest(requested_message=word, connector_id=connector)


def _availability16(command: ChangeAvailability) -> tuple[str, Struct]:
    evse = command.evse_id or 0
    kind = v16.AvailabilityType.OPERATIVE if command.operative else v16.AvailabilityType.INOPERATIVE
    connector = _connector16(evse, command.connector_id, 0)
    return "ChangeAvailability", v16.ChangeAvailabilityRequest(connector_id=connector, type=kind)


def _clear_cache16(command: ClearCache) -> tuple[str, Struct]:
    return "ClearCache", v16.ClearCacheRequest()


def _deliver16(command: DeliverCertificate) -> tuple[str, Struct]:
    return "CertificateSigned", v16.CertificateSignedRequest(certificate_chain=_fitting_chain(command))


def _fitting_chain(command: DeliverCertificate) -> str:
    if len(command.chain) > _MAX_CHAIN:
        raise invalid(
            f"A certificate chain has at most {_MAX_CHAIN} characters, this one has {len(command.chain)}.",
            "/chain",
            f"at most {_MAX_CHAIN} characters",
        )
    return command.chain


# --- OCPP 2.0.1 and 2.1 -----------------------------------------------------------------------------------------------


def _calls2x(v: Any) -> Mapping[type, ToCall]:
    uses = {word.value: word for word in v.CertificateSigningUseEnumType}
    triggers = {word.value: word for word in v.MessageTriggerEnumType if word.value != "CustomTrigger"}

    def evse2x(evse_id: int, connector_id: int | None) -> Any:
        connector = None if connector_id is None else checked(connector_id, 0, "/connector_id")
        return v.EVSEType(id=checked(evse_id, 0, "/evse_id"), connector_id=connector)

    def start(command: Start) -> tuple[str, Struct]:
        if command.remote_start_id is None:
            raise invalid(
                "OCPP 2.x starts need a number to find the transaction by.", "/remote_start_id", "a whole number"
            )
        return "RequestStartTransaction", v.RequestStartTransactionRequest(
            id_token=id_token2x(v, command.id_token),
            remote_start_id=checked(command.remote_start_id, 0, "/remote_start_id"),
            evse_id=None if command.evse_id is None else checked(command.evse_id, 1, "/evse_id"),
            charging_profile=starting_profile(OcppVersion.V201 if v is v201 else OcppVersion.V21, command),
            group_id_token=None
            if command.group_id_token is None
            else id_token2x(v, command.group_id_token, "/group_id_token"),
        )

    def stop(command: Stop) -> tuple[str, Struct]:
        name = command.ocpp_transaction_id
        if not 1 <= len(name) <= 36:
            raise invalid(
                "OCPP 2.x names transactions by texts of 1 to 36 characters.",
                "/ocpp_transaction_id",
                "1 to 36 characters, as the station sent it",
            )
        return "RequestStopTransaction", v.RequestStopTransactionRequest(transaction_id=name)

    def unlock(command: Unlock) -> tuple[str, Struct]:
        return "UnlockConnector", v.UnlockConnectorRequest(
            evse_id=checked(command.evse_id, 1, "/evse_id"),
            connector_id=checked(command.connector_id, 1, "/connector_id"),
        )

    def reset(command: Reset) -> tuple[str, Struct]:
        if command.kind is ResetKind.IMMEDIATE_AND_RESUME and v is v201:
            raise RuleError(_NO_RESUME)
        return "Reset", v.ResetRequest(
            type=v.ResetEnumType(_RESETS[command.kind]),
            evse_id=checked(command.evse_id, 1, "/evse_id") if command.evse_id else None,
        )

    def custom(command: Trigger) -> tuple[str, Struct]:
        # 2.1 F06: customTrigger goes with the message CustomTrigger and with no other
        if v is v201:
            raise RuleError("OCPP 2.0.1 has no triggers of the vendor's own; DataTransfer may have one.")
        if command.custom is None or command.message != "CustomTrigger":
            raise invalid(
                "A trigger of the vendor's own has a name, and the message CustomTrigger.",
                "/custom" if command.custom is None else "/message",
                "1 to 50 characters" if command.custom is None else "CustomTrigger",
            )
        evse = None if command.evse_id is None else evse2x(command.evse_id, command.connector_id)
        return "TriggerMessage", v21.TriggerMessageRequest(
            requested_message=v21.MessageTriggerEnumType.CUSTOM_TRIGGER, evse=evse, custom_trigger=command.custom
        )

    def trigger(command: Trigger) -> tuple[str, Struct]:
        if command.custom is not None or command.message == "CustomTrigger":
            return custom(command)
        word = triggers.get(command.message)
        if word is None:
            raise invalid(
                f"The station's OCPP version has no trigger for '{made_storable(command.message, 64)}'.",
                "/message",
                "one of " + ", ".join(triggers),
            )
        connector = command.connector_id
        if word == "StatusNotification":
            # F06.FR.13: this one is asked of a connector
            if not command.evse_id:
                raise invalid(
                    "OCPP 2.x asks for the status of one connector at a time.", "/evse_id", "the EVSE's number, from 1"
                )
            connector = connector or 1
        evse = None if command.evse_id is None else evse2x(command.evse_id, connector)
        return "TriggerMessage", v.TriggerMessageRequest(requested_message=word, evse=evse)

    def availability(command: ChangeAvailability) -> tuple[str, Struct]:
        status = v.OperationalStatusEnumType
        # G03: without evse the whole station is meant
        if not command.evse_id and command.connector_id:
            raise invalid("A connector is named together with its EVSE.", "/evse_id", "the EVSE's number, from 1")
        return "ChangeAvailability", v.ChangeAvailabilityRequest(
            operational_status=status.OPERATIVE if command.operative else status.INOPERATIVE,
            evse=evse2x(command.evse_id, command.connector_id) if command.evse_id else None,
        )

    def clear_cache(command: ClearCache) -> tuple[str, Struct]:
        return "ClearCache", v.ClearCacheRequest()

    def deliver(command: DeliverCertificate) -> tuple[str, Struct]:
        # A02.FR.14: of the type that was asked for; the request id since 2.1
        more = {} if command.request_id is None or v is v201 else {"request_id": command.request_id}
        return "CertificateSigned", v.CertificateSignedRequest(
            certificate_chain=_fitting_chain(command),
            certificate_type=uses.get(command.use or ""),
            **more,
        )

    return {
        Start: start,
        Stop: stop,
        Unlock: unlock,
        Reset: reset,
        Trigger: trigger,
        ChangeAvailability: availability,
        ClearCache: clear_cache,
        DeliverCertificate: deliver,
    }


_CALLS16: Final[Mapping[type, ToCall]] = {
    Start: _start16,
    Stop: _stop16,
    Unlock: _unlock16,
    Reset: _reset16,
    Trigger: _trigger16,
    ChangeAvailability: _availability16,
    ClearCache: _clear_cache16,
    DeliverCertificate: _deliver16,
}

SUBJECT: Final = Subject(
    calls={OcppVersion.V16: _CALLS16, OcppVersion.V201: _calls2x(v201), OcppVersion.V21: _calls2x(v21)},
    reasons=_REASONS,
    soon=_SOON,
)
"""What any station can be asked."""
