"""An OCSP responder (RFC 6960) for what this server's own authorities signed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from msgspec import Struct

_ANSWERS_FOR: Final = timedelta(hours=1)
_EARLIER: Final = timedelta(minutes=10)


class Issuer(Struct, frozen=True):
    """An authority's certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class OcspSource(Protocol):
    """Who has authorities and knows what they signed."""

    async def issuers(self) -> Sequence[Issuer]:
        """Its authorities, as far as they were made."""
        ...

    async def state_of(self, issuer: x509.Certificate, serial_number: int) -> tuple[bool, datetime | None]:
        """Whether that authority signed such a certificate, and when it was revoked."""
        ...


async def answer(request: bytes, sources: Sequence[OcspSource]) -> bytes:
    """The answer to an OCSP request, DER; also where it is none."""
    try:
        asked = ocsp.load_der_ocsp_request(request)
        number, algorithm = asked.serial_number, asked.hash_algorithm
        name_hash, key_hash = asked.issuer_name_hash, asked.issuer_key_hash
    except (ValueError, UnsupportedAlgorithm):
        return _refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    for source in sources:
        for issuer in await source.issuers():
            if _named(issuer.certificate, name_hash, key_hash, algorithm):
                known, revoked_at = await source.state_of(issuer.certificate, number)
                break
        else:
            continue
        break
    else:
        return _refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    state = ocsp.OCSPCertStatus.GOOD if known else ocsp.OCSPCertStatus.UNKNOWN
    if revoked_at is not None:
        state = ocsp.OCSPCertStatus.REVOKED
    now = datetime.now(UTC)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        name_hash, key_hash, number, algorithm, state, now - _EARLIER, now + _ANSWERS_FOR, revoked_at, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
    strength = hashes.SHA512() if issuer.key.key_size > 256 else hashes.SHA256()
    made = await asyncio.to_thread(builder.sign, issuer.key, strength)
    return made.public_bytes(serialization.Encoding.DER)


def _named(certificate: x509.Certificate, name_hash: bytes, key_hash: bytes, algorithm: hashes.HashAlgorithm) -> bool:
    digest = hashes.Hash(algorithm)
    digest.update(certificate.subject.public_bytes())
    if digest.finalize() != name_hash:
        return False
    digest = hashes.Hash(algorithm)
    digest.update(
        certificate.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    return digest.finalize() == key_hash


def _refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(serialization.Encoding.DER)
