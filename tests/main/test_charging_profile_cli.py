"""Limits over time, drawn in a terminal."""

from __future__ import annotations

from chargeplane.main.cli.charging_profile import curve


def test_a_curve_is_as_high_as_its_limits_and_scaled_at_the_left() -> None:
    rows = curve([{"start_s": 0, "limit": 8}, {"start_s": 50, "limit": 4}], 100, width=4, height=2)
    assert rows == ["        8 ┤██  ", "        4 ┤████"]


def test_no_limit_is_drawn_as_such_and_eighths_are_shown() -> None:
    rows = curve([{"start_s": 0, "limit": None}, {"start_s": 50, "limit": 8}, {"start_s": 75, "limit": 3}], 100, 4, 1)
    assert rows == ["        8 ┤∞∞█▃"]
    assert curve([{"start_s": 0, "limit": 0}], 60, 3, 1) == ["        1 ┤   "]
