"""Is a charging profile right, and may it be set on this station now?

The rules of OCPP 1.6 (3.13, 5.16, 7.8 to 7.14, 9.4 and errata 4.0) and 2.x (K01, K02, K05, K28, F01, V2X) as one table: each rule has
its place in both, and holds where it has one. A rule that is broken is named with its place, the reason code of 2.x, the
field and a sentence, so that an operator learns all that is wrong at once, before anything is sent.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from msgspec import Struct

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    OperationMode,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.kernel.errors import InvalidInputError


class RuleBook(enum.StrEnum):
    """Whose rules a station follows."""

    OCPP_1_6 = "OCPP 1.6"
    OCPP_2 = "OCPP 2.x"


class ProfileRule(enum.Enum):
    """What is asked of a profile: its place in OCPP 1.6 and in 2.x (None: not a rule there), and 2.x' reason code."""

    STACK_LEVEL = ("9.4.1", "SmartChargingCtrlr.ProfileStackLevel", "InvalidProfile")
    PURPOSE_SUPPORTED = ("7.10", "K01.FR.120", "UnsupportedPurpose")
    KIND_SUPPORTED = ("7.9", "K01.FR.121", "UnsupportedKind")
    NOT_EXTERNAL = ("7.10", "K01.FR.22", "InvalidProfile")
    MAX_IS_THE_STATIONS = ("3.13.1", "K 3.2", "InvalidProfile")
    MAX_NOT_RELATIVE = (None, "K01.FR.38", "InvalidProfile")
    TX_AT_AN_EVSE = ("3.13.1", "K01.FR.16", "InvalidProfile")
    TX_NAMES_ITS_TRANSACTION = (None, "K01.FR.03", "InvalidProfile")
    ONLY_TX_NAMES_A_TRANSACTION = ("7.8", "2.17", "InvalidProfile")
    START_REQUEST_TAKES_TX = ("5.16.2", "K05.FR.02", "InvalidProfile")
    START_REQUEST_NAMES_NO_TRANSACTION = ("5.16.2", "F01.FR.11", "InvalidProfile")
    START_REQUIRED = (None, "K01.FR.40", "InvalidSchedule")
    RELATIVE_WITHOUT_START = (None, "K01.FR.41", "InvalidSchedule")
    RECURRENCY_REQUIRED = ("7.8", "K 3.3", "InvalidProfile")
    RECURRENCY_ONLY_RECURRING = ("errata 3.56", None, "InvalidProfile")
    VALID_SOME_TIME = ("7.8", "K01.FR.37", "InvalidProfile")
    ONE_SCHEDULE = ("7.8", "K01.FR.34", "InvalidSchedule")
    DYNAMIC_ONE_PERIOD = (None, "K28.FR.01", "InvalidSchedule")
    UPDATES_ONLY_DYNAMIC = (None, "K01.FR.122", "InvalidProfile")
    ID_OF_THE_CSMS = (None, "K01.FR.81", "InvalidProfileId")
    PRIORITY_WITHOUT_DURATION = (None, "K01.FR.70", "InvalidSchedule")
    MODE_OF_PURPOSE = (None, "K01.FR.114", "InvalidOperationMode")
    MODE_SUPPORTED = (None, "K01.FR.115", "InvalidOperationMode")
    UNIT_SUPPORTED = ("9.4.2", "K01.FR.26", "UnsupportedRateUnit")
    PERIODS_SUPPORTED = ("9.4.3", "SmartChargingCtrlr.PeriodsPerSchedule", "InvalidSchedule")
    FIRST_PERIOD_AT_ZERO = ("7.13", "K01.FR.31", "InvalidSchedule")
    PERIODS_IN_ORDER = ("7.14", "K01.FR.35", "InvalidSchedule")
    DURATION_POSITIVE = ("7.13", "K01.FR.11", "InvalidSchedule")
    LOCAL_TIME_SUPPORTED = (None, "K01.FR.123", "InvalidSchedule")
    DELAY_SUPPORTED = (None, "K01.FR.124", "InvalidSchedule")
    DELAY_OF_TRANSACTIONS_ONLY = (None, "K01.FR.95", "InvalidSchedule")
    SOC_LIMIT_SUPPORTED = (None, "K01.FR.125", "InvalidSchedule")
    SLEEP_WHEN_IDLE = (None, "K01.FR.126", "InvalidSchedule")
    LIMIT_REQUIRED = ("7.14", "Q 2.2", "InvalidSchedule")
    SETPOINT_REQUIRED = (None, "Q 2.2", "InvalidSchedule")
    VALUE_NOT_OF_MODE = ("7.14", "Q 2.2", "InvalidSchedule")
    CURVE_REQUIRED = (None, "Q08", "InvalidSchedule")
    DISCHARGE_NOT_POSITIVE = (None, "2.18", "InvalidSchedule")
    SETPOINT_WITHIN_LIMITS = (None, "V2X.05", "InvalidSchedule")
    NUMBER_OF_PHASES = ("7.14", "2.18", "InvalidSchedule")
    PHASE_ONLY_OF_ONE = ("7.14", "K01.FR.19", "InvalidSchedule")
    PHASE_SWITCHING = ("7.14", "K01.FR.20", "InvalidSchedule")
    NO_PHASES_ON_DC = (None, "K01.FR.44", "NoPhaseForDC")
    PHASE_LIMITS_OF_TX_ONLY = (None, "K01.FR.144", "PhaseConflict")
    PHASE_LIMITS_WITH_LIMIT = (None, "K01.FR.146", "PhaseConflict")
    PHASE_LIMITS_OF_THE_EV = (None, "K01.FR.142", "PhaseConflict")
    USABLE_VALUES = ("7.8", "2.17", "InvalidProfile")
    # What is already on the station.
    EVSE_KNOWN = ("errata 3.39", "K01.FR.28", "UnknownEVSE")
    TX_NEEDS_A_TRANSACTION = ("3.13.1", "K01.FR.09", "TxNotFound")
    TX_OF_THE_OPEN_TRANSACTION = ("7.8", "K01.FR.33", "TxNotFound")
    EXTERNAL_NOT_REPLACED = (None, "K01.FR.05", "InvalidProfileId")
    NO_DUPLICATE = (None, "K01.FR.06", "DuplicateProfile")
    NO_DUPLICATE_TX = (None, "K01.FR.39", "DuplicateProfile")
    STATION_DEFAULT_NOT_BESIDE_EVSES = (None, "K01.FR.52", "DuplicateProfile")
    EVSE_DEFAULT_NOT_BESIDE_STATIONS = (None, "K01.FR.53", "DuplicateProfile")
    NO_PHASE_CONFLICT = (None, "K01.FR.141", "PhaseConflict")
    ROOM_FOR_PROFILES = ("9.4.5", "SmartChargingCtrlr.Entries", "TooManyElements")

    def place(self, book: RuleBook) -> str | None:
        """Where the rule stands in a rule book; None where it is none there."""
        place: str | None = self.value[0 if book is RuleBook.OCPP_1_6 else 1]
        return place

    @property
    def reason_code(self) -> str:
        """The statusInfo.reasonCode of OCPP 2.x for it."""
        code: str = self.value[2]
        return code


