"""What a station says of its variables, in answers to our questions and in reports. Lenient: what does not fit is left out."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from chargeplane.bridge.narrow import number, text
from chargeplane.domain.standard_keys import by_key
from chargeplane.domain.variables import ReportedVariable, VariableReport, canonical_place, is_secret, to_common
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.units import bounded

_Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]
LONGEST: Final = 2500
"""Characters of a value (OCPP 2.x attributeValue)."""


class _Key(Struct):
    key: str
    readonly: bool | None = False
    value: str | int | float | bool | None = None


class _Configuration(Struct, rename="camel"):
    configuration_key: list[_Key] | None = None
    unknown_key: list[str] | None = None


class _Evse(Struct, rename="camel"):
    id: _Number
    connector_id: _Number = 0


class _Component(Struct):
    name: str
    instance: str | None = None
    evse: _Evse | None = None


class _Variable(Struct):
    name: str
    instance: str | None = None


class _Info(Struct, rename="camel"):
    reason_code: object = None
    additional_info: object = None


class WireResult(Struct, rename="camel"):
    """A result in the answer to GetVariables or SetVariables, as any station may have written it."""

    attribute_status: str
    component: _Component
    variable: _Variable
    attribute_type: str | None = None
    attribute_value: str | None = None
    attribute_status_info: _Info | None = None

    @property
    def said(self) -> str | None:
        """What the station said about its status."""
        info = self.attribute_status_info
        if info is None:
            return None
        told = [one for one in (info.reason_code, info.additional_info) if isinstance(one, str) and one]
        return made_storable(", ".join(told), 512) or None


class _Results(Struct, rename="camel"):
    get_variable_result: list[WireResult] = []
    set_variable_result: list[WireResult] = []


_configuration = msgspec.json.Decoder(_Configuration).decode
_results = msgspec.json.Decoder(_Results).decode


def wire_results(payload: bytes) -> list[WireResult]:
    """The results in the answer to GetVariables or SetVariables.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    answer = _results(payload)
    return answer.get_variable_result or answer.set_variable_result


def evse_of(evse: Any) -> tuple[int, int]:
    """The numbers of a wire EVSE; 0 where there is none."""
    return (0, 0) if evse is None else (evse.id, evse.connector_id or 0)


def configuration(payload: bytes) -> tuple[list[ReportedVariable], list[str]]:
    """Known and unknown keys in the answer to GetConfiguration (OCPP 1.6, 5.8), in the name space of the device model.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    answer = _configuration(payload)
    known: list[ReportedVariable] = []
    for one in answer.configuration_key or ():
        key = made_storable(one.key.strip(), 255)
        if not key:
            continue
        component, _, _, _, variable, instance, _ = canonical_place(key)
        value: str | None = None
        if one.value is not None and not is_secret(component, variable):
            written = str(one.value).lower() if isinstance(one.value, bool) else str(one.value)
            value = to_common(by_key(key), made_storable(written, LONGEST))
        mutability = None if one.readonly is None else "ReadOnly" if one.readonly else "ReadWrite"
        known.append(
            ReportedVariable(
                component=component,
                variable=variable,
                variable_instance=instance,
                value=value,
                mutability=mutability,
            )
        )
    return known, [made_storable(key.strip(), 255) for key in answer.unknown_key or ()]


def reported_variables(action: str, answer: bytes) -> tuple[ReportedVariable, ...]:
    """Variables in the answer to a raw call of ours: GetConfiguration (1.6, 5.8) and GetVariables (2.0.1 B06).

    Args:
        action: of the call.
        answer: payload of the CALLRESULT.
    Returns:
        Those that were reported; empty for any other action and for an answer that cannot be read.
    """
    try:
        if action == "GetConfiguration":
            return tuple(configuration(answer)[0])
        if action == "GetVariables":
            return tuple(_variable(result) for result in wire_results(answer) if result.attribute_status == "Accepted")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ()
    return ()


def _variable(result: WireResult) -> ReportedVariable:
    evse_id, connector_id = evse_of(result.component.evse)
    component, variable = made_storable(result.component.name, 255), made_storable(result.variable.name, 255)
    return ReportedVariable(
        component=component,
        component_instance=made_storable(result.component.instance or "", 255),
        evse_id=evse_id,
        connector_id=connector_id,
        variable=variable,
        variable_instance=made_storable(result.variable.instance or "", 255),
        attribute=made_storable(result.attribute_type or "Actual", 50),
        value=_shown(component, variable, result.attribute_value),
    )


def _shown(component: str, variable: str, value: str | None) -> str | None:
    return None if value is None or is_secret(component, variable) else made_storable(value, LONGEST)


def in_report(data: Any) -> tuple[ReportedVariable, ...]:
    """Variables in the reportData of a NotifyReport (OCPP 2.0.1 B07.FR.03, B08.FR.03), one for each attribute.

    Args:
        data: of either 2.x version.
    """
    return tuple(
        ReportedVariable(
            component=component,
            component_instance=text(one.component.instance) or "",
            evse_id=0 if one.component.evse is None else number(one.component.evse.id) or 0,
            connector_id=0 if one.component.evse is None else number(one.component.evse.connector_id) or 0,
            variable=variable,
            variable_instance=text(one.variable.instance) or "",
            # B07: an attribute without a type is the actual value.
            attribute=text(attribute.type, 50) or "Actual",
            # what is WriteOnly has no value in a report (B07.FR.03, 2.1); should it have one, it is not kept
            value=None if attribute.mutability == "WriteOnly" else _shown(component, variable, attribute.value),
            mutability=text(attribute.mutability, 50),
            characteristics=_characteristics(one.variable_characteristics),
        )
        for one in data or ()
        if one.component is not None and one.variable is not None
        for component, variable in ((text(one.component.name) or "", text(one.variable.name) or ""),)
        for attribute in one.variable_attribute or ()
    )


def shows_secrets(data: Any) -> bool:
    """Whether a report tells values that no station should tell: of what is WriteOnly (OCPP 2.0.1 B07.FR.03)."""
    return any(
        attribute.value
        and (attribute.mutability == "WriteOnly" or is_secret(one.component.name or "", one.variable.name or ""))
        for one in data or ()
        if one.component is not None and one.variable is not None
        for attribute in one.variable_attribute or ()
    )


def report_part(request: Any, variables: tuple[ReportedVariable, ...]) -> VariableReport:
    """Which part of which report a NotifyReport is. Without `tbc` nothing follows (OCPP 2.0.1 NotifyReportRequest)."""
    return VariableReport(
        request_id=request.request_id,
        seq_no=max(request.seq_no, 0),
        more=request.tbc is True,
        places=tuple(variable.place for variable in variables),
    )


_encode = msgspec.json.Encoder(decimal_format="number").encode


def _characteristics(told: Any) -> bytes | None:
    if told is None:
        return None
    kept: dict[str, object] = {
        "data_type": text(told.data_type, 50),
        "supports_monitoring": told.supports_monitoring,
        "unit": text(told.unit),
        "min_limit": _limit(told.min_limit),
        "max_limit": _limit(told.max_limit),
        "values_list": text(told.values_list, 1000),
    }
    return _encode({name: value for name, value in kept.items() if value is not None})


def _limit(value: Decimal | None) -> Decimal | None:
    return None if value is None else bounded(value)
