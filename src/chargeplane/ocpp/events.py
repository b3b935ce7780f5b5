"""What `Connection` reports. One event a frame."""

from __future__ import annotations

import enum
from typing import TypeAlias

from msgspec import Struct

from chargeplane.ocpp.catalogue import ActionSpec
from chargeplane.ocpp.problems import Problem


class CallReceived(Struct, frozen=True, gc=False):
    """The peer asks for something: answer with `reply`, `reply_raw` or `refuse`.

    Args:
        request: decoded; of type `spec.request`.
        payload: JSON text as received; where `repaired` is set it may be no valid JSON.
        content_hash: 16 bytes over the action and `payload`.
        repaired: what was decoded in its place, where the repair hook changed it.
    """

    message_id: str
    spec: ActionSpec
    request: Struct
    payload: bytes
    content_hash: bytes
    repaired: bytes | None = None

    @property
    def action(self) -> str:
        """The OCPP action."""
        return self.spec.action


class CallUndecodable(Struct, frozen=True, gc=False):
    """A CALL with a known action whose payload cannot be decoded, even after repair.

    The caller decides: transaction messages (`spec.transactional`) are kept and answered with `reply`, others refused
    with `refuse(message_id, problem.code, problem.description)`.

    Args:
        payload: as received; not always JSON. Empty where the frame had none.
    """

    message_id: str
    spec: ActionSpec
    payload: bytes
    content_hash: bytes
    problem: Problem

    @property
    def action(self) -> str:
        """The OCPP action."""
        return self.spec.action


class CallRepeated(Struct, frozen=True, gc=False):
    """The same message id with the same content again (OCPP-J 2.1, 4.1.4 allows it for a retry).

    Args:
        answer: the frame we answered with, to be sent again; None while the first is still in progress (send nothing).
    """

    message_id: str
    spec: ActionSpec
    answer: bytes | None


class SendReceived(Struct, frozen=True, gc=False):
    """A message without an answer (OCPP-J 2.1, 4.2.4).

    Args:
        request: None where it could not be decoded; `problem` says why.
    """

    message_id: str
    spec: ActionSpec
    request: Struct | None
    payload: bytes
    content_hash: bytes
    problem: Problem | None = None


class ResultReceived(Struct, frozen=True, gc=False):
    """The answer to our open CALL.

    Args:
        response: None where it does not fit its type; `problem` says why, `payload` has it as received.
        latency_s: from sending the CALL.
        send: the next CALL's frame, to be sent now.
    """

    message_id: str
    spec: ActionSpec
    payload: bytes
    response: Struct | None
    problem: Problem | None
    latency_s: float
    send: bytes | None


class ErrorReceived(Struct, frozen=True, gc=False):
    """The refusal of our open CALL (a CALLERROR with its id, or with "-1").

    Args:
        code, description: as the peer wrote them, of any length.
        details: JSON text.
    """

    message_id: str
    spec: ActionSpec
    code: str
    description: str
    details: bytes
    latency_s: float
    send: bytes | None


class CallTimedOut(Struct, frozen=True, gc=False):
    """Our open CALL was not answered in its time (OCPP-J 1.6, 4.1.1)."""

    message_id: str
    spec: ActionSpec
    latency_s: float
    send: bytes | None


class CallDisconnected(Struct, frozen=True, gc=False):
    """The connection ended before our CALL was answered; `sent` tells whether it had left the queue."""

    message_id: str
    spec: ActionSpec
    sent: bool


class LateOrForeignAnswer(Struct, frozen=True, gc=False):
    """An answer to no open CALL of ours: dropped, never matched to another call.

    Args:
        late: the id is that of a CALL of ours that timed out lately.
    """

    message_id: str
    late: bool


class ResultErrorReceived(Struct, frozen=True, gc=False):
    """The peer could not use an answer of ours (OCPP-J 2.1, 4.2.3)."""

    message_id: str
    code: str
    description: str
    details: bytes


class Severity(enum.Enum):
    """How bad a refused frame is."""

    CALL = "a proper frame that this side does not serve"
    FRAME = "no proper OCPP-J frame"


class FrameRefused(Struct, frozen=True, gc=False):
    """A frame that goes nowhere.

    Args:
        reply: CALLERROR to send; None where the specification forbids an answer (to answers and to SEND).
        message_id, action: what could be read.
    """

    reply: bytes | None
    problem: Problem
    severity: Severity
    message_id: str | None = None
    action: str | None = None


Event: TypeAlias = (
    CallReceived
    | CallUndecodable
    | CallRepeated
    | SendReceived
    | ResultReceived
    | ErrorReceived
    | LateOrForeignAnswer
    | ResultErrorReceived
    | FrameRefused
)
"""Everything `Connection.receive` returns."""
