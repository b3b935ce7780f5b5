"""Charging profiles as each OCPP version writes them, and back.

To a station: what a version has no field for either stops the profile, where the station would do something else without
it (a discharge limit, a phase, a schedule by local time), or is left out and said (a price schedule, a tenth of a watt). From
a station nothing is lost but what is garbage. One function serves 2.0.1 and 2.1: the fields that 2.1 has more are found by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cache
from types import ModuleType
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from chargeplane.bridge.encoding import as_text
from chargeplane.domain.charging_profile_rules import RuleBook, StationAbilities
from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    FrequencyPoint,
    OperationMode,
    PeriodUpdate,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
    Recurrency,
    SignalPoint,
    SocLimit,
)
from chargeplane.domain.commands.smart_charging import StationSchedule
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.ocpp.versions import OcppVersion

WireProfile: TypeAlias = v16.ChargingProfile | v201.ChargingProfileType | v21.ChargingProfileType
_Schedule2x: TypeAlias = v201.ChargingScheduleType | v21.ChargingScheduleType
_Period2x: TypeAlias = v201.ChargingSchedulePeriodType | v21.ChargingSchedulePeriodType
_Composite: TypeAlias = (
    v16.GetCompositeScheduleResponse | v201.GetCompositeScheduleResponse | v21.GetCompositeScheduleResponse
)


class Loss(Struct, frozen=True, kw_only=True):
    """What a translation could not carry over.

    Args:
        pointer: JSON pointer into the version-free profile.
        sentence: what is missing on the other side, and what that means.
    """

    pointer: str
    sentence: str


class WrittenProfile(Struct, frozen=True, kw_only=True):
    """A profile in a version's own type, with what was left out."""

    profile: WireProfile
    losses: tuple[Loss, ...] = ()


class ReadProfile(Struct, frozen=True, kw_only=True):
    """A station's profile, with what of it was no use."""

    profile: ChargingProfile
    losses: tuple[Loss, ...] = ()


ABILITIES: Final[Mapping[OcppVersion, StationAbilities]] = {
    OcppVersion.V16: StationAbilities(
        book=RuleBook.OCPP_1_6,
        purposes=frozenset({ProfilePurpose.CHARGING_STATION_MAX, ProfilePurpose.TX_DEFAULT, ProfilePurpose.TX}),
        kinds=frozenset({ProfileKind.ABSOLUTE, ProfileKind.RECURRING, ProfileKind.RELATIVE}),
        replaces_same_level=True,
    ),
    OcppVersion.V201: StationAbilities(
        book=RuleBook.OCPP_2,
        purposes=frozenset(ProfilePurpose) - {ProfilePurpose.PRIORITY_CHARGING, ProfilePurpose.LOCAL_GENERATION},
        kinds=frozenset({ProfileKind.ABSOLUTE, ProfileKind.RECURRING, ProfileKind.RELATIVE}),
    ),
    OcppVersion.V21: StationAbilities(
        book=RuleBook.OCPP_2, purposes=frozenset(ProfilePurpose), kinds=frozenset(ProfileKind)
    ),
}
"""What a version's stations can understand at most; what one of them does stands in its variables."""

_MAX_INT: Final = 2**31 - 1
_MAX16: Final = "ChargePointMaxProfile"

# Version-free name: the wire's JSON name. Fields of other names or types are written out in the functions.
_PROFILE: Final = {
    "max_offline_s": "maxOfflineDuration",
    "invalid_after_offline": "invalidAfterOfflineDuration",
    "dyn_update_interval_s": "dynUpdateInterval",
}
_SCHEDULE: Final = {
    "duration_s": "duration",
    "min_charging_rate": "minChargingRate",
    "power_tolerance": "powerTolerance",
    "use_local_time": "useLocalTime",
    "randomized_delay_s": "randomizedDelay",
}
_VALUES: Final = {
    f"{name}{phase}": f"{wire}{phase.upper()}"
    for name, wire in (
        ("limit", "limit"),
        ("discharge_limit", "dischargeLimit"),
        ("setpoint", "setpoint"),
        ("setpoint_reactive", "setpointReactive"),
    )
    for phase in ("", "_l2", "_l3")
}
_PERIOD: Final = {
    **_VALUES,
    "number_phases": "numberPhases",
    "phase_to_use": "phaseToUse",
    "preconditioning_request": "preconditioningRequest",
    "evse_sleep": "evseSleep",
    "v2x_baseline": "v2xBaseline",
}
_CARRIED: Final = frozenset(
    {
        "customData",
        "salesTariff",
        "absolutePriceSchedule",
        "priceLevelSchedule",
        "priceScheduleSignature",
        "signatureId",
        "digestValue",
    }
)
# A station that does not get these charges all the same, as the profile says.
_DISPENSABLE: Final = frozenset(
    {"preconditioning_request", "power_tolerance", "randomized_delay_s", "min_charging_rate", "dyn_update_at"}
)


