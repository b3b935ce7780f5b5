"""Questions about many variables as messages that a station can take."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, TypeVar

from msgspec import Struct, json

from chargeplane.domain.variables import VariableName, VariableSetting, canonical, folded

T = TypeVar("T")

ITEMS_UNKNOWN: Final = 50
"""Items of one message to a station that told no limit."""

_ENVELOPE: Final = 100  # the frame around the payload: message type, id, action
_AROUND: Final = 170  # names of fields and what is written beside the texts of an item


class MessageLimits(Struct, frozen=True, kw_only=True):
    """What a station takes in one message (OCPP 2.x DeviceDataCtrlr ItemsPerMessage, BytesPerMessage); None: it told nothing."""

    items: int | None = None
    bytes: int | None = None


def split(
    items: Iterable[T],
    limits: MessageLimits,
    *,
    same: Callable[[T], Hashable],
    size: Callable[[T], int],
) -> list[list[T]]:
    """The items in their order, in as few messages as the limits allow.

    Two that say something of the same never share a message (OCPP 2.0.1 B05.FR.13). An item that is too large alone goes alone: the
    station says what it thinks of it.

    Args:
        same: what must not come twice in a message.
        size: upper bound of an item's bytes.
    """
    most = max(1, limits.items or ITEMS_UNKNOWN)
    room = None if not limits.bytes else max(0, limits.bytes - _ENVELOPE)
    parts: list[list[T]] = []
    seen: set[Hashable] = set()
    used = 0
    for item in items:
        mark, bytes_ = same(item), size(item)
        full = not parts or len(parts[-1]) >= most or (room is not None and used + bytes_ > room)
        if full or mark in seen:
            parts.append([])
            seen, used = set(), 0
        parts[-1].append(item)
        seen.add(mark)
        used += bytes_
    return parts


def split_variables(variables: Sequence[VariableName], limits: MessageLimits) -> list[list[VariableName]]:
    """Names (or settings) of variables as messages."""
    return split(variables, limits, same=lambda name: folded(canonical(name).place), size=size_of)


def size_of(name: VariableName) -> int:
    """Upper bound of the bytes that an item of GetVariables or SetVariables takes."""
    name_bytes = sum(
        len(json.encode(text))
        for text in (name.component, name.component_instance, name.variable, name.variable_instance)
        if text is not None
    )
    value = len(json.encode(name.value)) if isinstance(name, VariableSetting) else 0
    return name_bytes + value + _AROUND
