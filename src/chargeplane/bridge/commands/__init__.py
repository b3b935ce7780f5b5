"""Version-free commands as the CALLs of a station's version, and its answers in words. One module a subject.

What a version cannot do is refused before anything is sent, with a sentence that says what is possible instead.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge.commands import (
    basics,
    diagnostics,
    display_and_cost,
    firmware,
    local_list,
    monitoring,
    reservations,
    security,
    smart_charging,
    transactions,
    variables,
)
from chargeplane.bridge.commands.outcomes import DONE, call_outcome, status_word, with_info
from chargeplane.bridge.commands.subject import Subject
from chargeplane.domain.commands import CallOutcome, CallOutcomeKind, Command, CommandOutcome, CommandState
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp.versions import OcppVersion

SUBJECTS: Final[tuple[Subject, ...]] = (
    basics.SUBJECT,
    diagnostics.SUBJECT,
    display_and_cost.SUBJECT,
    firmware.SUBJECT,
    monitoring.SUBJECT,
    security.SUBJECT,
    smart_charging.SUBJECT,
    transactions.SUBJECT,
    local_list.SUBJECT,
    reservations.SUBJECT,
    variables.SUBJECT,
)
"""Everything stations can be asked."""


def _both(name: str) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    for subject in SUBJECTS:
        merged |= getattr(subject, name)
    return merged


def _by_version(name: str) -> dict[OcppVersion, dict[type, Any]]:
    merged: dict[OcppVersion, dict[type, Any]] = {version: {} for version in OcppVersion}
    for subject in SUBJECTS:
        for version, table in getattr(subject, name).items():
            merged[version] |= table
    return merged


_CALLS: Final = _by_version("calls")
_LACKS: Final = _both("lacks")
_REASONS: Final = _both("reasons")
_SOON: Final = _both("soon")
_REPLIES: Final = _by_version("replies")
_ANSWERS: Final = _by_version("answers")
_TOLD: Final = _by_version("told")
_object: Final = msgspec.json.Decoder(dict[str, Any])


def to_call(version: OcppVersion, command: Command) -> tuple[str, Struct]:
    """The action and request that carry out a command in a version.

    Raises:
        InvalidInputError: a value of the command does not fit the version; names the field and what fits.
        RuleError: the version has no such command; the sentence says what it has.
    """
    kind = type(command)
    write = _CALLS[version].get(kind)
    if write is None:
        name = str(command.__struct_config__.tag).replace("_", " ")
        raise RuleError(_LACKS.get((version, kind), f"OCPP {version.value} has no command '{name}'."))
    call: tuple[str, Struct] = write(command)
    return call


def outcome(version: OcppVersion, command: Command, action: str, call: CallOutcome) -> CommandOutcome:
    """How a command ended, from how its CALL ended.

    Args:
        action: the action that was sent.
        call: a CALLRESULT's payload may be anything: what has no status word is a failure, said so.
    """
    if call.outcome is CallOutcomeKind.CALLRESULT:
        return _answered(version, command, action, call)
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
        return None if name in _object.decode(payload) else name
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _answered(version: OcppVersion, command: Command, action: str, call: CallOutcome) -> CommandOutcome:
    kind = type(command)
    payload = call.payload or b"{}"
    understand = _ANSWERS[version].get(kind)
    compare = _TOLD[version].get(kind)
    if compare is not None:
        understand = functools.partial(compare, command)
    if understand is not None:
        try:
            told = understand(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            reason = made_storable(f"The station's answer to {action} cannot be understood: {error}.", 500)
            return CommandOutcome(state=CommandState.FAILED, call=call, action=action, reason=reason)
        return CommandOutcome(
            state=told.state,
            call=call,
            action=action,
            status=told.status,
            reason=told.reason,
            reply=None if told.reply is None else msgspec.json.encode(told.reply),
        )
    word, info = status_word(payload)
    if not isinstance(word, str) or not word:
        return CommandOutcome(
            state=CommandState.FAILED,
            call=call,
            action=action,
            reason=f"The station answered {action} without a status.",
        )
    status = made_storable(word, 64)
    reply = _reply(version, kind, payload)
    if status in DONE:
        later = _SOON.get(kind) if status == "Scheduled" else None
        return CommandOutcome(
            state=CommandState.ACCEPTED, call=call, action=action, status=status, reason=later, reply=reply
        )
    reason = with_info(_REASONS.get((kind, status), f"The station answered {status}."), info)
    return CommandOutcome(
        state=CommandState.REJECTED, call=call, action=action, status=status, reason=reason, reply=reply
    )


def _reply(version: OcppVersion, kind: type, payload: bytes) -> bytes | None:
    read = _REPLIES[version].get(kind)
    if read is None:
        return None
    try:
        told = read(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if told is None else msgspec.json.encode(told)


__all__ = [
    "DONE",
    "SUBJECTS",
    "Subject",
    "call_outcome",
    "outcome",
    "reservation_field",
    "to_call",
]
