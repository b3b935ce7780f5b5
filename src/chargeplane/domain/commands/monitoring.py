"""Monitoring: what a station watches of itself and tells when it happens (OCPP 2.x N02 to N06)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.commands.firmware import RequestId
from chargeplane.domain.monitoring import MonitorCriterion, MonitoredVariable, MonitoringBase, MonitorKind

MonitorId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Severity = Annotated[int, Meta(ge=0, le=9)]


class MonitorSetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A monitor as it is to be.

    Args:
        kind: since OCPP 2.1 also target_delta and target_delta_relative.
        value: threshold, change, or seconds, by its kind.
        severity: from 0 (danger) to 9 (debug).
        during_transactions: it watches while a transaction goes on only.
        id: of the monitor to be replaced; None makes a new one.
    """

    variable: MonitoredVariable
    kind: MonitorKind
    value: Decimal
    severity: Severity
    during_transactions: bool = False
    id: MonitorId | None = None


class SetVariableMonitoring(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_variable_monitoring"
):
    """Set monitors (OCPP 2.0.1 N04). The reply is a `MonitorsSet`; it is accepted where every monitor is."""

    monitors: Annotated[tuple[MonitorSetting, ...], Meta(min_length=1, max_length=200)]


class ClearVariableMonitoring(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="clear_variable_monitoring"
):
    """Clear monitors (OCPP 2.0.1 N06). The reply is a `MonitorsCleared`; it is accepted where none of them is left."""

    ids: Annotated[tuple[MonitorId, ...], Meta(min_length=1, max_length=200)]


class VariableCriterion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which variables; what is left out means all (N02.FR.16 to FR.21)."""

    component: Annotated[str, Meta(min_length=1, max_length=50)]
    component_instance: Annotated[str, Meta(max_length=50)] = ""
    evse_id: Annotated[int, Meta(ge=0, le=9999)] = 0
    connector_id: Annotated[int, Meta(ge=0, le=9999)] = 0
    variable: Annotated[str, Meta(max_length=50)] = ""
    variable_instance: Annotated[str, Meta(max_length=50)] = ""


class GetMonitoringReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_monitoring_report"):
    """Report the monitors (OCPP 2.0.1 N02).

    Args:
        criteria: kinds of monitors; empty: all.
        variables: of these only; empty: of all.
        request_id: given by the server where it is left out.
    """

    criteria: Annotated[tuple[MonitorCriterion, ...], Meta(max_length=3)] = ()
    variables: Annotated[tuple[VariableCriterion, ...], Meta(max_length=200)] = ()
    request_id: RequestId | None = None


class SetMonitoringBase(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_monitoring_base"):
    """Begin anew with the monitors (OCPP 2.0.1 N03).

    Args:
        base: `all` switches the preconfigured ones on and keeps custom ones, `factory_default` deletes the custom ones,
            `hard_wired_only` leaves those that cannot be switched off.
    """

    base: MonitoringBase


class SetMonitoringLevel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_monitoring_level"):
    """Tell only of events of this severity or a graver one (OCPP 2.0.1 N05).

    Args:
        severity: from 0 (danger) to 9 (debug).
    """

    severity: Severity


__all__ = [
    "ClearVariableMonitoring",
    "GetMonitoringReport",
    "MonitorSetting",
    "SetMonitoringBase",
    "SetMonitoringLevel",
    "SetVariableMonitoring",
    "VariableCriterion",
]
