"""Block A: a station's certificates for Plug & Charge."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conformance.conftest import House
from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import Station
from tests.conformance.test_a_security import boots, pem_of, tls_of, with_certificate
from tests.support.authority import Issued, csr_named, csr_of

Key = ec.EllipticCurvePrivateKey


async def v2g_certificate(csms: Operator, station: Station, word: str, told: dict[str, Any], key: Key) -> Issued:
    """A certificate for Plug & Charge that the station was asked to ask for; it leads to the V2G root of its protocol."""
    doing = csms.command(station, "trigger", message=word)
    asked = await station.expect("TriggerMessage", requestedMessage=word)
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    assert (await station.send("SignCertificate", told))["status"] == "Accepted"
    delivered = await station.expect("CertificateSigned")
    assert delivered.payload.get("certificateType") == told.get("certificateType")
    assert delivered.payload.get("requestId") == told.get("requestId")
    await delivered.answer(status="Accepted")
    rows = await csms.eventually(
        lambda: csms.items("/certificates", station_id=station.id),
        lambda rows: bool(rows) and rows[0]["delivery"] == "accepted",
    )
    assert rows[0]["state"] == "issued"
    first, *more = x509.load_pem_x509_certificates(delivered["certificateChain"].encode())
    assert first.public_key() == key.public_key()
    assert first.serial_number > 0
    hierarchies = {one["use"]: one for one in (await csms.get("/v2g-authority"))["hierarchies"]}
    (root,) = x509.load_pem_x509_certificates(
        hierarchies["V2G20Certificate" if key.key_size == 521 else "V2GCertificate"]["roots"].encode()
    )
    for one, above in zip([first, *more], [*more, root], strict=True):
        one.verify_directly_issued_by(above)
    (component,) = first.subject.get_attributes_for_oid(x509.NameOID.DOMAIN_COMPONENT)
    assert component.value == "CPO"
    return Issued(first, key, b"".join(pem_of(one) for one in more))


@case()
async def test_TC_A_12_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    kinds = [("SignV2GCertificate", "V2GCertificate", ec.SECP256R1())]
    if version == "2.1":
        kinds.append(("SignV2G20Certificate", "V2G20Certificate", ec.SECP521R1()))
    for number, (word, use, curve) in enumerate(kinds, 1):
        key = ec.generate_private_key(curve)
        # country, organisation and unit: the case's request names nobody
        subject = [("C", "NL"), ("O", "Operator"), ("OU", "Charging")]
        told: dict[str, Any] = {"csr": csr_named(subject, key), "certificateType": use}
        if version == "2.1":
            told["requestId"] = 70 + number
        await v2g_certificate(csms, station, word, told, key)


@case()
async def test_TC_A_13_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await with_certificate(house, csms, version)
    key = ec.generate_private_key(ec.SECP256R1())
    issued = await v2g_certificate(csms, station, "SignCombinedCertificate", {"csr": csr_of(station.id, key)}, key)
    (name,) = issued.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert name.value == station.id
    # it is the station's own as well: it comes in by it
    station.tls = tls_of(house, shown=house.write(issued, station.id))
    await station.connect()
    await boots(station)
