"""What a site host gets of what was earned at its places, by the items of its agreement.

Each CDR counts by the version of the terms that held when its session ended; a credit counts with what it takes back, below nothing. Each
line is rounded once, of the sums, so that a thousand sessions make no thousand roundings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.agreements.items import EnergyTerms, Item, RevenueShare, ShareBase
from chargeplane.domain.settlements.model import StatementLine, StatementLineKind
from chargeplane.kernel.money import Money

_NOTHING: Final = Decimal(0)


class Earned(Struct, frozen=True, kw_only=True):
    """CDRs together, by one version of an agreement's terms.

    Args:
        revenue: before tax.
    """

    version: int
    sessions: int
    energy_kwh: Decimal
    revenue: Decimal


def earned_of(version: int, cdrs: Iterable[tuple[bool, Decimal, Decimal]]) -> Earned:
    """The sums of CDRs: (whether it is a credit, Wh, before tax), credits below nothing."""
    sessions, energy, revenue = 0, _NOTHING, _NOTHING
    for credit, wh, excl in cdrs:
        sessions += -1 if credit else 1
        energy += wh / 1000
        revenue += excl
    return Earned(version=version, sessions=sessions, energy_kwh=energy, revenue=revenue)


def share_lines(items: Sequence[Item], earned: Earned, currency: str) -> list[StatementLine]:
    """What a site host gets.

    A share of the margin is one of the revenue less what the operator pays for the energy there (`energy_terms`); a margin below nothing is shared by
    nobody. Amounts in another currency than the agreement's are not there: agreements refuse them.
    """
    price = next(
        (one.price_per_kwh.amount for one in items if isinstance(one, EnergyTerms) and one.price_per_kwh is not None),
        None,
    )
    cost = None if price is None else price * earned.energy_kwh
    lines: list[StatementLine] = []

    def line(kind: StatementLineKind, name: str, amount: Decimal, **more: Decimal | None) -> None:
        lines.append(
            StatementLine(
                kind=kind,
                name=name,
                version=earned.version,
                sessions=earned.sessions,
                energy_kwh=earned.energy_kwh,
                amount=Money(amount=amount, currency=currency).rounded().amount,
                revenue=more.get("revenue"),
                energy_cost=more.get("energy_cost"),
                base=more.get("base"),
                percent=more.get("percent"),
                per_kwh=more.get("per_kwh"),
            )
        )

    for item in items:
        if isinstance(item, EnergyTerms) and price is not None and item.price_per_kwh is not None:
            name = item.product or item.supplier or "energy"
            line(StatementLineKind.ENERGY, name, price * earned.energy_kwh, per_kwh=price)
        if not isinstance(item, RevenueShare):
            continue
        if item.percent is not None:
            margin = item.base is ShareBase.MARGIN and cost is not None
            base = earned.revenue if not margin or cost is None else max(earned.revenue - cost, _NOTHING)
            line(
                StatementLineKind.REVENUE_SHARE,
                item.name,
                base * item.percent / 100,
                revenue=earned.revenue,
                energy_cost=cost if margin else None,
                base=base,
                percent=item.percent,
            )
        if item.per_kwh is not None:
            price_here = item.per_kwh.amount
            line(StatementLineKind.ENERGY_SHARE, item.name, price_here * earned.energy_kwh, per_kwh=price_here)
    return lines