@cache
def _fields(wire: type[Struct]) -> dict[str, tuple[str, Any]]:
    """JSON name: the attribute and its type."""
    return {field.encode_name: (field.name, field.type) for field in msgspec.structs.fields(wire)}


# To a station.


class _Writing:
    """One profile on its way to a version: what stops it and what is left out."""

    __slots__ = ("lost", "stopped", "version")

    def __init__(self, version: OcppVersion) -> None:
        self.version = version
        self.lost: list[Loss] = []
        self.stopped: list[Loss] = []

    def stop(self, pointer: str, sentence: str) -> None:
        self.stopped.append(Loss(pointer=pointer, sentence=sentence))

    def lose(self, pointer: str, sentence: str) -> None:
        self.lost.append(Loss(pointer=pointer, sentence=sentence))

    def missing(self, pointer: str, name: str) -> None:
        """A field that the version does not have."""
        if name in _DISPENSABLE:
            self.lose(f"{pointer}/{name}", f"OCPP {self.version.value} has no {name}; it is left out")
        else:
            self.stop(
                f"{pointer}/{name}", f"OCPP {self.version.value} has no {name}; leave it out or choose another station"
            )

    def put(self, wire: type[Struct], source: Struct, names: Mapping[str, str], pointer: str) -> dict[str, Any]:
        """The fields of `names` that are given, as arguments for the wire type."""
        known = _fields(wire)
        found: dict[str, Any] = {}
        for name, wire_name in names.items():
            value = getattr(source, name)
            if value is None:
                continue
            if wire_name in known:
                found[known[wire_name][0]] = value
            elif value is not False:  # what is off is off without the field
                self.missing(pointer, name)
        return found

    def put_carried(self, wire: type[Struct], carried: Iterable[tuple[str, str]], pointer: str) -> dict[str, Any]:
        """What is carried as JSON text, where the version has a place for it."""
        known = _fields(wire)
        found: dict[str, Any] = {}
        for wire_name, text in carried:
            if wire_name not in known or wire_name not in _CARRIED:
                self.lose(f"{pointer}/carried", f"OCPP {self.version.value} has no {wire_name}; it is left out")
                continue
            name, kind = known[wire_name]
            try:
                found[name] = msgspec.json.decode(text, type=kind)
            except msgspec.DecodeError as error:
                self.stop(f"{pointer}/carried", f"{wire_name} does not fit OCPP {self.version.value}: {error}")
        return found

    def tenth(self, value: Decimal, pointer: str, *, up: bool = False) -> Decimal:
        """OCPP 1.6, 7.13 and 7.14: one decimal at most; a limit is never raised."""
        rounded = value.quantize(Decimal("0.1"), ROUND_CEILING if up else ROUND_FLOOR)
        if rounded != value:
            self.lose(pointer, f"OCPP 1.6 has one decimal; {value} is sent as {rounded}")
            return rounded
        return value


def to_wire(version: OcppVersion, profile: ChargingProfile) -> WrittenProfile:
    """A profile in the type of a version.

    Raises:
        InvalidInputError: the version cannot say what the profile asks for; names each field and why.
    Source: OCPP 1.6, 7.8 to 7.14; OCPP 2.0.1 and 2.1 Part 2, 2.17 to 2.19.
    """
    work = _Writing(version)
    written: WireProfile | None
    try:
        if version is OcppVersion.V16:
            written = _to16(work, profile)
        else:
            written = _to2x(work, profile, v201 if version is OcppVersion.V201 else v21)
    except ValueError as error:  # a number outside of what the wire type takes
        written = None
        work.stop("", str(error))
    if written is None or work.stopped:
        raise InvalidInputError(
            f"OCPP {version.value} cannot express charging profile {profile.id}: {work.stopped[0].sentence}.",
            tuple((loss.pointer, loss.sentence) for loss in work.stopped),
        )
    return WrittenProfile(profile=written, losses=tuple(work.lost))


