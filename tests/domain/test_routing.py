"""Which transaction a report belongs to, where the answer is not plain."""

from __future__ import annotations

from chargeplane.domain.messages import IdToken
from chargeplane.domain.routing import Loose, Opens, is_placeholder, route
from chargeplane.domain.transactions import Flag, Lookup
from tests.domain.desk import TAG, Desk, at, ended, start16, started, stop16, updated, values16


def test_a_start_newer_than_all_that_was_told_needs_no_lookup() -> None:
    assert isinstance(route(start16(1, 0), "m", [], None, at(1), at(0)), Opens)
    assert isinstance(route(started(1), "m", [], None, at(1), at(0)), Opens)


def test_a_start_that_may_repeat_an_earlier_one_is_looked_up() -> None:
    assert route(start16(1, 0), "m", [], None, at(1)) == Lookup(ocpp_transaction_id=None)
    assert route(start16(1, 0), "m", [], None, at(9), at(5)) == Lookup(ocpp_transaction_id=None)
    assert route(started(1, id="x"), "m", [], None, at(9), at(5)) == Lookup(ocpp_transaction_id="x")


def test_a_start_in_the_future_proves_nothing() -> None:
    assert isinstance(route(start16(60, 0), "m", [], None, at(1), at(0)), Lookup)


def test_an_event_under_an_unknown_id_is_looked_up() -> None:
    assert route(updated(1, id="x"), "m", [], None, at(1)) == Lookup(ocpp_transaction_id="x")
    assert route(ended(1, id="x"), "m", [], None, at(1)) == Lookup(ocpp_transaction_id="x")
    assert route(stop16(1, 5, id=77), "m", [], None, at(1)) == Lookup(ocpp_transaction_id="77")
    assert route(values16(1, 5, id=77), "m", [], None, at(1)) == Lookup(ocpp_transaction_id="77")


def test_placeholders_are_what_stations_write_for_none() -> None:
    assert all(is_placeholder(word) for word in (None, "", "0", "-1", "null"))
    assert not is_placeholder("1")


def test_the_router_hands_on_the_state_in_memory_and_not_the_stored_one() -> None:
    desk = Desk(newest_told=False)
    desk.tell(start16(0, 0), message_id="a")
    desk.tell(values16(1, 100))
    # The desk asserts it for every report; a repeated start goes through the store here.
    desk.tell(start16(0, 0), now=at(2), message_id="a")
    assert desk.repeats == 1


def test_values_of_no_transaction_are_loose_with_a_reason() -> None:
    routed = route(values16(1, 5, id=77), "m", [], [], at(1))
    assert isinstance(routed, Loose)
    assert "77" in routed.reason


def test_an_update_without_any_id_opens_nothing() -> None:
    assert isinstance(route(updated(1, 5, id=None), "m", [], [], at(1)), Loose)


def test_two_starts_of_one_driver_on_two_connectors_are_two_transactions() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000, connector=1))
    desk.tell(start16(0, 1000, connector=2))
    assert len(desk.open) == 2


def test_tokens_compare_without_case_in_repeats() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(start16(0, 1000, tag=IdToken(value=TAG.value.lower())), now=at(1))
    assert len(desk.states) == 1


def test_a_stop_of_another_driver_under_an_unknown_id_is_not_taken_for_the_running_one() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    state = desk.tell(stop16(5, 2000, id=4711, tag=IdToken(value="SOMEBODY")))
    assert state is not None
    assert state.id == 2
    assert desk.states[1].is_open
    assert Flag.OPENED_BY_STOP in state.flags


def test_of_two_that_fit_a_stop_the_nearest_register_is_taken() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000, connector=1))
    desk.tell(start16(0, 50_000, connector=2))
    state = desk.tell(stop16(5, 51_000, id=-1, tag=TAG))
    assert state is not None
    assert (state.id, state.energy_wh) == (2, 1000)


def test_a_stop_earlier_than_the_running_transaction_is_not_its_stop() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(stop16(-30, 900, id=-1, tag=TAG), now=at(1))
    assert desk.states[1].is_open


def test_ids_that_come_back_after_boots_go_to_the_transaction_of_their_time() -> None:
    desk = Desk()
    for hour in range(3):
        desk.tell(started(60 * hour, 1000 * hour, seq=0, id="1"))
        desk.tell(ended(60 * hour + 30, 1000 * hour + 100, seq=2, id="1"))
    desk.tell(updated(75, 1050, seq=1, id="1"), now=at(200))
    assert [state.ordinal for state in desk.states.values()] == [2, 3, 2]


def test_a_stop_without_id_gets_one_and_its_late_start_joins_it() -> None:
    desk = Desk()
    desk.tell(stop16(10, 2000, id=-1, tag=TAG))
    assert desk.only.ocpp_transaction_id == "1"
    state = desk.tell(start16(0, 500), now=at(11))
    assert state is desk.only
    assert state is not None
    assert state.energy_wh == 1500
    assert not state.is_open
    assert Flag.OPENED_BY_STOP not in state.flags


def test_updates_under_zero_before_their_started_join_it() -> None:
    desk = Desk()
    desk.tell(updated(1, 200, seq=1, id="0"))
    desk.tell(started(0, 100, seq=0, id="real"), now=at(2))
    assert desk.only.energy_wh == 100
