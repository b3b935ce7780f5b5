"""The composite schedule: the specifications' examples, the rules at the edges, and how fast it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    OperationMode,
    Recurrency,
    SocLimit,
)
from chargeplane.domain.composite_schedules import (
    CompositeSchedule,
    EvseCondition,
    OpenTransaction,
    OwnLimit,
    SetpointPriority,
    StationCondition,
    Supply,
    composite,
)
from chargeplane.kernel.errors import InvalidInputError
from tests.domain.charging import (
    ABSOLUTE,
    DEFAULT,
    DYNAMIC,
    EXTERNAL,
    GENERATION,
    MAX,
    PRIORITY,
    RECURRING,
    RELATIVE,
    TX,
    A,
    W,
    at,
    limits,
    period,
    profile,
)

NOON = at("2026-03-02T12:00")
IN_TX = StationCondition(evses={1: EvseCondition(transaction=OpenTransaction(id="T", ready_at=NOON))})


def asked(
    profiles: list[ChargingProfile],
    *,
    evse: int = 1,
    start: datetime = NOON,
    duration_s: int = 3600,
    unit: Any = W,
    station: StationCondition | None = None,
    alternative: int = 0,
) -> CompositeSchedule:
    return composite(
        profiles,
        evse_id=evse,
        start=start,
        duration_s=duration_s,
        unit=unit,
        station=station,
        alternative=alternative,
    )


class TestExamplesOfTheSpecifications:
    """Each test names the example it computes."""

    def test_daily_profile_of_ocpp_1_6_3_13_7_and_ocpp_2_1_k_3_7(self) -> None:
        daily = profile(
            DEFAULT,
            RECURRING,
            [(0, 11000), (28800, 6000), (72000, 11000)],
            id=100,
            evse=0,
            recurrency=Recurrency.DAILY,
            start=at("2013-01-01T00:00"),
            duration_s=86400,
            phases=3,
        )
        day = asked([daily], start=at("2026-03-02T00:00"), duration_s=86400)
        assert limits(day) == [(0, 11000), (28800, 6000), (72000, 11000)]
        assert {p.number_phases for p in day.periods} == {3}
        # From 18:00 to 18:00: over the boundary of the rounds, where 11 kW meets 11 kW.
        shifted = asked([daily], start=at("2026-03-02T18:00"), duration_s=86400)
        assert limits(shifted) == [(0, 6000), (7200, 11000), (14 * 3600, 6000)]

    @pytest.mark.parametrize(
        ("day", "expected"),
        [
            ("2020-12-19", [(0, None), (61200, 2000), (62280, None)]),  # a Saturday
            ("2020-12-20", [(0, 999999)]),  # a Sunday
            ("2020-12-25", [(0, 999999)]),  # Christmas Day
            ("2021-12-25", [(0, None), (61200, 2000), (62280, None)]),  # no longer valid in 2021
        ],
    )
    def test_stacked_profiles_of_ocpp_2_1_k_3_7_1(self, day: str, expected: list[tuple[int, Any]]) -> None:
        stack = [
            profile(
                DEFAULT,
                RECURRING,
                [(0, 2000)],
                id=10,
                level=1,
                recurrency=Recurrency.DAILY,
                start=at("2020-01-09T17:00"),
                duration_s=1080,
            ),
            profile(
                DEFAULT,
                RECURRING,
                [(0, 999999)],
                id=11,
                level=2,
                recurrency=Recurrency.WEEKLY,
                start=at("2020-01-05T00:00"),
                duration_s=86400,
            ),
            profile(
                DEFAULT,
                ABSOLUTE,
                [(0, 999999)],
                id=12,
                level=3,
                start=at("2020-12-25T00:00"),
                duration_s=86400,
                valid_from=at("2020-01-01T00:00"),
                valid_to=at("2021-01-01T00:00"),
            ),
        ]
        assert limits(asked(stack, start=at(f"{day}T00:00"), duration_s=86400)) == expected

    def test_situation_1_of_ocpp_2_1_figure_121(self) -> None:
        """Lowest of max (level 0), default (level 2) and external (level 1); lower levels do not count."""
        stack = [
            profile(MAX, ABSOLUTE, [(0, 9000)], id=1, start=NOON),
            profile(DEFAULT, ABSOLUTE, [(0, 1000)], id=2, level=0, start=NOON),
            profile(DEFAULT, ABSOLUTE, [(0, 2000)], id=3, level=1, start=NOON),
            profile(DEFAULT, ABSOLUTE, [(0, 8000)], id=4, level=2, start=NOON),
            profile(EXTERNAL, ABSOLUTE, [(0, 500)], id=5, level=0, start=NOON),
            profile(EXTERNAL, ABSOLUTE, [(0, 7000)], id=6, level=1, start=NOON),
        ]
        assert limits(asked(stack)) == [(0, 7000)]

    def test_situation_2_of_ocpp_2_1_figure_122(self) -> None:
        """A TxProfile, whatever its level, goes before the TxDefaultProfile."""
        stack = [
            profile(MAX, ABSOLUTE, [(0, 9000)], id=1, start=NOON),
            profile(DEFAULT, ABSOLUTE, [(0, 1000)], id=4, level=2, start=NOON),
            profile(TX, ABSOLUTE, [(0, 500)], id=7, level=0, start=NOON, transaction_id="T"),
            profile(TX, ABSOLUTE, [(0, 8500)], id=8, level=1, start=NOON, transaction_id="T"),
            profile(EXTERNAL, ABSOLUTE, [(0, 8800)], id=6, level=1, start=NOON),
        ]
        assert limits(asked(stack, station=IN_TX)) == [(0, 8500)]

    def test_no_profile_installed_tc_k_39(self) -> None:
        answer = asked([], evse=0, duration_s=300)
        assert limits(answer) == [(0, None)]
        own = StationCondition(own_limit=OwnLimit(limit=Decimal(32), unit=A))
        assert limits(asked([], evse=0, duration_s=300, unit=A, station=own)) == [(0, 32)]

    @pytest.mark.parametrize("late", [0, 7])
    def test_stacking_tc_k_40(self, late: int) -> None:
        begun = NOON - timedelta(seconds=late)
        window: dict[str, Any] = {"valid_from": begun, "valid_to": begun + timedelta(seconds=401)}
        stack = [
            profile(
                DEFAULT, ABSOLUTE, [(0, 6), (100, 8), (200, 10)], id=1, unit=A, start=begun, duration_s=400, **window
            ),
            profile(
                DEFAULT, ABSOLUTE, [(0, 7), (100, 9)], id=2, level=1, unit=A, start=begun, duration_s=150, **window
            ),
        ]
        assert limits(asked(stack, duration_s=350, unit=A)) == [
            (0, 7),
            (100 - late, 9),
            (150 - late, 8),
            (200 - late, 10),
        ]

    @pytest.mark.parametrize("late", [0, 7])
    def test_combining_purposes_tc_k_41(self, late: int) -> None:
        begun = NOON - timedelta(seconds=late)
        window: dict[str, Any] = {"valid_from": begun, "valid_to": begun + timedelta(seconds=801)}
        stack = [
            profile(MAX, ABSOLUTE, [(0, 10)], id=1, unit=A, start=begun, duration_s=86400),
            profile(
                DEFAULT,
                ABSOLUTE,
                [(0, 6), (60, 10), (120, 8), (180, 15), (260, 8)],
                id=2,
                unit=A,
                start=begun,
                duration_s=300,
                **window,
            ),
            profile(
                TX,
                ABSOLUTE,
                [(0, 8), (50, 11), (140, 16), (200, 6), (240, 12)],
                id=3,
                unit=A,
                start=begun,
                duration_s=260,
                transaction_id="T",
                **window,
            ),
        ]
        assert limits(asked(stack, duration_s=400, unit=A, station=IN_TX)) == [
            (0, 8),
            (50 - late, 10),
            (200 - late, 6),
            (240 - late, 10),
            (260 - late, 8),
            (300 - late, 10),
        ]

    def test_local_generation_of_ocpp_2_1_k27(self) -> None:
        stack = [
            profile(DEFAULT, RELATIVE, [(0, 5000)], id=1),
            profile(GENERATION, ABSOLUTE, [(0, 2000), (1800, 1000)], id=2, start=NOON, duration_s=3600),
        ]
        assert limits(asked(stack, duration_s=7200)) == [(0, 7000), (1800, 6000), (3600, 5000)]

    def test_local_load_balancing_of_ocpp_2_1_k03(self) -> None:
        """6 A by default; the controller's TxProfile of 94 A overrules it."""
        stack = [
            profile(DEFAULT, RELATIVE, [(0, 6)], id=1, evse=0, unit=A),
            profile(TX, RELATIVE, [(0, 94)], id=2, unit=A, transaction_id="T"),
        ]
        assert limits(asked(stack, unit=A)) == [(0, 6)]
        assert limits(asked(stack, unit=A, station=IN_TX)) == [(0, 94)]

    @pytest.mark.parametrize(("setpoint", "expected"), [(2000, 1000), (-2000, -1000), (700, 700), (-700, -700), (0, 0)])
    def test_setpoints_are_capped_as_v2x_03_and_v2x_04_say(self, setpoint: int, expected: int) -> None:
        v2x = period(
            0,
            1000,
            discharge_limit=Decimal(-1000),
            setpoint=Decimal(setpoint),
            operation_mode=OperationMode.CENTRAL_SETPOINT,
        )
        answer = asked([profile(DEFAULT, RELATIVE, [v2x])])
        assert answer.periods[0].setpoint == expected
        assert answer.periods[0].operation_mode is OperationMode.CENTRAL_SETPOINT


