"""Where, when and how much: the rules of id tokens, master passes, prepaid accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from chargeplane.domain.authorization import Asked, IdTokenRecord, authorize, canonical, decide, may_stop
from chargeplane.domain.messages import AdditionalIdToken, AuthorizationStatus, IdToken, LimitKind, TransactionLimits
from chargeplane.domain.token_rules import (
    AuthorizationPolicy,
    EvseType,
    Here,
    Reached,
    TokenRules,
    WeeklyTime,
    reached,
    supported_limits,
    within,
)

ACCEPTED = AuthorizationStatus.ACCEPTED
NOON = datetime(2026, 1, 30, 12, 0, tzinfo=UTC)  # a Friday
SITE = Here(location_id="Depot", evse_types={1: EvseType.AC, 2: EvseType.DC})
MASTER = Here(policy=AuthorizationPolicy(master_pass_group_id="MASTER"))


def told(rules: TokenRules, here: Here = SITE, **asked: object) -> AuthorizationStatus:
    return decide(IdTokenRecord(value="A", rules=rules), now=NOON, here=here, **asked).status  # type: ignore[arg-type]


def test_a_token_for_dc_is_refused_at_an_ac_evse() -> None:
    """OCPP 2.0.1 AuthorizationStatusEnumType, NotAllowedTypeEVSE."""
    rules = TokenRules(allowed_evse_types=(EvseType.DC,))
    assert told(rules, evse_ids=(1,)) is AuthorizationStatus.NOT_ALLOWED_TYPE_EVSE
    assert told(rules, evse_ids=(2,)) is ACCEPTED
    assert told(rules, Here(evse_types={1: EvseType.AC})) is AuthorizationStatus.NOT_ALLOWED_TYPE_EVSE
    assert told(rules, Here()) is ACCEPTED, "nothing is known of the station"


def test_a_token_for_some_of_the_evses_is_accepted_for_these() -> None:
    """OCPP 2.0.1 IdTokenInfoType.evseId: only where the token is not valid for the whole station."""
    record = IdTokenRecord(value="A", rules=TokenRules(allowed_evse_types=(EvseType.DC,)))
    assert decide(record, now=NOON, here=SITE).evse_ids == (2,)
    assert decide(record, now=NOON, here=Here(evse_types={1: EvseType.DC})).evse_ids == ()


def test_a_token_of_other_locations_is_refused() -> None:
    assert told(TokenRules(location_ids=("Depot", "Harbour"))) is ACCEPTED
    assert told(TokenRules(location_ids=("Harbour",))) is AuthorizationStatus.NOT_AT_THIS_LOCATION
    assert told(TokenRules(location_ids=("Harbour",)), Here()) is AuthorizationStatus.NOT_AT_THIS_LOCATION


def test_a_running_transaction_goes_on_whatever_the_rules_say() -> None:
    rules = TokenRules(location_ids=("Harbour",))
    assert told(rules, asked=Asked.GO_ON) is ACCEPTED
    assert told(rules, asked=Asked.START) is AuthorizationStatus.NOT_AT_THIS_LOCATION


@pytest.mark.parametrize(
    ("when", "inside"),
    [
        ("2026-01-30T06:59", False),
        ("2026-01-30T07:00", True),
        ("2026-01-30T18:59", True),
        ("2026-01-30T19:00", False),
        ("2026-01-31T12:00", False),  # Saturday
    ],
)
def test_weekly_times_hold_from_their_start_to_before_their_end(when: str, inside: bool) -> None:
    times = (WeeklyTime(days=(1, 2, 3, 4, 5), start="07:00", until="19:00"),)
    assert within(times, "UTC", datetime.fromisoformat(when).replace(tzinfo=UTC)) is inside


def test_a_weekly_time_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    times = (WeeklyTime(days=(5,), start="22:00", until="06:00"),)
    friday = datetime(2026, 1, 30, tzinfo=UTC)
    hours = [hour for hour in range(24 * 3) if within(times, "UTC", friday + timedelta(hours=hour))]
    assert hours == [22, 23, 24, 25, 26, 27, 28, 29]


def test_weekly_times_are_those_of_the_clock_on_the_wall() -> None:
    times = (WeeklyTime(days=(1, 2, 3, 4, 5, 6, 7), start="08:00", until="09:00"),)
    assert within(times, "Europe/Berlin", datetime(2026, 1, 15, 7, 30, tzinfo=UTC))
    assert within(times, "Europe/Berlin", datetime(2026, 7, 15, 6, 30, tzinfo=UTC))
    assert not within(times, "Europe/Berlin", datetime(2026, 7, 15, 7, 30, tzinfo=UTC))


def test_a_token_that_needs_a_pin_is_refused_without_it() -> None:
    pin = AdditionalIdToken(value="1234", type="PIN")
    record = IdTokenRecord(value="A", rules=TokenRules(additional_info=(pin,)))
    shown = IdToken(value="A", type="ISO14443", additional=(AdditionalIdToken(value="1234", type="pin"),))
    assert authorize(shown, [record], now=NOON).status is ACCEPTED
    assert authorize(IdToken(value="A", type="ISO14443"), [record], now=NOON).status is AuthorizationStatus.INVALID


@pytest.mark.parametrize("left", [Decimal(0), Decimal("-0.01")])
def test_an_empty_prepaid_account_begins_nothing(left: Decimal) -> None:
    """OCPP 2.0.1 AuthorizationStatusEnumType, NoCredit."""
    for record in (IdTokenRecord(value="A", credit=left), IdTokenRecord(value="A", credit_wh=left)):
        assert decide(record, now=NOON).status is AuthorizationStatus.NO_CREDIT
        assert decide(record, now=NOON, asked=Asked.GO_ON).status is ACCEPTED


def test_the_limits_of_a_transaction_are_what_is_left_and_what_the_rules_say() -> None:
    """OCPP 2.1 E16."""
    rules = TokenRules(max_energy_wh=Decimal(20_000), max_time_s=3600, max_soc=80)
    record = IdTokenRecord(value="A", rules=rules, credit_wh=Decimal(15_000), credit=Decimal("12.50"))
    assert decide(record, now=NOON, asked=Asked.START).limits == TransactionLimits(
        max_energy_wh=Decimal(15_000), max_cost=Decimal("12.50"), max_time_s=3600, max_soc=80
    )
    assert decide(record, now=NOON).limits is None, "only a transaction has limits"
    assert decide(IdTokenRecord(value="A"), now=NOON, asked=Asked.START).limits is None


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("", set()),
        ("maxEnergy, maxSoC", {LimitKind.ENERGY, LimitKind.SOC}),
        ("MAXCOST,maxLength,maxWishes", {LimitKind.COST, LimitKind.TIME}),
    ],
)
def test_e16_a_station_says_which_limits_it_keeps(told: str, kept: set[LimitKind]) -> None:
    assert supported_limits(told) == kept


def test_a_limit_that_the_station_keeps_leaves_it_the_time_to() -> None:
    limits = TransactionLimits(max_energy_wh=Decimal(1000), max_time_s=60, max_soc=80)
    kept = replace(limits, kept=frozenset({LimitKind.ENERGY, LimitKind.TIME, LimitKind.SOC}))
    for energy, seconds, soc, exact, late in (
        (1000, 0, None, Reached.ENERGY, None),
        (1070, 0, None, Reached.ENERGY, Reached.ENERGY),
        (0, 60, None, Reached.TIME, None),
        (0, 180, None, Reached.TIME, Reached.TIME),
        (0, 0, 80, Reached.SOC, None),
        (0, 0, 82, Reached.SOC, Reached.SOC),
        (999, 59, 79, None, None),
    ):
        for told, expected in ((limits, exact), (kept, late)):
            found = reached(
                told,
                energy_wh=Decimal(energy),
                started_at=NOON - timedelta(seconds=seconds),
                soc=None if soc is None else Decimal(soc),
                now=NOON,
            )
            assert found is expected, (energy, seconds, soc)


def test_c16_fr_03_master_pass_begins_no_transaction() -> None:
    record = IdTokenRecord(value="M", group_id="master")
    assert decide(record, now=NOON, here=MASTER, asked=Asked.START).status is AuthorizationStatus.INVALID
    assert decide(record, now=NOON, here=MASTER).status is ACCEPTED
    assert decide(record, now=NOON, here=MASTER, asked=Asked.GO_ON).status is ACCEPTED


def test_c16_master_pass_stops_what_anybody_began() -> None:
    master, driver = IdToken(value="M", type="ISO14443"), IdToken(value="D", type="ISO14443")
    assert may_stop(master, driver, group_id="MASTER", started_by_group_id=None, here=MASTER)
    assert may_stop(master, None, group_id="MASTER", started_by_group_id=None, here=MASTER)
    assert not may_stop(driver, master, group_id=None, started_by_group_id="MASTER", here=MASTER)


def test_a_master_pass_is_refused_at_a_1_6_station_where_nothing_runs() -> None:
    record, shown = IdTokenRecord(value="M", group_id="MASTER"), IdToken(value="M")
    assert authorize(shown, [record], now=NOON, here=MASTER).status is AuthorizationStatus.INVALID
    assert authorize(shown, [record], now=NOON, here=MASTER, running=True).status is ACCEPTED


def test_c04_fr_01_an_unknown_key_code_is_invalid() -> None:
    assert authorize(IdToken(value="0000", type="KeyCode"), [], now=NOON).status is AuthorizationStatus.INVALID


@pytest.mark.parametrize("kind", ["Local", "DirectPayment"])
def test_what_the_station_vouches_for_needs_no_registration(kind: str) -> None:
    shown = IdToken(value="made-by-the-station", type=kind)
    assert authorize(shown, [], now=NOON).status is ACCEPTED
    nobody = Here(policy=AuthorizationPolicy(trusted_types=()))
    assert authorize(shown, [], now=NOON, here=nobody).status is AuthorizationStatus.UNKNOWN
    blocked = IdTokenRecord(value=shown.value, type=kind, status=AuthorizationStatus.BLOCKED)
    assert authorize(shown, [blocked], now=NOON).status is AuthorizationStatus.BLOCKED


def test_a_station_may_go_by_an_answer_as_long_as_the_tenant_says_and_the_token_lives() -> None:
    """OCPP 2.0.1 C10.FR.13."""
    here = Here(policy=AuthorizationPolicy(cache_s=3600))
    assert decide(IdTokenRecord(value="A"), now=NOON, here=here).valid_until == NOON + timedelta(hours=1)
    ending = IdTokenRecord(value="A", valid_until=NOON + timedelta(minutes=5))
    assert decide(ending, now=NOON, here=here).valid_until == NOON + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("MacAddress", "AA:bb-CC.dd:EE:01", "AAbbCCddEE01"),
        ("eMAID", "DE-ABC-C12345678-X", "DEABCC12345678X"),
        ("ISO14443", "04:AA", "04:AA"),
        ("MacAddress", ":", ":"),
    ],
)
def test_separators_of_mac_addresses_and_emaids_mean_nothing(kind: str, written: str, meant: str) -> None:
    assert canonical(written, kind) == meant
