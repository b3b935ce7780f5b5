"""Charging profiles to each version and back: nothing is lost silently."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargeplane.bridge.charging_profiles import (
    ABILITIES,
    from_wire,
    reported_schedule,
    to_set_request,
    to_wire,
    update_from_wire,
    update_to_wire,
)
from chargeplane.bridge.encoding import encode
from chargeplane.domain.charging_profile_rules import validate
from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    FrequencyPoint,
    OperationMode,
    PeriodUpdate,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
    Recurrency,
    SocLimit,
)
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.catalogue import CATALOGUE
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V16, V21, V201, VERSIONS, drawn, schema
from tests.bridge.wire import validate as fits

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TIMES = ("startSchedule", "validFrom", "validTo", "dynUpdateTime")
PLACE = {
    V16: ("connectorId", "csChargingProfiles"),
    V201: ("evseId", "chargingProfile"),
    V21: ("evseId", "chargingProfile"),
}


def without_times(value: Any) -> Any:
    """JSON without points in time (rewritten to UTC) and customData inside points (not carried)."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def stripped(request: dict[str, Any], version: OcppVersion) -> dict[str, Any]:
    schedules = request[PLACE[version][1]]["chargingSchedule"]
    for one in schedules if isinstance(schedules, list) else [schedules]:
        one.get("limitAtSoC", {}).pop("customData", None)
        for period in one["chargingSchedulePeriod"]:
            for curve in ("v2xFreqWattCurve", "v2xSignalWattCurve"):
                for point in period.get(curve, ()):
                    point.pop("customData", None)
    return request


@cache
def requests(version: OcppVersion) -> st.SearchStrategy[dict[str, Any]]:
    """SetChargingProfile requests that fit the schema; without the deepest lists of price schedules, which take long."""
    found = copy.deepcopy(schema(version, "SetChargingProfileRequest"))
    absolute = found.get("definitions", {}).get("AbsolutePriceScheduleType", {}).get("properties", {})
    for name in ("taxRules", "overstayRuleList", "additionalSelectedServices"):
        absolute.pop(name, None)
    return drawn(found)


@pytest.mark.parametrize("version", VERSIONS)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(data=st.data())
def test_every_profile_of_the_schema_comes_back_as_it_was(version: OcppVersion, data: st.DataObject) -> None:
    evse = PLACE[version][0]
    request = stripped(data.draw(requests(version)), version)
    request.pop("customData", None)
    # no database takes U+0000
    request = json.loads(json.dumps(request).replace("\\u0000", "\\ufffd"))
    decoded: Any = CATALOGUE[version]["SetChargingProfile"].request_decoder.decode(json.dumps(request))
    wire = decoded.cs_charging_profiles if version is V16 else decoded.charging_profile
    read = from_wire(wire, request[evse])
    again, losses = to_set_request(version, read.profile)
    assert losses == ()
    payload = json.loads(encode(again))
    assert without_times(payload) == without_times(request)
    fits(version, "SetChargingProfileRequest", payload)
    # Points in time keep their instant, to the millisecond; a second round changes nothing.
    once = to_wire(version, read.profile).profile
    assert to_wire(version, from_wire(once, request[evse]).profile).profile == once


def whole(**more: Any) -> ChargingProfile:
    """A profile that every version can say."""
    values: dict[str, Any] = {
        "id": 7,
        "evse_id": 1,
        "stack_level": 3,
        "purpose": ProfilePurpose.TX,
        "kind": ProfileKind.RECURRING,
        "recurrency": Recurrency.WEEKLY,
        "valid_from": NOW,
        "valid_to": NOW.replace(year=2027),
        "transaction_id": "12",
        "schedules": (
            ChargingSchedule(
                unit=RateUnit.A,
                periods=(
                    ChargingPeriod(limit=Decimal("8.1"), number_phases=1),
                    ChargingPeriod(start_s=60, limit=Decimal(16)),
                ),
                start=NOW,
                duration_s=3600,
                min_charging_rate=Decimal(6),
            ),
        ),
    }
    return ChargingProfile(**(values | more))


def with_schedule(**more: Any) -> ChargingProfile:
    return whole(schedules=(msgspec.structs.replace(whole().schedules[0], **more),))


def with_period(**more: Any) -> ChargingProfile:
    return with_schedule(periods=(ChargingPeriod(**({"limit": Decimal(16)} | more)),))


@pytest.mark.parametrize("version", VERSIONS)
def test_what_all_versions_say_survives_each(version: OcppVersion) -> None:
    written = to_wire(version, whole())
    assert written.losses == ()
    assert from_wire(written.profile, 1).profile == whole()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stations_limit_has_its_name_in_each_version(version: OcppVersion) -> None:
    station = whole(purpose=ProfilePurpose.CHARGING_STATION_MAX, evse_id=0, transaction_id=None)
    wire: Any = to_wire(version, station).profile
    expected = "ChargePointMaxProfile" if version is V16 else "ChargingStationMaxProfile"
    assert wire.charging_profile_purpose.value == expected
    assert from_wire(wire, 0).profile == station


