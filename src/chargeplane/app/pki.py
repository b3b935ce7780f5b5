"""X.509 as the house needs it: what a request must be, and the certificates and lists that are signed.

Pure functions that compute for a millisecond or more: call them in a thread. Rules from OCPP 2.0.1 A00.FR.501 to FR.514
and the certificate properties of the OCPP 1.6 security whitepaper.
"""

from __future__ import annotations

import ipaddress
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from chargeplane.app.ports import Signed
from chargeplane.kernel.errors import RuleError

STATION_URI: Final = "urn:chargeplane:station:"
"""Begins the name, in the alternative names of a station's certificate, that tells which station it was made for."""

_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_MIN_EC_BITS: Final = 224
_EARLIER: Final = timedelta(minutes=10)
"""Certificates hold from a little before they are made: clocks of stations go wrong."""

_ROOT_DAYS: Final = 7300
_ISSUING_DAYS: Final = 3650

PrivateKey = ec.EllipticCurvePrivateKey


class Signer(Struct, frozen=True):
    """A certificate and its key.

    Args:
        chain: PEM: it, then those above it without the root.
    """

    certificate: x509.Certificate
    key: PrivateKey
    chain: str


class CsrError(RuleError):
    """A certificate signing request breaks a rule; the sentence says which."""


def read_csr(pem: str) -> x509.CertificateSigningRequest:
    """The request, if it is one of its key's owner.

    Raises:
        CsrError: it cannot be read, is not signed by its key, or its hash is too weak.
    """
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        key = csr.public_key()
        signed = csr.is_signature_valid
        algorithm = csr.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CsrError(f"The request cannot be read: {error}.") from error
    if not signed:
        raise CsrError("The request is not signed by the key in it.")
    hashes_itself = algorithm is None and isinstance(key, ed448.Ed448PublicKey)
    if not hashes_itself and (algorithm is None or algorithm.name not in _HASHES):
        raise CsrError(
            f"The request is signed with {algorithm.name if algorithm else 'no hash'}; SHA-256 or better is needed."
        )
    return csr


def common_names(csr: x509.CertificateSigningRequest) -> list[str]:
    """Those of its subject."""
    return [str(name.value) for name in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def check_csr(pem: str, common_name: str) -> x509.CertificateSigningRequest:
    """The request, if a certificate for a station's socket may be made of it.

    Args:
        common_name: the one the station's certificate has (A00.FR.511).
    Raises:
        CsrError: it cannot be read, is not signed by its key, names another station, or its key or hash is too weak.
    """
    csr = read_csr(pem)
    key = csr.public_key()
    # A00.FR.502, FR.503
    if isinstance(key, rsa.RSAPublicKey):
        if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
            raise CsrError(f"An RSA key needs {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits; this one has {key.key_size}.")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.key_size < _MIN_EC_BITS:
            raise CsrError(f"An EC key needs at least {_MIN_EC_BITS} bits; this one has {key.key_size}.")
    else:
        raise CsrError("The key must be RSA or EC.")
    check_name(csr, common_name)
    return csr


def check_name(csr: x509.CertificateSigningRequest, common_name: str) -> None:
    """A station's certificate has its name.

    Raises:
        CsrError: the request names another one.
    """
    names = common_names(csr)
    if names != [common_name]:
        raise CsrError(f"The common name is '{', '.join(names)[:100]}'; it must be '{common_name}'.")


def make_root(organization: str, now: datetime, generation: int = 1) -> Signer:
    """A root of our own."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = _name(organization, f"{organization} Root CA{_numbered(generation)}")
    builder = _builder(name, name, key.public_key(), now, timedelta(days=_ROOT_DAYS))
    certificate = _authority(builder, key.public_key(), None, path_length=1).sign(key, hashes.SHA384())
    return Signer(certificate, key, _pem(certificate))


def make_crossed(root: Signer, before: Signer, now: datetime) -> str:
    """PEM of a root's key as the root before certifies it: for stations that take a new root only from the old one
    (AdditionalRootCertificateCheck, M05.FR.10)."""
    until = before.certificate.not_valid_after_utc - now
    builder = _builder(root.certificate.subject, before.certificate.subject, root.key.public_key(), now, until)
    crossed = _authority(builder, root.key.public_key(), before, path_length=1).sign(before.key, hashes.SHA384())
    return _pem(crossed)


def make_issuing(organization: str, root: Signer, now: datetime, generation: int = 1) -> Signer:
    """An intermediate authority, which signs everything else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(organization, f"{organization} Charging Station CA{_numbered(generation)}")
    builder = _builder(name, root.certificate.subject, key.public_key(), now, timedelta(days=_ISSUING_DAYS))
    certificate = _authority(builder, key.public_key(), root, path_length=0).sign(root.key, hashes.SHA384())
    return Signer(certificate, key, _pem(certificate))


def sign_station(
    csr: x509.CertificateSigningRequest,
    issuing: Signer,
    *,
    organization: str,
    common_name: str,
    station_key: int,
    now: datetime,
    valid_for: timedelta,
) -> Signed:
    """A station's certificate: of the request only the key is taken. No extended key usage (A00.FR.514)."""
    builder = _builder(
        _name(organization, common_name), issuing.certificate.subject, csr.public_key(), now, valid_for, issuing
    )
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{STATION_URI}{station_key}")])
    certificate = _end(builder, csr.public_key(), issuing, names).sign(issuing.key, hashes.SHA256())
    return Signed(
        chain=_pem(certificate) + issuing.chain,
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.public_bytes(),
        serial_number=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def make_server(names: list[str], issuing: Signer, *, organization: str, now: datetime, valid_for: timedelta) -> Signer:
    """The server's certificate; the first name is the common name (A00.FR.510)."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(
        _name(organization, names[0]), issuing.certificate.subject, key.public_key(), now, valid_for, issuing
    )
    alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
    certificate = _end(builder, key.public_key(), issuing, alternatives).sign(issuing.key, hashes.SHA256())
    return Signer(certificate, key, _pem(certificate) + issuing.chain)


def make_firmware_signer(issuing: Signer, *, organization: str, now: datetime, valid_for: timedelta) -> Signer:
    """Who signs firmware that came without a signature; its certificate stands alone (OCPP 2.0.1 L01)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(organization, "Firmware signing")
    builder = (
        _builder(subject, issuing.certificate.subject, key.public_key(), now, valid_for, issuing)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.key.public_key()), critical=False)
    )
    certificate = builder.sign(issuing.key, hashes.SHA256())
    return Signer(certificate, key, _pem(certificate))


