"""From slices to a bill: amounts with taxes, what an agreement changes, the least and the most, and what is to be paid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from chargeplane.domain.rating.limits import at_least, at_most
from chargeplane.domain.rating.result import Cost, CostGroup, Line, LineKind, Rating, Tax, TaxAmount, summed
from chargeplane.domain.rating.slices import Slice
from chargeplane.domain.rating.terms import Discount, DiscountKind, Surcharge, SurchargeKind, Terms
from chargeplane.domain.tariffs.model import PriceComponent, Tariff, TariffDimension, TaxIncluded
from chargeplane.kernel.money import Money

_NOTHING: Final = Decimal(0)
_ONE: Final = Decimal(1)
_HUNDRED: Final = Decimal(100)
_QUANTUM: Final = Decimal(1).scaleb(-12)
_TINY: Final = Decimal(1).scaleb(-9)
"""Less than this is nothing: what rounding to twelve decimals may leave of an amount and its taxes."""
_FREE: Final = Cost()

PER: Final = {
    TariffDimension.ENERGY: Decimal(1000),
    TariffDimension.TIME: Decimal(3600),
    TariffDimension.PARKING_TIME: Decimal(3600),
    TariffDimension.FLAT: Decimal(1),
}
"""Wh, seconds or fees that a price is for."""

VAT: Final = "VAT"

_Rates = tuple[tuple[str, Decimal, str | None], ...]
"""Taxes on an amount: name, percent, account number."""


class _Priced:
    """A price line and what is left of it after allowances and discounts."""

    __slots__ = ("billed", "left", "line", "rates")

    def __init__(self, line: Line, rates: _Rates) -> None:
        self.line = line
        self.rates = rates
        self.billed = line.billed
        self.left = line.cost


class Bill:
    """A bill in the making.

    Args:
        taxes: for components that name no tax.
    """

    def __init__(self, tariff: Tariff, taxes: Sequence[Tax], terms: Terms) -> None:
        self._tariff = tariff
        self._taxes = taxes
        self._terms = terms
        self._included = tariff.tax_included is TaxIncluded.YES
        self._priced: list[_Priced] = []
        self._more: list[Line] = []
        self._open_rates: dict[_Rates, Cost] = {}
        self._taxes_known = True

    def price(self, piece: Slice) -> None:
        """Adds a slice."""
        component, group = piece.price.price, piece.group
        if group is CostGroup.RESERVATION and self._terms.waive_reservation:
            return
        rates = self._rates(component)
        volume = piece.volume
        billed = volume + piece.added
        cost = self._cost(component.price * billed / PER[component.type], rates)
        line = Line(
            kind=LineKind.PRICE,
            group=group,
            dimension=component.type,
            element=piece.price.element,
            component=piece.price.component,
            reservation=piece.price.reservation,
            step_size=component.step_size,
            start=piece.start,
            end=piece.end,
            volume=volume,
            billed=billed,
            price=component.price,
            cost=cost,
            meter_values=tuple(sorted(piece.meter_values)),
        )
        self._priced.append(_Priced(line, rates))

    def unit(self, component: PriceComponent) -> Cost:
        """What one kWh, hour or fee costs."""
        return self._cost(component.price, self._rates(component))

    def close(
        self,
        *,
        start: datetime | None,
        end: datetime | None,
        session: bool,
        energy_wh: Decimal,
        charging_s: Decimal,
        parking_s: Decimal,
        reserved_s: Decimal,
    ) -> Rating:
        """The finished bill.

        Args:
            session: there was more than a reservation, so the tariff's least and most hold.
        """
        used = self._allow()
        for discount in self._terms.discounts:
            if discount.dimension is not None or discount.reservation:
                self._discount(discount)
        if start is not None and end is not None:
            if session:
                self._limit(start, end)
            for discount in self._terms.discounts:
                if discount.dimension is None and not discount.reservation:
                    self._discount_all(discount, start, end)
            if session:
                self._surcharge(energy_wh, start, end)
        lines = [priced.line for priced in self._priced] + self._more
        groups: dict[CostGroup, list[Cost]] = {}
        for line in lines:
            groups.setdefault(line.group, []).append(line.cost)
        sums = {group: summed(costs) for group, costs in groups.items()}
        total = next(iter(sums.values())) if len(sums) == 1 else summed(sums.values())
        return Rating(
            tariff_id=self._tariff.id,
            tariff_version=self._tariff.version,
            currency=self._tariff.currency,
            start=start,
            end=end,
            lines=lines,
            total=total,
            due=_due(total, self._tariff.currency),
            groups=sums,
            taxes_known=self._taxes_known,
            energy_wh=energy_wh,
            charging_s=charging_s,
            parking_s=parking_s,
            reserved_s=reserved_s,
            used=used,
        )

    # Taxes

    def _rates(self, component: PriceComponent) -> _Rates:
        tariff = self._tariff
        if tariff.tax_included is TaxIncluded.NOT_APPLICABLE:
            return ()
        if component.vat is not None:
            return ((VAT, component.vat, None),)
        found = tuple(
            (tax.name, tax.percentage, tax.account_number)
            for tax in self._taxes
            if tax.dimensions is None or component.type in tax.dimensions
        )
        if not found and self._included and component.price:
            self._taxes_known = False
        return found

    def _cost(self, amount: Decimal, rates: _Rates) -> Cost:
        """An amount as the tariff states amounts, with its taxes."""
        amount = amount.quantize(_QUANTUM, ROUND_HALF_EVEN)
        if not rates:
            return Cost(excl=amount, incl=amount)
        if not self._included:
            return _taxed(amount, rates)
        net = (amount / (_ONE + _share(rates))).quantize(_QUANTUM, ROUND_HALF_EVEN)
        taxes, left = [], amount - net
        for number, (name, percentage, account) in enumerate(rates):
            whole = (net * percentage / _HUNDRED).quantize(_QUANTUM, ROUND_HALF_EVEN)
            part = left if number == len(rates) - 1 else whole
            left -= part
            taxes.append(TaxAmount(name=name, percentage=percentage, base=net, amount=part, account_number=account))
        return Cost(excl=net, incl=amount, taxes=tuple(taxes))

    # Agreements

    def _allow(self) -> tuple[Decimal, ...]:
        used = []
        for allowance in self._terms.allowances:
            left = max(allowance.volume, _NOTHING)
            for priced in self._priced:
                line = priced.line
                dimension = line.dimension
                if (
                    dimension is None
                    or dimension is not allowance.dimension
                    or line.group is CostGroup.RESERVATION
                    or not left
                ):
                    continue
                volume = min(left, priced.billed)
                if not volume:
                    continue
                whole = volume == priced.billed
                cost = priced.left if whole else self._cost(line.price * volume / PER[dimension], priced.rates)
                left -= volume
                priced.billed -= volume
                self._less(priced, cost, LineKind.ALLOWANCE, volume, line.price, allowance.reference)
            used.append(max(allowance.volume, _NOTHING) - left)
        return tuple(used)

    def _discount(self, discount: Discount) -> None:
        for priced in self._priced:
            line = priced.line
            reserved = line.group is CostGroup.RESERVATION
            if not priced.left.incl or reserved is not discount.reservation:
                continue
            if not reserved and line.dimension is not discount.dimension:
                continue
            assert line.dimension is not None
            stated = priced.left.incl if self._included else priced.left.excl
            if discount.kind is DiscountKind.PERCENT:
                less = stated * min(max(discount.value, _NOTHING), _HUNDRED) / _HUNDRED
            else:
                less = max(discount.value, _NOTHING) * priced.billed / PER[line.dimension]
            cost = priced.left if less + _TINY >= stated else self._cost(less, priced.rates)
            percent = discount.kind is DiscountKind.PERCENT
            self._less(priced, cost, LineKind.DISCOUNT, priced.billed, discount.value, discount.reference, percent)

    def _less(
        self,
        priced: _Priced,
        cost: Cost,
        kind: LineKind,
        volume: Decimal,
        price: Decimal,
        reference: str | None,
        percent: bool = False,
    ) -> None:
        if not cost.incl and kind is LineKind.DISCOUNT:
            return
        line, negative = priced.line, _negated(cost)
        priced.left = summed((priced.left, negative))
        self._more.append(
            Line(
                kind=kind,
                group=line.group,
                dimension=line.dimension,
                element=line.element,
                component=line.component,
                start=line.start,
                end=line.end,
                volume=volume,
                billed=volume,
                price=price,
                percent=percent,
                cost=negative,
                meter_values=line.meter_values,
                reference=reference,
            )
        )

    # The whole bill

    def _by_rates(self) -> dict[_Rates, Cost]:
        found: dict[_Rates, list[Cost]] = {}
        for priced in self._priced:
            found.setdefault(priced.rates, []).append(priced.left)
        for rates, cost in self._open_rates.items():
            found.setdefault(rates, []).append(cost)
        return {rates: summed(costs) for rates, costs in found.items()}

    def _limit(self, start: datetime, end: datetime) -> None:
        """The tariff's least and most (OCPI 2.3.0 mod_tariffs, min_price and max_price)."""
        tariff = self._tariff
        least = None if self._terms.waive_minimum else tariff.min_price
        if least is None and tariff.max_price is None:
            return
        sides = self._by_rates()
        if not any(cost.excl for cost in sides.values()):
            sides.setdefault(self._default_rates(), _FREE)
        rates = list(sides)
        if least is not None and not any(cost.excl for cost in sides.values()):
            rates.sort(key=lambda one: one != self._default_rates())
        shares = [_share(one) for one in rates]
        nets = [sides[one].excl for one in rates]
        limits = ((LineKind.MAXIMUM, tariff.max_price, at_most), (LineKind.MINIMUM, least, at_least))
        for kind, limit, bring in limits:
            if limit is None:
                continue
            before, after = limit.before_taxes, limit.after_taxes
            if not self._taxes_known and after is not None:
                before = after
            wanted = bring(nets, shares, before, after)
            if wanted is None:
                continue
            for place, one in enumerate(rates):
                target = wanted[place].quantize(_QUANTUM, ROUND_HALF_EVEN)
                if target != nets[place]:
                    # Against the taxes that are there, so that in the end they are what their rates say.
                    there = self._by_rates().get(one, _FREE)
                    change = summed((_taxed(target, one), _negated(there)))
                    self._adjust(kind, one, change, limit.before_taxes, start, end)
                    nets[place] = target

    def _discount_all(self, discount: Discount, start: datetime, end: datetime) -> None:
        sides = {rates: cost for rates, cost in self._by_rates().items() if cost.incl > 0}
        total = summed(sides.values())
        stated = total.incl if self._included else total.excl
        if not stated:
            return
        if discount.kind is DiscountKind.PERCENT:
            part = min(max(discount.value, _NOTHING), _HUNDRED) / _HUNDRED
        else:
            part = min(max(discount.value, _NOTHING) / stated, _ONE)
        if not part:
            return
        for rates, cost in sides.items():
            less = (
                cost
                if stated - stated * part < _TINY
                else self._cost((cost.incl if self._included else cost.excl) * part, rates)
            )
            percent = discount.kind is DiscountKind.PERCENT
            self._adjust(
                LineKind.DISCOUNT, rates, _negated(less), discount.value, start, end, discount.reference, percent
            )

    def _surcharge(self, energy_wh: Decimal, start: datetime, end: datetime) -> None:
        """What is asked for beside the tariff; percentages of what the bill was before them."""
        before = summed(self._by_rates().values()).excl
        for one in self._terms.surcharges:
            value = max(one.value, _NOTHING)
            if one.kind is SurchargeKind.PERCENT:
                net = before * value / _HUNDRED
            else:
                net = value * (energy_wh / PER[TariffDimension.ENERGY] if one.kind is SurchargeKind.ENERGY else _ONE)
            net = net.quantize(_QUANTUM, ROUND_HALF_EVEN)
            if net <= 0:
                continue
            rates = self._default_rates()
            self._more.append(_surcharge_line(one, _taxed(net, rates), energy_wh, start, end))

    def _adjust(
        self,
        kind: LineKind,
        rates: _Rates,
        cost: Cost,
        price: Decimal,
        start: datetime,
        end: datetime,
        reference: str | None = None,
        percent: bool = False,
    ) -> None:
        self._open_rates[rates] = summed((self._open_rates.get(rates, _FREE), cost))
        self._more.append(
            Line(
                kind=kind,
                group=CostGroup.ADJUSTMENT,
                start=start,
                end=end,
                volume=_ONE,
                billed=_ONE,
                price=price,
                percent=percent,
                cost=cost,
                reference=reference,
            )
        )

    def _default_rates(self) -> _Rates:
        """Taxes on a least price where the session itself cost nothing: those of energy, or of the first price there is."""
        components = [
            component
            for element in self._tariff.elements
            if element.restrictions is None or element.restrictions.about is None
            for component in element.price_components
        ]
        energy = [component for component in components if component.type is TariffDimension.ENERGY]
        first = (energy or components)[:1]
        return self._rates(first[0]) if first else ()


