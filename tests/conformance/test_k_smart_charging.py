"""Block K: charging profiles, composite schedules, limits of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session
from tests.conformance.station import Asked, Station, moment

DURATION_S = 300


def at(seconds: float) -> str:
    """A time relative to now, whole seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0).isoformat()


def same_time(wire: str, ours: str) -> bool:
    """Whether both are the same moment."""
    return datetime.fromisoformat(wire) == datetime.fromisoformat(ours)


def profile(limit: float = 6, **more: Any) -> dict[str, Any]:
    """A TxDefaultProfile of EVSE 1 as the operator writes it: absolute, from now on, for five minutes."""
    schedule = {
        "id": 1,
        "unit": "A",
        "start": at(0),
        "duration_s": DURATION_S,
        "periods": [{"start_s": 0, "limit": limit, "number_phases": 1}],
    }
    return {
        "id": 158,
        "evse_id": 1,
        "stack_level": 1,
        "purpose": "TxDefaultProfile",
        "kind": "Absolute",
        "valid_from": at(0),
        "valid_to": at(DURATION_S),
        "schedules": [schedule],
    } | more


def relative(limit: float, **more: Any) -> dict[str, Any]:
    """A TxProfile that counts from the beginning of the energy transfer."""
    periods = [{"start_s": 0, "limit": limit, "number_phases": 1}]
    made = profile(limit, purpose="TxProfile", kind="Relative", schedules=[{"id": 1, "unit": "A", "periods": periods}])
    del made["valid_from"], made["valid_to"]
    return made | more


def check_general(wire: dict[str, Any]) -> None:
    """The tool's validations of every charging profile (Part 6, 3.1)."""
    for schedule in wire["chargingSchedule"]:
        starts = [period["startPeriod"] for period in schedule["chargingSchedulePeriod"]]
        assert starts == sorted(set(starts))
        for period in schedule["chargingSchedulePeriod"]:
            assert "phaseToUse" not in period or period["numberPhases"] == 1


def check_same(wire: dict[str, Any], ours: dict[str, Any]) -> None:
    """What goes out is what the operator wrote."""
    check_general(wire)
    assert (wire["id"], wire["stackLevel"]) == (ours["id"], ours["stack_level"])
    assert wire["chargingProfilePurpose"] == ours["purpose"]
    assert wire["chargingProfileKind"] == ours["kind"]
    assert wire.get("recurrencyKind") == ours.get("recurrency")
    assert wire.get("transactionId") == ours.get("transaction_id")
    for name, field in (("validFrom", "valid_from"), ("validTo", "valid_to")):
        assert (name in wire) == (field in ours)
        assert field not in ours or same_time(wire[name], ours[field])
    (schedule,), (wanted,) = wire["chargingSchedule"], ours["schedules"]
    assert schedule["chargingRateUnit"] == wanted["unit"]
    assert schedule.get("duration") == wanted.get("duration_s")
    assert ("startSchedule" in schedule) == ("start" in wanted)
    assert "start" not in wanted or same_time(schedule["startSchedule"], wanted["start"])
    found = [(p["startPeriod"], p["limit"], p["numberPhases"]) for p in schedule["chargingSchedulePeriod"]]
    assert found == [(p["start_s"], p["limit"], p["number_phases"]) for p in wanted["periods"]]


async def set_profile(
    csms: Operator, station: Station, ours: dict[str, Any], answer: str = "Accepted", state: str = "accepted"
) -> None:
    """The operator sets a profile, and the station answers."""
    doing = csms.command(station, "set_charging_profile", profile=ours)
    called = await station.expect("SetChargingProfile", evseId=ours["evse_id"])
    check_same(called["chargingProfile"], ours)
    await called.answer(status=answer)
    await doing.ends(state, answer)


async def charging(csms: Operator, version: str) -> Session:
    """State EnergyTransferStarted."""
    driver = Session(await csms.booted(version), await csms.id_token())
    await driver.energy_transfer_started()
    return driver


@case()
async def test_TC_K_01_CSMS(csms: Operator, version: str) -> None:
    await set_profile(csms, await csms.booted(version), profile())


@case()
async def test_TC_K_02_CSMS(csms: Operator, version: str) -> None:
    ours = relative(7, transaction_id="not-running")
    await set_profile(csms, await csms.booted(version), ours, "Rejected", "rejected")


