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
)
"""Every version-free command; msgspec picks by `type`."""

__all__ = [
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
    "PublishFirmware",
    "Reset",
    "ResetKind",
    "SetMonitoringBase",
    "SetMonitoringLevel",
    "SetVariableMonitoring",
    "Start",
    "Stop",
    "Trigger",
    "Unlock",
    "UnpublishFirmware",
    "UpdateFirmware",
]
