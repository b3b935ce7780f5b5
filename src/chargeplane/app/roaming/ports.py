"""What roaming needs of the edges, and what travels between them and the use cases.

Documents are JSON bytes in the canonical version (OCPI 2.3.0); rows are numbers of the table of endpoints, which only the edges read.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from chargeplane.domain.roaming.connection import ModuleUrl, PartyId, PartyRole, Peer, PeerCredentials, TokenForm
from chargeplane.kernel.errors import PeerError


class Route(Struct, frozen=True, kw_only=True):
    """Between which parties a request goes; None where that is left open."""

    from_party: PartyId | None = None
    to_party: PartyId | None = None


class Failure(enum.StrEnum):
    """Why there is no good answer."""

    NOT_REGISTERED = "not_registered"
    """Nothing may be sent now."""
    NO_ENDPOINT = "no_endpoint"
    """The partner, or its version, does not have this."""
    PAUSED = "paused"
    """It failed so often that it is left alone for a while."""
    UNREACHABLE = "unreachable"
    FORBIDDEN_ADDRESS = "forbidden_address"
    """The address is within our own networks."""
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    REDIRECT = "redirect"
    UNAUTHORIZED = "unauthorized"
    HTTP_ERROR = "http_error"
    """4xx without an envelope, or 5xx."""
    NOT_UNDERSTOOD = "not_understood"
    """No JSON, no envelope, or not the object it should be."""
    REFUSED = "refused"
    """An OCPI status outside of 1xxx."""
    NOT_SENDABLE = "not_sendable"
    """Our document cannot be brought to the partner's version."""

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later."""
        return self in _PASSING

    @property
    def unknown(self) -> bool:
        """Whether the partner may have done it all the same."""
        return self in (
            Failure.TIMEOUT,
            Failure.UNREACHABLE,
            Failure.TOO_LARGE,
            Failure.HTTP_ERROR,
            Failure.NOT_UNDERSTOOD,
        )


_PASSING = frozenset(
    {
        Failure.NOT_REGISTERED,
        Failure.PAUSED,
        Failure.UNREACHABLE,
        Failure.TIMEOUT,
        Failure.HTTP_ERROR,
        Failure.UNAUTHORIZED,
    }
)


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a request.

    Args:
        failure: None where it went well (HTTP 2xx and an OCPI status of 1xxx).
        sentence: what went wrong, for people.
        http_status: None where there was no answer.
        status_code: OCPI's; None without an envelope.
        message: of the envelope.
        data: the answer's document, canonical; None where there is none.
        location: the Location header.
        losses: what the conversion between versions could not carry, as sentences.
    """

    failure: Failure | None = None
    sentence: str | None = None
    http_status: int | None = None
    status_code: int | None = None
    message: str | None = None
    data: bytes | None = None
    location: str | None = None
    latency_ms: float = 0.0
    request_id: str = ""
    correlation_id: str = ""
    losses: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return self.failure is None


class PulledPage(Struct, frozen=True, kw_only=True):
    """A page of a partner's list.

    Args:
        documents: canonical; those that could not be understood are left out.
        refused: of those, a sentence each.
        total: X-Total-Count, where it was told.
    """

    documents: tuple[bytes, ...]
    refused: tuple[str, ...] = ()
    total: int | None = None


class Caller(Protocol):
    """Asks partners. Implemented by edges/ocpi_client."""

    async def call(
        self,
        peer: Peer,
        row: int,
        path: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        route: Route | None = None,
        correlation_id: str | None = None,
        url: str | None = None,
        kind: str | None = None,
        timeout_s: float | None = None,
        routed: bool = False,
    ) -> Outcome:
        """Sends one request and reads the answer; never raises for what the partner does.

        Args:
            row: of the table of endpoints.
            path: values of the path's variables.
            body: canonical.
            url: instead of the module's: a response_url, or where a CDR was said to be.
            kind: of the body, where the row has several (results of charging profiles).
            correlation_id: None makes one.
            routed: it passes through our hub.
        """
        ...

    def pages(
        self,
        peer: Peer,
        row: int,
        *,
        date_from: datetime | None = None,
        date_to: datetime | None = None,
        query: Mapping[str, str] | None = None,
        route: Route | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[PulledPage]:
        """A partner's whole list, page after page, each page once.

        Raises:
            PulledError: it could not be read to the end; the outcome says why.
        """
        ...


class HandshakeTrouble(enum.StrEnum):
    """What went wrong in a handshake."""

    UNREACHABLE = "unreachable"
    """The partner could not be asked, or its answer not be understood (3001)."""
    VERSION = "version"
    """There is no version that both have (3002)."""
    MODULES = "modules"
    """There are no modules that fit (3003)."""
    REFUSED = "refused"
    """The partner refused our credentials."""
    FORM = "form"
    """What it sent cannot be credentials (2001)."""


class HandshakeError(PeerError):
    """A handshake that did not succeed.

    Args:
        http_status, status_code: of the partner's answer, where there was one.
        unknown: the partner may have taken what we sent all the same.
    """

    def __init__(
        self,
        trouble: HandshakeTrouble,
        sentence: str,
        *,
        http_status: int | None = None,
        status_code: int | None = None,
        unknown: bool = False,
    ) -> None:
        super().__init__(sentence)
        self.trouble = trouble
        self.http_status = http_status
        self.status_code = status_code
        self.unknown = unknown


class Handshaking(Protocol):
    """Asks a platform about itself. Implemented by edges/ocpi_client."""

    async def versions(self, url: str, token: str, form: TokenForm | None) -> tuple[dict[str, str], TokenForm]:
        """Versions with the URLs of their details, and the form of the token that was taken.

        Args:
            form: None finds it out by trial.
        Raises:
            HandshakeError: it could not be asked.
        """
        ...

    async def details(
        self, url: str, token: str, form: TokenForm, version: str, partner_role: PartyRole | None
    ) -> tuple[tuple[ModuleUrl, ...], TokenForm]:
        """Where a version's modules are, and in which form the token was taken there.

        Args:
            partner_role: by which the interfaces of 2.1.1 are known.
        Raises:
            HandshakeError: it could not be asked.
        """
        ...

    async def send_credentials(
        self, method: str, url: str, token: str, form: TokenForm, version: str, given: PeerCredentials | None
    ) -> PeerCredentials | None:
        """POST, PUT, GET or DELETE of credentials; what the partner answers with.

        Raises:
            HandshakeError: it did not succeed.
        """
        ...
