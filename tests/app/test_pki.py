"""What the house signs, and what it does not (OCPP 2.0.1 A00.FR.501 to FR.514)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from chargeplane.app import pki
from chargeplane.app.pki import CsrError
from tests.support.authority import csr_of, name_of

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = pki.make_root("Operator", NOW)
ISSUING = pki.make_issuing("Operator", ROOT, NOW)


def sign(csr: str, name: str = "CS", days: int = 30) -> x509.Certificate:
    signed = pki.sign_station(
        pki.check_csr(csr, name),
        ISSUING,
        organization="Operator",
        common_name=name,
        station_key=7,
        now=NOW,
        valid_for=timedelta(days=days),
    )
    certificate, above = x509.load_pem_x509_certificates(signed.chain.encode())
    assert above == ISSUING.certificate
    assert signed.serial_number == f"{certificate.serial_number:x}"
    return certificate


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_certificate_has_the_properties_of_the_specification(kind: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    certificate = sign(csr_of("CS", key))
    assert certificate.public_key() == key.public_key()
    assert certificate.subject == name_of("CS", "Operator")
    assert certificate.serial_number > 0
    certificate.verify_directly_issued_by(ISSUING.certificate)
    ISSUING.certificate.verify_directly_issued_by(ROOT.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:chargeplane:station:7"]
    assert names.get_values_for_type(x509.DNSName) == []


def test_certificate_ends_no_later_than_its_issuer() -> None:
    certificate = sign(csr_of("CS"), days=100_000)
    assert certificate.not_valid_after_utc == ISSUING.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("csr", "sentence"),
    [
        (csr_of("OTHER"), "common name is 'OTHER'; it must be 'CS'"),
        (csr_of("CS", rsa.generate_private_key(65537, 1024)), "2048 to 8192 bits; this one has 1024"),
        (csr_of("CS", ec.generate_private_key(ec.SECP192R1())), "at least 224 bits; this one has 192"),
        (csr_of("CS", ed25519.Ed25519PrivateKey.generate(), None), "no hash"),
        (csr_of("CS", hash_with=hashes.SHA224()), "signed with sha224"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "cannot be read"),
        ("", "cannot be read"),
        ("\u0000 é", "cannot be read"),
    ],
)
def test_requests_that_break_a_rule_are_refused_with_the_reason(csr: str, sentence: str) -> None:
    with pytest.raises(CsrError, match=sentence):
        pki.check_csr(csr, "CS")


def test_request_that_was_changed_is_refused() -> None:
    lines = csr_of("CS").splitlines()
    body = "".join(lines[1:-1])
    last = "A" if body[-8] != "A" else "B"
    changed = f"{lines[0]}\n{body[:-8]}{last}{body[-7:]}\n{lines[-1]}\n"
    with pytest.raises(CsrError, match=r"not signed by the key|cannot be read"):
        pki.check_csr(changed, "CS")


def test_server_certificate_is_accepted_for_each_of_its_names() -> None:
    server = pki.make_server(
        ["csms.example.com", "127.0.0.1"], ISSUING, organization="Operator", now=NOW, valid_for=timedelta(days=9)
    )
    assert server.certificate.subject == name_of("csms.example.com", "Operator")
    names = server.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["csms.example.com"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    server.certificate.verify_directly_issued_by(ISSUING.certificate)


def test_signer_comes_back_from_what_is_stored_of_it() -> None:
    again = pki.signer_of(ISSUING.chain, pki.key_bytes(ISSUING.key))
    assert again.certificate == ISSUING.certificate
    assert again.key.private_numbers() == ISSUING.key.private_numbers()


def test_revocation_list_names_what_was_revoked() -> None:
    pem = pki.make_list([("ab12", NOW)], ISSUING, NOW, timedelta(days=7))
    made = x509.load_pem_x509_crl(pem.encode())
    assert made.is_signature_valid(ISSUING.key.public_key())
    assert [entry.serial_number for entry in made] == [0xAB12]
    assert made.next_update_utc == NOW + timedelta(days=7)
