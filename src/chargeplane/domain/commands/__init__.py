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
from chargeplane.domain.commands.local_list import (
    GetLocalListLimits,
    GetLocalListVersion,
    LocalListVersion,
    SendLocalList,
)
from chargeplane.domain.commands.monitoring import (
    ClearVariableMonitoring,
    GetMonitoringReport,
    SetMonitoringBase,
    SetMonitoringLevel,
    SetVariableMonitoring,
)
from chargeplane.domain.commands.outcomes import CallOutcome, CallOutcomeKind, CommandOutcome, CommandState
from chargeplane.domain.commands.reservations import CancelReservation, ReserveNow
from chargeplane.domain.commands.security import (
    DeleteCertificate,
    GetInstalledCertificateIds,
    InstallCertificate,
    SetPassword,
)
from chargeplane.domain.commands.smart_charging import (
    AfrrSignal,
    ClearChargingProfile,
    ClearDerControl,
    GetChargingProfiles,
    GetCompositeSchedule,
    GetDerControl,
    NotifyAllowedEnergyTransfer,
    SetChargingProfile,
    SetDerControl,
    UpdateDynamicSchedule,
    UsePriorityCharging,
)
from chargeplane.domain.commands.transactions import GetTransactionStatus, TransactionStatus
from chargeplane.domain.commands.variables import (
    ApnAccess,
    GetBaseReport,
    GetReport,
    GetVariables,
    ReportBase,
    ReportCriterion,
    ReportTarget,
    SetNetworkProfile,
    SetVariables,
    VariableAnswer,
    VariableAnswers,
    VpnAccess,
)

SmartChargingCommand = (
    SetChargingProfile
    | ClearChargingProfile
    | GetChargingProfiles
    | GetCompositeSchedule
    | UpdateDynamicSchedule
    | UsePriorityCharging
    | NotifyAllowedEnergyTransfer
    | AfrrSignal
    | SetDerControl
    | GetDerControl
    | ClearDerControl
)
"""Those of smart charging."""

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
    | GetLocalListVersion
    | GetLocalListLimits
    | SendLocalList
    | ReserveNow
    | CancelReservation
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
    | SmartChargingCommand
    | GetVariables
    | SetVariables
    | GetBaseReport
    | GetReport
    | SetNetworkProfile
    | DeleteCertificate
    | GetInstalledCertificateIds
    | InstallCertificate
    | SetPassword
)
"""Every version-free command; msgspec picks by `type`."""

BEFORE_ACCEPTED: Final[frozenset[type]] = frozenset({Trigger, GetVariables, SetVariables, GetBaseReport, GetReport})
"""Commands that need no accepted boot: what OCPP 2.0.1 B02.FR.01, B02.FR.02 and OCPP 1.6, 4.2 let us ask a station that waits
for being accepted."""

__all__ = [
    "BEFORE_ACCEPTED",
    "AdjustStream",
    "AfrrSignal",
    "ApnAccess",
    "CallOutcome",
    "CallOutcomeKind",
    "CancelReservation",
    "ChangeAvailability",
    "ChangeTransactionTariff",
    "ClearCache",
    "ClearChargingProfile",
    "ClearDerControl",
    "ClearDisplayMessage",
    "ClearTariffs",
    "ClearVariableMonitoring",
    "Command",
    "CommandOutcome",
    "CommandState",
    "CustomerInformation",
    "DeleteCertificate",
    "DeliverCertificate",
    "GetBaseReport",
    "GetChargingProfiles",
    "GetCompositeSchedule",
    "GetDerControl",
    "GetDiagnostics",
    "GetDisplayMessages",
    "GetInstalledCertificateIds",
    "GetLocalListLimits",
    "GetLocalListVersion",
    "GetLog",
    "GetMonitoringReport",
    "GetReport",
    "GetStreams",
    "GetTariffs",
    "GetTransactionStatus",
    "GetVariables",
    "InstallCertificate",
    "LocalListVersion",
    "NotifyAllowedEnergyTransfer",
    "PublishFirmware",
    "ReportBase",
    "ReportCriterion",
    "ReportTarget",
    "RequestBatterySwap",
    "ReserveNow",
    "Reset",
    "ResetKind",
    "SendLocalList",
    "SetChargingProfile",
    "SetDefaultTariff",
    "SetDerControl",
    "SetDisplayMessage",
    "SetMonitoringBase",
    "SetMonitoringLevel",
    "SetNetworkProfile",
    "SetPassword",
    "SetVariableMonitoring",
    "SetVariables",
    "SmartChargingCommand",
    "Start",
    "Stop",
    "TellWebPayment",
    "TransactionStatus",
    "TransferData",
    "Trigger",
    "Unlock",
    "UnpublishFirmware",
    "UpdateCost",
    "UpdateDynamicSchedule",
    "UpdateFirmware",
    "UsePriorityCharging",
    "VariableAnswer",
    "VariableAnswers",
    "VpnAccess",
]