def to_set_request(version: OcppVersion, profile: ChargingProfile) -> tuple[Struct, tuple[Loss, ...]]:
    """SetChargingProfile for a profile, and what it leaves out.

    Raises:
        InvalidInputError: see `to_wire`.
    """
    written = to_wire(version, profile)
    wire = written.profile
    request: Struct
    if isinstance(wire, v16.ChargingProfile):
        request = v16.SetChargingProfileRequest(connector_id=profile.evse_id, cs_charging_profiles=wire)
    elif isinstance(wire, v201.ChargingProfileType):
        request = v201.SetChargingProfileRequest(evse_id=profile.evse_id, charging_profile=wire)
    else:
        request = v21.SetChargingProfileRequest(evse_id=profile.evse_id, charging_profile=wire)
    return request, written.losses


def sentences_of_losses(version: str, profile: ChargingProfile) -> tuple[str, ...]:
    """What a version leaves out of a profile, in sentences.

    Raises:
        InvalidInputError: see `to_wire`.
    """
    return tuple(loss.sentence for loss in to_wire(OcppVersion(version), profile).losses)


def _to16(work: _Writing, profile: ChargingProfile) -> v16.ChargingProfile | None:
    abilities = ABILITIES[OcppVersion.V16]
    if profile.purpose not in abilities.purposes:
        work.stop("/purpose", f"OCPP 1.6 has no {profile.purpose.value}")
    if profile.kind not in abilities.kinds:
        work.stop("/kind", f"OCPP 1.6 has no {profile.kind.value} profiles")
    if len(profile.schedules) != 1:
        work.stop("/schedules", "OCPP 1.6 takes exactly one schedule")
    transaction_id: int | None = None
    if profile.transaction_id is not None:
        text = profile.transaction_id
        number = text.removeprefix("-")
        if number.isdecimal() and text.isascii() and len(number) <= 10 and -_MAX_INT - 1 <= int(text) <= _MAX_INT:
            transaction_id = int(text)
        else:
            work.stop("/transaction_id", "an OCPP 1.6 transaction is named by an integer")
    work.put(v16.ChargingProfile, profile, {**_PROFILE, "dyn_update_at": "dynUpdateTime"}, "")
    work.put_carried(v16.ChargingProfile, profile.carried, "")
    if work.stopped:
        return None
    schedule = profile.schedules[0]
    at = "/schedules/0"
    for name, value in (("use_local_time", schedule.use_local_time), ("limit_at_soc", schedule.limit_at_soc)):
        if value:
            work.missing(at, name)
    for name in ("power_tolerance", "randomized_delay_s"):
        if getattr(schedule, name):
            work.missing(at, name)
    work.put_carried(v16.ChargingSchedule, schedule.carried, at)
    periods = [_period16(work, p, f"{at}/periods/{n}") for n, p in enumerate(schedule.periods)]
    lowest = schedule.min_charging_rate
    return v16.ChargingProfile(
        charging_profile_id=profile.id,
        stack_level=profile.stack_level,
        charging_profile_purpose=v16.ChargingProfilePurposeType(
            _MAX16 if profile.purpose is ProfilePurpose.CHARGING_STATION_MAX else profile.purpose.value
        ),
        charging_profile_kind=v16.ChargingProfileKindType(profile.kind.value),
        charging_schedule=v16.ChargingSchedule(
            charging_rate_unit=v16.ChargingRateUnitType(schedule.unit.value),
            charging_schedule_period=tuple(periods),
            duration=schedule.duration_s,
            start_schedule=_written(schedule.start),
            min_charging_rate=None if lowest is None else work.tenth(lowest, f"{at}/min_charging_rate", up=True),
        ),
        transaction_id=transaction_id,
        recurrency_kind=None if profile.recurrency is None else v16.RecurrencyKindType(profile.recurrency.value),
        valid_from=_written(profile.valid_from),
        valid_to=_written(profile.valid_to),
    )