class Violation(Struct, frozen=True, kw_only=True):
    """A rule that a profile breaks.

    Args:
        source: `OCPP 2.x K01.FR.31`, `OCPP 1.6, 7.13`.
        pointer: JSON pointer into the profile.
        sentence: what is wrong and what would be right.
    """

    rule: ProfileRule
    source: str
    pointer: str
    sentence: str


class StationAbilities(Struct, frozen=True, kw_only=True):
    """What a station understands. The defaults are those of a station that says nothing about itself.

    Args:
        evse_ids: None: not known, any is taken.
        operation_modes: beside ChargingOnly (V2XChargingCtrlr.SupportedOperationModes).
        max_stack_level, max_periods, max_profiles: None: not known, not checked.
        phase_switching: EVSEs that can connect an EV to a phase of choice (ACPhaseSwitchingSupported).
        dc_evse_ids: EVSEs that deliver direct current.
        dc_input_phases: those DC EVSEs choose their input phases (DCInputPhaseControl, K01.FR.54).
        max_external_id: MaxExternalConstraintsId.
        replaces_same_level: a profile takes the place of one with its purpose, EVSE and stack level (OCPP 1.6, 3.13.2); else
            it is a duplicate (K01.FR.06).
    """

    book: RuleBook
    evse_ids: frozenset[int] | None = None
    purposes: frozenset[ProfilePurpose]
    kinds: frozenset[ProfileKind]
    units: frozenset[RateUnit] = frozenset(RateUnit)
    operation_modes: frozenset[OperationMode] = frozenset()
    max_stack_level: int | None = None
    max_periods: int | None = None
    max_profiles: int | None = None
    phase_switching: frozenset[int] = frozenset()
    dc_evse_ids: frozenset[int] = frozenset()
    dc_input_phases: bool = False
    local_time: bool = False
    randomized_delay: bool = False
    limit_at_soc: bool = False
    evse_sleep: bool = False
    max_external_id: int | None = None
    replaces_same_level: bool = False