def _surcharge_line(one: Surcharge, cost: Cost, energy_wh: Decimal, start: datetime, end: datetime) -> Line:
    by_energy = one.kind is SurchargeKind.ENERGY
    return Line(
        kind=LineKind.SURCHARGE,
        group=CostGroup.ADJUSTMENT,
        dimension=TariffDimension.ENERGY if by_energy else None,
        start=start,
        end=end,
        volume=energy_wh if by_energy else _ONE,
        billed=energy_wh if by_energy else _ONE,
        price=one.value,
        percent=one.kind is SurchargeKind.PERCENT,
        cost=cost,
        reference=one.reference,
    )


def _share(rates: _Rates) -> Decimal:
    return sum((percentage for _, percentage, _ in rates), _NOTHING) / _HUNDRED


def _taxed(net: Decimal, rates: _Rates) -> Cost:
    taxes = tuple(
        TaxAmount(
            name=name,
            percentage=percentage,
            base=net,
            amount=(net * percentage / _HUNDRED).quantize(_QUANTUM, ROUND_HALF_EVEN),
            account_number=account,
        )
        for name, percentage, account in rates
    )
    return Cost(excl=net, incl=net + sum((tax.amount for tax in taxes), _NOTHING), taxes=taxes)


def _negated(cost: Cost) -> Cost:
    taxes = tuple(
        TaxAmount(
            name=tax.name,
            percentage=tax.percentage,
            base=-tax.base,
            amount=-tax.amount,
            account_number=tax.account_number,
        )
        for tax in cost.taxes
    )
    return Cost(excl=-cost.excl, incl=-cost.incl, taxes=taxes)


def _due(total: Cost, currency: str) -> Cost:
    """What is to be paid, in minor units: the totals rounded, and taxes that make the difference."""
    excl = Money(amount=total.excl, currency=currency).rounded()
    incl = Money(amount=total.incl, currency=currency).rounded()
    tax = Money(amount=incl.amount - excl.amount, currency=currency)
    if not total.taxes:
        return Cost(excl=excl.amount, incl=incl.amount)
    amounts = tax.shared([one.amount for one in total.taxes])
    taxes = tuple(
        TaxAmount(
            name=one.name,
            percentage=one.percentage,
            base=Money(amount=one.base, currency=currency).rounded().amount,
            amount=amount,
            account_number=one.account_number,
        )
        for one, amount in zip(total.taxes, amounts, strict=True)
    )
    return Cost(excl=excl.amount, incl=incl.amount, taxes=taxes)


def unit_price(tariff: Tariff, component: PriceComponent, taxes: Sequence[Tax] = ()) -> Cost:
    """What one kWh, hour or fee costs, before and after taxes."""
    return Bill(tariff, taxes, Terms()).unit(component)