@dataclass
class Odd:
    pointer: str
    profile: ChargingProfile
    versions: tuple[OcppVersion, ...] = (V16, V201)


INEXPRESSIBLE = [
    Odd("/purpose", whole(purpose=ProfilePurpose.PRIORITY_CHARGING)),
    Odd("/purpose", whole(purpose=ProfilePurpose.LOCAL_GENERATION)),
    Odd("/purpose", whole(purpose=ProfilePurpose.EXTERNAL_CONSTRAINTS), (V16,)),
    Odd("/kind", whole(kind=ProfileKind.DYNAMIC)),
    Odd("/schedules", whole(schedules=whole().schedules * 2), (V16,)),
    Odd("/schedules", whole(schedules=()), VERSIONS),
    Odd("/transaction_id", whole(transaction_id="a-1"), (V16,)),
    Odd("/transaction_id", whole(transaction_id=str(2**40)), (V16,)),
    Odd("/transaction_id", whole(transaction_id="x" * 37), VERSIONS),
    Odd("/max_offline_s", whole(max_offline_s=0)),
    Odd("/invalid_after_offline", whole(invalid_after_offline=True)),
    Odd("/schedules/0/use_local_time", with_schedule(use_local_time=True)),
    Odd("/schedules/0/limit_at_soc", with_schedule(limit_at_soc=SocLimit(soc=80, limit=Decimal(6)))),
    Odd("/schedules/0/periods/0/limit", with_period(limit=None)),
    Odd("/schedules/0/periods/0/limit_l2", with_period(limit_l2=Decimal(6))),
    Odd("/schedules/0/periods/0/discharge_limit", with_period(discharge_limit=Decimal(-6))),
    Odd("/schedules/0/periods/0/setpoint", with_period(setpoint=Decimal(6))),
    Odd("/schedules/0/periods/0/evse_sleep", with_period(evse_sleep=True)),
    Odd("/schedules/0/periods/0/operation_mode", with_period(operation_mode=OperationMode.IDLE)),
    Odd(
        "/schedules/0/periods/0/v2x_freq_watt_curve",
        with_period(v2x_freq_watt_curve=(FrequencyPoint(frequency=Decimal(50), power=Decimal(1)),)),
    ),
    Odd("/schedules/0/periods/0/phase_to_use", with_period(number_phases=1, phase_to_use=2), (V16,)),
]


@pytest.mark.parametrize("odd", INEXPRESSIBLE, ids=lambda odd: odd.pointer)
def test_what_a_version_cannot_say_is_refused_in_words(odd: Odd) -> None:
    for version in odd.versions:
        with pytest.raises(InvalidInputError) as refused:
            to_wire(version, odd.profile)
        assert odd.pointer in [pointer for pointer, _ in refused.value.fields]
        assert str(refused.value).startswith(f"OCPP {version.value} cannot express charging profile 7: ")
    for version in set(VERSIONS) - set(odd.versions):
        assert to_wire(version, odd.profile).losses == ()


def test_a_number_that_the_type_refuses_is_an_input_error() -> None:
    with pytest.raises(InvalidInputError, match="dischargeLimit"):
        to_wire(V21, with_period(discharge_limit=Decimal(6)))


LOST = [
    ("/schedules/0/randomized_delay_s", with_schedule(randomized_delay_s=600), (V16, V201)),
    ("/schedules/0/power_tolerance", with_schedule(power_tolerance=Decimal(5)), (V16, V201)),
    ("/schedules/0/periods/0/preconditioning_request", with_period(preconditioning_request=True), (V16, V201)),
    ("/schedules/0/carried", with_schedule(carried=(("digestValue", '"x"'),)), (V16, V201)),
    ("/carried", whole(carried=(("customData", '{"vendorId":"x"}'),)), (V16,)),
    ("/schedules/0/periods/0/limit", with_period(limit=Decimal("15.942")), (V16,)),
]


@pytest.mark.parametrize(("pointer", "profile", "versions"), LOST)
def test_what_a_station_can_do_without_is_left_out_and_said(
    pointer: str, profile: ChargingProfile, versions: tuple[OcppVersion, ...]
) -> None:
    for version in VERSIONS:
        told = [loss.pointer for loss in to_wire(version, profile).losses]
        assert told == ([pointer] if version in versions else [])