class ProfileOrigin(enum.Enum):
    """Who sets a profile, and how."""

    CSMS = enum.auto()
    REQUEST_START = enum.auto()  # by the CSMS, inside the request to start a transaction
    EXTERNAL_SYSTEM = enum.auto()


class OpenCharging(Struct, frozen=True, kw_only=True):
    """A transaction that a TxProfile may be for.

    Args:
        needs_reported: the EV told its needs (NotifyEVChargingNeeds): an ISO 15118 session.
        phases_reported: it told values for L2 or L3.
    """

    transaction_id: str
    needs_reported: bool = False
    phases_reported: bool = False


class Installation(Struct, frozen=True, kw_only=True):
    """What setting a profile comes to.

    Args:
        violations: why it is refused; empty: it is installed.
        profiles: what is on the station afterwards (as before where it is refused).
        replaced: what the new profile took the place of.
    """

    violations: tuple[Violation, ...] = ()
    profiles: tuple[ChargingProfile, ...]
    replaced: tuple[ChargingProfile, ...] = ()


_MODES: Final[Mapping[ProfilePurpose, frozenset[OperationMode]]] = {
    # K01.FR.111 to K01.FR.113; table 95 of OCPP 2.1 Part 2.
    ProfilePurpose.PRIORITY_CHARGING: frozenset(),
    ProfilePurpose.CHARGING_STATION_MAX: frozenset(),
    ProfilePurpose.EXTERNAL_CONSTRAINTS: frozenset({OperationMode.EXTERNAL_LIMITS, OperationMode.EXTERNAL_SETPOINT}),
    ProfilePurpose.LOCAL_GENERATION: frozenset({OperationMode.EXTERNAL_LIMITS}),
}

_FAMILIES: Final[Mapping[str, tuple[str, str, str]]] = {
    name: (name, f"{name}_l2", f"{name}_l3") for name in ("limit", "discharge_limit", "setpoint", "setpoint_reactive")
}

# Which values a mode has no use for (OCPP 2.1 Part 2, Q 2.2, limits and setpoints per operation mode).
_UNUSED: Final[Mapping[OperationMode, tuple[str, ...]]] = {
    OperationMode.CHARGING_ONLY: ("discharge_limit", "setpoint", "setpoint_reactive"),
    OperationMode.CENTRAL_FREQUENCY: ("setpoint_reactive",),
    OperationMode.LOCAL_FREQUENCY: ("limit", "discharge_limit", "setpoint", "setpoint_reactive"),
    OperationMode.EXTERNAL_SETPOINT: ("setpoint_reactive",),
    OperationMode.EXTERNAL_LIMITS: ("setpoint", "setpoint_reactive"),
    OperationMode.LOCAL_LOAD_BALANCING: ("limit", "discharge_limit", "setpoint", "setpoint_reactive"),
}


def validate(
    profile: ChargingProfile,
    station: StationAbilities,
    *,
    origin: ProfileOrigin = ProfileOrigin.CSMS,
    charging: OpenCharging | None = None,
) -> tuple[Violation, ...]:
    """What is wrong with a profile for a station, without a look at what is installed there.

    Args:
        charging: the open transaction on the profile's EVSE, where there is one.
    Returns:
        Empty where it may be sent.
    Source: OCPP 1.6, 5.16; OCPP 2.x K01, K02, K05, K28.
    """
    return tuple(_in_book(_broken(profile, station, origin, charging), station.book))


