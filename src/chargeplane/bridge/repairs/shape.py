"""JSON that does not fit its message type, fitted to it: guided by the type itself, field by field.

The plan of a message type (which fields, which kinds, which limits) is made once from the wire struct with
`msgspec.inspect`. Fitting walks value and plan together, so its depth is the type's, never the message's, and every
visited value draws on a budget. What it makes is the wire struct, built without validation: where the station sent a
word that its version does not know, the struct holds that word as plain text; where a required field is absent and
`TOLERATED` names it, the struct holds `None`. The translations in this ring are written to take both.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, DecimalException
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec import inspect as types

from chargeplane.bridge.repairs.rules import Rule
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.units import MAX_MAGNITUDE, bounded

BUDGET: Final = 20_000
"""Values one message may make the repair look at; a message with more is given up."""

KEPT_TEXT: Final = 255
"""Characters kept of a text whose limit in the specification is lower."""

KEPT_WORD: Final = 64
"""Characters kept of a word that is not among the specification's."""

TOLERATED: Final[Mapping[str, Mapping[str, object]]] = {
    # OCPP 1.6. Registers are energy: absent is None, never 0.
    "BootNotificationRequest": {
        "chargePointVendor": "",
        "chargePointModel": "",
        "reason": None,
    },
    "StatusNotificationRequest": {"errorCode": "NoError", "timestamp": None},
    "StartTransactionRequest": {"connectorId": None, "idTag": None, "meterStart": None, "timestamp": None},
    "StopTransactionRequest": {"transactionId": None, "meterStop": None, "timestamp": None},
    "MeterValuesRequest": {"connectorId": None, "evseId": None, "meterValue": ()},
    # OCPP 2.x
    "ChargingStationType": {"model": "", "vendorName": ""},
    "TransactionEventRequest": {"timestamp": None, "triggerReason": None, "seqNo": None, "transactionInfo": None},
    "TransactionType": {"transactionId": None},
    "IdTokenType": {"type": None},
    "NotifyEventRequest": {"generatedAt": None, "seqNo": 0},
    "EventDataType": {
        "eventId": 0,
        "timestamp": None,
        "trigger": "Alerting",
        "actualValue": "",
        "eventNotificationType": "HardWiredNotification",
    },
    "NotifyMonitoringReportRequest": {"generatedAt": None, "seqNo": 0},
    "NotifyCustomerInformationRequest": {"generatedAt": None, "seqNo": 0, "data": ""},
    "SignedMeterValueType": {"signingMethod": None, "encodingMethod": None, "publicKey": None},
    # both: the 1.6 types are named MeterValue and SampledValue
    "SampledValueType": {"value": None},
    "MeterValue": {"timestamp": None, "sampledValue": ()},
    "MeterValueType": {"timestamp": None, "sampledValue": ()},
}
"""Required fields without which a message is still understood, by type and wire name, with what stands for them."""

MAIN_FIELD: Final[Mapping[str, str]] = {"IdTokenType": "idToken", "EVSEType": "id", "TransactionType": "transactionId"}
"""Objects that some stations send as their main value alone (`"idToken": "04A1B2"`)."""

KEEPS_UNUSABLE: Final = frozenset({("SampledValueType", "value")})
"""Numbers that, where unusable, leave None and keep their object: a sample may still carry a signed value."""

EXACT_WORDS: Final = frozenset({"TransactionEventEnumType", "HashAlgorithmEnumType", "CertificateStatusSourceEnumType"})
"""Enumerations whose words decide what a message is, or that we send back: an unknown word makes it unusable."""

EXACT_TEXTS: Final = frozenset({"CertificateHashDataType"})
"""Types whose texts name something by every character, and that we send back: a text that is too long is refused."""


class _Absent(enum.Enum):
    ABSENT = 0


_ABSENT: Final = _Absent.ABSENT


class _GaveUpError(Exception):
    """The budget is spent."""