class TestLeadingPeriods:
    def test_priority_charging_overrules_only_while_activated_k21_fr_04(self) -> None:
        stack = [
            profile(MAX, ABSOLUTE, [(0, 20000)], id=1, start=NOON),
            profile(TX, RELATIVE, [(0, 4000)], id=2, level=9, transaction_id="T"),
            profile(PRIORITY, RELATIVE, [(0, 22000)], id=3, evse=0),
        ]
        assert limits(asked(stack, station=IN_TX)) == [(0, 4000)]
        urgent = OpenTransaction(id="T", ready_at=NOON, priority=True)
        station = StationCondition(evses={1: EvseCondition(transaction=urgent)})
        assert limits(asked(stack, station=station)) == [(0, 20000)]

    def test_tx_profile_of_another_transaction_or_evse_does_not_count(self) -> None:
        stack = [
            profile(TX, RELATIVE, [(0, 1)], id=1, transaction_id="other"),
            profile(TX, RELATIVE, [(0, 2)], id=2, evse=2, transaction_id="T"),
            profile(DEFAULT, RELATIVE, [(0, 3)], id=3, evse=2),
        ]
        assert limits(asked(stack, station=IN_TX)) == [(0, None)]

    def test_default_of_an_evse_goes_before_that_of_the_station_1_6_3_13_1(self) -> None:
        stack = [
            profile(DEFAULT, RELATIVE, [(0, 10)], id=1, evse=0),
            profile(DEFAULT, RELATIVE, [(0, 20)], id=2, evse=1),
        ]
        assert limits(asked(stack, evse=1)) == [(0, 20)]
        assert limits(asked(stack, evse=2)) == [(0, 10)]

    def test_validity_includes_its_beginning_and_not_its_end_k01_fr_36_37(self) -> None:
        valid = profile(
            DEFAULT,
            RELATIVE,
            [(0, 10)],
            valid_from=NOON + timedelta(seconds=10),
            valid_to=NOON + timedelta(seconds=20),
        )
        assert limits(asked([valid])) == [(0, None), (10, 10), (20, None)]

    def test_periods_from_the_duration_on_are_not_executed_k01_fr_11(self) -> None:
        cut = profile(DEFAULT, ABSOLUTE, [(0, 10), (60, 20), (90, 30)], start=NOON, duration_s=90)
        assert limits(asked([cut])) == [(0, 10), (60, 20), (90, None)]

    def test_schedule_counts_from_its_start_only_k01_fr_30(self) -> None:
        daily = profile(
            DEFAULT, RECURRING, [(0, 10)], recurrency=Recurrency.DAILY, start=NOON + timedelta(seconds=5), duration_s=60
        )
        assert limits(asked([daily], duration_s=86410)) == [(0, None), (5, 10), (65, None), (86405, 10)]

    def test_round_longer_than_the_recurrence_is_cut_1_6_errata_3_44(self) -> None:
        long = profile(
            DEFAULT,
            RECURRING,
            [(0, 10), (86000, 20), (90000, 30)],
            recurrency=Recurrency.DAILY,
            start=NOON,
            duration_s=100000,
        )
        assert limits(asked([long], duration_s=86500)) == [(0, 10), (86000, 20), (86400, 10)]

    def test_recurring_schedule_without_duration_fills_its_round(self) -> None:
        weekly = profile(
            DEFAULT,
            RECURRING,
            [(0, 10), (86400, 20)],
            recurrency=Recurrency.WEEKLY,
            start=NOON - timedelta(days=14),
        )
        assert limits(asked([weekly], duration_s=7 * 86400 + 1)) == [(0, 10), (86400, 20), (604800, 10)]

    def test_relative_schedule_counts_from_power_path_closed_k01_fr_42(self) -> None:
        ramp = profile(DEFAULT, RELATIVE, [(0, 10), (600, 20)])
        begun = OpenTransaction(id="T", ready_at=NOON - timedelta(seconds=500))
        station = StationCondition(evses={1: EvseCondition(transaction=begun)})
        assert limits(asked([ramp], station=station)) == [(0, 10), (100, 20)]
        assert limits(asked([ramp])) == [(0, 10), (600, 20)]

    def test_absolute_schedule_without_start_is_relative_1_6_7_13(self) -> None:
        assert limits(asked([profile(DEFAULT, ABSOLUTE, [(0, 10)], duration_s=60)])) == [(0, 10), (60, None)]

    def test_changes_within_a_second_count_from_the_next(self) -> None:
        late = profile(DEFAULT, ABSOLUTE, [(0, 10)], start=NOON + timedelta(milliseconds=1500), duration_s=2)
        assert limits(asked([late])) == [(0, None), (2, 10), (4, None)]

    def test_dynamic_profile_ends_when_its_updates_stay_out_q07(self) -> None:
        stack = [
            profile(
                DEFAULT, DYNAMIC, [(0, 10)], id=1, level=1, duration_s=60, dyn_update_at=NOON - timedelta(seconds=20)
            ),
            profile(DEFAULT, RELATIVE, [(0, 20)], id=2),
        ]
        assert limits(asked(stack)) == [(0, 10), (40, 20)]

    def test_profile_is_not_valid_after_its_offline_time_k01_fr_101(self) -> None:
        stack = [
            profile(PRIORITY, RELATIVE, [(0, 9)], id=1, level=5, max_offline_s=100),
            profile(DEFAULT, RELATIVE, [(0, 30)], id=2, level=1, max_offline_s=100),
            profile(DEFAULT, RELATIVE, [(0, 20)], id=3),
        ]
        offline = StationCondition(offline_since=NOON - timedelta(seconds=40))
        assert limits(asked(stack, station=offline)) == [(0, 30), (60, 20)]
        assert limits(asked(stack)) == [(0, 30)]

    def test_alternative_schedules_are_combined_by_their_place_k15_fr_22(self) -> None:
        def schedule(limit: int, duration_s: int | None = None) -> ChargingSchedule:
            return ChargingSchedule(unit=W, periods=(period(0, limit),), duration_s=duration_s)

        upper = profile(TX, RELATIVE, [(0, 0)], id=1, level=1, transaction_id="T")
        lower = profile(TX, RELATIVE, [(0, 0)], id=2, level=0, transaction_id="T")
        stack = [
            ChargingProfile(**{**_fields(upper), "schedules": (schedule(1, 60), schedule(2, 60))}),
            ChargingProfile(**{**_fields(lower), "schedules": (schedule(10), schedule(20), schedule(30))}),
            profile(MAX, ABSOLUTE, [(0, 25)], id=3, start=NOON),
        ]
        found = [limits(asked(stack, station=IN_TX, alternative=n)) for n in range(3)]
        assert found == [[(0, 1), (60, 10)], [(0, 2), (60, 20)], [(0, 25)]]


