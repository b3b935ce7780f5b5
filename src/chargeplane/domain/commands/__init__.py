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
from chargeplane.domain.commands.display_and_cost import (
    AdjustStream,
    ChangeTransactionTariff,
    ClearDisplayMessage,
    ClearTariffs,
    GetDisplayMessages,
    GetStreams,
    GetTariffs,
    RequestBatterySwap,
    SetDefaultTariff,
    SetDisplayMessage,
    TellWebPayment,
    TransferData,
    UpdateCost,
)
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
    | AdjustStream
    | ChangeTransactionTariff
    | ClearDisplayMessage
    | ClearTariffs
    | GetDisplayMessages
    | GetStreams
    | GetTariffs
    | RequestBatterySwap
    | SetDefaultTariff
    | SetDisplayMessage
    | TellWebPayment
    | TransferData
    | UpdateCost
)
"""Every version-free command; msgspec picks by `type`."""

BEFORE_ACCEPTED: Final[frozenset[type]] = frozenset({Trigger})
"""Commands that need no accepted boot: what OCPP 2.0.1 B02.FR.01, B02.FR.02 and OCPP 1.6, 4.2 let us ask a station that waits
for being accepted."""

__all__ = [
    "BEFORE_ACCEPTED",
    "AdjustStream",
    "CallOutcome",
    "CallOutcomeKind",
    "ChangeAvailability",
    "ChangeTransactionTariff",
    "ClearCache",
    "ClearDisplayMessage",
    "ClearTariffs",
    "ClearVariableMonitoring",
    "Command",
    "CommandOutcome",
    "CommandState",
    "CustomerInformation",
    "DeliverCertificate",
    "GetDiagnostics",
    "GetDisplayMessages",
    "GetLog",
    "GetMonitoringReport",
    "GetStreams",
    "GetTariffs",
    "GetTransactionStatus",
    "PublishFirmware",
    "RequestBatterySwap",
    "Reset",
    "ResetKind",
    "SetDefaultTariff",
    "SetDisplayMessage",
    "SetMonitoringBase",
    "SetMonitoringLevel",
    "SetVariableMonitoring",
    "Start",
    "Stop",
    "TellWebPayment",
    "TransactionStatus",
    "TransferData",
    "Trigger",
    "Unlock",
    "UnpublishFirmware",
    "UpdateCost",
    "UpdateFirmware",
]
