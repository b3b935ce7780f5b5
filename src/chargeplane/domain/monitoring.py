"""Monitors of a station's variables and the events they tell (OCPP 2.x block N), free of versions, and what becomes an alert."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

_Name = Annotated[str, Meta(min_length=1, max_length=50)]
_Instance = Annotated[str, Meta(max_length=50)]
_Number = Annotated[int, Meta(ge=0, le=9999)]


class MonitorKind(enum.StrEnum):
    """OCPP 2.1 MonitorEnum; 2.0.1 lacks the last two."""

    UPPER_THRESHOLD = "UpperThreshold"
    LOWER_THRESHOLD = "LowerThreshold"
    DELTA = "Delta"
    PERIODIC = "Periodic"
    PERIODIC_CLOCK_ALIGNED = "PeriodicClockAligned"
    TARGET_DELTA = "TargetDelta"
    TARGET_DELTA_RELATIVE = "TargetDeltaRelative"


class MonitorCriterion(enum.StrEnum):
    """Which kinds of monitors a report is to hold (N02.FR.12 to FR.14)."""

    THRESHOLD = "threshold"
    DELTA = "delta"
    PERIODIC = "periodic"


class MonitoringBase(enum.StrEnum):
    """OCPP 2.x MonitoringBaseEnum."""

    ALL = "all"
    FACTORY_DEFAULT = "factory_default"
    HARD_WIRED_ONLY = "hard_wired_only"


class MonitoredVariable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variable of a component.

    Args:
        evse_id, connector_id: 0 where the component belongs to the whole station (or EVSE).
    """

    component: _Name
    component_instance: _Instance = ""
    evse_id: _Number = 0
    connector_id: _Number = 0
    variable: _Name
    variable_instance: _Instance = ""

    @property
    def name(self) -> str:
        """For people and as part of an alert's name: `EVSE#1.Power`, `Connector#1.2/left.Temperature/max`."""
        place = self.component + (f"/{self.component_instance}" if self.component_instance else "")
        if self.evse_id:
            place += f"#{self.evse_id}" + (f".{self.connector_id}" if self.connector_id else "")
        return f"{place}.{self.variable}" + (f"/{self.variable_instance}" if self.variable_instance else "")


class SetMonitor(Struct, frozen=True, kw_only=True):
    """What became of one monitor that was to be set.

    Args:
        status: OCPP 2.x SetMonitoringStatusEnum word.
        id: under which the station has it; None where it does not.
        info: what the station says about it.
    """

    variable: MonitoredVariable
    kind: str
    severity: int
    status: str
    id: int | None = None
    info: str | None = None


class MonitorsSet(Struct, frozen=True, kw_only=True):
    """Reply to SetVariableMonitoring."""

    results: tuple[SetMonitor, ...]


class ClearedMonitor(Struct, frozen=True, kw_only=True):
    """What became of one monitor that was to be cleared (OCPP 2.x ClearMonitoringStatusEnum word)."""

    id: int
    status: str
    info: str | None = None


class MonitorsCleared(Struct, frozen=True, kw_only=True):
    """Reply to ClearVariableMonitoring."""

    results: tuple[ClearedMonitor, ...]


class Monitor(Struct, frozen=True, kw_only=True):
    """A monitor as a station reports it.

    Args:
        kind: OCPP 2.x MonitorEnum word.
        origin: EventNotificationEnum word (since 2.1): who made the monitor.
    """

    variable: MonitoredVariable
    id: int
    kind: str
    value: Decimal
    severity: int
    during_transactions: bool = False
    origin: str | None = None


class MonitoringReportPart(Struct, frozen=True, kw_only=True, tag="monitoring_report_part"):
    """NotifyMonitoringReport (N02.FR.03)."""

    request_id: int
    seq_no: int
    more: bool
    monitors: tuple[Monitor, ...]


class StationEvent(Struct, frozen=True, kw_only=True):
    """One event of a variable (OCPP 2.x EventDataType).

    Args:
        event_id: the station's number.
        at: the station's time; None where absent or garbage.
        trigger: Alerting, Delta or Periodic.
        origin: HardWiredNotification, HardWiredMonitor, PreconfiguredMonitor or CustomMonitor.
        cleared: the variable is within its threshold again.
        monitor_id: of the monitor that told it.
        severity: since 2.1; else that of the monitor.
        cause: event_id of the event that led to this one.
    """

    event_id: int
    at: datetime | None
    trigger: str
    origin: str
    variable: MonitoredVariable
    actual_value: str
    cleared: bool = False
    transaction_id: str | None = None
    monitor_id: int | None = None
    severity: int | None = None
    cause: int | None = None
    tech_code: str | None = None
    tech_info: str | None = None


class StationEvents(Struct, frozen=True, kw_only=True, tag="station_events"):
    """NotifyEvent (N07, N08)."""

    seq_no: int
    more: bool
    events: tuple[StationEvent, ...]


class AlertWeight(enum.StrEnum):
    """How much an event weighs for the operator."""

    NONE = "none"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class EventRule(Struct, frozen=True, kw_only=True):
    """An operator's rule: what events of a component or variable weigh. An empty name matches every one.

    Args:
        max_severity: matches events of this severity or a graver (lower) one; None matches every one.
    """

    component: str = ""
    variable: str = ""
    tech_code: str = ""
    max_severity: int | None = None
    weight: AlertWeight


_WEIGHTS = (
    AlertWeight.CRITICAL,  # 0 danger
    AlertWeight.CRITICAL,  # 1 hardware failure
    AlertWeight.CRITICAL,  # 2 system failure
    AlertWeight.CRITICAL,  # 3 critical
    AlertWeight.WARNING,  # 4 error
    AlertWeight.WARNING,  # 5 alert
    AlertWeight.WARNING,  # 6 warning
    AlertWeight.NONE,  # 7 notice
    AlertWeight.NONE,  # 8 informational
    AlertWeight.NONE,  # 9 debug
)


def weight_of(event: StationEvent, severity: int | None, rules: tuple[EventRule, ...] = ()) -> AlertWeight:
    """What an event weighs: the first rule that matches decides, else its severity, and events that were merely asked for (a change,
    a period) weigh nothing.

    Args:
        severity: of the event or its monitor; None where nobody knows: then an alerting event is a warning.
        rules: in their order.
    """
    for rule in rules:
        if (
            rule.component.casefold() in ("", event.variable.component.casefold())
            and rule.variable.casefold() in ("", event.variable.variable.casefold())
            and rule.tech_code.casefold() in ("", (event.tech_code or "").casefold())
            and (rule.max_severity is None or (severity is not None and severity <= rule.max_severity))
        ):
            return rule.weight
    if event.trigger != "Alerting":
        return AlertWeight.NONE
    if severity is None:
        return AlertWeight.WARNING
    return _WEIGHTS[severity] if 0 <= severity < len(_WEIGHTS) else AlertWeight.NONE


def alert_name(event: StationEvent) -> str:
    """What tells one alert of a station from another: the variable, and the technical code where there is one. Not the monitor: its id
    may change with a reboot (N04.FR.19), and a cleared event must find its alert."""
    return event.variable.name if event.tech_code is None else f"{event.variable.name} {event.tech_code}"
