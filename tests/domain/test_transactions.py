"""What a report does to its transaction: one test a rule of the field."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec

from chargeplane.domain.messages import IdToken, MeterReport, ReportKind
from chargeplane.domain.transactions import Advanced, Flag, TransactionState, advance, open_transaction
from chargeplane.kernel.ids import TransactionId
from tests.domain.desk import NOON, TAG, Desk, at, ended, reading, start16, started, stop16, updated, values16, wh


def test_a_16_session_has_the_energy_between_meter_start_and_meter_stop() -> None:
    desk = Desk()
    desk.tell(start16(0, 12_000))
    for minute in range(1, 30):
        desk.tell(values16(minute, 12_000 + 180 * minute))
    state = desk.tell(stop16(30, 17_411))
    assert state is not None
    assert (state.energy_wh, state.meter_start_wh, state.meter_stop_wh) == (5411, 12_000, 17_411)
    assert (state.started_at, state.stopped_at, state.stop_reason) == (NOON, at(30), "Local")
    assert not state.is_open
    assert state.flags == ()
    assert state.id_token == TAG


def test_a_2x_session_has_the_energy_of_its_events() -> None:
    desk = Desk()
    desk.tell(started(0, 500, seq=0, token=TAG, charging_state="EVConnected"))
    desk.tell(updated(1, 750, seq=1, charging_state="Charging"))
    state = desk.tell(ended(2, 1000, seq=2, stop_reason="EVDisconnected"))
    assert state is not None
    assert state.energy_wh == 500
    assert state.ocpp_transaction_id == "tx-1"
    assert state.stop_reason == "EVDisconnected"
    assert state.flags == ()


def test_the_normal_case_never_asks_the_store() -> None:
    desk = Desk()
    desk.tell(start16(0, 0))
    desk.tell(started(0.5, 0, evse=2, seq=0))
    for minute in range(1, 60):
        desk.tell(values16(minute, 100 * minute))
        desk.tell(updated(minute + 0.5, 100 * minute, evse=2, seq=minute))
    desk.tell(ended(61, 7000, evse=2, seq=60))
    desk.tell(stop16(61, 7000))
    assert (desk.lookups, desk.histories) == (0, 0)


def test_seq_no_always_zero_never_asks_the_store() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    for minute in range(1, 60):
        desk.tell(updated(minute, 100 * minute, seq=0))
    state = desk.tell(ended(60, 6000, seq=0))
    assert state is not None
    assert state.energy_wh == 6000
    assert desk.histories == 0
    assert Flag.SEQ_REPEATED in state.flags
    assert state.ordinal == 61


def test_messages_without_time_never_ask_the_store() -> None:
    desk = Desk()
    desk.tell(started(None, reading(None, 0)), now=at(0))
    for minute in range(1, 60):
        desk.tell(updated(None, reading(None, 100 * minute)), now=at(minute))
    state = desk.tell(ended(None, reading(None, 6000)), now=at(60))
    assert state is not None
    assert state.energy_wh == 6000
    assert state.started_at == at(0)
    assert state.stopped_at == at(60)
    assert desk.histories == 0


def test_seq_no_repeated_with_other_content_is_another_event_and_flagged() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    desk.tell(updated(1, 100, seq=2))
    desk.tell(updated(2, 200, seq=2))
    state = desk.tell(updated(3, 300, seq=2))
    assert state is not None
    assert state.ordinal == 4
    assert state.energy_wh == 300
    assert Flag.SEQ_REPEATED in state.flags


def test_a_retried_start_makes_one_transaction() -> None:
    desk = Desk()
    first = desk.tell(start16(0, 1000), message_id="a")
    again = desk.tell(start16(0, 1000), now=at(3), message_id="b")
    assert again is first
    assert desk.repeats == 1


def test_a_retried_start_after_long_charging_makes_one_transaction() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    for minute in range(1, 40):
        desk.tell(values16(minute, 1000 + minute))
    before = desk.only
    assert desk.tell(start16(0, 1000), now=at(50)) is before


def test_a_retried_stop_counts_once() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    first = desk.tell(stop16(10, 2000))
    again = desk.tell(stop16(10, 2000), now=at(500))
    assert again is first
    assert desk.only.ordinal == 2


def test_a_retried_batch_counts_once() -> None:
    desk = Desk(newest_told=False)
    batch = [started(0, 0, seq=0), *(updated(m, 50 * m, seq=m) for m in range(1, 30)), ended(30, 1500, seq=30)]
    for report in batch:
        desk.tell(report, now=at(40))
    before = desk.only
    for report in batch:
        desk.tell(report, now=at(41))
    assert desk.only is before
    assert desk.repeats == len(batch)


def test_same_message_id_with_other_content_is_no_repeat() -> None:
    desk = Desk()
    desk.tell(start16(0, 0), message_id="1")
    desk.tell(values16(1, 100), message_id="1")
    state = desk.tell(values16(2, 200), message_id="1")
    assert state is not None
    assert state.energy_wh == 200


def test_a_16_start_like_an_earlier_closed_one_is_new_unless_the_message_id_is_equal() -> None:
    desk = Desk(newest_told=False)
    desk.tell(start16(0, 1000), message_id="a")
    desk.tell(stop16(0.5, 1000))
    desk.tell(start16(0, 1000), now=at(1), message_id="a")
    assert len(desk.states) == 1
    desk.tell(start16(0, 1000), now=at(1), message_id="b")
    assert len(desk.states) == 2


def test_a_stop_with_an_unconfirmed_id_is_matched_by_token_and_time() -> None:
    for unconfirmed in (-1, 0, None, 99_999):
        desk = Desk()
        desk.tell(start16(0, 1000, connector=1))
        desk.tell(start16(1, 5000, connector=2, tag=IdToken(value="OTHER")))
        state = desk.tell(stop16(9, 2500, id=unconfirmed, tag=IdToken(value="04a1b2c3")))
        assert state is not None
        assert (state.id, state.energy_wh, state.is_open) == (1, 1500, False), unconfirmed
        assert len(desk.states) == 2


def test_a_stop_with_no_id_and_no_token_goes_to_the_only_open_transaction() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    state = desk.tell(stop16(9, 2500, id=-1))
    assert state is not None
    assert (state.id, state.energy_wh) == (1, 1500)
    assert Flag.ID_MISMATCH in state.flags


def test_a_retried_stop_with_no_id_counts_once() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(stop16(9, 2500, id=-1))
    desk.tell(start16(10, 2500))
    desk.tell(stop16(9, 2500, id=-1), now=at(11))
    assert len(desk.states) == 2
    assert [state.is_open for state in desk.states.values()] == [False, True]
    assert desk.repeats == 1


def test_a_stop_that_matches_nothing_opens_a_session() -> None:
    desk = Desk()
    data = (reading(-30, wh(1000, context="Transaction.Begin")), reading(-10, 1700))
    state = desk.tell(stop16(0, 2500, id=-1, tag=TAG, data=data))
    assert state is not None
    assert not state.is_open
    assert state.energy_wh == 1500
    assert {Flag.OPENED_BY_STOP, Flag.START_UNCONFIRMED} <= set(state.flags)
    desk.tell(stop16(0, 2500, id=-1, tag=TAG, data=data), now=at(5))
    assert desk.only is state


def test_after_a_power_cut_only_the_stop_arrives() -> None:
    desk = Desk()
    state = desk.tell(ended(0, 4000, seq=7, offline=True, stop_reason="PowerLoss", token=TAG))
    assert state is not None
    assert not state.is_open
    assert {Flag.OPENED_BY_STOP, Flag.START_UNCONFIRMED, Flag.OFFLINE} <= set(state.flags)
    # The start was in another queue and comes after all.
    state = desk.tell(started(-60, 1000, seq=0, token=TAG), now=at(10))
    assert state is desk.only
    assert state is not None
    assert state.energy_wh == 3000
    assert state.started_at == at(-60)
    assert not {Flag.OPENED_BY_STOP, Flag.START_UNCONFIRMED} & set(state.flags)


def test_offline_events_with_old_sequence_numbers_neither_wind_back_nor_get_lost() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0, charging_state="EVConnected"))
    desk.tell(updated(30, 3000, seq=5, charging_state="Charging"), now=at(30))
    assert Flag.SEQ_GAP in desk.only.flags
    assert desk.only.seq_gaps == ((1, 4),)
    for seq in range(1, 5):
        desk.tell(updated(5 * seq, 400 * seq, seq=seq, offline=True, charging_state="SuspendedEV"), now=at(31))
    state = desk.only
    assert state.energy_wh == 3000
    assert state.charging_state == "Charging"
    assert state.ordinal == 6
    assert Flag.SEQ_GAP not in state.flags
    assert Flag.OFFLINE in state.flags
    assert state.meter_start_wh == 0


def test_values_with_a_garbage_id_are_matched_by_connector_and_time() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    for garbage in (None, "-1", "0", "987654321"):
        desk.tell(values16(1, 1100, id=garbage))
    assert desk.only.energy_wh == 100
    assert desk.only.ordinal == 5
    desk.tell(values16(2, 1100, id="-1", connector=2))
    assert len(desk.loose) == 1


def test_values_before_the_transaction_are_not_matched_to_it() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(-5, 900, id=None), now=at(1))
    assert desk.only.ordinal == 1
    assert len(desk.loose) == 1


def test_station_level_values_during_the_transaction_give_its_energy() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    for minute in range(1, 10):
        desk.tell_values(
            MeterReport(evse_id=1, connector_id=1, readings=(reading(minute, 1000 + 100 * minute),)), at(minute)
        )
    assert desk.only.energy_wh == 900
    state = desk.tell(ended(10, seq=1, evse=None))
    assert state is not None
    assert state.energy_wh == 900


def test_one_station_level_value_counts_where_it_continues_the_starts() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    desk.tell_values(MeterReport(evse_id=1, connector_id=1, readings=(reading(1, 1400),)), at(1))
    assert desk.only.energy_wh == 400
    state = desk.tell(ended(2, 1300, seq=1))
    assert state is not None
    assert state.energy_wh == 300


def test_station_level_values_of_another_register_do_not_mix_with_the_transactions_own() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    desk.tell_values(MeterReport(evse_id=1, connector_id=1, readings=(reading(1, 5_000_000),)), at(1))
    desk.tell_values(MeterReport(evse_id=1, connector_id=1, readings=(reading(2, 5_000_100),)), at(2))
    assert desk.only.energy_wh == 100
    state = desk.tell(ended(3, 250, seq=1))
    assert state is not None
    assert state.energy_wh == 250


def test_values_of_another_evse_or_of_the_main_meter_are_not_the_transactions() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    for evse in (0, 2):
        assert desk.tell_values(MeterReport(evse_id=evse, connector_id=1, readings=(reading(1, 9000),)), at(1)) is None


def test_a_meter_that_restarts_at_zero_books_the_sum_of_the_rises() -> None:
    desk = Desk()
    desk.tell(start16(0, 12_000))
    desk.tell(values16(10, 15_000))
    desk.tell(values16(20, 0))
    desk.tell(values16(30, 1500))
    state = desk.tell(stop16(40, 4000))
    assert state is not None
    assert state.energy_wh == 3000 + 4000
    assert Flag.METER_RESET in state.flags
    assert (state.meter_start_wh, state.meter_stop_wh) == (12_000, 4000)


def test_a_meter_stop_below_meter_start_is_never_negative() -> None:
    desk = Desk()
    desk.tell(start16(0, 12_000))
    state = desk.tell(stop16(40, 4))
    assert state is not None
    assert state.energy_wh == 0
    assert Flag.METER_RESET in state.flags


def test_values_after_their_stop_message_count_where_they_are_earlier() -> None:
    desk = Desk()
    desk.tell(start16(0, 12_000))
    desk.tell(stop16(40, 2000))
    assert desk.only.energy_wh == 0
    desk.tell(values16(10, 14_000), now=at(41))
    desk.tell(values16(20, 500), now=at(41))
    state = desk.only
    assert state.energy_wh == 2000 + 1500
    assert not state.is_open
    assert Flag.LATE_VALUES in state.flags


def test_a_stop_below_values_stored_because_the_car_charged_on_ends_at_its_own_value() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(5, 1500))
    desk.tell(values16(20, 3000))
    state = desk.tell(stop16(10, 2000), now=at(21))
    assert state is not None
    assert state.energy_wh == 1000
    assert state.stopped_at == at(10)
    assert Flag.METER_RESET not in state.flags
    state = desk.tell(values16(25, 3500), now=at(25))
    assert state is not None
    assert state.energy_wh == 1000


def test_messages_of_the_outage_mixed_with_live_ones_give_the_same_energy() -> None:
    live = [updated(m, 100 * m, seq=m) for m in range(10, 20)]
    outage = [updated(m, 100 * m, seq=m) for m in range(1, 10)]
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    for a, b in zip(live, outage, strict=False):
        desk.tell(a, now=at(21))
        desk.tell(b, now=at(21))
    for report in live[len(outage) :]:
        desk.tell(report, now=at(22))
    state = desk.tell(ended(20, 2000, seq=20), now=at(23))
    assert state is not None
    assert state.energy_wh == 2000
    assert not {Flag.METER_RESET, Flag.SEQ_GAP, Flag.SEQ_REPEATED} & set(state.flags)


def test_a_started_with_another_time_on_a_closed_id_is_a_new_transaction() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    desk.tell(ended(5, 100, seq=1))
    desk.tell(started(60, 100, seq=0))
    desk.tell(updated(61, 150, seq=1))
    state = desk.tell(ended(65, 300, seq=2))
    assert state is not None
    assert [s.energy_wh for s in desk.states.values()] == [100, 200]


def test_a_started_with_another_time_on_an_open_id_after_a_boot_is_a_new_transaction() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    desk.tell(updated(5, 100, seq=1))
    desk.tell(started(60, 100, seq=0))
    assert [s.is_open for s in desk.states.values()] == [False, True]
    assert Flag.CLOSED_BY_EVIDENCE in desk.states[1].flags
    assert desk.states[1].energy_wh == 100


def test_a_second_started_that_goes_on_counting_is_the_same_transaction() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    desk.tell(updated(1, seq=1))
    desk.tell(started(2, 10, seq=2))
    assert desk.only.started_at == at(0)


def test_id_zero_in_updated_and_ended_is_matched_to_the_started_one() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0, id="real"))
    desk.tell(updated(1, 1200, seq=1, id="0"))
    state = desk.tell(ended(2, 1500, seq=2, id="0"))
    assert state is not None
    assert state.ocpp_transaction_id == "real"
    assert state.energy_wh == 500
    assert Flag.ID_MISMATCH in state.flags
    desk.tell(ended(2, 1500, seq=2, id="0"), now=at(9))
    assert desk.only.ordinal == 3


def test_another_stations_transaction_id_becomes_a_session_of_its_own() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0, id="mine", evse=1))
    state = desk.tell(ended(5, 9000, seq=9, id="of-another-station", evse=2))
    assert state is not None
    assert state.id == 2
    assert desk.states[1].is_open


def test_an_ended_without_evse_token_and_values_closes_with_the_last_known_value() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0, token=TAG))
    desk.tell(updated(5, 1600, seq=1))
    state = desk.tell(ended(6, seq=2, evse=None))
    assert state is not None
    assert (state.evse_id, state.id_token) == (1, TAG)
    assert (state.energy_wh, state.meter_stop_wh) == (600, 1600)


def test_a_started_without_connector_and_value_learns_them_from_updates() -> None:
    desk = Desk()
    desk.tell(started(0, seq=0, evse=None))
    desk.tell(updated(1, 1000, seq=1, evse=3))
    desk.tell(updated(2, 1000, seq=2, token=TAG, trigger_reason="Authorized"))
    state = desk.tell(ended(3, 1400, seq=3))
    assert state is not None
    assert (state.evse_id, state.connector_id, state.id_token) == (3, 1, TAG)
    assert (state.meter_start_wh, state.energy_wh) == (1000, 400)


def test_a_stop_without_reason_and_tag_is_a_stop() -> None:
    desk = Desk()
    desk.tell(start16(0, 0))
    state = desk.tell(stop16(1, 10, reason=None))
    assert state is not None
    assert not state.is_open
    assert state.stop_reason is None


def test_the_token_that_stopped_is_not_the_one_that_started() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0, token=TAG))
    other = IdToken(value="FRIEND")
    desk.tell(updated(1, seq=1, token=other, trigger_reason="StopAuthorized"))
    state = desk.tell(ended(2, 10, seq=2))
    assert state is not None
    assert (state.id_token, state.stop_id_token) == (TAG, other)


def test_a_new_start_on_the_evse_ends_the_one_whose_stop_never_came() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(5, 1500))
    desk.tell(start16(60, 1800))
    old, new = desk.states.values()
    assert not old.is_open
    assert old.stopped_at == at(5)
    assert Flag.CLOSED_BY_EVIDENCE in old.flags
    assert new.is_open
    # The stop comes after all, with its own value.
    state = desk.tell(stop16(30, 1800), now=at(61))
    assert state is not None
    assert (state.id, state.energy_wh, state.stopped_at) == (1, 800, at(30))


def test_a_replayed_old_start_does_not_end_the_running_transaction() -> None:
    desk = Desk()
    desk.tell(start16(0, 5000))
    desk.tell(start16(-60, 1000), now=at(1))
    assert [state.is_open for state in desk.states.values()] == [True, True]


def test_closing_by_hand_keeps_the_last_known_value() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(5, 1500))
    state = desk.close(Flag.CLOSED_BY_OPERATOR, "Cable stolen", at(90))
    assert (state.energy_wh, state.meter_stop_wh, state.stopped_at) == (500, 1500, at(90))
    assert state.stop_reason == "Cable stolen"
    assert Flag.CLOSED_BY_OPERATOR in state.flags


def test_a_second_stop_with_other_content_changes_nothing_but_the_marks() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(stop16(10, 2000))
    state = desk.tell(stop16(20, 90_000))
    assert state is not None
    assert (state.energy_wh, state.stopped_at, state.meter_stop_wh) == (1000, at(10), 2000)
    assert Flag.SECOND_STOP in state.flags


def test_a_time_of_1970_is_kept_and_not_believed() -> None:
    desk = Desk()
    lost = start16(0, 1000)
    lost = msgspec.structs.replace(
        lost, at=NOON.replace(year=1970), readings=(reading(None, wh(1000, context="Transaction.Begin")),)
    )
    desk.tell(lost, now=at(0))
    desk.tell(values16(5, 1500))
    state = desk.tell(stop16(9, 1700))
    assert state is not None
    assert state.started_at == at(0)
    assert state.reported_start == NOON.replace(year=1970)
    assert state.energy_wh == 700
    assert Flag.TIME_UNTRUSTED in state.flags


def test_a_time_in_the_future_is_never_trusted() -> None:
    desk = Desk()
    desk.tell(start16(120, 1000), now=at(0))
    desk.tell(values16(130, 1300), now=at(10))
    state = desk.tell(stop16(140, 1700), now=at(20))
    assert state is not None
    assert (state.started_at, state.stopped_at, state.energy_wh) == (at(0), at(20), 700)


def test_a_start_replayed_with_an_unknown_time_stays_the_beginning() -> None:
    desk = Desk()
    start = msgspec.structs.replace(start16(0, 1000), at=None)
    desk.tell(values16(5, 1300, id=7))  # loose: nothing runs
    desk.tell(start, now=at(60))
    state = desk.tell(stop16(50, 1900), now=at(61))
    assert state is not None
    assert state.energy_wh == 900


def test_every_16th_event_and_every_change_writes_a_snapshot() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    snapshots = 0
    previous = desk.snapshots[1]
    for minute in range(1, 65):
        desk.tell(updated(minute, minute, seq=minute))
        if desk.snapshots[1] is not previous:
            snapshots += 1
            previous = desk.snapshots[1]
    assert snapshots == 4


def test_the_state_encodes_to_json_and_back_exactly() -> None:
    desk = Desk()
    desk.tell(started(0, "1000.500", seq=0, token=TAG, charging_state="Charging", offline=True))
    desk.tell(
        updated(1, reading(1, wh("1200.50"), wh(7, location="Inlet"), wh(1, phase="L1", location="Cable")), seq=3)
    )
    desk.tell(updated(2, 3, seq=4))
    state = desk.only
    again = msgspec.json.decode(msgspec.json.encode(state), type=TransactionState)
    assert again == state
    assert str(again.tracks[0].base) == str(state.tracks[0].base)


def test_states_are_small() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0, token=TAG))
    for minute in range(1, 100):
        desk.tell(updated(minute, reading(minute, wh(100 * minute)), seq=minute, charging_state="Charging"))
    assert len(msgspec.json.encode(desk.only)) < 1500


def test_sequence_gaps_are_bounded() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    for minute in range(1, 200):
        desk.tell(updated(minute, seq=minute * 10))
    assert len(desk.only.seq_seen) <= 64
    assert Flag.SEQ_GAP in desk.only.flags


def test_an_update_whose_start_never_came_opens_a_transaction() -> None:
    desk = Desk()
    state = desk.tell(updated(0, 1000, seq=4))
    assert state is not None
    assert state.is_open
    assert Flag.START_UNCONFIRMED in state.flags
    state = desk.tell(started(-5, 700, seq=0), now=at(1))
    assert state is desk.only
    assert state is not None
    assert (state.energy_wh, state.started_at, state.meter_start_wh) == (300, at(-5), 700)
    assert Flag.START_UNCONFIRMED not in state.flags


def test_energy_is_a_decimal_without_rounding() -> None:
    desk = Desk()
    desk.tell(started(0, "0.1", seq=0))
    state = desk.tell(ended(1, "300.35", seq=1))
    assert state is not None
    assert state.energy_wh == Decimal("300.25")


def test_kinds_are_as_ocpp_names_them() -> None:
    assert [kind.value for kind in ReportKind] == ["Started", "Updated", "Ended"]


def test_events_a_second_apart_with_times_in_whole_seconds_are_told_apart() -> None:
    desk = Desk()
    desk.tell(started(0, 0, seq=0))
    for second in range(1, 100):
        desk.tell(updated(second / 60, second, seq=0))
        desk.tell(updated(second / 60, seq=0, charging_state=f"S{second}"))
    assert desk.only.ordinal == 199
    assert desk.histories == 0
    assert timedelta(0) < at(1) - NOON


def test_a_transaction_closed_by_evidence_that_goes_on_keeps_its_energy() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    desk.close(Flag.CLOSED_BY_EVIDENCE, "EVSE free", at(1))
    state = desk.tell(updated(30, 3000, seq=1))
    assert state is not None
    assert (state.energy_wh, state.stopped_at, state.is_open) == (2000, at(30), False)
    assert Flag.LATE_VALUES in state.flags
    state = desk.tell(ended(40, 3500, seq=2, stop_reason="Local"))
    assert state is not None
    assert (state.energy_wh, state.stopped_at, state.stop_reason) == (2500, at(40), "Local")


def test_a_repeat_of_an_event_older_than_the_window_is_told_from_the_history() -> None:
    desk = Desk()
    desk.tell(start16(0, 0))
    reports = [values16(minute, 100 * minute) for minute in range(1, 40)]
    for report in reports:
        desk.tell(report)
    before = desk.only
    desk.tell(reports[3], now=at(50))
    assert desk.only is before
    assert desk.histories == 1


def test_a_meter_stop_of_zero_keeps_what_the_values_measured() -> None:
    desk = Desk()
    desk.tell(start16(0, 12_000))
    desk.tell(values16(5, 15_000))
    state = desk.tell(stop16(6, 0))
    assert state is not None
    assert state.energy_wh == 3000
    assert Flag.METER_RESET in state.flags


def test_a_boot_with_power_up_in_the_middle_does_not_end_the_transaction() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    desk.tell(updated(5, 1500, seq=1))
    # After the boot the station goes on under the same id, its register from 0.
    desk.tell(updated(10, 0, seq=2))
    state = desk.tell(ended(20, 800, seq=3))
    assert state is not None
    assert state.energy_wh == 1300
    assert len(desk.states) == 1


def test_a_started_told_twice_under_two_message_ids_is_one() -> None:
    desk = Desk(newest_told=False)
    first = desk.tell(started(0, 1000, seq=0, token=TAG), message_id="1")
    assert desk.tell(started(0, 1000, seq=0, token=TAG), now=at(7), message_id="2") is first


def test_an_unknown_or_blocked_token_keeps_the_record() -> None:
    opened = open_transaction(
        start16(0, 1000),
        id=TransactionId(1),
        assigned_id=1,
        message_id="m",
        content_hash=bytes(16),
        flags=(Flag.REFUSED_TOKEN,),
        now=at(0),
    )
    assert opened.opened
    assert opened.state.is_open
    assert opened.state.flags == (Flag.REFUSED_TOKEN,)
    later = advance(opened.state, stop16(5, 3000), message_id="n", content_hash=b"1" * 16, now=at(5))
    assert isinstance(later, Advanced)
    assert later.state.energy_wh == 2000
    assert Flag.REFUSED_TOKEN in later.state.flags
