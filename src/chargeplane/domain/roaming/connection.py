"""A connection between this installation and a partner's platform: its states, parties and peculiarities.

A connection is one credentials relation (OCPI 2.3.0 credentials): one token in each direction, one version, any number of parties on
either side. Its states:

    invited      we gave a token out; the partner registers with it
    registering  we were given a token and are registering with it, or did and don't know whether it went well
    registered   both sides hold the other's token
    suspended    by the operator: nothing is sent, and what comes is refused
    ended        unregistered by either side; kept for its log
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

from msgspec import Meta, Struct

from chargeplane.kernel.ids import TenantId


class ConnectionState(enum.StrEnum):
    """Where a connection stands."""

    INVITED = "invited"
    REGISTERING = "registering"
    REGISTERED = "registered"
    SUSPENDED = "suspended"
    ENDED = "ended"


class PartyRole(enum.StrEnum):
    """What a party does (OCPI 2.3.0 types, Role)."""

    CPO = "CPO"
    EMSP = "EMSP"
    HUB = "HUB"
    NAP = "NAP"
    NSP = "NSP"
    OTHER = "OTHER"
    SCSP = "SCSP"
    PTP = "PTP"


ALL_ROLES: Final = tuple(PartyRole)


class PartyId(Struct, frozen=True, order=True):
    """A party, as it writes itself; compared by `key`.

    Args:
        country_code: ISO 3166-1 alpha-2.
        party_id: three characters (ISO 15118).
    """

    country_code: str
    party_id: str

    @property
    def key(self) -> str:
        """By which parties are compared: without case (OCPI 2.3.0 types, CiString)."""
        return f"{self.country_code}{self.party_id}".upper()

    def __str__(self) -> str:
        return f"{self.country_code}*{self.party_id}"


class BusinessDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom a party is to people.

    Args:
        website: URL.
        logo_url: of a picture.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    website: Annotated[str, Meta(max_length=255)] | None = None
    logo_url: Annotated[str, Meta(max_length=255)] | None = None


class PartnerParty(Struct, frozen=True, kw_only=True):
    """A party on the other side of a connection, in one role.

    Args:
        role: as it says; roles that are not known are OTHER.
    """

    id: PartyId
    role: PartyRole
    business_details: BusinessDetails


class OwnParty(Struct, frozen=True, kw_only=True):
    """A party of ours, in one or more roles."""

    key: int
    id: PartyId
    roles: tuple[PartyRole, ...]
    business_details: BusinessDetails


class ModuleUrl(Struct, frozen=True):
    """Where a partner has a module.

    Args:
        interface: SENDER or RECEIVER; of 2.1.1, which does not say it, by the partner's role.
    """

    module: str
    interface: str
    url: str


class TokenForm(enum.StrEnum):
    """How our token stands in the Authorization header."""

    BASE64 = "base64"
    RAW = "raw"


_RESERVED: Final = frozenset(
    {"authorization", "connection", "content-length", "content-type", "expect", "host", "transfer-encoding", "upgrade"}
)


class Quirks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In what a partner differs from the specification, or wishes us to.

    Args:
        token_form: how it wants its token written; None: as found out by trial, else as its version asks.
        pull: modules that are pulled regularly, because it does not push them.
        pull_every_s: how often.
        no_push: modules that it does not want pushed.
        push_all: it reads no lists: once it is registered it is pushed all that it may see.
        no_patch: it understands no PATCH: whole objects are PUT instead.
        no_date_filters: it takes no date_from and date_to in lists: everything is read each time.
        page_limit: documents asked for in one page.
        trailing_slash: it wants URLs of lists to end with a slash.
        timeout_s: how long it may take to answer; None: as the installation has it.
        headers: further headers that it wants.
        upper_case_parties: it wants country codes and party ids in URLs in capitals.
        no_routing_headers: it refuses requests that have them.
        cdr_end_date_time: of 2.1.1: it reads the end of a CDR by the name of later versions; it is sent by both.
    """

    token_form: TokenForm | None = None
    pull: Annotated[tuple[Annotated[str, Meta(max_length=40)], ...], Meta(max_length=20)] = ()
    pull_every_s: Annotated[int, Meta(ge=10, le=604_800)] = 3600
    no_push: Annotated[tuple[Annotated[str, Meta(max_length=40)], ...], Meta(max_length=20)] = ()
    push_all: bool = False
    no_patch: bool = False
    no_date_filters: bool = False
    page_limit: Annotated[int, Meta(ge=1, le=10_000)] = 500
    trailing_slash: bool = False
    timeout_s: Annotated[float, Meta(ge=0.1, le=120)] | None = None
    headers: Annotated[
        dict[
            Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,100}$")],
            Annotated[str, Meta(max_length=500, pattern=r"^[\x20-\x7e]*$")],
        ],
        Meta(max_length=20),
    ] = {}
    upper_case_parties: bool = False
    no_routing_headers: bool = False
    cdr_end_date_time: bool = False

    def __post_init__(self) -> None:
        """Refuses headers that a request has by itself: another one would take the token's place, or cut the request in two."""
        for name in self.headers:
            if name.lower() in _RESERVED:
                raise ValueError(f"Header '{name}' belongs to the request itself")


class Peer(Struct, frozen=True, kw_only=True):
    """A connection, as whoever sends or answers needs it. Made from the database, kept in memory for a second.

    Args:
        id: of the connection.
        name: what the operator calls it.
        version: `2.1.1`, `2.2.1` or `2.3.0`; None before registration.
        modules: where the partner has what.
        parties: on the other side.
        own: ours that this partner sees.
        own_role: of 2.1.1, whose connections have one role of ours: CPO or EMSP.
        is_hub: the partner is a hub: parties behind it are reached through it.
        hub_party: the hub's own party, where the partner is one.
        token_form: as found out.
    """

    id: int
    tenant_id: TenantId
    name: str
    state: ConnectionState
    version: str | None
    versions_url: str | None
    modules: tuple[ModuleUrl, ...] = ()
    parties: tuple[PartnerParty, ...] = ()
    own: tuple[OwnParty, ...] = ()
    own_role: PartyRole | None = None
    is_hub: bool = False
    hub_party: PartyId | None = None
    quirks: Quirks = Quirks()
    token_form: TokenForm | None = None

    @property
    def usable(self) -> bool:
        """Whether anything may be sent."""
        return self.state is ConnectionState.REGISTERED

    def url_of(self, module: str, interface: str) -> str | None:
        """Where the partner has a module's interface."""
        for one in self.modules:
            if one.module == module and one.interface in (interface, "BOTH"):
                return one.url
        return None

    def has_party(self, party: PartyId, role: PartyRole | None = None) -> bool:
        """Whether a party is on the other side."""
        return any(one.id.key == party.key and role in (None, one.role) for one in self.parties)

    def own_party(self, *roles: PartyRole) -> OwnParty | None:
        """The first party of ours in one of the roles; in any where none is named."""
        for one in self.own:
            if not roles or any(role in one.roles for role in roles):
                return one
        return None


class PeerCredentials(Struct, frozen=True, kw_only=True):
    """What a platform gives another to be called with, of any version.

    Args:
        token: what the other is to come with.
        versions_url: of the platform.
        parties: of the platform; without a role where the version names none.
        hub_party: of a hub.
    """

    token: str
    versions_url: str
    parties: tuple[PartnerParty, ...]
    hub_party: PartyId | None = None
