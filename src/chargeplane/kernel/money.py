"""Money: a Decimal amount and an ISO 4217 currency. The one place that rounds money."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from msgspec import Struct

_MINOR_DIGITS: Final = {
    "BHD": 3,
    "CLP": 0,
    "HUF": 2,
    "ISK": 0,
    "JOD": 3,
    "JPY": 0,
    "KRW": 0,
    "KWD": 3,
    "OMR": 3,
    "TND": 3,
}


class Money(Struct, frozen=True, kw_only=True):
    """An amount in a currency.

    Args:
        amount: in major units (euros, not cents), unrounded.
        currency: ISO 4217 code, upper case.
    """

    amount: Decimal
    currency: str

    def rounded(self) -> Money:
        """The amount in the currency's minor units, half up (what a receipt shows)."""
        digits = _MINOR_DIGITS.get(self.currency, 2)
        return Money(amount=self.amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP), currency=self.currency)
