"""Block A: who a station is, and its certificates."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from websockets.exceptions import InvalidMessage

from tests.conformance.conftest import House
from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import Station
from tests.support.authority import Authority, Issued, client_context, csr_of

CIPHERS = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "AES128-GCM-SHA256": "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "AES256-GCM-SHA384": "TLS_RSA_WITH_AES_256_GCM_SHA384",
}
"""What A00.FR.318 demands, by OpenSSL's names."""


async def boots(station: Station) -> None:
    """The end of most cases of this block."""
    assert (await station.boot())["status"] == "Accepted"
    await station.notify_all("Available")


@case()
async def test_TC_A_01_CSMS(csms: Operator, version: str) -> None:
    station = await csms.register(version)
    await station.connect()
    assert station.subprotocol == f"ocpp{version}"
    await boots(station)


@case()
async def test_TC_A_02_CSMS(csms: Operator, version: str) -> None:
    station = await csms.register(version)
    station.user = station.id + "Invalid"
    assert await station.refused() == 401


@case()
async def test_TC_A_03_CSMS(csms: Operator, version: str) -> None:
    station = await csms.register(version)
    station.password = "x1X-_:.@|*=+yz0123456789abcdefghijklmnop"
    assert await station.refused() == 401


def tls_of(house: House, *, shown: tuple[Any, Any] | None = None, ciphers: str | None = None) -> ssl.SSLContext:
    """A station's TLS that trusts the server's authority."""
    context = client_context(house.authority.pem, shown)
    if ciphers is not None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    return context


def check_certificate(station: Station) -> None:
    """Serial number, key length and common name of the certificate that the server showed (A00.FR.5xx)."""
    assert station._socket is not None
    shown = station._socket.transport.get_extra_info("ssl_object")
    assert shown.version() in {"TLSv1.2", "TLSv1.3"}
    certificate = x509.load_der_x509_certificate(shown.getpeercert(True))
    assert certificate.serial_number > 0
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        assert key.key_size >= 2048
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.key_size >= 224
    (name,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert name.value == "localhost"


@case()
async def test_TC_A_04_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await csms.register(version, security_profile=2)
    for cipher in CIPHERS:
        station.tls = tls_of(house, ciphers=cipher)
        await station.connect()
        check_certificate(station)
        assert station._socket is not None
        assert station._socket.transport.get_extra_info("cipher")[0] == cipher
    station.tls = tls_of(house)
    await station.connect()
    check_certificate(station)
    await boots(station)


@case()
async def test_TC_A_06_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await csms.register(version, security_profile=2)
    old = tls_of(house)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    station.tls = old
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await station.connect()
    station.tls = tls_of(house)
    await station.connect()
    await boots(station)


@case()
async def test_TC_A_07_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await csms.register(version, security_profile=3)
    shown = house.write(house.station_authority.issue(station.id), station.id)
    for cipher in CIPHERS:
        station.tls = tls_of(house, shown=shown, ciphers=cipher)
        await station.connect()
        check_certificate(station)
    station.tls = tls_of(house, shown=shown)
    await station.connect()
    await boots(station)


@case()
async def test_TC_A_08_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await csms.register(version, security_profile=3)
    unknown = Authority("Nobody's").issue(station.id)
    expired = house.station_authority.issue(station.id, days=-1)
    for invalid in (unknown, expired):
        station.tls = tls_of(house, shown=house.write(invalid, station.id + "-invalid"))
        with pytest.raises((ssl.SSLError, ConnectionError, InvalidMessage)):  # TLS 1.3 ends after the client's part
            await station.connect()
    another = house.station_authority.issue(station.id + "-another")
    station.tls = tls_of(house, shown=house.write(another, station.id + "-invalid"))
    assert await station.refused() == 403
    station.tls = tls_of(house, shown=house.write(house.station_authority.issue(station.id), station.id))
    await station.connect()
    await boots(station)


async def signed(csms: Operator, station: Station, chain: str, key: ec.EllipticCurvePrivateKey, name: str) -> Issued:
    """The chain is the station's own key, signed up to the root that the operator can give to others."""
    first, *more = x509.load_pem_x509_certificates(chain.encode())
    assert first.public_key() == key.public_key()
    assert first.serial_number > 0
    (common,) = first.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert common.value == name
    root = x509.load_pem_x509_certificate((await csms.get("/certificate-authority"))["root"].encode())
    for one, above in zip([first, *more], [*more, root], strict=True):
        one.verify_directly_issued_by(above)
    return Issued(first, key, b"".join(pem_of(one) for one in more))


def pem_of(certificate: x509.Certificate) -> bytes:
    """Of a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM)


async def renewed(csms: Operator, station: Station, answer: str = "Accepted") -> Issued:
    """Memory state RenewChargingStationCertificate."""
    doing = csms.command(station, "trigger", message="SignChargingStationCertificate")
    if station.version == "1.6":
        asked = await station.expect("ExtendedTriggerMessage", requestedMessage="SignChargePointCertificate")
        assert "connectorId" not in asked.payload
    else:
        asked = await station.expect("TriggerMessage", requestedMessage="SignChargingStationCertificate")
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    key = ec.generate_private_key(ec.SECP256R1())
    told: dict[str, Any] = {"csr": csr_of(station.id, key)}
    if station.version != "1.6":
        told["certificateType"] = "ChargingStationCertificate"
    if station.version == "2.1":
        told["requestId"] = 71
    assert (await station.send("SignCertificate", told))["status"] == "Accepted"
    delivered = await station.expect("CertificateSigned")
    if station.version != "1.6":
        assert delivered["certificateType"] == "ChargingStationCertificate"
    if station.version == "2.1":
        assert delivered["requestId"] == 71
    await delivered.answer(status=answer)
    (seen,) = await csms.eventually(
        lambda: csms.items("/certificates", station_id=station.id),
        lambda rows: len(rows) == 1 and rows[0]["delivery"] not in (None, "pending", "sent"),
    )
    assert seen["delivery"] == answer.lower()
    return await signed(csms, station, delivered["certificateChain"], key, station.id)


async def with_certificate(house: House, csms: Operator, version: str) -> Station:
    """A booted station of security profile 3."""
    station = await csms.register(version, security_profile=3)
    station.tls = tls_of(house, shown=house.write(house.station_authority.issue(station.id), station.id))
    await station.connect()
    await boots(station)
    return station


@case()
async def test_TC_A_11_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await with_certificate(house, csms, version)
    issued = await renewed(csms, station)
    station.tls = tls_of(house, shown=house.write(issued, station.id))
    await station.connect()
    await boots(station)


@case()
async def test_TC_A_14_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await with_certificate(house, csms, version)
    await renewed(csms, station, "Rejected")
    await station.connect()
    await boots(station)
