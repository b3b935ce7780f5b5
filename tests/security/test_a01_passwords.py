"""A01: a station's password is changed so that it is never locked out (OCPP 2.0.1; 1.6 security whitepaper)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.app.reach import Directory
from chargeplane.kernel.ids import StationKey
from chargeplane.simulator import FAST, Fault, VirtualStation
from tests.support.security import PASSWORD, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
VERSIONS = ("1.6", "2.0.1", "2.1")
NEW = "b-password-of-20-chr"


def with_fault(fault: Fault) -> Any:
    return replace(FAST, faults=frozenset({fault}))


async def done(house: House, change: dict[str, Any]) -> dict[str, Any]:
    return await house.ended("password-rotations", change)


@pytest.mark.parametrize("profile", [1, 2])
@pytest.mark.parametrize("version", VERSIONS)
async def test_station_comes_back_by_the_new_password_and_the_old_one_is_dropped(
    house: House, version: str, profile: int
) -> None:
    station = await house.station(version, profile)
    change = await house.rotate(station)
    assert change["both_accepted"] is True
    assert "password" not in change
    found = await done(house, change)
    assert (found["state"], found["both_accepted"]) == ("done", False), found
    await station.wait_online()
    assert station.password not in (None, PASSWORD)
    assert not await house.let_in(station, PASSWORD)
    action, payload = next(call for call in station.calls if call[0] in ("ChangeConfiguration", "SetVariables"))
    if version == "1.6":
        assert payload["key"] == "AuthorizationKey"
        assert 16 <= len(bytes.fromhex(payload["value"])) <= 20
    else:
        (asked,) = payload["setVariableData"]
        assert (asked["component"]["name"], asked["variable"]["name"]) == ("SecurityCtrlr", "BasicAuthPassword")
        assert 16 <= len(asked["attributeValue"]) <= 40
    assert action
    events = await house.items(f"/v1/security-events?station_id={station.station_id}&type=CredentialsChanged")
    assert len(events) == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_given_password_is_what_the_station_gets(house: House, version: str) -> None:
    station = await house.station(version)
    assert (await done(house, await house.rotate(station, NEW)))["state"] == "done"
    assert station.password == (NEW.encode().hex() if version == "1.6" else NEW)
    await station.wait_online()
    assert await house.let_in(station, NEW)


@pytest.mark.parametrize("version", VERSIONS)
async def test_tc_a_10_refused_password_leaves_the_old_one_good_and_the_new_one_not(house: House, version: str) -> None:
    station = await house.station(version, options=with_fault(Fault.REFUSES_PASSWORDS))
    found = await done(house, await house.rotate(station, NEW))
    assert (found["state"], found["both_accepted"]) == ("refused", False)
    assert found["reason"]
    assert station.online
    assert not await house.let_in(station, NEW)
    assert await house.let_in(station, PASSWORD)
    kinds = {alert["ident"] for alert in await house.items(f"/v1/alerts?station_id={station.station_id}")}
    assert "CredentialsNotChanged" in kinds


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_that_stays_connected_is_asked_to_connect_anew(house: House, version: str) -> None:
    station = await house.station(version, options=with_fault(Fault.STAYS_CONNECTED))
    found = await done(house, await house.rotate(station))
    assert found["state"] == "done"
    assert "It is asked to connect anew." in [step["what"] for step in found["steps"]]


@pytest.mark.parametrize("version", VERSIONS)
async def test_lost_answer_is_settled_by_how_the_station_comes_in(house: House, version: str) -> None:
    station = await house.station(version, options=with_fault(Fault.LOSES_PASSWORD_ANSWER))
    found = await done(house, await house.rotate(station, NEW))
    assert found["state"] == "done", found
    assert not await house.let_in(station, PASSWORD)


class LateDoors:
    """A directory that brings changes to the doors late."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def refresh(self, key: StationKey) -> None:
        await asyncio.sleep(0.5)
        await self._directory.refresh(key)

    async def refresh_tenants(self) -> None:
        await self._directory.refresh_tenants()


