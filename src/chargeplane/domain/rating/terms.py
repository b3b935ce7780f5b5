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
        reservation: of what the reservation costs alone; a percentage.
        reference: of the agreement's item, shown with the line.
    """

    kind: DiscountKind
    value: Decimal
    dimension: TariffDimension | None = None
    reservation: bool = False
    reference: str | None = None


class SurchargeKind(enum.StrEnum):
    """By what a surcharge is counted."""

    SESSION = "session"
    ENERGY = "energy"
    PERCENT = "percent"


class Surcharge(Struct, frozen=True, kw_only=True):
    """More than the tariff says, such as a roaming partner's fee; taxed as energy is.

    Args:
        kind: once a session, for each kWh that was taken, or percent of the bill before taxes and surcharges.
        value: an amount before taxes in the tariff's currency, or percent.
        reference: of the agreement's item, shown with the line.
    """

    kind: SurchargeKind
    value: Decimal
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
    """What holds for one session beside its tariff. Allowances are used first, then discounts, then surcharges, each in their order.

    Args:
        waive_minimum: the tariff's `min_price` is not asked for.
        waive_reservation: a reservation costs nothing.
    """

    discounts: tuple[Discount, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    surcharges: tuple[Surcharge, ...] = ()
    waive_minimum: bool = False
    waive_reservation: bool = False