class _Work:
    """What one repair has left and has done."""

    __slots__ = ("left", "names")

    def __init__(self) -> None:
        self.left = BUDGET
        self.names: dict[Rule, None] = {}


class _Plan:
    """How a value of one kind is fitted."""

    def fit(self, value: Any, work: _Work) -> Any:
        """The value as the wire struct may hold it, or `_ABSENT`."""
        raise NotImplementedError


class _Anything(_Plan):
    def fit(self, value: Any, work: _Work) -> Any:
        return value


class _Text(_Plan):
    def __init__(self, limit: int | None, exact: bool) -> None:
        self.limit = limit
        self.exact = exact

    def fit(self, value: Any, work: _Work) -> Any:
        if type(value) is list and len(value) == 1:
            work.names[Rule.LIST_FOR_OBJECT] = None
            value = value[0]
        if isinstance(value, bool):
            work.names[Rule.NUMBER_FOR_TEXT] = None
            value = "true" if value else "false"
        elif isinstance(value, int | Decimal):
            work.names[Rule.NUMBER_FOR_TEXT] = None
            try:
                value = str(value)
            except ValueError:  # an integer of thousands of digits
                return _ABSENT
        if not isinstance(value, str):
            return _ABSENT
        if self.limit is not None and len(value) > self.limit:
            if self.exact:
                return _ABSENT
            work.names[Rule.TEXT_TOO_LONG] = None
            return value[: max(self.limit, KEPT_TEXT)] if self.limit <= KEPT_TEXT else value
        return value


class _Word(_Plan):
    def __init__(self, cls: type[enum.Enum]) -> None:
        self.exact = cls.__name__ in EXACT_WORDS
        self.words = {member.value: member for member in cls}
        self.spellings = {_bare(str(member.value)): member for member in cls}

    def fit(self, value: Any, work: _Work) -> Any:
        if type(value) is list and len(value) == 1:
            work.names[Rule.LIST_FOR_OBJECT] = None
            value = value[0]
        if not isinstance(value, str):
            if not isinstance(value, int | Decimal) or isinstance(value, bool) or self.exact:
                return _ABSENT
            value = str(value)[:KEPT_WORD] if not isinstance(value, int) or abs(value) < 10**KEPT_WORD else ""
        member = self.words.get(value)
        if member is not None:
            return member
        member = self.spellings.get(_bare(value))
        if member is not None:
            work.names[Rule.WORD_SPELLING] = None
            return member
        if self.exact:
            return _ABSENT
        if not value or value.isspace():
            work.names[Rule.FIELD_UNUSABLE] = None
            return _ABSENT
        work.names[Rule.WORD_UNKNOWN] = None
        return made_storable(value, KEPT_WORD)


class _Whole(_Plan):
    def __init__(self, low: int | None, high: int | None) -> None:
        self.low = low
        self.high = high
        self.is_register = high is not None and high >= MAX_MAGNITUDE

    def fit(self, value: Any, work: _Work) -> Any:
        if type(value) is list and len(value) == 1:
            work.names[Rule.LIST_FOR_OBJECT] = None
            value = value[0]
        if type(value) is not int:
            number = _number(value, work)
            if number is None:
                return _ABSENT
            whole = number.to_integral_value(ROUND_HALF_EVEN)
            if number != whole or isinstance(value, Decimal):
                work.names[Rule.FRACTION_FOR_INTEGER] = None
            # a register is energy: its fraction of a Wh is kept
            value = number if self.is_register and number != whole else int(whole)
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            work.names[Rule.NUMBER_OUT_OF_RANGE] = None
            return _ABSENT
        return value


class _Number(_Plan):
    def fit(self, value: Any, work: _Work) -> Any:
        if type(value) is list and len(value) == 1:
            work.names[Rule.LIST_FOR_OBJECT] = None
            value = value[0]
        number = _number(value, work)
        return _ABSENT if number is None else number


