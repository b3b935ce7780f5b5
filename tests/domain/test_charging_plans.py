"""Schedules for vehicles, the check of their own, and what differs between two composite schedules."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from chargeplane.domain.charging_plans import differences, exceeding, plan, planned_s
from chargeplane.domain.charging_profiles import ChargingSchedule, RateUnit
from chargeplane.domain.composite_schedules import CompositeSchedule
from chargeplane.domain.smart_charging import AcNeeds, DcNeeds, EvChargingNeeds, EvChargingSchedule
from tests.domain.charging import A, W, at, period

NOON = at("2026-01-31T12:00")


def limits(*told: tuple[int, Any], unit: RateUnit = W) -> CompositeSchedule:
    return CompositeSchedule(
        evse_id=1, start=NOON, duration_s=3600, unit=unit, periods=tuple(period(*one) for one in told)
    )


def needs(**more: Any) -> EvChargingNeeds:
    ac = AcNeeds(energy_wh=Decimal(9000), min_current=Decimal(6), max_current=Decimal(16), max_voltage=Decimal(230))
    return EvChargingNeeds(**{"evse_id": 1, "requested": "AC_three_phase", "ac": ac, **more})


def planned(made: ChargingSchedule | None) -> list[tuple[int, Decimal | None]]:
    assert made is not None
    return [(p.start_s, p.limit) for p in made.periods]


def test_a_vehicle_gets_what_the_limits_allow_and_no_more_than_it_takes() -> None:
    assert planned(plan(limits((0, 7000), (600, 22_000), (1200, None)), needs())) == [(0, 7000), (600, 11_040)]
    assert planned(plan(limits((0, 20), unit=A), needs())) == [(0, 16)]


def test_k15_fr_07_no_more_periods_than_station_and_vehicle_take_and_the_last_is_the_lowest_of_the_rest() -> None:
    steps = limits((0, 7000), (600, 5000), (1200, 6000), (1800, 4000))
    assert planned(plan(steps, needs(max_periods=2))) == [(0, 7000), (600, 4000)]
    assert planned(plan(steps, needs(), most_periods=3)) == [(0, 7000), (600, 5000), (1200, 4000)]


def test_without_limits_and_without_needs_there_is_no_plan() -> None:
    assert plan(limits((0, None)), needs(ac=None)) is None


@pytest.mark.parametrize(
    ("told", "watts"),
    [
        (needs(requested="AC_single_phase"), 3680),
        (
            needs(ac=None, dc=DcNeeds(max_current=Decimal(100), max_voltage=Decimal(400), max_power=Decimal(30_000))),
            30_000,
        ),
        (needs(ac=None), None),
    ],
)
def test_what_a_vehicle_takes(told: EvChargingNeeds, watts: int | None) -> None:
    assert told.max_power_w == watts


def test_a_vehicle_is_planned_until_it_leaves() -> None:
    assert planned_s(needs(), NOON) == 86_400
    assert planned_s(needs(departure_at=NOON + timedelta(hours=2)), NOON) == 7200
    assert planned_s(needs(departure_at=NOON - timedelta(hours=2)), NOON) == 900


def told(*steps: tuple[int, Any], unit: RateUnit = W) -> EvChargingSchedule:
    schedule = ChargingSchedule(unit=unit, periods=tuple(period(*one) for one in steps))
    return EvChargingSchedule(evse_id=1, time_base=NOON, schedule=schedule)


def test_k15_fr_11_fr_12_a_vehicle_s_schedule_is_within_the_limits_or_not() -> None:
    assert exceeding(told((0, 7000), (900, 3000)), limits((0, 7000), (1800, 3000))) is None
    assert exceeding(told((0, 7000)), limits((0, None))) is None
    sentence = exceeding(told((0, 7000)), limits((0, 7000), (1800, 3000)))
    assert sentence == "from 1800 s to 3600 s it takes 7000 W where 3000 are allowed"


def test_differences_of_composite_schedules_are_joined() -> None:
    ours, theirs = limits((0, 7000), (600, 8000)), limits((0, "7000.05"), (300, 6000), (600, 6000), (900, 8000))
    found = differences(ours.periods, theirs.periods, 3600)
    assert [(one.start_s, one.end_s, one.ours, one.theirs) for one in found] == [
        (300, 600, 7000, 6000),
        (600, 900, 8000, 6000),
    ]
    assert differences(limits((0, None)).periods, limits((0, None)).periods, 60) == ()
