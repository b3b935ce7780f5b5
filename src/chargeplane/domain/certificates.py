"""How OCPP names certificates: what one is used for, and the hashes that tell one from another (OCPP 2.0.1 M03, M04)."""

from __future__ import annotations

import enum
from typing import Annotated, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from msgspec import Meta, Struct

from chargeplane.kernel.errors import RuleError


class CertificateUse(enum.StrEnum):
    """What a certificate on a station is for, in the newest words; OCPP 1.6 has the first two."""

    CSMS_ROOT = "CSMSRootCertificate"
    MANUFACTURER_ROOT = "ManufacturerRootCertificate"
    V2G_ROOT = "V2GRootCertificate"
    MO_ROOT = "MORootCertificate"
    OEM_ROOT = "OEMRootCertificate"
    V2G_CHAIN = "V2GCertificateChain"


class SigningUse(enum.StrEnum):
    """What a station asks a certificate for (OCPP 2.1 CertificateSigningUseEnum), and one of ours.

    COMBINED stands for a request that names no use where the station was asked for one for both: a certificate for its socket that is
    one for Plug & Charge as well.
    """

    STATION = "ChargingStationCertificate"
    V2G = "V2GCertificate"
    V2G20 = "V2G20Certificate"
    COMBINED = "CombinedCertificate"

    @property
    def trigger(self) -> str:
        """OCPP 2.x MessageTriggerEnum word that has a station ask for it (A02)."""
        return f"Sign{self.value}"

    @property
    def is_v2g(self) -> bool:
        """Whether cars are to see it, so that it must lead to a V2G root."""
        return self is not SigningUse.STATION

    @property
    def opens_door(self) -> bool:
        """Whether the station comes in by it."""
        return self in (SigningUse.STATION, SigningUse.COMBINED)


class HashAlgorithm(enum.StrEnum):
    """OCPP HashAlgorithmEnum."""

    SHA256 = "SHA256"
    SHA384 = "SHA384"
    SHA512 = "SHA512"


_Hash = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[0-9A-Fa-f]+$")]


class CertificateHashData(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What names a certificate (OCPP CertificateHashDataType); all hexadecimal, compared without case.

    Args:
        hash_algorithm: of both hashes.
        issuer_name_hash: of the issuer's name in DER.
        issuer_key_hash: of the issuer's public key, the bits without tag, length and number of unused bits.
        serial_number: without leading zeros.
    """

    hash_algorithm: HashAlgorithm
    issuer_name_hash: _Hash
    issuer_key_hash: _Hash
    serial_number: Annotated[str, Meta(min_length=1, max_length=40, pattern="^[0-9A-Fa-f]+$")]

    def folded(self) -> CertificateHashData:
        """The same in the one spelling that is stored and compared."""
        return CertificateHashData(
            hash_algorithm=self.hash_algorithm,
            issuer_name_hash=self.issuer_name_hash.lower(),
            issuer_key_hash=self.issuer_key_hash.lower(),
            serial_number=self.serial_number.lower().lstrip("0") or "0",
        )


class InstalledCertificate(Struct, frozen=True, kw_only=True):
    """A certificate that a station says it has.

    Args:
        children: those below it in the same chain.
    """

    use: CertificateUse
    hash_data: CertificateHashData
    children: tuple[CertificateHashData, ...] = ()


class InstalledCertificates(Struct, frozen=True, kw_only=True):
    """All certificates of the uses that were asked for."""

    certificates: tuple[InstalledCertificate, ...] = ()


class CertificateError(RuleError):
    """A text is no certificate, or not one that fits; the sentence says why."""


def read_certificates(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text, at least one.

    Raises:
        CertificateError: it holds none, or something that cannot be read.
    """
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise CertificateError(f"This is no certificate in PEM: {error}.") from error


def hash_data_of(pem: str, algorithm: HashAlgorithm = HashAlgorithm.SHA256) -> CertificateHashData:
    """What names a certificate.

    Args:
        pem: the certificate; one that did not sign itself is followed by its issuer's, whose key is needed.
    Raises:
        CertificateError: it cannot be read, or the issuer's certificate is missing.
    """
    certificate, *above = read_certificates(pem)
    issuer = next(
        (one for one in (certificate, *above) if one.subject == certificate.issuer and _signed_by(certificate, one)),
        None,
    )
    if issuer is None:
        raise CertificateError(
            f"The certificate {certificate.subject.rfc4514_string()} did not sign itself: its issuer's must follow it."
        )
    return CertificateHashData(
        hash_algorithm=algorithm,
        issuer_name_hash=_hashed(algorithm, certificate.issuer.public_bytes()),
        issuer_key_hash=_hashed(algorithm, _key_bits(issuer)),
        serial_number=f"{certificate.serial_number:x}",
    )


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # whatever is wrong with it, it is not the issuer
        return False
    return True


def _key_bits(certificate: x509.Certificate) -> bytes:
    """The subjectPublicKey as RFC 6960, 4.1.1 hashes it."""
    encoded = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # SubjectPublicKeyInfo ::= SEQUENCE { algorithm SEQUENCE, subjectPublicKey BIT STRING }
    inside = _contents(encoded)
    algorithm = _length(inside)
    bits = _contents(inside[algorithm:])
    return bits[1:]  # without the number of unused bits


def _header(encoded: bytes) -> tuple[int, int]:
    """(bytes of tag and length, bytes of contents) of what begins an encoding in DER."""
    first = encoded[1]
    if first < 0x80:
        return 2, first
    count = first & 0x7F
    return 2 + count, int.from_bytes(encoded[2 : 2 + count])


def _contents(encoded: bytes) -> bytes:
    head, size = _header(encoded)
    return encoded[head : head + size]


def _length(encoded: bytes) -> int:
    return sum(_header(encoded))


_HASHES: Final = {
    HashAlgorithm.SHA256: hashes.SHA256(),
    HashAlgorithm.SHA384: hashes.SHA384(),
    HashAlgorithm.SHA512: hashes.SHA512(),
}


def _hashed(algorithm: HashAlgorithm, data: bytes) -> str:
    digest = hashes.Hash(_HASHES[algorithm])
    digest.update(data)
    return digest.finalize().hex()
