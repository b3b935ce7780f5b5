"""What virtual stations do when they are asked, subject by subject.

A subject's module has `HANDLERS16` and `HANDLERS2X`: by action, from the station and the request to the reply. One that changes what
another one does has `WRAPS16` and `WRAPS2X` too: by action, from the handler that is there to the one that stands in its place. What it keeps of a
station is a class of its own, made by `station.state_of` when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from chargeplane.simulator.subjects import (
    authorization,
    customers,
    der_control,
    device_model,
    display_and_cost,
    firmware,
    logs,
    monitors,
    security,
    smart_charging,
)

if TYPE_CHECKING:
    from chargeplane.simulator.dialect import Reply
    from chargeplane.simulator.station import VirtualStation

Handler = Callable[["VirtualStation", Any], "Reply"]

SUBJECTS: Final[tuple[ModuleType, ...]] = (
    authorization,
    customers,
    device_model,
    firmware,
    logs,
    monitors,
    display_and_cost,
    smart_charging,
    der_control,
    security,
)
"""The modules; a later one's handler stands in place of an earlier one's."""


def handlers(name: str) -> dict[str, Handler]:
    """All subjects' handlers by action.

    Args:
        name: `HANDLERS16` or `HANDLERS2X`.
    """
    merged: dict[str, Handler] = {}
    for subject in SUBJECTS:
        merged |= getattr(subject, name)
    return merged


def wrapped(name: str, table: dict[str, Handler]) -> dict[str, Handler]:
    """The handlers, those that subjects wrap among them.

    Args:
        name: `WRAPS16` or `WRAPS2X`.
        table: all handlers by action.
    """
    for subject in SUBJECTS:
        for action, wrap in getattr(subject, name, {}).items():
            table = {**table, action: wrap(table[action])}
    return table
