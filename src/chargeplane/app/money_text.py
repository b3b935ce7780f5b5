"""Money as texts: {"amount": "12.34", "currency": "EUR"}."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct


class MoneyText(Struct, frozen=True, kw_only=True):
    """An amount in a currency; a decimal number as text, so that nobody reads it as a float."""

    amount: str
    currency: str


def money_text(amount: Decimal | None, currency: str | None) -> MoneyText | None:
    """An amount for an answer, as it is; None where it is not known."""
    if amount is None or currency is None:
        return None
    return MoneyText(amount=f"{amount:f}", currency=currency)
