"""Version-free commands as the CALLs of a station's version, and its answers in words.

What a version cannot do is refused before anything is sent, with a sentence that says what is possible instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.commands import (
    CallOutcome,
    CallOutcomeKind,
    ChangeAvailability,
    ClearCache,
    Command,
    CommandOutcome,
    CommandState,
    DeliverCertificate,
    Reset,
    ResetKind,
    Start,
    Stop,
    Trigger,
    Unlock,
)
from chargeplane.domain.messages import IdToken
from chargeplane.kernel.errors import InvalidInputError, RuleError
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

_MAX_INT: Final = 2**31 - 1
_MAX_CHAIN: Final = 10_000


def to_call(version: OcppVersion, command: Command) -> tuple[str, Struct]:
    """The action and request that carry out a command in a version.

    Raises:
        InvalidInputError: a value of the command does not fit the version; names the field and what fits.
        RuleError: the version has no such command; the sentence says what it has.
    """
    return _CALLS[version][type(command)](command)


def outcome(command: Command, action: str, call: CallOutcome) -> CommandOutcome:
    """How a command ended, from how its CALL ended.

    Args:
        action: the action that was sent.
        call: a CALLRESULT's payload may be anything: what has no status word is a failure, said so.
    """
    if call.outcome is CallOutcomeKind.CALLRESULT:
        return _answered(command, action, call)
    if call.outcome is CallOutcomeKind.TIMEOUT:
        return CommandOutcome(
            state=CommandState.TIMED_OUT, call=call, action=action, reason="The station did not answer in time."
        )
    if call.outcome is CallOutcomeKind.DISCONNECTED:
        return CommandOutcome(
            state=CommandState.FAILED,
            call=call,
            action=action,
            reason="The connection ended before the station answered; it may have acted all the same.",
        )
    told = f": {call.error_description}" if call.error_description else ""
    return CommandOutcome(
        state=CommandState.FAILED,
        call=call,
        action=action,
        status=call.error_code,
        reason=made_storable(f"The station answered {action} with the error {call.error_code}{told}.", 500),
    )


def call_outcome(action: str, call: CallOutcome) -> CommandOutcome:
    """How a raw call ended: accepted where the station answered and its status word, if the answer has one, says that it does
    what was asked; rejected for any other word.

    Args:
        action: the action that was sent.
    """
    if call.outcome is not CallOutcomeKind.CALLRESULT:
        return CommandOutcome(state=_STATE_OF_CALL[call.outcome], call=call, action=action)
    word, info = _status_word(call.payload or b"{}")
    if not isinstance(word, str) or not word:
        return CommandOutcome(state=CommandState.ACCEPTED, call=call, action=action)
    status = made_storable(word, 64)
    if status in DONE:
        return CommandOutcome(state=CommandState.ACCEPTED, call=call, action=action, status=status)
    reason = _with_info(f"The station answered {status}.", info)
    return CommandOutcome(state=CommandState.REJECTED, call=call, action=action, status=status, reason=reason)


_STATE_OF_CALL: Final = {
    CallOutcomeKind.CALLERROR: CommandState.FAILED,
    CallOutcomeKind.TIMEOUT: CommandState.TIMED_OUT,
    CallOutcomeKind.DISCONNECTED: CommandState.FAILED,
}


def reservation_field(version: str, action: str, payload: bytes) -> str | None:
    """The wire name of the reservation's id where a ReserveNow has none and is to be given one (1.6, 6.39; 2.0.1 H01).

    Args:
        payload: JSON text.
    Returns:
        None where the payload has an id, is no object, or the action is another.
    """
    if action != "ReserveNow":
        return None
    name = "reservationId" if version == OcppVersion.V16.value else "id"
    try:
        return None if name in _bare_status.decode(payload) else name
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _StatusInfo(Struct, frozen=True):
    reasonCode: object = None  # noqa: N815
    additionalInfo: object = None  # noqa: N815


class _Status(Struct, frozen=True):
    status: str
    statusInfo: _StatusInfo | None = None  # noqa: N815


_status: Final = msgspec.json.Decoder(_Status)
_bare_status: Final = msgspec.json.Decoder(dict[str, Any])

DONE: Final = frozenset({"Accepted", "Scheduled", "Unlocked", "RebootRequired", "AcceptedCanceled"})
"""Status words that mean the station does, or will do, what was asked."""

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
_SOON: Final[Mapping[type, str]] = {
    Reset: "The station restarts when its transactions have ended.",
    ChangeAvailability: "The change takes effect when the running transaction has ended.",
}


def _status_word(payload: bytes) -> tuple[object, _StatusInfo | None]:
    try:
        answer = _status.decode(payload)
        return answer.status, answer.statusInfo
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # a status beside something that is not as it should be
        return _bare_status.decode(payload).get("status"), None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None, None


def _with_info(reason: str, info: _StatusInfo | None) -> str:
    if info is None:
        return reason
    details = ", ".join(
        made_storable(one, 512) for one in (info.reasonCode, info.additionalInfo) if isinstance(one, str) and one
    )
    return f"{reason} It says: {details}" if details else reason


def _answered(command: Command, action: str, call: CallOutcome) -> CommandOutcome:
    word, info = _status_word(call.payload or b"{}")
    if not isinstance(word, str) or not word:
        return CommandOutcome(
            state=CommandState.FAILED,
            call=call,
            action=action,
            reason=f"The station answered {action} without a status.",
        )
    status = made_storable(word, 64)
    if status in DONE:
        later = _SOON.get(type(command)) if status == "Scheduled" else None
        return CommandOutcome(state=CommandState.ACCEPTED, call=call, action=action, status=status, reason=later)
    reason = _with_info(_REASONS.get((type(command), status), f"The station answered {status}."), info)
    return CommandOutcome(state=CommandState.REJECTED, call=call, action=action, status=status, reason=reason)


def _invalid(sentence: str, pointer: str, what: str) -> InvalidInputError:
    return InvalidInputError(sentence, ((pointer, what),))


def _checked(value: int, least: int, pointer: str) -> int:
    if not least <= value <= _MAX_INT:
        name = pointer[1:]
        raise _invalid(f"{name} {value} is out of range.", pointer, f"a whole number from {least} to {_MAX_INT}")
    return value


# --- OCPP 1.6 ---------------------------------------------------------------------------------------------------------


def _connector16(evse_id: int, connector_id: int | None, least: int) -> int:
    """EVSE n, connector 1 is 1.6's connector n."""
    if connector_id is not None and connector_id != (1 if evse_id else 0):
        raise _invalid(
            f"In OCPP 1.6 EVSE {evse_id} has connector 1 only.", "/connector_id", "1, or leave it out (0 for EVSE 0)"
        )
    return _checked(evse_id, least, "/evse_id")


