"""Smart charging of a virtual station: profiles kept and obeyed, reports of them, external limits, ISO 15118 needs, V2X.

What it installs it refuses by the rules of its version (OCPP 2.1 K01; OCPP 1.6, 5.16), it loses transaction profiles with their
transactions, and it says what the composite schedule is (K08).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from msgspec import Struct, json
from msgspec.structs import replace

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.ocpp.versions import OcppVersion
from chargeplane.simulator.acts import evses_of, find_evse, send_all
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.evse import Session, StopReason
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.outbox import Answer
from chargeplane.simulator.profiles import Anchor, Period, Profile, Purpose, Values
from chargeplane.simulator.settings import by_key

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_Profile2x: TypeAlias = v201.ChargingProfileType | v21.ChargingProfileType

_PURPOSES16: Final = {
    "ChargePointMaxProfile": Purpose.STATION_MAX,
    "TxDefaultProfile": Purpose.TX_DEFAULT,
    "TxProfile": Purpose.TX,
}
_PURPOSES2X: Final = {
    "ChargingStationMaxProfile": Purpose.STATION_MAX,
    "ChargingStationExternalConstraints": Purpose.EXTERNAL,
    "TxDefaultProfile": Purpose.TX_DEFAULT,
    "TxProfile": Purpose.TX,
    "PriorityCharging": Purpose.PRIORITY,
    "LocalGeneration": Purpose.LOCAL_GENERATION,
}
_WORDS2X: Final = {purpose: word for word, purpose in _PURPOSES2X.items()}
_PROFILES_PER_REPORT: Final = 2

_V2X_MODES: Final = frozenset(
    {"ChargingOnly", "CentralSetpoint", "CentralFrequency", "ExternalSetpoint", "ExternalLimits", "Idle"}
)


class SmartCharging:
    """What a station keeps of this besides its profiles.

    Attributes:
        needs_status: the CSMS's last word on an EV's needs, by EVSE.
        schedule_status: its last word on the schedule an EV chose, by EVSE.
        allowed: how a transaction may transfer energy, by transaction id.
        signals: aFRR signals that came.
        pulled: how often new values of dynamic profiles were asked for.
    """

    def __init__(self) -> None:
        self.needs_status: dict[int, str] = {}
        self.schedule_status: dict[int, str] = {}
        self.allowed: dict[str, tuple[str, ...]] = {}
        self.signals: list[tuple[str, int]] = []
        self.pulled = 0
        self.waiting: list[tuple[int, asyncio.Future[Profile]]] = []


# --- reading --------------------------------------------------------------------------------------------------------


def _anchor(kind: str, recurrency: str | None) -> Anchor:
    if kind == "Relative":
        return Anchor.RELATIVE
    if kind == "Recurring":
        return Anchor.WEEKLY if recurrency == "Weekly" else Anchor.DAILY
    return Anchor.DYNAMIC if kind == "Dynamic" else Anchor.ABSOLUTE


def profile16(connector_id: int, wire: v16.ChargingProfile) -> Profile:
    """A profile of OCPP 1.6."""
    schedule = wire.charging_schedule
    return Profile(
        id=wire.charging_profile_id,
        evse_id=connector_id,
        purpose=_PURPOSES16[wire.charging_profile_purpose.value],
        stack_level=wire.stack_level,
        anchor=_anchor(wire.charging_profile_kind.value, wire.recurrency_kind and wire.recurrency_kind.value),
        start=parse_timestamp(schedule.start_schedule) if schedule.start_schedule else None,
        duration_s=schedule.duration,
        in_amperes=schedule.charging_rate_unit == "A",
        periods=tuple(
            Period(start_s=p.start_period, limit=Decimal(p.limit), number_phases=p.number_phases)
            for p in schedule.charging_schedule_period
        ),
        valid_from=parse_timestamp(wire.valid_from) if wire.valid_from else None,
        valid_to=parse_timestamp(wire.valid_to) if wire.valid_to else None,
        transaction_id=None if wire.transaction_id is None else str(wire.transaction_id),
        wire=wire,
    )


def _total(period: Any, name: str, in_amperes: bool) -> Decimal | None:
    """All phases of W together; of A the lowest phase, for a car takes equal currents."""
    lines = [getattr(period, f"{name}{phase}", None) for phase in ("", "_l2", "_l3")]
    given = [Decimal(line) for line in lines if line is not None]
    if not given:
        return None
    return min(given, key=abs) if in_amperes else sum(given, Decimal(0))


def _periods2x(schedule: Any) -> tuple[Period, ...]:
    in_amperes = schedule.charging_rate_unit == "A"
    return tuple(
        Period(
            start_s=p.start_period,
            limit=_total(p, "limit", in_amperes),
            discharge=_total(p, "discharge_limit", in_amperes),
            setpoint=_total(p, "setpoint", in_amperes),
            number_phases=p.number_phases,
            mode=getattr(p, "operation_mode", None) and str(p.operation_mode),
        )
        for p in schedule.charging_schedule_period
    )


def profile2x(evse_id: int, wire: _Profile2x) -> Profile:
    """A profile of OCPP 2.x."""
    schedule = wire.charging_schedule[0]
    updated = getattr(wire, "dyn_update_time", None)
    return Profile(
        id=wire.id,
        evse_id=evse_id,
        purpose=_PURPOSES2X[wire.charging_profile_purpose.value],
        stack_level=wire.stack_level,
        anchor=_anchor(wire.charging_profile_kind.value, wire.recurrency_kind and wire.recurrency_kind.value),
        start=parse_timestamp(schedule.start_schedule) if schedule.start_schedule else None,
        duration_s=schedule.duration,
        in_amperes=schedule.charging_rate_unit == "A",
        periods=_periods2x(schedule),
        valid_from=parse_timestamp(wire.valid_from) if wire.valid_from else None,
        valid_to=parse_timestamp(wire.valid_to) if wire.valid_to else None,
        transaction_id=wire.transaction_id,
        max_offline_s=getattr(wire, "max_offline_duration", None),
        invalid_after_offline=getattr(wire, "invalid_after_offline_duration", None) is True,
        pull_every_s=getattr(wire, "dyn_update_interval", None),
        updated_at=parse_timestamp(updated) if updated else None,
        wire=wire,
    )


# --- installing -----------------------------------------------------------------------------------------------------


def _number(station: VirtualStation, key: str) -> int:
    setting = by_key(key)
    assert setting is not None
    return station.settings.number(setting)


def refusal(station: VirtualStation, profile: Profile, *, starting: bool = False) -> str | None:
    """The reason code for which a profile is refused (OCPP 2.1 K01); None where it may be installed.

    Args:
        starting: it came with a request to start.
    """
    if station.has(Fault.REJECTS_ALL):
        return "Unspecified"
    return _odd(station, profile) or _not_here(station, profile, starting)


def _odd(station: VirtualStation, profile: Profile) -> str | None:
    """What is wrong with the profile itself, and what this model never takes."""
    periods = profile.periods
    faults = station.options.faults
    if not periods or len(periods) > _number(station, "ChargingScheduleMaxPeriods") or periods[0].start_s != 0:
        return "InvalidSchedule"
    if any(after.start_s <= before.start_s for before, after in pairwise(periods)):
        return "InvalidSchedule"
    if not 0 <= profile.stack_level <= _number(station, "ChargeProfileMaxStackLevel"):
        return "InvalidStackLevel"
    if profile.anchor is Anchor.DYNAMIC and len(periods) != 1:
        return "InvalidSchedule"  # K28.FR.03
    if profile.purpose in (Purpose.EXTERNAL, Purpose.LOCAL_GENERATION):
        return "InvalidProfile"  # K01.FR.22
    if profile.purpose is Purpose.STATION_MAX and (profile.evse_id or profile.anchor is Anchor.RELATIVE):
        return "InvalidProfile"
    if any(p.mode is not None and p.mode not in _V2X_MODES for p in periods):
        return "InvalidOperationMode"
    if Fault.ONLY_WATTS in faults and profile.in_amperes:
        return "UnsupportedRateUnit"
    if Fault.ONLY_AMPERES in faults and not profile.in_amperes:
        return "UnsupportedRateUnit"
    if Fault.NO_STATION_MAX in faults and profile.purpose is Purpose.STATION_MAX:
        return "UnsupportedPurpose"
    if Fault.STACK_LEVEL_FROM_ONE in faults and profile.stack_level == 0:
        return "InvalidStackLevel"
    if Fault.NO_ZERO_LIMIT in faults and any(p.limit == 0 for p in periods):
        return "InvalidSchedule"
    return None


def _not_here(station: VirtualStation, profile: Profile, starting: bool) -> str | None:
    """What is wrong with it on this station, with what is installed and what goes on."""
    if profile.evse_id and find_evse(station, profile.evse_id) is None:
        return "UnknownEVSE"  # K01.FR.28
    if profile.purpose is Purpose.TX and not starting:
        evse = find_evse(station, profile.evse_id)
        if evse is None or not evse.busy or evse.session is None:
            return "TxNotFound"  # K01.FR.09
        if profile.transaction_id is not None and evse.session.transaction_id != profile.transaction_id:
            return "TxNotFound"  # K01.FR.33
    known = station.profiles.get(profile.id)
    if known is not None and known.purpose is Purpose.EXTERNAL:
        return "InvalidProfileId"  # K01.FR.05
    if station.version is not OcppVersion.V16 and station.profiles.rival(profile) is not None:
        return "DuplicateProfile"  # K01.FR.06, FR.39
    if known is None and sum(1 for _ in station.profiles) >= _number(station, "MaxChargingProfilesInstalled"):
        return "TooManyElements"
    return None


def _install(station: VirtualStation, profile: Profile) -> Callable[[], None]:
    """Keeps a profile; what follows from it once it was answered."""
    now = station.clock.now()
    if profile.anchor is Anchor.DYNAMIC and profile.updated_at is None:
        profile = replace(profile, updated_at=now)  # K28.FR.05
    station.profiles.put(profile, replaces_level=station.version is OcppVersion.V16)

    def then() -> None:
        station.rate_changed()
        _pull_later(station, profile)
        state = station.state_of(SmartCharging)
        waiting, state.waiting = state.waiting, []
        for evse_id, future in waiting:
            if profile.evse_id != evse_id or profile.purpose is not Purpose.TX:
                state.waiting.append((evse_id, future))
            elif not future.done():
                future.set_result(profile)

    return then


def _set16(station: VirtualStation, request: v16.SetChargingProfileRequest) -> Reply:
    profile = profile16(request.connector_id, request.cs_charging_profiles)
    if refusal(station, profile) is not None:
        return Reply(v16.SetChargingProfileResponse(status=v16.ChargingProfileStatus.REJECTED))
    return Reply(v16.SetChargingProfileResponse(status=v16.ChargingProfileStatus.ACCEPTED), _install(station, profile))


def _set2x(station: VirtualStation, request: v201.SetChargingProfileRequest | v21.SetChargingProfileRequest) -> Reply:
    profile = profile2x(request.evse_id, request.charging_profile)
    statuses = v201.ChargingProfileStatusEnumType
    reason = refusal(station, profile)
    if reason is not None:
        return Reply(
            v201.SetChargingProfileResponse(
                status=statuses.REJECTED, status_info=v201.StatusInfoType(reason_code=reason)
            )
        )
    return Reply(v201.SetChargingProfileResponse(status=statuses.ACCEPTED), _install(station, profile))


def _clear16(station: VirtualStation, request: v16.ClearChargingProfileRequest) -> Reply:
    purpose = request.charging_profile_purpose
    removed = station.profiles.clear(
        id=request.id,
        evse_id=request.connector_id,
        purpose=None if purpose is None else _PURPOSES16[purpose.value],
        stack_level=request.stack_level,
    )
    status = v16.ClearChargingProfileStatus.ACCEPTED if removed else v16.ClearChargingProfileStatus.UNKNOWN
    return Reply(v16.ClearChargingProfileResponse(status=status), station.rate_changed if removed else None)


def _clear2x(
    station: VirtualStation, request: v201.ClearChargingProfileRequest | v21.ClearChargingProfileRequest
) -> Reply:
    criteria = request.charging_profile_criteria
    purpose = None if criteria is None else criteria.charging_profile_purpose
    removed = station.profiles.clear(
        id=request.charging_profile_id,
        evse_id=None if criteria is None else criteria.evse_id,
        purpose=None if purpose is None else _PURPOSES2X[purpose.value],
        stack_level=None if criteria is None else criteria.stack_level,
    )
    statuses = v201.ClearChargingProfileStatusEnumType
    return Reply(
        v201.ClearChargingProfileResponse(status=statuses.ACCEPTED if removed else statuses.UNKNOWN),
        station.rate_changed if removed else None,
    )


# --- reporting ------------------------------------------------------------------------------------------------------


def _get_profiles(
    station: VirtualStation, request: v201.GetChargingProfilesRequest | v21.GetChargingProfilesRequest
) -> Reply:
    wanted = request.charging_profile
    purpose, ids = wanted.charging_profile_purpose, wanted.charging_profile_id
    sources = None if wanted.charging_limit_source is None else {str(one) for one in wanted.charging_limit_source}
    found = [
        profile
        for profile in station.profiles
        if (request.evse_id is None or profile.evse_id == request.evse_id)
        and (ids is None or profile.id in ids)
        and (purpose is None or _WORDS2X[profile.purpose] == purpose)
        and (wanted.stack_level is None or profile.stack_level == wanted.stack_level)
        and (sources is None or profile.source in sources)
    ]
    statuses = v201.GetChargingProfileStatusEnumType
    if not found:
        return Reply(v201.GetChargingProfilesResponse(status=statuses.NO_PROFILES))
    return Reply(
        v201.GetChargingProfilesResponse(status=statuses.ACCEPTED),
        lambda: send_all(station, _report(station, request.request_id, found), first=True),
    )


def _report(station: VirtualStation, request_id: int, profiles: Sequence[Profile]) -> list[Draft]:
    """ReportChargingProfiles in parts: one source and EVSE each, and no more than a few profiles (K09.FR.01, FR.02)."""
    groups: dict[tuple[str, int], list[Profile]] = {}
    for profile in profiles:
        groups.setdefault((profile.source, profile.evse_id), []).append(profile)
    parts = [
        (place, held[start : start + _PROFILES_PER_REPORT])
        for place, held in groups.items()
        for start in range(0, len(held), _PROFILES_PER_REPORT)
    ]
    drafts = []
    for number, ((source, evse_id), held) in enumerate(parts, 1):
        request = v21.ReportChargingProfilesRequest(
            request_id=request_id,
            charging_limit_source=source,
            charging_profile=tuple(_as_wire(one) for one in held),
            evse_id=evse_id,
            tbc=True if number < len(parts) else None,
        )
        drafts.append(Draft("ReportChargingProfiles", partial(_itself, request)))
    return drafts


def _itself(request: Struct) -> Struct:
    return request


def _as_wire(profile: Profile) -> Any:
    """The profile as it was set; of a dynamic one with its present values."""
    wire = profile.wire
    if profile.anchor is not Anchor.DYNAMIC or not isinstance(wire, v21.ChargingProfileType):
        return wire
    schedule = wire.charging_schedule[0]
    now = profile.periods[0]
    period = replace(
        schedule.charging_schedule_period[0],
        limit=now.limit,
        discharge_limit=now.discharge,
        setpoint=now.setpoint,
    )
    updated = None if profile.updated_at is None else rfc3339(profile.updated_at)
    return replace(
        wire, charging_schedule=(replace(schedule, charging_schedule_period=(period,)),), dyn_update_time=updated
    )


def _composite(
    station: VirtualStation, evse_id: int, duration_s: int, in_amperes: bool
) -> tuple[datetime, list[tuple[int, Values]]] | None:
    if not evses_of(station, evse_id) or duration_s <= 0:
        return None
    now = station.clock.now()
    supplies = [(evse.id, station.supply(evse), station.running(evse)) for evse in station.evses]
    return now, station.profiles.composite(evse_id, supplies, now, duration_s, in_amperes=in_amperes)


def _in_amperes(station: VirtualStation, unit: str | None) -> bool:
    if unit is not None:
        return unit == "A"
    return station.has(Fault.ONLY_AMPERES)


def _odd_numbers(station: VirtualStation, periods: Iterable[Any], plain: dict[str, Any]) -> None:
    """As some stations tell: -1 for what they do not limit, and starts between two seconds."""
    if not station.has(Fault.ODD_COMPOSITE):
        return
    most = max(station.supply(evse).power_w for evse in station.evses)
    for index, period in enumerate(periods):
        if period.limit is not None and period.limit >= most:
            plain["chargingSchedulePeriod"][index]["limit"] = -1
        if index:
            plain["chargingSchedulePeriod"][index]["startPeriod"] += 0.217


class _Loose(Struct):
    """An answer that no schema would let pass."""

    status: str
    schedule: Any


class _Loose16(Struct):
    status: str
    connectorId: int  # noqa: N815
    scheduleStart: str  # noqa: N815
    chargingSchedule: Any  # noqa: N815


def _composite16(station: VirtualStation, request: v16.GetCompositeScheduleRequest) -> Reply:
    in_amperes = _in_amperes(station, request.charging_rate_unit and request.charging_rate_unit.value)
    found = _composite(station, request.connector_id, request.duration, in_amperes)
    if found is None:
        return Reply(v16.GetCompositeScheduleResponse(status=v16.GetCompositeScheduleStatus.REJECTED))
    now, changes = found
    schedule = v16.ChargingSchedule(
        charging_rate_unit=v16.ChargingRateUnitType.A if in_amperes else v16.ChargingRateUnitType.W,
        charging_schedule_period=tuple(
            v16.ChargingSchedulePeriod(
                start_period=second, limit=values.limit or Decimal(0), number_phases=values.number_phases
            )
            for second, values in changes
        ),
        duration=request.duration,
        start_schedule=rfc3339(now),
    )
    if station.has(Fault.ODD_COMPOSITE):
        plain = json.decode(json.Encoder(decimal_format="number").encode(schedule))
        _odd_numbers(station, schedule.charging_schedule_period, plain)
        return Reply(_Loose16("Accepted", request.connector_id, rfc3339(now), plain))
    return Reply(
        v16.GetCompositeScheduleResponse(
            status=v16.GetCompositeScheduleStatus.ACCEPTED,
            connector_id=request.connector_id,
            schedule_start=rfc3339(now),
            charging_schedule=schedule,
        )
    )


def _composite2x(
    station: VirtualStation, request: v201.GetCompositeScheduleRequest | v21.GetCompositeScheduleRequest
) -> Reply:
    in_amperes = _in_amperes(station, request.charging_rate_unit and request.charging_rate_unit.value)
    found = _composite(station, request.evse_id, request.duration, in_amperes)
    if found is None:
        return Reply(v201.GetCompositeScheduleResponse(status=v201.GenericStatusEnumType.REJECTED))
    now, changes = found
    schedule = v21.CompositeScheduleType(
        evse_id=request.evse_id,
        duration=request.duration,
        schedule_start=rfc3339(now),
        charging_rate_unit=v201.ChargingRateUnitEnumType.A if in_amperes else v201.ChargingRateUnitEnumType.W,
        charging_schedule_period=tuple(
            v21.ChargingSchedulePeriodType(
                start_period=second,
                limit=values.limit,
                discharge_limit=values.discharge,
                setpoint=values.setpoint,
                number_phases=values.number_phases,
                operation_mode=None if values.mode is None else v21.OperationModeEnumType(values.mode),
            )
            for second, values in changes
        ),
    )
    if station.has(Fault.ODD_COMPOSITE):
        plain = json.decode(json.Encoder(decimal_format="number").encode(schedule))
        _odd_numbers(station, schedule.charging_schedule_period, plain)
        return Reply(_Loose("Accepted", plain))
    return Reply(v21.GetCompositeScheduleResponse(status=v201.GenericStatusEnumType.ACCEPTED, schedule=schedule))


# --- dynamic profiles, priority, V2X --------------------------------------------------------------------------------


def _values_of(update: v21.ChargingScheduleUpdateType) -> dict[str, Decimal]:
    names = {"limit": "limit", "discharge": "discharge_limit", "setpoint": "setpoint"}
    found = {name: _total(update, field, False) for name, field in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def _update_dynamic(station: VirtualStation, request: v21.UpdateDynamicScheduleRequest) -> Reply:
    values = _values_of(request.schedule_update)
    words = v201.ChargingProfileStatusEnumType
    if not station.profiles.update(request.charging_profile_id, values, station.clock.now()):
        info = v21.StatusInfoType(reason_code="InvalidProfile")  # K28.FR.11
        return Reply(v21.UpdateDynamicScheduleResponse(status=words.REJECTED, status_info=info))
    return Reply(v21.UpdateDynamicScheduleResponse(status=words.ACCEPTED), station.rate_changed)


def _pull_later(station: VirtualStation, profile: Profile) -> None:
    """K28.FR.10: asks for new values when the interval is over, for as long as the profile is there."""
    every = profile.pull_every_s
    if profile.anchor is not Anchor.DYNAMIC or not every:
        return

    def pull() -> None:
        held = station.profiles.get(profile.id)
        if held is None or held.pull_every_s != every:
            return
        station.state_of(SmartCharging).pulled += 1
        request = v21.PullDynamicScheduleUpdateRequest(charging_profile_id=profile.id)
        station.send(Draft("PullDynamicScheduleUpdate", lambda: request), taken)

    def taken(answer: Answer) -> None:
        if answer.payload is not None:
            told = json.decode(answer.payload, type=v21.PullDynamicScheduleUpdateResponse)
            if told.status == "Accepted" and told.schedule_update is not None:
                station.profiles.update(profile.id, _values_of(told.schedule_update), station.clock.now())
                station.rate_changed()
        station.timers.after(every, pull)

    station.timers.after(every, pull)


def use_priority(station: VirtualStation, session: Session, *, active: bool) -> bool:
    """Switches a transaction to its PriorityCharging profile or back, as the CSMS asks or a driver at the station does.

    Returns:
        False where there is no such profile (K21.FR.01, K22.FR.01).
    """
    if active and not any(
        p.purpose is Purpose.PRIORITY and p.evse_id in (0, session.evse_id) for p in station.profiles
    ):
        return False
    changes = session.priority is not active
    session.priority = active
    if changes:
        assert session.transaction_id is not None
        request = v21.NotifyPriorityChargingRequest(transaction_id=session.transaction_id, activated=active)
        station.send(Draft("NotifyPriorityCharging", lambda: request))
        station.rate_changed()
    return True


def _use_priority(station: VirtualStation, request: v21.UsePriorityChargingRequest) -> Reply:
    words = v21.PriorityChargingStatusEnumType
    session = station.session_of(request.transaction_id)
    if session is None:
        info = v21.StatusInfoType(reason_code="TxNotFound")
        return Reply(v21.UsePriorityChargingResponse(status=words.REJECTED, status_info=info))
    there = any(p.purpose is Purpose.PRIORITY and p.evse_id in (0, session.evse_id) for p in station.profiles)
    if request.activate and not there:
        info = v21.StatusInfoType(reason_code="NotFound")
        return Reply(v21.UsePriorityChargingResponse(status=words.NO_PROFILE, status_info=info))

    def switch() -> None:
        use_priority(station, session, active=request.activate)

    return Reply(v21.UsePriorityChargingResponse(status=words.ACCEPTED), switch)


def _allowed_transfer(station: VirtualStation, request: v21.NotifyAllowedEnergyTransferRequest) -> Reply:
    words = v21.NotifyAllowedEnergyTransferStatusEnumType
    if station.session_of(request.transaction_id) is None:
        return Reply(v21.NotifyAllowedEnergyTransferResponse(status=words.REJECTED))
    modes = tuple(str(mode) for mode in request.allowed_energy_transfer)
    station.state_of(SmartCharging).allowed[request.transaction_id] = modes
    return Reply(v21.NotifyAllowedEnergyTransferResponse(status=words.ACCEPTED))


def _afrr(station: VirtualStation, request: v21.AFRRSignalRequest) -> Reply:
    station.state_of(SmartCharging).signals.append((request.timestamp, request.signal))
    words = v201.GenericStatusEnumType
    refused = station.has(Fault.REJECTS_ALL)
    return Reply(v21.AFRRSignalResponse(status=words.REJECTED if refused else words.ACCEPTED))


# --- what happens at the station ------------------------------------------------------------------------------------


def set_external_limit(
    station: VirtualStation,
    limit: Decimal | int,
    *,
    source: str = "SO",
    evse_id: int = 0,
    in_amperes: bool = False,
    duration_s: int | None = None,
    generation: bool = False,
    tells: bool = True,
) -> None:
    """An external system limits charging from now on; the CSMS is told (K11, K12).

    Args:
        generation: more may be drawn instead, because it is generated on the spot (2.1).
        tells: the message has the schedule in it (EnableNotifyChargingLimitWithSchedules).
    """
    now = station.clock.now().replace(microsecond=0)
    v: Any = v21 if station.version is OcppVersion.V21 else v201
    schedule = v.ChargingScheduleType(
        id=1,
        charging_rate_unit=v201.ChargingRateUnitEnumType.A if in_amperes else v201.ChargingRateUnitEnumType.W,
        charging_schedule_period=(v.ChargingSchedulePeriodType(start_period=0, limit=Decimal(limit)),),
        start_schedule=rfc3339(now),
        duration=duration_s,
    )
    purpose = Purpose.LOCAL_GENERATION if generation else Purpose.EXTERNAL
    ident = -(1 + evse_id * 10 + sum(map(ord, source)) * 1000)  # K11.FR.06: below 0, away from the CSMS's
    wire = v.ChargingProfileType(
        id=ident,
        stack_level=0,
        charging_profile_purpose=v.ChargingProfilePurposeEnumType(_WORDS2X[purpose]),
        charging_profile_kind=v.ChargingProfileKindEnumType("Absolute"),
        charging_schedule=(schedule,),
    )
    profile = Profile(
        id=ident,
        evse_id=evse_id,
        purpose=purpose,
        stack_level=0,
        anchor=Anchor.ABSOLUTE,
        start=now,
        duration_s=duration_s,
        in_amperes=in_amperes,
        periods=(Period(limit=Decimal(limit)),),
        source=source,
        wire=wire,
    )
    station.profiles.put(profile)
    more = {"is_local_generation": True} if generation else {}
    wire_source: Any = source if v is v21 else v201.ChargingLimitSourceEnumType(source)
    request = v.NotifyChargingLimitRequest(
        charging_limit=v.ChargingLimitType(charging_limit_source=wire_source, **more),
        charging_schedule=(schedule,) if tells else None,
        evse_id=evse_id or None,
    )
    station.send(Draft("NotifyChargingLimit", lambda: request))
    station.rate_changed()


def release_external_limit(station: VirtualStation, *, source: str = "SO", evse_id: int = 0) -> None:
    """The external system limits charging no more; the CSMS is told (K13)."""
    station.profiles.release(source, evse_id)
    v: Any = v21 if station.version is OcppVersion.V21 else v201
    wire_source: Any = source if v is v21 else v201.ChargingLimitSourceEnumType(source)
    request = v.ClearedChargingLimitRequest(charging_limit_source=wire_source, evse_id=evse_id or None)
    station.send(Draft("ClearedChargingLimit", lambda: request))
    station.rate_changed()


class Needs(NamedTuple):
    """What an EV tells: Wh, A, V; `transfer` is OCPP's word."""

    energy_wh: int
    min_a: int = 6
    max_a: int = 16
    voltage: int = 230
    transfer: str = "AC_three_phase"
    departure: timedelta | None = None
    max_periods: int | None = None
    control_mode: str | None = None
    available: tuple[str, ...] = ()


