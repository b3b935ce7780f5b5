"""Which register counts, and what is repaired."""

from __future__ import annotations

from decimal import Decimal

from chargeplane.domain.messages import Reading, Sample
from chargeplane.domain.transactions import Flag
from tests.domain.desk import Desk, at, ended, reading, start16, started, stop16, updated, values16, wh


def power(watts: int) -> Sample:
    return Sample("Power.Active.Import", Decimal(watts), "W")


def interval(value: int, **more: str) -> Sample:
    return Sample("Energy.Active.Import.Interval", Decimal(value), "Wh", **more)


def test_the_total_counts_beside_its_phases() -> None:
    desk = Desk()
    desk.tell(started(0, reading(0, wh(100, phase="L1"), wh(100, phase="L2"), wh(100, phase="L3"), wh(300)), seq=0))
    desk.tell(updated(1, reading(1, wh(600), wh(210, phase="L1"), wh(200, phase="L2"), wh(190, phase="L3")), seq=1))
    assert desk.only.energy_wh == 300


def test_phases_are_added_where_there_is_no_total() -> None:
    desk = Desk()
    desk.tell(started(0, reading(0, wh(100, phase="L1"), wh(100, phase="L2"), wh(100, phase="L3")), seq=0))
    desk.tell(updated(1, reading(1, wh(210, phase="L1-N"), wh(200, phase="L2-N"), wh(190, phase="L3-N")), seq=1))
    assert desk.only.energy_wh == 300


def test_phases_of_one_moment_in_readings_of_their_own_are_added() -> None:
    desk = Desk()
    for minute in (0, 1):
        apart = [Reading(at(minute), (wh(100 + 50 * minute, phase=phase),)) for phase in ("L1", "L2", "L3")]
        desk.tell(updated(minute, *apart, seq=minute))
    assert desk.only.energy_wh == 150


def test_a_missing_phase_is_no_fall_of_the_sum() -> None:
    desk = Desk()
    desk.tell(started(0, reading(0, wh(100, phase="L1"), wh(100, phase="L2"), wh(100, phase="L3")), seq=0))
    desk.tell(updated(1, reading(1, wh(150, phase="L1")), seq=1))
    desk.tell(updated(2, reading(2, wh(200, phase="L1"), wh(200, phase="L2"), wh(200, phase="L3")), seq=2))
    assert desk.only.energy_wh == 300
    assert Flag.METER_RESET not in desk.only.flags


def test_an_outlet_named_is_the_outlet_by_default() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    desk.tell(updated(1, reading(1, wh(1300, location="Outlet")), seq=1))
    assert desk.only.energy_wh == 300
    assert len(desk.only.tracks) == 1


def test_meter_start_and_stop_count_where_the_values_between_are_phases_only() -> None:
    desk = Desk()
    desk.tell(start16(0, 12_000))
    for minute in (1, 2):
        desk.tell(values16(minute, *(wh(50 * minute, phase=phase) for phase in ("L1", "L2", "L3"))))
    assert desk.only.energy_wh == 150
    state = desk.tell(stop16(3, 12_400))
    assert state is not None
    assert state.energy_wh == 400
    assert state.flags == ()


def test_outlet_counts_before_inlet_and_body() -> None:
    desk = Desk()
    desk.tell(
        started(0, reading(0, wh(1000, location="Inlet"), wh(10, location="Outlet"), wh(5, location="Body")), seq=0)
    )
    desk.tell(updated(1, reading(1, wh(2000, location="Inlet"), wh(60), wh(500, location="Body")), seq=1))
    assert desk.only.energy_wh == 50


def test_inlet_counts_where_nothing_better_is_given_and_never_mixes() -> None:
    desk = Desk()
    desk.tell(started(0, reading(0, wh(1000, location="Inlet")), seq=0))
    desk.tell(updated(1, reading(1, wh(1300, location="Inlet"), wh(90_000, location="Body")), seq=1))
    assert desk.only.energy_wh == 300


def test_intervals_are_added_where_only_they_are_given() -> None:
    desk = Desk()
    desk.tell(started(0, seq=0))
    for minute in range(1, 5):
        desk.tell(updated(minute, reading(minute, interval(100 + minute)), seq=minute))
    assert desk.only.energy_wh == 410
    # The same interval told in another event is one interval.
    desk.tell(updated(4, reading(4, interval(104)), seq=9, trigger_reason="Trigger"))
    assert desk.only.energy_wh == 410


