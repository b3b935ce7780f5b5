"""What the answers to our own questions say of a station's variables. Lenient: what does not fit is left out."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from chargeplane.domain.variables import ReportedVariable
from chargeplane.kernel.text import made_storable

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
