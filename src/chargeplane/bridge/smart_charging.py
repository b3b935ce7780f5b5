"""What stations tell and ask about smart charging, and the bytes of the answers: 2.0.1 and 2.1, for 1.6 has none of it.

A request that a repair made may hold words its version does not know. Where such a word stands in a field that something follows
from, the message is kept as it came and nothing follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, Final

from msgspec import Struct

from chargeplane.bridge.charging_profiles import from_wire, read_schedule, update_to_wire
from chargeplane.bridge.der_controls import controls_in_report
from chargeplane.bridge.encoding import EMPTY, as_text, encode
from chargeplane.bridge.narrow import decimal, text
from chargeplane.bridge.samples import moment
from chargeplane.domain.messages import Answered, Notice, Question, StationMessage
from chargeplane.domain.smart_charging import (
    AcNeeds,
    ChargingLimitCleared,
    ChargingLimitTold,
    ChargingProfilesReported,
    DcNeeds,
    DerAlarmTold,
    DerControlsReported,
    DerControlSwitched,
    DynamicValuesAnswer,
    DynamicValuesAsked,
    EvChargingNeeds,
    EvChargingSchedule,
    NeedsAnswer,
    NeedsStatus,
    PriorityChargingTold,
    ScheduleAnswer,
    V2xNeeds,
)
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v21, v201

Translate = Callable[[Any], StationMessage]
Write = Callable[[Any, Any], bytes]


def _told(action: str, tells: Callable[[Any], object], read: Callable[[Any], Struct]) -> tuple[str, Translate]:
    def translate(request: Any) -> StationMessage:
        told = text(str(tells(request)))
        try:
            return Notice(action=action, tells=told, report=read(request))
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            return Notice(action=action, tells=told)

    return action, translate


def _asked(action: str, tells: Callable[[Any], object], read: Callable[[Any], Struct]) -> tuple[str, Translate]:
    def translate(request: Any) -> StationMessage:
        told = text(str(tells(request)))
        try:
            return Question(action=action, tells=told, asks=read(request))
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            return Notice(action=action, tells=told)

    return action, translate


def _word(value: object, limit: int = 64) -> str:
    return made_storable(str(value), limit)


def _optional(value: object, limit: int = 64) -> str | None:
    return None if value is None else _word(value, limit)


def _moment(told: str | None) -> datetime | None:
    return None if told is None else moment(told)


def _profiles(r: v201.ReportChargingProfilesRequest | v21.ReportChargingProfilesRequest) -> Struct:
    return ChargingProfilesReported(
        request_id=r.request_id,
        source=_word(r.charging_limit_source),
        evse_id=r.evse_id,
        profiles=tuple(from_wire(one, r.evse_id).profile for one in r.charging_profile),
        more=r.tbc is True,
    )


def _limit(r: v201.NotifyChargingLimitRequest | v21.NotifyChargingLimitRequest) -> Struct:
    limit = r.charging_limit
    return ChargingLimitTold(
        source=_word(limit.charging_limit_source),
        evse_id=r.evse_id,
        schedules=tuple(read_schedule(one) for one in r.charging_schedule or ()),
        grid_critical=limit.is_grid_critical,
        local_generation=getattr(limit, "is_local_generation", None),
    )


def _cleared(r: v201.ClearedChargingLimitRequest | v21.ClearedChargingLimitRequest) -> Struct:
    return ChargingLimitCleared(source=_word(r.charging_limit_source), evse_id=r.evse_id)


def _needs(r: v201.NotifyEVChargingNeedsRequest | v21.NotifyEVChargingNeedsRequest) -> Struct:
    needs = r.charging_needs
    ac, dc, v2x = (
        needs.ac_charging_parameters,
        needs.dc_charging_parameters,
        getattr(needs, "v2x_charging_parameters", None),
    )
    carried = []
    for name, field in (("evEnergyOffer", "ev_energy_offer"), ("derChargingParameters", "der_charging_parameters")):
        value = getattr(needs, field, None)
        if value is not None:
            carried.append((name, as_text(value)))
    departure = needs.departure_time
    return EvChargingNeeds(
        evse_id=r.evse_id,
        requested=_word(needs.requested_energy_transfer),
        available=tuple(_word(one) for one in getattr(needs, "available_energy_transfer", None) or ()),
        departure_at=_moment(departure),
        control_mode=_optional(getattr(needs, "control_mode", None)),
        mobility_needs_mode=_optional(getattr(needs, "mobility_needs_mode", None)),
        max_periods=r.max_schedule_tuples,
        told_at=_moment(getattr(r, "timestamp", None)),
        ac=None
        if ac is None
        else AcNeeds(
            energy_wh=Decimal(ac.energy_amount),
            min_current=Decimal(ac.ev_min_current),
            max_current=Decimal(ac.ev_max_current),
            max_voltage=Decimal(ac.ev_max_voltage),
        ),
        dc=None
        if dc is None
        else DcNeeds(
            max_current=Decimal(dc.ev_max_current),
            max_voltage=Decimal(dc.ev_max_voltage),
            max_power=decimal(dc.ev_max_power),
            energy_capacity_wh=decimal(dc.ev_energy_capacity),
            energy_wh=decimal(dc.energy_amount),
            soc=dc.state_of_charge,
            full_soc=dc.full_soc,
            bulk_soc=dc.bulk_soc,
        ),
        v2x=None if v2x is None else _v2x(v2x),
        carried=tuple(carried),
    )


def _v2x(v2x: v21.V2XChargingParametersType) -> V2xNeeds:
    return V2xNeeds(
        min_charge_power=v2x.min_charge_power,
        max_charge_power=v2x.max_charge_power,
        max_charge_power_l2=v2x.max_charge_power_l2,
        max_charge_power_l3=v2x.max_charge_power_l3,
        min_discharge_power=v2x.min_discharge_power,
        max_discharge_power=v2x.max_discharge_power,
        min_charge_current=v2x.min_charge_current,
        max_charge_current=v2x.max_charge_current,
        max_discharge_current=v2x.max_discharge_current,
        min_voltage=v2x.min_voltage,
        max_voltage=v2x.max_voltage,
        energy_wh=v2x.ev_target_energy_request,
        min_energy_wh=v2x.ev_min_energy_request,
        max_energy_wh=v2x.ev_max_energy_request,
        target_soc=v2x.target_soc,
    )


def _schedule(r: v201.NotifyEVChargingScheduleRequest | v21.NotifyEVChargingScheduleRequest) -> Struct:
    return EvChargingSchedule(
        evse_id=r.evse_id,
        time_base=moment(r.time_base),
        schedule=read_schedule(r.charging_schedule),
        selected_schedule_id=getattr(r, "selected_charging_schedule_id", None),
        power_tolerance_accepted=getattr(r, "power_tolerance_acceptance", None),
    )


def _priority(r: v21.NotifyPriorityChargingRequest) -> Struct:
    return PriorityChargingTold(ocpp_transaction_id=_word(r.transaction_id, 255), activated=r.activated)


def _der_alarm(r: v21.NotifyDERAlarmRequest) -> Struct:
    return DerAlarmTold(
        control_type=_word(r.control_type),
        ended=r.alarm_ended is True,
        fault=_optional(r.grid_event_fault),
        at=moment(r.timestamp),
        info=_optional(r.extra_info, 200),
    )


def _der_switched(r: v21.NotifyDERStartStopRequest) -> Struct:
    return DerControlSwitched(
        control_id=_word(r.control_id, 36),
        started=r.started,
        at=moment(r.timestamp),
        superseded=tuple(_word(one, 36) for one in r.superseded_ids or ()),
    )


def _der_report(r: v21.ReportDERControlRequest) -> Struct:
    return DerControlsReported(request_id=r.request_id, controls=controls_in_report(r), more=r.tbc is True)


INCOMING_BOTH: Final[Mapping[str, Translate]] = dict(
    (
        _told("ReportChargingProfiles", lambda r: f"request {r.request_id}", _profiles),
        _told("NotifyChargingLimit", lambda r: r.charging_limit.charging_limit_source, _limit),
        _told("ClearedChargingLimit", lambda r: r.charging_limit_source, _cleared),
        _asked("NotifyEVChargingNeeds", lambda r: f"EVSE {r.evse_id}", _needs),
        _asked("NotifyEVChargingSchedule", lambda r: f"EVSE {r.evse_id}", _schedule),
    )
)
"""What stations of 2.0.1 and 2.1 tell."""

INCOMING_21: Final[Mapping[str, Translate]] = {
    **INCOMING_BOTH,
    **dict(
        (
            _told(
                "NotifyPriorityCharging", lambda r: f"{r.transaction_id} {'on' if r.activated else 'off'}", _priority
            ),
            _asked(
                "PullDynamicScheduleUpdate",
                lambda r: f"profile {r.charging_profile_id}",
                lambda r: DynamicValuesAsked(profile_id=r.charging_profile_id),
            ),
            _told("NotifyDERAlarm", lambda r: r.control_type, _der_alarm),
            _told(
                "NotifyDERStartStop", lambda r: f"{r.control_id} {'started' if r.started else 'stopped'}", _der_switched
            ),
            _told("ReportDERControl", lambda r: f"request {r.request_id}", _der_report),
        )
    ),
}
"""What stations of 2.1 tell."""


def _answer(answer: Any, kind: type[Struct]) -> Any:
    given = answer.answer if isinstance(answer, Answered) else None
    return given if isinstance(given, kind) else None


def _outgoing(v: ModuleType) -> dict[str, Write]:
    statuses = {word.value: word for word in v.NotifyEVChargingNeedsStatusEnumType}

    def needs(request: Any, answer: Any) -> bytes:
        found: NeedsAnswer | None = _answer(answer, NeedsAnswer)
        # K15.FR.04; 2.0.1 has no NoChargingProfile
        word = statuses.get(NeedsStatus.REJECTED if found is None else found.status, statuses["Rejected"])
        return encode(v.NotifyEVChargingNeedsResponse(status=word))

    def schedule(request: Any, answer: Any) -> bytes:
        found: ScheduleAnswer | None = _answer(answer, ScheduleAnswer)
        # K15.FR.11, FR.12. One that nobody could check is not refused: the EV follows what the station allows.
        status = (
            v.GenericStatusEnumType.ACCEPTED if found is None or found.accepted else v.GenericStatusEnumType.REJECTED
        )
        info = None
        if found is not None and found.reason:
            info = v.StatusInfoType(reason_code="InvalidSchedule", additional_info=made_storable(found.reason, 512))
        return encode(v.NotifyEVChargingScheduleResponse(status=status, status_info=info))

    return {
        "NotifyEVChargingNeeds": needs,
        "NotifyEVChargingSchedule": schedule,
        **dict.fromkeys(("ReportChargingProfiles", "NotifyChargingLimit", "ClearedChargingLimit"), _empty),
    }


def _empty(request: Any, answer: Any) -> bytes:
    return EMPTY


def _dynamic(request: Any, answer: Any) -> bytes:
    found: DynamicValuesAnswer | None = _answer(answer, DynamicValuesAnswer)
    words = v21.ChargingProfileStatusEnumType
    if found is None or found.update is None:
        # K28.FR.12
        info = v21.StatusInfoType(reason_code="InvalidProfile")
        return encode(v21.PullDynamicScheduleUpdateResponse(status=words.REJECTED, status_info=info))
    return encode(
        v21.PullDynamicScheduleUpdateResponse(status=words.ACCEPTED, schedule_update=update_to_wire(found.update))
    )


OUTGOING_201: Final[Mapping[str, Write]] = _outgoing(v201)
"""The bytes of the answers in 2.0.1."""

OUTGOING_21: Final[Mapping[str, Write]] = {
    **_outgoing(v21),
    "PullDynamicScheduleUpdate": _dynamic,
    **dict.fromkeys(("NotifyPriorityCharging", "NotifyDERAlarm", "NotifyDERStartStop", "ReportDERControl"), _empty),
}
"""The bytes of the answers in 2.1."""
