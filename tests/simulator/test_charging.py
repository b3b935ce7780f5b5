"""Cars and meters, without any wire."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.simulator.car import CAR_MODELS, WATT_MS_PER_WH, Car, CarModel
from chargeplane.simulator.meter import AC_7, AC_22, DC_150, Meter, Quantity
from chargeplane.simulator.noise import Noise
from chargeplane.simulator.profiles import NO_LIMIT_W

SALOON = CarModel(name="saloon", battery_wh=77_000, ac_phases=3, ac_max_a=16, dc_max_w=235_000)
CITY = CarModel(name="city", battery_wh=36_000, ac_phases=1, ac_max_a=32)


@given(st.lists(st.integers(1, 600_000), min_size=1, max_size=50), st.integers(0, 95))
def test_energy_does_not_depend_on_the_steps(steps: list[int], soc: int) -> None:
    meter = Meter(AC_22, Noise(1), register_wh=1000)
    car = Car(SALOON, soc_percent=soc)
    before = car.missing
    for step in steps:
        meter.flow(car, step, NO_LIMIT_W)
    assert meter.delivered == before - car.missing
    assert meter.register_wh == 1000 + meter.delivered // WATT_MS_PER_WH


@given(st.integers(1, 40_000))
def test_flow_stops_at_the_exact_energy(energy_wh: int) -> None:
    meter = Meter(DC_150, Noise(1))
    meter.flow(Car(SALOON, soc_percent=10), 10**9, NO_LIMIT_W, most=energy_wh * WATT_MS_PER_WH)
    assert meter.delivered == energy_wh * WATT_MS_PER_WH


def test_full_car_takes_nothing_more() -> None:
    meter, car = Meter(AC_22, Noise(1)), Car(SALOON, soc_percent=99)
    ran = meter.flow(car, 10**8, NO_LIMIT_W)
    assert ran < 10**8
    assert car.missing == 0
    assert meter.flow(car, 1000, NO_LIMIT_W) == 0
    assert meter.power_w == 0


def test_dc_power_tapers_with_the_state_of_charge() -> None:
    powers = [Car(SALOON, soc_percent=soc).wants_w(dc=True, phases=3, offered_w=10**6) for soc in (30, 60, 80, 90, 99)]
    assert powers == sorted(powers, reverse=True)
    assert powers[0] == 235_000
    assert powers[-1] < 25_000


@pytest.mark.parametrize(
    ("model", "evse", "watts"),
    [(SALOON, AC_22, 3 * 16 * 230), (SALOON, AC_7, 16 * 230), (CITY, AC_22, 32 * 230), (CITY, AC_7, 32 * 230)],
)
def test_ac_power_is_what_car_and_evse_both_can(model: CarModel, evse: object, watts: int) -> None:
    assert isinstance(evse, type(AC_22))
    car = Car(model, soc_percent=20)
    assert car.wants_w(dc=False, phases=evse.phases, offered_w=evse.power_w) == watts


def test_car_pauses_below_six_amperes() -> None:
    car = Car(SALOON, soc_percent=20)
    assert car.wants_w(dc=False, phases=3, offered_w=5 * 3 * 230) == 0
    assert car.wants_w(dc=False, phases=3, offered_w=6 * 3 * 230) == 6 * 3 * 230


def test_reading_shows_the_phases_the_car_uses() -> None:
    meter, car = Meter(AC_22, Noise(1)), Car(CITY, soc_percent=20)
    meter.flow(car, 60_000, NO_LIMIT_W)
    values = {(v.quantity, v.phase): v.value for v in meter.read(tuple(Quantity), car, NO_LIMIT_W)}
    assert Decimal(31) < values[Quantity.CURRENT, "L1"] < Decimal(33)
    assert values[Quantity.CURRENT, "L2"] == values[Quantity.CURRENT, "L3"] == 0
    assert all(Decimal(225) < values[Quantity.VOLTAGE, p] < Decimal(235) for p in ("L1-N", "L2-N", "L3-N"))
    assert values[Quantity.POWER, None] == 32 * 230


def test_noise_is_repeatable() -> None:
    assert [Noise(5).uuid() for _ in range(2)] == [Noise(5).uuid()] * 2
    assert Noise(5).uuid() != Noise(6).uuid()
    assert all(car.battery_wh for car in CAR_MODELS)
