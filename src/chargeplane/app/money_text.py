"""Money as texts: {"amount": "12.34", "currency": "EUR"}."""

from __future__ import annotations

from decimal import Decimal

from chargeplane.kernel.money import MoneyView


def money_text(amount: Decimal | None, currency: str | None) -> MoneyView | None:
    """An amount for an answer, as it is; None where it is not known."""
    if amount is None or currency is None:
        return None
    return MoneyView(amount=f"{amount:f}", currency=currency)