def _period16(work: _Writing, period: ChargingPeriod, at: str) -> v16.ChargingSchedulePeriod:
    others = {name: wire for name, wire in _PERIOD.items() if name != "limit"}
    found = work.put(v16.ChargingSchedulePeriod, period, others, at)
    _v2x(work, v16.ChargingSchedulePeriod, period, at, v16)
    work.put_carried(v16.ChargingSchedulePeriod, period.carried, at)
    if period.limit is None:
        work.stop(f"{at}/limit", "OCPP 1.6 asks for a limit in each period")
    limit = work.tenth(period.limit or Decimal(0), f"{at}/limit")
    return v16.ChargingSchedulePeriod(start_period=period.start_s, limit=limit, **found)


def _v2x(work: _Writing, wire: type[Struct], period: ChargingPeriod, at: str, version: ModuleType) -> dict[str, Any]:
    """Operation mode and curves, which only 2.1 has."""
    known = _fields(wire)
    found: dict[str, Any] = {}
    mode = period.operation_mode
    if mode is not None:
        if "operationMode" in known:
            found["operation_mode"] = version.OperationModeEnumType(mode.value)
        elif mode is not OperationMode.CHARGING_ONLY:  # which is what a period without it means
            work.stop(f"{at}/operation_mode", f"OCPP {work.version.value} knows no operation mode but ChargingOnly")
    if period.v2x_freq_watt_curve:
        if "v2xFreqWattCurve" in known:
            found["v2x_freq_watt_curve"] = tuple(
                version.V2XFreqWattPointType(frequency=p.frequency, power=p.power) for p in period.v2x_freq_watt_curve
            )
        else:
            work.missing(at, "v2x_freq_watt_curve")
    if period.v2x_signal_watt_curve:
        if "v2xSignalWattCurve" in known:
            found["v2x_signal_watt_curve"] = tuple(
                version.V2XSignalWattPointType(signal=p.signal, power=p.power) for p in period.v2x_signal_watt_curve
            )
        else:
            work.missing(at, "v2x_signal_watt_curve")
    return found


def _to2x(
    work: _Writing, profile: ChargingProfile, version: ModuleType
) -> v201.ChargingProfileType | v21.ChargingProfileType | None:
    name = work.version.value
    abilities = ABILITIES[work.version]
    wire = version.ChargingProfileType
    if profile.purpose not in abilities.purposes:
        work.stop("/purpose", f"OCPP {name} has no {profile.purpose.value}")
    if profile.kind not in abilities.kinds:
        work.stop("/kind", f"OCPP {name} has no {profile.kind.value} profiles")
    if not 1 <= len(profile.schedules) <= 3:
        work.stop("/schedules", f"OCPP {name} takes one to three schedules")
    if profile.transaction_id is not None and len(profile.transaction_id) > 36:
        work.stop("/transaction_id", f"OCPP {name} names a transaction with at most 36 characters")
    found = work.put(wire, profile, _PROFILE, "") | work.put_carried(wire, profile.carried, "")
    if profile.dyn_update_at is not None:
        if "dynUpdateTime" in _fields(wire):
            found["dyn_update_time"] = rfc3339(profile.dyn_update_at)
        else:
            work.missing("", "dyn_update_at")
    schedules = [_schedule2x(work, s, f"/schedules/{n}", version) for n, s in enumerate(profile.schedules)]
    if work.stopped:
        return None
    written: v201.ChargingProfileType | v21.ChargingProfileType = wire(
        id=profile.id,
        stack_level=profile.stack_level,
        charging_profile_purpose=version.ChargingProfilePurposeEnumType(profile.purpose.value),
        charging_profile_kind=version.ChargingProfileKindEnumType(profile.kind.value),
        charging_schedule=tuple(schedules),
        recurrency_kind=None
        if profile.recurrency is None
        else version.RecurrencyKindEnumType(profile.recurrency.value),
        valid_from=_written(profile.valid_from),
        valid_to=_written(profile.valid_to),
        transaction_id=profile.transaction_id,
        **found,
    )
    return written


