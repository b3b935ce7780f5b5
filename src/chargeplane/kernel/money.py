"""Money: a Decimal amount and an ISO 4217 currency. The one place that rounds money."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
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

    def shared(self, parts: Sequence[Decimal]) -> list[Decimal]:
        """This amount, already in minor units, divided as `parts` are, each in minor units, so that they make it.

        A part is less than one minor unit away from its own value where the parts make about the amount.

        Args:
            parts: unrounded; what is left over goes to those that lost most by rounding.
        """
        unit = Decimal(1).scaleb(-_MINOR_DIGITS.get(self.currency, 2))
        given = [part.quantize(unit, ROUND_FLOOR) for part in parts]
        left = int((self.amount - sum(given, Decimal(0))) / unit)
        order = sorted(range(len(parts)), key=lambda number: given[number] - parts[number])
        for turn in range(abs(left) if parts else 0):
            place = order[turn % len(order)] if left > 0 else order[-1 - turn % len(order)]
            given[place] += unit if left > 0 else -unit
        return given

    def view(self) -> MoneyView:
        """The amount as the API shows it: in minor units, with more decimals where it has more."""
        rounded = self.rounded().amount
        value = rounded if rounded == self.amount else self.amount.normalize()
        return MoneyView(amount=f"{value:f}", currency=self.currency)


class MoneyView(Struct, frozen=True, kw_only=True):
    """An amount in a currency; a decimal number as text, so that nobody reads it as a float."""

    amount: str
    currency: str