async def tell_needs(
    station: VirtualStation, session: Session, needs: Needs, timeout_s: float = 10.0
) -> Profile | None:
    """An EV of ISO 15118 tells its needs (K15.FR.01); the TxProfile that came for it, None where none is to come.

    A transfer of energy that the CSMS does not let it have ends the transaction (2.1, Q01.FR.06).
    """
    state = station.state_of(SmartCharging)
    expected: asyncio.Future[Profile] = station.loop.create_future()
    state.waiting.append((session.evse_id, expected))
    answered: asyncio.Future[Answer] = station.loop.create_future()
    station.send(Draft("NotifyEVChargingNeeds", lambda: _needs(station, session, needs)), answered.set_result)
    answer = await asyncio.wait_for(answered, timeout_s)
    word = "Offline"
    if answer.payload is not None:
        word = json.decode(answer.payload, type=v21.NotifyEVChargingNeedsResponse).status.value
    state.needs_status[session.evse_id] = word
    if word in ("Accepted", "Processing"):
        return await asyncio.wait_for(expected, timeout_s)
    state.waiting = [(evse_id, future) for evse_id, future in state.waiting if future is not expected]
    if word == "Rejected" and "BPT" in needs.transfer:
        session.request_stop(StopReason.TRANSFER_REFUSED)
    return None


