"""Small conversions that both translations use: texts and numbers as the rest of the system may hold them."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from chargeplane.kernel.text import made_storable

MAX_EVSE_ID: Final = 9_999
"""Highest EVSE or connector number we keep by number. One station reported 1,634,030,126 connectors; the largest sites
behind one controller have hundreds."""

MAX_TEXT: Final = 255
"""Characters the database keeps of a station's descriptive texts."""


def text(value: str | None, limit: int = MAX_TEXT) -> str | None:
    """The text without surrounding space, storable and bounded; None where nothing is left."""
    if not value:
        return None
    return made_storable(value.strip(), limit) or None


def number(value: int | None) -> int | None:
    """An EVSE or connector number that may be kept, else None."""
    return value if value is not None and 0 <= value <= MAX_EVSE_ID else None


def decimal(value: int | Decimal | None) -> Decimal | None:
    """An integer (or, after a repair, a Decimal) as Decimal."""
    return None if value is None else Decimal(value)
