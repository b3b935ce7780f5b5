"""Whether certificates of others were revoked: by OCSP (RFC 6960) and by lists (RFC 5280), with a memory.

Answers are believed only when they are signed by the issuer, or by somebody whom the issuer named for it. Where the issuer is not
known here, nothing can be believed, and that is said.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import new as new_hash
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct

from chargeplane.domain.contracts import HashData, OcspAsk, RevocationState
from chargeplane.kernel.errors import PeerError

_KEPT: Final = 5000
_KEPT_BYTES: Final = 16 * 1024 * 1024
"""Of answers; responders may make them 64 KiB long."""

_AT_MOST: Final = timedelta(days=7)
"""ISO 15118-20 lets answers be used for a week."""

_WITHOUT_END: Final = timedelta(hours=1)
"""How long an answer that names no end is used."""

_TOLERANCE: Final = timedelta(minutes=10)
_ALGORITHMS: Final = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}


class Fetcher(Protocol):
    """Asks servers of others, whose addresses came from others: bounded in time and size, and never into our own network."""

    async def get(self, url: str, *, limit: int) -> bytes:
        """A body.

        Raises:
            PeerError: there was none; the sentence says why.
        """
        ...

    async def post(self, url: str, body: bytes, content_type: str, *, limit: int) -> bytes:
        """The body of the answer.

        Raises:
            PeerError: there was none; the sentence says why.
        """
        ...


class Found(Struct, frozen=True, kw_only=True):
    """What is known about a certificate.

    Args:
        der: the OCSP answer as it came.
        reason: a sentence where it is Failed.
    """

    state: RevocationState
    until: datetime
    der: bytes = b""
    reason: str | None = None


_FAILED_FOR: Final = timedelta(seconds=30)


class RevocationChecks:
    """Asks, and remembers.

    Args:
        fetcher: to the servers of others.
        now: the time.
    """

    def __init__(self, fetcher: Fetcher, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._fetcher = fetcher
        self._now = now
        self._known: OrderedDict[object, Found] = OrderedDict()
        self._known_bytes = 0
        self._asking: dict[object, asyncio.Task[Found]] = {}

    async def by_ocsp(self, ask: OcspAsk, issuers: Iterable[x509.Certificate]) -> Found:
        """What the responder says.

        Args:
            issuers: certificates among which the issuer may be; without it the answer's signature cannot be checked, and the
                state is Failed although the answer is there.
        """
        issuer = issuer_of(ask.certificate, issuers)
        key = ("ocsp", ask, None if issuer is None else issuer.fingerprint(hashes.SHA256()))
        return await self._once(key, lambda: self._ask_responder(ask, issuer))

    async def by_list(self, certificate: HashData, urls: Iterable[str], issuers: Iterable[x509.Certificate]) -> Found:
        """What the revocation list says that can be fetched first."""
        issuer = issuer_of(certificate, issuers)
        places = tuple(urls)
        key = ("crl", certificate, places, None if issuer is None else issuer.fingerprint(hashes.SHA256()))
        return await self._once(key, lambda: self._read_lists(certificate, places, issuer))

    async def _once(self, key: object, ask: Callable[[], Awaitable[Found]]) -> Found:
        known = self._known.get(key)
        if known is not None and known.until > self._now():
            self._known.move_to_end(key)
            return known
        running = self._asking.get(key)
        if running is not None:
            return await asyncio.shield(running)
        # A task of its own: whoever began it may give up, and the others still wait for what comes of it.
        task = self._asking[key] = asyncio.create_task(self._ask(key, ask), name="revocation check")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody waits any more
        return await asyncio.shield(task)

    async def _ask(self, key: object, ask: Callable[[], Awaitable[Found]]) -> Found:
        try:
            found = await ask()
        except PeerError as error:
            found = self._failed(str(error))
        finally:
            self._asking.pop(key, None)
        before = self._known.pop(key, None)
        self._known_bytes += len(found.der) - (0 if before is None else len(before.der))
        self._known[key] = found
        while len(self._known) > _KEPT or self._known_bytes > _KEPT_BYTES:
            self._known_bytes -= len(self._known.popitem(last=False)[1].der)
        return found

    def _failed(self, reason: str, der: bytes = b"") -> Found:
        return Found(state=RevocationState.FAILED, until=self._now() + _FAILED_FOR, reason=reason, der=der)

    async def _ask_responder(self, ask: OcspAsk, issuer: x509.Certificate | None) -> Found:
        try:
            request = ocsp_request(ask.certificate)
        except ValueError as error:
            return self._failed(f"The certificate is not named as OCSP needs it: {error}.")
        der = await self._fetcher.post(ask.responder_url, request, "application/ocsp-request", limit=64 * 1024)
        return await asyncio.to_thread(self._judge, der, ask.certificate, issuer)

    def _judge(self, der: bytes, wanted: HashData, issuer: x509.Certificate | None) -> Found:
        try:
            answer = ocsp.load_der_ocsp_response(der)
            if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                return self._failed(f"The responder answered {answer.response_status.name}.")
            singles = list(answer.responses)
        except (ValueError, UnsupportedAlgorithm) as error:
            return self._failed(f"The responder's answer cannot be read: {error}.")
        number = int(wanted.serial_number, 16)
        single = next((one for one in singles if one.serial_number == number and _same_issuer(one, wanted)), None)
        if single is None:
            return self._failed("The responder answered about another certificate.")
        now = self._now()
        if single.this_update_utc > now + _TOLERANCE:
            return self._failed("The responder's answer is from the future.")
        until = single.next_update_utc
        if until is not None and until < now - _TOLERANCE:
            return self._failed("The responder's answer is out of date.", der)
        if issuer is None:
            return self._failed("The issuer is not known here, so the answer's signature cannot be checked.", der)
        if not _signed_for(answer, issuer, now):
            return self._failed("The responder's answer is not signed by the issuer or somebody it named.")
        states = {
            ocsp.OCSPCertStatus.GOOD: RevocationState.GOOD,
            ocsp.OCSPCertStatus.REVOKED: RevocationState.REVOKED,
            ocsp.OCSPCertStatus.UNKNOWN: RevocationState.UNKNOWN,
        }
        end = now + _WITHOUT_END if until is None else min(until, now + _AT_MOST)
        return Found(state=states[single.certificate_status], until=end, der=der)

    async def _read_lists(self, certificate: HashData, urls: tuple[str, ...], issuer: x509.Certificate | None) -> Found:
        if issuer is None:
            return self._failed("The issuer is not known here, so the list's signature cannot be checked.")
        reason = "No address of a list was given."
        for url in urls:
            try:
                data = await self._fetcher.get(url, limit=8 * 1024 * 1024)
            except PeerError as error:
                reason = str(error)
                continue
            return await asyncio.to_thread(self._look_up, data, certificate, issuer)
        return self._failed(reason)

    def _look_up(self, data: bytes, certificate: HashData, issuer: x509.Certificate) -> Found:
        try:
            load = x509.load_pem_x509_crl if data.lstrip().startswith(b"-----BEGIN") else x509.load_der_x509_crl
            crl = load(data)
            signed = crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            return self._failed(f"The revocation list cannot be read: {error}.")
        try:
            number = int(certificate.serial_number, 16)
        except ValueError:
            return self._failed("The certificate's serial number is none.")
        if not signed or crl.issuer != issuer.subject:
            return self._failed("The revocation list is not signed by the issuer.")
        now = self._now()
        until = crl.next_update_utc
        if until is not None and until < now - _TOLERANCE:
            return self._failed("The revocation list is out of date.")
        revoked = crl.get_revoked_certificate_by_serial_number(number) is not None
        end = now + _WITHOUT_END if until is None else min(until, now + _AT_MOST)
        return Found(state=RevocationState.REVOKED if revoked else RevocationState.GOOD, until=end)


def hash_data(certificate: x509.Certificate, issuer: x509.Certificate, algorithm: str = "SHA256") -> HashData:
    """What names a certificate, from it and its issuer."""
    return HashData(
        algorithm=algorithm,
        issuer_name_hash=_digest(algorithm, issuer.subject.public_bytes()),
        issuer_key_hash=_digest(algorithm, _key_bits(issuer)),
        serial_number=f"{certificate.serial_number:x}",
    )


def issuer_of(certificate: HashData, candidates: Iterable[x509.Certificate]) -> x509.Certificate | None:
    """The candidate whose name and key the hashes are of."""
    if certificate.algorithm not in _ALGORITHMS:
        return None
    for one in candidates:
        if (
            _digest(certificate.algorithm, one.subject.public_bytes()) == certificate.issuer_name_hash.lower()
            and _digest(certificate.algorithm, _key_bits(one)) == certificate.issuer_key_hash.lower()
        ):
            return one
    return None


def ocsp_request(certificate: HashData) -> bytes:
    """An OCSP request, DER.

    Raises:
        ValueError: the hashes are none.
    """
    algorithm = _ALGORITHMS.get(certificate.algorithm)
    if algorithm is None:
        raise ValueError(f"there is no hash {certificate.algorithm}")
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        bytes.fromhex(certificate.issuer_name_hash),
        bytes.fromhex(certificate.issuer_key_hash),
        int(certificate.serial_number, 16),
        algorithm,
    )
    return builder.build().public_bytes(serialization.Encoding.DER)


def _same_issuer(single: ocsp.OCSPSingleResponse, wanted: HashData) -> bool:
    """The answer may name the issuer by the same hash only: what it was asked with (RFC 6960, 4.1.1)."""
    return (
        single.issuer_name_hash.hex() == wanted.issuer_name_hash.lower()
        and single.issuer_key_hash.hex() == wanted.issuer_key_hash.lower()
    )


def _signed_for(answer: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> bool:
    signers = [issuer]
    for one in answer.certificates:
        try:
            usage = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            one.verify_directly_issued_by(issuer)
        except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
            continue
        in_time = one.not_valid_before_utc <= now + _TOLERANCE and one.not_valid_after_utc >= now
        if ExtendedKeyUsageOID.OCSP_SIGNING in usage and in_time:
            signers.append(one)
    return any(_verifies(answer, one) for one in signers)


def _verifies(answer: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key = signer.public_key()
    algorithm = answer.signature_hash_algorithm
    if algorithm is None:
        return False
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _digest(algorithm: str, data: bytes) -> str:
    return new_hash(algorithm, data).hexdigest()


def _key_bits(certificate: x509.Certificate) -> bytes:
    """The bits of the public key without what stands around them (RFC 6960, 4.1.1)."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return spki[_bit_string_at(spki) :]


def _bit_string_at(spki: bytes) -> int:
    """Where the key's bits begin: SEQUENCE { SEQUENCE algorithm, BIT STRING }."""
    place = _skip_head(spki, 0)
    place = _skip_head(spki, place) + _length(spki, place)
    return _skip_head(spki, place) + 1  # the number of unused bits


def _skip_head(data: bytes, place: int) -> int:
    first = data[place + 1]
    return place + 2 + (first & 0x7F if first & 0x80 else 0)


def _length(data: bytes, place: int) -> int:
    first = data[place + 1]
    if not first & 0x80:
        return first
    count = first & 0x7F
    return int.from_bytes(data[place + 2 : place + 2 + count], "big")