def _needs(station: VirtualStation, session: Session, needs: Needs) -> Struct:
    departure = None if needs.departure is None else rfc3339(station.clock.now() + needs.departure)
    if station.version is not OcppVersion.V21:
        return v201.NotifyEVChargingNeedsRequest(
            evse_id=session.evse_id,
            max_schedule_tuples=needs.max_periods,
            charging_needs=v201.ChargingNeedsType(
                requested_energy_transfer=v201.EnergyTransferModeEnumType(needs.transfer),
                departure_time=departure,
                ac_charging_parameters=_ac(v201, needs),
            ),
        )
    bidirectional = "BPT" in needs.transfer
    power = Decimal(needs.max_a * needs.voltage * 3)
    return v21.NotifyEVChargingNeedsRequest(
        evse_id=session.evse_id,
        max_schedule_tuples=needs.max_periods,
        charging_needs=v21.ChargingNeedsType(
            requested_energy_transfer=v21.EnergyTransferModeEnumType(needs.transfer),
            available_energy_transfer=tuple(v21.EnergyTransferModeEnumType(one) for one in needs.available) or None,
            control_mode=None if needs.control_mode is None else v21.ControlModeEnumType(needs.control_mode),
            departure_time=departure,
            ac_charging_parameters=None if bidirectional else _ac(v21, needs),
            v2x_charging_parameters=v21.V2XChargingParametersType(
                max_charge_power=power,
                max_discharge_power=power,
                ev_target_energy_request=Decimal(needs.energy_wh),
            )
            if bidirectional
            else None,
        ),
    )


