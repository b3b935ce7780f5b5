"""Which availability a station has forgotten."""

from __future__ import annotations

from chargeplane.domain.availability import Wanted, forgotten


def wanted(evse: int, connector: int, operative: bool) -> Wanted:
    return Wanted(evse_id=evse, connector_id=connector, operative=operative)


def test_a_place_that_is_to_be_off_and_is_on_was_forgotten() -> None:
    off = wanted(2, 0, False)
    assert forgotten([off], {(1, 1): "Available", (2, 1): "Available"}) == [off]
    assert forgotten([off], {(1, 1): "Available", (2, 1): "Unavailable"}) == []
    assert forgotten([off], {(2, 1): "Faulted"}) == []


def test_a_place_with_a_car_follows_later() -> None:
    assert forgotten([wanted(1, 0, False)], {(1, 1): "Occupied"}) == []


def test_the_whole_station_is_all_of_its_places() -> None:
    off = wanted(0, 0, False)
    assert forgotten([off], {(1, 1): "Unavailable", (2, 1): "Available"}) == [off]


def test_a_place_that_is_to_be_on_and_is_off_was_forgotten() -> None:
    on = wanted(1, 0, True)
    assert forgotten([on], {(1, 1): "Unavailable"}) == [on]
    assert forgotten([on], {(1, 1): "Occupied"}) == []
    assert forgotten([on], {}) == []


def test_what_another_wish_keeps_off_is_not_missed() -> None:
    on, off = wanted(0, 0, True), wanted(2, 0, False)
    assert forgotten([on, off], {(1, 1): "Available", (2, 1): "Unavailable"}) == []
    assert forgotten([wanted(1, 1, True), wanted(0, 0, False)], {(1, 1): "Unavailable"}) == []