@pytest.mark.parametrize("end", ["done", "refused"])
async def test_change_is_told_as_ended_when_the_doors_follow_it_and_no_sooner(
    house: House, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault.LOSES_PASSWORD_ANSWER if end == "done" else Fault.REFUSES_PASSWORDS
    station = await house.station("2.0.1", options=with_fault(fault))
    assert house.server.subjects is not None
    changes = house.server.subjects.credential_changes
    change = await house.rotate(station, NEW)
    monkeypatch.setattr(changes, "_directory", LateDoors(changes._directory))
    found = await done(house, change)
    assert found["state"] == end
    assert not await house.let_in(station, PASSWORD if end == "done" else NEW)


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
async def test_station_that_keeps_the_old_one_is_rolled_back_and_may_still_use_either(
    house: House, version: str
) -> None:
    station = await house.station(version, options=with_fault(Fault.KEEPS_OLD_PASSWORD))
    found = await done(house, await house.rotate(station, NEW))
    assert (found["state"], found["both_accepted"]) == ("rolled_back", True), found
    assert "Reset" in [action for action, _ in station.calls]
    await station.wait_online()
    # it said that it took it: should it use it one day, it is let in, and then has it
    station.give_faults()
    station.password = NEW
    station.drop()
    await house.until(f"/v1/password-rotations/{found['id']}", lambda view: view["state"] == "done")
    assert not await house.let_in(station, PASSWORD)


async def test_absent_station_gets_its_password_when_it_is_back(house: House) -> None:
    station = await house.station("2.0.1")
    station.go_offline()
    change = await house.rotate(station, NEW)
    path = f"/v1/charging-stations/{station.station_id}/password-rotations"
    again = await house.ask("POST", path, {}, 409)
    assert "under way" in again["detail"]
    assert await house.let_in(station, PASSWORD)
    station.go_online()
    assert (await done(house, change))["state"] == "done"


async def test_rotation_that_waits_can_be_cancelled_and_one_that_ended_cannot(house: House) -> None:
    station = await house.station("2.0.1")
    station.go_offline()
    change = await house.rotate(station, NEW)
    cancelled = await house.ask("POST", f"/v1/password-rotations/{change['id']}/cancel")
    assert (cancelled["state"], cancelled["both_accepted"]) == ("cancelled", False)
    await house.ask("POST", f"/v1/password-rotations/{change['id']}/cancel", status=409)
    assert not await house.let_in(station, NEW)
    await house.ask("GET", f"/v1/security-profile-changes/{change['id']}", status=404)


async def test_password_set_by_hand_ends_what_is_under_way(house: House) -> None:
    station = await house.station("2.0.1")
    station.go_offline()
    change = await house.rotate(station, NEW)
    third = "c-password-of-20-chr"
    await house.ask("PATCH", f"/v1/charging-stations/{station.station_id}", {"password": third})
    assert (await house.ask("GET", f"/v1/password-rotations/{change['id']}"))["state"] == "superseded"
    assert not await house.let_in(station, NEW)
    assert not await house.let_in(station, PASSWORD)
    assert await house.let_in(station, third)


@pytest.mark.parametrize(
    ("password", "status"), [("short", 422), ("x" * 41, 422), ("with-control-\u0007-character", 422), (17, 422)]
)
async def test_bad_passwords_are_refused_with_the_field(house: House, password: object, status: int) -> None:
    station = await house.station("2.0.1", boot=False)
    path = f"/v1/charging-stations/{station.station_id}/password-rotations"
    problem = await house.ask("POST", path, {"password": password}, status)
    assert problem["errors"][0]["pointer"] == "#/password"


async def test_stations_without_password_have_nothing_to_rotate(house: House) -> None:
    station = await house.station("2.0.1", 0, boot=False)
    await house.ask("POST", f"/v1/charging-stations/{station.station_id}/password-rotations", {}, 409)
    await house.ask("POST", "/v1/charging-stations/NOBODY/password-rotations", {}, 404)


async def test_passwords_stand_neither_in_the_log_of_messages_nor_among_the_commands(house: House) -> None:
    station: VirtualStation = await house.station("2.0.1")
    assert (await done(house, await house.rotate(station, NEW)))["state"] == "done"
    await station.wait_online()
    async with asyncio.timeout(30):
        while True:
            log = await house.ask("GET", f"/v1/charging-stations/{station.station_id}/messages?limit=200")
            if any(row["action"] == "SetVariables" for row in log["items"]):
                break
            await asyncio.sleep(0.05)
    assert NEW not in str(log)
    commands = await house.ask("GET", f"/v1/charging-stations/{station.station_id}/commands?limit=200")
    assert NEW not in str(commands)
