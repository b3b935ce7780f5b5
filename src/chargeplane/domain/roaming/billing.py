"""What our driver pays for a session at a partner's station, by the agreement that applies.

- A tariff of the agreement that names the place (`DE*ABC*LOC1`) prices it.
- Else, where the agreement has a roaming fee: what the partner asks, and the fee.
- Else, where the agreement has a tariff for everywhere: that one.
- Else what the partner asks.

What the partner asks is its tariff where its CDR agrees with it; else the sum of its CDR as one fee, held until a person looked at it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from chargeplane.domain.agreements.items import Item, RoamingFee, TariffItem
from chargeplane.domain.roaming.records import CdrSaid
from chargeplane.domain.tariffs.model import PriceComponent, Tariff, TariffDimension, TariffElement, TaxIncluded

_NOTHING: Final = Decimal(0)
_SUM: Final = "partner-total"


class PricedAs(enum.StrEnum):
    """By what a driver is billed."""

    OUR_TARIFF = "our_tariff"
    PASSED_THROUGH = "passed_through"


def tariff_item(items: Sequence[Item], place: str) -> TariffItem | None:
    """The tariff of an agreement for a partner's place; None: what the partner asks is passed through."""
    tariffs = [one for one in items if isinstance(one, TariffItem)]
    here = place.lower()
    party = here.rpartition("*")[0]
    for one in tariffs:
        names = {name.lower() for name in one.location_ids}
        if here in names or party in names:
            return one
    if any(isinstance(one, RoamingFee) for one in items):
        return None
    return next((one for one in tariffs if not one.location_ids), None)


def as_one_fee(said: CdrSaid, at: datetime) -> Tariff:
    """A tariff that asks for exactly what a CDR asks for."""
    price = said.total_cost
    percents = {one.percentage for one in price.taxes if one.percentage is not None}
    vat: Decimal | None = None
    if len(price.taxes) == 1 and len(percents) == 1:
        vat = percents.pop()
    elif price.taxes and price.before_taxes:
        taxes = sum((one.amount for one in price.taxes), _NOTHING)
        vat = (taxes * 100 / price.before_taxes).quantize(Decimal("0.0001"))
    return Tariff(
        id=_SUM,
        last_updated=at,
        currency=said.currency,
        tax_included=TaxIncluded.NO,
        elements=(
            TariffElement(
                price_components=(
                    PriceComponent(type=TariffDimension.FLAT, price=max(price.before_taxes, _NOTHING), vat=vat),
                )
            ),
        ),
    )
