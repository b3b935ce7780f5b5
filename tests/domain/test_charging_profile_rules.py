"""Which profiles may be set: each rule broken once, and what a new profile does to those that are there."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.domain.charging_profile_rules import (
    Installation,
    OpenCharging,
    ProfileOrigin,
    ProfileRule,
    RuleBook,
    StationAbilities,
    accept,
    validate,
)
from chargeplane.domain.charging_profiles import (
    ChargingProfile,
    FrequencyPoint,
    OperationMode,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
    Recurrency,
    SocLimit,
)
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
    at,
    period,
    profile,
)

NOON = at("2026-03-02T12:00")
R = ProfileRule
NEWEST = StationAbilities(
    book=RuleBook.OCPP_2,
    evse_ids=frozenset({1, 2, 3}),
    purposes=frozenset(ProfilePurpose),
    kinds=frozenset(ProfileKind),
    operation_modes=frozenset(OperationMode),
    max_stack_level=9,
    max_periods=24,
    max_profiles=10,
    phase_switching=frozenset({2}),
    dc_evse_ids=frozenset({3}),
    local_time=True,
    randomized_delay=True,
    limit_at_soc=True,
    evse_sleep=True,
    max_external_id=0,
)
PLAIN = replace(
    NEWEST, local_time=False, randomized_delay=False, limit_at_soc=False, evse_sleep=False, operation_modes=frozenset()
)
OLDEST = StationAbilities(
    book=RuleBook.OCPP_1_6,
    purposes=frozenset({MAX, DEFAULT, TX}),
    kinds=frozenset({ABSOLUTE, RECURRING, RELATIVE}),
    replaces_same_level=True,
)
SESSION = OpenCharging(transaction_id="T", needs_reported=True, phases_reported=True)


def v2x(mode: OperationMode, limit: object = None, **more: Any) -> list[Any]:
    values = {k: Decimal(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in more.items()}
    return [period(0, limit, operation_mode=mode, **values)]


RIGHT: list[ChargingProfile] = [
    profile(MAX, ABSOLUTE, [(0, 1)], start=NOON),
    profile(DEFAULT, RECURRING, [(0, 1), (60, 2)], start=NOON, recurrency=Recurrency.DAILY),
    profile(TX, RELATIVE, [(0, 1)], transaction_id="T"),
    profile(PRIORITY, RELATIVE, [(0, 1)]),
    profile(GENERATION, DYNAMIC, v2x(OperationMode.EXTERNAL_LIMITS), dyn_update_interval_s=60),
    profile(DEFAULT, RELATIVE, v2x(OperationMode.CENTRAL_SETPOINT, 10, discharge_limit=-5, setpoint=-5)),
    profile(DEFAULT, RELATIVE, v2x(OperationMode.IDLE, evse_sleep=True)),
    profile(DEFAULT, RELATIVE, [period(0, 1, number_phases=1, phase_to_use=3)], evse=2),
    profile(TX, RELATIVE, [period(0, 1, limit_l2=Decimal(1), limit_l3=Decimal(1))], transaction_id="T"),
    profile(
        DEFAULT,
        RELATIVE,
        v2x(
            OperationMode.LOCAL_FREQUENCY,
            v2x_freq_watt_curve=(
                FrequencyPoint(frequency=Decimal("49.8"), power=Decimal(-500)),
                FrequencyPoint(frequency=Decimal("50.2"), power=Decimal(500)),
            ),
        ),
    ),
]


@pytest.mark.parametrize("given", RIGHT)
def test_right_profiles_break_no_rule(given: ChargingProfile) -> None:
    assert validate(given, NEWEST, charging=SESSION) == ()


WRONG: list[tuple[ProfileRule, ChargingProfile, StationAbilities]] = [
    (R.STACK_LEVEL, profile(DEFAULT, RELATIVE, [(0, 1)], level=10), NEWEST),
    (R.STACK_LEVEL, profile(DEFAULT, RELATIVE, [(0, 1)], level=-1), OLDEST),
    (R.PURPOSE_SUPPORTED, profile(PRIORITY, RELATIVE, [(0, 1)]), OLDEST),
    (R.KIND_SUPPORTED, profile(DEFAULT, DYNAMIC, [(0, 1)]), OLDEST),
    (R.NOT_EXTERNAL, profile(EXTERNAL, RELATIVE, [(0, 1)]), NEWEST),
    (R.MAX_IS_THE_STATIONS, profile(MAX, ABSOLUTE, [(0, 1)], evse=1, start=NOON), NEWEST),
    (R.MAX_IS_THE_STATIONS, profile(MAX, ABSOLUTE, [(0, 1)], evse=1, start=NOON), OLDEST),
    (R.MAX_NOT_RELATIVE, profile(MAX, RELATIVE, [(0, 1)]), NEWEST),
    (R.TX_AT_AN_EVSE, profile(TX, RELATIVE, [(0, 1)], evse=0, transaction_id="T"), NEWEST),
    (R.TX_AT_AN_EVSE, profile(TX, RELATIVE, [(0, 1)], evse=0), OLDEST),
    (R.TX_NAMES_ITS_TRANSACTION, profile(TX, RELATIVE, [(0, 1)]), NEWEST),
    (R.ONLY_TX_NAMES_A_TRANSACTION, profile(DEFAULT, RELATIVE, [(0, 1)], transaction_id="T"), NEWEST),
    (R.START_REQUIRED, profile(DEFAULT, ABSOLUTE, [(0, 1)]), NEWEST),
    (R.START_REQUIRED, profile(DEFAULT, RECURRING, [(0, 1)], recurrency=Recurrency.DAILY), NEWEST),
    (R.RELATIVE_WITHOUT_START, profile(DEFAULT, RELATIVE, [(0, 1)], start=NOON), NEWEST),
    (R.RECURRENCY_REQUIRED, profile(DEFAULT, RECURRING, [(0, 1)], start=NOON), NEWEST),
    (R.RECURRENCY_ONLY_RECURRING, profile(DEFAULT, RELATIVE, [(0, 1)], recurrency=Recurrency.DAILY), OLDEST),
    (R.VALID_SOME_TIME, profile(DEFAULT, RELATIVE, [(0, 1)], valid_from=NOON, valid_to=NOON), NEWEST),
    (R.DYNAMIC_ONE_PERIOD, profile(DEFAULT, DYNAMIC, [(0, 1), (1, 2)]), NEWEST),
    (R.UPDATES_ONLY_DYNAMIC, profile(DEFAULT, RELATIVE, [(0, 1)], dyn_update_interval_s=1), NEWEST),
    (R.UPDATES_ONLY_DYNAMIC, profile(DEFAULT, RELATIVE, [(0, 1)], dyn_update_at=NOON), NEWEST),
    (R.ID_OF_THE_CSMS, profile(DEFAULT, RELATIVE, [(0, 1)], id=0), NEWEST),
    (R.PRIORITY_WITHOUT_DURATION, profile(PRIORITY, RELATIVE, [(0, 1)], duration_s=60), NEWEST),
    (R.MODE_OF_PURPOSE, profile(MAX, DYNAMIC, v2x(OperationMode.EXTERNAL_LIMITS)), NEWEST),
    (R.MODE_OF_PURPOSE, profile(PRIORITY, DYNAMIC, v2x(OperationMode.IDLE)), NEWEST),
    (R.MODE_OF_PURPOSE, profile(GENERATION, DYNAMIC, v2x(OperationMode.EXTERNAL_SETPOINT)), NEWEST),
    (R.MODE_SUPPORTED, profile(DEFAULT, DYNAMIC, v2x(OperationMode.IDLE)), PLAIN),
    (R.UNIT_SUPPORTED, profile(DEFAULT, RELATIVE, [(0, 1)], unit=A), replace(NEWEST, units=frozenset({RateUnit.W}))),
    (R.PERIODS_SUPPORTED, profile(DEFAULT, RELATIVE, [(n, 1) for n in range(25)]), NEWEST),
    (R.PERIODS_SUPPORTED, profile(DEFAULT, RELATIVE, []), OLDEST),
    (R.FIRST_PERIOD_AT_ZERO, profile(DEFAULT, RELATIVE, [(1, 1)]), NEWEST),
    (R.FIRST_PERIOD_AT_ZERO, profile(DEFAULT, RELATIVE, [(1, 1)]), OLDEST),
    (R.PERIODS_IN_ORDER, profile(DEFAULT, RELATIVE, [(0, 1), (60, 2), (60, 3)]), NEWEST),
    (R.DURATION_POSITIVE, profile(DEFAULT, RELATIVE, [(0, 1)], duration_s=0), NEWEST),
    (R.LOCAL_TIME_SUPPORTED, profile(DEFAULT, RELATIVE, [(0, 1)], schedule={"use_local_time": True}), PLAIN),
    (R.DELAY_SUPPORTED, profile(DEFAULT, RELATIVE, [(0, 1)], schedule={"randomized_delay_s": 1}), PLAIN),
    (R.DELAY_OF_TRANSACTIONS_ONLY, profile(PRIORITY, RELATIVE, [(0, 1)], schedule={"randomized_delay_s": 1}), NEWEST),
    (
        R.SOC_LIMIT_SUPPORTED,
        profile(DEFAULT, RELATIVE, [(0, 1)], schedule={"limit_at_soc": SocLimit(soc=80, limit=Decimal(1))}),
        PLAIN,
    ),
    (R.SLEEP_WHEN_IDLE, profile(DEFAULT, RELATIVE, [period(0, 1, evse_sleep=True)]), NEWEST),
    (R.LIMIT_REQUIRED, profile(DEFAULT, RELATIVE, [period(0)]), NEWEST),
    (R.LIMIT_REQUIRED, profile(DEFAULT, RELATIVE, [period(0)]), OLDEST),
    (R.SETPOINT_REQUIRED, profile(DEFAULT, RELATIVE, v2x(OperationMode.CENTRAL_FREQUENCY)), NEWEST),
    (R.VALUE_NOT_OF_MODE, profile(DEFAULT, RELATIVE, [period(0, 9, setpoint=Decimal(1))]), NEWEST),
    (R.VALUE_NOT_OF_MODE, profile(DEFAULT, RELATIVE, v2x(OperationMode.LOCAL_LOAD_BALANCING, 1)), NEWEST),
    (R.VALUE_NOT_OF_MODE, profile(DEFAULT, RELATIVE, v2x(OperationMode.EXTERNAL_SETPOINT, 1, setpoint=1)), NEWEST),
    (R.CURVE_REQUIRED, profile(DEFAULT, RELATIVE, v2x(OperationMode.LOCAL_FREQUENCY)), NEWEST),
    (
        R.DISCHARGE_NOT_POSITIVE,
        profile(DEFAULT, RELATIVE, v2x(OperationMode.CENTRAL_SETPOINT, 9, discharge_limit=1, setpoint=2)),
        NEWEST,
    ),
    # V2X.05's own example: -750 W lies outside of -500 to 1000 W.
    (
        R.SETPOINT_WITHIN_LIMITS,
        profile(DEFAULT, RELATIVE, v2x(OperationMode.CENTRAL_SETPOINT, 1000, discharge_limit=-500, setpoint=-750)),
        NEWEST,
    ),
    (R.NUMBER_OF_PHASES, profile(DEFAULT, RELATIVE, [(0, 1)], phases=4), NEWEST),
    (R.NUMBER_OF_PHASES, profile(DEFAULT, RELATIVE, [(0, 1)], phases=0), OLDEST),
    (R.PHASE_ONLY_OF_ONE, profile(DEFAULT, RELATIVE, [period(0, 1, number_phases=3, phase_to_use=1)], evse=2), NEWEST),
    (R.PHASE_SWITCHING, profile(DEFAULT, RELATIVE, [period(0, 1, number_phases=1, phase_to_use=1)], evse=1), NEWEST),
    (R.NO_PHASES_ON_DC, profile(DEFAULT, RELATIVE, [(0, 1)], evse=3, phases=3), NEWEST),
    (R.PHASE_LIMITS_OF_TX_ONLY, profile(DEFAULT, RELATIVE, [period(0, 1, limit_l2=Decimal(1))]), NEWEST),
]


@pytest.mark.parametrize(
    ("rule", "given", "station"), WRONG, ids=lambda x: x.name if isinstance(x, ProfileRule) else ""
)
def test_a_broken_rule_is_named_alone(rule: ProfileRule, given: ChargingProfile, station: StationAbilities) -> None:
    found = validate(given, station, charging=SESSION)
    assert [v.rule for v in found] == [rule]
    place = rule.place(station.book)
    assert place is not None
    assert found[0].source.endswith(place)
    assert found[0].pointer.startswith("/")
    assert found[0].sentence


def test_rules_of_the_ev_and_of_starting() -> None:
    phases = profile(TX, RELATIVE, [period(0, None, limit_l2=Decimal(1))], transaction_id="T")
    told = replace(SESSION, phases_reported=False)
    rules = {v.rule for v in validate(phases, NEWEST, charging=told)}
    assert rules == {R.PHASE_LIMITS_OF_THE_EV, R.PHASE_LIMITS_WITH_LIMIT, R.LIMIT_REQUIRED}
    three = profile(TX, RELATIVE, [(0, 1)], transaction_id="T")
    three = replace(three, schedules=three.schedules * 3)
    assert validate(three, NEWEST, charging=SESSION) == ()
    assert [v.rule for v in validate(three, NEWEST, charging=replace(SESSION, needs_reported=False))] == [
        R.ONE_SCHEDULE
    ]
    starting = profile(TX, RELATIVE, [(0, 1)], evse=0)
    assert validate(starting, NEWEST, origin=ProfileOrigin.REQUEST_START) == ()
    named = replace(starting, transaction_id="T")
    for station in (NEWEST, OLDEST):
        found = validate(named, station, origin=ProfileOrigin.REQUEST_START)
        assert [v.rule for v in found] == [R.START_REQUEST_NAMES_NO_TRANSACTION]
        default = profile(DEFAULT, RELATIVE, [(0, 1)])
        found = validate(default, station, origin=ProfileOrigin.REQUEST_START)
        assert [v.rule for v in found] == [R.START_REQUEST_TAKES_TX]


def test_external_system_may_set_constraints_with_setpoints() -> None:
    given = profile(EXTERNAL, DYNAMIC, v2x(OperationMode.EXTERNAL_SETPOINT, setpoint=5), id=-1)
    assert validate(given, NEWEST, origin=ProfileOrigin.EXTERNAL_SYSTEM) == ()


def test_1_6_has_fewer_rules() -> None:
    """A start is optional there, a transaction need not be named (7.8, 7.13)."""
    assert validate(profile(DEFAULT, ABSOLUTE, [(0, 1)]), OLDEST) == ()
    assert validate(profile(TX, RELATIVE, [(0, 1)]), OLDEST) == ()
    assert validate(profile(MAX, RELATIVE, [(0, 1)]), OLDEST) == ()


def rules_of(found: Installation) -> list[ProfileRule]:
    return [v.rule for v in found.violations]


DAILY = profile(DEFAULT, RELATIVE, [(0, 1)], id=1)


class TestAccept:
    @pytest.mark.parametrize("station", [OLDEST, NEWEST])
    def test_same_id_replaces_wherever_it_was(self, station: StationAbilities) -> None:
        new = profile(DEFAULT, RELATIVE, [(0, 9)], id=1, evse=2, level=4)
        done = accept((DAILY,), new, station)
        assert (done.profiles, done.replaced, done.violations) == ((new,), (DAILY,), ())

    def test_same_place_replaces_in_1_6_and_is_a_duplicate_in_2_x(self) -> None:
        new = profile(DEFAULT, RELATIVE, [(0, 9)], id=2)
        assert accept((DAILY,), new, OLDEST).profiles == (new,)
        refused = accept((DAILY,), new, NEWEST)
        assert rules_of(refused) == [R.NO_DUPLICATE]
        assert refused.profiles == (DAILY,)

    def test_disjoint_validity_is_no_duplicate_k01_fr_06(self) -> None:
        first = replace(DAILY, valid_to=NOON)
        second = replace(DAILY, id=2, valid_from=NOON)
        assert rules_of(accept((first,), second, NEWEST)) == []
        assert rules_of(accept((first,), replace(second, valid_from=NOON - timedelta(seconds=1)), NEWEST)) == [
            R.NO_DUPLICATE
        ]

    def test_defaults_of_station_and_evse_exclude_each_other_k01_fr_52_53(self) -> None:
        whole = profile(DEFAULT, RELATIVE, [(0, 9)], id=2, evse=0)
        assert rules_of(accept((DAILY,), whole, NEWEST)) == [R.STATION_DEFAULT_NOT_BESIDE_EVSES]
        assert rules_of(accept((whole,), DAILY, NEWEST)) == [R.EVSE_DEFAULT_NOT_BESIDE_STATIONS]
        assert rules_of(accept((whole,), replace(DAILY, stack_level=1), NEWEST)) == []
        # 1.6, 3.13.1: there the connector's own stands beside.
        assert accept((whole,), DAILY, OLDEST).profiles == (whole, DAILY)

    def test_tx_profile_needs_its_transaction_k01_fr_09_33(self) -> None:
        new = profile(TX, RELATIVE, [(0, 9)], id=2, transaction_id="T")
        assert rules_of(accept((), new, NEWEST)) == [R.TX_NEEDS_A_TRANSACTION]
        assert rules_of(accept((), replace(new, transaction_id=None), OLDEST)) == [R.TX_NEEDS_A_TRANSACTION]
        assert rules_of(accept((), new, NEWEST, open_charging={1: SESSION})) == []
        other = {1: OpenCharging(transaction_id="U")}
        assert rules_of(accept((), new, NEWEST, open_charging=other)) == [R.TX_OF_THE_OPEN_TRANSACTION]
        assert rules_of(accept((new,), replace(new, id=3), NEWEST, open_charging={1: SESSION})) == [R.NO_DUPLICATE_TX]

    def test_unknown_evse_k01_fr_28(self) -> None:
        assert rules_of(accept((), replace(DAILY, evse_id=9), NEWEST)) == [R.EVSE_KNOWN]

    def test_csms_does_not_replace_external_constraints_k01_fr_05(self) -> None:
        theirs = profile(EXTERNAL, RELATIVE, [(0, 9)], id=1)
        assert rules_of(accept((theirs,), DAILY, NEWEST)) == [R.EXTERNAL_NOT_REPLACED]
        newer = replace(theirs, stack_level=1)
        by_them = replace(NEWEST, max_external_id=5)
        assert accept((theirs,), newer, by_them, origin=ProfileOrigin.EXTERNAL_SYSTEM).profiles == (newer,)

    def test_phase_conflict_k01_fr_141(self) -> None:
        def single(phase: int, purpose: ProfilePurpose, id: int, **more: Any) -> ChargingProfile:
            return profile(
                purpose,
                ABSOLUTE,
                [period(0, 1, number_phases=1, phase_to_use=phase)],
                id=id,
                start=NOON,
                evse=2,
                **more,
            )

        station = replace(NEWEST, phase_switching=frozenset({0, 2}))
        top = replace(single(1, MAX, 1, duration_s=60), evse_id=0)
        assert rules_of(accept((top,), single(3, DEFAULT, 2), station)) == [R.NO_PHASE_CONFLICT]
        assert rules_of(accept((top,), single(1, DEFAULT, 2), station)) == []
        later = single(3, DEFAULT, 2, valid_from=NOON + timedelta(seconds=60))
        assert rules_of(accept((top,), later, station)) == []

    @pytest.mark.parametrize(("station", "place"), [(OLDEST, "9.4.5"), (NEWEST, "SmartChargingCtrlr.Entries")])
    def test_full_station_refuses_one_more_but_not_a_replacement(self, station: StationAbilities, place: str) -> None:
        full = replace(station, max_profiles=1)
        more = replace(DAILY, id=2, stack_level=1)
        refused = accept((DAILY,), more, full)
        assert rules_of(refused) == [R.ROOM_FOR_PROFILES]
        assert refused.violations[0].source.endswith(place)
        assert accept((DAILY,), replace(more, id=1), full).violations == ()

    def test_profile_without_schedules_is_refused_not_an_error(self) -> None:
        empty = replace(DAILY, id=2, kind=ABSOLUTE, schedules=())
        top = profile(MAX, ABSOLUTE, [(0, 1)], id=3, start=NOON)
        assert rules_of(accept((top,), empty, NEWEST)) == [R.ONE_SCHEDULE]
