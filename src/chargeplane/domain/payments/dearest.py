"""The most that a session can still cost: what holds are measured by."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.tariffs.model import Tariff, TariffDimension, TaxIncluded

_NOTHING: Final = Decimal(0)


class Dearest(Struct, frozen=True, kw_only=True):
    """The most that a tariff can add to what a session costs so far, taxes included.

    Args:
        per_hour: energy at full power with the dearest of time and parking.
        jump: what may be added at once, whatever the time: a step that is begun (`step_size`), a flat fee whose element holds only later.
    """

    per_hour: Decimal
    jump: Decimal


def with_tax(tariff: Tariff, vat: Decimal | None) -> Decimal:
    """What a price is to be multiplied by for the price with tax."""
    if tariff.tax_included is not TaxIncluded.NO or vat is None:
        return Decimal(1)
    return 1 + vat / 100


def dearest(tariff: Tariff, power_w: int) -> Dearest:
    """The most that it can add: each dimension by its dearest element.

    Args:
        power_w: the most the connector gives.
    """
    prices: dict[TariffDimension, Decimal] = {}
    steps: dict[TariffDimension, Decimal] = {}
    flats = _NOTHING
    for element in tariff.elements:
        if element.restrictions is not None and element.restrictions.about is not None:
            continue
        for component in element.price_components:
            price = component.price * with_tax(tariff, component.vat)
            kind = component.type
            if kind is TariffDimension.FLAT:
                # One that always holds is in what it costs from the start.
                flats += price if element.restrictions is not None else _NOTHING
                continue
            unit = 1000 if kind is TariffDimension.ENERGY else 3600
            prices[kind] = max(prices.get(kind, _NOTHING), price)
            steps[kind] = max(steps.get(kind, _NOTHING), price * max(component.step_size - 1, 0) / unit)
    return Dearest(
        per_hour=prices.get(TariffDimension.ENERGY, _NOTHING) * power_w / 1000
        + max(prices.get(TariffDimension.TIME, _NOTHING), prices.get(TariffDimension.PARKING_TIME, _NOTHING)),
        jump=sum(steps.values(), flats),
    )
