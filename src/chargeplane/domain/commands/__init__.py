"""What we ask a charging station to do, free of any OCPP version, and how it ended. One module a subject."""

from __future__ import annotations

from chargeplane.domain.commands.basics import (
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
from chargeplane.domain.commands.outcomes import CallOutcome, CallOutcomeKind, CommandOutcome, CommandState

Command = Start | Stop | Unlock | Reset | Trigger | ChangeAvailability | ClearCache | DeliverCertificate
"""Every version-free command; msgspec picks by `type`."""

__all__ = [
    "CallOutcome",
    "CallOutcomeKind",
    "ChangeAvailability",
    "ClearCache",
    "Command",
    "CommandOutcome",
    "CommandState",
    "DeliverCertificate",
    "Reset",
    "ResetKind",
    "Start",
    "Stop",
    "Trigger",
    "Unlock",
]
