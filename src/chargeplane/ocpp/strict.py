"""Checks what we are about to send: strict out, lenient in.

The wire types forgive unknown fields, null for absent and numbers as text. For what somebody hands us to send (raw
calls) a strict twin of each type is made on first use: unknown fields and null refused, numbers must be numbers,
timestamps RFC 3339 with a zone, CustomData needs its vendorId and may have anything else.
"""

from __future__ import annotations

import functools
import types
import typing
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.ocpp.catalogue import CATALOGUE, unknown_action
from chargeplane.ocpp.fields import HIGHEST
from chargeplane.ocpp.problems import DECODE_ERRORS, explain
from chargeplane.ocpp.versions import OcppVersion


class CustomDataType(Struct, frozen=True, kw_only=True):
    """OCPP-J 2.0.1, 9: `vendorId` is required, further properties are free."""

    vendor_id: Annotated[str, Meta(max_length=255)] = msgspec.field(name="vendorId")


_TIMESTAMP: Final = Annotated[datetime, Meta(tz=True)]
_NUMBER: Final = int | float


def validate_payload(
    version: OcppVersion, action: str, payload: bytes, *, response: bool = False
) -> list[tuple[str, str]]:
    """What in a payload does not fit the schema of its action.

    Args:
        payload: JSON text of a request, or of a response.
    Returns:
        (JSON pointer, sentence) per wrong field, the first one found; empty where the payload is right.
    """
    spec = CATALOGUE[version].get(action)
    wire = spec and (spec.response if response else spec.request)
    if spec is None or wire is None:
        return [("", unknown_action(version, action).description)]
    try:
        payload.decode()
        _strict_decoder(wire).decode(payload)
        # Bounds of numbers stand in the wire types themselves.
        decoder = spec.response_decoder if response else spec.request_decoder
        assert decoder is not None
        decoder.decode(payload)
    except DECODE_ERRORS as error:
        problem = explain(error, version)
        return [(problem.pointer, problem.description)]
    return []


@functools.cache
def _strict_decoder(wire: type[Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_twin(wire))


@functools.cache
def _twin(wire: type[Struct]) -> type[Struct]:
    hints = typing.get_type_hints(wire, include_extras=True)
    required: list[tuple[str, Any]] = []
    optional: list[tuple[str, Any, Any]] = []
    steps: list[tuple[str, str, Decimal]] = []
    renamed = {}
    for field in msgspec.structs.fields(wire):
        kind = hints[field.name]
        renamed[field.name] = field.encode_name
        step = _step(kind)
        if step is not None:
            steps.append((field.name, field.encode_name, step))
        if field.required:
            required.append((field.name, _strict(kind)))
        else:
            optional.append((field.name, _strict(kind) | UnsetType, UNSET))

    def check_steps(self: Struct) -> None:
        for name, wire_name, step in steps:
            value = getattr(self, name)
            if value is not UNSET and abs(value) <= HIGHEST and Decimal(repr(value)) % step:
                raise ValueError(f"Expected a multiple of {step} in `{wire_name}`")

    return msgspec.defstruct(
        wire.__name__,
        [*required, *optional],
        kw_only=True,
        forbid_unknown_fields=True,
        rename=renamed,
        namespace={"__post_init__": check_steps} if steps else None,
    )


def _strict(kind: Any) -> Any:
    """The strict form of a field's type."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        inner, *metas = typing.get_args(kind)
        extra: dict[str, Any] = next((meta.extra for meta in metas if meta.extra), {})
        if extra.get("format") == "date-time":
            return _TIMESTAMP
        return _NUMBER if inner is Decimal else Annotated[(_strict(inner), *metas)]
    if origin in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
        return _strict(inner)
    if origin is tuple:
        return types.GenericAlias(tuple, (_strict(typing.get_args(kind)[0]), ...))
    if origin is dict:
        return CustomDataType
    if kind is Decimal:
        return _NUMBER
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _twin(kind)
    return kind


def _step(kind: Any) -> Decimal | None:
    """The step of a field that is sent in multiples of something (OCPP 1.6 limits: 0.1)."""
    for part in (kind, *typing.get_args(kind)):
        for meta in typing.get_args(part)[1:] if typing.get_origin(part) is Annotated else ():
            if isinstance(meta, Meta) and meta.extra and "multiple_of" in meta.extra:
                return Decimal(meta.extra["multiple_of"])
    return None
