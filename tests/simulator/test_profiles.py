"""The station's own idea of charging profiles: what counts, what the composite schedule is, and that it is the server's idea too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
    Recurrency,
)
from chargeplane.domain.composite_schedules import (
    EvseCondition,
    OpenTransaction,
    OwnLimit,
    StationCondition,
    composite,
)
from chargeplane.domain.composite_schedules import Supply as DomainSupply
from chargeplane.simulator.profiles import NO_LIMIT_W, Anchor, Period, Profile, Profiles, Purpose, Running, Supply

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
AC_22 = Supply(phases=3, power_w=22_080, max_a=Decimal(32))


def profile(id: int, purpose: Purpose, limit: object, *, level: int = 0, evse_id: int = 1, **more: Any) -> Profile:
    periods = more.pop("periods", ((0, limit, None),))
    fields: dict[str, Any] = {
        "anchor": Anchor.ABSOLUTE,
        "start": NOW,
        "duration_s": None,
        "in_amperes": False,
        "periods": tuple(Period(start_s=s, limit=Decimal(str(v)), number_phases=n) for s, v, n in periods),
        **more,
    }
    return Profile(id=id, evse_id=evse_id, purpose=purpose, stack_level=level, **fields)


def limit(profiles: Profiles, at: datetime = NOW, started: datetime | None = NOW) -> int:
    return profiles.limit_w(1, AC_22, at, Running(id="t", started_at=started))


def test_no_profile_is_no_limit() -> None:
    assert limit(Profiles()) == NO_LIMIT_W


def test_higher_stack_level_counts_and_the_lower_one_when_it_has_ended() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX_DEFAULT, 11_000))
    held.put(profile(2, Purpose.TX_DEFAULT, 5_000, level=1, duration_s=3600))
    assert limit(held) == 5_000
    assert limit(held, NOW + timedelta(hours=1)) == 11_000


def test_transaction_profile_replaces_the_default_and_the_station_limit_stays() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX_DEFAULT, 4_000))
    held.put(profile(2, Purpose.TX, 9_000))
    assert limit(held) == 9_000
    held.put(profile(3, Purpose.STATION_MAX, 6_000, evse_id=0))
    assert limit(held) == 6_000
    held.end_transaction(1)
    assert limit(held) == 4_000


def test_amperes_are_per_phase() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX_DEFAULT, 0, in_amperes=True, periods=((0, 16, 3), (60, 16, 1))))
    assert limit(held) == 16 * 230 * 3
    assert limit(held, NOW + timedelta(minutes=1)) == 16 * 230


def test_relative_schedule_counts_from_the_start_of_the_transaction() -> None:
    held = Profiles()
    relative = {"anchor": Anchor.RELATIVE, "start": None, "periods": ((0, 3_000, None), (600, 7_000, None))}
    held.put(profile(1, Purpose.TX_DEFAULT, 0, **relative))
    assert limit(held, started=None) == NO_LIMIT_W
    assert limit(held, NOW, NOW - timedelta(minutes=9)) == 3_000
    assert limit(held, NOW, NOW - timedelta(minutes=10)) == 7_000


def test_daily_schedule_comes_back() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX_DEFAULT, 2_000, anchor=Anchor.DAILY, duration_s=3600))
    assert limit(held, NOW + timedelta(days=3, minutes=59)) == 2_000
    assert limit(held, NOW + timedelta(days=3, hours=2)) == NO_LIMIT_W


def test_same_id_and_same_place_replace() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX_DEFAULT, 1_000))
    held.put(profile(2, Purpose.TX_DEFAULT, 2_000))
    assert [p.id for p in held] == [2]
    held.put(profile(2, Purpose.TX_DEFAULT, 3_000, level=4))
    assert [p.stack_level for p in held] == [4]
    assert held.clear(id=7) == 0
    assert held.clear(purpose=Purpose.TX_DEFAULT) == 1
    assert held.empty


def test_k10_fr_04_what_an_external_system_set_is_not_cleared() -> None:
    held = Profiles()
    held.put(profile(-5, Purpose.EXTERNAL, 3_000, evse_id=0, source="SO"))
    assert held.clear(stack_level=0) == 0
    assert held.release("SO", 0) == 1


def test_priority_charging_goes_before_the_transaction_s_own_profile() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX, 4_000))
    held.put(profile(2, Purpose.PRIORITY, 20_000, evse_id=0))
    assert limit(held) == 4_000
    assert held.limit_w(1, AC_22, NOW, Running(id="t", started_at=NOW, priority=True)) == 20_000


def test_k01_fr_101_a_profile_for_a_while_without_connection_ends_then() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX_DEFAULT, 9_000, level=1, max_offline_s=60, invalid_after_offline=True))
    held.put(profile(2, Purpose.TX_DEFAULT, 3_000))
    held.offline_since = NOW
    assert limit(held, NOW + timedelta(seconds=59)) == 9_000
    assert limit(held, NOW + timedelta(seconds=60)) == 3_000
    held.back_online(NOW + timedelta(seconds=61))
    assert [p.id for p in held] == [2]


def test_a_setpoint_stays_within_the_limits_of_its_direction() -> None:
    held = Profiles()
    held.put(
        profile(1, Purpose.TX, 0, anchor=Anchor.DYNAMIC, start=None),
    )
    assert held.update(1, {"setpoint": Decimal(-8_000), "limit": Decimal(11_000), "discharge": Decimal(-5_000)}, NOW)
    found = held.values(1, AC_22, NOW, Running(id="t", started_at=NOW))
    assert found.setpoint == -5_000


def test_composite_schedule_tells_every_change() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX_DEFAULT, 0, periods=((0, 5_000, None), (300, 9_000, None)), duration_s=900))
    found = held.composite(1, [(1, AC_22, None)], NOW, 3600, in_amperes=False)
    assert [(second, values.limit) for second, values in found] == [(0, 5_000), (300, 9_000), (900, 22_080)]


# The same profiles, as the server and as the station read them.

_PURPOSES = {
    Purpose.STATION_MAX: ProfilePurpose.CHARGING_STATION_MAX,
    Purpose.EXTERNAL: ProfilePurpose.EXTERNAL_CONSTRAINTS,
    Purpose.TX_DEFAULT: ProfilePurpose.TX_DEFAULT,
    Purpose.TX: ProfilePurpose.TX,
    Purpose.PRIORITY: ProfilePurpose.PRIORITY_CHARGING,
    Purpose.LOCAL_GENERATION: ProfilePurpose.LOCAL_GENERATION,
}
_KINDS = {
    Anchor.ABSOLUTE: (ProfileKind.ABSOLUTE, None),
    Anchor.RELATIVE: (ProfileKind.RELATIVE, None),
    Anchor.DAILY: (ProfileKind.RECURRING, Recurrency.DAILY),
    Anchor.WEEKLY: (ProfileKind.RECURRING, Recurrency.WEEKLY),
}


@st.composite
def drawn_profiles(draw: st.DrawFn) -> list[Profile]:
    found = []
    for number in range(draw(st.integers(1, 5))):
        purpose = draw(st.sampled_from(list(Purpose)))
        anchor = draw(st.sampled_from([Anchor.ABSOLUTE, Anchor.RELATIVE, Anchor.DAILY, Anchor.WEEKLY]))
        of_station = purpose in (Purpose.STATION_MAX, Purpose.EXTERNAL, Purpose.LOCAL_GENERATION)
        if of_station and anchor is Anchor.RELATIVE:
            anchor = Anchor.ABSOLUTE
        starts = sorted({0, *draw(st.lists(st.integers(1, 4000), max_size=3))})
        found.append(
            profile(
                number + 1,
                purpose,
                0,
                level=number,
                evse_id=0 if of_station else 1,
                anchor=anchor,
                start=None if anchor is Anchor.RELATIVE else NOW + timedelta(seconds=draw(st.integers(-5000, 3000))),
                duration_s=draw(st.none() | st.integers(1, 5000)),
                in_amperes=draw(st.booleans()),
                periods=tuple((s, draw(st.integers(0, 40)), draw(st.sampled_from([None, 1, 3]))) for s in starts),
                valid_from=draw(st.none() | st.just(NOW + timedelta(seconds=900))),
                valid_to=draw(st.none() | st.just(NOW + timedelta(seconds=2500))),
            )
        )
    return found


def as_domain(one: Profile) -> ChargingProfile:
    kind, recurrency = _KINDS[one.anchor]
    return ChargingProfile(
        id=one.id,
        evse_id=one.evse_id,
        stack_level=one.stack_level,
        purpose=_PURPOSES[one.purpose],
        kind=kind,
        recurrency=recurrency,
        valid_from=one.valid_from,
        valid_to=one.valid_to,
        schedules=(
            ChargingSchedule(
                unit=RateUnit.A if one.in_amperes else RateUnit.W,
                start=one.start,
                duration_s=one.duration_s,
                periods=tuple(
                    ChargingPeriod(start_s=p.start_s, limit=p.limit, number_phases=p.number_phases) for p in one.periods
                ),
            ),
        ),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(profiles=drawn_profiles(), in_amperes=st.booleans(), started_s=st.integers(0, 3000), priority=st.booleans())
def test_station_and_server_compute_the_same_schedule(
    profiles: list[Profile], in_amperes: bool, started_s: int, priority: bool
) -> None:
    started = NOW - timedelta(seconds=started_s)
    held = Profiles()
    for one in profiles:
        held.put(one, replaces_level=False)
    running = Running(id="t", started_at=started, priority=priority)
    theirs = held.composite(1, [(1, AC_22, running)], NOW, 3600, in_amperes=in_amperes)
    unit = RateUnit.A if in_amperes else RateUnit.W
    own = OwnLimit(limit=AC_22.max_a if in_amperes else Decimal(AC_22.power_w), unit=unit)
    condition = EvseCondition(
        supply=DomainSupply(),
        own_limit=own,
        transaction=OpenTransaction(id="t", ready_at=started, priority=priority),
    )
    ours = composite(
        [as_domain(one) for one in profiles],
        evse_id=1,
        start=NOW,
        duration_s=3600,
        unit=unit,
        station=StationCondition(evses={1: condition}),
    )
    # local generation comes on top of what profiles allow, and never of what the hardware does
    found = [(p.start_s, None if p.limit is None else min(p.limit, own.limit)) for p in ours.periods]
    merged: list[tuple[int, Any]] = []
    for second, value in found:
        if not merged or merged[-1][1] != value:
            merged.append((second, value))
    seen: list[tuple[int, Any]] = []
    for second, values in theirs:
        if not seen or seen[-1][1] != values.limit:
            seen.append((second, values.limit))
    assert seen == merged
