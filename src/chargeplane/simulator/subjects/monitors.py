"""Monitors of a virtual station, really evaluated on its variables (OCPP 2.0.1 N02 to N08).

What is watched: the power and the state of each EVSE, a temperature that rises with the power, and every setting. A test may put any
value in place (`MonitorState.measured`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v21, v201
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.settings import Access, by_name, knows_component

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

Variable = tuple[str, str, int, int, str, str]
"""Component, its instance, EVSE, connector, variable, its instance; names in lower case."""

_TICK_S: Final = 0.05
_PARTS: Final = 4
_QUEUE: Final = 200
_AMBIENT: Final = Decimal(20)
_PER_KW: Final = Decimal("0.8")
_HARDEST_TEMPERATURE: Final = Decimal(95)
_RANGE: Final = {"temperature": (Decimal(-50), Decimal(150)), "power": (Decimal(0), Decimal(1_000_000))}


class Monitor(Struct, frozen=True, kw_only=True):
    """A monitor.

    Args:
        origin: HardWiredMonitor, PreconfiguredMonitor or CustomMonitor.
        component, variable: as they were named.
    """

    id: int
    component: Any
    variable: Any
    kind: str
    value: Decimal
    severity: int
    transaction: bool
    origin: str

    @property
    def place(self) -> Variable:
        """The variable it watches."""
        return place_of(self.component, self.variable)


class MonitorState:
    """A station's monitors.

    Attributes:
        measured: values in place of those the station would measure, by (component, evse, variable) in lower case.
        level: events of a higher severity are not told (N05).
        offline_level: events of a higher severity are not kept while offline.
    """

    def __init__(self) -> None:
        self.monitors: dict[int, Monitor] = {}
        self.measured: dict[tuple[str, int, str], str] = {}
        self.level = 8
        self.offline_level = 8
        self.next_id = 1000
        self.next_event = 1
        self.exceeded: dict[int, int] = {}
        self.last: dict[int, str | None] = {}
        self.due: dict[int, float] = {}
        self.kept: list[Struct] = []
        self.ticking = False
        self.base = "All"


def place_of(component: Any, variable: Any) -> Variable:
    """What tells a variable from the others."""
    evse = component.evse
    return (
        component.name.casefold(),
        (component.instance or "").casefold(),
        0 if evse is None else evse.id,
        0 if evse is None else evse.connector_id or 0,
        variable.name.casefold(),
        (variable.instance or "").casefold(),
    )


_UNKNOWN_COMPONENT: Final = "UnknownComponent"
_UNKNOWN_VARIABLE: Final = "UnknownVariable"
_NUMERIC: Final = frozenset({"power", "temperature"})


def value_of(station: VirtualStation, place: Variable) -> tuple[str, bool]:
    """The actual value of a variable and whether it is a number.

    Raises:
        LookupError: `UnknownComponent` or `UnknownVariable`.
    """
    component, _, evse_id, _, variable, instance = place
    state = station.state_of(MonitorState)
    put = state.measured.get((component, evse_id, variable))
    if component in ("evse", "connector", "temperaturesensor", "chargingstation"):
        evses = [evse for evse in station.evses if evse_id in (0, evse.id)]
        if not evses or (evse_id == 0) != (component in ("chargingstation", "temperaturesensor") and evse_id == 0):
            raise LookupError(_UNKNOWN_COMPONENT)
        power = sum(evse.meter.power_w for evse in evses)
        if variable == "power" and component in ("evse", "chargingstation"):
            return put or str(power), True
        if variable == "temperature" and component in ("temperaturesensor", "connector", "chargingstation"):
            return put or str(_AMBIENT + _PER_KW * power / 1000), True
        if variable == "availabilitystate":
            return put or evses[0].status.value, False
        if variable == "available":
            return put or ("true" if evses[0].operative else "false"), False
        raise LookupError(_UNKNOWN_VARIABLE)
    setting = by_name(component, variable, instance)
    if setting is None:
        raise LookupError(_UNKNOWN_VARIABLE if knows_component(component) else _UNKNOWN_COMPONENT)
    if setting.access is Access.WRITE_ONLY:
        return "", False  # N07.FR.10
    return put or station.settings.text(setting), setting.kind.value == "integer"


def _number(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None


# --- what is always there ---------------------------------------------------------------------------------------------


def monitors_of(station: VirtualStation) -> dict[int, Monitor]:
    """All monitors: a hard-wired one of the temperature, a preconfigured one of each EVSE's power, and those that were set."""
    state = station.state_of(MonitorState)
    if not state.monitors:
        state.monitors = {one.id: one for one in _factory(station)}
    return state.monitors


