"""The objects of OCPI as data: fields with their types, limits and cardinality, read from the structs.

Repairs, converters between versions and the comparison with the specification's tables all walk this instead of knowing objects by name.
"""

from __future__ import annotations

import functools
import types
import typing
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct


class Base(Enum):
    """What a field's value is on the wire."""

    TEXT = "text"
    NUMBER = "number"
    INT = "int"
    BOOL = "bool"
    TIME = "time"
    ENUM = "enum"
    OBJECT = "object"


class Field(Struct, frozen=True, kw_only=True):
    """A field of an object.

    Args:
        name: on the wire and in the struct: OCPI's names are Python's.
        base: of the value, or of each item where there are many.
        required: cardinality 1 or +.
        many: cardinality * or +.
        max_length: of text, in characters; None where there is no limit.
        low, high: of whole numbers.
        ci: text that is compared without case.
        url: text that is a URL.
        choices: the values of an enumeration.
        open: whether it takes others as well (OpenEnum).
        shape: the struct of an object.
    """

    name: str
    base: Base
    required: bool
    many: bool
    max_length: int | None = None
    low: int | None = None
    high: int | None = None
    ci: bool = False
    url: bool = False
    choices: type[StrEnum] | None = None
    open: bool = False
    shape: type[Struct] | None = None

    @property
    def cardinality(self) -> str:
        """As the specification writes it: 1, ?, * or +."""
        return ("+" if self.required else "*") if self.many else ("1" if self.required else "?")


@functools.cache
def fields_of(shape: type[Struct]) -> dict[str, Field]:
    """The fields of an object by name, in the order of the specification."""
    hints = typing.get_type_hints(shape, include_extras=True)
    return {
        field.name: _field(field.name, hints[field.name], field.required) for field in msgspec.structs.fields(shape)
    }


def _field(name: str, kind: Any, required: bool) -> Field:
    kind, extra = _bare(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = (arg for arg in typing.get_args(kind) if arg is not types.NoneType)
        kind, extra = _bare(kind)
    many = typing.get_origin(kind) is tuple
    if many:
        kind, extra = _bare(typing.get_args(kind)[0])
    known: dict[str, Any] = {"name": name, "required": required, "many": many, **extra}
    if isinstance(kind, type) and issubclass(kind, Struct):
        return Field(base=Base.OBJECT, shape=kind, **known)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return Field(base=Base.ENUM, choices=kind, **known)
    if "choices" in extra:
        return Field(base=Base.ENUM, open=True, **known)
    base = {str: Base.TEXT, Decimal: Base.NUMBER, int: Base.INT, bool: Base.BOOL, datetime: Base.TIME}[kind]
    return Field(base=base, **known)


def _bare(kind: Any) -> tuple[Any, dict[str, Any]]:
    """A type without its Annotated, and what that said."""
    said: dict[str, Any] = {}
    if typing.get_origin(kind) is Annotated:
        kind, *metas = typing.get_args(kind)
        for meta in metas:
            assert isinstance(meta, Meta)
            extra = meta.extra or {}
            if meta.max_length is not None:
                said["max_length"] = meta.max_length
            if meta.ge is not None:
                said |= {"low": meta.ge, "high": meta.le}
            if "open" in extra:
                said["choices"] = extra["open"]
            said |= {name: True for name in ("ci", "url") if name in extra}
    return kind, said
