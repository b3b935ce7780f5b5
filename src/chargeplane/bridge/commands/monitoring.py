"""Monitoring as CALLs (OCPP 2.x N02 to N06)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge.commands.checks import invalid
from chargeplane.bridge.commands.firmware import NO_REQUEST_ID
from chargeplane.bridge.commands.subject import Subject, ToCall, Understood
from chargeplane.bridge.monitoring import variable_of
from chargeplane.domain.commands.monitoring import (
    ClearVariableMonitoring,
    GetMonitoringReport,
    SetMonitoringBase,
    SetMonitoringLevel,
    SetVariableMonitoring,
    VariableCriterion,
)
from chargeplane.domain.commands.outcomes import CommandState
from chargeplane.domain.monitoring import (
    ClearedMonitor,
    MonitorCriterion,
    MonitoredVariable,
    MonitoringBase,
    MonitorsCleared,
    MonitorsSet,
    SetMonitor,
)
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v21, v201
from chargeplane.ocpp.versions import OcppVersion

_BASES: Final = {
    MonitoringBase.ALL: "All",
    MonitoringBase.FACTORY_DEFAULT: "FactoryDefault",
    MonitoringBase.HARD_WIRED_ONLY: "HardWiredOnly",
}
_CRITERIA: Final = {
    MonitorCriterion.THRESHOLD: "ThresholdMonitoring",
    MonitorCriterion.DELTA: "DeltaMonitoring",
    MonitorCriterion.PERIODIC: "PeriodicMonitoring",
}
_LARGEST: Final = 10**12


def _component(v: Any, one: MonitoredVariable | VariableCriterion) -> Any:
    evse = None
    if one.evse_id:
        evse = v.EVSEType(id=one.evse_id, connector_id=one.connector_id or None)
    elif one.connector_id:
        raise invalid("A connector is named together with its EVSE.", "/evse_id", "the EVSE's number, from 1")
    return v.ComponentType(name=one.component, instance=one.component_instance or None, evse=evse)


def _variable(v: Any, one: MonitoredVariable | VariableCriterion) -> Any:
    return v.VariableType(name=one.variable, instance=one.variable_instance or None)


def _calls2x(v: Any) -> dict[type, ToCall]:
    kinds = {kind.value: kind for kind in v.MonitorEnumType}

    def put(command: SetVariableMonitoring) -> tuple[str, Struct]:
        data = []
        for number, one in enumerate(command.monitors):
            kind = kinds.get(one.kind.value)
            if kind is None:
                raise invalid(
                    f"The station's OCPP version has no monitors of the kind {one.kind.value}.",
                    f"/monitors/{number}/kind",
                    "one of " + ", ".join(kinds),
                )
            if not one.value.is_finite() or abs(one.value) > _LARGEST:
                raise invalid(
                    f"{one.value} is no value for a monitor.",
                    f"/monitors/{number}/value",
                    f"a number from {-_LARGEST} to {_LARGEST}",
                )
            data.append(
                v.SetMonitoringDataType(
                    id=one.id,
                    transaction=True if one.during_transactions else None,
                    value=one.value,
                    type=kind,
                    severity=one.severity,
                    component=_component(v, one.variable),
                    variable=_variable(v, one.variable),
                )
            )
        return "SetVariableMonitoring", v.SetVariableMonitoringRequest(set_monitoring_data=tuple(data))

    def clear(command: ClearVariableMonitoring) -> tuple[str, Struct]:
        return "ClearVariableMonitoring", v.ClearVariableMonitoringRequest(id=command.ids)

    def report(command: GetMonitoringReport) -> tuple[str, Struct]:
        variables = tuple(
            v.ComponentVariableType(component=_component(v, one), variable=_variable(v, one) if one.variable else None)
            for one in command.variables
        )
        criteria = tuple(v.MonitoringCriterionEnumType(_CRITERIA[one]) for one in dict.fromkeys(command.criteria))
        return "GetMonitoringReport", v.GetMonitoringReportRequest(
            request_id=command.request_id or NO_REQUEST_ID,
            component_variable=variables or None,
            monitoring_criteria=criteria or None,
        )

    def base(command: SetMonitoringBase) -> tuple[str, Struct]:
        return "SetMonitoringBase", v.SetMonitoringBaseRequest(
            monitoring_base=v.MonitoringBaseEnumType(_BASES[command.base])
        )

    def level(command: SetMonitoringLevel) -> tuple[str, Struct]:
        return "SetMonitoringLevel", v.SetMonitoringLevelRequest(severity=command.severity)

    return {
        SetVariableMonitoring: put,
        ClearVariableMonitoring: clear,
        GetMonitoringReport: report,
        SetMonitoringBase: base,
        SetMonitoringLevel: level,
    }


class _Evse(Struct, rename="camel"):
    id: int
    connector_id: int | None = None


class _Component(Struct):
    name: str
    instance: str | None = None
    evse: _Evse | None = None


class _Variable(Struct):
    name: str
    instance: str | None = None


class _Info(Struct, rename="camel"):
    reason_code: str = ""
    additional_info: str = ""


class _Set(Struct, rename="camel"):
    status: str
    component: _Component
    variable: _Variable
    type: str = ""
    severity: int = 8
    id: int | None = None
    status_info: _Info | None = None


class _SetAnswer(Struct, rename="camel"):
    set_monitoring_result: list[_Set]


class _Cleared(Struct, rename="camel"):
    status: str
    id: int
    status_info: _Info | None = None


class _ClearAnswer(Struct, rename="camel"):
    clear_monitoring_result: list[_Cleared]


_set_answer: Final = msgspec.json.Decoder(_SetAnswer).decode
_clear_answer: Final = msgspec.json.Decoder(_ClearAnswer).decode
_MAX_RESULTS: Final = 1000
_MAX_INT: Final = 2**31 - 1


def _said(info: _Info | None) -> str | None:
    if info is None:
        return None
    return made_storable(", ".join(one for one in (info.reason_code, info.additional_info) if one), 500) or None


def _whole(number: int) -> int:
    return number if 0 <= number <= _MAX_INT else 0


def _monitors_set(payload: bytes) -> Understood:
    results = tuple(
        SetMonitor(
            variable=variable_of(one.component, one.variable),
            kind=made_storable(one.type, 50),
            severity=_whole(one.severity),
            status=made_storable(one.status, 64),
            id=None if one.id is None or not 0 <= one.id <= _MAX_INT else one.id,
            info=_said(one.status_info),
        )
        for one in _set_answer(payload).set_monitoring_result[:_MAX_RESULTS]
    )
    refused = [one for one in results if one.status != "Accepted"]
    return _understood(
        MonitorsSet(results=results),
        len(results),
        [f"{one.variable.name} {one.kind}: {one.status}{f' ({one.info})' if one.info else ''}" for one in refused],
        refused[0].status if refused else "Accepted",
    )


def _monitors_cleared(payload: bytes) -> Understood:
    results = tuple(
        ClearedMonitor(id=one.id, status=made_storable(one.status, 64), info=_said(one.status_info))
        for one in _clear_answer(payload).clear_monitoring_result[:_MAX_RESULTS]
        if 0 <= one.id <= _MAX_INT
    )
    # one that is not there any more is what was asked for
    left = [one for one in results if one.status not in ("Accepted", "NotFound")]
    return _understood(
        MonitorsCleared(results=results),
        len(results),
        [f"monitor {one.id}: {one.status}{f' ({one.info})' if one.info else ''}" for one in left],
        left[0].status if left else "Accepted",
    )


def _understood(reply: Struct, count: int, refused: list[str], status: str) -> Understood:
    if not count:
        return Understood(state=CommandState.FAILED, reason="The station answered without any result.", reply=reply)
    if not refused:
        return Understood(state=CommandState.ACCEPTED, status=status, reply=reply)
    told = "; ".join(refused[:5]) + ("; ..." if len(refused) > 5 else "")
    reason = made_storable(f"The station did not take {len(refused)} of {count}: {told}.", 500)
    return Understood(state=CommandState.REJECTED, status=status, reason=reason, reply=reply)


_SINCE_201: Final = "OCPP 1.6 has no monitors; they exist since OCPP 2.0.1."
_ANSWERS: Final[Mapping[type, Callable[[bytes], Understood]]] = {
    SetVariableMonitoring: _monitors_set,
    ClearVariableMonitoring: _monitors_cleared,
}

SUBJECT: Final = Subject(
    calls={OcppVersion.V201: _calls2x(v201), OcppVersion.V21: _calls2x(v21)},
    lacks={(OcppVersion.V16, command): _SINCE_201 for command in _calls2x(v201)},
    reasons={
        (GetMonitoringReport, "EmptyResultSet"): "The station has no such monitors.",
        (GetMonitoringReport, "NotSupported"): "The station cannot report monitors by these criteria.",
        (GetMonitoringReport, "Rejected"): "The station cannot report its monitors now.",
        (SetMonitoringBase, "NotSupported"): "The station does not know this base.",
        (SetMonitoringBase, "EmptyResultSet"): "The station has no monitors of this base.",
        (SetMonitoringLevel, "Rejected"): "The station does not take this severity.",
    },
    answers={OcppVersion.V201: _ANSWERS, OcppVersion.V21: _ANSWERS},
)
"""Monitoring."""
