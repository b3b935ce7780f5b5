"""What a session costs, explained: every line in words, with the meter values it rests on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.cdrs.charging import ToldEvent
from chargeplane.domain.clock import effective
from chargeplane.domain.rating import CostGroup, Line, LineKind, Rating, words
from chargeplane.domain.rating.result import Cost
from chargeplane.domain.tariffs.model import Tariff, TariffDimension
from chargeplane.domain.transactions import measured
from chargeplane.kernel.money import MoneyView


class MeterValueRef(Struct, frozen=True, kw_only=True):
    """A meter value that a line rests on.

    Args:
        ordinal: of the transaction's event it came with, as `/v1/transactions/{id}/events` counts.
        at: when it was read.
        energy_wh: what the session had taken by then; null where it told no energy.
    """

    ordinal: int
    at: datetime
    energy_wh: Decimal | None


class ExplainedCost(Struct, frozen=True, kw_only=True):
    """An amount before and after taxes."""

    excl: MoneyView
    incl: MoneyView


class ExplainedTax(Struct, frozen=True, kw_only=True):
    """A tax in what is to be paid."""

    name: str
    percentage: Decimal | None
    base: MoneyView
    amount: MoneyView


class ExplainedLine(Struct, frozen=True, kw_only=True):
    """One amount and why.

    Args:
        words: in the language that was asked for.
        element, component: which price of the tariff; null where no price made it.
        volume, billed: as measured, and after `step_size`: Wh, seconds or fees.
        price: per kWh, hour or fee; percent of discounts.
        cost: unrounded.
        reference: of the agreement's item that made it.
        meter_values: that it rests on; at most the first and last hundred.
    """

    words: str
    kind: LineKind
    group: CostGroup
    dimension: TariffDimension | None
    element: int | None
    component: int | None
    start: datetime
    end: datetime
    volume: Decimal
    billed: Decimal
    price: Decimal
    step_size: int
    cost: ExplainedCost
    reference: str | None
    meter_values: list[MeterValueRef]


class Explanation(Struct, frozen=True, kw_only=True):
    """What a session costs, line by line.

    Args:
        cdr_id: that says so; null: it is what it costs so far.
        because: where nothing is to be paid, why.
        due: what is to be paid, rounded once.
        taxes: in it.
    """

    session_id: str
    cdr_id: str | None
    tariff_id: str | None
    tariff_version: int | None
    because: str | None
    due: ExplainedCost | None
    taxes: list[ExplainedTax]
    lines: list[ExplainedLine]


_MOST = 100


def meter_values(told: Sequence[ToldEvent]) -> dict[int, MeterValueRef]:
    """The meter values of a session by the ordinal of their event."""
    found: dict[int, MeterValueRef] = {}
    by_time: dict[datetime, int] = {}
    for one in told:
        at = effective(one.event.at, one.event.received_at)
        by_time[at] = one.event.ordinal
        found[one.event.ordinal] = MeterValueRef(ordinal=one.event.ordinal, at=at, energy_wh=None)
    for value in measured([one.event for one in told]):
        ordinal = by_time.get(value.event_at)
        if ordinal is not None:
            found[ordinal] = MeterValueRef(ordinal=ordinal, at=value.at, energy_wh=value.energy_wh)
    return found


def explanation(
    *,
    session_id: int,
    cdr_id: int | None,
    rating: Rating | None,
    tariff: Tariff | None,
    values: Mapping[int, MeterValueRef],
    language: str | None,
) -> Explanation:
    """The explanation of a rating."""
    shown = Explanation(
        session_id=str(session_id),
        cdr_id=None if cdr_id is None else str(cdr_id),
        tariff_id=None if tariff is None else tariff.id,
        tariff_version=None if tariff is None else tariff.version,
        because="No tariff holds, so nothing says what it costs." if rating is None else None,
        due=None,
        taxes=[],
        lines=[],
    )
    if rating is None:
        return shown
    currency = rating.currency
    return Explanation(
        session_id=shown.session_id,
        cdr_id=shown.cdr_id,
        tariff_id=shown.tariff_id,
        tariff_version=shown.tariff_version,
        because=None,
        due=_cost(rating.due, currency),
        taxes=[
            ExplainedTax(
                name=tax.name,
                percentage=tax.percentage,
                base=_money(tax.base, currency),
                amount=_money(tax.amount, currency),
            )
            for tax in rating.due.taxes
        ],
        lines=[_line(line, currency, values, language) for line in rating.lines],
    )


def _line(line: Line, currency: str, values: Mapping[int, MeterValueRef], language: str | None) -> ExplainedLine:
    return ExplainedLine(
        words=words(line, currency, language),
        kind=line.kind,
        group=line.group,
        dimension=line.dimension,
        element=line.element,
        component=line.component,
        start=line.start,
        end=line.end,
        volume=line.volume,
        billed=line.billed,
        price=line.price,
        step_size=line.step_size,
        cost=_cost(line.cost, currency),
        reference=line.reference,
        meter_values=[values[number] for number in _ends(line.meter_values) if number in values],
    )


def _ends(numbers: Sequence[int]) -> Iterable[int]:
    if len(numbers) <= 2 * _MOST:
        return numbers
    return itertools.chain(numbers[:_MOST], numbers[-_MOST:])


def _cost(cost: Cost, currency: str) -> ExplainedCost:
    return ExplainedCost(excl=_money(cost.excl, currency), incl=_money(cost.incl, currency))


def _money(amount: Decimal, currency: str) -> MoneyView:
    shown = amount.normalize() if amount else Decimal(0)
    if int(shown.as_tuple().exponent) > -2:
        shown = shown.quantize(Decimal("0.01"))
    return MoneyView(amount=f"{shown:f}", currency=currency)
