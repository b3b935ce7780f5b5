"""Reads what partners commonly get wrong, and says so.

A body that fits its struct never comes here. One that does not is walked along the schema once: what can be meant in
one way only is repaired and noted, what limits text is noted and kept as sent, anything else is an error with its
pointer. The walk makes both the repaired tree, which is what is kept and sent on, and the struct.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.text import made_storable, storable
from chargeplane.ocpi.fields import number, written
from chargeplane.ocpi.schema import Base, Field, fields_of

MAX_TEXT: Final = 65_536
"""Longest text that is kept although it passes its limit."""

MAX_PROBLEMS: Final = 50
"""Errors named in one answer; a body of garbage is not described to its end."""

_UNDATED: Final = frozenset({"Terminal", "TerminalActivation"})
"""What may be told by its id alone (OCPI 2.3.0 mod_payments, POST Terminal), although its table requires `last_updated`."""


class Mend(Enum):
    """What was wrong, and what was made of it."""

    TEXT_FOR_NUMBER = "a number was sent as text; read as a number"
    NUMBER_FOR_TEXT = "text was sent as a number; read as text"
    TEXT_FOR_BOOL = "true or false was sent as text or as a number"
    FRACTION = "a whole number was sent with a fraction; rounded down"
    NULL = "null was sent where a field should be absent"
    EMPTY_FOR_ABSENT = "an empty list, object or text was sent where a field should be absent"
    EMPTY_LIST = "a list that must have an item is empty; kept"
    ONE_FOR_LIST = "one item was sent where a list is meant"
    TOO_LONG = "text is longer than its limit; kept as sent"
    SPELLING = "an enumeration's value was sent in other case or with other separators"
    UNKNOWN_VALUE = "a value of a newer version or of nobody's; kept as sent"
    TIME_FORMAT = "a time was sent in another form or zone; written in UTC"
    TIME_TAKEN = "last_updated was missing; taken from the object around"
    TIME_UNKNOWN = "last_updated was missing; long ago"
    OLD_PRICE = "an amount was sent as excl_vat and incl_vat; read as before_taxes and taxes"
    LATER_NAME = "a field was sent under the name that it has in a later version"
    NO_EVSE = "a CDR's location named no EVSE; written as #NA, as OCPI does where there is none"
    NOT_STORABLE = "text had U+0000 or half a character; replaced"


class Repair(Struct, frozen=True):
    """One thing that was repaired or let pass.

    Args:
        pointer: JSON pointer to the field in the body (RFC 6901).
        mend: what.
    """

    pointer: str
    mend: Mend


class Walk:
    """One body on its way through the schema; it gathers repairs and errors."""

    def __init__(self, also_known: Callable[[type[StrEnum], str], bool]) -> None:
        """`also_known`: whether a value that a closed enumeration lacks is kept nevertheless."""
        self.repairs: list[Repair] = []
        self.errors: list[tuple[str, str]] = []
        self._also_known = also_known

    def object(
        self, tree: Any, shape: type[Struct], at: str, *, partial: bool = False, around: Any = None
    ) -> tuple[Any, Any]:
        """The repaired tree of an object and its struct; the struct is None where there are errors, or fields may lack.

        Args:
            at: pointer of the object.
            partial: a PATCH: no field is required, null stays.
            around: last_updated of the enclosing object, for one that lacks its own.
        """
        if not isinstance(tree, dict):
            self._wrong(at, f"Expected an object, got {_named(tree)}")
            return tree, None
        known = fields_of(shape)
        if tree.keys() >= {"excl_vat"} and "before_taxes" in known and "taxes" in known and "before_taxes" not in tree:
            tree = self._price(tree, at)
        if around is not None and "last_updated" in known and "last_updated" not in tree and not partial:
            tree = tree | {"last_updated": around}
            self._note(f"{at}/last_updated", Mend.TIME_TAKEN)
        if shape.__name__ in _UNDATED and "last_updated" not in tree and not partial:
            tree = tree | {"last_updated": "1970-01-01T00:00:00Z"}
            self._note(f"{at}/last_updated", Mend.TIME_UNKNOWN)
        if "stop_date_time" in known and "stop_date_time" not in tree and "end_date_time" in tree and not partial:
            tree = {"stop_date_time" if name == "end_date_time" else name: sent for name, sent in tree.items()}
            self._note(f"{at}/end_date_time", Mend.LATER_NAME)
        if shape.__name__ == "CdrLocation" and tree.get("evse_uid") is None and not partial:
            # A library in the field has no such field; what was charged is clear without it (OCPI 2.2.1 mod_cdrs, CdrLocation).
            tree = tree | {"evse_uid": "#NA"}
            self._note(f"{at}/evse_uid", Mend.NO_EVSE)
        mended: dict[str, Any] = {}
        values: dict[str, Any] = {}
        before = len(self.errors)
        own_time = tree.get("last_updated")
        for name, sent in tree.items():
            if not isinstance(name, str) or not storable(name):
                self._wrong(at, "A field's name has characters that cannot be kept")
                continue
            field = known.get(name)
            if field is None:
                mended[name] = self._stored(sent, f"{at}/{_escaped(name)}")
                continue
            pointer = f"{at}/{name}"
            if sent is None and partial:
                mended[name] = None
                continue
            if self._absent(sent, field, pointer):
                continue
            mended[name], value = self._field(sent, field, pointer, own_time)
            values[name] = value
        if not partial:
            for field in known.values():
                if field.required and field.name not in values:
                    self._wrong(f"{at}/{field.name}", "Required and not there")
        made = None if partial or len(self.errors) > before else shape(**values)
        return mended, made

    def choice(self, tree: Any, choices: type[StrEnum], at: str) -> tuple[Any, Any]:
        """A body that is the value of an enumeration."""
        return self._enum(tree, Field(name="", base=Base.ENUM, required=True, many=False, choices=choices), at)

    def _absent(self, sent: Any, field: Field, at: str) -> bool:
        """Whether a value stands for none, and may."""
        if sent is None:
            if field.required:
                return False
            self._note(at, Mend.NULL)
            return True
        if field.required or field.many:
            return False
        if (sent == "" and field.base is not Base.TEXT) or sent == [] or (sent == {} and field.base is Base.OBJECT):
            self._note(at, Mend.EMPTY_FOR_ABSENT)
            return True
        return False

    def _field(self, sent: Any, field: Field, at: str, around: Any) -> tuple[Any, Any]:
        if not field.many:
            return self._one(sent, field, at, around)
        if sent is None:  # required: an optional one was taken as absent
            self._wrong(at, "Expected a list, got null")
            return sent, ()
        if not isinstance(sent, list):
            self._note(at, Mend.ONE_FOR_LIST)
            sent = [sent]
        if field.required and not sent:
            self._note(at, Mend.EMPTY_LIST)
        pairs = [self._one(item, field, f"{at}/{place}", around) for place, item in enumerate(sent)]
        return [tree for tree, _ in pairs], tuple(value for _, value in pairs)

    def _one(self, sent: Any, field: Field, at: str, around: Any) -> tuple[Any, Any]:
        if field.base is Base.OBJECT:
            assert field.shape is not None
            return self.object(sent, field.shape, at, around=around)
        return _READERS[field.base](self, sent, field, at)

    def _text(self, sent: Any, field: Field, at: str) -> tuple[Any, Any]:
        if isinstance(sent, (int, Decimal)) and not isinstance(sent, bool):
            self._note(at, Mend.NUMBER_FOR_TEXT)
            sent = format(sent, "f") if isinstance(sent, Decimal) else str(sent)
        if not isinstance(sent, str):
            self._wrong(at, f"Expected text, got {_named(sent)}")
            return sent, None
        if not storable(sent):
            self._note(at, Mend.NOT_STORABLE)
            sent = made_storable(sent)
        if field.max_length is not None and len(sent) > field.max_length:
            if len(sent) > MAX_TEXT:
                self._wrong(at, f"Expected at most {field.max_length} characters, got {len(sent)}")
            else:
                self._note(at, Mend.TOO_LONG)
        return sent, sent

    def _number(self, sent: Any, field: Field, at: str) -> tuple[Any, Any]:
        if isinstance(sent, str) and _NUMERAL.fullmatch(sent.strip()):
            self._note(at, Mend.TEXT_FOR_NUMBER)
            text = sent.strip()
            try:
                sent = number(text) if set(text) & set(".eE") else int(text)
            except ValueError as error:
                self._wrong(at, str(error))
                return sent, None
        if not isinstance(sent, (int, Decimal)) or isinstance(sent, bool):
            self._wrong(at, f"Expected a number, got {_named(sent)}")
            return sent, None
        return sent, Decimal(sent)

    def _int(self, sent: Any, field: Field, at: str) -> tuple[Any, Any]:
        sent, value = self._number(sent, field, at)
        if value is None:
            return sent, None
        if not isinstance(sent, int):
            self._note(at, Mend.FRACTION)
            sent = int(sent // 1)
        if field.low is not None and field.high is not None and not field.low <= sent <= field.high:
            self._wrong(at, f"Expected a number from {field.low} to {field.high}, got {sent}")
        return sent, sent

    def _bool(self, sent: Any, field: Field, at: str) -> tuple[Any, Any]:
        if isinstance(sent, bool):
            return sent, sent
        meant = _BOOLS.get(sent.strip().lower()) if isinstance(sent, str) else None
        if isinstance(sent, int) and sent in (0, 1):
            meant = bool(sent)
        if meant is None:
            self._wrong(at, f"Expected true or false, got {_named(sent)}")
            return sent, None
        self._note(at, Mend.TEXT_FOR_BOOL)
        return meant, meant

    def _time(self, sent: Any, field: Field, at: str) -> tuple[Any, Any]:
        time = _time(sent) if isinstance(sent, str) else None
        if time is None:
            self._wrong(at, f"Expected a time such as 2015-06-29T20:39:09Z, got {_named(sent)}")
            return sent, None
        if not _AS_SPECIFIED.fullmatch(sent):
            self._note(at, Mend.TIME_FORMAT)
            sent = written(time)
        return sent, time

    def _enum(self, sent: Any, field: Field, at: str) -> tuple[Any, Any]:
        assert field.choices is not None
        if not isinstance(sent, str):
            self._wrong(at, f"Expected text, got {_named(sent)}")
            return sent, None
        if sent in field.choices.__members__.values():
            return sent, sent if field.open else field.choices(sent)
        folded = _SEPARATORS.sub("_", sent.strip()).upper()
        meant = next((one for one in field.choices if one.upper() == folded), None)
        if meant is not None:
            self._note(at, Mend.SPELLING)
            return meant.value, meant.value if field.open else meant
        if field.open:
            return self._text(sent, field, at)
        if storable(sent) and len(sent) <= 255 and self._also_known(field.choices, sent):
            self._note(at, Mend.UNKNOWN_VALUE)
            return sent, sent
        allowed = ", ".join(list(field.choices)[:15])
        self._wrong(at, f"Expected one of {allowed}; got {_named(sent)}")
        return sent, None

    def _price(self, tree: dict[str, Any], at: str) -> dict[str, Any]:
        """A Price of 2.2.1 in 2.3.0; the specification's own examples of payments have it."""
        self._note(at, Mend.OLD_PRICE)
        mended = {name: value for name, value in tree.items() if name not in ("excl_vat", "incl_vat")}
        mended["before_taxes"] = tree["excl_vat"]
        both = tree["excl_vat"], tree.get("incl_vat")
        if all(isinstance(one, (int, Decimal)) for one in both) and both[1] != both[0]:
            mended["taxes"] = [{"name": "VAT", "amount": both[1] - both[0]}]
        return mended

    def _stored(self, sent: Any, at: str) -> Any:
        """A field that the schema does not have: kept, only what cannot be stored is replaced."""
        if isinstance(sent, str) and not storable(sent):
            self._note(at, Mend.NOT_STORABLE)
            return made_storable(sent)
        if isinstance(sent, list):
            return [self._stored(item, f"{at}/{place}") for place, item in enumerate(sent)]
        if isinstance(sent, dict):
            return {
                made_storable(name): self._stored(item, f"{at}/{_escaped(made_storable(name))}")
                for name, item in sent.items()
            }
        return sent

    def _note(self, at: str, mend: Mend) -> None:
        self.repairs.append(Repair(at, mend))

    def _wrong(self, at: str, sentence: str) -> None:
        self.errors.append((at, sentence))


