"""How a site's limit is divided."""

from __future__ import annotations

from decimal import Decimal

from chargeplane.app.static_limits import DivisionRule, divided


def test_a_site_s_limit_is_divided_and_never_exceeded() -> None:
    assert divided(Decimal(100), DivisionRule.EQUAL, [1, 5, 1]) == [Decimal("33.3")] * 3
    shares = divided(Decimal("63"), DivisionRule.BY_EVSES, [1, 2, 4])
    assert shares == [9, 18, 36]
    assert divided(Decimal(1), DivisionRule.EQUAL, []) == []
