"""TLS at the stations' door: security profiles 2 (TLS with a password) and 3 (TLS with a certificate on both sides).

OpenSSL judges the path of a station's certificate in the TLS handshake: trusted, within its time, fit for its use. Whose
it is can only be judged when the opening request says which station calls (`TlsDoor.check`): common name, organisation,
revocation, and once more the time, because a resumed session skips the path.

Certificates are replaced without a restart: the listener holds a context that hands every new handshake to the newest
one. Material that does not fit together is refused, and the old one stays.

Profile 2 stations show no certificate, so one is asked for and not demanded. A station that shows one of an authority
that is not trusted is refused whatever its profile (OCPP 2.0.1 A00.FR.407).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from msgspec import Struct

from chargeplane.app.pki import STATION_URI
from chargeplane.app.ports import StationCredentials
from chargeplane.edges.ocpp_server.admission import Throttle
from chargeplane.kernel.errors import InvalidInputError

Suspicious = Callable[[StationCredentials | None, str, dict[str, str]], None]
"""Told of a certificate that was refused: the station that was named, the peer's address, and why."""

Revoked = Callable[[bytes, int], bool]
"""Whether the certificate of this issuer (its name in DER) with this serial number was revoked; from memory."""

_log = structlog.get_logger(__name__)

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:AES128-GCM-SHA256:AES256-GCM-SHA384"
"""Of TLS 1.2. The last two have no forward secrecy; a CSMS has them all the same (OCPP 2.0.1 A00.FR.318, FR.421)."""

_FAILURES_LOGGED_BURST: Final = 50
_FAILURES_LOGGED_PER_S: Final = 1.0
"""Failed TLS handshakes that get a line each; scanners make them by the thousand."""


class ServerCertificate(Struct, frozen=True, kw_only=True):
    """What the server shows of itself.

    Args:
        chain: PEM: its certificate, then the intermediate ones.
        key: PEM: the private key, not encrypted.
    """

    chain: bytes
    key: bytes


class TlsMaterial(Struct, frozen=True, kw_only=True):
    """Everything a TLS door is opened with.

    Args:
        certificates: one, or one RSA and one EC: the station's ciphers decide which it sees.
        client_authorities: PEM: authorities whose certificates stations may show; empty: no certificate is asked for,
            and profile 3 is refused.
        revocation_lists: PEM: revocation lists of these authorities.
    """

    certificates: tuple[ServerCertificate, ...]
    client_authorities: bytes = b""
    revocation_lists: bytes = b""


class _Newest(ssl.SSLContext):
    """A context whose handshakes are those of another one, which can change."""

    newest: ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self.newest.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