def test_limits_for_1_6_are_never_rounded_up() -> None:
    wire = to_wire(V16, with_period(limit=Decimal("15.99"))).profile
    assert isinstance(wire, v16.ChargingProfile)
    assert wire.charging_schedule.charging_schedule_period[0].limit == Decimal("15.9")
    wire = to_wire(V16, with_schedule(min_charging_rate=Decimal("5.91"))).profile
    assert isinstance(wire, v16.ChargingProfile)
    assert wire.charging_schedule.min_charging_rate == Decimal("6.0")


@pytest.mark.parametrize("version", [V16, V201])
def test_what_is_switched_off_needs_no_field(version: OcppVersion) -> None:
    off = whole(
        invalid_after_offline=False,
        schedules=(
            msgspec.structs.replace(
                whole().schedules[0],
                use_local_time=False,
                periods=(
                    ChargingPeriod(limit=Decimal(6), evse_sleep=False, operation_mode=OperationMode.CHARGING_ONLY),
                ),
            ),
        ),
    )
    assert to_wire(version, off).losses == ()


def test_local_time_is_the_wall_clock_whatever_zone_is_written() -> None:
    wire = to_wire(V21, with_schedule(use_local_time=True)).profile
    assert isinstance(wire, v21.ChargingProfileType)
    (one,) = wire.charging_schedule
    for text in ("2026-03-02T12:00:00+05:00", "2026-03-02T12:00:00Z", "2026-03-02T12:00:00"):
        moved = msgspec.structs.replace(one, start_schedule=text)
        read = from_wire(msgspec.structs.replace(wire, charging_schedule=(moved,)), 1)
        assert read.profile.schedules[0].start == NOW


def test_garbage_for_a_time_is_told() -> None:
    wire = msgspec.structs.replace(to_wire(V201, whole()).profile, valid_to="soon")
    read = from_wire(wire, 1)
    assert read.profile.valid_to is None
    assert [loss.pointer for loss in read.losses] == ["/valid_to"]


@pytest.mark.parametrize("version", VERSIONS)
def test_abilities_of_a_version_take_what_it_can_say(version: OcppVersion) -> None:
    station = ABILITIES[version]
    for purpose in ProfilePurpose:
        given = whole(purpose=purpose)
        if purpose in station.purposes:
            assert to_wire(version, given)
        else:
            with pytest.raises(InvalidInputError):
                to_wire(version, given)
    named = whole(kind=ProfileKind.ABSOLUTE, recurrency=None)
    assert validate(named, station) == ()


def test_reported_composite_schedules() -> None:
    one = v16.GetCompositeScheduleResponse(
        status=v16.GetCompositeScheduleStatus.ACCEPTED,
        connector_id=1,
        schedule_start="2026-03-02T12:00:00Z",
        charging_schedule=v16.ChargingSchedule(
            charging_rate_unit=v16.ChargingRateUnitType.W,
            charging_schedule_period=(v16.ChargingSchedulePeriod(start_period=0, limit=Decimal(5)),),
        ),
    )
    two = v201.GetCompositeScheduleResponse(
        status=v201.GenericStatusEnumType.ACCEPTED,
        schedule=v201.CompositeScheduleType(
            evse_id=1,
            duration=60,
            schedule_start="2026-03-02T12:00:00Z",
            charging_rate_unit=v201.ChargingRateUnitEnumType.W,
            charging_schedule_period=(v201.ChargingSchedulePeriodType(start_period=0, limit=Decimal(5)),),
        ),
    )
    found = [reported_schedule(r) for r in (one, two)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].duration_s is None  # OCPP 1.6, 6.22: it need not repeat what was asked for
    assert msgspec.structs.replace(found[0], duration_s=60) == found[1]
    assert found[0].periods == (ChargingPeriod(limit=Decimal(5)),)
    refused = v21.GetCompositeScheduleResponse(status=v21.GenericStatusEnumType.REJECTED)
    assert reported_schedule(refused) is None


def test_updates_of_dynamic_profiles_round_trip() -> None:
    update = PeriodUpdate(limit=Decimal(5), discharge_limit_l3=Decimal(-1), setpoint_reactive_l2=Decimal(2))
    wire = update_to_wire(update)
    assert json.loads(encode(wire)) == {"limit": 5, "dischargeLimit_L3": -1, "setpointReactive_L2": 2}
    assert update_from_wire(wire) == update


@pytest.mark.parametrize(
    ("named", "said"), [("-2147483648", True), ("2147483647", True), ("2147483648", False), ("x", False)]
)
def test_a_1_6_transaction_is_named_by_any_32_bit_integer(named: str, said: bool) -> None:
    profile = whole(transaction_id=named)
    if said:
        assert to_wire(V16, profile).profile.transaction_id == int(named)
    else:
        with pytest.raises(InvalidInputError, match="named by an integer"):
            to_wire(V16, profile)
