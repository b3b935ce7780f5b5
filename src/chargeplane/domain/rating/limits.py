"""The least and the most that a session costs, before and after taxes, when its parts are taxed differently.

Both limits hold (OCPI 2.3.0 mod_tariffs). What is above or below is shared out over the rates in proportion; where the amount after
taxes then still breaks its limit, parts move to a lower (or higher) rate until it does not; where even that is not enough, the
amount before taxes goes further. So taxes stay what their rates say, and the specification's examples come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

_NOTHING: Final = Decimal(0)
_ONE: Final = Decimal(1)


def at_most(
    nets: Sequence[Decimal], shares: Sequence[Decimal], before: Decimal, after: Decimal | None
) -> list[Decimal] | None:
    """Amounts before taxes that keep to the most; None where they do already.

    Args:
        nets: amounts before taxes, one for each set of taxes.
        shares: the taxes of each, as a part of one.
        before, after: the most before and after taxes.
    """
    net = sum(nets, _NOTHING)
    gross = _gross(nets, shares)
    if net <= before and (after is None or gross <= after):
        return None
    wanted = _scaled(nets, min(net, before))
    if after is None or _gross(wanted, shares) <= after:
        return wanted
    return _to_gross(wanted, shares, after)


def at_least(
    nets: Sequence[Decimal], shares: Sequence[Decimal], before: Decimal, after: Decimal | None
) -> list[Decimal] | None:
    """Amounts before taxes that reach the least; None where they do already. Where there are none, the first one is raised."""
    net = sum(nets, _NOTHING)
    gross = _gross(nets, shares)
    if net >= before and (after is None or gross >= after):
        return None
    wanted = _scaled(nets, max(net, before))
    if after is None or _gross(wanted, shares) >= after:
        return wanted
    if not any(wanted):
        return [after / (_ONE + shares[0]), *wanted[1:]]
    return _to_gross(wanted, shares, after)


def _gross(nets: Sequence[Decimal], shares: Sequence[Decimal]) -> Decimal:
    return sum((net * (_ONE + share) for net, share in zip(nets, shares, strict=True)), _NOTHING)


def _scaled(nets: Sequence[Decimal], to: Decimal) -> list[Decimal]:
    net = sum(nets, _NOTHING)
    if not net:
        return [to, *nets[1:]]
    scaled = [one * to / net for one in nets]
    largest = scaled.index(max(scaled))
    scaled[largest] += to - sum(scaled, _NOTHING)
    return scaled


def _to_gross(nets: list[Decimal], shares: Sequence[Decimal], after: Decimal) -> list[Decimal]:
    """Moves amounts between rates until they make `after` with taxes; changes the sum where that is not enough."""
    missing = after - _gross(nets, shares)
    rising = missing > 0
    used = [place for place, net in enumerate(nets) if net]
    target = max(used, key=lambda place: shares[place]) if rising else min(used, key=lambda place: shares[place])
    moved = list(nets)
    # From the rate that is furthest away first.
    for place in sorted(used, key=lambda one: abs(shares[one] - shares[target]), reverse=True):
        gap = shares[target] - shares[place]
        if not gap:
            continue
        part = min(moved[place], missing / gap)
        moved[place] -= part
        moved[target] += part
        missing -= part * gap
        if not missing:
            return moved
    moved[target] += missing / (_ONE + shares[target])
    return moved
