"""A certificate authority for tests: keys of elliptic curves, which cost nothing to make."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_SHA256 = hashes.SHA256()

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def name_of(common_name: str, organization: str = "Operator") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


class Issued:
    """A certificate with its key."""

    def __init__(self, certificate: x509.Certificate, key: Key, chain: bytes = b"") -> None:
        self.certificate = certificate
        self.key = key
        self.pem = certificate.public_bytes(serialization.Encoding.PEM) + chain
        self.key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Files of the chain and the key."""
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return chain, key


class Authority:
    """Signs what it is told to, right or wrong."""

    def __init__(self, common_name: str = "Test CA") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name_of(common_name)
        self.certificate = self._sign(self.name, self.key, 365, ca=True)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        common_name: str,
        *,
        organization: str = "Operator",
        days: int = 30,
        rsa_key: bool = False,
        dns: str | None = None,
    ) -> Issued:
        """A certificate; negative days make one that has expired."""
        key: Key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        return Issued(self._sign(name_of(common_name, organization), key, days, dns=dns), key)

    def revoke(self, *revoked: Issued) -> bytes:
        """A revocation list as PEM."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(self.name, now, now + timedelta(days=1))
        for one in revoked:
            entry = x509.RevokedCertificateBuilder(one.certificate.serial_number, now).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _sign(
        self, subject: x509.Name, key: Key, days: int, *, ca: bool = False, dns: str | None = None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=max(1, 1 - days)))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if dns is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def client_context(trusted: bytes, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """What a station connects with: the authority it trusts, and its own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trusted.decode())
    if shown is not None:
        context.load_cert_chain(*shown)
    return context


def csr_named(subject: list[tuple[str, str]], key: ec.EllipticCurvePrivateKey) -> str:
    """A certificate signing request as PEM, of a subject in the words of RFC 4514."""
    name = x509.Name.from_rfc4514_string(",".join(f"{word}={value}" for word, value in reversed(subject)))
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, _SHA256).public_bytes(serialization.Encoding.PEM).decode()


def csr_of(common_name: str, key: object = None, hash_with: hashes.HashAlgorithm | None = _SHA256) -> str:
    """A certificate signing request as PEM."""
    signing = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of(common_name))
    return builder.sign(signing, hash_with).public_bytes(serialization.Encoding.PEM).decode()  # type: ignore[arg-type]
