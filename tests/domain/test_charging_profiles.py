"""What happens to a profile over its life: updates, delays, the end of a transaction, an offline spell."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from chargeplane.domain.charging_profiles import (
    PeriodUpdate,
    after_offline,
    after_transaction,
    cleared,
    delayed,
    updated,
)
from chargeplane.kernel.errors import InvalidInputError
from tests.domain.charging import DEFAULT, DYNAMIC, EXTERNAL, GENERATION, MAX, RELATIVE, TX, at, period, profile

NOON = at("2026-03-02T12:00")


def test_dynamic_profile_takes_new_values_and_the_time_k28() -> None:
    before = profile(DEFAULT, DYNAMIC, [period(0, 5000, setpoint=Decimal(10))])
    after = updated(before, PeriodUpdate(limit=Decimal(7000), limit_l2=Decimal(1)), NOON)
    assert after.schedules[0].periods == (period(0, 7000, limit_l2=Decimal(1), setpoint=Decimal(10)),)
    assert after.dyn_update_at == NOON


def test_other_profiles_take_no_update_k28_fr_11() -> None:
    with pytest.raises(InvalidInputError, match="Relative"):
        updated(profile(DEFAULT, RELATIVE, [(0, 5000)]), PeriodUpdate(limit=Decimal(1)), NOON)


def test_delays_of_the_errata_example_drop_the_overtaken_period_k01_fr_97() -> None:
    given = profile(DEFAULT, RELATIVE, [(0, 0), (300, 1), (600, 2), (900, 3)], schedule={"randomized_delay_s": 800})
    after = delayed(given.schedules[0], [555, 753, 123, 87])
    assert [(p.start_s, p.limit) for p in after.periods] == [(0, 0), (723, 2), (987, 3)]


def test_delayed_period_beyond_the_end_is_dropped_k01_fr_97() -> None:
    given = profile(DEFAULT, RELATIVE, [(0, 0), (300, 1), (600, 2)], duration_s=700)
    after = delayed(given.schedules[0], [0, 50, 100])
    assert [(p.start_s, p.limit) for p in after.periods] == [(0, 0), (350, 1)]
    assert after.duration_s == 700


def test_delays_of_ocpp_2_1_k_3_9_example_1() -> None:
    peaks = [(0, 999999), (28800, 0), (39600, 999999), (57600, 0), (79200, 999999)]
    after = delayed(profile(DEFAULT, RELATIVE, peaks, duration_s=86400).schedules[0], [99, 123, 345, 234, 456])
    assert [p.start_s for p in after.periods] == [0, 28923, 39945, 57834, 79656]


def test_end_of_a_transaction_removes_its_profiles_k02_fr_05() -> None:
    kept = (
        profile(DEFAULT, RELATIVE, [(0, 1)], id=1),
        profile(TX, RELATIVE, [(0, 1)], id=2, transaction_id="U"),
    )
    assert after_transaction((*kept, profile(TX, RELATIVE, [(0, 1)], id=3, transaction_id="T")), "T") == kept


def test_long_offline_spell_ends_profiles_that_ask_for_it_k01_fr_102() -> None:
    stays = profile(DEFAULT, RELATIVE, [(0, 1)], id=1, max_offline_s=60)
    goes = profile(DEFAULT, RELATIVE, [(0, 1)], id=2, level=1, max_offline_s=60, invalid_after_offline=True)
    assert after_offline((stays, goes), NOON, NOON + timedelta(seconds=59)) == (stays, goes)
    assert after_offline((stays, goes), NOON, NOON + timedelta(seconds=60)) == (stays,)


@pytest.mark.parametrize(
    ("asked", "gone"),
    [
        ({}, [1, 2, 3]),  # OCPP 1.6 errata 3.25
        ({"id": 2}, [2]),
        ({"id": 9}, []),
        ({"id": 2, "evse_id": 9}, [2]),  # OCPP 1.6 errata 3.26
        ({"evse_id": 1}, [2, 3]),
        ({"evse_id": 1, "stack_level": 1}, [3]),
        ({"purpose": MAX}, [1]),
        ({"purpose": MAX, "evse_id": 1}, []),
        ({"evse_id": 0}, [1]),
        ({"purpose": EXTERNAL}, []),  # K10.FR.08
        ({"id": 4}, []),  # K10.FR.09
        ({"id": 5}, []),
    ],
)
def test_profiles_are_cleared_that_match_all_criteria_k10(asked: dict[str, Any], gone: list[int]) -> None:
    installed = [
        profile(MAX, DYNAMIC, [(0, 1)], id=1),
        profile(DEFAULT, RELATIVE, [(0, 1)], id=2),
        profile(DEFAULT, RELATIVE, [(0, 1)], id=3, level=1),
        profile(EXTERNAL, DYNAMIC, [(0, 1)], id=4),
        profile(GENERATION, DYNAMIC, [(0, 1)], id=5),
    ]
    kept, removed = cleared(installed, **asked)
    assert [p.id for p in removed] == gone
    assert [p.id for p in kept] == [n for n in range(1, 6) if n not in gone]
