"""What holds for every tariff and every session."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeplane.domain.rating import Allowance, Charge, Discount, DiscountKind, Period, PeriodState, Terms, rate
from chargeplane.domain.tariffs.checks import check
from chargeplane.domain.tariffs.model import Tariff, TariffDimension
from tests.rating.making import BERLIN, balanced, element, local, price, rated, tariff

STARTS = [local(text) for text in ("2026-03-02 09:30", "2026-03-28 22:00", "2026-10-24 23:30", "2026-12-31 20:00")]
TIMES = ["00:00", "02:00", "02:30", "06:00", "10:00", "17:00", "22:00"]
WEEK = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
AMOUNTS = ["0", "0.01", "0.25", "0.3333", "1.5", "12"]
VATS = [None, "0", "7", "19", "25"]


@st.composite
def restrictions(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for names, values in (
        (("start_time", "end_time"), TIMES),
        (("min_kwh", "max_kwh"), ["0.5", "3", "10"]),
        (("min_power", "max_power"), ["3.7", "11", "22"]),
        (("min_duration", "max_duration"), [600, 3600, 7200]),
    ):
        for name in draw(st.sets(st.sampled_from(names), max_size=2)):
            made[name] = draw(st.sampled_from(values))
        least, most = made.get(names[0]), made.get(names[1])
        if names[0] != "start_time" and least is not None and most is not None and float(most) <= float(least):
            del made[names[1]]
    if draw(st.booleans()):
        made["day_of_week"] = sorted(draw(st.sets(st.sampled_from(WEEK), min_size=1)))
    if draw(st.integers(0, 9)) == 0:
        made["start_date"] = "2026-03-29"
    return made


@st.composite
def components(draw: st.DrawFn, steps: list[int], vats: bool = True) -> list[dict[str, Any]]:
    kinds = draw(st.sets(st.sampled_from(["ENERGY", "TIME", "PARKING_TIME", "FLAT"]), min_size=1))
    return [
        price(
            kind,
            draw(st.sampled_from(AMOUNTS)),
            draw(st.sampled_from(VATS)) if vats else None,
            draw(st.sampled_from(steps)),
        )
        for kind in sorted(kinds)
    ]


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    elements = []
    for _ in range(draw(st.integers(1, 4))):
        made = element(*draw(components([1, 60, 900, 5000])))
        if draw(st.booleans()):
            made["restrictions"] = draw(restrictions())
        elements.append(made)
    more: dict[str, Any] = {"tax_included": draw(st.sampled_from(["YES", "NO"]))}
    if draw(st.booleans()):
        more["max_price"] = {"before_taxes": "9", "after_taxes": draw(st.sampled_from([None, "9.5", "10.8"]))}
    if draw(st.booleans()):
        more["min_price"] = {"before_taxes": "2", "after_taxes": draw(st.sampled_from([None, "2.1", "2.6"]))}
    return tariff(*elements, **more)


@st.composite
def charges(draw: st.DrawFn, most: int = 6) -> Charge:
    at = draw(st.sampled_from(STARTS))
    periods = []
    for _ in range(draw(st.integers(1, most))):
        length = timedelta(seconds=draw(st.sampled_from([0, 60, 600, 3600, 14_400])))
        state = draw(st.sampled_from([PeriodState.CHARGING, PeriodState.PARKING]))
        # A multiple of the seconds, so that a part of it is exact in decimals and splitting can be compared exactly.
        energy = (
            Decimal(int(length.total_seconds())) * draw(st.integers(0, 8))
            if state is PeriodState.CHARGING
            else Decimal(0)
        )
        periods.append(Period(start=at, end=at + length, energy_wh=energy, state=state))
        at += length
    return Charge(periods=tuple(periods))


@given(charges(), tariffs(), st.data())
@settings(max_examples=80, deadline=None)
def test_splitting_a_period_never_changes_anything(charge: Charge, what: Tariff, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(charge.periods) - 1))
    whole = charge.periods[place]
    lasts = int((whole.end - whole.start).total_seconds())
    cut = data.draw(st.integers(0, lasts))
    middle = whole.start + timedelta(seconds=cut)
    part = whole.energy_wh * cut / lasts if lasts else whole.energy_wh
    first = Period(start=whole.start, end=middle, energy_wh=part, state=whole.state)
    second = Period(start=middle, end=whole.end, energy_wh=whole.energy_wh - part, state=whole.state)
    if not cut or cut == lasts:  # what lasts no time has no power of its own
        return
    split = Charge(periods=(*charge.periods[:place], first, second, *charge.periods[place + 1 :]))
    before, after = rate(charge, what, BERLIN), rate(split, what, BERLIN)
    assert after.due == before.due
    assert abs(after.total.incl - before.total.incl) < Decimal("1e-6")
    assert [(line.kind, line.element, line.component) for line in after.lines] == [
        (line.kind, line.element, line.component) for line in before.lines
    ]


@given(charges(), tariffs())
@settings(max_examples=100, deadline=None)
def test_sums_balance_limits_hold_and_nothing_is_negative(charge: Charge, what: Tariff) -> None:
    made = rated(charge, what)
    check(what)
    tolerance = Decimal("1e-9")
    if made.taxes_known:
        for limit, sign in ((what.max_price, 1), (what.min_price, -1)):
            if limit is not None:
                assert sign * (made.total.excl - limit.before_taxes) <= tolerance
                if limit.after_taxes is not None:
                    assert sign * (made.total.incl - limit.after_taxes) <= tolerance
    billed = sum(
        (line.volume for line in made.lines if line.dimension == "ENERGY" and line.kind == "price"), Decimal(0)
    )
    assert billed <= made.energy_wh
    assert made.energy_wh == sum((period.energy_wh for period in charge.periods), Decimal(0))


@st.composite
def plain_tariffs(draw: st.DrawFn) -> Tariff:
    """Without what makes more cost less by intention: power, and steps that differ or do not divide what is used."""
    elements = []
    for _ in range(draw(st.integers(1, 3))):
        made = element(*draw(components([1], vats=False)))
        clock = draw(restrictions())
        kept = {name: value for name, value in clock.items() if name in ("start_time", "end_time", "day_of_week")}
        elements.append(made | ({"restrictions": kept} if kept else {}))
    return tariff(*elements)


@given(charges(), plain_tariffs(), st.data())
@settings(max_examples=80, deadline=None)
def test_more_energy_never_costs_less(charge: Charge, what: Tariff, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(charge.periods) - 1))
    period = charge.periods[place]
    lasts = max(1, int((period.end - period.start).total_seconds()))
    more = Decimal(lasts) * data.draw(st.integers(1, 5))
    fuller = Period(start=period.start, end=period.end, energy_wh=period.energy_wh + more, state=period.state)
    bigger = Charge(periods=(*charge.periods[:place], fuller, *charge.periods[place + 1 :]))
    assert rate(bigger, what, BERLIN).total.incl >= rate(charge, what, BERLIN).total.incl


@given(charges(), plain_tariffs(), st.sampled_from([60, 600, 7200]))
@settings(max_examples=60, deadline=None)
def test_longer_never_costs_less(charge: Charge, what: Tariff, seconds: int) -> None:
    last = charge.periods[-1].end
    for state in PeriodState.CHARGING, PeriodState.PARKING:
        tail = Period(start=last, end=last + timedelta(seconds=seconds), state=state)
        longer = Charge(periods=(*charge.periods, tail))
        assert rate(longer, what, BERLIN).total.incl >= rate(charge, what, BERLIN).total.incl


@given(charges(), tariffs(), st.integers(1, 99))
@settings(max_examples=60, deadline=None)
def test_a_step_size_never_makes_it_cheaper_and_adds_less_than_a_step(charge: Charge, what: Tariff, step: int) -> None:
    made = rate(charge, what, BERLIN)
    for line in made.lines:
        if line.kind == "price" and line.dimension != "FLAT":
            assert 0 <= line.billed - line.volume < max(1, line.step_size)
    balanced(made)


@st.composite
def agreements(draw: st.DrawFn) -> Terms:
    kinds = st.sampled_from([None, *TariffDimension])
    discounts = [
        Discount(
            kind=draw(st.sampled_from(list(DiscountKind))),
            value=Decimal(draw(st.sampled_from(["0", "0.01", "0.05", "5", "33.3", "99.999", "100"]))),
            dimension=draw(kinds),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    allowances = [
        Allowance(
            dimension=draw(st.sampled_from(list(TariffDimension))),
            volume=Decimal(draw(st.sampled_from(["0", "0.5", "1", "700", "5000", "1000000"]))),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    return Terms(discounts=tuple(discounts), allowances=tuple(allowances), waive_minimum=draw(st.booleans()))


@given(charges(), tariffs(), agreements())
@settings(max_examples=80, deadline=None)
def test_agreements_make_it_cheaper_and_never_negative(charge: Charge, what: Tariff, terms: Terms) -> None:
    made = rated(charge, what, terms=terms)
    for used, allowance in zip(made.used, terms.allowances, strict=True):
        assert 0 <= used <= allowance.volume
    # Limits before taxes alone leave it to the mix of taxes what comes after them, which agreements change: compared without.
    free = msgspec.structs.replace(what, min_price=None, max_price=None)
    assert rate(charge, free, BERLIN, terms=terms).total.incl <= rate(charge, free, BERLIN).total.incl + Decimal("1e-9")
