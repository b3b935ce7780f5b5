"""A05: a station's security profile is raised so that it is never locked out (OCPP 2.0.1, 2.1; 1.6 security whitepaper)."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.simulator import FAST, Fault, HandshakeError, VirtualStation
from chargeplane.simulator.subjects.security import security_of
from tests.support.security import PASSWORD, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
VERSIONS = ("1.6", "2.0.1", "2.1")


async def done(house: House, change: dict[str, Any]) -> dict[str, Any]:
    return await house.ended("security-profile-changes", change)


async def status_by(house: House, station: VirtualStation, url: str) -> int | None:
    """What somebody gets who comes with the station's password by another way."""
    other = VirtualStation(
        url, station.station_id, station.version.value, password=PASSWORD, options=replace(FAST, reconnect=False)
    )
    try:
        await other.connect()
    except HandshakeError as error:
        return error.status
    await other.close()
    return 101


@pytest.mark.parametrize("version", VERSIONS)
async def test_tc_a_19_from_1_to_2_with_the_root_brought_before(house: House, version: str) -> None:
    station = await house.station(version)
    found = await done(house, await house.raise_profile(station, 2))
    assert (found["state"], found["from_profile"], found["security_profile"]) == ("done", 1, 2), found
    view = await house.view(station)
    assert view["security_profile"] == 2
    await station.wait_online()
    actions = [action for action, _ in station.calls]
    order = (
        ["InstallCertificate", "ChangeConfiguration"]
        if version == "1.6"
        else ["InstallCertificate", "GetVariables", "SetNetworkProfile", "SetVariables", "Reset"]
    )
    assert [action for action in actions if action in order] == order
    # A05.FR.07: not by the lower one any more
    assert await status_by(house, station, house.plain) == 403
    station.drop()
    await station.wait_online()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_rsa", [False, True])
async def test_from_2_to_3_with_a_certificate_of_its_own(house: House, version: str, is_rsa: bool) -> None:
    station = await house.station(version, 2)
    security_of(station).is_rsa = is_rsa
    found = await done(house, await house.raise_profile(station, 3))
    assert found["state"] == "done", found
    view = await house.view(station)
    assert (view["security_profile"], view["has_password"]) == (3, False)
    assert "SignChargingStationCertificate" in str(station.calls) or "SignChargePointCertificate" in str(station.calls)
    await station.wait_online()
    assert security_of(station).current is not None
    assert security_of(station).current.profile == 3  # type: ignore[union-attr]
    station.drop()
    await station.wait_online()


@pytest.mark.parametrize("steps", [(1, 2), (2, 3)])
async def test_socket_by_which_a_station_came_in_by_its_new_profile_stays(house: House, steps: tuple[int, int]) -> None:
    """What nodes without a bus look at, every two seconds: with the change its password may be gone."""
    before, after = steps
    station = await house.station("2.0.1", before)
    assert (await done(house, await house.raise_profile(station, after)))["state"] == "done"
    await station.wait_online()
    credentials = house.server.directory.find(None, station.station_id)
    assert credentials is not None
    await house.server.directory.refresh([credentials.key])
    assert not house.server.stations.proved_otherwise(credentials.key)


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("is_rsa", [False, True])
async def test_certificate_of_either_key_with_either_tls(house: House, tls: ssl.TLSVersion, is_rsa: bool) -> None:
    station = await house.station("2.0.1", 2)
    security_of(station).is_rsa, security_of(station).tls = is_rsa, tls
    found = await done(house, await house.raise_profile(station, 3))
    assert found["state"] == "done", found
    for _ in range(2):  # the second one might resume the first one's session
        await station.wait_online()
        assert station._socket is not None
        assert station._socket.transport is not None
        spoken = station._socket.transport.underlying_transport.get_extra_info("ssl_object")
        assert spoken.version() == tls.name.replace("_", ".")
        station.drop()


async def test_from_0_to_1_with_a_password_that_is_told_to_the_station_alone(house: House) -> None:
    station = await house.station("2.0.1", 0)
    found = await done(house, await house.raise_profile(station, 1, url=None))
    assert found["state"] == "done", found
    assert (await house.view(station))["has_password"] is True
    assert station.password is not None
    await station.wait_online()


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_that_falls_back_is_left_as_it_was(house: House, version: str) -> None:
    station = await house.station(version, options=replace(FAST, faults=frozenset({Fault.FALLS_BACK})))
    found = await done(house, await house.raise_profile(station, 2))
    assert found["state"] == "rolled_back", found
    assert (await house.view(station))["security_profile"] == 1
    await station.wait_online()
    if version != "1.6":
        orders = [
            payload["setVariableData"][0]["attributeValue"]
            for action, payload in station.calls
            if action == "SetVariables"
        ]
        assert orders == ["2,1", "1"], "the old order is put back"


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_that_refuses_the_root_is_left_as_it_was(house: House, version: str) -> None:
    station = await house.station(version, options=replace(FAST, faults=frozenset({Fault.REFUSES_CERTIFICATES})))
    found = await done(house, await house.raise_profile(station, 2))
    assert (found["state"], found["both_accepted"]) == ("refused", False)
    assert "root" in found["reason"]
    assert (await house.view(station))["security_profile"] == 1
    assert await status_by(house, station, house.plain) == 101


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
async def test_address_that_does_not_answer_has_the_station_come_back_by_the_old_way(
    house: House, version: str
) -> None:
    station = await house.station(version)
    security_of(station).secure_url = "wss://localhost:9/ocpp"
    found = await done(house, await house.raise_profile(station, 2, url="wss://localhost:9/ocpp"))
    assert found["state"] == "rolled_back", found
    await station.wait_online()
    assert (await house.view(station))["security_profile"] == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_lower_profiles_need_force_and_are_set_at_the_station(house: House, version: str) -> None:
    """A00.FR.005, A05: OCPP is not used for it."""
    station = await house.station(version, 2)
    path = f"/v1/charging-stations/{station.station_id}/security-profile-changes"
    refused = await house.ask("POST", path, {"security_profile": 1}, 409)
    assert "A00.FR.005" in refused["detail"]
    change = await house.ask("POST", path, {"security_profile": 1, "force": True}, 201)
    assert change["state"] == "waiting"
    before = len(station.calls)
    station.drop()
    await station.wait_online()
    assert (await house.view(station))["security_profile"] == 2
    assert [action for action, _ in station.calls[before:] if "Network" in action or "SecurityProfile" in action] == []
    await station.close()
    technician = VirtualStation(house.plain, station.station_id, version, password=PASSWORD, options=FAST)
    house.stations.append(technician)
    await technician.connect()
    await technician.boot()
    assert (await done(house, change))["state"] == "done"
    assert (await house.view(station))["security_profile"] == 1


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"security_profile": 1}, 409, None),
        ({"security_profile": 4}, 422, "#/security_profile"),
        ({"security_profile": 2, "url": "http://x"}, 422, "#/url"),
        ({"security_profile": 2, "url": "ws://x/ocpp"}, 422, "#/url"),
        ({"security_profile": 2}, 422, "#/url"),
        ({"security_profile": 3, "password": "x" * 20, "url": "wss://x/ocpp"}, 422, "#/password"),
        ({"security_profile": 2, "more": 1}, 422, "#/more"),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_field(
    house: House, body: dict[str, Any], status: int, pointer: str | None
) -> None:
    station = await house.station("2.0.1")
    path = f"/v1/charging-stations/{station.station_id}/security-profile-changes"
    problem = await house.ask("POST", path, body, status)
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer
