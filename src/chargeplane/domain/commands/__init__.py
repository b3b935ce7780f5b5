"""What we ask a charging station to do, free of any OCPP version, and how it ended. One module a subject."""

from __future__ import annotations

from typing import Final

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
from chargeplane.domain.commands.diagnostics import CustomerInformation, GetDiagnostics, GetLog
from chargeplane.domain.commands.firmware import PublishFirmware, UnpublishFirmware, UpdateFirmware
from chargeplane.domain.commands.monitoring import (
    ClearVariableMonitoring,
    GetMonitoringReport,
    SetMonitoringBase,
    SetMonitoringLevel,
    SetVariableMonitoring,
)
from chargeplane.domain.commands.outcomes import CallOutcome, CallOutcomeKind, CommandOutcome, CommandState
from chargeplane.domain.commands.transactions import GetTransactionStatus, TransactionStatus

Command = (
    Start
    | Stop
    | Unlock
    | Reset
    | Trigger
    | ChangeAvailability
    | ClearCache
    | DeliverCertificate
    | UpdateFirmware
    | PublishFirmware
    | UnpublishFirmware
    | GetLog
    | GetDiagnostics
    | CustomerInformation
    | SetVariableMonitoring
    | ClearVariableMonitoring
    | GetMonitoringReport
    | SetMonitoringBase
    | SetMonitoringLevel
    | GetTransactionStatus
)
"""Every version-free command; msgspec picks by `type`."""

BEFORE_ACCEPTED: Final[frozenset[type]] = frozenset({Trigger})
"""Commands that need no accepted boot: what OCPP 2.0.1 B02.FR.01, B02.FR.02 and OCPP 1.6, 4.2 let us ask a station that waits
for being accepted."""

__all__ = [
    "BEFORE_ACCEPTED",
    "CallOutcome",
    "CallOutcomeKind",
    "ChangeAvailability",
    "ClearCache",
    "ClearVariableMonitoring",
    "Command",
    "CommandOutcome",
    "CommandState",
    "CustomerInformation",
    "DeliverCertificate",
    "GetDiagnostics",
    "GetLog",
    "GetMonitoringReport",
    "GetTransactionStatus",
    "PublishFirmware",
    "Reset",
    "ResetKind",
    "SetMonitoringBase",
    "SetMonitoringLevel",
    "SetVariableMonitoring",
    "Start",
    "Stop",
    "TransactionStatus",
    "Trigger",
    "Unlock",
    "UnpublishFirmware",
    "UpdateFirmware",
]