class _Flag(_Plan):
    def fit(self, value: Any, work: _Work) -> Any:
        if isinstance(value, bool):
            return value
        word = value.strip().lower() if isinstance(value, str) else value
        flag = _FLAGS.get(word) if isinstance(word, str | int) else None
        if flag is None:
            return _ABSENT
        work.names[Rule.VALUE_FOR_FLAG] = None
        return flag


_FLAGS: Final[Mapping[str | int, bool]] = {
    "true": True, "1": True, "yes": True, 1: True, "false": False, "0": False, "no": False, 0: False,
}  # fmt: skip


class _Items(_Plan):
    def __init__(self, item: _Plan, low: int | None, high: int | None) -> None:
        self.item = item
        self.low = low or 0
        self.high = high

    def fit(self, value: Any, work: _Work) -> Any:
        if type(value) is not list:
            item = self.item.fit(value, work)
            if item is _ABSENT:
                return _ABSENT
            work.names[Rule.OBJECT_FOR_LIST] = None
            return (item,)
        items = []
        for one in value:
            work.left -= 1
            if work.left < 0:
                raise _GaveUpError
            item = _ABSENT if one is None else self.item.fit(one, work)
            if item is _ABSENT:
                work.names[Rule.ITEM_DROPPED] = None
            else:
                items.append(item)
        if len(items) < self.low:
            work.names[Rule.EMPTY_LIST] = None
            return _ABSENT
        if self.high is not None and len(items) > self.high:
            work.names[Rule.LIST_TOO_LONG] = None
        return tuple(items)


class _Field:
    __slots__ = ("keeps_unusable", "name", "plan", "required", "tolerated", "wire")

    def __init__(self, owner: str, field: types.Field, plan: _Plan) -> None:
        self.name = field.name
        self.wire = field.encode_name
        self.plan = plan
        self.required = field.required
        self.keeps_unusable = (owner, self.wire) in KEEPS_UNUSABLE
        self.tolerated = TOLERATED.get(owner, {}).get(self.wire, _ABSENT)


class _Object(_Plan):
    def __init__(self, cls: type[Struct]) -> None:
        self.cls = cls
        self.fields: dict[str, _Field] = {}
        self.spellings: dict[str, str] = {}
        self.main = MAIN_FIELD.get(cls.__name__)

    def add(self, field: _Field) -> None:
        self.fields[field.wire] = field
        self.spellings[_bare(field.wire)] = field.wire

    def fit(self, value: Any, work: _Work) -> Any:
        work.left -= 1
        if work.left < 0:
            raise _GaveUpError
        if type(value) is list and len(value) == 1:
            work.names[Rule.LIST_FOR_OBJECT] = None
            value = value[0]
        if type(value) is not dict:
            if self.main is None or not isinstance(value, str | int | Decimal) or isinstance(value, bool):
                return _ABSENT
            work.names[Rule.VALUE_FOR_OBJECT] = None
            value = {self.main: value}
        fields = self.fields
        made: dict[str, Any] = {}
        strays: list[str] = []
        for wire, given in value.items():
            field = fields.get(wire)
            if field is None:
                strays.append(wire)
            else:
                self._take(field, given, made, work)
        work.left -= len(value)
        for stray in strays:
            wire = self.spellings.get(_bare(stray), "")
            if wire and wire not in value:
                work.names[Rule.FIELD_SPELLING] = None
                self._take(fields[wire], value[stray], made, work)
        for field in fields.values():
            if field.required and field.name not in made:
                if field.tolerated is _ABSENT:
                    return _ABSENT
                work.names[Rule.FIELD_MISSING] = None
                made[field.name] = field.tolerated
        try:
            return self.cls(**made)
        except (TypeError, ValueError, ArithmeticError):  # a rule of the type itself, such as a range of a Decimal
            return _ABSENT

    @staticmethod
    def _take(field: _Field, given: Any, made: dict[str, Any], work: _Work) -> None:
        if given is None:
            work.names[Rule.NULL_DROPPED] = None
            return
        fitted = field.plan.fit(given, work)
        if fitted is not _ABSENT:
            made[field.name] = fitted
        elif field.keeps_unusable:
            work.names[Rule.VALUE_UNUSABLE] = None
            made[field.name] = None
        elif not field.required:
            work.names[Rule.FIELD_UNUSABLE] = None


