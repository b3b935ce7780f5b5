"""OCPP 2.1 beyond 2.0.1: ISO 15118-20, priority charging, dynamic profiles, bidirectional charging."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.rest import Operator
from tests.conformance.states import Session
from tests.conformance.station import Asked, Station, moment
from tests.conformance.test_k_iso15118 import connected
from tests.conformance.test_k_smart_charging import check_general, profile, relative
from tests.conformance.use_cases import requires

VERSION = "2.1"
EV: dict[str, Any] = {
    "requestedEnergyTransfer": "AC_three_phase",
    "acChargingParameters": {"energyAmount": 20_000, "evMinCurrent": 6, "evMaxCurrent": 16, "evMaxVoltage": 230},
    "v2xChargingParameters": {"minChargePower": 1_400, "maxChargePower": 11_000, "evTargetEnergyRequest": 20_000},
}


async def needs(driver: Session, control_mode: str, **more: Any) -> str:
    """What the station is answered."""
    told = {
        "evseId": 1,
        "maxScheduleTuples": 2,
        "timestamp": moment(),
        "chargingNeeds": {**EV, "controlMode": control_mode, "mobilityNeedsMode": "EVCC", **more},
    }
    answer = await driver.station.send("NotifyEVChargingNeeds", told)
    return str(answer["status"])


async def given(driver: Session) -> dict[str, Any]:
    """The profile that the server gives the transaction by itself."""
    called = await driver.station.expect("SetChargingProfile", evseId=1)
    await called.answer(status="Accepted")
    wire: dict[str, Any] = called["chargingProfile"]
    check_general(wire)
    assert (wire["chargingProfilePurpose"], wire["transactionId"]) == ("TxProfile", driver.transaction_id)
    return wire


async def put(csms: Operator, station: Station, number: int, ours: dict[str, Any]) -> dict[str, Any]:
    """A profile of the operator, which the station takes; on the wire."""
    body = {name: value for name, value in ours.items() if name != "id"}
    doing = csms.begin("PUT", f"/charging-stations/{station.id}/charging-profiles/{number}", body)
    called = await station.expect("SetChargingProfile")
    await called.answer(status="Accepted")
    await doing.done()
    path = f"/charging-stations/{station.id}/charging-profiles/{number}"
    await csms.eventually(lambda: csms.get(path), lambda view: view["state"] == "installed")
    wire: dict[str, Any] = called["chargingProfile"]
    return wire


# -- K18 to K20: ISO 15118-20 ------------------------------------------------------------------------------------------------


@requires("FR.02", "FR.07", "FR.08")
async def test_K18_scheduled_control_gets_a_profile_no_longer_than_the_ev_takes(csms: Operator) -> None:
    driver = await connected(csms, VERSION)
    assert await needs(driver, "ScheduledControl") in {"Accepted", "Processing"}
    wire = await given(driver)
    assert 1 <= len(wire["chargingSchedule"]) <= 3
    assert all(1 <= len(one["chargingSchedulePeriod"]) <= 2 for one in wire["chargingSchedule"])


@requires("FR.02", "FR.07", "FR.08")
async def test_K19_dynamic_control_gets_one_schedule(csms: Operator) -> None:
    driver = await connected(csms, VERSION)
    assert await needs(driver, "DynamicControl") in {"Accepted", "Processing"}
    wire = await given(driver)
    assert len(wire["chargingSchedule"]) == 1
    assert 1 <= len(wire["chargingSchedule"][0]["chargingSchedulePeriod"]) <= 2


@pytest.mark.parametrize("mode", ["ScheduledControl"])
@requires("FR.22")
async def test_K18_a_transfer_that_is_not_allowed_is_rejected(csms: Operator, mode: str) -> None:
    driver = await connected(csms, VERSION)
    assert await needs(driver, mode, requestedEnergyTransfer="AC_BPT") == "Rejected"


@requires("FR.15")
async def test_K19_a_transfer_that_is_not_allowed_is_rejected(csms: Operator) -> None:
    driver = await connected(csms, VERSION)
    assert await needs(driver, "DynamicControl", requestedEnergyTransfer="AC_BPT") == "Rejected"


@requires()
async def test_K20_other_needs_get_another_profile(csms: Operator) -> None:
    driver = await connected(csms, VERSION)
    assert await needs(driver, "ScheduledControl") in {"Accepted", "Processing"}
    await given(driver)
    less = {**EV["acChargingParameters"], "energyAmount": 5_000}
    assert await needs(driver, "ScheduledControl", acChargingParameters=less) in {"Accepted", "Processing"}
    await given(driver)


# -- K21, K22: priority ------------------------------------------------------------------------------------------------------


async def charging(csms: Operator) -> Session:
    driver = Session(await csms.booted(VERSION), await csms.id_token())
    await driver.energy_transfer_started()
    return driver


@requires("FR.09")
async def test_K21_priority_is_asked_for_and_what_the_station_tells_is_answered(csms: Operator) -> None:
    driver = await charging(csms)
    doing = csms.command(
        driver.station, "use_priority_charging", ocpp_transaction_id=driver.transaction_id, activate=True
    )
    asked = await driver.station.expect("UsePriorityCharging", transactionId=driver.transaction_id, activate=True)
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    assert await driver.station.send("NotifyPriorityCharging", transactionId=driver.transaction_id, activated=True) in (
        {},
    )


@requires("FR.06")
async def test_K22_priority_that_the_driver_chose_is_answered(csms: Operator) -> None:
    driver = await charging(csms)
    for activated in (True, False):
        told = {"transactionId": driver.transaction_id, "activated": activated}
        assert await driver.station.send("NotifyPriorityCharging", told) == {}


# -- K23, K28, K29: limits of others, dynamic profiles -------------------------------------------------------------------------


@requires()
async def test_K23_a_limit_of_an_energy_manager_is_shown(csms: Operator) -> None:
    await external(csms, "EMS")


@requires()
async def test_K29_a_dynamic_limit_of_an_external_system_is_shown(csms: Operator) -> None:
    await external(csms, "SO")


async def external(csms: Operator, source: str) -> None:
    """It is told and released."""
    station = await csms.booted(VERSION)
    schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 4_000}]}
    told = {"chargingLimit": {"chargingLimitSource": source}, "evseId": 1, "chargingSchedule": [schedule]}
    assert await station.send("NotifyChargingLimit", told) == {}
    path = f"/charging-stations/{station.id}/charging-limits"
    (limit,) = await csms.eventually(lambda: csms.items(path), lambda rows: len(rows) == 1)
    assert (limit["source"], limit["evse_id"]) == (source, 1)
    assert await station.send("ClearedChargingLimit", chargingLimitSource=source, evseId=1) == {}


def dynamic(**more: Any) -> dict[str, Any]:
    periods = [{"start_s": 0, "limit": 9_000}]
    ours = profile(kind="Dynamic", schedules=[{"id": 1, "unit": "W", "periods": periods}]) | more
    del ours["valid_from"], ours["valid_to"]
    return ours


@requires("FR.07")
async def test_K28_a_station_that_pulls_gets_the_newest_values(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    wire = await put(csms, station, 51, dynamic(dyn_update_interval_s=60))
    assert (wire["chargingProfileKind"], wire["dynUpdateInterval"]) == ("Dynamic", 60)
    path = f"/charging-stations/{station.id}/charging-profiles/51/update"
    await csms.post(path, {"limit": 5_000})
    answer = await station.send("PullDynamicScheduleUpdate", chargingProfileId=51)
    assert answer["status"] == "Accepted"
    assert answer["scheduleUpdate"] == {"limit": 5_000}


@requires()
async def test_K28_a_station_that_does_not_pull_is_told(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    await put(csms, station, 52, dynamic())
    doing = csms.begin("POST", f"/charging-stations/{station.id}/charging-profiles/52/update", {"limit": 6_000})
    asked = await station.expect("UpdateDynamicSchedule", chargingProfileId=52)
    assert asked["scheduleUpdate"] == {"limit": 6_000}
    await asked.answer(status="Accepted")
    assert (await doing.done())["told"]["state"] == "accepted"


@requires("FR.12")
async def test_K28_no_values_for_a_profile_that_is_not_dynamic_or_not_there(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    await put(csms, station, 53, profile())
    for number in (53, 54):
        answer = await station.send("PullDynamicScheduleUpdate", chargingProfileId=number)
        assert answer["status"] == "Rejected"
        assert "scheduleUpdate" not in answer


# -- Q: both directions --------------------------------------------------------------------------------------------------------


async def allowed(csms: Operator, driver: Session, *words: str) -> None:
    """The operator says how the transaction's vehicle may transfer energy."""
    doing = csms.begin(
        "POST",
        f"/charging-stations/{driver.station.id}/allowed-energy-transfers",
        {"ocpp_transaction_id": driver.transaction_id, "allowed": list(words)},
    )
    asked = await driver.station.expect(
        "NotifyAllowedEnergyTransfer", transactionId=driver.transaction_id, allowedEnergyTransfer=list(words)
    )
    await asked.answer(status="Accepted")
    assert (await doing.done())["state"] == "accepted"


