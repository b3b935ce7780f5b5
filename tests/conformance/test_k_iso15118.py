"""Block K with ISO 15118: schedules from what an EV needs, and their renegotiation."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session
from tests.conformance.station import Asked, moment
from tests.conformance.test_k_smart_charging import check_general, relative

NEEDS = {
    "requestedEnergyTransfer": "AC_three_phase",
    "acChargingParameters": {"energyAmount": 20_000, "evMinCurrent": 6, "evMaxCurrent": 16, "evMaxVoltage": 230},
}


async def connected(csms: Operator, version: str) -> Session:
    """States Authorized and EVConnectedPreSession."""
    driver = Session(await csms.booted(version), await csms.id_token())
    await driver.authorized()
    await driver.ev_connected_pre_session()
    return driver


async def needs_told(driver: Session) -> None:
    """The EV's needs are taken."""
    told = {"evseId": 1, "maxScheduleTuples": 3, "chargingNeeds": NEEDS}
    assert (await driver.station.send("NotifyEVChargingNeeds", told))["status"] in {"Accepted", "Processing"}


async def profile_set(driver: Session) -> Asked:
    """By itself the server sets a profile for the transaction."""
    called = await driver.station.expect("SetChargingProfile", evseId=1)
    profile = called["chargingProfile"]
    check_general(profile)
    assert profile["chargingProfilePurpose"] == "TxProfile"
    assert profile["transactionId"] == driver.transaction_id
    await called.answer(status="Accepted")
    return called


async def schedule_told(driver: Session, called: Asked, answer: str, factor: float = 1) -> None:
    """The EV's own schedule: the one it was given, or one beyond it."""
    (given, *_) = called["chargingProfile"]["chargingSchedule"]
    periods = [
        {"startPeriod": one["startPeriod"], "limit": one["limit"] * factor} for one in given["chargingSchedulePeriod"]
    ]
    schedule = {"id": given["id"], "chargingRateUnit": given["chargingRateUnit"], "chargingSchedulePeriod": periods}
    if "duration" in given:
        schedule["duration"] = given["duration"]
    told: dict[str, Any] = {"evseId": 1, "timeBase": given.get("startSchedule", moment()), "chargingSchedule": schedule}
    assert (await driver.station.send("NotifyEVChargingSchedule", told))["status"] == answer


async def smart_charging(csms: Operator, version: str) -> Session:
    """State ISO15118SmartCharging."""
    driver = await connected(csms, version)
    await needs_told(driver)
    await schedule_told(driver, await profile_set(driver), "Accepted")
    await driver.event("ChargingStateChanged", state="Charging")
    return driver


@case()
async def test_TC_K_53_CSMS(csms: Operator, version: str) -> None:
    driver = await smart_charging(csms, version)
    assert (await csms.transaction(driver.station))["state"] == "open"


@case()
async def test_TC_K_55_CSMS(csms: Operator, version: str) -> None:
    driver = await connected(csms, version)
    await needs_told(driver)
    first = await profile_set(driver)
    await schedule_told(driver, first, "Rejected", 2)
    await driver.event("ChargingStateChanged", state="Charging")
    await schedule_told(driver, await profile_set(driver), "Accepted")
    await driver.event("ChargingRateChanged")


@case()
async def test_TC_K_57_CSMS(csms: Operator, version: str) -> None:
    driver = await smart_charging(csms, version)
    await needs_told(driver)
    await driver.event("ChargingRateChanged")
    await schedule_told(driver, await profile_set(driver), "Accepted")
    await driver.event("ChargingRateChanged")


async def renegotiated(csms: Operator, driver: Session) -> Asked:
    """The operator gives the transaction another schedule."""
    ours = relative(7, id=400, transaction_id=driver.transaction_id)
    doing = csms.command(driver.station, "set_charging_profile", profile=ours)
    called = await profile_set(driver)
    await doing.ends("accepted", "Accepted")
    return called


@case()
async def test_TC_K_58_CSMS(csms: Operator, version: str) -> None:
    driver = await smart_charging(csms, version)
    await schedule_told(driver, await renegotiated(csms, driver), "Accepted")
    await driver.event("ChargingRateChanged")


@case()
async def test_TC_K_59_CSMS(csms: Operator, version: str) -> None:
    driver = await smart_charging(csms, version)
    await renegotiated(csms, driver)
    await needs_told(driver)
    await schedule_told(driver, await profile_set(driver), "Accepted")
    await driver.event("ChargingRateChanged")
