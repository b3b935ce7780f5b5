"""Holds: whatever the tariff, a session that is stopped when its hold is nearly used up never costs more than the hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from chargeplane.domain.payments.dearest import dearest
from chargeplane.domain.payments.holds import Spending, used_up
from chargeplane.domain.rating import PeriodState, Reading, StateChange, charge_of, rate, so_far
from chargeplane.domain.tariffs.model import (
    PriceComponent,
    Restrictions,
    Tariff,
    TariffDimension,
    TariffElement,
    TaxIncluded,
)

START = datetime(2026, 5, 4, 8, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def _prices(top: int) -> st.SearchStrategy[Decimal]:
    return st.integers(0, top).map(lambda cents: Decimal(cents) / 100)


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """Energy and time in steps, dearer later, with fees that are due at once or after a while."""
    vat = draw(st.sampled_from([None, Decimal(19), Decimal(25)]))

    def component(kind: TariffDimension, price: Decimal, step: int = 1) -> PriceComponent:
        return PriceComponent(type=kind, price=price, vat=vat, step_size=step)

    energy = component(TariffDimension.ENERGY, draw(_prices(150)), draw(st.sampled_from([1, 100, 1000])))
    time = component(TariffDimension.TIME, draw(_prices(600)), draw(st.sampled_from([1, 60, 900])))
    later = Restrictions(min_duration=draw(st.sampled_from([300, 900, 1800])))
    dear = component(TariffDimension.ENERGY, energy.price * 2, energy.step_size)
    fee = component(TariffDimension.FLAT, draw(_prices(500)))
    late_fee = component(TariffDimension.FLAT, draw(_prices(500)))
    elements = [
        TariffElement(price_components=(late_fee,), restrictions=later),
        TariffElement(price_components=(fee,)),
        TariffElement(price_components=(dear,), restrictions=later),
        TariffElement(price_components=(energy, time)),
    ]
    if draw(st.booleans()):
        del elements[0]
    return Tariff(
        id="T",
        last_updated=START,
        currency="EUR",
        tax_included=draw(st.sampled_from([TaxIncluded.YES, TaxIncluded.NO])),
        elements=tuple(elements),
    )


@given(
    tariff=tariffs(),
    power_w=st.sampled_from([11_000, 50_000, 150_000, 350_000]),
    share=st.floats(0.05, 1.0),
    interval_s=st.sampled_from([10, 60, 300]),
    late_s=st.integers(0, 30),
    look_s=st.sampled_from([5, 60]),
)
@settings(max_examples=120, deadline=None)
def test_what_is_stopped_in_time_never_costs_more_than_its_hold(
    tariff: Tariff, power_w: int, share: float, interval_s: int, late_s: int, look_s: int
) -> None:
    most = dearest(tariff, power_w)
    drawn = Decimal(int(power_w * share))
    stop_s = 20
    latency = timedelta(seconds=stop_s + look_s)

    def cost(seconds: int, *, over: bool) -> Decimal:
        """What it costs after so long; towards the end it takes all that the connector gives."""
        end = START + timedelta(seconds=seconds)
        readings = [Reading(at=START, energy_wh=Decimal(0), ordinal=1)]
        readings.append(Reading(at=end, energy_wh=energy(seconds), ordinal=2))
        charge = charge_of(START, end, readings, [StateChange(at=START, state=PeriodState.CHARGING)])
        rating = rate(charge, tariff, BERLIN) if over else so_far(charge, tariff, BERLIN, end)
        return rating.due.incl

    def energy(seconds: int) -> Decimal:
        full_from = 1200
        slow, fast = min(seconds, full_from), max(seconds - full_from, 0)
        return (drawn * slow + Decimal(power_w) * fast) / 3600

    # A hold that suffices for the first value: a smaller one is refused by who holds it, or the session stopped at once.
    hold = cost(interval_s, over=False) + most.per_hour / 2 + most.jump + 1
    at = 0
    while at < 7200:
        at += interval_s
        spending = Spending(
            cost=cost(at, over=False),
            per_hour=most.per_hour,
            jump=most.jump,
            told_ago=timedelta(seconds=late_s),
            meter_interval=timedelta(seconds=interval_s),
            latency=latency,
        )
        if used_up(hold, spending):
            # The value is `late_s` old when it is looked at, at worst `look_s` later; then the order goes out.
            assert cost(at + late_s + look_s + stop_s, over=True) <= hold or at == interval_s
            return


def test_a_step_that_is_begun_and_a_fee_that_is_due_later_are_in_the_margin() -> None:
    tariff = Tariff(
        id="T",
        last_updated=START,
        currency="EUR",
        tax_included=TaxIncluded.NO,
        elements=(
            TariffElement(
                price_components=(PriceComponent(type=TariffDimension.FLAT, price=Decimal(5), vat=Decimal(20)),),
                restrictions=Restrictions(min_duration=3600),
            ),
            TariffElement(
                price_components=(
                    PriceComponent(type=TariffDimension.TIME, price=Decimal(12), vat=Decimal(20), step_size=900),
                    PriceComponent(type=TariffDimension.FLAT, price=Decimal(1), vat=Decimal(20)),
                )
            ),
        ),
    )
    found = dearest(tariff, 11_000)
    assert found.per_hour == Decimal("14.4")
    # Five with tax, and a quarter of an hour but a second.
    assert found.jump == 6 + Decimal("14.4") * 899 / 3600