class TlsDoor:
    """Certificates of the door and what it asks of those of stations.

    Args:
        material: to begin with.
        organizations: one of them must be the organisation of a station's certificate (OCPP 2.0.1 A00.FR.404); empty
            takes every organisation that a trusted authority certifies.
        revoked: revocations beside those of the lists.
        on_failure: told of every TLS handshake that failed.
        suspicious: told of every certificate that was refused.
    Raises:
        InvalidInputError: the material does not fit together.
    """

    def __init__(
        self,
        material: TlsMaterial,
        *,
        organizations: frozenset[str] = frozenset(),
        revoked: Revoked = lambda issuer, serial: False,
        on_failure: Callable[[], None] = lambda: None,
        suspicious: Suspicious = lambda credentials, address, details: None,
    ) -> None:
        self._organizations = organizations
        self._suspicious = suspicious
        self._revoked = revoked
        self._on_failure = on_failure
        self._listed: frozenset[tuple[bytes, int]] = frozenset()
        self._lines = Throttle(_FAILURES_LOGGED_BURST, _FAILURES_LOGGED_PER_S)
        self.context = _Newest(ssl.PROTOCOL_TLS_SERVER)
        """For the listener."""
        self.material = material
        self.load(material)

    def load(self, material: TlsMaterial) -> None:
        """New handshakes use this; connections that stand are left alone. Reads and writes files: call it in a thread.

        Raises:
            InvalidInputError: the material does not fit together; the old one stays.
        """
        listed = _listed(material)
        context = make_context(material)
        context.sslobject_class = self._watched()
        self._listed = listed
        self.context.newest = context
        self.material = material

    def check(self, credentials: StationCredentials, peer: ssl.SSLObject, address: str = "") -> bool:
        """Whether the peer's certificate is this station's and holds; a line in the log says why not."""
        shown = peer.getpeercert(binary_form=True)
        certificate = None if shown is None else x509.load_der_x509_certificate(shown)
        reason = "none was shown" if certificate is None else self._fault(credentials, certificate)
        if reason is None:
            return True
        # A00.FR.408, FR.323 of 1.6: there is a security event of every refused certificate.
        subject = None if certificate is None else certificate.subject.rfc4514_string()[:200]
        serial_number = None if certificate is None else f"{certificate.serial_number:x}"
        _log.warning(
            "invalid_charging_station_certificate",
            station=credentials.station_id,
            reason=reason,
            subject=subject,
            serial_number=serial_number,
        )
        told = {"reason": reason, "subject": subject, "serial_number": serial_number}
        self._suspicious(credentials, address, {name: value for name, value in told.items() if value is not None})
        return False

    def _fault(self, credentials: StationCredentials, certificate: x509.Certificate) -> str | None:
        now = datetime.now(UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return "it has expired or is not valid yet"
        # A00.FR.405: the common name is the station's serial number, which most use as their identity.
        wanted = credentials.certificate_name or credentials.station_id
        if wanted not in _values(certificate, NameOID.COMMON_NAME):
            return f"its common name is not {wanted}"
        # A certificate of the house names the station it was made for: ids are unique within a tenant only.
        made_for = _made_for(certificate)
        if made_for is not None and made_for != f"{STATION_URI}{credentials.key}":
            return "it was made for another station"
        # Where one certificate was named by its serial number, no other one will do.
        only = credentials.certificate_serial_number
        if only is not None and int(only, 16) != certificate.serial_number:
            return "it is not the one with the serial number that the station is registered with"
        # A00.FR.404: the organisation is the operator's, or one it trusts.
        if self._organizations and self._organizations.isdisjoint(_values(certificate, NameOID.ORGANIZATION_NAME)):
            return "its organisation is not one of those that are trusted"
        issuer = certificate.issuer.public_bytes()
        if (issuer, certificate.serial_number) in self._listed or self._revoked(issuer, certificate.serial_number):
            return "it was revoked"
        return None

    def _failed(self, error: ssl.SSLError) -> None:
        self._on_failure()
        if self._lines.take("tls", time.monotonic()):
            reason = getattr(error, "verify_message", None) or error.reason or str(error)
            _log.warning("tls_handshake_failed", reason=reason)
            if getattr(error, "verify_message", None):
                self._suspicious(None, "", {"reason": str(reason)[:200]})

    def _watched(self) -> type[ssl.SSLObject]:
        """asyncio tells nobody that a TLS handshake failed; this tells us."""
        failed = self._failed

        class Watched(ssl.SSLObject):
            def do_handshake(self) -> None:
                try:
                    super().do_handshake()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    raise
                except ssl.SSLError as error:
                    failed(error)
                    raise

        return Watched


def make_context(material: TlsMaterial) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with session resumption, without compression and renegotiation (OCPP 2.0.1 A00.FR.313, FR.321).

    Raises:
        InvalidInputError: something in the material does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_CIPHERS)
    context.num_tickets = 1  # a station resumes one session, not several
    if not material.certificates:
        raise InvalidInputError("A TLS door needs a certificate.")
    for certificate in material.certificates:
        _show(context, certificate)
    if material.client_authorities:
        try:
            context.load_verify_locations(cadata=material.client_authorities.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"The authorities of station certificates cannot be read: {error}.") from error
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _show(context: ssl.SSLContext, certificate: ServerCertificate) -> None:
    # OpenSSL reads keys from files only. The key goes through one that is encrypted with a password nobody keeps.
    try:
        first = x509.load_pem_x509_certificates(certificate.chain)[0]
        key = serialization.load_pem_private_key(certificate.key, password=None)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"The server's certificate or its key cannot be read: {error}.") from error
    password = secrets.token_hex(16)
    sealed = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    fd, name = tempfile.mkstemp(prefix="chargeplane-tls-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(sealed + b"\n" + certificate.chain)
        context.load_cert_chain(name, password=password)
    except ssl.SSLError as error:
        raise InvalidInputError(
            f"The server's certificate {first.subject.rfc4514_string()} and its key do not fit: {error.reason or error}."
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
    left = first.not_valid_after_utc - datetime.now(UTC)
    if left.days < 14:
        _log.warning(
            "server_certificate_expires",
            subject=first.subject.rfc4514_string(),
            at=first.not_valid_after_utc.isoformat(),
        )


def _listed(material: TlsMaterial) -> frozenset[tuple[bytes, int]]:
    """(issuer, serial number) of everything on the revocation lists."""
    if not material.revocation_lists:
        return frozenset()
    try:
        authorities = x509.load_pem_x509_certificates(material.client_authorities)
        lists = [
            x509.load_pem_x509_crl(b"-----BEGIN X509 CRL" + part)
            for part in material.revocation_lists.split(b"-----BEGIN X509 CRL")[1:]
        ]
    except ValueError as error:
        raise InvalidInputError(f"The revocation lists or their authorities cannot be read: {error}.") from error
    found: set[tuple[bytes, int]] = set()
    for one in lists:
        named = one.issuer.rfc4514_string()
        if not any(
            one.issuer == authority.subject and one.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
            for authority in authorities
        ):
            raise InvalidInputError(f"The revocation list of {named} is signed by none of the trusted authorities.")
        if one.next_update_utc is not None and one.next_update_utc < datetime.now(UTC):
            _log.warning("revocation_list_is_old", issuer=named, next_update=one.next_update_utc.isoformat())
        issuer = one.issuer.public_bytes()
        found.update((issuer, entry.serial_number) for entry in one)
    return frozenset(found)


def _made_for(certificate: x509.Certificate) -> str | None:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return next((uri for uri in uris if uri.startswith(STATION_URI)), None)


def _values(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]
