"""A02, A03 for Plug & Charge: stations ask for the certificates that cars are shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from msgspec.structs import replace

from chargeplane.main.config import EstConfig, PlugAndChargeConfig, V2gAuthorityKind
from chargeplane.simulator import FAST, Fault, HandshakeError, VirtualStation
from chargeplane.simulator.subjects.security import carry, request_certificate, security_of, trust
from tests.security.test_a02_a03_certificates import own_house
from tests.support import postgres
from tests.support.est import SECRET, USER, est_server
from tests.support.security import House

pytestmark = pytest.mark.asyncio(loop_scope="session")
OWN = PlugAndChargeConfig(station_authority=V2gAuthorityKind.TEST)
KINDS = [("2.0.1", "V2GCertificate"), ("2.1", "V2GCertificate"), ("2.1", "V2G20Certificate")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def plugged(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """A server with the test hierarchy."""
    with postgres_server.database() as url:
        async with own_house(url, tmp_path_factory.mktemp("v2g"), plug_and_charge=OWN) as house:
            yield house


async def rows_of(house: House, station: VirtualStation, **more: str) -> list[dict[str, Any]]:
    wanted = "".join(f"&{name}={value}" for name, value in more.items())
    return await house.items(f"/v1/certificates?station_id={station.station_id}{wanted}")


async def holds(station: VirtualStation, use: str, than: str | None = None) -> str:
    """The chain of a use, once the station has another one."""
    async with asyncio.timeout(20):
        while (found := security_of(station).v2g.get(use, (None,))[0]) in (None, than):
            await asyncio.sleep(0.02)
    assert found is not None
    return found


async def root_of(house: House, use: str) -> str:
    view = await house.ask("GET", "/v1/v2g-authority")
    found: str = next(one["roots"] for one in view["hierarchies"] if one["use"] == use)
    return found


async def ocsp_state(house: House, one: x509.Certificate, issuer: x509.Certificate) -> ocsp.OCSPCertStatus:
    """What the responder named by the certificate's kind of authority says; its signature is the issuer's."""
    request = ocsp.OCSPRequestBuilder().add_certificate(one, issuer, hashes.SHA256()).build()
    body = request.public_bytes(serialization.Encoding.DER)
    answer = await house.client.post("/ocsp", content=body, headers={"Content-Type": "application/ocsp-request"})
    assert answer.status_code == 200
    told = ocsp.load_der_ocsp_response(answer.content)
    key, strength = issuer.public_key(), told.signature_hash_algorithm
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert strength is not None
    key.verify(told.signature, told.tbs_response_bytes, ec.ECDSA(strength))
    return told.certificate_status


@pytest.mark.parametrize(("version", "use"), KINDS)
async def test_station_that_trusts_the_root_takes_the_certificate_it_was_asked_to_ask_for(
    plugged: House, version: str, use: str
) -> None:
    station = await plugged.station(version)
    trust(station, await root_of(plugged, use), "V2GRootCertificate")
    body = {"type": "trigger", "message": use.replace("V2G", "SignV2G")}
    await plugged.ask("POST", f"/v1/charging-stations/{station.station_id}/commands", body)
    chain = x509.load_pem_x509_certificates((await holds(station, use)).encode())
    key = chain[0].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == ("secp521r1" if use == "V2G20Certificate" else "secp256r1")
    assert "CN=DE*CPL*E1" in chain[0].subject.rfc4514_string()
    path = f"/v1/certificates?station_id={station.station_id}&use={use}"
    page = await plugged.until(path, lambda found: bool(found["items"]) and found["items"][0]["delivery"] == "accepted")
    assert page["items"][0]["serial_number"] == f"{chain[0].serial_number:x}"
    assert await rows_of(plugged, station, use="ChargingStationCertificate") == []
    assert await ocsp_state(plugged, chain[0], chain[1]) is ocsp.OCSPCertStatus.GOOD


async def test_station_lists_the_chain_that_it_was_given(plugged: House) -> None:
    station = await plugged.station("2.0.1")
    request_certificate(station, use="V2GCertificate")
    chain = x509.load_pem_x509_certificates((await holds(station, "V2GCertificate")).encode())
    path = f"/v1/charging-stations/{station.station_id}/installed-certificates?refresh=true"
    listed = (await plugged.ask("GET", path))["items"]
    assert {one["use"] for one in listed} == {"V2GCertificateChain"}
    assert {one["serial_number"] for one in listed} == {f"{one.serial_number:x}" for one in chain}


async def test_certificate_for_cars_is_renewed_past_two_thirds_of_its_time_and_that_for_the_socket_is_left(
    plugged: House,
) -> None:
    station = await plugged.station("2.1", 2)
    request_certificate(station)
    async with asyncio.timeout(20):
        while security_of(station).chain is None:
            await asyncio.sleep(0.02)
    own = security_of(station).chain
    assert own is not None
    leaf, issuer = x509.load_pem_x509_certificates(own.encode())
    assert await ocsp_state(plugged, leaf, issuer) is ocsp.OCSPCertStatus.GOOD
    request_certificate(station, use="V2G20Certificate")
    before = await holds(station, "V2G20Certificate")
    async with plugged.server.database.change() as db:
        await db.execute(
            "UPDATE certificate SET not_before = now() - interval '80 days', not_after = now() + interval '10 days'"
            " WHERE use = 'V2G20Certificate' AND station_key = (SELECT key FROM charging_station WHERE station_id = $1)",
            station.station_id,
        )
    await holds(station, "V2G20Certificate", before)
    assert security_of(station).chain == own
    assert "SignV2G20Certificate" in str(station.calls)


async def test_each_evse_with_a_controller_of_its_own_is_asked_by_itself(plugged: House) -> None:
    station = await plugged.station("2.0.1")
    request_certificate(station, use="V2GCertificate", common_name="DE*CPL*E2")
    before = await holds(station, "V2GCertificate")
    async with plugged.server.database.change() as db:
        key = await db.fetchval("SELECT key FROM charging_station WHERE station_id = $1", station.station_id)
        await db.execute(
            "INSERT INTO station_variable (station_key, component, evse_id, variable, value, reported_at)"
            " VALUES ($1, 'ISO15118Ctrlr', 1, 'SeccId', 'DE*CPL*E1', now()), ($1, 'ISO15118Ctrlr', 2, 'SeccId', 'DE*CPL*E2', now())",
            key,
        )
        await db.execute(
            "UPDATE certificate SET not_before = now() - interval '80 days', not_after = now() + interval '10 days'"
            " WHERE station_key = $1",
            key,
        )
    await holds(station, "V2GCertificate", before)
    asked = await plugged.items(f"/v1/charging-stations/{station.station_id}/commands")
    assert any(
        one["request"].get("message") == "SignV2GCertificate" and one["request"].get("evse_id") == 2 for one in asked
    )


async def test_certificate_that_the_station_does_not_take_raises_an_alert(plugged: House) -> None:
    station = await plugged.station("2.1", options=replace(FAST, faults=frozenset({Fault.REFUSES_CERTIFICATES})))
    request_certificate(station, use="V2GCertificate")
    path = f"/v1/security-events?station_id={station.station_id}&type=CertificateNotMade"
    found = await plugged.until(path, lambda page: bool(page["items"]))
    assert "did not take its certificate" in str(found["items"][0]["details"])
    alerts = await plugged.items(f"/v1/alerts?station_id={station.station_id}&kind=security_event")
    assert "CertificateNotMade" in {alert["ident"] for alert in alerts}


async def test_request_below_a_root_that_does_not_sign_here_is_refused(plugged: House) -> None:
    """2.1 A02.FR.27, FR.12."""
    station = await plugged.station("2.1")
    trust(station, plugged.root, "V2GRootCertificate")
    request_certificate(station, use="V2GCertificate")
    path = f"/v1/certificates?station_id={station.station_id}"
    (row,) = (await plugged.until(path, lambda page: bool(page["items"])))["items"]
    assert row["state"] == "refused"
    assert "below a root" in row["reason"]


async def test_name_of_another_station_in_a_certificate_for_cars_opens_no_door(plugged: House) -> None:
    other = await plugged.station("2.0.1", 3, boot=False, rooted=True)
    station = await plugged.station("2.0.1")
    request_certificate(station, use="V2GCertificate", common_name=other.station_id)
    await holds(station, "V2GCertificate")
    chain, key = security_of(station).v2g["V2GCertificate"]
    carry(other, chain, key)
    with pytest.raises(HandshakeError) as refused:
        await other.connect()
    assert refused.value.status == 403


async def test_revoked_certificate_for_cars_does_not_close_the_socket(plugged: House) -> None:
    station = await plugged.station("2.0.1")
    request_certificate(station, use="V2GCertificate")
    await holds(station, "V2GCertificate")
    (row,) = await rows_of(plugged, station)
    view = await plugged.ask("POST", f"/v1/certificates/{row['id']}/revoke", {"reason": "lost"})
    assert view["state"] == "revoked"
    assert station.online
    chain = x509.load_pem_x509_certificates(security_of(station).v2g["V2GCertificate"][0].encode())
    assert await ocsp_state(plugged, chain[0], chain[1]) is ocsp.OCSPCertStatus.REVOKED


async def test_without_an_authority_requests_for_cars_are_refused_with_the_reason(house: House) -> None:
    station = await house.station("2.0.1")
    request_certificate(station, use="V2GCertificate")
    path = f"/v1/certificates?station_id={station.station_id}"
    (row,) = (await house.until(path, lambda page: bool(page["items"])))["items"]
    assert (row["state"], row["reason"]) == ("refused", "Certificates for V2GCertificate are not signed here.")
    await house.ask("GET", "/v1/v2g-authority", status=409)


async def test_est_servers_sign_each_for_its_part_of_iso_15118(database_url: str, tmp_path: Path) -> None:
    with est_server(tmp_path) as est:
        config = EstConfig(url=est.url, ca_file=str(est.ca_file), user=USER, password=SECRET)
        settings = PlugAndChargeConfig(station_authority=V2gAuthorityKind.EST)
        async with own_house(database_url, tmp_path / "data", plug_and_charge=settings, v2g_est=config) as house:
            station = await house.station("2.1")
            trust(station, est.root.pem.decode(), "V2GRootCertificate")
            request_certificate(station, use="V2GCertificate")
            first = x509.load_pem_x509_certificates((await holds(station, "V2GCertificate")).encode())[0]
            assert "CN=DE*CPL*E1" in first.subject.rfc4514_string()
            view = await house.ask("GET", "/v1/v2g-authority")
            assert (view["provider"], [one["use"] for one in view["hierarchies"]]) == ("est", ["V2GCertificate"])
            assert view["hierarchies"][0]["roots"].split() == est.root.pem.decode().split()
            request_certificate(station, use="V2G20Certificate")
            path = f"/v1/certificates?station_id={station.station_id}&use=V2G20Certificate"
            (row,) = (await house.until(path, lambda page: bool(page["items"])))["items"]
            assert (row["state"], row["reason"]) == ("refused", "Certificates for ISO 15118-20 are not signed here.")
