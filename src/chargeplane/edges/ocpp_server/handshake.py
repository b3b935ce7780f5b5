"""The opening request of a charging station: who it is, whether it may come in, and what we speak.

Pure functions over the request; `Door.judge` puts them in order. The order matters: identity (404), credentials (401),
security profile (403), subprotocol (101 without the header, then close), extensions. Nothing about a station is told
to someone who did not prove to be it, beyond what OCPP-J asks for (the 404).
"""

from __future__ import annotations

import binascii
import enum
from base64 import b64decode
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct
from multidict import CIMultiDict

from chargeplane.app.ports import Proof, StationCredentials, StationGateway
from chargeplane.domain.quirks import Known, Limit
from chargeplane.domain.security_events import ServerEvent
from chargeplane.edges.ocpp_server.admission import Throttle
from chargeplane.edges.ocpp_server.deflate import negotiate

_MAX_ID: Final = 255
"""OCPP 2.0.1 part 4, 3.1.1 allows 48 characters; the database keeps 255."""

_WEBSOCKET_VERSIONS: Final = ("13", "8", "7")
"""RFC 6455 and the two drafts with the same framing."""

PLAIN_TEXT: Final = (
    "This is the OCPP door of a charging station management system. Charging stations connect here with a WebSocket"
    " to /ocpp/{station_id} (or /ocpp/{tenant}/{station_id}), subprotocols ocpp2.1, ocpp2.0.1 and ocpp1.6.\n"
)


class Verdict(enum.Enum):
    """How a handshake ended; the value is the word in metrics and logs."""

    ACCEPTED = "accepted"
    NO_SUBPROTOCOL = "no_common_subprotocol"
    NOT_FOUND = "no_such_path"
    NOT_WEBSOCKET = "not_a_websocket"
    MALFORMED = "malformed"
    UNSUPPORTED_WEBSOCKET = "unsupported_websocket_version"
    UNKNOWN_STATION = "unknown_station"
    NO_CREDENTIALS = "no_credentials"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105
    WRONG_CERTIFICATE = "wrong_certificate"
    WRONG_PROFILE = "wrong_security_profile"
    THROTTLED = "throttled"
    FULL = "full"
    STOPPING = "stopping"
    FAILED = "failed"
    SILENT = "silent"
    TLS_FAILED = "tls_failed"


class Judgement(Struct, frozen=True):
    """What to answer to an opening request.

    Args:
        status: HTTP status; 101 lets the station in (or lets it in to be closed, without a subprotocol).
        proof: how the station proved to be itself.
        version: OCPP version agreed on.
        deflated: permessage-deflate was agreed on.
        headers: extra response headers.
        text: body of a refusal.
        forgiven: quirks of the station that it needed.
    """

    verdict: Verdict
    status: int
    credentials: StationCredentials | None = None
    version: str | None = None
    deflated: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    proof: Proof = Proof(0)
    forgiven: tuple[str, ...] = ()


def refusal(verdict: Verdict, status: int, text: str, *headers: tuple[str, str]) -> Judgement:
    """A judgement that closes the door with a sentence."""
    return Judgement(verdict, status, headers=headers, text=text)


def path_segments(target: bytes) -> list[str] | None:
    """The segments of a request target below `/ocpp/`, percent-decoded.

    Empty segments are skipped, so doubled and trailing slashes are forgiven; `%2F` stays a slash inside its segment.

    Args:
        target: as in the request line; the absolute form (RFC 9112, 3.2.2) is understood, a query is dropped.
    Returns:
        The segments, or None where the path is not below `/ocpp/`.
    Raises:
        ValueError: a segment is no UTF-8, has control characters or is too long.
    """
    path = target.split(b"?", 1)[0].split(b"#", 1)[0]
    if not path.startswith(b"/"):
        _, scheme, rest = path.partition(b"://")
        path = b"/" + rest.partition(b"/")[2] if scheme else path
    first, *segments = [part for part in path.split(b"/") if part] or [b""]
    if first.lower() != b"ocpp":
        return None
    return [_decoded(segment) for segment in segments]


def _decoded(segment: bytes) -> str:
    text = unquote_to_bytes(segment).decode()
    if len(text) > _MAX_ID or not text.isprintable():
        raise ValueError("unprintable or too long")
    return text


