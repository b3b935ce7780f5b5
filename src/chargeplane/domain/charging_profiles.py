"""Charging profiles, free of OCPP versions: what a station may draw, when, and why.

The superset of OCPP 1.6 (7.8), 2.0.1 and 2.1 (Part 2, 2.17 to 2.20). Names are those of OCPP 2.1; a 1.6 connector is an
EVSE, its ChargePointMaxProfile is the ChargingStationMaxProfile. What no rule of ours reads (price schedules of ISO 15118,
signatures, customData) is carried as JSON text, so that a profile survives the way through us.

`charging_profile_rules` says whether a profile is right and may be set, `composite_schedules` what all profiles add up to.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
from msgspec import Struct

from chargeplane.kernel.errors import InvalidInputError


class ProfilePurpose(enum.StrEnum):
    """What a profile is for (OCPP 2.1 Part 2, K 3.2)."""

    CHARGING_STATION_MAX = "ChargingStationMaxProfile"
    EXTERNAL_CONSTRAINTS = "ChargingStationExternalConstraints"
    TX_DEFAULT = "TxDefaultProfile"
    TX = "TxProfile"
    PRIORITY_CHARGING = "PriorityCharging"
    LOCAL_GENERATION = "LocalGeneration"


class ProfileKind(enum.StrEnum):
    """What a profile's periods count from (OCPP 2.1 Part 2, K 3.3)."""

    ABSOLUTE = "Absolute"
    RECURRING = "Recurring"
    RELATIVE = "Relative"
    DYNAMIC = "Dynamic"


class Recurrency(enum.StrEnum):
    """How often a recurring schedule starts again."""

    DAILY = "Daily"
    WEEKLY = "Weekly"

    @property
    def seconds(self) -> int:
        """Length of one round."""
        return 86_400 if self is Recurrency.DAILY else 604_800


class RateUnit(enum.StrEnum):
    """W: power over all phases. A: current of each phase (OCPP 2.1 K01.FR.50, K01.FR.51; 1.6, 7.12)."""

    W = "W"
    A = "A"


class OperationMode(enum.StrEnum):
    """Who sets what during a period (OCPP 2.1 Part 2, K 3.4 and Q 2.2); absent means ChargingOnly."""

    IDLE = "Idle"
    CHARGING_ONLY = "ChargingOnly"
    CENTRAL_SETPOINT = "CentralSetpoint"
    EXTERNAL_SETPOINT = "ExternalSetpoint"
    EXTERNAL_LIMITS = "ExternalLimits"
    CENTRAL_FREQUENCY = "CentralFrequency"
    LOCAL_FREQUENCY = "LocalFrequency"
    LOCAL_LOAD_BALANCING = "LocalLoadBalancing"


class FrequencyPoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hz and the W to set at that frequency."""

    frequency: Decimal
    power: Decimal


class SignalPoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value of the grid operator's signal and the W to set for it."""

    signal: int
    power: Decimal


