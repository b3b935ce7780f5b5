"""What a handler gets, and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec import Struct

from chargeplane.app.roaming.ports import Route
from chargeplane.domain.roaming.connection import PartyId, Peer
from chargeplane.ocpi.documents import Document
from chargeplane.ocpi.paging import PageAsk
from chargeplane.ocpi.status import Status
from chargeplane.ocpi.table import Endpoint
from chargeplane.ocpi.versions import Version


@dataclass(slots=True, frozen=True, kw_only=True)
class Call:
    """A request that was authenticated, routed to us and understood.

    Args:
        peer: the connection it came by.
        row: of the table.
        version: of the URL.
        path: values of the path's variables, decoded.
        query: of the URL, the last of each name.
        page: what part of a list is asked for; of lists alone.
        document: the body in the canonical version; None where the row has none, or it was left out where it may be.
        route: between which parties it goes; what the headers left open is None.
        base_url: of our door: `https://host/ocpi`.
        token_used: the credentials token it came with; for the handshake alone.
        invited: that token is an invitation.
        wire: the body as it came; for modules whose shape is the version's own.
    """

    peer: Peer
    row: Endpoint
    version: Version
    path: Mapping[str, str]
    query: Mapping[str, str]
    request_id: str
    correlation_id: str
    page: PageAsk | None = None
    document: Document | None = None
    route: Route = field(default_factory=Route)
    base_url: str = ""
    token_used: str = ""
    invited: bool = False
    wire: bytes = b""

    @property
    def body(self) -> bytes:
        """The body in canonical JSON; empty where there is none."""
        return b"" if self.document is None else self.document.encode()

    @property
    def owner(self) -> PartyId | None:
        """Whose object the path names; None where it names no owner."""
        country, party = self.path.get("country_code"), self.path.get("party_id")
        return None if country is None or party is None else PartyId(country, party)


class Page(Struct, frozen=True, kw_only=True):
    """Part of a list.

    Args:
        documents: canonical JSON, in the order of creation.
        total: that match, in all pages, and that this peer may see.
        taken: how many of them the page stands for, where some could not be shown; None: as many as it has.
    """

    documents: Sequence[bytes]
    total: int
    taken: int | None = None


class Reply(Struct, frozen=True, kw_only=True):
    """An answer.

    Args:
        document: canonical JSON; None leaves `data` out.
        page: of a list.
        status: OCPI's.
        message: for people, where something is wrong.
        created: something is new: HTTP 201.
        not_found: there is no such object: HTTP 404 (OCPI 2.3.0 status_codes).
        http_status: where none of that fits (405 of the handshake).
        location: URL of what was made.
        raw: the document is in the caller's version already (versions, credentials).
    """

    document: bytes | None = None
    page: Page | None = None
    status: int = Status.SUCCESS
    message: str | None = None
    created: bool = False
    not_found: bool = False
    http_status: int | None = None
    location: str | None = None
    raw: bool = False


OK = Reply()
"""All went well, and there is nothing to say."""


def refused(status: int, message: str) -> Reply:
    """Understood and refused: HTTP 200 with a status of its own."""
    return Reply(status=status, message=message)


def not_found(what: str, status: int = Status.CLIENT_ERROR) -> Reply:
    """There is no such object: HTTP 404 and an envelope that names it."""
    return Reply(status=status, message=f"There is no such {what}.", not_found=True)


Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]
"""Answers one row. RuleErrors become statuses of 2xxx, everything else 3000."""
