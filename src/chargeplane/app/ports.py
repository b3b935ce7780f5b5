"""The seams between the use cases and the edges: what each side may count on.

An edge (a WebSocket server) holds sockets and wire versions; the app holds stations. Both run in one event loop, and
the hot path between them is plain calls and call-backs: no task, no future per message.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from msgspec import Struct

from chargeplane.domain.certificates import SigningUse
from chargeplane.domain.commands import CallOutcome, Command, CommandOutcome
from chargeplane.domain.messages import Boot, CertificateRequest, Registration, StationAnswer, StationMessage
from chargeplane.domain.quirks import Known
from chargeplane.domain.security_events import ServerEvent
from chargeplane.kernel.ids import StationId, StationKey, TenantId

AnswerCallback = Callable[[StationAnswer], None]
"""Called once, after the commit. Never called where the socket's owner changed or the process stops before the commit."""


class Received(Struct, frozen=True):
    """A station's CALL on its way to the station's actor.

    Args:
        message: the domain form.
        message_id: OCPP-J message id.
        action: OCPP action.
        payload: the CALL's payload as JSON text, as received.
        content_hash: 16 bytes over action and payload as received (not the message id).
        received_at: when the frame came in.
    """

    message: StationMessage
    message_id: str
    action: str
    payload: bytes
    content_hash: bytes
    received_at: datetime


class CloseReason(enum.Enum):
    """Why the app asks an edge to close a socket; the edge picks the close code."""

    DISPLACED = "a newer connection of the same station"
    DELETED = "the station was deleted"
    CREDENTIALS_CHANGED = "the station's credentials changed"
    REJECTED = "the station's registration was refused"
    FENCED = "another node owns the station"
    UNSTORABLE = "a message of the station can be neither stored nor quarantined"
    COME_AGAIN = "the station is to connect again, by what it was given"
    SHUTDOWN = "the server is stopping"


class StationCredentials(Struct, frozen=True):
    """What the handshake needs of a station; in memory, kept in step with the database before REST answers.

    Args:
        security_profile: 0 no password, 1 Basic over ws, 2 TLS with Basic, 3 mutual TLS.
        password_salt, password_hash: HMAC-SHA-256 with the installation key; None for profiles 0 and 3.
        vendor, model, firmware_version: of its last boot as of when this was read; many stations reconnect without one.
        assumed_version: OCPP version of a station that offers no subprotocol in its handshake; None closes it.
        certificate_name: common name of its certificate (profile 3) where that is not the station id.
        certificate_serial_number: hexadecimal; only the certificate with this serial number is taken (profile 3).
        next_password_salt, next_password_hash: of a password it was, or is about to be, given; taken beside the other one.
        next_profile: a security profile it was, or is about to be, told to use; taken beside the other one.
        next_agreed: the station said that it takes what is next.
    """

    key: StationKey
    tenant_id: TenantId
    station_id: StationId
    security_profile: int
    registration: Registration
    password_salt: bytes | None = None
    password_hash: bytes | None = None
    password_key_id: str | None = None
    vendor: str | None = None
    model: str | None = None
    firmware_version: str | None = None
    assumed_version: str | None = None
    certificate_name: str | None = None
    certificate_serial_number: str | None = None
    next_password_salt: bytes | None = None
    next_password_hash: bytes | None = None
    next_password_key_id: str | None = None
    next_profile: int | None = None
    next_agreed: bool = False

    @property
    def is_changing(self) -> bool:
        """Whether another password or security profile is taken beside the registered one."""
        return self.next_password_hash is not None or self.next_profile is not None


class Proof(NamedTuple):
    """How a station proved to be the one it says it is.

    Args:
        profile: security profile it came in by.
        next_password: with the password that is next, not with the registered one.
    """

    profile: int
    next_password: bool = False