@requires("FR.04", "FR.07", "FR.08")
async def test_Q01_a_transfer_in_both_directions_is_accepted_where_it_is_allowed_alone(csms: Operator) -> None:
    driver = Session(await csms.booted(VERSION), await csms.id_token())
    answer = await driver.station.send("Authorize", idToken=driver.token.wire)
    assert "allowedEnergyTransfer" not in answer
    await driver.authorized()
    await driver.ev_connected_pre_session()
    assert await needs(driver, "DynamicControl", requestedEnergyTransfer="AC_BPT") == "Rejected"
    await allowed(csms, driver, "AC_three_phase", "AC_BPT")
    both = {**EV["v2xChargingParameters"], "minDischargePower": 0, "maxDischargePower": 11_000}
    asked = await needs(driver, "DynamicControl", requestedEnergyTransfer="AC_BPT", v2xChargingParameters=both)
    assert asked in {"Accepted", "Processing"}
    await given(driver)


@requires("FR.01", "FR.02", "FR.03", "FR.05")
async def test_Q02_who_asks_for_one_direction_gets_it_alone_until_both_are_allowed(csms: Operator) -> None:
    driver = await connected(csms, VERSION)
    assert await needs(driver, "DynamicControl") in {"Accepted", "Processing"}
    wire = await given(driver)
    for schedule in wire["chargingSchedule"]:
        for period in schedule["chargingSchedulePeriod"]:
            assert period.get("operationMode", "ChargingOnly") == "ChargingOnly"
            assert not {name for name in period if name.startswith(("dischargeLimit", "setpoint"))}
    await allowed(csms, driver, "AC_BPT")


