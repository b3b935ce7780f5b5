"""A02, A03: certificates of stations over their life, and the generations of the authority that signs them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from msgspec.structs import replace

from chargeplane.main.config import AuthorityKind, EstConfig, SecurityConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Fault, VirtualStation
from chargeplane.simulator.subjects.security import request_certificate, security_of, trust
from tests.support.est import SECRET, USER, est_server
from tests.support.security import KEY, House, config_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
VERSIONS = ("1.6", "2.0.1", "2.1")


@contextlib.asynccontextmanager
async def own_house(database_url: str, data_dir: Path, **more: Any) -> AsyncIterator[House]:
    """A server of a test's own."""
    server = Server(config_of(database_url, str(data_dir), **more))
    await server.start()
    try:
        assert server.http is not None
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.http.port}", headers=headers, timeout=60
        ) as client:
            root = (await client.get("/v1/certificate-authority")).json()["root"]
            house = House(server, client, root)
            try:
                yield house
            finally:
                await house.close()
    finally:
        await server.stop()


async def on_profile_3(house: House, version: str = "2.0.1", **more: Any) -> VirtualStation:
    station = await house.station(version, 2, **more)
    change = await house.raise_profile(station, 3)
    found = await house.ended("security-profile-changes", change)
    assert found["state"] == "done", found
    await station.wait_online()
    return station


async def certificates(house: House, station: VirtualStation) -> list[dict[str, Any]]:
    return await house.items(f"/v1/certificates?station_id={station.station_id}")


async def came_back(station: VirtualStation, connects: int) -> None:
    """Waits until a station has connected once more than so often."""
    async with asyncio.timeout(30):
        while station.counters.connects <= connects or not station.online:
            await asyncio.sleep(0.02)


async def come_back(station: VirtualStation) -> None:
    """Has a station lose its socket and connect anew."""
    connects = station.counters.connects
    station.drop()
    await came_back(station, connects)


def serial_of(station: VirtualStation) -> str:
    chain = security_of(station).chain
    assert chain is not None
    return f"{x509.load_pem_x509_certificates(chain.encode())[0].serial_number:x}"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a03_certificate_that_the_station_asks_for_is_used_at_once(house: House, version: str) -> None:
    station = await on_profile_3(house, version)
    before, connects = serial_of(station), station.counters.connects
    request_certificate(station)
    async with asyncio.timeout(30):
        while serial_of(station) == before:
            await asyncio.sleep(0.02)
    newest = (await certificates(house, station))[0]
    assert newest["serial_number"] == serial_of(station)
    await came_back(station, connects)


@pytest.mark.parametrize("version", VERSIONS)
async def test_certificate_past_two_thirds_of_its_time_is_renewed(house: House, version: str) -> None:
    """A02 by ourselves: the station is asked to ask."""
    station = await on_profile_3(house, version)
    before, connects = serial_of(station), station.counters.connects
    async with house.server.database.change() as db:
        await db.execute(
            "UPDATE certificate SET not_before = now() - interval '10 days', not_after = now() + interval '4 days'"
            " WHERE serial_number = $1",
            before,
        )
    async with asyncio.timeout(30):
        while serial_of(station) == before:
            await asyncio.sleep(0.05)
    await came_back(station, connects)
    word = "SignChargePointCertificate" if version == "1.6" else "SignChargingStationCertificate"
    assert word in str(station.calls[-6:])


async def test_certificate_that_ends_soon_and_is_not_renewed_raises_an_alert(house: House) -> None:
    station = await on_profile_3(house)
    station.give_faults(Fault.REJECTS_ALL)
    async with house.server.database.change() as db:
        await db.execute(
            "UPDATE certificate SET not_before = now() - interval '10 days', not_after = now() + interval '4 days'"
            " WHERE serial_number = $1",
            serial_of(station),
        )
    path = f"/v1/security-events?station_id={station.station_id}&type=CertificateExpires"
    found = await house.until(path, lambda page: bool(page["items"]))
    assert len(found["items"]) == 1
    alerts = await house.items(f"/v1/alerts?station_id={station.station_id}&kind=security_event")
    assert "CertificateExpires" in {alert["ident"] for alert in alerts}


async def test_station_that_closes_its_socket_on_the_certificate_comes_back_by_it(house: House) -> None:
    """Seen in the field: it does not answer CertificateSigned."""
    station = await house.station("2.0.1", 2, options=replace(FAST, faults=frozenset({Fault.CLOSES_ON_CERTIFICATE})))
    connects = station.counters.connects
    request_certificate(station)
    async with asyncio.timeout(30):
        while security_of(station).chain is None:
            await asyncio.sleep(0.02)
    await came_back(station, connects)
    (row,) = await certificates(house, station)
    assert row["state"] == "issued"


async def test_tc_a_14_certificate_that_the_station_refuses_is_told(house: House) -> None:
    station = await house.station("2.0.1", 2, options=replace(FAST, faults=frozenset({Fault.REFUSES_CERTIFICATES})))
    request_certificate(station)
    path = f"/v1/certificates?station_id={station.station_id}"
    found = await house.until(path, lambda page: page["items"] and page["items"][0]["delivery"] == "rejected")
    assert "does not take the certificate" in found["items"][0]["delivery_reason"]
    events = f"/v1/security-events?station_id={station.station_id}&source=station"
    told = await house.until(events, lambda page: bool(page["items"]))
    assert told["items"][0]["type"] == "InvalidChargingStationCertificate"


