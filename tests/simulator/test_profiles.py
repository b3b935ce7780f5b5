from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chargeplane.simulator.profiles import NO_LIMIT_W, Anchor, Profile, Profiles, Purpose

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def profile(id: int, purpose: Purpose, limit: float, *, level: int = 0, evse_id: int = 1, **more: object) -> Profile:
    fields: dict[str, object] = {
        "anchor": Anchor.ABSOLUTE,
        "start": NOW,
        "duration_s": None,
        "in_amperes": False,
        "periods": ((0, limit, None),),
        **more,
    }
    return Profile(id=id, evse_id=evse_id, purpose=purpose, stack_level=level, **fields)  # type: ignore[arg-type]


def limit(profiles: Profiles, at: datetime = NOW, started: datetime | None = None) -> int:
    return profiles.limit_w(1, 3, at, started)


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
    held.put(profile(1, Purpose.TX_DEFAULT, 0, in_amperes=True, periods=((0, 16.0, 3), (60, 16.0, 1))))
    assert limit(held) == 16 * 230 * 3
    assert limit(held, NOW + timedelta(minutes=1)) == 16 * 230


def test_relative_schedule_counts_from_the_start_of_the_transaction() -> None:
    held = Profiles()
    held.put(
        profile(
            1,
            Purpose.TX_DEFAULT,
            0,
            anchor=Anchor.RELATIVE,
            start=None,
            periods=((0, 3_000.0, None), (600, 7_000.0, None)),
        )
    )
    assert limit(held) == NO_LIMIT_W
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


def test_composite_schedule_tells_every_change() -> None:
    held = Profiles()
    held.put(profile(1, Purpose.TX_DEFAULT, 0, periods=((0, 5_000.0, None), (300, 9_000.0, None)), duration_s=900))
    assert held.composite(1, 3, 22_080, NOW, None, 3600) == [(0, 5_000), (300, 9_000), (900, 22_080)]