def tokens(header: str) -> list[str]:
    """The elements of a comma-separated header, without empty ones."""
    return [token for part in header.split(",") if (token := part.strip())]


def choose_subprotocol(offered: list[str], versions: tuple[str, ...]) -> tuple[str, str] | None:
    """The first of our versions that the station offers.

    Args:
        offered: subprotocol names as sent; compared without case.
        versions: in our order of preference.
    Returns:
        (version, the name as the station wrote it), or None.
    """
    names = {name.lower(): name for name in offered}
    for version in versions:
        name = names.get(f"ocpp{version}")
        if name is not None:
            return version, name
    return None


def basic_password(authorization: str, station_ids: tuple[str, ...]) -> bytes | None:
    """The password of an `Authorization: Basic` header that names this station.

    Args:
        authorization: the header, undecodable bytes as surrogates.
        station_ids: the spellings that may stand as user name; compared without case (OCPP 2.0.1 A00.FR.204).
    Returns:
        The bytes behind the user name's colon (they may hold colons and any byte); None where the scheme or the user
        name is another.
    Raises:
        ValueError: the header is no base64 or has no colon.
    """
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    encoded = encoded.strip()
    try:
        raw = b64decode(encoded.encode("ascii") + b"=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("no base64") from None
    if b":" not in raw:
        raise ValueError("no colon")
    for station_id in station_ids:
        # An id with a colon in it is ambiguous for RFC 7617; we know the id, so it is not for us.
        name = station_id.encode()
        if raw[len(name) : len(name) + 1] != b":":
            continue
        given = raw[: len(name)]
        if given == name or given.decode("utf-8", "replace").casefold() == station_id.casefold():
            return raw[len(name) + 1 :]
    return None


class Upgrade(enum.Enum):
    """Whether a request asks for a WebSocket."""

    VALID = "as RFC 6455, 4.2.1 has it"
    LOOSE = "the Connection header does not say so"
    NONE = "something else is wanted"


def read_upgrade(headers: CIMultiDict[str]) -> Upgrade:
    """Whether the request wants a WebSocket, with the headers brought to the one form picows takes.

    `Connection: keep-alive, Upgrade` and any case of the words are valid. A missing Connection header, or one that says keep-alive
    alone, is not, but stations send them: it is forgiven to those that are known for it.
    """
    if "websocket" not in (token.lower() for token in tokens(",".join(headers.getall("Upgrade", [])))):
        return Upgrade.NONE
    connection = [token.lower() for token in tokens(",".join(headers.getall("Connection", [])))]
    if connection and "upgrade" not in connection and connection != ["keep-alive"]:
        return Upgrade.NONE
    headers["Upgrade"] = "websocket"
    headers["Connection"] = "upgrade"
    return Upgrade.VALID if "upgrade" in connection else Upgrade.LOOSE


def valid_key(key: str) -> bool:
    """Whether a `Sec-WebSocket-Key` is 16 bytes in base64 (RFC 6455, 4.2.1)."""
    try:
        return len(b64decode(key.encode("ascii"), validate=True)) == 16
    except (binascii.Error, UnicodeEncodeError):
        return False


def network(address: str) -> str:
    """What failed attempts are counted against: an IPv4 address, or the /64 that one IPv6 customer has."""
    if ":" not in address:
        return address
    try:
        return IPv6Address(address.partition("%")[0]).packed[:8].hex()
    except AddressValueError:
        return address


class Opening(Struct, frozen=True):
    """An opening request and where it came from.

    Args:
        target: of the request line.
        headers: undecodable bytes as surrogates; brought into the form picows takes.
        address: of the peer.
        now: seconds of a monotonic clock.
        tls: whether it came in by a TLS listener.
        certified: whether the peer's certificate is the station's; None where nothing checks that.
        shows_certificate: whether the peer has shown one.
    """

    target: bytes
    headers: CIMultiDict[str]
    address: str
    now: float
    tls: bool = False
    certified: Callable[[StationCredentials], bool] | None = None
    shows_certificate: bool = False


class Door:
    """Judges opening requests.

    Args:
        gateway: knows the stations.
        versions: OCPP versions in our order of preference.
        assumed_version: for stations that offer no subprotocol and have none of their own; None closes them.
        compression: whether permessage-deflate is negotiated.
        attempts: failed handshakes per address.
        passwords: wrong passwords per address and station.
    """

    __slots__ = ("_assumed_version", "_attempts", "_compression", "_gateway", "_passwords", "_versions")

    def __init__(
        self,
        gateway: StationGateway,
        *,
        versions: tuple[str, ...],
        assumed_version: str | None,
        compression: bool,
        attempts: Throttle,
        passwords: Throttle,
    ) -> None:
        self._gateway = gateway
        self._versions = versions
        self._assumed_version = assumed_version
        self._compression = compression
        self._attempts = attempts
        self._passwords = passwords

    def judge(self, opening: Opening) -> Judgement:
        """What to answer. Failed attempts count against the address; successful ones are never refused for it."""
        headers = opening.headers
        try:
            segments = path_segments(opening.target)
        except ValueError:
            return self._failed(
                opening, refusal(Verdict.MALFORMED, 400, "The path holds no charging station identity.\n")
            )
        if not segments:
            return self._failed(opening, refusal(Verdict.NOT_FOUND, 404, PLAIN_TEXT))
        upgrade = read_upgrade(headers)
        if upgrade is Upgrade.NONE:
            return _not_websocket()
        if headers.get("Sec-WebSocket-Version") not in _WEBSOCKET_VERSIONS:
            # RFC 6455, 4.2.2: a version we do not speak is answered with those we do.
            text = "WebSocket version 13 is spoken here.\n"
            return refusal(Verdict.UNSUPPORTED_WEBSOCKET, 426, text, ("Sec-WebSocket-Version", "13"))
        if not valid_key(headers.get("Sec-WebSocket-Key", "")):
            text = "Sec-WebSocket-Key is not 16 bytes in base64.\n"
            return self._failed(opening, refusal(Verdict.MALFORMED, 400, text))

        credentials = self._find(segments)
        if credentials is None:
            # OCPP-J 1.6, 4.1.3 and OCPP 2.0.1 part 4, 3.2: an identity we do not know gets a 404.
            judgement = self._failed(
                opening,
                refusal(Verdict.UNKNOWN_STATION, 404, "No charging station is registered under this identity.\n"),
            )
            if judgement.verdict is Verdict.UNKNOWN_STATION:
                tenant_slug = segments[0] if len(segments) > 1 else None
                self._gateway.unknown_station(tenant_slug, "/".join(segments[1:] or segments), opening.address)
            return judgement

        known = self._gateway.known(credentials)
        loose = known.limits.get(Limit.LOOSE_UPGRADE)
        if upgrade is Upgrade.LOOSE and loose is None:
            return self._failed(opening, _not_websocket())
        proof = self._authenticate(opening, credentials, segments[-1])
        if not isinstance(proof, Proof):
            return proof
        forgiven = () if loose is None or upgrade is Upgrade.VALID else (loose,)
        return self._admit(headers, credentials, proof, known, forgiven)

    def _find(self, segments: list[str]) -> StationCredentials | None:
        # The first of several segments is a tenant only if one has that slug; else the slashes belong to the id.
        if len(segments) > 1:
            credentials = self._gateway.find(segments[0], "/".join(segments[1:]))
            if credentials is not None:
                return credentials
        return self._gateway.find(None, "/".join(segments))

    def _authenticate(self, opening: Opening, credentials: StationCredentials, written: str) -> Judgement | Proof:
        """How a station proved to be the one it says it is, or its refusal.

        While its password or profile is being changed both the old and the new one are good (`credentials.is_changing`).
        """
        profile, other = credentials.security_profile, credentials.next_profile
        possible = {one for one in (profile, other) if one is not None and opening.tls == (one >= 2)}
        # OCPP 2.0.1 A00.FR.002: another profile than ours ends the connection. A 401 would invite a station to send
        # its TLS password in the clear, so it is a 403.
        if not possible:
            self._gateway.suspicious(
                ServerEvent.WRONG_SECURITY_PROFILE,
                credentials,
                opening.address,
                {"tls": "yes" if opening.tls else "no"},
            )
            text = "This charging station's security profile needs {} TLS.\n".format("no" if opening.tls else "")
            return self._failed(opening, refusal(Verdict.WRONG_PROFILE, 403, text.replace("  ", " ")))
        authorization = opening.headers.get("Authorization")
        if 3 in possible:
            alone = len(possible) == 1
            # Between 2 and 3 a certificate may be shown by a station that still lives by its password.
            if alone or (opening.shows_certificate and (authorization is None or credentials.next_agreed)):
                if opening.certified is not None and opening.certified(credentials):
                    return Proof(3)
                if alone or authorization is None:
                    text = "The client certificate is not this charging station's.\n"
                    return self._failed(opening, refusal(Verdict.WRONG_CERTIFICATE, 403, text))
            possible.discard(3)
        with_password = max(possible)
        if with_password == 0 or (0 in possible and authorization is None):
            return Proof(0)
        return self._by_password(opening, credentials, written, with_password)

    def _by_password(
        self, opening: Opening, credentials: StationCredentials, written: str, profile: int
    ) -> Judgement | Proof:
        authorization = opening.headers.get("Authorization")
        if authorization is None:
            return self._failed(opening, _unauthorized(Verdict.NO_CREDENTIALS))
        guessed = (network(opening.address), credentials.key)
        if not self._passwords.left(guessed, opening.now):
            return _throttled()
        try:
            password = basic_password(authorization, (credentials.station_id, written))
        except ValueError:
            text = "The Authorization header is no valid Basic authentication.\n"
            return self._failed(opening, refusal(Verdict.MALFORMED, 400, text))
        if password is not None:
            if self._gateway.verify_password(credentials, password):
                return Proof(profile)
            if credentials.next_password_hash is not None and self._gateway.verify_next_password(credentials, password):
                return Proof(profile, next_password=True)
        self._passwords.take(guessed, opening.now)
        self._gateway.suspicious(ServerEvent.FAILED_PASSWORD, credentials, opening.address, {})
        return self._failed(opening, _unauthorized(Verdict.WRONG_PASSWORD))

    def _admit(
        self,
        headers: CIMultiDict[str],
        credentials: StationCredentials,
        proof: Proof,
        known: Known,
        forgiven: tuple[str, ...],
    ) -> Judgement:
        offered = tokens(",".join(headers.getall("Sec-WebSocket-Protocol", [])))
        chosen = choose_subprotocol(offered, self._versions)
        answer: list[tuple[str, str]] = []
        if chosen is not None:
            version = chosen[0]
            answer.append(("Sec-WebSocket-Protocol", chosen[1]))
        elif not offered and (assumed := credentials.assumed_version or self._assumed_version) in self._versions:
            version = assumed
        elif not offered and known.assumed_version is not None and known.assumed_version[0] in self._versions:
            version = known.assumed_version[0]
            forgiven = (*forgiven, known.assumed_version[1])
        else:
            # OCPP 2.0.1 part 4, 3.2: finish the handshake without a subprotocol, then close at once.
            return Judgement(Verdict.NO_SUBPROTOCOL, 101, credentials)
        extensions = ",".join(headers.getall("Sec-WebSocket-Extensions", [])) if self._compression else ""
        deflated = negotiate(extensions) if extensions else None
        if deflated is not None:
            answer.append(("Sec-WebSocket-Extensions", deflated))
        return Judgement(
            Verdict.ACCEPTED,
            101,
            credentials,
            version,
            deflated is not None,
            tuple(answer),
            proof=proof,
            forgiven=forgiven,
        )

    def _failed(self, opening: Opening, judgement: Judgement) -> Judgement:
        return judgement if self._attempts.take(network(opening.address), opening.now) else _throttled()


def _unauthorized(verdict: Verdict) -> Judgement:
    # RFC 9110, 11.6.1: a 401 names the scheme.
    challenge = ("WWW-Authenticate", 'Basic realm="OCPP", charset="UTF-8"')
    return refusal(verdict, 401, "User name or password is wrong.\n", challenge)


def _not_websocket() -> Judgement:
    # RFC 9110, 15.5.22: a 426 names the protocol to upgrade to.
    return refusal(Verdict.NOT_WEBSOCKET, 426, PLAIN_TEXT, ("Upgrade", "websocket"))


def _throttled() -> Judgement:
    return refusal(Verdict.THROTTLED, 429, "Too many failed attempts from this address.\n", ("Retry-After", "30"))