async def test_next_generation_reaches_the_stations_before_the_server_shows_it(
    database_url: str, tmp_path: Path
) -> None:
    async with own_house(database_url, tmp_path) as house:
        station = await on_profile_3(house)
        old = await house.station("1.6", 2)
        away = await house.station("2.1", 2)
        away.go_offline()
        first = await house.ask("GET", "/v1/certificate-authority")
        assert [one["state"] for one in first["generations"]] == ["current"]
        begun = await house.ask("POST", "/v1/certificate-authority/rotations", {})
        assert [one["state"] for one in begun["generations"]] == ["current", "next"]
        await house.ask("POST", "/v1/certificate-authority/rotations", {}, 409)
        reached = await house.until("/v1/certificate-authority", lambda view: view["generations"][1]["installed"] == 2)
        assert reached["generations"][1]["waiting"] == 1
        refused = await house.ask("POST", "/v1/certificate-authority/activate", {}, 409)
        assert "1 stations" in refused["detail"]
        away.go_online()
        await house.until("/v1/certificate-authority", lambda view: view["generations"][1]["installed"] == 3)
        # the next one signs already, and the doors trust both
        serial = serial_of(station)
        request_certificate(station)
        async with asyncio.timeout(30):
            while serial_of(station) == serial:
                await asyncio.sleep(0.02)
        assert "G2" in x509.load_pem_x509_certificates(security_of(station).chain.encode())[0].issuer.rfc4514_string()  # type: ignore[union-attr]
        active = await house.ask("POST", "/v1/certificate-authority/activate", {})
        assert [one["state"] for one in active["generations"]] == ["old", "current"]
        assert active["root"] == begun["generations"][1]["root"]
        for one in (station, old, away):
            # the server shows a certificate of the new generation now: by the old root alone nobody comes in
            security_of(one).roots = [
                root for root in security_of(one).roots if "G2" in root.certificate.subject.rfc4514_string()
            ]
            security_of(one).context = None
            await come_back(one)
        retired = await house.ask("POST", "/v1/certificate-authority/1/retire", {})
        assert [one["state"] for one in retired["generations"]] == ["retired", "current"]
        await come_back(station)
        await house.ask("POST", "/v1/certificate-authority/2/retire", {}, 409)


async def test_old_generation_with_living_certificates_is_retired_by_force_only(
    database_url: str, tmp_path: Path
) -> None:
    async with own_house(database_url, tmp_path) as house:
        station = await on_profile_3(house)
        await house.ask("POST", "/v1/certificate-authority/rotations", {})
        await house.until("/v1/certificate-authority", lambda view: view["generations"][1]["installed"] == 1)
        await house.ask("POST", "/v1/certificate-authority/activate", {})
        refused = await house.ask("POST", "/v1/certificate-authority/1/retire", {}, 409)
        assert "1 stations' certificates" in refused["detail"]
        await house.ask("POST", "/v1/certificate-authority/1/retire", {"force": True})
        station.drop()
        await house.until(f"/v1/charging-stations/{station.station_id}", lambda view: view["connected"] is False)
        await asyncio.sleep(0.3)
        assert not station.online


async def test_old_passwords_are_rotated_by_policy(database_url: str, tmp_path: Path) -> None:
    policy = SecurityConfig(reconnect_wait_s=0.3, rotate_passwords_days=30, certificate_care_s=0.3)
    async with own_house(database_url, tmp_path, security=policy) as house:
        station = await house.station("2.0.1")
        async with house.server.database.change() as db:
            await db.execute("UPDATE charging_station SET password_set_at = now() - interval '40 days'")
        path = f"/v1/charging-stations/{station.station_id}/password-rotations"
        assert (await house.ask("GET", path))["items"] == []
    async with own_house(database_url, tmp_path, security=policy) as house:
        again = VirtualStation(
            house.plain, station.station_id, "2.0.1", password=station.password, seed=3, options=FAST
        )
        house.stations.append(again)
        await again.connect()
        await again.boot()
        rows = await house.until(path, lambda page: bool(page["items"]), 30)
        assert rows["items"][0]["requested_by"] == "policy: password rotation"
        assert (await house.ended("password-rotations", rows["items"][0]))["state"] == "done"


@pytest.mark.parametrize("is_rsa", [False, True])
async def test_another_authority_signs_by_est(database_url: str, tmp_path: Path, is_rsa: bool) -> None:
    """A02.FR.04: the request is forwarded to a dedicated authority."""
    with est_server(tmp_path) as est:
        config = config_of(database_url, str(tmp_path / "data"))
        tls = replace(config.tls, authority=AuthorityKind.EST)
        settings = EstConfig(url=est.url, ca_file=str(est.ca_file), user=USER, password=SECRET)
        async with own_house(database_url, tmp_path / "data", tls=tls, est=settings) as house:
            station = await house.station("2.0.1", 2)
            # the station believes its certificate only where it leads to a root it knows
            trust(station, est.root.pem.decode())
            security_of(station).is_rsa = is_rsa
            change = await house.raise_profile(station, 3)
            found = await house.ended("security-profile-changes", change)
            assert found["state"] == "done", found
            assert (
                "EST Issuing"
                in x509.load_pem_x509_certificates(
                    security_of(station).chain.encode()  # type: ignore[union-attr]
                )[0].issuer.rfc4514_string()
            )
            await station.wait_online()
            est.status = 400
            request_certificate(station)
            path = f"/v1/certificates?station_id={station.station_id}"
            rows = await house.until(path, lambda page: page["items"][0]["state"] == "failed")
            assert "refused with 400" in rows["items"][0]["reason"]
            alerts = f"/v1/alerts?station_id={station.station_id}&kind=security_event"
            await house.until(alerts, lambda page: "CertificateNotMade" in {alert["ident"] for alert in page["items"]})