def accept(
    existing: Sequence[ChargingProfile],
    new: ChargingProfile,
    station: StationAbilities,
    *,
    open_charging: Mapping[int, OpenCharging] | None = None,
    origin: ProfileOrigin = ProfileOrigin.CSMS,
) -> Installation:
    """What becomes of the station's profiles when one is set.

    A profile with a known id takes the old one's place (K01.FR.05; 1.6, 5.16.3). One of the same purpose, EVSE and stack
    level is replaced in OCPP 1.6 (3.13.2) and refuses the new one in 2.x (K01.FR.06, K01.FR.39, K01.FR.52, K01.FR.53).

    Args:
        existing: what is installed, of all EVSEs.
        open_charging: by EVSE id.
    """
    charging = (open_charging or {}).get(new.evse_id)
    violations = (
        *validate(new, station, origin=origin, charging=charging),
        *_in_book(_in_the_way(existing, new, station, charging, origin), station.book),
    )
    if violations:
        return Installation(violations=violations, profiles=tuple(existing))
    replaced = tuple(
        old for old in existing if old.id == new.id or (station.replaces_same_level and _same_place(old, new))
    )
    profiles = (*(old for old in existing if old not in replaced), new)
    if station.max_profiles is not None and len(profiles) > station.max_profiles:
        full = _in_book(
            iter(
                (
                    (
                        ProfileRule.ROOM_FOR_PROFILES,
                        "",
                        f"the station keeps {station.max_profiles} profiles; clear one first",
                    ),
                )
            ),
            station.book,
        )
        return Installation(violations=tuple(full), profiles=tuple(existing))
    return Installation(profiles=profiles, replaced=replaced)


_Broken = Iterator[tuple[ProfileRule, str, str]]


def _in_book(broken: _Broken, book: RuleBook) -> Iterator[Violation]:
    for rule, pointer, sentence in broken:
        place = rule.place(book)
        if place is not None:
            between = ", " if book is RuleBook.OCPP_1_6 else " "
            yield Violation(rule=rule, source=f"{book.value}{between}{place}", pointer=pointer, sentence=sentence)


def _broken(
    profile: ChargingProfile, station: StationAbilities, origin: ProfileOrigin, charging: OpenCharging | None
) -> _Broken:
    odd = list(_odd_values(profile, ""))
    if odd:  # nothing else can be said of such values
        yield from odd
        return
    rule = ProfileRule
    purpose, kind = profile.purpose, profile.kind
    by_csms = origin is not ProfileOrigin.EXTERNAL_SYSTEM
    starting = origin is ProfileOrigin.REQUEST_START
    highest = station.max_stack_level
    if profile.stack_level < 0 or (highest is not None and profile.stack_level > highest):
        yield (
            rule.STACK_LEVEL,
            "/stack_level",
            f"must be 0 to {highest}" if highest is not None else "must be 0 or more",
        )
    if by_csms and purpose is ProfilePurpose.EXTERNAL_CONSTRAINTS:
        yield (
            rule.NOT_EXTERNAL,
            "/purpose",
            "a CSMS sets no ChargingStationExternalConstraints; an external system does",
        )
    elif purpose not in station.purposes:
        known = ", ".join(sorted(p.value for p in station.purposes))
        yield rule.PURPOSE_SUPPORTED, "/purpose", f"the station takes {known}"
    if kind not in station.kinds:
        known = ", ".join(sorted(k.value for k in station.kinds))
        yield rule.KIND_SUPPORTED, "/kind", f"the station takes {known}"
    if purpose is ProfilePurpose.CHARGING_STATION_MAX:
        if profile.evse_id != 0:
            yield rule.MAX_IS_THE_STATIONS, "/evse_id", "must be 0: the limit is that of the whole station"
        if kind is ProfileKind.RELATIVE:
            yield rule.MAX_NOT_RELATIVE, "/kind", "must not be Relative: a station has no start of charging"
    is_tx = purpose is ProfilePurpose.TX
    if starting:
        if not is_tx:
            yield rule.START_REQUEST_TAKES_TX, "/purpose", "a request to start takes a TxProfile only"
        if profile.transaction_id is not None:
            yield (
                rule.START_REQUEST_NAMES_NO_TRANSACTION,
                "/transaction_id",
                "must be absent: there is no transaction yet",
            )
    elif is_tx:
        if profile.evse_id == 0:
            yield rule.TX_AT_AN_EVSE, "/evse_id", "must be the EVSE of the transaction"
        if profile.transaction_id is None:
            yield rule.TX_NAMES_ITS_TRANSACTION, "/transaction_id", "must name the transaction"
    elif profile.transaction_id is not None:
        yield rule.ONLY_TX_NAMES_A_TRANSACTION, "/transaction_id", "must be absent but in a TxProfile"
    if kind is ProfileKind.RECURRING and profile.recurrency is None:
        yield rule.RECURRENCY_REQUIRED, "/recurrency", "must be Daily or Weekly for a Recurring profile"
    if kind is not ProfileKind.RECURRING and profile.recurrency is not None:
        yield rule.RECURRENCY_ONLY_RECURRING, "/recurrency", "must be absent but in a Recurring profile"
    if profile.valid_from is not None and profile.valid_to is not None and profile.valid_from >= profile.valid_to:
        yield rule.VALID_SOME_TIME, "/valid_to", "must be after valid_from; the profile would never be valid"
    if kind is not ProfileKind.DYNAMIC:
        for name in ("dyn_update_interval_s", "dyn_update_at"):
            if getattr(profile, name) is not None:
                yield rule.UPDATES_ONLY_DYNAMIC, f"/{name}", "must be absent but in a Dynamic profile"
    elif len(profile.schedules) != 1 or len(profile.schedules[0].periods) != 1:
        yield rule.DYNAMIC_ONE_PERIOD, "/schedules", "a Dynamic profile has one schedule of one period"
    if by_csms and station.max_external_id is not None and profile.id <= station.max_external_id:
        yield rule.ID_OF_THE_CSMS, "/id", f"must be above {station.max_external_id}; lower ids are the station's own"
    iso15118 = is_tx and charging is not None and charging.needs_reported
    most = 3 if iso15118 and station.book is RuleBook.OCPP_2 else 1
    if not 1 <= len(profile.schedules) <= most:
        wanted = "one schedule" if most == 1 else "one to three schedules"
        yield rule.ONE_SCHEDULE, "/schedules", f"must be {wanted}; several are for TxProfiles of an ISO 15118 session"
    for index, schedule in enumerate(profile.schedules):
        yield from _broken_schedule(profile, schedule, f"/schedules/{index}", station, by_csms, charging)