def test_the_register_counts_before_intervals() -> None:
    desk = Desk()
    desk.tell(started(0, reading(0, wh(1000), interval(0)), seq=0))
    desk.tell(updated(1, reading(1, wh(1090), interval(100)), seq=1))
    assert desk.only.energy_wh == 90


def test_values_of_other_measurands_bring_no_energy() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    export = Sample("Energy.Active.Export.Register", Decimal(9999), "Wh")
    desk.tell(updated(1, reading(1, export, power(11_000)), seq=1))
    assert desk.only.energy_wh == 0


def test_a_unit_that_is_no_energy_does_not_count() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    desk.tell(updated(1, reading(1, Sample("Energy.Active.Import.Register", Decimal(5000), "furlong")), seq=1))
    assert desk.only.energy_wh == 0


def test_begin_and_end_in_the_stop_give_the_energy() -> None:
    desk = Desk()
    desk.tell(started(0, seq=0))
    desk.tell(updated(5, 1400, seq=1))
    state = desk.tell(
        ended(
            10,
            Reading(at(0), (wh(1000, context="Transaction.Begin"),)),
            Reading(at(10), (wh(1900, context="Transaction.End"),)),
            seq=2,
        )
    )
    assert state is not None
    assert (state.meter_start_wh, state.meter_stop_wh, state.energy_wh) == (1000, 1900, 900)


def test_begin_and_end_under_one_time_in_the_stop_give_the_energy() -> None:
    desk = Desk()
    desk.tell(started(0, seq=0))
    desk.tell(updated(5, 1400, seq=1))
    both = Reading(at(10), (wh(1000, context="Transaction.Begin"), wh(1900, context="Transaction.End")))
    state = desk.tell(ended(10, both, seq=2))
    assert state is not None
    assert state.energy_wh == 900
    assert Flag.METER_RESET not in state.flags


def test_a_rounded_meter_stop_is_the_end_and_no_reset() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(5, "5000.9"))
    state = desk.tell(stop16(6, 5000))
    assert state is not None
    assert state.energy_wh == 4000
    assert state.flags == ()


def test_a_value_told_twice_counts_once() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(5, 1500))
    desk.tell(values16(5, wh(1500, context="Sample.Clock")))
    state = desk.tell(stop16(5, 1500, data=(reading(0, wh(1000, context="Transaction.Begin")), reading(5, 1500))))
    assert state is not None
    assert state.energy_wh == 500


def test_one_zero_between_two_values_that_continue_is_left_out_and_marked() -> None:
    desk = Desk()
    desk.tell(start16(0, 12_345_678))
    desk.tell(values16(1, 12_345_900))
    desk.tell(values16(2, 0))
    assert Flag.METER_RESET in desk.only.flags
    desk.tell(values16(3, 12_346_100))
    state = desk.tell(stop16(4, 12_346_300))
    assert state is not None
    assert state.energy_wh == 622
    assert Flag.METER_GLITCH in state.flags
    assert Flag.METER_RESET not in state.flags


def test_one_wild_value_upwards_is_left_out_and_marked() -> None:
    desk = Desk()
    desk.tell(start16(0, 10_000))
    desk.tell(values16(1, 99_999_999))
    assert desk.only.energy_wh == 0
    assert Flag.METER_JUMP in desk.only.flags
    desk.tell(values16(2, 10_200))
    state = desk.tell(stop16(3, 10_300))
    assert state is not None
    assert state.energy_wh == 300
    assert Flag.METER_GLITCH in state.flags


def test_wh_numbers_declared_kwh_are_repaired_against_the_meter_start() -> None:
    desk = Desk()
    desk.tell(start16(0, 12_000))
    for minute in (10, 20):
        desk.tell(values16(minute, wh((12_000 + 100 * minute) * 1000)))
    assert desk.only.energy_wh == 2000
    state = desk.tell(stop16(30, 15_000))
    assert state is not None
    assert state.energy_wh == 3000
    assert Flag.UNIT_REPAIRED in state.flags
    assert Flag.METER_RESET not in state.flags


def test_an_ended_in_kwh_after_updates_in_wh_is_repaired() -> None:
    desk = Desk()
    desk.tell(started(0, 12_345_000, seq=0))
    desk.tell(updated(10, 12_346_500, seq=1))
    state = desk.tell(ended(20, "12347.25", seq=2))
    assert state is not None
    assert state.energy_wh == 2250
    assert Flag.UNIT_REPAIRED in state.flags
    assert Flag.METER_RESET not in state.flags


