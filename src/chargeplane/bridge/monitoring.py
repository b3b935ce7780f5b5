"""What 2.x stations tell of their monitors and events. Lenient: what does not fit is left out or bounded, nothing raises."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from chargeplane.bridge.narrow import number, text
from chargeplane.bridge.samples import moment
from chargeplane.domain.messages import ConnectorState, ConnectorStatus, Notice, StationMessage
from chargeplane.domain.monitoring import (
    Monitor,
    MonitoredVariable,
    MonitoringReportPart,
    StationEvent,
    StationEvents,
)
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.units import bounded

_MAX_INT: Final = 2**31 - 1
_LONGEST_VALUE: Final = 2500  # OCPP 2.0.1 actualValue
_LARGEST: Final = 10**15
_STATES: Final = {state.value.casefold(): state for state in ConnectorState}


def variable_of(component: Any, variable: Any) -> MonitoredVariable:
    """A component and variable of either 2.x version, or of an answer."""
    evse = None if component is None else component.evse
    return MonitoredVariable(
        component=_word(None if component is None else component.name) or "?",
        component_instance=_word(None if component is None else component.instance),
        evse_id=0 if evse is None else number(evse.id) or 0,
        connector_id=0 if evse is None else number(evse.connector_id) or 0,
        variable=_word(None if variable is None else variable.name) or "?",
        variable_instance=_word(None if variable is None else variable.instance),
    )


def monitoring_report(request: Any) -> StationMessage:
    """NotifyMonitoringReport (OCPP 2.0.1 N02.FR.03)."""
    monitors = tuple(
        Monitor(
            variable=variable_of(one.component, one.variable),
            id=each.id,
            kind=_word(str(each.type)),
            value=_value(each.value),
            severity=_whole(each.severity) or 0,
            during_transactions=each.transaction is True,
            origin=text(getattr(each, "event_notification_type", None), 50),  # since 2.1
        )
        for one in request.monitor or ()
        for each in one.variable_monitoring or ()
        if _whole(each.id) is not None
    )
    more = request.tbc is True
    return Notice(
        action="NotifyMonitoringReport",
        tells=f"request {request.request_id}, part {request.seq_no}{', more follows' if more else ''}",
        report=MonitoringReportPart(
            request_id=_whole(request.request_id) or 0,
            seq_no=_whole(request.seq_no) or 0,
            more=more,
            monitors=monitors,
        ),
    )


def events(request: Any) -> StationMessage:
    """NotifyEvent (OCPP 2.0.1 N07, N08)."""
    told = tuple(_event(one) for one in request.event_data or ())
    return Notice(
        action="NotifyEvent",
        tells=_told(told, request.seq_no),
        statuses=tuple(status for one in told if (status := _status(one)) is not None),
        report=StationEvents(seq_no=_whole(request.seq_no) or 0, more=request.tbc is True, events=told),
    )


def _status(event: StationEvent) -> ConnectorStatus | None:
    """The status of a connector, where an event tells one: stations may use NotifyEvent in place of StatusNotification."""
    place = event.variable
    if place.component.casefold() != "connector" or place.variable.casefold() != "availabilitystate":
        return None
    state = _STATES.get(event.actual_value.casefold())
    if state is None or not place.evse_id or not place.connector_id:
        return None
    return ConnectorStatus(
        evse_id=place.evse_id,
        connector_id=place.connector_id,
        status=state,
        reported=event.actual_value,
        at=event.at,
    )


def _event(one: Any) -> StationEvent:
    return StationEvent(
        event_id=_whole(one.event_id) or 0,
        at=moment(one.timestamp),
        trigger=_word(str(one.trigger)),
        origin=_word(str(one.event_notification_type)),
        variable=variable_of(one.component, one.variable),
        actual_value=made_storable(one.actual_value or "", _LONGEST_VALUE),
        cleared=one.cleared is True,
        transaction_id=text(one.transaction_id, 255),
        monitor_id=_whole(one.variable_monitoring_id),
        severity=_whole(getattr(one, "severity", None)),  # since 2.1
        cause=_whole(one.cause),
        tech_code=text(one.tech_code, 50),
        tech_info=text(one.tech_info, 500),
    )


def _told(told: tuple[StationEvent, ...], seq_no: int) -> str:
    if len(told) == 1:
        event = told[0]
        return made_storable(
            f"{event.variable.name} {'cleared' if event.cleared else event.trigger}: {event.actual_value}", 255
        )
    return f"{len(told)} event(s), part {seq_no}"


def _word(value: str | None) -> str:
    return made_storable(value, 50) if value else ""


def _whole(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= _MAX_INT else None


def _value(value: Decimal | None) -> Decimal:
    kept = None if value is None else bounded(Decimal(value))
    return Decimal(0) if kept is None else kept