def _schedule2x(work: _Writing, schedule: ChargingSchedule, at: str, version: ModuleType) -> Any:
    wire = version.ChargingScheduleType
    found = work.put(wire, schedule, _SCHEDULE, at) | work.put_carried(wire, schedule.carried, at)
    cap = schedule.limit_at_soc
    if cap is not None:
        if "limitAtSoC" in _fields(wire):
            found["limit_at_soc"] = version.LimitAtSoCType(soc=cap.soc, limit=cap.limit)
        else:
            work.missing(at, "limit_at_soc")
    periods = []
    inner = version.ChargingSchedulePeriodType
    required = "limit" in inner.__struct_fields__ and _fields(inner)["limit"][1] is Decimal
    for index, period in enumerate(schedule.periods):
        where = f"{at}/periods/{index}"
        values = work.put(inner, period, _PERIOD, where) | work.put_carried(inner, period.carried, where)
        values |= _v2x(work, inner, period, where, version)
        if required and period.limit is None:
            work.stop(f"{where}/limit", f"OCPP {work.version.value} asks for a limit in each period")
            values["limit"] = Decimal(0)
        periods.append(inner(start_period=period.start_s, **values))
    if not 1 <= len(periods) <= 1024:
        work.stop(f"{at}/periods", f"OCPP {work.version.value} takes 1 to 1024 periods")
    return wire(
        id=schedule.id,
        charging_rate_unit=version.ChargingRateUnitEnumType(schedule.unit.value),
        charging_schedule_period=tuple(periods),
        start_schedule=_written(schedule.start),
        **found,
    )