def _bare(word: str) -> str:
    """A name or word without case and separators."""
    return "".join(filter(str.isalnum, word[:KEPT_WORD])).lower()


def _number(value: Any, work: _Work) -> Decimal | None:
    """A finite, bounded number from whatever stands where one belongs."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        if len(text) > KEPT_WORD:
            return None
        try:
            value = Decimal(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
        except DecimalException:
            return None
        work.names[Rule.TEXT_FOR_NUMBER] = None
    elif isinstance(value, int):
        if abs(value) > 10**15:
            work.names[Rule.NUMBER_OUT_OF_RANGE] = None
            return None
        value = Decimal(value)
    elif not isinstance(value, Decimal):
        return None
    number = bounded(value)
    if number is None:
        work.names[Rule.NUMBER_OUT_OF_RANGE] = None
    return number


def _plan(kind: types.Type, made: dict[type[Struct], _Object], owner: str) -> _Plan:
    if isinstance(kind, types.Metadata):
        return _plan(kind.type, made, owner)
    if isinstance(kind, types.UnionType):
        some = [one for one in kind.types if not isinstance(one, types.NoneType)]
        return _plan(some[0], made, owner) if len(some) == 1 else _Anything()
    if isinstance(kind, types.StrType):
        return _Text(kind.max_length, owner in EXACT_TEXTS)
    if isinstance(kind, types.EnumType):
        return _Word(kind.cls)
    if isinstance(kind, types.IntType):
        return _Whole(kind.ge, kind.le)
    if isinstance(kind, types.DecimalType | types.FloatType):
        return _Number()
    if isinstance(kind, types.BoolType):
        return _Flag()
    if isinstance(kind, types.CollectionType):
        return _Items(_plan(kind.item_type, made, owner), kind.min_length, kind.max_length)
    if isinstance(kind, types.StructType):
        return _object(kind, made)
    return _Anything()


def _object(kind: types.StructType, made: dict[type[Struct], _Object]) -> _Object:
    known = made.get(kind.cls)
    if known is not None:
        return known
    plan = made[kind.cls] = _Object(kind.cls)
    for field in kind.fields:
        plan.add(_Field(kind.cls.__name__, field, _plan(field.type, made, kind.cls.__name__)))
    return plan


@lru_cache(maxsize=512)
def _plan_of(cls: type[Struct]) -> _Object:
    kind = types.type_info(cls)
    assert isinstance(kind, types.StructType)
    return _object(kind, {})


_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)


def parsed(payload: bytes) -> Any:
    """The payload as plain values, numbers with a fraction as Decimals.

    Raises:
        ValueError: not JSON, not UTF-8, or too deep.
    """
    try:
        return _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, DecimalException, RecursionError) as error:
        raise ValueError(str(error)) from error


def fit(cls: type[Struct], value: Any) -> tuple[Struct, tuple[Rule, ...]] | None:
    """The message that a value stands for, and the rules that made it fit.

    Args:
        cls: wire type of the message.
        value: as `parsed` gives it.
    Returns:
        None where the value cannot be made to fit, or the work would pass `BUDGET`.
    """
    work = _Work()
    if value is None or (not value and isinstance(value, list | str)):
        work.names[Rule.NULL_PAYLOAD] = None
        value = {}
    try:
        request = _plan_of(cls).fit(value, work)
    except _GaveUpError:
        return None
    if request is _ABSENT:
        return None
    assert isinstance(request, cls)
    return request, tuple(work.names)