def _fields(profile: ChargingProfile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in profile.__struct_fields__}


class TestLocalTime:
    """K01.FR.90, K01.FR.91, in Amsterdam: +1 h in winter, +2 h in summer."""

    AMSTERDAM = StationCondition(zone=ZoneInfo("Europe/Amsterdam"))
    PEAK = profile(
        DEFAULT,
        RECURRING,
        [(0, 10), (3600, 20), (3 * 3600, 30)],
        recurrency=Recurrency.DAILY,
        start=at("2026-01-01T00:00"),
        duration_s=86400,
        schedule={"use_local_time": True},
    )

    @pytest.mark.parametrize(("day", "utc"), [("2026-01-15", "2026-01-14T23:00"), ("2026-07-15", "2026-07-14T22:00")])
    def test_start_is_read_on_the_wall_clock(self, day: str, utc: str) -> None:
        answer = asked([self.PEAK], start=at(utc), duration_s=86400, station=self.AMSTERDAM)
        assert limits(answer) == [(0, 10), (3600, 20), (10800, 30)]

    def test_an_hour_is_skipped_in_spring(self) -> None:
        # 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
        answer = asked([self.PEAK], start=at("2026-03-28T23:00"), duration_s=10800, station=self.AMSTERDAM)
        assert limits(answer) == [(0, 10), (3600, 20), (7200, 30)]

    def test_an_hour_is_repeated_in_autumn(self) -> None:
        # 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
        answer = asked([self.PEAK], start=at("2026-10-24T22:00"), duration_s=6 * 3600, station=self.AMSTERDAM)
        assert limits(answer) == [(0, 10), (3600, 20), (4 * 3600, 30)]

    def test_without_the_flag_time_is_utc(self) -> None:
        plain = profile(DEFAULT, ABSOLUTE, [(0, 10)], start=NOON, duration_s=60)
        assert limits(asked([plain], station=self.AMSTERDAM)) == [(0, 10), (60, None)]


