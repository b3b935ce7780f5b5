"""Controls of distributed energy resources: what a station does by itself when voltage or frequency leave their bounds.

OCPP 2.1 R, and 2.24 to 2.38 of its data types. A control has exactly the settings that its type asks for; `check` says what is wrong.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final

from msgspec import Meta, Struct

from chargeplane.kernel.errors import InvalidInputError

Priority = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Moment = Annotated[datetime, Meta(tz=True)]


class DerControlType(enum.StrEnum):
    """OCPP 2.1 DERControlEnum."""

    ENTER_SERVICE = "EnterService"
    FREQ_DROOP = "FreqDroop"
    FREQ_WATT = "FreqWatt"
    FIXED_PF_ABSORB = "FixedPFAbsorb"
    FIXED_PF_INJECT = "FixedPFInject"
    FIXED_VAR = "FixedVar"
    GRADIENTS = "Gradients"
    HF_MUST_TRIP = "HFMustTrip"
    HF_MAY_TRIP = "HFMayTrip"
    HV_MUST_TRIP = "HVMustTrip"
    HV_MOM_CESS = "HVMomCess"
    HV_MAY_TRIP = "HVMayTrip"
    LIMIT_MAX_DISCHARGE = "LimitMaxDischarge"
    LF_MUST_TRIP = "LFMustTrip"
    LV_MUST_TRIP = "LVMustTrip"
    LV_MOM_CESS = "LVMomCess"
    LV_MAY_TRIP = "LVMayTrip"
    POWER_MONITORING_MUST_TRIP = "PowerMonitoringMustTrip"
    VOLT_VAR = "VoltVar"
    VOLT_WATT = "VoltWatt"
    WATT_PF = "WattPF"
    WATT_VAR = "WattVar"


class DerUnit(enum.StrEnum):
    """OCPP 2.1 DERUnitEnum."""

    NOT_APPLICABLE = "Not_Applicable"
    PCT_MAX_W = "PctMaxW"
    PCT_MAX_VAR = "PctMaxVar"
    PCT_W_AVAIL = "PctWAvail"
    PCT_VAR_AVAIL = "PctVarAvail"
    PCT_EFFECTIVE_V = "PctEffectiveV"


class PowerDuringCessation(enum.StrEnum):
    """OCPP 2.1 PowerDuringCessationEnum."""

    ACTIVE = "Active"
    REACTIVE = "Reactive"


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class CurvePoint(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point of a curve; what x and y are depends on the control's type."""

    x: Decimal
    y: Decimal


