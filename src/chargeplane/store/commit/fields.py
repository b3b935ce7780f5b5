"""Values as PostgreSQL's binary protocol takes them, length first, so that a column of a batch is one `bytes.join`.

asyncpg would encode the arrays of a batch element by element, with a type check for each. Here
each field is encoded once, where its row is made, and constants (a station's key, an action's name) not even that.

Every function returns 4 bytes of length and the value. They raise OverflowError, UnicodeEncodeError or struct.error for values that the
column could not hold: before the batch, where the culprit is known.
"""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

Field = bytes
"""A field ready to be sent."""

NULL: Final = b"\xff\xff\xff\xff"
TRUE: Final = b"\x00\x00\x00\x01\x01"
FALSE: Final = b"\x00\x00\x00\x01\x00"

_LENGTHS: Final = tuple(struct.pack(">i", length) for length in range(4096))
_length: Final = struct.Struct(">i").pack
_int4: Final = struct.Struct(">ii").pack
_int8: Final = struct.Struct(">iq").pack
_SMALL: Final = tuple(_int4(4, number) for number in range(256))
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(2000, 1, 1).toordinal()
_DAY_US: Final = 86_400_000_000
_NO_OFFSET: Final = timedelta(0)


def raw(value: bytes) -> Field:
    """Text that is UTF-8 already, or a bytea."""
    size = len(value)
    return (_LENGTHS[size] if size < 4096 else _length(size)) + value


def raw_or_null(value: bytes | None) -> Field:
    """`raw`, or NULL."""
    return NULL if value is None else raw(value)


def text(value: str) -> Field:
    """text."""
    encoded = value.encode()
    size = len(encoded)
    return (_LENGTHS[size] if size < 4096 else _length(size)) + encoded


def text_or_null(value: str | None) -> Field:
    """text, or NULL."""
    return NULL if value is None else text(value)


def int4(value: int) -> Field:
    """integer."""
    return _SMALL[value] if 0 <= value < 256 else _int4(4, value)


def int4_or_null(value: int | None) -> Field:
    """integer, or NULL."""
    return NULL if value is None else int4(value)


def int8(value: int) -> Field:
    """bigint."""
    return _int8(8, value)


def boolean(value: bool) -> Field:
    """boolean."""
    return TRUE if value else FALSE


def timestamp(value: datetime) -> Field:
    """timestamp with time zone; a naive value is taken as UTC."""
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    since = value - _EPOCH
    return _int8(8, since.days * _DAY_US + since.seconds * 1_000_000 + since.microseconds)


def timestamp_or_null(value: datetime | None) -> Field:
    """timestamp with time zone, or NULL."""
    return NULL if value is None else timestamp(value)


def day(value: date) -> Field:
    """date."""
    return _int4(4, value.toordinal() - _EPOCH_DAY)


def number(value: Decimal) -> Field:
    """numeric, sent as its text: the statement casts it."""
    return text(str(value))


def number_or_null(value: Decimal | None) -> Field:
    """numeric as text, or NULL."""
    return NULL if value is None else text(str(value))


_OIDS: Final = {"bool": 16, "bytea": 17, "int8": 20, "int4": 23, "text": 25, "date": 1082, "timestamptz": 1184}
_ARRAY_OIDS: Final = {
    "bool": 1000,
    "bytea": 1001,
    "int8": 1016,
    "int4": 1007,
    "text": 1009,
    "date": 1182,
    "timestamptz": 1185,
}
_header: Final = struct.Struct(">iiiii").pack


def array(type_: str, column: tuple[Field, ...]) -> bytes:
    """A column as a one-dimensional array in binary form.

    Args:
        type_: PostgreSQL type of the elements.
        column: at least one field.
    """
    return _header(1, 1, _OIDS[type_], len(column), 1) + b"".join(column)


def take_arrays_as_bytes(connection: Any) -> None:
    """Makes the connection take array parameters as made by `array`.

    asyncpg's public `set_type_codec` refuses array types, so this registers the codec one layer below; the tests of the group commit
    fail at once where an asyncpg release changes that.
    """
    settings = connection._protocol.get_settings()
    for name, oid in _ARRAY_OIDS.items():
        settings.add_python_codec(oid, f"_{name}", "pg_catalog", [], "scalar", bytes, bytes, "binary")