class TestUnits:
    @pytest.mark.parametrize(
        ("limit", "unit", "phases", "wanted", "expected"),
        [
            (11040, W, 3, A, "16"),  # K01.FR.50: W / (230 V * 3)
            (11040, W, None, A, "16"),  # K01.FR.49: 3 phases where none are named
            (3680, W, 1, A, "16"),
            (16, A, 3, W, "11040"),
            (16, A, None, W, "11040"),
            (16, A, 1, W, "3680"),  # K01.FR.51: a current is that of each phase
            (11000, W, 3, A, "15.942"),  # cut, never above the limit
            ("8.1", A, 1, A, "8.1"),
        ],
    )
    def test_power_and_current(self, limit: object, unit: Any, phases: int | None, wanted: Any, expected: str) -> None:
        given = profile(DEFAULT, RELATIVE, [(0, limit)], unit=unit, phases=phases)
        assert asked([given], unit=wanted).periods[0].limit == Decimal(expected)

    def test_current_keeps_its_number_on_fewer_phases_and_its_power_does_not(self) -> None:
        single = StationCondition(evses={1: EvseCondition(supply=Supply(phases=1))})
        given = [profile(DEFAULT, RELATIVE, [(0, 16)], unit=A)]
        assert limits(asked(given, unit=A, station=single)) == [(0, 16)]
        assert limits(asked(given, unit=W, station=single)) == [(0, 3680)]

    def test_lowest_number_of_phases_counts_k01_fr_140(self) -> None:
        stack = [
            profile(MAX, ABSOLUTE, [(0, 16)], id=1, unit=A, start=NOON, phases=3),
            profile(DEFAULT, RELATIVE, [(0, 32)], id=2, unit=A, phases=1),
        ]
        (amps,) = asked(stack, unit=A).periods
        assert (amps.limit, amps.number_phases) == (16, 1)
        # 16 A on one phase, not 32 A on one or 16 A on three.
        (watts,) = asked(stack, unit=W).periods
        assert (watts.limit, watts.number_phases) == (3680, 1)

    def test_phase_to_use_survives_with_one_phase(self) -> None:
        stack = [
            profile(MAX, ABSOLUTE, [(0, 16)], id=1, unit=A, start=NOON, phases=3),
            profile(DEFAULT, RELATIVE, [period(0, 10, number_phases=1, phase_to_use=2)], id=2, unit=A),
        ]
        assert asked(stack, unit=A).periods == (ChargingPeriod(limit=Decimal(10), number_phases=1, phase_to_use=2),)

    def test_dc_evse_behind_an_ac_grid(self) -> None:
        dc = EvseCondition(supply=Supply(voltage=Decimal(400), direct_current=True))
        station = StationCondition(evses={1: dc})
        grid = profile(MAX, ABSOLUTE, [(0, 100)], id=1, unit=A, start=NOON, phases=3)
        assert limits(asked([grid], unit=W, station=station)) == [(0, 69000)]
        assert limits(asked([grid], unit=A, station=station)) == [(0, Decimal("172.5"))]
        own = profile(DEFAULT, RELATIVE, [(0, 40000)], id=2)
        assert limits(asked([grid, own], unit=A, station=station)) == [(0, 100)]
        assert asked([grid], unit=A, station=station).periods[0].number_phases is None

    def test_limits_per_phase_are_merged_per_phase_k08_fr_09(self) -> None:
        stack = [
            profile(MAX, ABSOLUTE, [(0, 9000)], id=1, start=NOON),
            profile(
                TX,
                RELATIVE,
                [period(0, 4000, limit_l2=Decimal(2000), limit_l3=Decimal(3500))],
                id=2,
                transaction_id="T",
            ),
        ]
        (watts,) = asked(stack, station=IN_TX).periods
        assert (watts.limit, watts.limit_l2, watts.limit_l3) == (3000, 2000, 3000)
        (amps,) = asked(stack, unit=A, station=IN_TX).periods
        assert (amps.limit, amps.limit_l2, amps.limit_l3) == (Decimal("13.043"), Decimal("8.695"), Decimal("13.043"))

    def test_own_limit_of_evse_and_station_counts_always(self) -> None:
        own = EvseCondition(own_limit=OwnLimit(limit=Decimal(16), unit=A))
        station = StationCondition(evses={1: own}, own_limit=OwnLimit(limit=Decimal(11000), unit=W))
        assert limits(asked([profile(DEFAULT, RELATIVE, [(0, 5000)], duration_s=60)], station=station)) == [
            (0, 5000),
            (60, 11000),
        ]
        assert limits(asked([], unit=A, station=station)) == [(0, Decimal("15.942"))]

    @pytest.mark.parametrize(("soc", "expected"), [(None, 9000), ("79.9", 9000), (80, 4000)])
    def test_limit_falls_with_the_state_of_charge_k01_fr_100(self, soc: object, expected: int) -> None:
        careful = profile(
            DEFAULT, RELATIVE, [(0, 9000)], schedule={"limit_at_soc": SocLimit(soc=80, limit=Decimal(4000))}
        )
        transaction = OpenTransaction(id="T", ready_at=NOON, soc=None if soc is None else Decimal(str(soc)))
        station = StationCondition(evses={1: EvseCondition(transaction=transaction)})
        assert limits(asked([careful], station=station)) == [(0, expected)]