class ChargingPeriod(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits and setpoints from `start_s` until the next period begins.

    Args:
        start_s: seconds from the start of the schedule.
        limit: in the schedule's unit; all phases of W together, each phase of A. With `limit_l2` or `limit_l3` it is
            phase L1 alone. None: no limit (a wire value of 2.1 that leaves it to the operation mode, or a gap of a
            composite schedule).
        number_phases: None: 3 on AC (K01.FR.49).
        phase_to_use: 1 to 3, only with one phase.
        discharge_limit: at most 0.
        setpoint: to be followed as closely as possible; negative discharges.
        carried: (wire name, JSON text) of fields that no rule reads.
    """

    start_s: int = 0
    limit: Decimal | None = None
    limit_l2: Decimal | None = None
    limit_l3: Decimal | None = None
    number_phases: int | None = None
    phase_to_use: int | None = None
    discharge_limit: Decimal | None = None
    discharge_limit_l2: Decimal | None = None
    discharge_limit_l3: Decimal | None = None
    setpoint: Decimal | None = None
    setpoint_l2: Decimal | None = None
    setpoint_l3: Decimal | None = None
    setpoint_reactive: Decimal | None = None
    setpoint_reactive_l2: Decimal | None = None
    setpoint_reactive_l3: Decimal | None = None
    preconditioning_request: bool | None = None
    evse_sleep: bool | None = None
    v2x_baseline: Decimal | None = None
    operation_mode: OperationMode | None = None
    v2x_freq_watt_curve: tuple[FrequencyPoint, ...] = ()
    v2x_signal_watt_curve: tuple[SignalPoint, ...] = ()
    carried: tuple[tuple[str, str], ...] = ()


class SocLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `soc` percent of charge on, limit and setpoint are at most `limit` (OCPP 2.1 K01.FR.100)."""

    soc: int
    limit: Decimal


class ChargingSchedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Periods in order, and what they count from.

    Args:
        id: of OCPP 2.x; 1.6 has none, 0 then.
        start: of absolute and recurring schedules. With `use_local_time` it is the station's wall clock, written as if
            it were UTC (K01.FR.90).
        duration_s: None: the last period goes on until the end of the round, the transaction or the profile's validity.
        randomized_delay_s: the station puts off each period but the first by a random time up to this (K01.FR.92).
        carried: (wire name, JSON text) of fields that no rule reads.
    """

    id: int = 0
    unit: RateUnit
    periods: tuple[ChargingPeriod, ...]
    start: datetime | None = None
    duration_s: int | None = None
    min_charging_rate: Decimal | None = None
    power_tolerance: Decimal | None = None
    limit_at_soc: SocLimit | None = None
    use_local_time: bool | None = None
    randomized_delay_s: int | None = None
    carried: tuple[tuple[str, str], ...] = ()


class ChargingProfile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A charging profile as it is, or shall be, installed on a station.

    Args:
        id: unique on the station.
        evse_id: 0: the whole station (for TxDefaultProfile and PriorityCharging: each EVSE of it).
        stack_level: the higher one overrules the lower one of the same purpose.
        schedules: one; up to three for TxProfiles in an ISO 15118 session.
        valid_from, valid_to: from the first (inclusive) to the second (exclusive), K01.FR.36 and K01.FR.37.
        transaction_id: the station's id of the transaction a TxProfile is for.
        max_offline_s: seconds without a connection after which the profile does not count (K01.FR.101).
        dyn_update_at: when a dynamic profile's values were last set.
        carried: (wire name, JSON text) of fields that no rule reads.
    """

    id: int
    evse_id: int
    stack_level: int
    purpose: ProfilePurpose
    kind: ProfileKind
    schedules: tuple[ChargingSchedule, ...]
    recurrency: Recurrency | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    transaction_id: str | None = None
    max_offline_s: int | None = None
    invalid_after_offline: bool | None = None
    dyn_update_interval_s: int | None = None
    dyn_update_at: datetime | None = None
    carried: tuple[tuple[str, str], ...] = ()


class PeriodUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New values of a dynamic profile's one period; None leaves a value as it is (OCPP 2.1 ChargingScheduleUpdateType)."""

    limit: Decimal | None = None
    limit_l2: Decimal | None = None
    limit_l3: Decimal | None = None
    discharge_limit: Decimal | None = None
    discharge_limit_l2: Decimal | None = None
    discharge_limit_l3: Decimal | None = None
    setpoint: Decimal | None = None
    setpoint_l2: Decimal | None = None
    setpoint_l3: Decimal | None = None
    setpoint_reactive: Decimal | None = None
    setpoint_reactive_l2: Decimal | None = None
    setpoint_reactive_l3: Decimal | None = None


def updated(profile: ChargingProfile, update: PeriodUpdate, now: datetime) -> ChargingProfile:
    """A dynamic profile with new values, as a station holds it from `now` on.

    Raises:
        InvalidInputError: the profile is not dynamic (OCPP 2.1 K28.FR.11, K28.FR.12).
    Source: OCPP 2.1 K28.FR.06 to K28.FR.09.
    """
    if profile.kind is not ProfileKind.DYNAMIC:
        raise InvalidInputError(
            f"Charging profile {profile.id} is {profile.kind.value}; only the values of Dynamic profiles can be updated."
        )
    changes = {name: value for name, value in msgspec.structs.asdict(update).items() if value is not None}
    schedule = profile.schedules[0]
    period = msgspec.structs.replace(schedule.periods[0], **changes)
    return msgspec.structs.replace(
        profile, schedules=(msgspec.structs.replace(schedule, periods=(period,)),), dyn_update_at=now
    )


def after_transaction(profiles: Iterable[ChargingProfile], transaction_id: str) -> tuple[ChargingProfile, ...]:
    """The profiles that remain on a station when a transaction ends (OCPP 2.x K02.FR.05; 1.6, 3.13.1)."""
    return tuple(p for p in profiles if p.purpose is not ProfilePurpose.TX or p.transaction_id != transaction_id)


def cleared(
    profiles: Iterable[ChargingProfile],
    *,
    id: int | None = None,
    evse_id: int | None = None,
    purpose: ProfilePurpose | None = None,
    stack_level: int | None = None,
) -> tuple[tuple[ChargingProfile, ...], tuple[ChargingProfile, ...]]:
    """What remains on a station and what goes when profiles are cleared.

    Args:
        id: where given, the others are ignored.
        evse_id, purpose, stack_level: a profile goes where it has all that are given; without any, all go. What
            an external system set, and LocalGeneration, stays in any case.
    Returns:
        The remaining profiles and the cleared ones; none cleared: the station answers Unknown.
    Source: OCPP 2.1 K10.FR.01, K10.FR.03, K10.FR.04, K10.FR.08, K10.FR.09; OCPP 1.6 errata 3.25, 3.26.
    """
    kept: list[ChargingProfile] = []
    gone: list[ChargingProfile] = []
    for profile in profiles:
        if profile.purpose in (ProfilePurpose.EXTERNAL_CONSTRAINTS, ProfilePurpose.LOCAL_GENERATION):
            matches = False
        elif id is not None:
            matches = profile.id == id
        else:
            matches = (
                evse_id in (None, profile.evse_id)
                and purpose in (None, profile.purpose)
                and stack_level in (None, profile.stack_level)
            )
        (gone if matches else kept).append(profile)
    return tuple(kept), tuple(gone)


def after_offline(
    profiles: Iterable[ChargingProfile], offline_since: datetime, now: datetime
) -> tuple[ChargingProfile, ...]:
    """The profiles that count again when a station's connection is back (OCPP 2.1 K01.FR.102)."""
    return tuple(
        p
        for p in profiles
        if not p.invalid_after_offline
        or p.max_offline_s is None
        or now - offline_since < timedelta(seconds=p.max_offline_s)
    )


def delayed(schedule: ChargingSchedule, delays_s: Sequence[int]) -> ChargingSchedule:
    """A schedule as a station executes it once the random delays of its periods are drawn.

    Args:
        delays_s: one per period; the first period is never delayed, its number is not looked at.
    Returns:
        The schedule with shifted periods, without those that would begin no earlier than the next one or than the end.
    Source: OCPP 2.1 K01.FR.92 to K01.FR.94, K01.FR.97 (errata 2025-09, 2.21).
    """
    starts = [
        period.start_s if index == 0 else period.start_s + delay
        for index, (period, delay) in enumerate(zip(schedule.periods, delays_s, strict=True))
    ]
    kept: list[ChargingPeriod] = []
    # From the end: a period is skipped where any later one begins before or with it.
    next_start_s = schedule.duration_s
    for index in range(len(starts) - 1, -1, -1):
        start_s = starts[index]
        if index and next_start_s is not None and start_s >= next_start_s:
            continue
        next_start_s = start_s
        kept.append(msgspec.structs.replace(schedule.periods[index], start_s=start_s))
    return msgspec.structs.replace(schedule, periods=tuple(reversed(kept)), randomized_delay_s=None)
