"""X.509 as a virtual station needs it: requests of keys of its own, hashes by which certificates are named, TLS contexts."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import ssl
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_HASHES: Final = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}


class Named(NamedTuple):
    """The hashes that name a certificate (OCPP CertificateHashDataType)."""

    algorithm: str
    issuer_name: str
    issuer_key: str
    serial_number: str


def make_key(*, is_rsa: bool = False, curve: ec.EllipticCurve | None = None) -> PrivateKey:
    """A new key: EC on P-256 or the curve given, or RSA with 2048 bits, which takes a tenth of a second."""
    return rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(curve or ec.SECP256R1())


def make_request(key: PrivateKey, common_name: str, organization: str, country: str | None = None) -> str:
    """A certificate signing request as PEM (OCPP 2.0.1 A02.FR.03)."""
    parts = [] if country is None else [x509.NameAttribute(NameOID.COUNTRY_NAME, country)]
    subject = x509.Name(
        [
            *parts,
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    algorithm = hashes.SHA512() if key.key_size == 521 else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return request.public_bytes(serialization.Encoding.PEM).decode()


def read_chain(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text; empty where it cannot be read."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return []


def named(certificate: x509.Certificate, issuers: list[x509.Certificate], algorithm: str = "SHA256") -> Named:
    """What names a certificate. An unknown issuer's key is taken to be its own."""
    issuer = next((one for one in issuers if one.subject == certificate.issuer), certificate)
    name = certificate.issuer.public_bytes()
    # the bits of the key alone, as RFC 6960 hashes them: what the key identifier of RFC 5280, 4.2.1.2 (1) is made of
    key = issuer.public_key().public_bytes(
        *(
            (serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
            if isinstance(issuer.public_key(), rsa.RSAPublicKey)
            else (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        )
    )
    return Named(algorithm, _hashed(algorithm, name), _hashed(algorithm, key), f"{certificate.serial_number:x}")


def _hashed(algorithm: str, data: bytes) -> str:
    digest = hashes.Hash(_HASHES[algorithm])
    digest.update(data)
    return digest.finalize().hex()


def leads_to(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> bool:
    """Whether each certificate was signed by the next one and the last by a root."""
    for certificate, issuer in itertools.pairwise(chain):
        if not _signed_by(certificate, issuer):
            return False
    return any(_signed_by(chain[-1], root) or chain[-1] == root for root in roots)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # a signature, a name or a kind of key that does not fit
        return False
    return True


def is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it holds at a time."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def make_context(
    roots: list[x509.Certificate],
    chain: str | None = None,
    key: PrivateKey | None = None,
    *,
    tls: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    """What a station opens a TLS socket with.

    Args:
        roots: what it trusts.
        chain, key: its own certificate, shown when it is asked for.
        tls: the only version of TLS it speaks; None for all that are allowed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = tls or ssl.TLSVersion.TLSv1_2
    if tls is not None:
        context.maximum_version = tls
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for root in roots:
        context.load_verify_locations(cadata=root.public_bytes(serialization.Encoding.PEM).decode())
    if chain is not None and key is not None:
        _show(context, chain, key)
    return context


def _show(context: ssl.SSLContext, chain: str, key: PrivateKey) -> None:
    password = secrets.token_hex(16)  # OpenSSL reads keys from files only
    sealed = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    fd, name = tempfile.mkstemp(prefix="virtual-station-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(sealed + b"\n" + chain.encode())
        context.load_cert_chain(name, password=password)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