_HIGHEST: Final = Decimal(10**12)
_LONGEST: Final[Mapping[str, int]] = {
    "schedules": 3,
    "periods": 1024,
    "v2x_freq_watt_curve": 20,
    "v2x_signal_watt_curve": 20,
}


def _odd_values(value: object, at: str) -> _Broken:
    """Values that no version can carry: numbers that are none, whole ones of more than 32 bits, times without a zone."""
    rule = ProfileRule.USABLE_VALUES
    if isinstance(value, bool):
        return
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value) > _HIGHEST:
            yield rule, at, "must be a number of at most 10^12"
    elif isinstance(value, int):
        if not -(2**31) <= value < 2**31:
            yield rule, at, "must be a whole number of at most 32 bits"
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            yield rule, at, "must be a time with its zone, such as 2026-01-31T12:00:00Z"
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            inner = getattr(value, name)
            if isinstance(inner, tuple) and len(inner) > _LONGEST.get(name, 64):
                yield rule, f"{at}/{name}", f"must be at most {_LONGEST.get(name, 64)}"
            else:
                yield from _odd_values(inner, f"{at}/{name}")
    elif isinstance(value, tuple):
        for index, one in enumerate(value):
            yield from _odd_values(one, f"{at}/{index}")


def refusal(profile: ChargingProfile, violations: Sequence[Violation], pointer: str = "") -> InvalidInputError:
    """The error that tells a caller what is wrong with a profile.

    Args:
        pointer: where the profile stands in what the caller sent.
    """
    first = violations[0]
    return InvalidInputError(
        f"Charging profile {profile.id} cannot be set: {first.pointer[1:] or 'it'} {first.sentence} ({first.source}).",
        tuple((f"{pointer}{one.pointer}", f"{one.sentence} ({one.source})") for one in violations),
    )


