"""A station's variables: OCPP 2.x device model, and OCPP 1.6 configuration keys in the same name space."""

from __future__ import annotations

import enum
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from chargeplane.domain.standard_keys import StandardKey, by_key, by_variable

Place: TypeAlias = tuple[str, str, int, int, str, str, str]
"""What tells an attribute from a station's others: component, its instance, EVSE, connector, variable, its instance, attribute;
empty and 0 where there is none."""


class Attribute(enum.StrEnum):
    """OCPP 2.x AttributeEnumType. 1.6 has Actual alone."""

    ACTUAL = "Actual"
    TARGET = "Target"
    MIN_SET = "MinSet"
    MAX_SET = "MaxSet"


_Name = Annotated[str, Meta(min_length=1, max_length=50)]
_Number = Annotated[int, Meta(ge=1, le=9_999)]
_Value = Annotated[str, Meta(max_length=2500)]


class VariableName(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One attribute of a variable.

    Args:
        component: left out for an OCPP 1.6 key that has no variable in 2.x. A standard key may be given without component too:
            it means its variable.
        evse_id, connector_id: where the component belongs to an EVSE or a connector of it.
    """

    component: _Name | None = None
    component_instance: _Name | None = None
    evse_id: _Number | None = None
    connector_id: _Number | None = None
    variable: _Name
    variable_instance: _Name | None = None
    attribute: Attribute = Attribute.ACTUAL

    @property
    def place(self) -> Place:
        """What tells it from the station's other attributes, as it is written."""
        return (
            self.component or "",
            self.component_instance or "",
            self.evse_id or 0,
            self.connector_id or 0,
            self.variable,
            self.variable_instance or "",
            self.attribute.value,
        )

    def __str__(self) -> str:
        return shown(self.place)


class VariableSetting(VariableName, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value that an attribute is to have.

    Args:
        value: as text, as OCPP has all values.
    """

    value: _Value

    @property
    def name(self) -> VariableName:
        """What is to have the value."""
        return VariableName(
            component=self.component,
            component_instance=self.component_instance,
            evse_id=self.evse_id,
            connector_id=self.connector_id,
            variable=self.variable,
            variable_instance=self.variable_instance,
            attribute=self.attribute,
        )


class ReportedVariable(Struct, frozen=True, kw_only=True):
    """One attribute of a variable as a station reported it (OCPP 2.0.1 B06; 1.6, 5.8).

    Args:
        component: empty for an OCPP 1.6 key that has no variable in 2.x.
        evse_id, connector_id: 0 where the component belongs to the whole station (or EVSE).
        attribute: Actual, Target, MinSet, MaxSet.
        mutability: ReadOnly, WriteOnly or ReadWrite where the report says so.
        characteristics: JSON object: data_type, supports_monitoring, unit, min_limit, max_limit, values_list; None where the
            report has none.
    """

    component: str = ""
    component_instance: str = ""
    evse_id: int = 0
    connector_id: int = 0
    variable: str
    variable_instance: str = ""
    attribute: str = "Actual"
    value: str | None = None
    mutability: str | None = None
    characteristics: bytes | None = None

    @property
    def place(self) -> Place:
        """What tells it from the station's other variables."""
        return (
            self.component,
            self.component_instance,
            self.evse_id,
            self.connector_id,
            self.variable,
            self.variable_instance,
            self.attribute,
        )


class VariableReport(Struct, frozen=True, kw_only=True, tag="variable_report"):
    """One part of a report of variables (OCPP 2.0.1 B07.FR.10, B08.FR.14). Their values are stored with the message itself.

    Args:
        request_id: of our question; stations put anything there.
        more: whether the station says that another part follows.
        places: what the part names.
    """

    request_id: int
    seq_no: int
    more: bool
    places: tuple[Place, ...]


def name_of(place: Place) -> VariableName:
    """The name of a place."""
    component, component_instance, evse_id, connector_id, variable, variable_instance, attribute = place
    return VariableName(
        component=component or None,
        component_instance=component_instance or None,
        evse_id=evse_id or None,
        connector_id=connector_id or None,
        variable=variable,
        variable_instance=variable_instance or None,
        attribute=Attribute(attribute),
    )


def shown(place: Place) -> str:
    """A place as people write it: `Component[instance]#evse.connector/Variable[instance]:Attribute`."""
    component, component_instance, evse_id, connector_id, variable, variable_instance, attribute = place
    text = component
    if component_instance:
        text += f"[{component_instance}]"
    if evse_id:
        text += f"#{evse_id}" + (f".{connector_id}" if connector_id else "")
    text += ("/" if text else "") + variable
    if variable_instance:
        text += f"[{variable_instance}]"
    return text if attribute == Attribute.ACTUAL else f"{text}:{attribute}"


def folded(place: Place) -> Place:
    """The place as it is compared: names have no case (OCPP 2.0.1 part 2, identifierString; 1.6 CiString50Type)."""
    component, component_instance, evse_id, connector_id, variable, variable_instance, attribute = place
    return (
        component.casefold(),
        component_instance.casefold(),
        evse_id,
        connector_id,
        variable.casefold(),
        variable_instance.casefold(),
        attribute.casefold(),
    )


def canonical(name: VariableName) -> VariableName:
    """The name in the one name space: a standard 1.6 key without component becomes its variable."""
    standard = by_key(name.variable) if name.component is None else None
    if standard is None:
        return name
    return VariableName(
        component=standard.component,
        variable=standard.variable,
        variable_instance=standard.instance or None,
        attribute=name.attribute,
    )


def canonical_place(key: str) -> Place:
    """Where the value of a 1.6 key is kept."""
    standard = by_key(key)
    if standard is None:
        return ("", "", 0, 0, key, "", "Actual")
    return (standard.component, "", 0, 0, standard.variable, standard.instance, "Actual")


def standard_key(name: VariableName) -> StandardKey | None:
    """The row of the standard 1.6 key that means this variable of the whole station, if there is one."""
    if name.component is None:
        return by_key(name.variable)
    if name.component_instance or name.evse_id or name.connector_id:
        return None
    return by_variable(name.component, name.variable, name.variable_instance or "")


def to_common(standard: StandardKey | None, value: str) -> str:
    """A 1.6 value in the words of 2.x."""
    return _words(value, {} if standard is None else {old.casefold(): new for old, new in standard.words})


def from_common(standard: StandardKey | None, value: str) -> str:
    """A value in the words of 1.6."""
    return _words(value, {} if standard is None else {new.casefold(): old for old, new in standard.words})


def _words(value: str, words: dict[str, str]) -> str:
    if not words:
        return value
    return ",".join(words.get(part.strip().casefold(), part.strip()) for part in value.split(","))


_SECRETS: Final = frozenset(
    {
        ("securityctrlr", "basicauthpassword"),
        ("", "authorizationkey"),
        ("networkconfiguration", "basicauthpassword"),
        ("networkconfiguration", "vpnpassword"),
        ("networkconfiguration", "vpnkey"),
        ("networkconfiguration", "apnpassword"),
        ("networkconfiguration", "simpin"),
        ("webpaymentsctrlr", "sharedsecret"),
    }
)
_SECRET_ENDS: Final = ("password", "passphrase", "secret", "privatekey", "simpin", "authorizationkey")

HIDDEN: Final = "********"
"""What stands for the value of a variable that is written and never shown."""


def is_secret(component: str, variable: str) -> bool:
    """Whether the value of a variable is never stored, logged or shown: those the specification has as WriteOnly, and whatever
    vendors name like a password."""
    folded_variable = variable.casefold()
    return (component.casefold(), folded_variable) in _SECRETS or folded_variable.endswith(_SECRET_ENDS)


_TRUTH: Final = {"true": "true", "false": "false"}


def same_value(wanted: str, has: str, data_type: str | None = None) -> bool:
    """Whether a value that was read back is the one that was wanted.

    Stations write `True` for `true`, `60.0` for `60`, blanks behind commas and members of a list in an order of their own; the order of a
    SequenceList means something (OCPP 2.0.1 part 1, 4: dataType).

    Args:
        data_type: OCPP 2.x DataEnumType word, if it is known.
    """
    if wanted == has:
        return True
    left, right = wanted.strip(), has.strip()
    if left == right:
        return True
    if left.casefold() in _TRUTH or right.casefold() in _TRUTH:
        return left.casefold() == right.casefold()
    if data_type != "string" and _number(left) is not None and _number(left) == _number(right):
        return True
    if "," in left or "," in right:
        mine = [part.strip() for part in left.split(",") if part.strip()]
        other = [part.strip() for part in right.split(",") if part.strip()]
        ordered = data_type in ("SequenceList", "string")
        return mine == other if ordered else sorted(mine) == sorted(other)
    return False


def _number(text: str) -> Decimal | None:
    if not text or len(text) > 30 or not text[-1].isdigit() or not (text[0].isdigit() or text[0] in "+-."):
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
