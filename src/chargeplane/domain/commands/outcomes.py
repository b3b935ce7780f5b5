"""How calls and commands end."""

from __future__ import annotations

import enum

from msgspec import Struct


class CommandState(enum.StrEnum):
    """pending -> sent -> one of the rest."""

    PENDING = "pending"
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"


class CallOutcomeKind(enum.StrEnum):
    """How a CALL of ours ended."""

    CALLRESULT = "callresult"
    CALLERROR = "callerror"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"


class CallOutcome(Struct, frozen=True, kw_only=True):
    """How a CALL of ours ended.

    Args:
        payload: the CALLRESULT's payload as JSON text, for `callresult`.
        latency_ms: from sending to the answer.
    """

    outcome: CallOutcomeKind
    message_id: str
    payload: bytes | None = None
    error_code: str | None = None
    error_description: str | None = None
    error_details: bytes | None = None
    latency_ms: float | None = None


class CommandOutcome(Struct, frozen=True, kw_only=True):
    """How a version-free command ended.

    Args:
        status: the station's own status word (`Accepted`, `Scheduled`, `Unlocked`, `OccupiedConnector`, ...).
        reason: one sentence for a person where it was not accepted.
        reply: what the station told beyond its status, as JSON of the struct that the command's docstring names.
    """

    state: CommandState
    call: CallOutcome | None = None
    action: str | None = None
    status: str | None = None
    reason: str | None = None
    reply: bytes | None = None
