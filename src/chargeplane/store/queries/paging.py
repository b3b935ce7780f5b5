"""Pages by position: stable while rows are added, and as fast on the last page as on the first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from chargeplane.store.database import Connection, PooledConnection

Position = tuple[Any, ...]
"""The sort key of the last item a page held."""

Db: TypeAlias = "Connection | PooledConnection"
"""What a query runs on: a connection, within a transaction where it changes something."""


class Where:
    """Conditions joined by AND, with numbered parameters."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """Adds a condition; each `?` in it stands for one of `values`."""
        pieces = condition.split("?")
        assert len(pieces) == len(values) + 1, condition
        text = pieces[0]
        for value, piece in zip(values, pieces[1:], strict=True):
            self.values.append(value)
            text += f"${len(self.values)}{piece}"
        self.conditions.append(text)

    def add_if(self, condition: str, value: Any) -> None:
        """Adds a condition unless its value is None."""
        if value is not None:
            self.add(condition, value)

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "true"


def like(text: str) -> str:
    """A LIKE pattern that finds the text anywhere, in lower case."""
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def fits(position: Position | None, kinds: Sequence[type]) -> bool:
    """Whether a position that came back from a caller has the shape it was given out with."""
    if position is None:
        return True
    return len(position) == len(kinds) and all(
        isinstance(value, kind) and not isinstance(value, bool) and _in_range(value)
        for value, kind in zip(position, kinds, strict=True)
    )


def _in_range(value: object) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return not isinstance(value, datetime) or value.tzinfo is not None