_NUMERAL: Final = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][-+]?\d{1,3})?")
_AS_SPECIFIED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?")
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,30}))?\s*(?:([zZ])|([-+]\d\d):?(\d\d)?)?"
)
_SEPARATORS: Final = re.compile(r"[\s-]+")
_BOOLS: Final = {"true": True, "false": False, "1": True, "0": False}

_READERS: Final[dict[Base, Callable[[Walk, Any, Field, str], tuple[Any, Any]]]] = {
    Base.TEXT: Walk._text,
    Base.NUMBER: Walk._number,
    Base.INT: Walk._int,
    Base.BOOL: Walk._bool,
    Base.TIME: Walk._time,
    Base.ENUM: Walk._enum,
}


def _time(sent: str) -> datetime | None:
    """An aware time, if the text is one; without a zone it is UTC."""
    match = _TIME.fullmatch(sent.strip())
    if match is None:
        return None
    day, clock, fraction, _, hours, minutes = match.groups()
    try:
        time = datetime.fromisoformat(f"{day}T{clock}").replace(
            microsecond=int((fraction or "0").ljust(6, "0")[:6]), tzinfo=UTC
        )
        if hours is not None:
            ahead = timedelta(hours=int(hours), minutes=int(hours[0] + (minutes or "0")))
            time -= ahead
    except (ValueError, OverflowError):
        return None
    return time


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _named(value: Any) -> str:
    """A value in a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, (int, Decimal)):
        return "a number"
    return f"'{made_storable(str(value), 40)}'"