class TestSetpoints:
    EMS = profile(
        EXTERNAL,
        DYNAMIC,
        [period(0, setpoint=Decimal(3000), operation_mode=OperationMode.EXTERNAL_SETPOINT)],
        id=1,
    )
    OURS = profile(
        DEFAULT,
        RELATIVE,
        [period(0, 6000, setpoint=Decimal(-2000), operation_mode=OperationMode.CENTRAL_SETPOINT)],
        id=2,
    )

    def test_external_setpoint_goes_first_unless_told_otherwise(self) -> None:
        (first,) = asked([self.EMS, self.OURS]).periods
        assert (first.setpoint, first.operation_mode) == (3000, OperationMode.EXTERNAL_SETPOINT)
        ours = StationCondition(setpoint_priority=SetpointPriority.CSMS)
        (first,) = asked([self.EMS, self.OURS], station=ours).periods
        assert (first.setpoint, first.operation_mode) == (-2000, OperationMode.CENTRAL_SETPOINT)

    def test_discharge_limit_nearest_to_zero_counts_sc_04(self) -> None:
        stack = [
            profile(EXTERNAL, ABSOLUTE, [period(0, discharge_limit=Decimal(-1500))], id=1, start=NOON),
            profile(DEFAULT, RELATIVE, [period(0, 6000, discharge_limit=Decimal(-4000))], id=2),
        ]
        (only,) = asked(stack).periods
        assert (only.limit, only.discharge_limit) == (6000, -1500)

    def test_generation_alone_is_no_limit(self) -> None:
        assert limits(asked([profile(GENERATION, ABSOLUTE, [(0, 2000)], start=NOON)])) == [(0, None)]