def _factory(station: VirtualStation) -> Iterator[Monitor]:
    yield Monitor(
        id=1,
        component=v201.ComponentType(name="ChargingStation"),
        variable=v201.VariableType(name="Temperature"),
        kind="UpperThreshold",
        value=_HARDEST_TEMPERATURE,
        severity=1,
        transaction=False,
        origin="HardWiredMonitor",
    )
    for evse in station.evses:
        yield Monitor(
            id=100 + evse.id,
            component=v201.ComponentType(name="EVSE", evse=v201.EVSEType(id=evse.id)),
            variable=v201.VariableType(name="Power"),
            kind="UpperThreshold",
            value=Decimal(evse.meter.model.power_w) * 2,
            severity=3,
            transaction=False,
            origin="PreconfiguredMonitor",
        )


# --- evaluation -------------------------------------------------------------------------------------------------------


def watch(station: VirtualStation) -> None:
    """Begins to evaluate, where it was not begun."""
    state = station.state_of(MonitorState)
    monitors_of(station)
    if not state.ticking:
        state.ticking = True
        station.timers.after(_TICK_S, lambda: _tick(station))


def _tick(station: VirtualStation) -> None:
    state = station.state_of(MonitorState)
    if station.closed:
        state.ticking = False
        return
    evaluate(station)
    station.timers.after(_TICK_S, lambda: _tick(station))


def evaluate(station: VirtualStation) -> None:
    """Looks at every monitor once and tells what there is to tell."""
    if not station.powered:
        return
    state = station.state_of(MonitorState)
    now = station.clock.now()
    busy = any(evse.busy for evse in station.evses)
    told: list[Struct] = []
    for one in list(monitors_of(station).values()):
        if one.transaction and not busy:
            continue
        try:
            value, numeric = value_of(station, one.place)
        except LookupError:
            continue
        event = _judge(station, state, one, value, numeric, now.timestamp())
        if event is not None and one.severity <= state.level:  # N05.FR.03, N07.FR.15
            if station.online and station.accepted:
                told.append(event)
            elif one.severity <= state.offline_level and len(state.kept) < _QUEUE:
                state.kept.append(event)  # N07.FR.04
    if station.online and station.accepted and (state.kept or told):
        events, state.kept = [*state.kept, *told], []
        send_events(station, events)


