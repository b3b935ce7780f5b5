"""Messages about transactions that say nothing: no id, time, token, place or value.

A repair forgives what is missing, field by field; where all of it is missing there is nothing to match a transaction by
and nothing to book, and a session made of it, or ended by it, would be an invention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import UNSET, Struct

_TELLING: Final[Mapping[str, Callable[[Any], tuple[object, ...]]]] = {
    "StartTransactionRequest": lambda told: (told.connector_id, told.id_tag, told.meter_start, told.timestamp),
    "StopTransactionRequest": lambda told: (
        told.transaction_id,
        told.id_tag,
        told.meter_stop,
        told.timestamp,
        told.transaction_data,
    ),
    # 1.6 names connector and transaction, 2.x the EVSE
    "MeterValuesRequest": lambda told: (
        getattr(told, "connector_id", None),
        getattr(told, "transaction_id", None),
        getattr(told, "evse_id", None),
        told.meter_value,
    ),
    "TransactionEventRequest": lambda told: (
        told.timestamp,
        told.evse,
        told.id_token,
        told.meter_value,
        None if told.transaction_info is None else told.transaction_info.transaction_id,
    ),
}
"""By message type, what a transaction could be matched by or what could be booked."""


def tells_nothing(request: Struct) -> bool:
    """Whether a repaired message about a transaction holds nothing to match or to book; False for all other messages."""
    telling = _TELLING.get(type(request).__name__)
    return telling is not None and all(map(_blank, telling(request)))


def _blank(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_blank, value))
    if isinstance(value, Struct):
        return all(_blank(getattr(value, name)) for name in value.__struct_fields__)
    return value is None or value is UNSET or value == ""