def setpoints(driver: Session, **more: Any) -> dict[str, Any]:
    periods = [{"start_s": 0, "operation_mode": "CentralSetpoint", "setpoint": -5_000}]
    schedules = [{"id": 1, "unit": "W", "periods": periods}]
    return relative(0, transaction_id=driver.transaction_id, schedules=schedules) | more


@requires("FR.01")
async def test_Q03_setpoints_go_out_without_limits(csms: Operator) -> None:
    driver = await charging(csms)
    wire = await put(csms, driver.station, 61, setpoints(driver))
    (period,) = wire["chargingSchedule"][0]["chargingSchedulePeriod"]
    assert (period["operationMode"], period["setpoint"]) == ("CentralSetpoint", -5_000)
    assert not {name for name in period if name.startswith(("limit", "dischargeLimit"))}


@requires()
async def test_Q04_a_dynamic_setpoint_is_told(csms: Operator) -> None:
    driver = await charging(csms)
    await put(csms, driver.station, 63, setpoints(driver, kind="Dynamic"))
    path = f"/charging-stations/{driver.station.id}/charging-profiles/63/update"
    doing = csms.begin("POST", path, {"setpoint": -3_000})
    asked = await driver.station.expect("UpdateDynamicSchedule", chargingProfileId=63)
    assert asked["scheduleUpdate"] == {"setpoint": -3_000}
    await asked.answer(status="Accepted")
    await doing.done()


@requires()
async def test_Q07_a_signal_for_frequency_support_is_sent(csms: Operator) -> None:
    driver = await charging(csms)
    at = moment()
    doing = csms.command(driver.station, "afrr_signal", at=at, signal=-20)
    asked: Asked = await driver.station.expect("AFRRSignal", signal=-20)
    assert asked["timestamp"]
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