def _judge(station: VirtualStation, state: MonitorState, one: Monitor, value: str, numeric: bool, now_s: float) -> Any:
    number = _number(value)
    if one.kind in ("UpperThreshold", "LowerThreshold"):
        if number is None:
            return None
        beyond = number > one.value if one.kind == "UpperThreshold" else number < one.value
        if beyond and one.id not in state.exceeded:
            event = _event(station, state, one, value, "Alerting")
            state.exceeded[one.id] = event.event_id
            return event
        if not beyond and one.id in state.exceeded:
            cause = state.exceeded.pop(one.id)
            return _event(station, state, one, value, "Alerting", cleared=True, cause=cause)  # N07.FR.02
        return None
    if one.kind == "Delta":
        last = state.last.setdefault(one.id, value)
        before = _number(last)
        if numeric and number is not None and before is not None:
            changed = abs(number - before) > one.value
        else:
            changed = value != last  # N07.FR.19
        if changed:
            state.last[one.id] = value
            return _event(station, state, one, value, "Delta")
        return None
    interval = max(float(one.value), _TICK_S)
    if one.id not in state.due:
        aligned = one.kind == "PeriodicClockAligned"
        state.due[one.id] = (now_s // interval + 1) * interval if aligned else now_s + interval
    if now_s < state.due[one.id]:
        return None
    state.due[one.id] += interval * max(1, (now_s - state.due[one.id]) // interval + 1)
    return _event(station, state, one, value, "Periodic")


def _event(
    station: VirtualStation,
    state: MonitorState,
    one: Monitor,
    value: str,
    trigger: str,
    *,
    cleared: bool = False,
    cause: int | None = None,
) -> Any:
    number, state.next_event = state.next_event, state.next_event + 1
    v: Any = v21 if station.version == "2.1" else v201
    more = {"severity": one.severity} if v is v21 else {}
    evse = one.component.evse
    session = None if evse is None or evse.id > len(station.evses) else station.evse(evse.id).session
    return v.EventDataType(
        event_id=number,
        timestamp=rfc3339(station.clock.now()),
        trigger=v201.EventTriggerEnumType(trigger),
        actual_value=value[:2500],
        component=one.component,
        variable=one.variable,
        event_notification_type=v201.EventNotificationEnumType(one.origin),
        variable_monitoring_id=one.id,
        cleared=True if cleared else None,
        cause=cause,
        transaction_id=session.transaction_id if one.transaction and session is not None else None,
        **more,
    )


def send_events(station: VirtualStation, events: list[Any]) -> None:
    """NotifyEvent, in as many parts as it takes; the first has seqNo 0 (N07.FR.07)."""
    v: Any = v21 if station.version == "2.1" else v201
    at = rfc3339(station.clock.now())
    chunks = [tuple(events[start : start + _PARTS]) for start in range(0, len(events), _PARTS)]
    for number, chunk in enumerate(chunks):
        request = v.NotifyEventRequest(
            generated_at=at, seq_no=number, event_data=chunk, tbc=True if number + 1 < len(chunks) else None
        )
        station.send(Draft("NotifyEvent", lambda request=request: request))  # type: ignore[misc]


def tell_event(
    station: VirtualStation,
    component: str,
    variable: str,
    value: str,
    *,
    evse_id: int = 0,
    cleared: bool = False,
    tech_code: str | None = None,
    tech_info: str | None = None,
    severity: int | None = None,
) -> int:
    """Tells something that no monitor watches (HardWiredNotification); the event's number."""
    state = station.state_of(MonitorState)
    number, state.next_event = state.next_event, state.next_event + 1
    v: Any = v21 if station.version == "2.1" else v201
    more = {"severity": severity} if v is v21 and severity is not None else {}
    event = v.EventDataType(
        event_id=number,
        timestamp=rfc3339(station.clock.now()),
        trigger=v201.EventTriggerEnumType.ALERTING,
        actual_value=value,
        component=v201.ComponentType(name=component, evse=v201.EVSEType(id=evse_id) if evse_id else None),
        variable=v201.VariableType(name=variable),
        event_notification_type=v201.EventNotificationEnumType.HARD_WIRED_NOTIFICATION,
        cleared=True if cleared else None,
        tech_code=tech_code,
        tech_info=tech_info,
        **more,
    )
    send_events(station, [event])
    return number


# --- requests ---------------------------------------------------------------------------------------------------------


def _set_one(station: VirtualStation, wanted: Any) -> Struct:
    state = station.state_of(MonitorState)
    words = v201.SetMonitoringStatusEnumType
    word, number = words.ACCEPTED, wanted.id
    try:
        _, numeric = value_of(station, place_of(wanted.component, wanted.variable))
    except LookupError as error:
        word = words(str(error))
    else:
        word = _fits(station, wanted, numeric)
    if word is words.ACCEPTED:
        if number is None:
            number, state.next_id = state.next_id, state.next_id + 1
        earlier = state.monitors.get(number)
        state.monitors[number] = Monitor(
            id=number,
            component=wanted.component,
            variable=wanted.variable,
            kind=wanted.type.value,
            value=wanted.value,
            severity=wanted.severity,
            transaction=wanted.transaction is True,
            origin="CustomMonitor",  # N04.FR.15
        )
        state.due.pop(number, None)
        state.last.pop(number, None)
        if earlier is not None and earlier.kind != wanted.type.value:
            state.exceeded.pop(number, None)
    v: Any = v21 if station.version == "2.1" else v201
    made: Struct = v.SetMonitoringResultType(
        id=number if word is words.ACCEPTED else None,
        status=word,
        type=wanted.type,
        component=wanted.component,
        variable=wanted.variable,
        severity=wanted.severity,
    )
    return made


def _fits(station: VirtualStation, wanted: Any, numeric: bool) -> v201.SetMonitoringStatusEnumType:
    words = v201.SetMonitoringStatusEnumType
    monitors = monitors_of(station)
    place = place_of(wanted.component, wanted.variable)
    kind = wanted.type.value
    if station.has(Fault.REJECTS_ALL):
        return words.REJECTED
    if wanted.id is not None:
        found = monitors.get(wanted.id)
        if found is None or found.place != place or found.origin == "HardWiredMonitor":
            return words.REJECTED  # N04.FR.13, FR.16, FR.18
    if kind in ("UpperThreshold", "LowerThreshold"):
        if not numeric:
            return words.UNSUPPORTED_MONITOR_TYPE  # N04.FR.05
        low, high = _RANGE.get(place[4], (Decimal(-(10**9)), Decimal(10**9)))
        if not low <= wanted.value <= high:
            return words.REJECTED  # N04.FR.06
    elif kind not in ("Delta", "Periodic", "PeriodicClockAligned"):
        return words.UNSUPPORTED_MONITOR_TYPE
    elif wanted.value < 0 or (kind != "Delta" and wanted.value <= 0):
        return words.REJECTED  # N04.FR.14
    for one in monitors.values():
        if one.place == place and one.kind == kind and one.severity == wanted.severity and one.id != wanted.id:
            return words.DUPLICATE  # N04.FR.10
    return words.ACCEPTED


def _set(station: VirtualStation, request: Any) -> Reply:
    v: Any = v21 if station.version == "2.1" else v201
    monitors_of(station)
    results = tuple(_set_one(station, one) for one in request.set_monitoring_data)
    return Reply(v.SetVariableMonitoringResponse(set_monitoring_result=results), lambda: watch(station))


def _clear(station: VirtualStation, request: Any) -> Reply:
    words = v201.ClearMonitoringStatusEnumType
    monitors, state = monitors_of(station), station.state_of(MonitorState)
    results = []
    for number in request.id:
        found = monitors.get(number)
        if found is None:
            word = words.NOT_FOUND
        elif found.origin == "HardWiredMonitor":
            word = words.REJECTED  # N06.FR.03
        else:
            word = words.ACCEPTED
            _forget(state, number)  # N07.FR.12: nothing is told as cleared
        results.append(v201.ClearMonitoringResultType(id=number, status=word))
    return Reply(v201.ClearVariableMonitoringResponse(clear_monitoring_result=tuple(results)))


def _forget(state: MonitorState, number: int) -> None:
    state.monitors.pop(number, None)
    for known in (state.exceeded, state.last, state.due):
        known.pop(number, None)


_KINDS: Final = {
    "ThresholdMonitoring": ("UpperThreshold", "LowerThreshold"),
    "DeltaMonitoring": ("Delta", "TargetDelta", "TargetDeltaRelative"),
    "PeriodicMonitoring": ("Periodic", "PeriodicClockAligned"),
}


def _matches(one: Monitor, wanted: Any) -> bool:
    component, instance, evse_id, connector_id, variable, variable_instance = one.place
    evse = wanted.component.evse
    return (
        component == wanted.component.name.casefold()
        and wanted.component.instance in (None, instance or None)
        and (evse is None or (evse.id == evse_id and evse.connector_id in (None, connector_id)))
        and (
            wanted.variable is None
            or (
                wanted.variable.name.casefold() == variable
                and (wanted.variable.instance or "").casefold() in ("", variable_instance)
            )
        )
    )


def _get_report(station: VirtualStation, request: Any) -> Reply:
    words = v201.GenericDeviceModelStatusEnumType
    kinds = {kind for word in request.monitoring_criteria or () for kind in _KINDS[word.value]}
    found = [
        one
        for one in monitors_of(station).values()
        if (not kinds or one.kind in kinds)
        and (not request.component_variable or any(_matches(one, wanted) for wanted in request.component_variable))
    ]
    if station.has(Fault.REJECTS_ALL):
        return Reply(v201.GetMonitoringReportResponse(status=words.REJECTED))
    if not found:
        return Reply(v201.GetMonitoringReportResponse(status=words.EMPTY_RESULT_SET))  # N02.FR.10
    return Reply(
        v201.GetMonitoringReportResponse(status=words.ACCEPTED), lambda: _report(station, request.request_id, found)
    )


def _report(station: VirtualStation, request_id: int, found: list[Monitor]) -> None:
    v: Any = v21 if station.version == "2.1" else v201
    at = rfc3339(station.clock.now())
    places: dict[Variable, list[Monitor]] = {}
    for one in found:
        places.setdefault(one.place, []).append(one)
    items = [
        v.MonitoringDataType(
            component=group[0].component,
            variable=group[0].variable,
            variable_monitoring=tuple(_monitoring(v, one) for one in group),
        )
        for group in places.values()
    ]
    chunks = [tuple(items[start : start + _PARTS]) for start in range(0, len(items), _PARTS)]
    drafts: list[Draft] = []
    for number, chunk in enumerate(chunks):
        part = v.NotifyMonitoringReportRequest(
            request_id=request_id,
            seq_no=number,
            generated_at=at,
            monitor=chunk,
            tbc=True if number + 1 < len(chunks) else None,
        )
        drafts.append(Draft("NotifyMonitoringReport", lambda part=part: part))  # type: ignore[misc]
    for draft in drafts[-1:] if station.has(Fault.NOTIFY_REPORT_LAST_PART_ONLY) else drafts:
        station.send(draft)


def _monitoring(v: Any, one: Monitor) -> Any:
    more = {"event_notification_type": v201.EventNotificationEnumType(one.origin)} if v is v21 else {}
    return v.VariableMonitoringType(
        id=one.id,
        transaction=one.transaction,
        value=one.value,
        type=v.MonitorEnumType(one.kind),
        severity=one.severity,
        **more,
    )


def _set_base(station: VirtualStation, request: Any) -> Reply:
    words = v201.GenericDeviceModelStatusEnumType
    if station.has(Fault.REJECTS_ALL):
        return Reply(v201.SetMonitoringBaseResponse(status=words.REJECTED))
    state = station.state_of(MonitorState)
    state.base = request.monitoring_base.value
    factory = {one.id: one for one in _factory(station)}
    custom = {number: one for number, one in monitors_of(station).items() if one.origin == "CustomMonitor"}
    if state.base == "All":  # N03: the preconfigured ones as they were, custom ones stay
        kept = {**factory, **{number: one for number, one in custom.items() if number not in factory}}
    elif state.base == "FactoryDefault":
        kept = factory
    else:
        kept = {number: one for number, one in factory.items() if one.origin == "HardWiredMonitor"}
    for number in set(state.monitors) - set(kept):
        _forget(state, number)
    state.monitors = {number: replace(one) for number, one in kept.items()}
    return Reply(v201.SetMonitoringBaseResponse(status=words.ACCEPTED))


def _set_level(station: VirtualStation, request: Any) -> Reply:
    words = v201.GenericStatusEnumType
    if not 0 <= request.severity <= 9 or station.has(Fault.REJECTS_ALL):
        return Reply(v201.SetMonitoringLevelResponse(status=words.REJECTED))  # N05.FR.02
    station.state_of(MonitorState).level = request.severity
    return Reply(v201.SetMonitoringLevelResponse(status=words.ACCEPTED))


HANDLERS16: Final[dict[str, Callable[[Any, Any], Reply]]] = {}
"""OCPP 1.6 has no monitors."""

HANDLERS2X: Final[dict[str, Callable[[Any, Any], Reply]]] = {
    "ClearVariableMonitoring": _clear,
    "GetMonitoringReport": _get_report,
    "SetMonitoringBase": _set_base,
    "SetMonitoringLevel": _set_level,
    "SetVariableMonitoring": _set,
}
"""OCPP 2.0.1 and 2.1."""