def test_an_ended_in_whole_kwh_rounded_down_is_repaired() -> None:
    desk = Desk()
    desk.tell(started(0, 12_345_000, seq=0))
    desk.tell(updated(10, 12_346_500, seq=1))
    state = desk.tell(ended(20, 12_346, seq=2))
    assert state is not None
    assert state.energy_wh == 1500
    assert Flag.UNIT_REPAIRED in state.flags


def test_a_small_register_that_restarts_is_a_reset_and_not_taken_for_kwh() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    desk.tell(updated(1, 2000, seq=1))
    desk.tell(updated(2, 50, seq=2))
    state = desk.tell(ended(3, 150, seq=3))
    assert state is not None
    assert state.energy_wh == 1100
    assert Flag.METER_RESET in state.flags
    assert Flag.UNIT_REPAIRED not in state.flags


def test_a_register_a_thousand_times_what_power_and_time_say_is_repaired() -> None:
    desk = Desk()
    # 11 kW are 183 Wh a minute; the station declares them kWh.
    desk.tell(started(0, reading(0, wh(0), power(11_000)), seq=0))
    for minute in range(1, 6):
        desk.tell(updated(minute, reading(minute, wh(183_000 * minute), power(11_000)), seq=minute))
    assert desk.only.energy_wh == 915
    assert Flag.UNIT_REPAIRED in desk.only.flags
    state = desk.tell(ended(6, reading(6, wh(1_098_000)), seq=6))
    assert state is not None
    assert state.energy_wh == 1098


def test_kwh_numbers_under_wh_are_repaired_by_power_and_time() -> None:
    desk = Desk()
    desk.tell(started(0, reading(0, wh("0.0"), power(11_000)), seq=0))
    for minute in range(1, 6):
        desk.tell(updated(minute, reading(minute, wh(f"{0.183 * minute:.3f}"), power(11_000)), seq=minute))
    assert desk.only.energy_wh == 915
    assert Flag.UNIT_REPAIRED in desk.only.flags


def test_a_fast_session_is_not_repaired() -> None:
    desk = Desk()
    desk.tell(start16(0, 0))
    desk.tell(values16(0.001, wh(20_000), power(11_000)))
    state = desk.tell(stop16(0.002, 90_000))
    assert state is not None
    assert state.energy_wh == 90_000
    assert state.flags == ()


def test_an_unusable_value_is_no_reading() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    broken = Sample("Energy.Active.Import.Register", None, "Wh", raw="value", repaired="number_unusable")
    desk.tell(updated(1, reading(1, broken), seq=1))
    assert desk.only.energy_wh == 0
    assert desk.only.flags == ()


def test_power_on_a_trigger_brings_no_energy() -> None:
    desk = Desk()
    desk.tell(started(0, 1000, seq=0))
    desk.tell(updated(1, reading(1, power(7000)), seq=1, trigger_reason="Trigger"))
    assert desk.only.energy_wh == 0


def test_readings_of_a_batch_in_any_order_count_by_their_time() -> None:
    desk = Desk()
    desk.tell(start16(0, 500))
    state = desk.tell(stop16(40, 4000, data=(reading(30, 3000), reading(10, 1000), reading(20, 2000))))
    assert state is not None
    assert state.energy_wh == 3500
    assert Flag.METER_RESET not in state.flags


def test_clock_set_back_between_start_and_stop_still_counts() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(-50, 1400, id=1), now=at(10))
    state = desk.tell(stop16(-40, 1900, id=1), now=at(20))
    assert state is not None
    assert state.energy_wh == 900


def test_a_transaction_end_value_ahead_of_the_stop_ends_nothing() -> None:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(5, wh(1990, context="Transaction.End")))
    state = desk.tell(stop16(6, 2000))
    assert state is not None
    assert state.energy_wh == 1000


def test_a_clock_aligned_value_sent_after_a_sampled_one_needs_no_history() -> None:
    desk = Desk()
    desk.tell(start16(0, 0))
    for minute in range(1, 30):
        desk.tell(values16(minute, 100 * minute))
        desk.tell(values16(minute - 0.1, wh(100 * minute - 10, context="Sample.Clock")), now=at(minute + 0.1))
    assert desk.histories == 0
    assert desk.only.energy_wh == 2900