def _start16(command: Start) -> tuple[str, Struct]:
    tag = command.id_token.value
    if len(tag) > 20:
        raise _invalid(
            f"OCPP 1.6 takes id tags of at most 20 characters, this one has {len(tag)}.",
            "/id_token/value",
            "at most 20 characters",
        )
    connector = None if command.evse_id is None else _checked(command.evse_id, 1, "/evse_id")
    return "RemoteStartTransaction", v16.RemoteStartTransactionRequest(id_tag=tag, connector_id=connector)


def _stop16(command: Stop) -> tuple[str, Struct]:
    name = command.ocpp_transaction_id
    # isdecimal takes digits of all scripts, isascii keeps to ours; a sign is allowed, stations have such ids
    digits = name.removeprefix("-")
    if len(name) > 11 or not (digits.isascii() and digits.isdecimal()) or not -(2**31) <= int(name) <= _MAX_INT:
        raise _invalid(
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
        raise _invalid(
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
        raise _invalid(
            f"A certificate chain has at most {_MAX_CHAIN} characters, this one has {len(command.chain)}.",
            "/chain",
            f"at most {_MAX_CHAIN} characters",
        )
    return command.chain


# --- OCPP 2.0.1 and 2.1 -----------------------------------------------------------------------------------------------


def _id_token2x(v: Any, token: IdToken) -> Any:
    """Tokens without a type come from us, which is what Central means (OCPP 2.0.1 F01)."""
    longest = 36 if v is v201 else 255
    if len(token.value) > longest:
        raise _invalid(
            f"The station's OCPP version takes id tokens of at most {longest} characters.",
            "/id_token/value",
            f"at most {longest} characters",
        )
    kind: Any = token.type or "Central"
    if v is v201:
        kind = _TYPES_201.get(kind)
        if kind is None:
            raise _invalid(
                f"OCPP 2.0.1 has no id token type '{made_storable(str(token.type), 64)}'.",
                "/id_token/type",
                "one of " + ", ".join(_TYPES_201),
            )
    elif len(kind) > 20:
        raise _invalid("An id token type has at most 20 characters.", "/id_token/type", "at most 20 characters")
    return v.IdTokenType(id_token=token.value, type=kind)


_TYPES_201: Final[Mapping[str, v201.IdTokenEnumType]] = {kind.value: kind for kind in v201.IdTokenEnumType}


def _calls2x(v: Any) -> Mapping[type, Callable[[Any], tuple[str, Struct]]]:
    uses = {word.value: word for word in v.CertificateSigningUseEnumType}
    triggers = {word.value: word for word in v.MessageTriggerEnumType if word.value != "CustomTrigger"}

    def evse2x(evse_id: int, connector_id: int | None) -> Any:
        connector = None if connector_id is None else _checked(connector_id, 0, "/connector_id")
        return v.EVSEType(id=_checked(evse_id, 0, "/evse_id"), connector_id=connector)

    def start(command: Start) -> tuple[str, Struct]:
        if command.remote_start_id is None:
            raise _invalid(
                "OCPP 2.x starts need a number to find the transaction by.", "/remote_start_id", "a whole number"
            )
        return "RequestStartTransaction", v.RequestStartTransactionRequest(
            id_token=_id_token2x(v, command.id_token),
            remote_start_id=_checked(command.remote_start_id, 0, "/remote_start_id"),
            evse_id=None if command.evse_id is None else _checked(command.evse_id, 1, "/evse_id"),
        )

    def stop(command: Stop) -> tuple[str, Struct]:
        name = command.ocpp_transaction_id
        if not 1 <= len(name) <= 36:
            raise _invalid(
                "OCPP 2.x names transactions by texts of 1 to 36 characters.",
                "/ocpp_transaction_id",
                "1 to 36 characters, as the station sent it",
            )
        return "RequestStopTransaction", v.RequestStopTransactionRequest(transaction_id=name)

    def unlock(command: Unlock) -> tuple[str, Struct]:
        return "UnlockConnector", v.UnlockConnectorRequest(
            evse_id=_checked(command.evse_id, 1, "/evse_id"),
            connector_id=_checked(command.connector_id, 1, "/connector_id"),
        )

    def reset(command: Reset) -> tuple[str, Struct]:
        immediate = command.kind is ResetKind.IMMEDIATE
        return "Reset", v.ResetRequest(
            type=v.ResetEnumType.IMMEDIATE if immediate else v.ResetEnumType.ON_IDLE,
            evse_id=_checked(command.evse_id, 1, "/evse_id") if command.evse_id else None,
        )

    def trigger(command: Trigger) -> tuple[str, Struct]:
        word = triggers.get(command.message)
        if word is None:
            raise _invalid(
                f"The station's OCPP version has no trigger for '{made_storable(command.message, 64)}'.",
                "/message",
                "one of " + ", ".join(triggers),
            )
        connector = command.connector_id
        if word == "StatusNotification":
            # F06.FR.13: this one is asked of a connector
            if not command.evse_id:
                raise _invalid(
                    "OCPP 2.x asks for the status of one connector at a time.", "/evse_id", "the EVSE's number, from 1"
                )
            connector = connector or 1
        evse = None if command.evse_id is None else evse2x(command.evse_id, connector)
        return "TriggerMessage", v.TriggerMessageRequest(requested_message=word, evse=evse)

    def availability(command: ChangeAvailability) -> tuple[str, Struct]:
        status = v.OperationalStatusEnumType
        # G03: without evse the whole station is meant
        if not command.evse_id and command.connector_id:
            raise _invalid("A connector is named together with its EVSE.", "/evse_id", "the EVSE's number, from 1")
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


_CALLS: Final[Mapping[OcppVersion, Mapping[type, Callable[[Any], tuple[str, Struct]]]]] = {
    OcppVersion.V16: {
        Start: _start16,
        Stop: _stop16,
        Unlock: _unlock16,
        Reset: _reset16,
        Trigger: _trigger16,
        ChangeAvailability: _availability16,
        ClearCache: _clear_cache16,
        DeliverCertificate: _deliver16,
    },
    OcppVersion.V201: _calls2x(v201),
    OcppVersion.V21: _calls2x(v21),
}
