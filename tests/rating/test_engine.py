"""The rules of rating: where periods are cut, daylight saving, restrictions, limits, taxes, reservations, agreements."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from chargeplane.domain.rating import (
    Allowance,
    Charge,
    CostGroup,
    Discount,
    DiscountKind,
    LineKind,
    Period,
    PeriodState,
    Surcharge,
    SurchargeKind,
    Terms,
    so_far,
)
from chargeplane.domain.tariffs.model import TariffDimension
from chargeplane.kernel.errors import InvalidInputError
from tests.rating.making import (
    BERLIN,
    charging,
    cost,
    element,
    local,
    parking,
    plain,
    price,
    rated,
    reserved,
    session,
    tariff,
    volumes,
)

MONDAY = "2026-03-02 09:30"


# Cuts


def test_the_first_element_that_matches_holds_for_each_dimension_by_itself() -> None:
    what = tariff(
        element(price("ENERGY", "0.10"), start_time="10:00", end_time="11:00"),
        element(price("ENERGY", "0.20"), price("TIME", "1.00")),
        element(price("ENERGY", "9.99"), price("TIME", "9.99"), price("PARKING_TIME", "3.00")),
    )
    made = rated(session(MONDAY, charging(60, "6"), parking(20)), what)
    assert volumes(made) == [
        ("ENERGY", "3", "0.6"),
        ("TIME", "60", "1"),
        ("ENERGY", "3", "0.3"),
        ("PARKING_TIME", "20", "1"),
    ]
    assert [(line.element, line.component) for line in made.lines] == [(1, 0), (1, 1), (0, 0), (2, 2)]


def test_what_no_element_prices_costs_nothing() -> None:
    what = tariff(element(price("ENERGY", "0.30"), start_time="22:00", end_time="06:00"))
    made = rated(session(MONDAY, charging(60, "6")), what)
    assert made.lines == []
    assert plain(made.energy_wh) == "6000"


def test_an_end_before_the_start_is_on_the_next_day() -> None:
    what = tariff(
        element(price("ENERGY", "0.10"), start_time="22:00", end_time="06:00"), element(price("ENERGY", "0.30"))
    )
    made = rated(session("2026-03-02 21:00", charging(600, "10")), what)
    assert volumes(made) == [("ENERGY", "1", "0.3"), ("ENERGY", "8", "0.8"), ("ENERGY", "1", "0.3")]
    assert [line.start for line in made.lines] == [
        local("2026-03-02 21:00"),
        local("2026-03-02 22:00"),
        local("2026-03-03 06:00"),
    ]


def test_each_restriction_is_met_by_itself_also_with_an_end_on_the_next_day() -> None:
    # Friday night until six: the hours after midnight are Saturday's, so FRIDAY takes those of Friday morning.
    what = tariff(element(price("TIME", "6.00"), start_time="22:00", end_time="06:00", day_of_week=["FRIDAY"]))
    assert volumes(rated(session("2026-03-06 21:00", charging(600)), what)) == [("TIME", "120", "12")]
    assert volumes(rated(session("2026-03-06 05:00", charging(120)), what)) == [("TIME", "60", "6")]


def test_dates_hold_from_the_first_until_before_the_last() -> None:
    what = tariff(element(price("TIME", "6.00"), start_date="2026-12-24", end_date="2026-12-26"))
    made = rated(session("2026-12-23 12:00", charging(4 * 24 * 60)), what)
    assert [(line.start, line.end) for line in made.lines] == [(local("2026-12-24 00:00"), local("2026-12-26 00:00"))]


def test_only_a_start_or_only_an_end_goes_to_midnight() -> None:
    what = tariff(element(price("TIME", "6.00"), start_time="22:00"), element(price("TIME", "3.00"), end_time="01:00"))
    made = rated(session("2026-03-02 21:00", charging(600)), what)
    assert volumes(made) == [("TIME", "120", "12"), ("TIME", "60", "3")]
    assert [line.end for line in made.lines] == [local("2026-03-03 00:00"), local("2026-03-03 01:00")]


def test_energy_prices_change_where_the_amount_is_reached() -> None:
    what = tariff(
        element(price("ENERGY", "0.50"), price("TIME", "6.00"), max_kwh="10"),
        element(price("ENERGY", "0.30"), price("TIME", "1.00"), min_kwh="10", max_kwh="20"),
        element(price("ENERGY", "0.10")),
    )
    made = rated(session(MONDAY, charging(60, "24"), charging(60, "6")), what)
    assert volumes(made) == [
        ("ENERGY", "10", "5"),
        ("TIME", "25", "2.5"),
        ("ENERGY", "10", "3"),
        ("TIME", "25", "0.416666666667"),
        ("ENERGY", "10", "1"),
    ]


def test_energy_at_one_moment_is_cut_by_amounts() -> None:
    at = local(MONDAY)
    what = tariff(element(price("ENERGY", "0.50"), max_kwh="10"), element(price("ENERGY", "0.10")))
    charge = Charge(periods=(Period(start=at, end=at, energy_wh=Decimal(25_000)),))
    assert volumes(rated(charge, what)) == [("ENERGY", "10", "5"), ("ENERGY", "15", "1.5")]


def test_a_current_that_is_not_known_meets_no_restriction() -> None:
    what = tariff(element(price("TIME", "6.00"), max_current="32"), element(price("TIME", "1.00")))
    assert volumes(rated(session(MONDAY, charging(60, "6")), what)) == [("TIME", "60", "1")]
    assert volumes(rated(session(MONDAY, charging(60, "6", max_current=Decimal("31.9"))), what)) == [
        ("TIME", "60", "6")
    ]
    assert volumes(rated(session(MONDAY, charging(60, "6", max_current=Decimal(32))), what)) == [("TIME", "60", "1")]


def test_power_is_what_the_energy_says_within_what_was_told() -> None:
    what = tariff(element(price("ENERGY", "1.00"), min_power="11"), element(price("ENERGY", "0.10")))
    for told, expected in (({}, "11"), ({"max_power": Decimal(10_900)}, "1.1"), ({"min_power": Decimal(11_000)}, "11")):
        assert cost(rated(session(MONDAY, charging(60, "11", **told)), what))[0] == expected


def test_pauses_do_not_break_energy_but_times() -> None:
    what = tariff(element(price("ENERGY", "0.10"), price("TIME", "1.00"), price("PARKING_TIME", "2.00")))
    made = rated(session(MONDAY, charging(30, "3"), parking(30), charging(30, "3"), parking(30)), what)
    assert [line.dimension for line in made.lines] == ["ENERGY", "TIME", "PARKING_TIME", "TIME", "PARKING_TIME"]
    assert volumes(made)[0] == ("ENERGY", "6", "0.6")
    assert (made.charging_s, made.parking_s) == (3600, 3600)


def test_a_flat_fee_is_by_the_clock_of_the_start_and_once() -> None:
    what = tariff(
        element(price("FLAT", "5.00"), min_kwh="10"),
        element(price("FLAT", "1.00"), start_time="08:00", end_time="18:00"),
        element(price("FLAT", "0.20")),
    )
    assert volumes(rated(session("2026-03-02 17:00", charging(180, "5"), parking(60), charging(10, "1")), what)) == [
        ("FLAT", "1", "1")
    ]
    assert volumes(rated(session("2026-03-02 18:00", charging(60, "12"), charging(60, "12")), what)) == [
        ("FLAT", "1", "0.2"),
        ("FLAT", "1", "5"),
    ]


def test_periods_that_overlap_are_refused() -> None:
    at = local(MONDAY)
    first = Period(start=at, end=at + timedelta(minutes=10))
    second = Period(start=at + timedelta(minutes=9), end=at + timedelta(minutes=20))
    with pytest.raises(InvalidInputError, match="overlap"):
        rated(Charge(periods=(first, second)), tariff(element(price("TIME", "1"))))


def test_what_the_vehicle_gives_back_is_not_paid_for() -> None:
    what = tariff(element(price("ENERGY", "0.30")))
    assert cost(rated(session(MONDAY, charging(60, "6"), charging(60, "-3"), charging(60, "1")), what))[0] == "2.1"


def test_a_session_without_periods_costs_nothing() -> None:
    made = rated(Charge(periods=()), tariff(element(price("FLAT", "1")), min_price={"before_taxes": "3"}))
    assert cost(made) == ("0", "0")


# Daylight saving


def test_the_hour_that_is_left_out_costs_nothing() -> None:
    # 29 March 2026: 02:00 becomes 03:00. An hour between 02:00 and 03:00 does not happen.
    night = tariff(element(price("TIME", "9.00"), start_time="02:00", end_time="03:00"), element(price("TIME", "1.00")))
    made = rated(session("2026-03-29 00:00", charging(240)), night)
    assert volumes(made) == [("TIME", "240", "4")]
    half = tariff(element(price("TIME", "9.00"), start_time="02:30", end_time="04:00"), element(price("TIME", "1.00")))
    made = rated(session("2026-03-29 00:00", charging(240)), half)
    # It begins when the clock jumps past its start.
    assert volumes(made) == [("TIME", "120", "2"), ("TIME", "60", "9"), ("TIME", "60", "1")]


def test_the_hour_that_comes_twice_is_paid_twice() -> None:
    # 25 October 2026: 03:00 becomes 02:00.
    night = tariff(element(price("TIME", "9.00"), start_time="02:00", end_time="03:00"), element(price("TIME", "1.00")))
    assert volumes(rated(session("2026-10-25 00:00", charging(300)), night)) == [
        ("TIME", "120", "2"),
        ("TIME", "120", "18"),
        ("TIME", "60", "1"),
    ]
    half = tariff(element(price("TIME", "9.00"), start_time="02:30", end_time="04:00"), element(price("TIME", "1.00")))
    made = rated(session("2026-10-25 02:00", charging(240)), half)
    assert volumes(made) == [
        ("TIME", "30", "0.5"),
        ("TIME", "30", "4.5"),
        ("TIME", "30", "0.5"),
        ("TIME", "90", "13.5"),
        ("TIME", "60", "1"),
    ]


def test_days_are_local_everywhere() -> None:
    sunday = tariff(element(price("TIME", "6.00"), day_of_week=["SUNDAY"]))
    auckland, kolkata = ZoneInfo("Pacific/Auckland"), ZoneInfo("Asia/Kolkata")
    for zone in (auckland, kolkata, ZoneInfo("America/St_Johns")):
        made = rated(session(local("2026-03-07 23:00", zone), charging(26 * 60)), sunday, zone)
        assert [(line.start, line.end) for line in made.lines] == [
            (local("2026-03-08 00:00", zone), local("2026-03-09 00:00", zone))
        ]


# Limits and taxes


def test_both_limits_hold_when_parts_are_taxed_differently() -> None:
    fee, energy = price("FLAT", "9.00", "20"), price("ENERGY", "0.10", "5")
    what = tariff(element(fee, energy), max_price={"before_taxes": "10", "after_taxes": "11"})
    # 9.50 before, 11.325 after taxes: only the second is too much; the tax cannot fall below 20 % of 9 by moving all to 5 %.
    made = rated(session(MONDAY, charging(60, "5")), what)
    assert plain(made.total.incl) == "11"
    assert made.total.excl <= 10
    least = tariff(element(fee, energy), min_price={"before_taxes": "20", "after_taxes": "25"})
    made = rated(session(MONDAY, charging(60, "5")), least)
    # Even all at 20 % would make 24 only, so the amount before taxes goes up.
    assert plain(made.total.incl) == "25"
    assert made.total.excl > 20


def test_taxes_that_are_in_the_price_are_taken_out_of_it() -> None:
    what = tariff(element(price("ENERGY", "0.59", "19")), tax_included="YES")
    made = rated(session(MONDAY, charging(60, "10")), what)
    assert plain(made.total.incl) == "5.9"
    assert (str(made.due.excl), str(made.due.incl)) == ("4.96", "5.90")
    assert str(made.due.taxes[0].amount) == "0.94"


def test_no_taxes_apply() -> None:
    made = rated(session(MONDAY, charging(60, "10")), tariff(element(price("ENERGY", "0.5")), tax_included="N/A"))
    assert cost(made) == ("5", "5")
    assert made.taxes_known


def test_a_reservation_alone_has_no_minimum() -> None:
    what = tariff(
        element(price("TIME", "1.00"), reservation="RESERVATION"),
        element(price("ENERGY", "0.30")),
        min_price={"before_taxes": "5"},
    )
    unused = Charge(periods=session(MONDAY, reserved(60)).periods, reservation_expired=True)
    assert cost(rated(unused, what))[0] == "1"
    assert cost(rated(session(MONDAY, reserved(60), charging(5, "0.1")), what))[0] == "5"


def test_a_reservation_that_expires_costs_its_fee_and_that_of_the_expiry() -> None:
    what = tariff(
        element(price("FLAT", "4.00"), reservation="RESERVATION_EXPIRES"),
        element(price("FLAT", "1.00"), price("TIME", "2.00"), reservation="RESERVATION"),
    )
    unused = Charge(periods=session(MONDAY, reserved(60)).periods, reservation_expired=True)
    made = rated(unused, what)
    assert cost(made)[0] == "7"
    assert {line.group for line in made.lines} == {CostGroup.RESERVATION}


def test_meter_values_stand_at_the_lines_that_rest_on_them() -> None:
    what = tariff(element(price("ENERGY", "0.5"), end_time="10:00"), element(price("ENERGY", "0.3")))
    charge = session(
        MONDAY, charging(30, "3", meter_values=(1, 2)), charging(30, "3", meter_values=(2, 3)), parking(10)
    )
    assert [line.meter_values for line in rated(charge, what).lines] == [(1, 2), (2, 3)]


# Agreements


def test_free_energy_is_a_line_of_its_own_and_is_used_up() -> None:
    what = tariff(element(price("ENERGY", "0.50", "20"), end_time="10:00"), element(price("ENERGY", "0.30", "20")))
    terms = Terms(allowances=(Allowance(dimension=TariffDimension.ENERGY, volume=Decimal(4000), reference="free"),))
    made = rated(session(MONDAY, charging(60, "6")), what, terms=terms)
    # 3 kWh at 0.50 and 3 kWh at 0.30; the first four are free.
    assert cost(made)[0] == "0.6"
    assert [(line.kind, plain(line.cost.excl), line.reference) for line in made.lines[2:]] == [
        (LineKind.ALLOWANCE, "-1.5", "free"),
        (LineKind.ALLOWANCE, "-0.3", "free"),
    ]
    assert made.used == (Decimal(4000),)
    made = rated(session(MONDAY, charging(60, "2")), what, terms=terms)
    assert cost(made) == ("0", "0")
    assert made.used == (Decimal(2000),)


@pytest.mark.parametrize(
    ("discount", "expected"),
    [
        (Discount(kind=DiscountKind.PERCENT, value=Decimal(10), dimension=TariffDimension.ENERGY), "6.4"),
        (Discount(kind=DiscountKind.ABSOLUTE, value=Decimal("0.05"), dimension=TariffDimension.ENERGY), "6.5"),
        (Discount(kind=DiscountKind.ABSOLUTE, value=Decimal(9), dimension=TariffDimension.ENERGY), "1"),
        (Discount(kind=DiscountKind.PERCENT, value=Decimal(10)), "6.3"),
        (Discount(kind=DiscountKind.ABSOLUTE, value=Decimal(2)), "5"),
        (Discount(kind=DiscountKind.ABSOLUTE, value=Decimal(20)), "0"),
        (Discount(kind=DiscountKind.PERCENT, value=Decimal(100)), "0"),
    ],
)
def test_discounts(discount: Discount, expected: str) -> None:
    what = tariff(element(price("FLAT", "1.00", "20"), price("ENERGY", "0.60", "10")))
    made = rated(session(MONDAY, charging(60, "10")), what, terms=Terms(discounts=(discount,)))
    assert cost(made)[0] == expected
    assert any(line.kind is LineKind.DISCOUNT for line in made.lines)


@pytest.mark.parametrize(
    ("surcharge", "excl"),
    [
        (Surcharge(kind=SurchargeKind.SESSION, value=Decimal("0.30")), "7.3"),
        (Surcharge(kind=SurchargeKind.ENERGY, value=Decimal("0.02")), "7.2"),
        (Surcharge(kind=SurchargeKind.PERCENT, value=Decimal(10)), "7.7"),
        (Surcharge(kind=SurchargeKind.PERCENT, value=Decimal(-10)), "7"),
    ],
)
def test_surcharges_are_taxed_as_energy_and_come_last(surcharge: Surcharge, excl: str) -> None:
    what = tariff(element(price("FLAT", "1.00", "20"), price("ENERGY", "0.60", "10")))
    charge = session(MONDAY, charging(60, "10"))
    made = rated(charge, what, terms=Terms(surcharges=(surcharge,)))
    if excl != "7":
        assert made.lines[-1].kind is LineKind.SURCHARGE
        added = made.lines[-1].cost
        assert (added.incl - added.excl) * 10 == added.excl
    assert cost(made)[0] == excl


def test_percent_of_a_surcharge_is_of_what_is_left_after_discounts() -> None:
    what = tariff(element(price("ENERGY", "1.00")))
    terms = Terms(
        discounts=(Discount(kind=DiscountKind.PERCENT, value=Decimal(50)),),
        surcharges=(
            Surcharge(kind=SurchargeKind.SESSION, value=Decimal(1)),
            Surcharge(kind=SurchargeKind.PERCENT, value=Decimal(10)),
        ),
    )
    assert cost(rated(session(MONDAY, charging(60, "10")), what, terms=terms))[0] == "6.5"  # 5, 1, and 10 % of 5


def test_a_discount_of_reservations_touches_nothing_else() -> None:
    what = tariff(element(price("TIME", "6.00"), reservation="RESERVATION"), element(price("ENERGY", "1.00")))
    half = Discount(kind=DiscountKind.PERCENT, value=Decimal(50), reservation=True, reference="Half")
    made = rated(session(MONDAY, reserved(60), charging(60, "10")), what, terms=Terms(discounts=(half,)))
    assert cost(made)[0] == "13"  # 3 and 10
    (less,) = [line for line in made.lines if line.kind is LineKind.DISCOUNT]
    assert (less.group, less.reference) == (CostGroup.RESERVATION, "Half")


def test_a_discount_of_the_bill_comes_after_the_most_one_of_energy_before() -> None:
    what = tariff(element(price("ENERGY", "0.60")), max_price={"before_taxes": "5"})
    tenth = Decimal(10)
    for dimension, expected in ((None, "4.5"), (TariffDimension.ENERGY, "5")):
        terms = Terms(discounts=(Discount(kind=DiscountKind.PERCENT, value=tenth, dimension=dimension),))
        assert cost(rated(session(MONDAY, charging(60, "10")), what, terms=terms))[0] == expected


def test_the_minimum_and_reservations_can_be_waived() -> None:
    what = tariff(
        element(price("FLAT", "2.00"), reservation="RESERVATION"),
        element(price("ENERGY", "0.60")),
        min_price={"before_taxes": "5"},
    )
    charge = session(MONDAY, reserved(10), charging(60, "1"))
    assert cost(rated(charge, what))[0] == "5"
    assert cost(rated(charge, what, terms=Terms(waive_minimum=True)))[0] == "2.6"
    assert cost(rated(charge, what, terms=Terms(waive_minimum=True, waive_reservation=True)))[0] == "0.6"


# While it goes on


def test_time_runs_on_since_the_last_meter_value() -> None:
    what = tariff(element(price("ENERGY", "0.30"), price("TIME", "6.00"), price("PARKING_TIME", "12.00")))
    charge = session(MONDAY, charging(10, "1"))
    now = local(MONDAY) + timedelta(minutes=15)
    assert cost(so_far(charge, what, BERLIN, now))[0] == "1.8"
    charge = session(MONDAY, charging(10, "1"), parking(1))
    assert cost(so_far(charge, what, BERLIN, now))[0] == "2.3"
    assert so_far(charge, what, BERLIN, local(MONDAY)) == rated(charge, what)


def test_power_goes_on_as_it_was_while_nothing_is_heard() -> None:
    what = tariff(element(price("TIME", "6.00"), min_power="5"), element(price("TIME", "60.00")))
    charge = session(MONDAY, charging(10, "1"))
    assert cost(so_far(charge, what, BERLIN, local(MONDAY) + timedelta(minutes=20)))[0] == "2"


def test_period_states_have_names_that_stay() -> None:
    assert [state.value for state in PeriodState] == ["charging", "parking", "reserved"]
