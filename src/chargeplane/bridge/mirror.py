"""Structs of the domain that have the shape of a wire type, field by field under the same Python names."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from chargeplane.kernel.time import rfc3339


def as_wire(kind: type[Struct], value: Struct) -> Any:
    """The wire struct with the values of the domain's; what the domain has no field for is left out."""
    made: dict[str, Any] = {}
    for name, inner in _fields(kind):
        given = getattr(value, name, None)
        if given is not None:
            made[name] = _as(inner, given)
    return kind(**made)


def _as(kind: Any, value: Any) -> Any:
    if isinstance(value, Struct):
        return as_wire(kind, value)
    if isinstance(value, enum.Enum):
        return kind(value.value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(_as(kind, one) for one in value)
    return value


@cache
def _fields(kind: type[Struct]) -> list[tuple[str, Any]]:
    return [(one.name, _bare(one.type)) for one in msgspec.structs.fields(kind)]


def _bare(kind: Any) -> Any:
    """The type itself: without None, limits, and the tuple around it."""
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            kind = get_args(kind)[0]
        elif origin is Union or origin is UnionType:
            kind = next(one for one in get_args(kind) if one is not NoneType)
        elif origin is tuple:
            kind = get_args(kind)[0]
        else:
            return kind