class TestWholeStation:
    TWO = StationCondition(
        evses={1: EvseCondition(transaction=OpenTransaction(id="T", ready_at=NOON)), 2: EvseCondition()}
    )

    def test_sum_of_the_evses_within_the_stations_limit(self) -> None:
        stack = [
            profile(MAX, ABSOLUTE, [(0, 20000)], id=1, start=NOON),
            profile(DEFAULT, RELATIVE, [(0, 11000)], id=2, evse=0),
            profile(TX, RELATIVE, [(0, 4000), (600, 10000)], id=3, transaction_id="T"),
        ]
        assert limits(asked(stack, evse=0, station=self.TWO)) == [(0, 15000), (600, 20000)]

    def test_no_sum_where_an_evse_has_no_limit(self) -> None:
        stack = [
            profile(MAX, ABSOLUTE, [(0, 20000)], id=1, start=NOON, duration_s=60),
            profile(TX, RELATIVE, [(0, 4000)], id=3, transaction_id="T"),
        ]
        assert limits(asked(stack, evse=0, station=self.TWO)) == [(0, 20000), (60, None)]

    def test_generation_of_station_and_evses_comes_on_top(self) -> None:
        stack = [
            profile(MAX, ABSOLUTE, [(0, 10000)], id=1, start=NOON),
            profile(GENERATION, ABSOLUTE, [(0, 2000)], id=2, start=NOON),
            profile(GENERATION, ABSOLUTE, [(0, 500)], id=3, evse=2, start=NOON),
        ]
        assert limits(asked(stack, evse=0, station=self.TWO)) == [(0, 12500)]

    def test_currents_are_summed(self) -> None:
        stack = [profile(DEFAULT, RELATIVE, [(0, 16)], id=2, evse=0, unit=A)]
        assert limits(asked(stack, evse=0, unit=A, station=self.TWO)) == [(0, 32)]
        assert limits(asked(stack, evse=0, unit=W, station=self.TWO)) == [(0, 22080)]

    def test_external_constraint_of_an_evse_bounds_its_part_only(self) -> None:
        stack = [
            profile(DEFAULT, RELATIVE, [(0, 11000)], id=1, evse=0),
            profile(EXTERNAL, ABSOLUTE, [(0, 3000)], id=2, evse=2, start=NOON),
        ]
        assert limits(asked(stack, evse=0, station=self.TWO)) == [(0, 14000)]


