"""How certificates are named (OCPP 2.0.1 CertificateHashDataType)."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp

from chargeplane.domain.certificates import CertificateError, CertificateHashData, HashAlgorithm, hash_data_of
from tests.support.authority import Authority

_OCSP = {
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


def as_ocsp(certificate: x509.Certificate, issuer: x509.Certificate, algorithm: HashAlgorithm) -> CertificateHashData:
    """What OCSP makes of it: the hashes follow RFC 6960, 4.1.1."""
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, _OCSP[algorithm]).build()
    return CertificateHashData(
        hash_algorithm=algorithm,
        issuer_name_hash=request.issuer_name_hash.hex(),
        issuer_key_hash=request.issuer_key_hash.hex(),
        serial_number=f"{request.serial_number:x}",
    )


@pytest.mark.parametrize("algorithm", HashAlgorithm)
@pytest.mark.parametrize("is_rsa", [False, True])
def test_hashes_are_those_of_ocsp_for_roots_and_for_what_they_signed(algorithm: HashAlgorithm, is_rsa: bool) -> None:
    authority = Authority()
    if is_rsa:
        key = rsa.generate_private_key(65537, 2048)
        authority.key = key  # type: ignore[assignment]
        authority.certificate = authority._sign(authority.name, key, 10, ca=True)
        authority.pem = authority.certificate.public_bytes(serialization.Encoding.PEM)
    root = authority.certificate
    assert hash_data_of(authority.pem.decode(), algorithm) == as_ocsp(root, root, algorithm)
    issued = authority.issue("CS")
    chain = issued.pem.decode() + authority.pem.decode()
    assert hash_data_of(chain, algorithm) == as_ocsp(issued.certificate, root, algorithm)


def test_without_its_issuer_a_certificate_cannot_be_named() -> None:
    issued = Authority().issue("CS")
    with pytest.raises(CertificateError, match="its issuer's must follow it"):
        hash_data_of(issued.pem.decode())
    with pytest.raises(CertificateError, match="no certificate in PEM"):
        hash_data_of("nothing")


def test_a_key_of_the_same_name_is_not_taken_for_the_issuer() -> None:
    first, second = Authority(), Authority()
    issued = first.issue("CS")
    with pytest.raises(CertificateError):
        hash_data_of(issued.pem.decode() + second.pem.decode())
    assert isinstance(second.key, ec.EllipticCurvePrivateKey)


def test_names_compare_without_case_and_leading_zeros() -> None:
    name = CertificateHashData(
        hash_algorithm=HashAlgorithm.SHA256, issuer_name_hash="AB", issuer_key_hash="CD", serial_number="00AF"
    )
    assert name.folded().serial_number == "af"
    assert name.folded() == name.folded().folded()
