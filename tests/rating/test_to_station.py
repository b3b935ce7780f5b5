"""Tariffs for stations of OCPP 2.1, and what is lost on the way."""

from __future__ import annotations

from decimal import Decimal

from chargeplane.domain.station_tariffs import Weekday
from chargeplane.domain.tariffs.to_station import for_station
from tests.rating.making import element, price, tariff


def test_what_stations_know_is_told_without_loss() -> None:
    what = tariff(
        element(price("FLAT", "0.5", "20"), start_time="08:00", end_time="20:00"),
        element(
            price("ENERGY", "0.5", "10"),
            min_kwh="5",
            max_power="11",
            min_duration=60,
            day_of_week=["SATURDAY"],
            start_date="2026-01-01",
            end_date="2026-02-01",
        ),
        element(price("ENERGY", "0.25", "10"), price("TIME", "0.6", "20"), price("PARKING_TIME", "6", "20")),
        element(price("TIME", "3", "20"), price("FLAT", "1", "20"), reservation="RESERVATION"),
        min_price={"before_taxes": "1", "after_taxes": "1.2"},
        max_price={"before_taxes": "90"},
        tariff_alt_text=[{"language": "de", "text": "Nachts billiger"}],
        version="7",
    )
    made = for_station(what)
    assert made.losses == ()
    told = made.tariff
    assert told.tariff_id == "T:7"
    assert told.energy is not None
    first, second = told.energy.prices
    assert first.conditions is not None
    assert (first.conditions.min_energy, first.conditions.max_power) == (5000, 11_000)
    assert (first.conditions.min_time, first.conditions.day_of_week) == (60, (Weekday.SATURDAY,))
    assert (first.conditions.valid_from_date, first.conditions.valid_to_date) == ("2026-01-01", "2026-02-01")
    assert (second.price_kwh, second.conditions) == (Decimal("0.25"), None)
    assert told.energy.tax_rates is not None
    assert told.energy.tax_rates[0].tax == 10
    assert told.charging_time is not None
    assert told.charging_time.prices[0].price_minute == Decimal("0.01")
    assert told.idle_time is not None
    assert told.idle_time.prices[0].price_minute == Decimal("0.1")
    assert told.fixed_fee is not None
    assert told.fixed_fee.prices[0].conditions is not None
    assert told.fixed_fee.prices[0].conditions.end_time_of_day == "20:00"
    assert told.reservation_time is not None
    assert told.reservation_time.prices[0].price_minute == Decimal("0.05")
    assert told.reservation_fixed is not None
    assert told.min_cost is not None
    assert (told.min_cost.excl_tax, told.min_cost.incl_tax) == (1, Decimal("1.2"))
    assert told.description is not None
    assert told.description[0].content == "Nachts billiger"


def test_what_is_lost_is_said() -> None:
    what = tariff(
        element(price("FLAT", "5", "20"), min_kwh="30"),
        element(price("ENERGY", "0.5", "10", 500)),
        element(price("ENERGY", "0.5")),
        element(price("FLAT", "4"), reservation="RESERVATION_EXPIRES"),
        tax_included="YES",
        end_date_time="2027-01-01T00:00:00Z",
    )
    made = for_station(what)
    assert [loss.pointer for loss in made.losses] == [
        "/elements/0/price_components/0",
        "/elements/1/price_components/0/step_size",
        "/elements/1/price_components/0/price",
        "/elements/2/price_components/0/vat",
        "/elements/3/price_components/0",
        "/elements",
        "/end_date_time",
    ]
    assert made.tariff.fixed_fee is None
    assert made.tariff.energy is not None
    assert made.tariff.energy.prices[0].price_kwh == Decimal("0.45454545")
