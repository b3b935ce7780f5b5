"""Physical quantities as Decimals with a unit type. Floats never carry energy or money.

Numbers are finite and bounded here, once, so that no sNaN, Infinity or 1E+999999 reaches a rule or the database.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NewType

Wh = NewType("Wh", Decimal)
"""Energy in watt hours."""

W = NewType("W", Decimal)
"""Power in watts."""

A = NewType("A", Decimal)
"""Current in amperes."""

V = NewType("V", Decimal)
"""Voltage in volts."""

MAX_MAGNITUDE: Final = Decimal(10) ** 15
"""No meter value, power or amount of the field is larger: 10^15 Wh is a thousand TWh."""

MAX_SCALE: Final = 12
"""Digits behind the decimal point that are kept; stations send floats printed as text with up to 17."""

_QUANTUM: Final = Decimal(1).scaleb(-MAX_SCALE)


def bounded(value: Decimal) -> Decimal | None:
    """The value as the rest of the system may hold it: finite, within +-10^15, at most 12 decimals.

    Args:
        value: any Decimal, also NaN, sNaN, Infinity or 1E+999999.
    Returns:
        The value (rounded half even to 12 decimals where it had more), or None where it is not a usable number.
    """
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):  # NaN, sNaN, Infinity carry a letter there
        return None
    if exponent == 0 or (-MAX_SCALE <= exponent <= 0 and value.adjusted() <= 15):
        return value if value.adjusted() <= 15 else None
    if not value:
        return Decimal(0)
    if value.adjusted() > 15:
        return None
    if value.adjusted() < -MAX_SCALE:
        return Decimal(0)
    return value.quantize(_QUANTUM) if exponent < -MAX_SCALE else value.quantize(Decimal(1))