def _broken_schedule(
    profile: ChargingProfile,
    schedule: ChargingSchedule,
    at: str,
    station: StationAbilities,
    by_csms: bool,
    charging: OpenCharging | None,
) -> _Broken:
    rule = ProfileRule
    kind = profile.kind
    if kind in (ProfileKind.ABSOLUTE, ProfileKind.RECURRING) and schedule.start is None:
        yield rule.START_REQUIRED, f"{at}/start", "must be given for an Absolute or Recurring profile"
    if kind is ProfileKind.RELATIVE and schedule.start is not None:
        yield (
            rule.RELATIVE_WITHOUT_START,
            f"{at}/start",
            "must be absent: the schedule counts from the start of charging",
        )
    if schedule.unit not in station.units:
        known = " or ".join(sorted(u.value for u in station.units))
        yield rule.UNIT_SUPPORTED, f"{at}/unit", f"the station takes {known}"
    count = len(schedule.periods)
    if count < 1 or (station.max_periods is not None and count > station.max_periods):
        upper = f" and at most {station.max_periods}" if station.max_periods is not None else ""
        yield rule.PERIODS_SUPPORTED, f"{at}/periods", f"must be at least one period{upper}"
    if count and schedule.periods[0].start_s != 0:
        yield rule.FIRST_PERIOD_AT_ZERO, f"{at}/periods/0/start_s", "must be 0"
    for index, (before, after) in enumerate(pairwise(schedule.periods), 1):
        if before.start_s >= after.start_s:
            yield rule.PERIODS_IN_ORDER, f"{at}/periods/{index}/start_s", f"must be above {before.start_s}"
    if schedule.duration_s is not None:
        if schedule.duration_s <= 0:
            yield rule.DURATION_POSITIVE, f"{at}/duration_s", "must be above 0; no period would be executed"
        if profile.purpose is ProfilePurpose.PRIORITY_CHARGING:
            yield (
                rule.PRIORITY_WITHOUT_DURATION,
                f"{at}/duration_s",
                "must be absent: it lasts until the transaction ends",
            )
    if schedule.use_local_time and not station.local_time:
        yield rule.LOCAL_TIME_SUPPORTED, f"{at}/use_local_time", "the station does not support local time"
    if schedule.randomized_delay_s:
        if not station.randomized_delay:
            yield rule.DELAY_SUPPORTED, f"{at}/randomized_delay_s", "the station does not support random delays"
        if by_csms and profile.purpose not in (ProfilePurpose.TX, ProfilePurpose.TX_DEFAULT):
            yield (
                rule.DELAY_OF_TRANSACTIONS_ONLY,
                f"{at}/randomized_delay_s",
                "must be absent but in a TxProfile or TxDefaultProfile",
            )
    if schedule.limit_at_soc is not None and not station.limit_at_soc:
        yield rule.SOC_LIMIT_SUPPORTED, f"{at}/limit_at_soc", "the station does not support limits by state of charge"
    for index, period in enumerate(schedule.periods):
        where = f"{at}/periods/{index}"
        yield from _broken_mode(profile, schedule, period, where, station, by_csms)
        yield from _broken_phases(profile, period, where, station, charging)


