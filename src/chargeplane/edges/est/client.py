"""An authority that speaks EST (RFC 7030): `simpleenroll` signs, `cacerts` tells whom to trust.

One request at a time and a thread, with a time limit: certificates are asked for once in months. What it signed is looked at before it
goes to a station: of the station's key, under its name, within its time.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import http.client
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID
from msgspec import Struct

from chargeplane.app import pki
from chargeplane.app.ports import Signed
from chargeplane.kernel.errors import InvalidInputError, RuleError, UnavailableError
from chargeplane.kernel.ids import StationKey
from chargeplane.kernel.text import made_storable

_MOST_BYTES: Final = 256 * 1024
_TRUST_FOR_S: Final = 3600.0

log = structlog.get_logger(__name__)


class EstConfig(Struct, frozen=True, kw_only=True):
    """Where the authority is and how it knows us.

    Args:
        url: `https://HOST[:PORT]`, or with a path to the label of the authority (RFC 7030, 3.2.2); a path that begins with
            `/.well-known/` and is not EST's stays as it is, for interfaces that have the same operations elsewhere.
        ca_file: PEM that leads to the EST server's own certificate; the system's authorities where None.
        user, password: HTTP Basic.
        token: a bearer token in their place.
        certificate_file, key_file: a certificate of ours for TLS.
        trust_file: PEM that stations' certificates lead to, in place of what `cacerts` tells.
        cache_file: where the answer of `cacerts` is kept for a start while the server is away.
        timeout_s: for a whole request.
    """

    url: str
    ca_file: str | None = None
    user: str | None = None
    password: str | None = None
    token: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    trust_file: str | None = None
    cache_file: str | None = None
    timeout_s: float = 30.0


class EstAuthority:
    """Implements `ports.CertificateAuthority`.

    Raises:
        InvalidInputError: the address or a file does not fit.
    """

    def __init__(self, config: EstConfig) -> None:
        parts = urlsplit(config.url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise InvalidInputError(
                "est.url must be https://HOST[:PORT][/PATH].", (("est.url", "https://HOST[:PORT]"),)
            )
        self._config = config
        self._host, self._port = parts.hostname, parts.port or 443
        self._path = _path(parts.path.strip("/"))
        self._context = _context(config)
        self._trust = ""
        self._trust_at = -_TRUST_FOR_S
        self._asking = asyncio.Lock()

    def check(self, csr: str, common_name: str) -> None:
        """Raises what `sign` would raise for the request itself. Computes: call it in a thread."""
        pki.check_csr(csr, common_name)

    async def sign(self, csr: str, *, common_name: str, station_key: StationKey) -> Signed:
        """A station's certificate.

        Raises:
            RuleError: the authority refuses the request, or what it signed is of no use.
            UnavailableError: it cannot be asked now, or has not decided yet.
        """
        request = await asyncio.to_thread(pki.check_csr, csr, common_name)
        return await self.enroll(request, common_name)

    async def enroll(self, request: x509.CertificateSigningRequest, common_name: str | None) -> Signed:
        """A certificate of a request that was judged.

        Args:
            common_name: what it must be for; None where that is the authority's choice.
        Raises:
            RuleError: the authority refuses the request, or what it signed is of no use.
            UnavailableError: it cannot be asked now, or has not decided yet.
        """
        body = base64.encodebytes(request.public_bytes(serialization.Encoding.DER))
        async with self._asking:
            answer = await asyncio.to_thread(self._ask, "POST", "simpleenroll", body, "application/pkcs10")
        return await asyncio.to_thread(_signed, answer, request, common_name)

    async def trust(self) -> str:
        """PEM of the authorities that the certificates lead to; of the last time they were told where they cannot be asked."""
        config = self._config
        if config.trust_file is not None:
            return await asyncio.to_thread(lambda: Path(config.trust_file or "").read_text())
        now = asyncio.get_running_loop().time()
        if self._trust and now - self._trust_at < _TRUST_FOR_S:
            return self._trust
        try:
            answer = await asyncio.to_thread(self._ask, "GET", "cacerts", None, "")
            self._trust = "".join(_pem(one) for one in _certificates(answer))
            self._trust_at = now
            if config.cache_file is not None:
                path, text = Path(config.cache_file), self._trust
                await asyncio.to_thread(lambda: path.write_text(text))
        except (RuleError, UnavailableError, OSError) as error:
            log.warning("est_authorities_not_read", error=str(error))
            if not self._trust and config.cache_file is not None:
                cached = Path(config.cache_file)
                self._trust = await asyncio.to_thread(lambda: cached.read_text() if cached.exists() else "")
        return self._trust

    def _ask(self, method: str, operation: str, body: bytes | None, kind: str) -> bytes:
        """The body of the answer, decoded from base64.

        Raises:
            RuleError: it was refused for good.
            UnavailableError: to be tried again.
        """
        config = self._config
        headers = {"Accept": "application/pkcs7-mime"}
        if body is not None:
            headers |= {"Content-Type": kind, "Content-Transfer-Encoding": "base64"}
        if config.user is not None:
            secret = f"{config.user}:{config.password or ''}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(secret).decode()
        elif config.token is not None:
            headers["Authorization"] = f"Bearer {config.token}"
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=config.timeout_s, context=self._context
        )
        try:
            connection.request(method, self._path + operation, body, headers)
            answer = connection.getresponse()
            told = answer.read(_MOST_BYTES + 1)
            status, retry = answer.status, answer.getheader("Retry-After")
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"The EST server cannot be asked: {error or type(error).__name__}.") from error
        finally:
            connection.close()
        if len(told) > _MOST_BYTES:
            raise UnavailableError("The EST server's answer is too long.")
        if status == 200:
            try:
                return base64.b64decode(told, validate=False)
            except binascii.Error as error:
                raise UnavailableError("The EST server's answer is no base64.") from error
        said = made_storable(told.decode("utf-8", "replace").strip(), 200)
        if status == 202:  # RFC 7030, 4.2.3: somebody has to agree
            raise UnavailableError(
                f"The EST server has not decided yet; it may be asked again after {retry or 'a while'}."
            )
        if status in (400, 403, 404, 422):
            raise RuleError(f"The EST server refused with {status}{f': {said}' if said else ''}.")
        raise UnavailableError(f"The EST server answered {status}{f': {said}' if said else ''}.")


def _path(given: str) -> str:
    if given.startswith(".well-known/") and not f"{given}/".startswith(".well-known/est/"):
        return f"/{given}/"
    label = given.removeprefix(".well-known/est").strip("/")
    return f"/.well-known/est/{label + '/' if label else ''}"


def _context(config: EstConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.certificate_file is not None:
            context.load_cert_chain(config.certificate_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(f"A file of the EST client cannot be read: {error}.") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _certificates(answer: bytes) -> list[x509.Certificate]:
    try:
        found = pkcs7.load_der_pkcs7_certificates(answer)
    except ValueError as error:
        raise UnavailableError(f"The EST server's answer is no certificate: {error}.") from error
    if not found:
        raise UnavailableError("The EST server's answer holds no certificate.")
    return found


def _signed(answer: bytes, request: x509.CertificateSigningRequest, common_name: str | None) -> Signed:
    found = _certificates(answer)
    key = request.public_key()
    certificate = next((one for one in found if one.public_key() == key), None)
    if certificate is None:
        raise RuleError("The EST server signed another key than the station's.")
    names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if common_name is not None and common_name not in names:
        raise RuleError(f"The EST server signed for '{made_storable(', '.join(names), 100)}', not for '{common_name}'.")
    if not certificate.not_valid_after_utc > datetime.now(UTC):
        raise RuleError("The EST server signed a certificate that has expired.")
    chain = _pem(certificate)
    above = certificate
    for _ in found:  # those above it, in their order, without the root
        issuer = next((one for one in found if one.subject == above.issuer and one.subject != one.issuer), None)
        if issuer is None or issuer == above:
            break
        chain += _pem(issuer)
        above = issuer
    return Signed(
        chain=chain,
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.public_bytes(),
        serial_number=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
