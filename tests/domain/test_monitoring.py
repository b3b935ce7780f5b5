"""What an event weighs."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from chargeplane.domain.monitoring import (
    AlertWeight,
    EventRule,
    MonitoredVariable,
    StationEvent,
    alert_name,
    weight_of,
)

EVENT = StationEvent(
    event_id=1,
    at=None,
    trigger="Alerting",
    origin="CustomMonitor",
    variable=MonitoredVariable(component="Connector", evse_id=1, connector_id=2, variable="Temperature"),
    actual_value="90",
)


@pytest.mark.parametrize(
    ("severity", "weight"),
    [
        (0, AlertWeight.CRITICAL),
        (3, AlertWeight.CRITICAL),
        (4, AlertWeight.WARNING),
        (6, AlertWeight.WARNING),
        (7, AlertWeight.NONE),
        (9, AlertWeight.NONE),
        (10, AlertWeight.NONE),
        (None, AlertWeight.WARNING),
    ],
)
def test_severity_decides_where_no_rule_does(severity: int | None, weight: AlertWeight) -> None:
    assert weight_of(EVENT, severity) is weight


@pytest.mark.parametrize("trigger", ["Delta", "Periodic"])
def test_what_was_merely_asked_for_is_no_alert(trigger: str) -> None:
    assert weight_of(replace(EVENT, trigger=trigger), 0) is AlertWeight.NONE


def test_first_rule_that_matches_decides() -> None:
    rules = (
        EventRule(component="connector", variable="TEMPERATURE", max_severity=2, weight=AlertWeight.INFO),
        EventRule(tech_code="E42", weight=AlertWeight.CRITICAL),
        EventRule(component="Connector", weight=AlertWeight.NONE),
    )
    assert weight_of(EVENT, 2, rules) is AlertWeight.INFO
    assert weight_of(EVENT, 3, rules) is AlertWeight.NONE
    assert weight_of(EVENT, None, rules) is AlertWeight.NONE
    assert weight_of(replace(EVENT, tech_code="e42"), 8, rules) is AlertWeight.CRITICAL
    other = replace(EVENT, variable=MonitoredVariable(component="EVSE", variable="Temperature"))
    assert weight_of(other, 3, rules) is AlertWeight.CRITICAL


def test_alert_is_named_by_its_variable_not_by_the_monitor() -> None:
    cleared = replace(EVENT, cleared=True, monitor_id=7)
    assert alert_name(EVENT) == alert_name(cleared) == "Connector#1.2.Temperature"
    assert alert_name(replace(EVENT, tech_code="E1")) == "Connector#1.2.Temperature E1"
