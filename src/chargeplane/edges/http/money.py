"""Money as REST shows it: {"amount": "12.34", "currency": "EUR"}, and amounts before and after taxes."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.rating.result import Cost
from chargeplane.kernel.money import MoneyView


class TaxView(Struct, frozen=True, kw_only=True):
    """What a tax makes of an amount.

    Args:
        percentage: null where it is not known.
        base: the amount before taxes.
    """

    name: str
    percentage: Decimal | None
    base: MoneyView
    amount: MoneyView
    account_number: str | None


class CostView(Struct, frozen=True, kw_only=True):
    """An amount before and after taxes."""

    excl: MoneyView
    incl: MoneyView
    taxes: list[TaxView]


def money_view(amount: Decimal, currency: str, *, exact: bool = False) -> MoneyView:
    """An amount for an answer.

    Args:
        exact: unrounded amounts without zeros at the end; else as it is.
    """
    return MoneyView(amount=f"{_short(amount) if exact else amount:f}", currency=currency)


def cost_view(cost: Cost, currency: str, *, exact: bool = False) -> CostView:
    """An amount before and after taxes, for an answer."""
    return CostView(
        excl=money_view(cost.excl, currency, exact=exact),
        incl=money_view(cost.incl, currency, exact=exact),
        taxes=[
            TaxView(
                name=tax.name,
                percentage=tax.percentage,
                base=money_view(tax.base, currency, exact=exact),
                amount=money_view(tax.amount, currency, exact=exact),
                account_number=tax.account_number,
            )
            for tax in cost.taxes
        ],
    )


def _short(value: Decimal) -> Decimal:
    shown = value.normalize()
    return shown.quantize(Decimal(1)) if int(shown.as_tuple().exponent) > 0 else shown