def sign_digest(signer: Signer, sha256: bytes) -> str:
    """The signature over a file, Base64 (ECDSA, L01.FR.04).

    Args:
        sha256: digest of the whole file.
    """
    return b64encode(signer.key.sign(sha256, ec.ECDSA(utils.Prehashed(hashes.SHA256())))).decode()


def check_signature(pem: str, signature: str, sha256: bytes, now: datetime) -> str | None:
    """Why a signature over a file is not good, in a sentence; None where it is.

    Args:
        pem: the signing certificate.
        signature: Base64; RSA-PSS or ECDSA over SHA-256.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return "The signing certificate is no certificate as PEM."
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return "The signing certificate is not valid now."
    try:
        given = b64decode(signature, validate=True)
    except ValueError:
        return "The signature is no Base64."
    key = certificate.public_key()
    digest = utils.Prehashed(hashes.SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(given, sha256, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
            key.verify(given, sha256, pss, digest)
        else:
            return "The signing certificate has a key of a kind that OCPP does not know (RSA or EC)."
    except InvalidSignature:
        return "The signature is not that of this file by this certificate."
    return None


def make_list(revoked: Iterable[tuple[str, datetime]], issuing: Signer, now: datetime, valid_for: timedelta) -> str:
    """A revocation list as PEM.

    Args:
        revoked: serial numbers and when they were revoked.
    """
    builder = x509.CertificateRevocationListBuilder(issuing.certificate.subject, now, now + valid_for)
    builder = builder.add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.key.public_key()), critical=False
    )
    for serial_number, at in revoked:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(int(serial_number, 16), at).build())
    return builder.sign(issuing.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def subject_of(chain: str) -> bytes:
    """The name in DER of the certificate that begins a chain."""
    return x509.load_pem_x509_certificates(chain.encode())[0].subject.public_bytes()


def key_bytes(key: PrivateKey) -> bytes:
    """The key as it goes into encryption: DER, PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_pem(key: PrivateKey) -> bytes:
    """The key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signer_of(chain: str, key: bytes) -> Signer:
    """A signer from what is stored of it."""
    loaded = serialization.load_der_private_key(key, password=None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return Signer(x509.load_pem_x509_certificates(chain.encode())[0], loaded, chain)


def _numbered(generation: int) -> str:
    return "" if generation == 1 else f" G{generation}"


def _name(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: object,
    now: datetime,
    valid_for: timedelta,
    issuing: Signer | None = None,
) -> x509.CertificateBuilder:
    until = now + valid_for
    if issuing is not None:
        until = min(until, issuing.certificate.not_valid_after_utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(until)
    )


def _authority(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, issuer: Signer | None, *, path_length: int
) -> x509.CertificateBuilder:
    above = key if issuer is None else issuer.key.public_key()
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
    )


def _end(
    builder: x509.CertificateBuilder, key: object, issuing: Signer, names: x509.SubjectAlternativeName
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)  # type: ignore[arg-type]
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.key.public_key()), critical=False)
        .add_extension(names, critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """A00.FR.512. Key encipherment is for the cipher suites that TLS_RSA stands for."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
