"""What a rating says: lines that explain every cent, totals, and what is to be paid."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.tariffs.model import ReservationRestriction, TariffDimension
from chargeplane.kernel.money import Money

NOTHING = Decimal(0)


class LineKind(enum.StrEnum):
    """What a line is."""

    PRICE = "price"
    ALLOWANCE = "allowance"
    DISCOUNT = "discount"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    SURCHARGE = "surcharge"


class CostGroup(enum.StrEnum):
    """Where a line counts: OCPI's total_fixed_cost, total_energy_cost, total_time_cost, total_parking_cost, total_reservation_cost."""

    FIXED = "fixed"
    ENERGY = "energy"
    TIME = "time"
    PARKING = "parking"
    RESERVATION = "reservation"
    ADJUSTMENT = "adjustment"
    """Of the whole bill: least, most, and discounts of it; in the total only."""


class Tax(Struct, frozen=True, kw_only=True):
    """A tax that is put on what the tariff names no tax for.

    Args:
        name: such as `GST`.
        percentage: of the price before taxes; several add up.
        account_number: of who pays it to the state.
        dimensions: on which; None: all.
    """

    name: str
    percentage: Decimal
    account_number: str | None = None
    dimensions: tuple[TariffDimension, ...] | None = None


class TaxAmount(Struct, frozen=True, kw_only=True):
    """What a tax makes of an amount (OCPI types, TaxAmount, with what it was put on).

    Args:
        percentage: None where it is not known.
        base: the amount before taxes.
    """

    name: str
    percentage: Decimal | None
    base: Decimal
    amount: Decimal
    account_number: str | None = None


class Cost(Struct, frozen=True, kw_only=True):
    """An amount before and after taxes; the difference is the sum of `taxes`."""

    excl: Decimal = NOTHING
    incl: Decimal = NOTHING
    taxes: tuple[TaxAmount, ...] = ()


class Line(Struct, frozen=True, kw_only=True):
    """One amount and why.

    Args:
        dimension: None for lines about the whole bill.
        element: index of the tariff's element; None where no element made it.
        component: index within the element.
        reservation: where the element is about a reservation.
        start, end: the slice of time.
        volume: as measured: Wh, seconds, or fees.
        billed: after `step_size`: Wh, seconds, or fees.
        price: per kWh, hour or fee, as the tariff says; percent for discounts of that kind.
        cost: unrounded (twelve decimals).
        meter_values: ordinals of the meter values it rests on, rising.
        reference: of the agreement's item that made it.
    """

    kind: LineKind
    group: CostGroup
    start: datetime
    end: datetime
    volume: Decimal
    billed: Decimal
    price: Decimal
    cost: Cost
    dimension: TariffDimension | None = None
    element: int | None = None
    component: int | None = None
    reservation: ReservationRestriction | None = None
    step_size: int = 1
    percent: bool = False
    meter_values: tuple[int, ...] = ()
    reference: str | None = None


class Rating(Struct, frozen=True, kw_only=True):
    """What a session costs.

    Args:
        tariff_id, tariff_version: by which it was rated.
        tax_included: whether the tariff's prices have taxes in them.
        lines: in the order of time; what is about the whole bill comes last.
        total: of all lines, unrounded.
        due: what is to be paid: in the currency's minor units, taxes by rate, so that they add up.
        groups: totals of lines by group, unrounded; groups without lines are left out.
        taxes_known: False where prices have taxes in them that the tariff does not name: `excl` then equals `incl`.
        energy_wh: in all, also what costs nothing.
        charging_s, parking_s, reserved_s: in all, seconds.
        used: how much of each allowance was used, in their order.
    """

    tariff_id: str
    tariff_version: int
    currency: str
    start: datetime | None
    end: datetime | None
    lines: Sequence[Line]
    total: Cost
    due: Cost
    groups: dict[CostGroup, Cost]
    taxes_known: bool
    energy_wh: Decimal
    charging_s: Decimal
    parking_s: Decimal
    reserved_s: Decimal
    used: tuple[Decimal, ...] = ()

    @property
    def due_excl(self) -> Money:
        """What is to be paid, before taxes."""
        return Money(amount=self.due.excl, currency=self.currency)

    @property
    def due_incl(self) -> Money:
        """What is to be paid."""
        return Money(amount=self.due.incl, currency=self.currency)


def summed(costs: Iterable[Cost]) -> Cost:
    """The costs together; taxes of one name and percentage are one."""
    excl = incl = NOTHING
    taxes: dict[tuple[str, Decimal | None, str | None], tuple[Decimal, Decimal]] = {}
    for cost in costs:
        excl += cost.excl
        incl += cost.incl
        for tax in cost.taxes:
            key = (tax.name, tax.percentage, tax.account_number)
            base, amount = taxes.get(key, (NOTHING, NOTHING))
            taxes[key] = (base + tax.base, amount + tax.amount)
    return Cost(
        excl=excl,
        incl=incl,
        taxes=tuple(
            TaxAmount(name=name, percentage=percentage, base=base, amount=amount, account_number=account)
            for (name, percentage, account), (base, amount) in taxes.items()
        ),
    )
