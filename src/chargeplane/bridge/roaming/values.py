"""Values as OCPI 2.3.0 writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

Document = dict[str, Any]
"""A canonical document before it is written."""

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_FOUR: Final = Decimal("0.0001")


def written(document: Document) -> bytes:
    """The document as JSON."""
    return _encode(document)


def moment(at: datetime) -> str:
    """OCPI DateTime: UTC with milliseconds, within its 25 characters (OCPI 2.3.0 types, DateTime)."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: Decimal) -> Decimal:
    """OCPI number: four decimals where it has more, no exponent, no zeros behind."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -4:
        value = value.quantize(_FOUR)
    plain = value.normalize()
    return (
        plain.quantize(Decimal(1))
        if isinstance(plain.as_tuple().exponent, int) and plain == plain.to_integral()
        else plain
    )


def filled(fields: Mapping[str, Any]) -> Document:
    """The fields that say something: neither absent nor an empty list."""
    return {name: value for name, value in fields.items() if value is not None and value != [] and value != ()}


def plain(value: Any) -> Any:
    """A struct of the domain that is named as in OCPI, as JSON values; times as OCPI writes them."""
    if isinstance(value, Struct):
        return filled({name: plain(getattr(value, name)) for name in value.__struct_fields__})
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def fields(value: Struct, names: Iterable[str]) -> Document:
    """Some fields of such a struct."""
    return filled({name: plain(getattr(value, name)) for name in names})
