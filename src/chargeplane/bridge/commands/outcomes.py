"""What a station's answer to a CALL says: whether it does what was asked, in words for a person."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.commands import CallOutcome, CallOutcomeKind, CommandOutcome, CommandState
from chargeplane.kernel.text import made_storable


class StatusInfo(Struct, frozen=True):
    """OCPP StatusInfoType, of whatever a station put there."""

    reasonCode: object = None  # noqa: N815
    additionalInfo: object = None  # noqa: N815


class _Status(Struct, frozen=True):
    status: str
    statusInfo: StatusInfo | None = None  # noqa: N815


_status: Final = msgspec.json.Decoder(_Status)
_bare_status: Final = msgspec.json.Decoder(dict[str, Any])

DONE: Final = frozenset({"Accepted", "Scheduled", "Unlocked", "RebootRequired", "AcceptedCanceled"})
"""Status words that mean the station does, or will do, what was asked."""


def status_word(payload: bytes) -> tuple[object, StatusInfo | None]:
    """The answer's status, which may be anything or missing, and what was said about it."""
    try:
        answer = _status.decode(payload)
        return answer.status, answer.statusInfo
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:  # a status beside something that is not as it should be
        return _bare_status.decode(payload).get("status"), None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None, None


def with_info(reason: str, info: StatusInfo | None) -> str:
    """The sentence, and what the station said about it."""
    if info is None:
        return reason
    details = ", ".join(
        made_storable(one, 512) for one in (info.reasonCode, info.additionalInfo) if isinstance(one, str) and one
    )
    return f"{reason} It says: {details}" if details else reason


def call_outcome(action: str, call: CallOutcome) -> CommandOutcome:
    """How a raw call ended: accepted where the station answered and its status word, if the answer has one, says that it does
    what was asked; rejected for any other word.

    Args:
        action: the action that was sent.
    """
    if call.outcome is not CallOutcomeKind.CALLRESULT:
        return CommandOutcome(state=_STATE_OF_CALL[call.outcome], call=call, action=action)
    word, info = status_word(call.payload or b"{}")
    if not isinstance(word, str) or not word:
        return CommandOutcome(state=CommandState.ACCEPTED, call=call, action=action)
    status = made_storable(word, 64)
    if status in DONE:
        return CommandOutcome(state=CommandState.ACCEPTED, call=call, action=action, status=status)
    reason = with_info(f"The station answered {status}.", info)
    return CommandOutcome(state=CommandState.REJECTED, call=call, action=action, status=status, reason=reason)


_STATE_OF_CALL: Final = {
    CallOutcomeKind.CALLERROR: CommandState.FAILED,
    CallOutcomeKind.TIMEOUT: CommandState.TIMED_OUT,
    CallOutcomeKind.DISCONNECTED: CommandState.FAILED,
}
