"""What a station says of its variables, in answers to our questions and in reports. Lenient: what does not fit is left out."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from chargeplane.bridge.narrow import number, text
from chargeplane.domain.variables import ReportedVariable
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.units import bounded

_Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_LONGEST: Final = 2500  # OCPP 2.0.1 attributeValue


class _Key(Struct):
    key: str
    readonly: bool = False
    value: str | None = None


class _Configuration(Struct, rename="camel"):
    configuration_key: list[_Key] = []


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


class _Result(Struct, rename="camel"):
    attribute_status: str
    component: _Component
    variable: _Variable
    attribute_type: str = "Actual"
    attribute_value: str | None = None


class _Results(Struct, rename="camel"):
    get_variable_result: list[_Result] = []


_configuration = msgspec.json.Decoder(_Configuration).decode
_results = msgspec.json.Decoder(_Results).decode


def reported_variables(action: str, answer: bytes) -> tuple[ReportedVariable, ...]:
    """Variables in the answer to a call of ours: GetConfiguration (1.6, 5.8) and GetVariables (2.0.1 B06).

    Args:
        action: of the call.
        answer: payload of the CALLRESULT.
    Returns:
        Those that were reported; empty for any other action and for an answer that cannot be read.
    """
    try:
        if action == "GetConfiguration":
            return tuple(
                ReportedVariable(
                    variable=made_storable(key.key, 255),
                    value=None if key.value is None else made_storable(key.value, _LONGEST),
                    mutability="ReadOnly" if key.readonly else "ReadWrite",
                )
                for key in _configuration(answer).configuration_key
            )
        if action == "GetVariables":
            return tuple(
                _variable(result)
                for result in _results(answer).get_variable_result
                if result.attribute_status == "Accepted"
            )
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ()
    return ()


def _variable(result: _Result) -> ReportedVariable:
    evse = result.component.evse
    value = result.attribute_value
    return ReportedVariable(
        component=made_storable(result.component.name, 255),
        component_instance=made_storable(result.component.instance or "", 255),
        evse_id=0 if evse is None else evse.id,
        connector_id=0 if evse is None else evse.connector_id,
        variable=made_storable(result.variable.name, 255),
        variable_instance=made_storable(result.variable.instance or "", 255),
        attribute=made_storable(result.attribute_type, 50),
        value=None if value is None else made_storable(value, _LONGEST),
    )


def in_report(data: Any) -> tuple[ReportedVariable, ...]:
    """Variables in the reportData of a NotifyReport (OCPP 2.0.1 B07.FR.03, B08.FR.03), one for each attribute.

    Args:
        data: of either 2.x version.
    """
    return tuple(
        ReportedVariable(
            component=text(one.component.name) or "",
            component_instance=text(one.component.instance) or "",
            evse_id=0 if one.component.evse is None else number(one.component.evse.id) or 0,
            connector_id=0 if one.component.evse is None else number(one.component.evse.connector_id) or 0,
            variable=text(one.variable.name) or "",
            variable_instance=text(one.variable.instance) or "",
            # B07: an attribute without a type is the actual value.
            attribute=text(attribute.type, 50) or "Actual",
            value=None if attribute.value is None else made_storable(attribute.value, _LONGEST),
            mutability=text(attribute.mutability, 50),
            characteristics=_characteristics(one.variable_characteristics),
        )
        for one in data or ()
        if one.component is not None and one.variable is not None
        for attribute in one.variable_attribute or ()
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
