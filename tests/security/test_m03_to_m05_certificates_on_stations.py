"""M03, M04, M05: root certificates on stations are installed, listed and deleted (TC_M_12 to TC_M_20, 1.6 TC_075 and TC_076)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.domain.certificates import HashAlgorithm, hash_data_of
from chargeplane.simulator import FAST, Fault, VirtualStation
from chargeplane.simulator.subjects.security import security_of
from tests.support.authority import Authority
from tests.support.security import House

pytestmark = pytest.mark.asyncio(loop_scope="session")
VERSIONS = ("1.6", "2.0.1", "2.1")
OTHER = Authority("Manufacturer")


def path(station: VirtualStation) -> str:
    return f"/v1/charging-stations/{station.station_id}/installed-certificates"


async def listed(house: House, station: VirtualStation, count: int) -> list[dict[str, Any]]:
    found: dict[str, Any] = await house.until(
        path(station), lambda view: len(view["items"]) == count and view["listed_at"] is not None
    )
    return list(found["items"])


@pytest.mark.parametrize("algorithm", HashAlgorithm)
@pytest.mark.parametrize("version", VERSIONS)
async def test_roots_are_installed_listed_and_deleted(house: House, version: str, algorithm: HashAlgorithm) -> None:
    station = await house.station(version, boot=False)
    security_of(station).algorithm = algorithm.value
    await station.connect()
    await station.boot()
    command = await house.ask("POST", f"{path(station)}?wait_s=30", {})
    assert command["state"] == "accepted"
    # The server may have brought the root just now, and hashed it by itself until the station's next list.
    view = await house.until(
        path(station), lambda view: [row["hash_algorithm"] for row in view["items"]] == [algorithm.value]
    )
    (own,) = view["items"]
    assert own["in_use"] is True
    assert own["use"] == "CSMSRootCertificate"
    assert "Operator Root CA" in own["subject"]
    name = hash_data_of(house.root, algorithm)
    assert (own["hash_algorithm"], own["serial_number"]) == (algorithm.value, name.serial_number)
    assert own["issuer_key_hash"] == name.issuer_key_hash
    body = {"use": "ManufacturerRootCertificate", "certificate": OTHER.pem.decode()}
    assert (await house.ask("POST", f"{path(station)}?wait_s=30", body))["state"] == "accepted"
    rows = await listed(house, station, 2)
    maker = next(row for row in rows if row["use"] == "ManufacturerRootCertificate")
    assert maker["in_use"] is False
    deleted = await house.ask("DELETE", f"{path(station)}/{maker['serial_number']}?wait_s=30")
    assert (deleted["state"], deleted["status"]) == ("accepted", "Accepted")
    assert [row["use"] for row in await listed(house, station, 1)] == ["CSMSRootCertificate"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_root_by_which_the_station_trusts_this_server_is_deleted_by_force_only(
    house: House, version: str
) -> None:
    station = await house.station(version)
    await house.ask("POST", f"{path(station)}?wait_s=30", {})
    (own,) = await listed(house, station, 1)
    refused = await house.ask("DELETE", f"{path(station)}/{own['serial_number']}?wait_s=30")
    assert refused["state"] == "rejected"
    assert "may not come back" in refused["reason"]
    assert "DeleteCertificate" not in [action for action, _ in station.calls]
    forced = await house.ask("DELETE", f"{path(station)}/{own['serial_number']}?wait_s=30&force=true")
    assert forced["state"] == "accepted"
    assert await listed(house, station, 0) == []


async def test_last_root_of_the_server_is_deleted_by_force_only(house: House) -> None:
    station = await house.station("2.0.1")
    body = {"certificate": OTHER.pem.decode()}
    await house.ask("POST", f"{path(station)}?wait_s=30", body)
    (row,) = await listed(house, station, 1)
    refused = await house.ask("DELETE", f"{path(station)}/{row['serial_number']}?wait_s=30")
    assert (refused["state"], "last root" in refused["reason"]) == ("rejected", True)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_certificate_can_be_deleted_by_its_pem_with_the_algorithm_the_station_lists_with(
    house: House, version: str
) -> None:
    """M04.FR.07."""
    station = await house.station(version)
    security_of(station).algorithm = "SHA384"
    body = {"use": "ManufacturerRootCertificate", "certificate": OTHER.pem.decode()}
    await house.ask("POST", f"{path(station)}?wait_s=30", body)
    await listed(house, station, 1)
    commands = f"/v1/charging-stations/{station.station_id}/commands?wait_s=30"
    wanted = {"type": "delete_certificate", "certificate": OTHER.pem.decode()}
    assert (await house.ask("POST", commands, wanted))["state"] == "accepted"
    payload = next(payload for action, payload in station.calls if action == "DeleteCertificate")
    assert payload["certificateHashData"]["hashAlgorithm"] == "SHA384"
    again = await house.ask("POST", commands, wanted)
    assert (again["state"], again["status"]) == ("rejected", "NotFound")


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_station_has_is_asked_for_on_request(house: House, version: str) -> None:
    station = await house.station(version, 2)
    assert (await house.ask("GET", path(station)))["listed_at"] is None
    found = await house.ask("GET", f"{path(station)}?refresh=true")
    assert [row["in_use"] for row in found["items"]] == [True]
    assert found["listed_at"] is not None


@pytest.mark.parametrize("version", VERSIONS)
async def test_m05_refusal_is_told_and_nothing_is_listed(house: House, version: str) -> None:
    station = await house.station(version, options=replace(FAST, faults=frozenset({Fault.REFUSES_CERTIFICATES})))
    command = await house.ask("POST", f"{path(station)}?wait_s=30", {})
    assert (command["state"], command["status"]) == ("rejected", "Rejected")
    assert (await house.ask("GET", path(station)))["items"] == []


async def test_m04_the_stations_own_certificate_cannot_be_deleted(house: House) -> None:
    station = await house.station("2.0.1", 2)
    change = await house.raise_profile(station, 3)
    assert (await house.ended("security-profile-changes", change))["state"] == "done"
    await station.wait_online()
    chain = security_of(station).chain
    assert chain is not None
    commands = f"/v1/charging-stations/{station.station_id}/commands?wait_s=30"
    told = await house.ask("POST", commands, {"type": "delete_certificate", "certificate": chain})
    assert (told["state"], told["status"]) == ("rejected", "Failed")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"use": "V2GCertificateChain"}, "#/use"),
        ({"use": "ManufacturerRootCertificate"}, "#/certificate"),
        ({"certificate": ""}, "#/certificate"),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_field(house: House, body: dict[str, Any], pointer: str) -> None:
    station = await house.station("2.0.1", boot=False)
    problem = await house.ask("POST", path(station), body, 422)
    assert problem["errors"][0]["pointer"] == pointer
    await house.ask("DELETE", f"{path(station)}/ab", status=404)
