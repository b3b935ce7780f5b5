"""How often stations' profiles are looked at."""

from __future__ import annotations

from chargeplane.app.profile_keeper import rest_after


def test_looks_at_everything_take_a_fiftieth_of_the_time() -> None:
    assert rest_after(0.01) == 0.5
    assert rest_after(0.2) == 10


def test_one_slow_look_does_not_put_off_the_next_for_minutes() -> None:
    assert rest_after(10) == 15
