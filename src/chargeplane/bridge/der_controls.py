"""DER controls as OCPP 2.1 writes them, and back."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.bridge.encoding import as_text
from chargeplane.domain.der_controls import Curve, DerControl, DerControlType, MaxDischarge, check
from chargeplane.domain.smart_charging import DerControlSeen
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v21


def to_set_der_control(control: DerControl) -> v21.SetDERControlRequest:
    """SetDERControl for a control.

    Raises:
        InvalidInputError: no station could follow the control; names each field.
    Source: OCPP 2.1 R04, 1.59.
    """
    check(control)
    return v21.SetDERControlRequest(
        is_default=control.is_default,
        control_id=control.id,
        control_type=v21.DERControlEnumType(control.type.value),
        **_settings(control),
    )


def _settings(control: DerControl) -> dict[str, Any]:
    if control.curve is not None:
        return {"curve": _curve(control.curve)}
    if control.enter_service is not None:
        service = control.enter_service
        return {
            "enter_service": v21.EnterServiceType(
                priority=service.priority,
                high_voltage=service.high_voltage,
                low_voltage=service.low_voltage,
                high_freq=service.high_frequency,
                low_freq=service.low_frequency,
                delay=service.delay_s,
                random_delay=service.random_delay_s,
                ramp_rate=service.ramp_rate,
            )
        }
    if control.fixed_power_factor is not None:
        factor = control.fixed_power_factor
        absorbs = control.type is DerControlType.FIXED_PF_ABSORB
        return {
            "fixed_pf_absorb" if absorbs else "fixed_pf_inject": v21.FixedPFType(
                priority=factor.priority,
                displacement=factor.displacement,
                excitation=factor.over_excited,
                **_span(factor.start, factor.duration_s),
            )
        }
    if control.fixed_var is not None:
        var = control.fixed_var
        return {
            "fixed_var": v21.FixedVarType(
                priority=var.priority,
                setpoint=var.setpoint,
                unit=v21.DERUnitEnumType(var.unit.value),
                **_span(var.start, var.duration_s),
            )
        }
    if control.frequency_droop is not None:
        droop = control.frequency_droop
        return {
            "freq_droop": v21.FreqDroopType(
                priority=droop.priority,
                over_freq=droop.over_frequency,
                under_freq=droop.under_frequency,
                over_droop=droop.over_droop,
                under_droop=droop.under_droop,
                response_time=droop.response_time_s,
                **_span(droop.start, droop.duration_s),
            )
        }
    if control.gradient is not None:
        gradient = control.gradient
        return {
            "gradient": v21.GradientType(
                priority=gradient.priority, gradient=gradient.gradient, soft_gradient=gradient.soft_gradient
            )
        }
    assert control.max_discharge is not None  # check() has seen to it
    return {"limit_max_discharge": _max_discharge(control.max_discharge)}


def _max_discharge(limit: MaxDischarge) -> v21.LimitMaxDischargeType:
    return v21.LimitMaxDischargeType(
        priority=limit.priority,
        pct_max_discharge_power=limit.percent,
        power_monitoring_must_trip=None if limit.must_trip is None else _curve(limit.must_trip),
        **_span(limit.start, limit.duration_s),
    )


def _span(start: datetime | None, duration_s: Decimal | None) -> dict[str, Any]:
    return {"start_time": None if start is None else rfc3339(start), "duration": duration_s}


def _curve(curve: Curve) -> v21.DERCurveType:
    hysteresis, reactive, voltage = curve.hysteresis, curve.reactive_power, curve.voltage
    return v21.DERCurveType(
        curve_data=tuple(v21.DERCurvePointsType(x=point.x, y=point.y) for point in curve.points),
        priority=curve.priority,
        y_unit=v21.DERUnitEnumType(curve.unit.value),
        response_time=curve.response_time_s,
        hysteresis=None
        if hysteresis is None
        else v21.HysteresisType(
            hysteresis_high=hysteresis.high,
            hysteresis_low=hysteresis.low,
            hysteresis_delay=hysteresis.delay,
            hysteresis_gradient=hysteresis.gradient,
        ),
        reactive_power_params=None
        if reactive is None
        else v21.ReactivePowerParamsType(
            v_ref=reactive.v_ref,
            autonomous_v_ref_enable=reactive.autonomous_v_ref,
            autonomous_v_ref_time_constant=reactive.autonomous_v_ref_time_constant_s,
        ),
        voltage_params=None
        if voltage is None
        else v21.VoltageParamsType(
            hv10_min_mean_value=voltage.hv10_min_mean,
            hv10_min_mean_trip_delay=voltage.hv10_min_mean_trip_delay_s,
            power_during_cessation=None
            if voltage.power_during_cessation is None
            else v21.PowerDuringCessationEnumType(voltage.power_during_cessation.value),
        ),
        **_span(curve.start, curve.duration_s),
    )


# Field of ReportDERControl: the control's type (None: it says so itself) and the field that holds the settings.
_REPORTED: Final = {
    "curve": (None, "curve"),
    "enter_service": (DerControlType.ENTER_SERVICE, "enter_service"),
    "fixed_pf_absorb": (DerControlType.FIXED_PF_ABSORB, "fixed_pf"),
    "fixed_pf_inject": (DerControlType.FIXED_PF_INJECT, "fixed_pf"),
    "fixed_var": (DerControlType.FIXED_VAR, "fixed_var"),
    "freq_droop": (DerControlType.FREQ_DROOP, "freq_droop"),
    "gradient": (DerControlType.GRADIENTS, "gradient"),
    "limit_max_discharge": (DerControlType.LIMIT_MAX_DISCHARGE, "limit_max_discharge"),
}


def controls_in_report(request: v21.ReportDERControlRequest) -> tuple[DerControlSeen, ...]:
    """The controls that a station reports, of all types."""
    found: list[DerControlSeen] = []
    for field, (kind, holds) in _REPORTED.items():
        reported: tuple[Struct, ...] = getattr(request, field) or ()
        for one in reported:
            told = getattr(one, "curve_type", None) if kind is None else kind.value
            found.append(
                DerControlSeen(
                    id=made_storable(getattr(one, "id"), 36),  # noqa: B009
                    control_type=made_storable(str(told), 64),
                    # EnterService and Gradients are never scheduled: their reports have no such fields
                    is_default=getattr(one, "is_default", True),
                    superseded=getattr(one, "is_superseded", False),
                    settings=as_text(getattr(one, holds)),
                )
            )
    return tuple(found)