def _ac(v: Any, needs: Needs) -> Any:
    return v.ACChargingParametersType(
        energy_amount=needs.energy_wh,
        ev_min_current=needs.min_a,
        ev_max_current=needs.max_a,
        ev_max_voltage=needs.voltage,
    )


async def tell_schedule(
    station: VirtualStation,
    session: Session,
    periods: Sequence[tuple[int, Decimal]],
    *,
    in_amperes: bool = False,
    timeout_s: float = 10.0,
) -> str:
    """The EV tells what it will follow (K15.FR.10, FR.19); the CSMS's status word."""
    v: Any = v21 if station.version is OcppVersion.V21 else v201
    request = v.NotifyEVChargingScheduleRequest(
        time_base=rfc3339(station.clock.now().replace(microsecond=0)),
        evse_id=session.evse_id,
        charging_schedule=v.ChargingScheduleType(
            id=1,
            charging_rate_unit=v201.ChargingRateUnitEnumType.A if in_amperes else v201.ChargingRateUnitEnumType.W,
            charging_schedule_period=tuple(
                v.ChargingSchedulePeriodType(start_period=second, limit=limit) for second, limit in periods
            ),
        ),
    )
    answered: asyncio.Future[Answer] = station.loop.create_future()
    station.send(Draft("NotifyEVChargingSchedule", lambda: request), answered.set_result)
    answer = await asyncio.wait_for(answered, timeout_s)
    word = "Offline"
    if answer.payload is not None:
        word = json.decode(answer.payload, type=v201.NotifyEVChargingScheduleResponse).status.value
    station.state_of(SmartCharging).schedule_status[session.evse_id] = word
    return word


HANDLERS16: Final[dict[str, Callable[[Any, Any], Reply]]] = {
    "ClearChargingProfile": _clear16,
    "GetCompositeSchedule": _composite16,
    "SetChargingProfile": _set16,
}

HANDLERS2X: Final[dict[str, Callable[[Any, Any], Reply]]] = {
    "AFRRSignal": _afrr,
    "ClearChargingProfile": _clear2x,
    "GetChargingProfiles": _get_profiles,
    "GetCompositeSchedule": _composite2x,
    "NotifyAllowedEnergyTransfer": _allowed_transfer,
    "SetChargingProfile": _set2x,
    "UpdateDynamicSchedule": _update_dynamic,
    "UsePriorityCharging": _use_priority,
}
