"""DER controls of a virtual station of OCPP 2.1: kept, superseded by priority, begun and ended on time, reported (R04, R05)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v21
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.simulator.acts import send_all
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.faults import Fault

if TYPE_CHECKING:
    from datetime import datetime

    from chargeplane.simulator.station import VirtualStation

# Field of SetDERControl: the field of its reported form.
_FIELDS: Final = {
    "curve": "curve",
    "enter_service": "enter_service",
    "fixed_pf_absorb": "fixed_pf",
    "fixed_pf_inject": "fixed_pf",
    "fixed_var": "fixed_var",
    "freq_droop": "freq_droop",
    "gradient": "gradient",
    "limit_max_discharge": "limit_max_discharge",
}
_REPORTED: Final[dict[str, Any]] = {
    "curve": v21.DERCurveGetType,
    "enter_service": v21.EnterServiceGetType,
    "fixed_pf_absorb": v21.FixedPFGetType,
    "fixed_pf_inject": v21.FixedPFGetType,
    "fixed_var": v21.FixedVarGetType,
    "freq_droop": v21.FreqDroopGetType,
    "gradient": v21.GradientGetType,
    "limit_max_discharge": v21.LimitMaxDischargeGetType,
}
_UNSUPPORTED: Final = frozenset({"WattPF", "PowerMonitoringMustTrip"})
_CONTROLS_PER_REPORT: Final = 2


class DerControl:
    """A control that the station has."""

    def __init__(self, request: v21.SetDERControlRequest) -> None:
        self.id = request.control_id
        self.type = request.control_type.value
        self.is_default = request.is_default
        self.field, self.settings = next(
            (name, getattr(request, name)) for name in _FIELDS if getattr(request, name) is not None
        )
        self.superseded = False
        self.active = False

    @property
    def priority(self) -> int:
        """Lower overrules higher."""
        priority: int = self.settings.priority
        return priority

    def span(self) -> tuple[datetime, timedelta] | None:
        """When a scheduled control holds."""
        start, duration = getattr(self.settings, "start_time", None), getattr(self.settings, "duration", None)
        begin = None if start is None else parse_timestamp(start)
        return None if begin is None or duration is None else (begin, timedelta(seconds=float(duration)))


class DerControls:
    """The controls of a station, by id."""

    def __init__(self) -> None:
        self.held: dict[str, DerControl] = {}


def _set(station: VirtualStation, request: v21.SetDERControlRequest) -> Reply:
    words = v21.DERControlStatusEnumType
    if station.has(Fault.REJECTS_ALL) or not any(getattr(request, name) is not None for name in _FIELDS):
        return Reply(v21.SetDERControlResponse(status=words.REJECTED))
    if request.control_type.value in _UNSUPPORTED:
        return Reply(v21.SetDERControlResponse(status=words.NOT_SUPPORTED))  # R04.FR.01
    held = station.state_of(DerControls).held
    new = DerControl(request)
    rivals = [
        one
        for one in held.values()
        if one.type == new.type and one.is_default == new.is_default and one.id != new.id and not one.superseded
    ]
    superseded: list[str] = []
    for one in rivals:
        if one.priority >= new.priority and not one.active:
            one.superseded = True  # R04.FR.03, FR.06
            superseded.append(one.id)
        elif one.priority < new.priority:
            new.superseded = True  # R04.FR.08
            superseded.append(new.id)
    held[new.id] = new
    answer = v21.SetDERControlResponse(status=words.ACCEPTED, superseded_ids=tuple(dict.fromkeys(superseded)) or None)
    return Reply(answer, lambda: _schedule(station, new))


def _schedule(station: VirtualStation, control: DerControl) -> None:
    span = control.span()
    if control.is_default or span is None:
        return
    begin, length = span
    now = station.clock.now()

    def start() -> None:
        held = station.state_of(DerControls).held
        if held.get(control.id) is not control or control.superseded:
            return
        over = [
            one
            for one in held.values()
            if one is not control and one.type == control.type and one.active and one.priority > control.priority
        ]
        for one in over:
            one.superseded, one.active = True, False  # R04.FR.07, FR.21
        control.active = True
        _tell(station, control, True, [one.id for one in over])

    def end() -> None:
        held = station.state_of(DerControls).held
        if held.get(control.id) is control:
            del held[control.id]  # R04.FR.10
            if control.active:
                _tell(station, control, False, [])

    station.timers.after(max(0.0, (begin - now).total_seconds()), start)
    station.timers.after(max(0.0, (begin + length - now).total_seconds()), end)


def _tell(station: VirtualStation, control: DerControl, started: bool, superseded: list[str]) -> None:
    request = v21.NotifyDERStartStopRequest(
        control_id=control.id,
        started=started,
        timestamp=rfc3339(station.clock.now()),
        superseded_ids=tuple(superseded) or None,
    )
    station.send(Draft("NotifyDERStartStop", lambda: request))


def _fits(control: DerControl, is_default: bool | None, kind: Any, ident: str | None) -> bool:
    return (
        is_default in (None, control.is_default)
        and (kind is None or control.type == kind)
        and ident in (None, control.id)
    )


def _get(station: VirtualStation, request: v21.GetDERControlRequest) -> Reply:
    words = v21.DERControlStatusEnumType
    if request.control_type is not None and request.control_type.value in _UNSUPPORTED:
        return Reply(v21.GetDERControlResponse(status=words.NOT_SUPPORTED))
    found = [
        one
        for one in station.state_of(DerControls).held.values()
        if _fits(one, request.is_default, request.control_type, request.control_id)
    ]
    if not found:
        return Reply(v21.GetDERControlResponse(status=words.NOT_FOUND))  # R04.FR.30
    return Reply(
        v21.GetDERControlResponse(status=words.ACCEPTED),
        lambda: send_all(station, _report(request.request_id, found), first=True),
    )


def _report(request_id: int, controls: list[DerControl]) -> list[Draft]:
    drafts = []
    for start in range(0, len(controls), _CONTROLS_PER_REPORT):
        groups: dict[str, list[Struct]] = {}
        for one in controls[start : start + _CONTROLS_PER_REPORT]:
            fields: dict[str, Any] = {_FIELDS[one.field]: one.settings, "id": one.id}
            if one.field not in ("enter_service", "gradient"):
                fields |= {"is_default": one.is_default, "is_superseded": one.superseded}
            if one.field == "curve":
                fields["curve_type"] = v21.DERControlEnumType(one.type)
            groups.setdefault(one.field, []).append(_REPORTED[one.field](**fields))
        parts: dict[str, Any] = {field: tuple(held) for field, held in groups.items()}
        more = start + _CONTROLS_PER_REPORT < len(controls)
        request = v21.ReportDERControlRequest(request_id=request_id, tbc=True if more else None, **parts)
        drafts.append(Draft("ReportDERControl", partial(_itself, request)))
    return drafts


def _itself(request: Struct) -> Struct:
    return request


def _clear(station: VirtualStation, request: v21.ClearDERControlRequest) -> Reply:
    words = v21.DERControlStatusEnumType
    if request.control_type is not None and request.control_type.value in _UNSUPPORTED:
        return Reply(v21.ClearDERControlResponse(status=words.NOT_SUPPORTED))
    held = station.state_of(DerControls).held
    gone = [one for one in held.values() if _fits(one, request.is_default, request.control_type, request.control_id)]
    if not gone and (request.control_type is not None or request.control_id is not None):
        return Reply(v21.ClearDERControlResponse(status=words.NOT_FOUND))
    for one in gone:
        del held[one.id]
    return Reply(v21.ClearDERControlResponse(status=words.ACCEPTED))


def tell_alarm(
    station: VirtualStation,
    control_type: str,
    fault: str = "OverVoltage",
    *,
    ended: bool = False,
    info: str | None = None,
) -> None:
    """The grid makes the station deviate from its charging profiles, or does so no more (R05.FR.01, FR.02)."""
    request = v21.NotifyDERAlarmRequest(
        control_type=v21.DERControlEnumType(control_type),
        timestamp=rfc3339(station.clock.now()),
        grid_event_fault=v21.GridEventFaultEnumType(fault),
        alarm_ended=True if ended else None,
        extra_info=info,
    )
    station.send(Draft("NotifyDERAlarm", lambda: request))


HANDLERS16: Final[dict[str, Callable[[Any, Any], Reply]]] = {}

HANDLERS2X: Final[dict[str, Callable[[Any, Any], Reply]]] = {
    "ClearDERControl": _clear,
    "GetDERControl": _get,
    "SetDERControl": _set,
}
