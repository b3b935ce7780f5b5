"""What models refuse, and what they get instead."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.charging_dialects import Electrics, Trait, adapted, fallbacks
from chargeplane.domain.charging_profiles import ProfilePurpose, RateUnit
from tests.domain.charging import ABSOLUTE, DEFAULT, MAX, A, W, at, profile

NOON = at("2026-01-31T12:00")
HOUSE = Electrics(voltage=Decimal(230), phases=3, evses=2)


def got(purpose: ProfilePurpose, limit: object, unit: RateUnit, *traits: Trait, phases: int | None = None) -> Decimal:
    one = profile(purpose, ABSOLUTE, [(0, limit)], start=NOON, unit=unit, phases=phases)
    found = adapted(one, frozenset(traits), HOUSE).profile.schedules[0].periods[0].limit
    assert found is not None
    return found


def test_without_traits_a_profile_stays_as_it_is() -> None:
    one = profile(MAX, ABSOLUTE, [(0, 11_000)], start=NOON)
    assert adapted(one, frozenset(), HOUSE).profile is one
    assert adapted(one, frozenset(), HOUSE).changes == ()


def test_units_are_converted_by_phases_and_voltage_and_never_upwards() -> None:
    assert got(DEFAULT, 11_000, W, Trait.NO_WATTS) == Decimal("15.9")
    assert got(DEFAULT, 3_680, W, Trait.NO_WATTS, phases=1) == 16
    assert got(DEFAULT, 16, A, Trait.NO_AMPERES) == 11_040
    assert got(DEFAULT, 16, A, Trait.NO_WATTS) == 16


def test_a_station_s_maximum_becomes_a_share_for_each_evse() -> None:
    found = adapted(profile(MAX, ABSOLUTE, [(0, 11_001)], start=NOON), frozenset({Trait.NO_STATION_MAX}), HOUSE)
    assert found.profile.purpose is DEFAULT
    assert found.profile.schedules[0].periods[0].limit == Decimal("5500.5")
    assert len(found.changes) == 1


def test_a_pause_becomes_the_least_current() -> None:
    assert got(DEFAULT, 0, A, Trait.NO_ZERO_LIMIT) == 6
    assert got(DEFAULT, 0, W, Trait.NO_ZERO_LIMIT) == 6 * 230 * 3
    assert got(DEFAULT, 0, W, Trait.NO_ZERO_LIMIT, Trait.NO_WATTS) == 6
    assert got(DEFAULT, 1, W, Trait.NO_ZERO_LIMIT) == 1


@pytest.mark.parametrize(
    ("told", "first"),
    [
        ("It says: UnsupportedRateUnit", Trait.NO_WATTS),
        ("It says: UnsupportedPurpose", Trait.NO_STATION_MAX),
        ("It says: InvalidStackLevel", Trait.STACK_LEVEL_FROM_ONE),
        ("It says: InvalidSchedule", Trait.NO_ZERO_LIMIT),
        ("The station refused the charging profile.", Trait.NO_WATTS),
    ],
)
def test_reason_codes_lead_to_the_fallback(told: str, first: Trait) -> None:
    one = profile(MAX, ABSOLUTE, [(0, 0)], start=NOON)
    assert next(fallbacks(one, frozenset(), told)) is first


def test_a_station_that_takes_no_watts_is_not_tried_without_amperes() -> None:
    one = profile(DEFAULT, ABSOLUTE, [(0, 16)], start=NOON, unit=A, level=1)
    assert list(fallbacks(one, frozenset({Trait.NO_WATTS}), "")) == []


@given(
    limit=st.decimals(min_value=0, max_value=500_000, places=1),
    unit=st.sampled_from([W, A]),
    traits=st.frozensets(st.sampled_from([Trait.NO_WATTS, Trait.NO_STATION_MAX, Trait.STACK_LEVEL_FROM_ONE])),
    phases=st.sampled_from([None, 1, 3]),
)
def test_a_fallback_never_allows_more(
    limit: Decimal, unit: RateUnit, traits: frozenset[Trait], phases: int | None
) -> None:
    one = profile(MAX, ABSOLUTE, [(0, limit)], start=NOON, unit=unit, phases=phases)
    found = adapted(one, traits, HOUSE).profile
    period = found.schedules[0].periods[0]
    assert period.limit is not None
    factor = 230 * (phases or 3)
    watts = period.limit * (factor if found.schedules[0].unit is A else 1)
    share = HOUSE.evses if found.purpose is DEFAULT else 1
    assert watts * share <= limit * (factor if unit is A else 1)
