"""A static limit of an EVSE holds over transactions: what would overrule it is sent with no more in it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from chargeplane.domain.charging_dialects import Electrics
from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.domain.static_caps import within


def profile(unit: RateUnit, purpose: ProfilePurpose = ProfilePurpose.TX, **fields: Any) -> ChargingProfile:
    periods = (ChargingPeriod(**fields), ChargingPeriod(start_s=60, limit=Decimal(1)))
    schedules = (ChargingSchedule(id=1, unit=unit, periods=periods),)
    return ChargingProfile(
        id=1, evse_id=1, stack_level=0, purpose=purpose, kind=ProfileKind.RELATIVE, schedules=schedules
    )


@pytest.mark.parametrize(
    ("unit", "fields", "cap", "cap_unit", "wanted"),
    [
        (RateUnit.A, {"limit": 32}, 16, RateUnit.A, {"limit": 16}),
        (RateUnit.A, {"limit": 10}, 16, RateUnit.A, {"limit": 10}),
        (RateUnit.W, {"limit": 22_000}, 16, RateUnit.A, {"limit": 11_040}),
        (RateUnit.W, {"limit": 22_000, "number_phases": 1}, 16, RateUnit.A, {"limit": 3_680}),
        (RateUnit.A, {"limit": 32}, 11_000, RateUnit.W, {"limit": Decimal("15.9")}),
        (RateUnit.A, {}, 16, RateUnit.A, {"limit": 16}),
        (RateUnit.W, {"limit": 9_000, "limit_l2": 2_000}, 11_040, RateUnit.W, {"limit": 3_680, "limit_l2": 2_000}),
        (RateUnit.W, {"setpoint": 22_000}, 11_000, RateUnit.W, {"setpoint": 11_000}),
        (RateUnit.W, {"setpoint": -22_000}, 11_000, RateUnit.W, {"setpoint": -22_000}),
    ],
)
def test_a_transaction_gets_no_more_than_the_static_limit(
    unit: RateUnit, fields: dict[str, Any], cap: int, cap_unit: RateUnit, wanted: dict[str, Any]
) -> None:
    given: dict[str, Any] = {
        name: Decimal(value) if name != "number_phases" else value for name, value in fields.items()
    }
    found = within(profile(unit, **given), Decimal(cap), cap_unit, Electrics())
    (first, second) = found.schedules[0].periods
    assert {name: getattr(first, name) for name in wanted} == {name: Decimal(value) for name, value in wanted.items()}
    assert second == ChargingPeriod(start_s=60, limit=Decimal(1))


def test_what_cannot_overrule_it_stays() -> None:
    station = profile(RateUnit.A, ProfilePurpose.CHARGING_STATION_MAX, limit=Decimal(32))
    assert within(station, Decimal(6), RateUnit.A, Electrics()) is station
    low = profile(RateUnit.A, limit=Decimal(6))
    assert within(low, Decimal(6), RateUnit.A, Electrics()) is low