class StationLink(Protocol):
    """One authenticated socket, as the app sees it. Implemented by the edge."""

    @property
    def ocpp_version(self) -> str:
        """`1.6`, `2.0.1` or `2.1`."""
        ...

    @property
    def remote_address(self) -> str:
        """Peer address for the operator."""
        ...

    @property
    def proof(self) -> Proof:
        """How the station proved to be itself when the socket was opened."""
        ...

    @property
    def accepted(self) -> bool:
        """Whether the station may take part: as its last boot on this socket was answered; as registered before one."""
        ...

    async def call(self, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        """A raw CALL, sent as given, in its turn. Ends at once when the socket closes. timeout_s counts from sending.

        Raises:
            InvalidInputError: the payload does not fit the schema of this version's action.
        """
        ...

    async def command(self, command: Command, timeout_s: float) -> CommandOutcome:
        """A version-free command, translated for this socket's version."""
        ...

    def close(self, reason: CloseReason) -> None:
        """Closes the socket; nothing that is not yet committed is answered."""

    def know_again(self) -> None:
        """The rules about stations changed: picks what is known of this one anew."""


class StationActor(Protocol):
    """One station's owner on this node. Implemented by app/stations.py."""

    def receive(self, received: Received, answer: AnswerCallback) -> None:
        """Takes a message in its turn; `answer` is called after what it acknowledges is committed."""

    def repaired(self, rules: tuple[str, ...]) -> None:
        """Counts repair rules that a message needed; written with the next sweep, shown to the operator."""

    @property
    def backlog(self) -> int:
        """Messages taken and not yet answered (the edge stops reading a socket above its limit)."""
        ...


class StationGateway(Protocol):
    """What the OCPP edge needs from the app. Implemented by app/stations.py."""

    def find(self, tenant_slug: str | None, station_id: str) -> StationCredentials | None:
        """The station that may connect as `station_id` (exact, then without case); synchronous, from memory."""
        ...

    def verify_password(self, credentials: StationCredentials, password: bytes) -> bool:
        """Whether any accepted form of the password is right (the text, or a 1.6 AuthorizationKey as its hex text or
        the bytes that hex stands for); constant time."""
        ...

    def verify_next_password(self, credentials: StationCredentials, password: bytes) -> bool:
        """The same for the password that is next."""
        ...

    def suspicious(
        self, event: ServerEvent, credentials: StationCredentials | None, remote_address: str, details: dict[str, str]
    ) -> None:
        """Notes what somebody tried at the door.

        Args:
            credentials: of the station that was named; None where none was.
        """

    def known(self, credentials: StationCredentials) -> Known:
        """What is known of a station, from what it said at its last boot; synchronous, from memory."""
        ...

    def recognised(self, credentials: StationCredentials, boot: Boot) -> Known:
        """The same from a boot that has just come, which `known` goes by from then on."""
        ...

    def unknown_station(self, tenant_slug: str | None, station_id: str, remote_address: str) -> None:
        """Notes an attempt by a station that is not registered (pending for approval where the policy says so)."""

    def connected(self, credentials: StationCredentials, link: StationLink) -> StationActor:
        """A new authenticated socket: it owns the station now; an older socket is closed as displaced."""
        ...

    def disconnected(self, credentials: StationCredentials, link: StationLink) -> None:
        """The socket is gone. Changes nothing where a newer one owns the station."""


class LoggedCall(Struct, frozen=True):
    """One finished CALL in either direction, for the message log.

    Args:
        from_station: direction of the CALL.
        request, response: payloads as JSON text. request is None where `stored` (the payload is in an event row).
        outcome: callresult, callerror, timeout, disconnected, refused.
        latency_us: from receiving (sending) the CALL to sending (receiving) the answer.
    """

    station: StationKey
    at: datetime
    from_station: bool
    action: str
    message_id: str
    request: bytes | None
    response: bytes | None
    outcome: str
    error_code: str | None
    latency_us: int | None
    stored: bool = False


class Signed(Struct, frozen=True, kw_only=True):
    """A certificate that was made.

    Args:
        chain: PEM: it, then the intermediate ones.
        issuer: its issuer's name in DER.
        serial_number: hexadecimal.
    """

    chain: str
    subject: str
    issuer: bytes
    serial_number: str
    not_before: datetime
    not_after: datetime


class Trusted(Protocol):
    """Whose certificates let stations in."""

    async def trust(self) -> str:
        """PEM of the authorities that the certificates lead to; empty where none was made so far."""
        ...


class CertificateAuthority(Trusted, Protocol):
    """Signs certificates of stations. The house has one (`app/authority.py`); another one can stand in."""

    def check(self, csr: str, common_name: str) -> None:
        """Judges a request before the station gets its answer; called in a thread.

        Args:
            csr: PKCS #10 as PEM.
            common_name: what the subject must name.
        Raises:
            RuleError: no certificate will be made of it; the sentence says why.
        """

    async def sign(self, csr: str, *, common_name: str, station_key: StationKey) -> Signed:
        """A station's certificate. Any error but RuleError is tried again later.

        Raises:
            RuleError: no certificate will be made of it; the sentence says why.
        """
        ...


class V2gHierarchy(Struct, frozen=True, kw_only=True):
    """What stations' certificates for Plug & Charge lead to.

    Args:
        use: V2GCertificate for ISO 15118-2, V2G20Certificate for -20.
        roots: PEM; cars trust them, and stations are given them as V2GRootCertificate.
        intermediate: PEM of those between, the one that signs stations' first.
    """

    use: SigningUse
    roots: str
    intermediate: str


class V2gAuthority(Protocol):
    """Signs certificates by which cars know a station. A test hierarchy (`app/v2g_authority.py`), or somebody else by EST."""

    name: str

    def check(self, csr: str, use: SigningUse, common_name: str) -> None:
        """Judges a request before the station gets its answer; called in a thread.

        Args:
            common_name: the station's.
        Raises:
            RuleError: no certificate will be made of it; the sentence says why.
        """

    async def sign(self, csr: str, *, use: SigningUse, common_name: str, station_key: StationKey) -> Signed:
        """A certificate. Any error but RuleError is tried again later.

        Raises:
            RuleError: no certificate will be made of it; the sentence says why.
        """
        ...

    async def hierarchies(self) -> Sequence[V2gHierarchy]:
        """What its certificates lead to, as far as that is known.

        Raises:
            UnavailableError: it cannot be asked now.
        """
        ...


class CertificateDesk(Protocol):
    """Where the stations' actors bring requests for certificates. Implemented by app/certificates.py."""

    def consider(
        self,
        tenant_id: TenantId,
        key: StationKey,
        request: CertificateRequest,
        decided: Callable[[int | None], None],
    ) -> None:
        """Judges a request and writes it down; then calls `decided` with its number, or None where it is refused."""

    def carry_out(self, ident: int) -> None:
        """Signs an accepted request and brings the certificate to its station."""


class MessageLog(Protocol):
    """Bounded and lossy by design: a failing log never fails a message; drops are counted."""

    def add(self, entry: LoggedCall) -> None:
        """Queues an entry or counts a drop; never waits."""