class Hysteresis(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a curve is left again: percent, percent, s, percent of power per s."""

    high: Decimal | None = None
    low: Decimal | None = None
    delay: Decimal | None = None
    gradient: Decimal | None = None


class ReactivePower(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of VoltVar: the reference voltage in percent, and whether it follows the measured one."""

    v_ref: Decimal | None = None
    autonomous_v_ref: bool | None = None
    autonomous_v_ref_time_constant_s: Decimal | None = None


class VoltageLimits(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of HV and LV curves (EN 50549-1, 4.9.3.4)."""

    hv10_min_mean: Decimal | None = None
    hv10_min_mean_trip_delay_s: Decimal | None = None
    power_during_cessation: PowerDuringCessation | None = None


class _Scheduled(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may begin and end. Lower `priority` overrules higher."""

    priority: Priority = 0
    start: Moment | None = None
    duration_s: Decimal | None = None


class Curve(_Scheduled, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A curve of up to ten points."""

    points: Annotated[tuple[CurvePoint, ...], Meta(min_length=1, max_length=10)]
    unit: DerUnit
    response_time_s: Decimal | None = None
    hysteresis: Hysteresis | None = None
    reactive_power: ReactivePower | None = None
    voltage: VoltageLimits | None = None


class EnterService(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the station may connect to the grid: V in percent, Hz, s, percent per s."""

    priority: Priority = 0
    high_voltage: Decimal
    low_voltage: Decimal
    high_frequency: Decimal
    low_frequency: Decimal
    delay_s: Decimal | None = None
    random_delay_s: Decimal | None = None
    ramp_rate: Decimal | None = None


class FixedPowerFactor(_Scheduled, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A power factor, 0 to 1; over- or underexcited."""

    displacement: Decimal
    over_excited: bool


class FixedVar(_Scheduled, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reactive power in percent, -100 to 100."""

    setpoint: Decimal
    unit: DerUnit


class FrequencyDroop(_Scheduled, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Power that follows the frequency: Hz, Hz, percent per Hz, percent per Hz, s."""

    over_frequency: Decimal
    under_frequency: Decimal
    over_droop: Decimal
    under_droop: Decimal
    response_time_s: Decimal


class Gradient(_Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast power may change, in percent of the maximum per s."""

    priority: Priority = 0
    gradient: Decimal
    soft_gradient: Decimal


class MaxDischarge(_Scheduled, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most that is discharged, in percent, and when more makes it trip."""

    percent: Decimal | None = None
    must_trip: Curve | None = None


class DerControl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A DER control.

    Args:
        id: unique on the station.
        is_default: holds whenever no scheduled one of its type does; it has no start and no duration.
    """

    id: Annotated[str, Meta(min_length=1, max_length=36)]
    type: DerControlType
    is_default: bool
    curve: Curve | None = None
    enter_service: EnterService | None = None
    fixed_power_factor: FixedPowerFactor | None = None
    fixed_var: FixedVar | None = None
    frequency_droop: FrequencyDroop | None = None
    gradient: Gradient | None = None
    max_discharge: MaxDischarge | None = None


SETTINGS_OF: Final = {
    **dict.fromkeys(DerControlType, "curve"),
    DerControlType.ENTER_SERVICE: "enter_service",
    DerControlType.FREQ_DROOP: "frequency_droop",
    DerControlType.FIXED_PF_ABSORB: "fixed_power_factor",
    DerControlType.FIXED_PF_INJECT: "fixed_power_factor",
    DerControlType.FIXED_VAR: "fixed_var",
    DerControlType.GRADIENTS: "gradient",
    DerControlType.LIMIT_MAX_DISCHARGE: "max_discharge",
}
"""The field of `DerControl` that holds the settings of each type."""

_MOST: Final = Decimal(10**9)


def check(control: DerControl) -> None:
    """Refuses a control that no station could follow.

    Raises:
        InvalidInputError: names each field.
    Source: OCPP 2.1 R04, 1.59.
    """
    broken = tuple(_broken(control))
    if broken:
        raise InvalidInputError(f"DER control '{control.id}' cannot be set: {broken[0][1]}.", broken)


def _broken(control: DerControl) -> Iterator[tuple[str, str]]:
    wanted = SETTINGS_OF[control.type]
    for name in dict.fromkeys(SETTINGS_OF.values()):
        given = getattr(control, name) is not None
        if name == wanted and not given:
            yield f"/{name}", f"a control of type {control.type.value} needs it"
        if name != wanted and given:
            yield f"/{name}", f"a control of type {control.type.value} has {wanted} only"
    settings = getattr(control, wanted)
    if isinstance(settings, _Scheduled):
        if control.is_default:
            for name in ("start", "duration_s"):
                if getattr(settings, name) is not None:
                    yield f"/{wanted}/{name}", "a default control holds always: leave it out"
        elif settings.start is None or settings.duration_s is None:
            missing = "start" if settings.start is None else "duration_s"
            yield f"/{wanted}/{missing}", "a scheduled control needs a start and a duration"
        if settings.duration_s is not None and settings.duration_s.is_finite() and settings.duration_s <= 0:
            yield f"/{wanted}/duration_s", "must be above 0"
    yield from _odd_numbers(settings, f"/{wanted}")


def _odd_numbers(value: object, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value) > _MOST:
            yield at, "must be a number of at most 1,000,000,000"
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _odd_numbers(getattr(value, name), f"{at}/{name}")
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _odd_numbers(inner, f"{at}/{index}")