@case()
async def test_TC_K_03_CSMS(csms: Operator, version: str) -> None:
    await set_profile(csms, await csms.booted(version), profile(8, evse_id=0, purpose="ChargingStationMaxProfile"))


@case()
async def test_TC_K_04_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await set_profile(csms, station, profile(8))
    await set_profile(csms, station, profile(6))


@case()
async def test_TC_K_10_CSMS(csms: Operator, version: str) -> None:
    await set_profile(csms, await csms.booted(version), profile(evse_id=0))


@case()
async def test_TC_K_15_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    ours = profile()
    doing = csms.command(station, "set_charging_profile", profile=ours)
    called = await station.expect("SetChargingProfile", evseId=1)
    check_same(called["chargingProfile"], ours)
    await called.refuse("NotSupported")
    assert "NotSupported" in (await doing.ends("failed"))["reason"]


@case()
async def test_TC_K_19_CSMS(csms: Operator, version: str) -> None:
    await set_profile(csms, await csms.booted(version), profile(kind="Recurring", recurrency="Daily"))


@case()
async def test_TC_K_60_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    await set_profile(csms, driver.station, relative(7, transaction_id=driver.transaction_id))


@case()
async def test_TC_K_70_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await set_profile(csms, station, profile(id=158, stack_level=1))
    await set_profile(csms, station, profile(id=159, stack_level=2))


@case()
async def test_TC_K_37_CSMS(csms: Operator, version: str) -> None:
    driver = Session(await csms.booted(version), await csms.id_token())
    ours = relative(7)
    token = {"id_token": driver.token.value, "type": driver.token.type}
    doing = csms.command(driver.station, "start", id_token=token, evse_id=1, charging_profile=ours)
    called = await driver.station.expect("RequestStartTransaction", idToken=driver.token.wire, evseId=1)
    check_same(called["chargingProfile"], ours)
    assert "transactionId" not in called["chargingProfile"]
    await called.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    more = {"info": {"remoteStartId": called["remoteStartId"]}, **driver.where()}
    answer = await driver.event("RemoteStart", token=driver.token, **more)
    assert answer["idTokenInfo"]["status"] == "Accepted"


async def clear(csms: Operator, station: Station, answer: str, wire: dict[str, Any], **criteria: Any) -> None:
    """The operator clears profiles."""
    doing = csms.command(station, "clear_charging_profile", **criteria)
    called = await station.expect("ClearChargingProfile")
    assert called.payload == wire
    await called.answer(status=answer)
    await doing.ends("accepted" if answer == "Accepted" else "rejected", answer)


BY_LEVEL: tuple[dict[str, Any], dict[str, Any]] = (
    {"purpose": "TxDefaultProfile", "evse_id": 1, "stack_level": 1},
    {"chargingProfileCriteria": {"chargingProfilePurpose": "TxDefaultProfile", "evseId": 1, "stackLevel": 1}},
)


@case()
async def test_TC_K_05_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    called = await report_asked(csms, station, {})
    await reported(station, called, 0, "ChargingStationMaxProfile", last=True)
    await clear(csms, station, "Accepted", {"chargingProfileId": 158}, id=158)


@case()
async def test_TC_K_06_CSMS(csms: Operator, version: str) -> None:
    ours, wire = BY_LEVEL
    await clear(csms, await csms.booted(version), "Accepted", wire, **ours)


@case()
async def test_TC_K_08_CSMS(csms: Operator, version: str) -> None:
    ours, wire = BY_LEVEL
    await clear(csms, await csms.booted(version), "Unknown", wire, **ours)


# -- reports -----------------------------------------------------------------------------------------------------------------


async def report_asked(
    csms: Operator, station: Station, criterion: dict[str, Any], evse: int | None = None, **asked: Any
) -> Asked:
    """The operator asks what is installed."""
    place = {} if evse is None else {"evse_id": evse}
    doing = csms.command(station, "get_charging_profiles", **place, **asked)
    called = await station.expect("GetChargingProfiles", evseId=evse)
    assert called["requestId"] >= 0
    # K09.FR.03: at least one criterion; which one is the server's choice where the operator names none
    assert called["chargingProfile"] == criterion if criterion else called["chargingProfile"]
    await called.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    return called


