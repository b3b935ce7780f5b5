"""What an agreement changes of a tariff's prices, as data."""

from __future__ import annotations

import enum
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.tariffs.model import TariffDimension


class DiscountKind(enum.StrEnum):
    """How a discount counts."""

    PERCENT = "percent"
    ABSOLUTE = "absolute"


class Discount(Struct, frozen=True, kw_only=True):
    """Less than the tariff says.

    Args:
        kind: percent of the price, or an amount less per kWh, hour or fee.
        value: percent (0 to 100), or an amount in the tariff's currency, with or without taxes as the tariff's prices.
        dimension: whose price; None: the whole bill, after the tariff's least and most; an absolute one is then per session.
        reference: of the agreement's item, shown with the line.
    """

    kind: DiscountKind
    value: Decimal
    dimension: TariffDimension | None = None
    reference: str | None = None


class Allowance(Struct, frozen=True, kw_only=True):
    """The first of something is free.

    Args:
        dimension: ENERGY, TIME, PARKING_TIME, or FLAT.
        volume: Wh, seconds, or fees that are left of it.
        reference: of the agreement's item.
    """

    dimension: TariffDimension
    volume: Decimal
    reference: str | None = None


class Terms(Struct, frozen=True, kw_only=True):
    """What holds for one session beside its tariff. Allowances are used first, then discounts, each in their order.

    Args:
        waive_minimum: the tariff's `min_price` is not asked for.
        waive_reservation: a reservation costs nothing.
    """

    discounts: tuple[Discount, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    waive_minimum: bool = False
    waive_reservation: bool = False