def _written(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


# From a station.


def from_wire(wire: WireProfile, evse_id: int) -> ReadProfile:
    """A profile that a station reported, or that somebody wrote in a version's own type.

    Args:
        evse_id: EVSE (1.6: connector) it is installed on; 0: the station.
    """
    lost: list[Loss] = []
    profile = _from16(wire, evse_id, lost) if isinstance(wire, v16.ChargingProfile) else _from2x(wire, evse_id, lost)
    return ReadProfile(profile=profile, losses=tuple(lost))


def _from16(wire: v16.ChargingProfile, evse_id: int, lost: list[Loss]) -> ChargingProfile:
    schedule = wire.charging_schedule
    purpose = wire.charging_profile_purpose
    return ChargingProfile(
        id=wire.charging_profile_id,
        evse_id=evse_id,
        stack_level=wire.stack_level,
        purpose=ProfilePurpose.CHARGING_STATION_MAX if purpose == _MAX16 else ProfilePurpose(purpose),
        kind=ProfileKind(wire.charging_profile_kind),
        schedules=(
            ChargingSchedule(
                unit=RateUnit(schedule.charging_rate_unit),
                periods=_periods16(schedule.charging_schedule_period),
                start=_moment(schedule.start_schedule, "/schedules/0/start", lost),
                duration_s=schedule.duration,
                min_charging_rate=schedule.min_charging_rate,
            ),
        ),
        recurrency=None if wire.recurrency_kind is None else Recurrency(wire.recurrency_kind),
        valid_from=_moment(wire.valid_from, "/valid_from", lost),
        valid_to=_moment(wire.valid_to, "/valid_to", lost),
        transaction_id=None if wire.transaction_id is None else str(wire.transaction_id),
    )


def _periods16(periods: Iterable[v16.ChargingSchedulePeriod]) -> tuple[ChargingPeriod, ...]:
    return tuple(ChargingPeriod(start_s=p.start_period, limit=p.limit, number_phases=p.number_phases) for p in periods)


def _from2x(
    wire: v201.ChargingProfileType | v21.ChargingProfileType, evse_id: int, lost: list[Loss]
) -> ChargingProfile:
    schedules: tuple[_Schedule2x, ...] = wire.charging_schedule
    return ChargingProfile(
        id=wire.id,
        evse_id=evse_id,
        stack_level=wire.stack_level,
        purpose=ProfilePurpose(wire.charging_profile_purpose),
        kind=ProfileKind(wire.charging_profile_kind),
        schedules=tuple(_schedule(s, f"/schedules/{n}", lost) for n, s in enumerate(schedules)),
        recurrency=None if wire.recurrency_kind is None else Recurrency(wire.recurrency_kind),
        valid_from=_moment(wire.valid_from, "/valid_from", lost),
        valid_to=_moment(wire.valid_to, "/valid_to", lost),
        transaction_id=None if wire.transaction_id is None else made_storable(wire.transaction_id, 255),
        dyn_update_at=_moment(getattr(wire, "dyn_update_time", None), "/dyn_update_at", lost),
        carried=_carried(wire),
        **_taken(wire, _PROFILE),
    )


def _schedule(wire: _Schedule2x, at: str, lost: list[Loss]) -> ChargingSchedule:
    cap: v21.LimitAtSoCType | None = getattr(wire, "limit_at_soc", None)
    local = getattr(wire, "use_local_time", None) is True
    return ChargingSchedule(
        id=wire.id,
        unit=RateUnit(wire.charging_rate_unit),
        periods=tuple(_period2x(p) for p in wire.charging_schedule_period),
        start=_moment(wire.start_schedule, f"{at}/start", lost, local=local),
        limit_at_soc=None if cap is None else SocLimit(soc=cap.soc, limit=cap.limit),
        carried=_carried(wire),
        **_taken(wire, _SCHEDULE),
    )


def _period2x(wire: _Period2x) -> ChargingPeriod:
    if isinstance(wire, v201.ChargingSchedulePeriodType):
        return ChargingPeriod(start_s=wire.start_period, carried=_carried(wire), **_taken(wire, _PERIOD))
    return ChargingPeriod(
        start_s=wire.start_period,
        operation_mode=None if wire.operation_mode is None else OperationMode(wire.operation_mode),
        v2x_freq_watt_curve=tuple(
            FrequencyPoint(frequency=p.frequency, power=p.power) for p in wire.v2x_freq_watt_curve or ()
        ),
        v2x_signal_watt_curve=tuple(
            SignalPoint(signal=p.signal, power=p.power) for p in wire.v2x_signal_watt_curve or ()
        ),
        carried=_carried(wire),
        **_taken(wire, _PERIOD),
    )


def _taken(wire: Struct, names: Mapping[str, str]) -> dict[str, Any]:
    known = _fields(type(wire))
    return {name: getattr(wire, known[wire_name][0]) for name, wire_name in names.items() if wire_name in known}


def _carried(wire: Struct) -> tuple[tuple[str, str], ...]:
    known = _fields(type(wire))
    found = ((name, getattr(wire, known[name][0])) for name in sorted(_CARRIED) if name in known)
    return tuple((name, as_text(value)) for name, value in found if value is not None)


def _moment(text: str | None, pointer: str, lost: list[Loss], *, local: bool = False) -> datetime | None:
    if text is None:
        return None
    if local:
        # K01.FR.90: the wall clock, whatever zone is written behind it.
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError:
            pass
    found = parse_timestamp(text)
    if found is None:
        lost.append(Loss(pointer=pointer, sentence=f"{text!r} is no point in time; it is taken as absent"))
    return found


def read_schedule(wire: _Schedule2x) -> ChargingSchedule:
    """A schedule that a station told by itself: an external system's limit, or what an EV will follow."""
    return _schedule(wire, "", [])


def reported_schedule(response: _Composite) -> StationSchedule | None:
    """The composite schedule that a station computed; None where it gave none.

    Source: OCPP 1.6, 5.7 and 6.22; OCPP 2.x K08.
    """
    lost: list[Loss] = []
    if isinstance(response, v16.GetCompositeScheduleResponse):
        schedule = response.charging_schedule
        if schedule is None:
            return None
        return StationSchedule(
            evse_id=response.connector_id,
            start=_moment(response.schedule_start or schedule.start_schedule, "/start", lost),
            duration_s=schedule.duration,
            unit=RateUnit(schedule.charging_rate_unit),
            periods=_periods16(schedule.charging_schedule_period),
        )
    found = response.schedule
    if found is None:
        return None
    return StationSchedule(
        evse_id=found.evse_id,
        start=_moment(found.schedule_start, "/start", lost),
        duration_s=found.duration,
        unit=RateUnit(found.charging_rate_unit),
        periods=tuple(_period2x(p) for p in found.charging_schedule_period),
    )


def update_to_wire(update: PeriodUpdate) -> v21.ChargingScheduleUpdateType:
    """New values of a dynamic profile (OCPP 2.1 UpdateDynamicSchedule, PullDynamicScheduleUpdate)."""
    return v21.ChargingScheduleUpdateType(**{name: getattr(update, name) for name in _VALUES})


def update_from_wire(wire: v21.ChargingScheduleUpdateType) -> PeriodUpdate:
    """New values of a dynamic profile, as a station or partner wrote them."""
    return PeriodUpdate(**{name: getattr(wire, name) for name in _VALUES})