async def reported(station: Station, called: Asked, evse: int, purpose: str, *, last: bool) -> None:
    """The station reports a profile of an EVSE."""
    period = {"startPeriod": 0, "limit": 6}
    wire = {
        "id": 158,
        "stackLevel": 1,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [
            {"id": 1, "chargingRateUnit": "A", "startSchedule": moment(), "chargingSchedulePeriod": [period]}
        ],
    }
    told = {
        "requestId": called["requestId"],
        "chargingLimitSource": "CSO",
        "evseId": evse,
        "tbc": not last,
        "chargingProfile": [wire],
    }
    assert await station.send("ReportChargingProfiles", told) == {}


@case()
async def test_TC_K_29_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    purpose = "ChargingStationMaxProfile"
    called = await report_asked(csms, driver.station, {"chargingProfilePurpose": purpose}, 0, purpose=purpose)
    await reported(driver.station, called, 0, purpose, last=True)


async def report(csms: Operator, version: str, criterion: dict[str, Any], **asked: Any) -> None:
    """The operator asks for some profiles of EVSE 1, and the station reports one."""
    station = await csms.booted(version)
    called = await report_asked(csms, station, criterion, 1, **asked)
    await reported(station, called, 1, "TxDefaultProfile", last=True)


@case()
async def test_TC_K_30_CSMS(csms: Operator, version: str) -> None:
    await report(csms, version, {})


@case()
async def test_TC_K_31_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    called = await report_asked(csms, station, {})
    await reported(station, called, 1, "TxDefaultProfile", last=False)
    await reported(station, called, 2, "TxDefaultProfile", last=True)


@case()
async def test_TC_K_32_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    called = await report_asked(csms, station, {"chargingProfileId": [158]}, ids=[158])
    await reported(station, called, 1, "TxDefaultProfile", last=True)


@case()
async def test_TC_K_33_CSMS(csms: Operator, version: str) -> None:
    await report(csms, version, {"stackLevel": 1}, stack_level=1)


@case()
async def test_TC_K_34_CSMS(csms: Operator, version: str) -> None:
    await report(csms, version, {"chargingLimitSource": ["CSO"]}, sources=["CSO"])


@case()
async def test_TC_K_35_CSMS(csms: Operator, version: str) -> None:
    await report(csms, version, {"chargingProfilePurpose": "TxDefaultProfile"}, purpose="TxDefaultProfile")


@case()
async def test_TC_K_36_CSMS(csms: Operator, version: str) -> None:
    wire = {"chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 1}
    await report(csms, version, wire, purpose="TxDefaultProfile", stack_level=1)


async def composite(csms: Operator, version: str, evse: int) -> None:
    """The operator asks the station for what its profiles come to."""
    station = await csms.booted(version)
    doing = csms.command(station, "get_composite_schedule", evse_id=evse, duration_s=DURATION_S, unit="W")
    called = await station.expect("GetCompositeSchedule", evseId=evse, duration=DURATION_S, chargingRateUnit="W")
    schedule = {
        "evseId": evse,
        "duration": DURATION_S,
        "scheduleStart": moment(),
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10_000}],
    }
    await called.answer(status="Accepted", schedule=schedule)
    view = await doing.ends("accepted", "Accepted")
    assert view["answer"]["schedule"] == schedule


@case()
async def test_TC_K_43_CSMS(csms: Operator, version: str) -> None:
    await composite(csms, version, 1)


@case()
async def test_TC_K_44_CSMS(csms: Operator, version: str) -> None:
    await composite(csms, version, 0)


# -- limits of others --------------------------------------------------------------------------------------------------------


@case()
async def test_TC_K_48_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    limit = {"chargingLimitSource": "EMS", "isGridCritical": False}
    assert await station.send("NotifyChargingLimit", chargingLimit=limit) == {}


@case()
async def test_TC_K_50_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    assert await station.send("ClearedChargingLimit", chargingLimitSource="EMS") == {}


@case()
async def test_TC_K_51_CSMS(csms: Operator, version: str) -> None:
    driver = await charging(csms, version)
    assert await driver.station.send("ClearedChargingLimit", chargingLimitSource="EMS", evseId=1) == {}
    await driver.event("ChargingRateChanged")
    assert (await csms.transaction(driver.station))["state"] == "open"


@case()
async def test_TC_K_52_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    called = await report_asked(csms, station, {})
    await reported(station, called, 0, "ChargingStationExternalConstraints", last=True)
