"""Commands of smart charging in the three versions, and what stations answer to them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.bridge.commands import outcome, to_call
from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    OperationMode,
    PeriodUpdate,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.domain.commands import (
    AfrrSignal,
    CallOutcome,
    CallOutcomeKind,
    ClearChargingProfile,
    ClearDerControl,
    Command,
    CommandState,
    GetChargingProfiles,
    GetCompositeSchedule,
    GetDerControl,
    NotifyAllowedEnergyTransfer,
    SetChargingProfile,
    SetDerControl,
    Start,
    UpdateDynamicSchedule,
    UsePriorityCharging,
)
from chargeplane.domain.commands.smart_charging import DerControlsSuperseded, StationSchedule
from chargeplane.domain.der_controls import (
    Curve,
    CurvePoint,
    DerControl,
    DerControlType,
    DerUnit,
    EnterService,
    FixedPowerFactor,
    FixedVar,
    FrequencyDroop,
    Gradient,
    Hysteresis,
    MaxDischarge,
)
from chargeplane.domain.messages import IdToken
from chargeplane.domain.smart_charging import EnergyTransfer
from chargeplane.kernel.errors import InvalidInputError, RuleError
from chargeplane.ocpp.catalogue import encode
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V16, V21, V201, VERSIONS, validate
from tests.domain.charging import ABSOLUTE, DEFAULT, DYNAMIC, MAX, PRIORITY, TX, A, at, period, profile

NOON = at("2026-01-31T12:00")
STATION_LIMIT = profile(MAX, ABSOLUTE, [(0, 11_000), (3600, 7_000)], id=5, start=NOON)
FOR_A_TRANSACTION = profile(TX, ABSOLUTE, [(0, 16)], id=7, unit=A, start=NOON, transaction_id="17")


def sent(version: OcppVersion, command: Command) -> tuple[str, Any]:
    """Action and payload of a command; the payload fits the official schema."""
    action, request = to_call(version, command)
    payload = json.loads(encode(request))
    validate(version, f"{action}Request", payload)
    return action, payload


def fields_of(version: OcppVersion, command: Command) -> list[str]:
    """The fields that a refusal names."""
    with pytest.raises(InvalidInputError) as refused:
        to_call(version, command)
    return [pointer for pointer, _ in refused.value.fields]


def answered(version: OcppVersion, command: Command, payload: object) -> Any:
    call = CallOutcome(
        outcome=CallOutcomeKind.CALLRESULT, message_id="m", payload=json.dumps(payload).encode(), latency_ms=1
    )
    action, _ = to_call(version, command)
    return outcome(version, command, action, call)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_limit_of_the_station_is_set_in_every_version(version: OcppVersion) -> None:
    action, payload = sent(version, SetChargingProfile(profile=STATION_LIMIT))
    assert action == "SetChargingProfile"
    if version is V16:
        assert payload["connectorId"] == 0
        wire = payload["csChargingProfiles"]
        assert wire["chargingProfilePurpose"] == "ChargePointMaxProfile"
        schedule = wire["chargingSchedule"]
    else:
        assert payload["evseId"] == 0
        wire = payload["chargingProfile"]
        assert wire["chargingProfilePurpose"] == "ChargingStationMaxProfile"
        (schedule,) = wire["chargingSchedule"]
    assert [(p["startPeriod"], p["limit"]) for p in schedule["chargingSchedulePeriod"]] == [(0, 11_000), (3600, 7_000)]


@pytest.mark.parametrize("version", VERSIONS)
def test_broken_rules_are_refused_before_sending_and_name_the_field(version: OcppVersion) -> None:
    late = replace(STATION_LIMIT.schedules[0], periods=(period(60, 11_000),))
    assert fields_of(version, SetChargingProfile(profile=replace(STATION_LIMIT, schedules=(late,)))) == [
        "/profile/schedules/0/periods/0/start_s"
    ]
    nan = replace(STATION_LIMIT.schedules[0], periods=(period(0, "sNaN"),))
    assert fields_of(version, SetChargingProfile(profile=replace(STATION_LIMIT, schedules=(nan,)))) == [
        "/profile/schedules/0/periods/0/limit"
    ]
    naive = replace(STATION_LIMIT, valid_from=datetime(2026, 1, 1))
    assert fields_of(version, SetChargingProfile(profile=naive)) == ["/profile/valid_from"]
    long = replace(STATION_LIMIT.schedules[0], periods=tuple(period(n, 1) for n in range(1025)))
    assert fields_of(version, SetChargingProfile(profile=replace(STATION_LIMIT, schedules=(long,)))) == [
        "/profile/schedules/0/periods"
    ]


def test_what_a_version_lacks_is_refused_with_what_it_has() -> None:
    priority = profile(PRIORITY, ABSOLUTE, [(0, 11_000)], start=NOON, evse=0)
    for version in (V16, V201):
        with pytest.raises(InvalidInputError, match="TxDefaultProfile"):
            to_call(version, SetChargingProfile(profile=priority))
    sent(V21, SetChargingProfile(profile=priority))
    discharging = profile(
        DEFAULT,
        ABSOLUTE,
        [ChargingPeriod(operation_mode=OperationMode.CENTRAL_SETPOINT, setpoint=Decimal(-5000))],
        start=NOON,
    )
    for version in (V16, V201):
        assert fields_of(version, SetChargingProfile(profile=discharging))
    _, payload = sent(V21, SetChargingProfile(profile=discharging))
    assert payload["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"][0]["setpoint"] == -5000


@pytest.mark.parametrize("version", VERSIONS)
def test_f01_fr_11_a_start_takes_a_profile_without_a_transaction(version: OcppVersion) -> None:
    nameless = replace(FOR_A_TRANSACTION, transaction_id=None)
    start = Start(id_token=IdToken(value="04A1"), evse_id=2, remote_start_id=3, charging_profile=nameless)
    _, payload = sent(version, start)
    assert payload["chargingProfile"]["chargingProfilePurpose"] == "TxProfile"
    assert "transactionId" not in payload["chargingProfile"]
    named = replace(start, charging_profile=FOR_A_TRANSACTION)
    assert fields_of(version, named) == ["/charging_profile/transaction_id"]
    other = replace(start, charging_profile=profile(DEFAULT, ABSOLUTE, [(0, 1)], start=NOON))
    assert fields_of(version, other) == ["/charging_profile/purpose"]


@pytest.mark.parametrize("version", VERSIONS)
def test_k10_fr_02_profiles_are_cleared_by_id_or_by_what_they_share(version: OcppVersion) -> None:
    by_id = sent(version, ClearChargingProfile(id=5))[1]
    assert by_id == ({"id": 5} if version is V16 else {"chargingProfileId": 5})
    _, payload = sent(version, ClearChargingProfile(evse_id=0, purpose=MAX, stack_level=3))
    if version is V16:
        assert payload == {"connectorId": 0, "chargingProfilePurpose": "ChargePointMaxProfile", "stackLevel": 3}
    else:
        criteria = {"evseId": 0, "chargingProfilePurpose": "ChargingStationMaxProfile", "stackLevel": 3}
        assert payload == {"chargingProfileCriteria": criteria}
    if version is V16:  # 1.6, 5.5: every one
        assert sent(version, ClearChargingProfile()) == ("ClearChargingProfile", {})
    else:
        assert fields_of(version, ClearChargingProfile()) == ["/id"]
    assert fields_of(version, ClearChargingProfile(id=5, evse_id=1)) == ["/evse_id"]


@pytest.mark.parametrize("version", VERSIONS)
def test_k10_fr_06_what_external_systems_set_is_not_cleared(version: OcppVersion) -> None:
    command = ClearChargingProfile(purpose=ProfilePurpose.EXTERNAL_CONSTRAINTS)
    assert fields_of(version, command) == ["/purpose"]


def test_k09_fr_03_a_report_is_asked_for_by_ids_or_by_criteria() -> None:
    for version in (V201, V21):
        _, payload = sent(version, GetChargingProfiles(request_id=4, ids=(1, 2), evse_id=1))
        assert payload == {"requestId": 4, "evseId": 1, "chargingProfile": {"chargingProfileId": [1, 2]}}
        _, payload = sent(version, GetChargingProfiles(request_id=4))
        assert payload["chargingProfile"] == {"chargingLimitSource": ["EMS", "Other", "SO", "CSO"]}
        _, payload = sent(version, GetChargingProfiles(request_id=4, purpose=TX, stack_level=0))
        assert payload["chargingProfile"] == {"chargingProfilePurpose": "TxProfile", "stackLevel": 0}
        assert fields_of(version, GetChargingProfiles(request_id=4, ids=(1,), stack_level=0)) == ["/ids"]
    assert fields_of(V201, GetChargingProfiles(request_id=4, sources=("Aggregator",))) == ["/sources"]
    with pytest.raises(RuleError, match="get_composite_schedule"):
        to_call(V16, GetChargingProfiles(request_id=4))


@pytest.mark.parametrize("version", VERSIONS)
def test_composite_schedule_is_asked_for_and_read(version: OcppVersion) -> None:
    command = GetCompositeSchedule(evse_id=1, duration_s=600, unit=RateUnit.A)
    _, payload = sent(version, command)
    assert payload == {
        "connectorId" if version is V16 else "evseId": 1,
        "duration": 600,
        "chargingRateUnit": "A",
    }
    periods = [{"startPeriod": 0, "limit": -1}, {"startPeriod": 591.217, "limit": 16.0}]
    schedule: dict[str, object] = {"duration": 600, "chargingRateUnit": "A", "chargingSchedulePeriod": periods}
    if version is V16:
        answer = {"status": "Accepted", "connectorId": 1, "scheduleStart": "2026-01-31T12:00:00Z"}
        answer["chargingSchedule"] = schedule  # type: ignore[assignment]
    else:
        schedule |= {"evseId": 1, "scheduleStart": "2026-01-31T12:00:00Z"}
        answer = {"status": "Accepted", "schedule": schedule}  # type: ignore[dict-item]
    found = answered(version, command, answer)
    assert found.state is CommandState.ACCEPTED
    # seen of real stations: no limit written as -1, and a start between two seconds
    assert json.loads(found.reply)["periods"][0]["limit"] is None
    assert StationSchedule.__struct_fields__ == tuple(json.loads(found.reply))
    assert json.loads(found.reply)["periods"][1]["start_s"] == 591


def test_rejected_composite_schedule_says_so() -> None:
    found = answered(V201, GetCompositeSchedule(evse_id=9, duration_s=60), {"status": "Rejected"})
    assert (found.state, found.reply) == (CommandState.REJECTED, None)


def test_k28_dynamic_values_are_updated() -> None:
    command = UpdateDynamicSchedule(profile_id=10, update=PeriodUpdate(setpoint=Decimal(2000)))
    assert sent(V21, command) == (
        "UpdateDynamicSchedule",
        {"chargingProfileId": 10, "scheduleUpdate": {"setpoint": 2000}},
    )
    assert fields_of(V21, UpdateDynamicSchedule(profile_id=10, update=PeriodUpdate())) == ["/update"]
    bad = UpdateDynamicSchedule(profile_id=10, update=PeriodUpdate(discharge_limit=Decimal(1)))
    assert fields_of(V21, bad) == ["/update"]
    with pytest.raises(RuleError, match="set the profile again"):
        to_call(V201, command)
    dynamic = profile(DEFAULT, DYNAMIC, [(0, 7000)], dyn_update_interval_s=60)
    _, payload = sent(V21, SetChargingProfile(profile=dynamic))
    assert payload["chargingProfile"]["dynUpdateInterval"] == 60


def test_k21_priority_charging_and_q02_allowed_transfers_and_the_signal() -> None:
    assert sent(V21, UsePriorityCharging(ocpp_transaction_id="t1"))[1] == {"transactionId": "t1", "activate": True}
    refused = answered(V21, UsePriorityCharging(ocpp_transaction_id="t1"), {"status": "NoProfile"})
    assert refused.state is CommandState.REJECTED
    assert "PriorityCharging" in refused.reason
    allowed = NotifyAllowedEnergyTransfer(
        ocpp_transaction_id="t1", allowed=(EnergyTransfer.AC_THREE_PHASE, EnergyTransfer.AC_BPT)
    )
    assert sent(V21, allowed)[1]["allowedEnergyTransfer"] == ["AC_three_phase", "AC_BPT"]
    assert sent(V21, AfrrSignal(signal=-3, at=datetime(2026, 1, 31, 12, tzinfo=UTC))) == (
        "AFRRSignal",
        {"timestamp": "2026-01-31T12:00:00.000Z", "signal": -3},
    )


def curve(**more: Any) -> Curve:
    return Curve(points=(CurvePoint(x=Decimal(1), y=Decimal(2)),), unit=DerUnit.PCT_MAX_W, **more)


CONTROLS = [
    DerControl(id="c", type=DerControlType.VOLT_WATT, is_default=True, curve=curve(hysteresis=Hysteresis())),
    DerControl(
        id="c", type=DerControlType.HF_MUST_TRIP, is_default=False, curve=curve(start=NOON, duration_s=Decimal(60))
    ),
    DerControl(
        id="c",
        type=DerControlType.ENTER_SERVICE,
        is_default=True,
        enter_service=EnterService(
            high_voltage=Decimal(110), low_voltage=Decimal(90), high_frequency=Decimal(51), low_frequency=Decimal(49)
        ),
    ),
    *(
        DerControl(
            id="c",
            type=kind,
            is_default=True,
            fixed_power_factor=FixedPowerFactor(displacement=Decimal("0.95"), over_excited=True),
        )
        for kind in (DerControlType.FIXED_PF_ABSORB, DerControlType.FIXED_PF_INJECT)
    ),
    DerControl(
        id="c",
        type=DerControlType.FIXED_VAR,
        is_default=True,
        fixed_var=FixedVar(setpoint=Decimal(10), unit=DerUnit.PCT_MAX_VAR),
    ),
    DerControl(
        id="c",
        type=DerControlType.FREQ_DROOP,
        is_default=True,
        frequency_droop=FrequencyDroop(
            over_frequency=Decimal(51),
            under_frequency=Decimal(49),
            over_droop=Decimal(40),
            under_droop=Decimal(40),
            response_time_s=Decimal(1),
        ),
    ),
    DerControl(
        id="c",
        type=DerControlType.GRADIENTS,
        is_default=True,
        gradient=Gradient(gradient=Decimal(5), soft_gradient=Decimal(2)),
    ),
    DerControl(
        id="c",
        type=DerControlType.LIMIT_MAX_DISCHARGE,
        is_default=True,
        max_discharge=MaxDischarge(percent=Decimal(50), must_trip=curve()),
    ),
]


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: str(c.type))
def test_r04_every_der_control_is_written_as_the_schema_asks(control: DerControl) -> None:
    action, payload = sent(V21, SetDerControl(control=control))
    assert action == "SetDERControl"
    assert payload["controlType"] == control.type
    settings = [name for name in payload if name not in ("isDefault", "controlId", "controlType")]
    assert len(settings) == 1


def test_r04_controls_have_the_settings_of_their_type_and_scheduled_ones_a_start() -> None:
    droop = CONTROLS[6]
    assert fields_of(V21, SetDerControl(control=replace(droop, type=DerControlType.VOLT_VAR))) == [
        "/frequency_droop",
        "/curve",
    ]
    assert fields_of(V21, SetDerControl(control=replace(droop, is_default=False))) == ["/frequency_droop/start"]
    always = replace(CONTROLS[1], is_default=True)
    assert fields_of(V21, SetDerControl(control=always)) == ["/curve/start", "/curve/duration_s"]
    odd = replace(CONTROLS[0], curve=replace(curve(), points=(CurvePoint(x=Decimal("NaN"), y=Decimal(0)),)))
    assert fields_of(V21, SetDerControl(control=odd)) == ["/curve/points/0/x"]


def test_r04_what_a_control_supersedes_is_told() -> None:
    command = SetDerControl(control=CONTROLS[0])
    found = answered(V21, command, {"status": "Accepted", "supersededIds": ["a", "b"]})
    assert found.state is CommandState.ACCEPTED
    assert json.loads(found.reply) == {"ids": ["a", "b"]}
    assert DerControlsSuperseded(ids=("a", "b")).ids == ("a", "b")
    refused = answered(V21, command, {"status": "NotSupported"})
    assert refused.state is CommandState.REJECTED


def test_r04_controls_are_asked_for_and_cleared() -> None:
    assert sent(V21, GetDerControl(request_id=1, is_default=True))[1] == {"requestId": 1, "isDefault": True}
    assert sent(V21, ClearDerControl(is_default=False, control_id="x"))[1] == {"isDefault": False, "controlId": "x"}
    both = ClearDerControl(is_default=False, control_id="x", control_type=DerControlType.GRADIENTS)
    assert fields_of(V21, both) == ["/control_type"]


@pytest.mark.parametrize("version", [V16, V201])
@pytest.mark.parametrize(
    "command",
    [
        UsePriorityCharging(ocpp_transaction_id="1"),
        AfrrSignal(signal=1, at=NOON),
        SetDerControl(control=CONTROLS[0]),
        GetDerControl(request_id=1),
        ClearDerControl(is_default=True),
        NotifyAllowedEnergyTransfer(ocpp_transaction_id="1", allowed=(EnergyTransfer.DC,)),
    ],
    ids=lambda c: type(c).__name__ if not isinstance(c, str) else c,
)
def test_before_2_1_these_do_not_exist(version: OcppVersion, command: Command) -> None:
    with pytest.raises(RuleError, match=rf"OCPP {version.value}"):
        to_call(version, command)


def test_profiles_are_not_renumbered_or_rounded_on_their_way() -> None:
    exact: ChargingProfile = profile(DEFAULT, ProfileKind.RELATIVE, [(0, "13.77")], unit=A, id=2_000_000_001)
    _, payload = sent(V21, SetChargingProfile(profile=exact))
    assert payload["chargingProfile"]["id"] == 2_000_000_001
    assert payload["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"][0]["limit"] == 13.77