def _broken_mode(
    profile: ChargingProfile,
    schedule: ChargingSchedule,
    period: ChargingPeriod,
    at: str,
    station: StationAbilities,
    by_csms: bool,
) -> _Broken:
    rule = ProfileRule
    mode = period.operation_mode or OperationMode.CHARGING_ONLY
    if mode is not OperationMode.CHARGING_ONLY:
        fitting = _MODES.get(profile.purpose)
        if fitting is not None and mode not in fitting:
            known = ", ".join(["ChargingOnly", *sorted(m.value for m in fitting)])
            yield rule.MODE_OF_PURPOSE, f"{at}/operation_mode", f"{profile.purpose.value} takes {known}"
        elif mode not in station.operation_modes:
            known = ", ".join(["ChargingOnly", *sorted(m.value for m in station.operation_modes)])
            yield rule.MODE_SUPPORTED, f"{at}/operation_mode", f"the station takes {known}"
    for family in _UNUSED.get(mode, ()):
        for name in _FAMILIES[family]:
            if getattr(period, name) is not None:
                yield rule.VALUE_NOT_OF_MODE, f"{at}/{name}", f"must be absent in operation mode {mode.value}"
    if mode is OperationMode.CHARGING_ONLY and period.limit is None:
        yield rule.LIMIT_REQUIRED, f"{at}/limit", "must be given"
    if mode in (OperationMode.CENTRAL_SETPOINT, OperationMode.CENTRAL_FREQUENCY) and period.setpoint is None:
        yield rule.SETPOINT_REQUIRED, f"{at}/setpoint", f"must be given in operation mode {mode.value}"
    if mode is OperationMode.EXTERNAL_SETPOINT and by_csms and period.setpoint is not None:
        yield rule.VALUE_NOT_OF_MODE, f"{at}/setpoint", "must be absent: the external system sets it"
    if mode is OperationMode.LOCAL_FREQUENCY:
        if len(period.v2x_freq_watt_curve) < 2:
            yield rule.CURVE_REQUIRED, f"{at}/v2x_freq_watt_curve", "must have at least two points"
        if len(period.v2x_signal_watt_curve) == 1:
            yield rule.CURVE_REQUIRED, f"{at}/v2x_signal_watt_curve", "must have at least two points, or none"
        if schedule.unit is not RateUnit.W:
            yield rule.CURVE_REQUIRED, f"{at}/operation_mode", "LocalFrequency needs a schedule in W"
    if period.evse_sleep and (mode is not OperationMode.IDLE or not station.evse_sleep):
        why = "only in operation mode Idle" if mode is not OperationMode.IDLE else "the station does not support it"
        yield rule.SLEEP_WHEN_IDLE, f"{at}/evse_sleep", why
    for setpoint, low, high in zip(
        _FAMILIES["setpoint"], _FAMILIES["discharge_limit"], _FAMILIES["limit"], strict=True
    ):
        value, lowest, highest = getattr(period, setpoint), getattr(period, low), getattr(period, high)
        if lowest is not None and lowest > 0:
            yield rule.DISCHARGE_NOT_POSITIVE, f"{at}/{low}", "must be 0 or below"
        if value is not None and ((highest is not None and value > highest) or (lowest is not None and value < lowest)):
            yield rule.SETPOINT_WITHIN_LIMITS, f"{at}/{setpoint}", "must be within discharge limit and limit"


def _broken_phases(
    profile: ChargingProfile,
    period: ChargingPeriod,
    at: str,
    station: StationAbilities,
    charging: OpenCharging | None,
) -> _Broken:
    rule = ProfileRule
    number, phase = period.number_phases, period.phase_to_use
    lowest = 1 if station.book is RuleBook.OCPP_1_6 else 0
    if number is not None and not lowest <= number <= 3:
        yield rule.NUMBER_OF_PHASES, f"{at}/number_phases", f"must be {lowest} to 3"
    if phase is not None:
        if number != 1:
            yield rule.PHASE_ONLY_OF_ONE, f"{at}/phase_to_use", "needs number_phases 1"
        if not 1 <= phase <= 3:
            yield rule.NUMBER_OF_PHASES, f"{at}/phase_to_use", "must be 1 to 3"
        elif profile.evse_id not in station.phase_switching and profile.evse_id not in station.dc_evse_ids:
            yield rule.PHASE_SWITCHING, f"{at}/phase_to_use", f"EVSE {profile.evse_id} cannot choose a phase"
    if profile.evse_id in station.dc_evse_ids and not station.dc_input_phases:
        for name in ("number_phases", "phase_to_use"):
            if getattr(period, name) is not None:
                yield (
                    rule.NO_PHASES_ON_DC,
                    f"{at}/{name}",
                    f"must be absent: EVSE {profile.evse_id} delivers direct current",
                )
    for name in ("limit_l2", "limit_l3"):
        if getattr(period, name) is None:
            continue
        if profile.purpose is not ProfilePurpose.TX:
            yield rule.PHASE_LIMITS_OF_TX_ONLY, f"{at}/{name}", "must be absent but in a TxProfile"
        elif charging is not None and not charging.phases_reported:
            yield rule.PHASE_LIMITS_OF_THE_EV, f"{at}/{name}", "must be absent: the EV told no needs for its phases"
        if period.limit is None:
            yield rule.PHASE_LIMITS_WITH_LIMIT, f"{at}/{name}", "needs a limit, which is then that of L1"


