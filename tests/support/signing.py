"""Certificates and signatures of firmware, as a manufacturer makes them."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID


class Manufacturer:
    """One who signs firmware.

    Args:
        kind: `ec` or `rsa`.
    """

    def __init__(self, kind: str = "ec", *, until: datetime = datetime(2040, 1, 1, tzinfo=UTC)) -> None:
        self.key = (
            ec.generate_private_key(ec.SECP256R1())
            if kind == "ec"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Maker")])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(until)
            .sign(self.key, hashes.SHA256())
        )
        self.certificate = made.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, data: bytes) -> str:
        """The signature, Base64 (L01.FR.04)."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
            return b64encode(self.key.sign(data, pss, hashes.SHA256())).decode()
        return b64encode(self.key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()