@pytest.mark.parametrize("duration_s", [0, -1, 366 * 86400 + 1])
def test_duration_out_of_bounds_is_refused(duration_s: int) -> None:
    with pytest.raises(InvalidInputError) as refused:
        asked([], duration_s=duration_s)
    assert refused.value.fields[0][0] == "/duration_s"


def test_profiles_at_the_edges_of_the_calendar_do_not_fail() -> None:
    edges = profile(
        DEFAULT,
        RECURRING,
        [(0, 5)],
        recurrency=Recurrency.DAILY,
        start=datetime.min.replace(tzinfo=UTC),
        valid_from=datetime.min.replace(tzinfo=UTC),
        valid_to=datetime.max.replace(tzinfo=UTC),
    )
    assert limits(asked([edges])) == [(0, 5)]


def test_a_day_of_20_profiles_with_24_periods_takes_well_under_5_ms() -> None:
    midnight = at("2026-03-02T00:00")
    purposes = [MAX, EXTERNAL, DEFAULT, TX]
    stack = [
        profile(
            purpose := purposes[n % 4],
            RECURRING,
            [(hour * 3600 + 60 * n * (hour > 0), 1000 + (hour * 7919 * (n + 1)) % 20000) for hour in range(24)],
            id=n + 1,
            level=n // 4,
            unit=(W, A)[n % 2],
            recurrency=Recurrency.DAILY,
            start=midnight - timedelta(days=30, hours=n),
            duration_s=86400 - 1800 * (n // 4),
            transaction_id="T" if purpose is TX else None,
        )
        for n in range(20)
    ]
    spent = []
    for _ in range(7):
        begun = time.process_time()
        answer = asked(stack, start=midnight, duration_s=86400, station=IN_TX)
        spent.append(time.process_time() - begun)
    assert len(answer.periods) > 20
    assert min(spent) < 0.005, f"{min(spent) * 1000:.2f} ms"