def _in_the_way(
    existing: Sequence[ChargingProfile],
    new: ChargingProfile,
    station: StationAbilities,
    charging: OpenCharging | None,
    origin: ProfileOrigin,
) -> _Broken:
    rule = ProfileRule
    if station.evse_ids is not None and new.evse_id != 0 and new.evse_id not in station.evse_ids:
        yield rule.EVSE_KNOWN, "/evse_id", f"the station has no EVSE {new.evse_id}"
    elif new.purpose is ProfilePurpose.TX and new.evse_id != 0 and origin is not ProfileOrigin.REQUEST_START:
        if charging is None:
            yield rule.TX_NEEDS_A_TRANSACTION, "/evse_id", f"no transaction is open on EVSE {new.evse_id}"
        elif new.transaction_id not in (None, charging.transaction_id):
            yield (
                rule.TX_OF_THE_OPEN_TRANSACTION,
                "/transaction_id",
                f"EVSE {new.evse_id} has transaction {charging.transaction_id} open",
            )
    for old in existing:
        if old.id == new.id:
            external = ProfilePurpose.EXTERNAL_CONSTRAINTS
            if old.purpose is external and origin is not ProfileOrigin.EXTERNAL_SYSTEM:
                yield rule.EXTERNAL_NOT_REPLACED, "/id", f"profile {old.id} was set by an external system"
            continue
        if not station.replaces_same_level:
            yield from _duplicate(old, new)
        if _phases_conflict(old, new):
            yield rule.NO_PHASE_CONFLICT, "/schedules", f"uses another phase than profile {old.id}"


def _same_place(old: ChargingProfile, new: ChargingProfile) -> bool:
    return old.purpose is new.purpose and old.stack_level == new.stack_level and old.evse_id == new.evse_id


def _duplicate(old: ChargingProfile, new: ChargingProfile) -> _Broken:
    """A profile that may not stand beside another of its purpose and stack level."""
    rule = ProfileRule
    if old.purpose is not new.purpose or old.stack_level != new.stack_level:
        return
    taken = f"profile {old.id} has stack level {old.stack_level} "
    if new.purpose is ProfilePurpose.TX:
        if old.transaction_id == new.transaction_id and old.evse_id == new.evse_id:
            yield rule.NO_DUPLICATE_TX, "/stack_level", f"{taken}for this transaction"
    elif old.evse_id == new.evse_id:
        if _overlap(_valid(old), _valid(new)):
            yield rule.NO_DUPLICATE, "/stack_level", f"{taken}and this purpose at the same time"
    elif new.purpose is ProfilePurpose.TX_DEFAULT and new.evse_id == 0:
        yield rule.STATION_DEFAULT_NOT_BESIDE_EVSES, "/stack_level", f"{taken}on EVSE {old.evse_id}"
    elif new.purpose is ProfilePurpose.TX_DEFAULT and old.evse_id == 0:
        yield rule.EVSE_DEFAULT_NOT_BESIDE_STATIONS, "/stack_level", f"{taken}for all EVSEs"


_Span = tuple[datetime | None, datetime | None]


def _valid(profile: ChargingProfile) -> _Span:
    return (profile.valid_from, profile.valid_to)


def _span(profile: ChargingProfile) -> _Span:
    """When a profile may count at all."""
    begin, end = _valid(profile)
    if profile.kind is not ProfileKind.ABSOLUTE or len(profile.schedules) != 1:
        return (begin, end)
    schedule = profile.schedules[0]
    if schedule.start is None or schedule.use_local_time:
        return (begin, end)
    begin = schedule.start if begin is None else max(begin, schedule.start)
    if schedule.duration_s is not None:
        left = datetime.max.replace(tzinfo=UTC) - schedule.start
        over = schedule.start + min(left, timedelta(seconds=schedule.duration_s))
        end = over if end is None else min(end, over)
    return (begin, end)


def _overlap(a: _Span, b: _Span) -> bool:
    return (a[0] is None or b[1] is None or a[0] < b[1]) and (b[0] is None or a[1] is None or b[0] < a[1])


_UPPER: Final = frozenset({ProfilePurpose.CHARGING_STATION_MAX, ProfilePurpose.EXTERNAL_CONSTRAINTS})


def _phases_conflict(old: ChargingProfile, new: ChargingProfile) -> bool:
    """Two profiles that count together may name different phases (OCPP 2.1 Part 2, K 3.8)."""
    if old.purpose is new.purpose or not (old.purpose in _UPPER or new.purpose in _UPPER):
        return False  # of one purpose, or of a transaction's purposes, only one leads
    if old.evse_id != new.evse_id and old.evse_id and new.evse_id:
        return False
    used = {p.phase_to_use for profile in (old, new) for s in profile.schedules for p in s.periods} - {None}
    return len(used) > 1 and _overlap(_span(old), _span(new))
