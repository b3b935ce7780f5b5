"""/v1/roaming: partners, parties of ours, exchanges, what waits to be sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Scope
from chargeplane.app.roaming.connections import PartnerChanges, PartnerWanted
from chargeplane.app.roaming.ports import Failure, HandshakeError
from chargeplane.domain.roaming.connection import BusinessDetails, ConnectionState, PartyId, PartyRole, Quirks
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.problems import ProblemError
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import NotFoundError
from chargeplane.store.queries.roaming_connections import (
    PARTNER_SORTS,
    PARTY_SORTS,
    IssuedToken,
    ModuleState,
    OwnPartyView,
    StoredConnection,
)
from chargeplane.store.queries.roaming_exchanges import EXCHANGE_SORTS, ExchangeFilter, ExchangeView
from chargeplane.store.queries.roaming_hub import RouteView
from chargeplane.store.queries.roaming_outgoing import OUTGOING_SORTS, OutgoingView
from chargeplane.store.queries.roaming_pushes import PushView

_PARTNER = "roaming partner"
_EXCHANGE = "roaming exchange"

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Country = Annotated[str, Meta(pattern="^[A-Za-z]{2}$")]
PartyText = Annotated[str, Meta(pattern="^[A-Za-z0-9]{3}$")]
Url = Annotated[str, Meta(min_length=1, max_length=255)]
TokenText = Annotated[str, Meta(min_length=1, max_length=255, pattern="^[\\x21-\\x7e]+$")]
VersionText = Annotated[str, Meta(pattern="^(2\\.1\\.1|2\\.2\\.1|2\\.3\\.0)$")]
RouteParty = Annotated[str, Meta(pattern="^([A-Za-z]{2}[A-Za-z0-9]{3}|\\*)$")]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
State = Annotated[ConnectionState | None, QueryParameter(name="state")]
Roles = Annotated[list[PartyRole], Meta(min_length=1, max_length=8)]


class OwnPartyBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a party of ours is."""

    roles: Roles
    business_details: BusinessDetails


class PartyRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A party by its country code and party id."""

    country_code: Country
    party_id: PartyText


class PartnerBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a partner before it registers.

    Args:
        own_parties: parties of ours that it sees; null: all.
        own_role: in which role we meet it, where it speaks 2.1.1: CPO or EMSP.
        is_hub: it is a hub: parties behind it are reached through it.
        quirks: in what it differs from the specification.
        valid_h: how long the invitation holds.
    """

    name: Name
    own_parties: Annotated[list[PartyRef], Meta(min_length=1, max_length=100)] | None = None
    own_role: PartyRole | None = None
    is_hub: bool = False
    quirks: Quirks | None = None
    valid_h: Annotated[int, Meta(ge=1, le=8760)] = 168


class RegisterBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A partner that gave us a token: we register with it.

    Args:
        versions_url, token: as the partner gave them.
        version: the only one to be used; null: the newest that both have.
    """

    name: Name
    versions_url: Url
    token: TokenText
    version: VersionText | None = None
    own_parties: Annotated[list[PartyRef], Meta(min_length=1, max_length=100)] | None = None
    own_role: PartyRole | None = None
    is_hub: bool = False
    quirks: Quirks | None = None


class AgainBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another try; what is left out is as it was."""

    versions_url: Url | None = None
    token: TokenText | None = None
    version: VersionText | None = None


class InviteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another invitation."""

    valid_h: Annotated[int, Meta(ge=1, le=8760)] = 168


class RotateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New tokens.

    Args:
        version: go over to this one; null: stay.
    """

    version: VersionText | None = None


class SuspendBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why nothing goes to a partner and nothing is taken of it."""

    because: Reason | None = None


class PartnerPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed; what is left out stays."""

    name: Name | UnsetType = UNSET
    own_parties: Annotated[list[PartyRef], Meta(min_length=1, max_length=100)] | UnsetType | None = UNSET
    own_role: PartyRole | UnsetType | None = UNSET
    is_hub: bool | UnsetType = UNSET
    quirks: Quirks | UnsetType = UNSET


class PartnerParty(Struct, kw_only=True):
    """A party on the other side, in one role."""

    country_code: str
    party_id: str
    role: PartyRole
    business_details: BusinessDetails


class ModuleView(Struct, kw_only=True):
    """Where the partner has a module."""

    module: str
    interface: str
    url: str


class Partner(Struct, kw_only=True):
    """A partner.

    Args:
        version: of OCPI; null before registration.
        own_parties: parties of ours that it sees.
        token_form: how it takes its token, as found out; `quirks.token_form` goes before it.
        last_error: of the last handshake.
        heard_at, answered_at: when it last asked us something, and answered us.
        failing_since, failures: of requests in a row that were not answered.
        paused_until: until when it is left alone after failures in a row.
        waiting, waiting_since: objects that it does not have the newest state of, and since when the oldest waits (counted to 10,000).
        parked: objects that were given up.
    """

    id: str
    name: str
    state: ConnectionState
    version: str | None
    versions_url: str | None
    parties: list[PartnerParty]
    own_parties: list[str]
    own_role: PartyRole | None
    is_hub: bool
    modules: list[ModuleView]
    quirks: Quirks
    token_form: str | None
    suspended_because: str | None
    last_error: str | None
    registered_at: datetime | None
    ended_at: datetime | None
    heard_at: datetime | None
    answered_at: datetime | None
    failing_since: datetime | None
    failures: int
    paused_until: datetime | None
    waiting: int
    waiting_since: datetime | None
    parked: int
    revision: int
    created_at: datetime
    updated_at: datetime


class Invitation(Struct, kw_only=True):
    """A partner that may register, and what it needs; the token is never shown again."""

    partner: Partner
    versions_url: str
    token: str


class PartnerHealth(Struct, kw_only=True):
    """How a partner does."""

    partner: Partner
    modules: list[ModuleState]
    tokens: list[IssuedToken]


class Removed(Struct, kw_only=True):
    """How a connection ended.

    Args:
        untold: why the partner could not be told; null where it was, or need not be.
    """

    untold: str | None


class Retried(Struct, kw_only=True):
    """How many objects are sent now."""

    count: int


class PushBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a partner is to be pushed.

    Args:
        modules: of locations, tariffs, sessions, cdrs and tokens; null: all that the partner takes.
    """

    modules: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=40)]], Meta(min_length=1, max_length=20)] | None
    ) = None


class Replayed(Struct, kw_only=True):
    """What became of a request that was sent once more."""

    ok: bool
    failure: Failure | None
    sentence: str | None
    http_status: int | None
    status_code: int | None
    latency_ms: float
    correlation_id: str


class RouteBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether our hub lets messages pass.

    Args:
        from_party, to_party: country code and party id as `NLABC`; `*` for any.
        modules: only these; null: all.
    """

    from_party: RouteParty
    to_party: RouteParty
    modules: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=40)]], Meta(min_length=1, max_length=20)] | None
    ) = None
    allowed: bool


class RouteList(Struct, kw_only=True):
    """Rules of our hub, oldest first; the most particular holds, and without any all may."""

    items: list[RouteView]


class HandshakeProblemError(ProblemError):
    """The partner's side of a handshake failed."""

    def __init__(self, error: HandshakeError) -> None:
        super().__init__(502, "partner-failed", str(error))


def roaming_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    connections, partners = services.business.roaming.connections, services.business.roaming.partners
    pushing = services.business.roaming.pushing
    read, write = {"scope": Scope.ROAMING_READ}, {"scope": Scope.ROAMING_WRITE}
    tags = ["roaming"]

    @get("/v1/roaming/parties", tags=tags, opt={**read, "sorts": PARTY_SORTS})
    async def list_roaming_parties(
        request: Request[Any, Any, Any], limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[OwnPartyView]:
        """Parties of ours, oldest first."""
        after = begin(request, cursor, sort)
        found = await connections.parties(caller_of(request), limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get("/v1/roaming/parties/{country_code:str}/{party_id:str}", tags=tags, opt=read)
    async def get_roaming_party(
        request: Request[Any, Any, Any], country_code: FromPath[str], party_id: FromPath[str]
    ) -> Response[OwnPartyView]:
        """A party of ours."""
        view = await connections.party(caller_of(request), _party(country_code, party_id))
        return Response(view, headers=etag(view.revision))

    @put("/v1/roaming/parties/{country_code:str}/{party_id:str}", tags=tags, opt=write)
    async def put_roaming_party(
        request: Request[Any, Any, Any],
        country_code: FromPath[str],
        party_id: FromPath[str],
        data: JSONBody[OwnPartyBody],
        if_match: IfMatch = None,
    ) -> Response[OwnPartyView]:
        """Adds a party of ours, or says anew what it is."""
        party = _party(country_code, party_id)
        view, new = await connections.put_party(
            caller_of(request), party, data.roles, data.business_details, revision_of(if_match)
        )
        return Response(view, headers=etag(view.revision), status_code=201 if new else 200)

    @delete("/v1/roaming/parties/{country_code:str}/{party_id:str}", tags=tags, opt=write)
    async def delete_roaming_party(
        request: Request[Any, Any, Any], country_code: FromPath[str], party_id: FromPath[str]
    ) -> None:
        """Removes a party of ours."""
        await connections.remove_party(caller_of(request), _party(country_code, party_id))

    @get("/v1/roaming/partners", tags=tags, opt={**read, "sorts": PARTNER_SORTS})
    async def list_roaming_partners(
        request: Request[Any, Any, Any],
        wanted_state: State = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[Partner]:
        """Partners and how they do, newest first."""
        after = begin(request, cursor, sort)
        found = await connections.page(caller_of(request), wanted_state, limit + 1, after)
        return page_of(request, found, limit, after).of(_view)

    @post("/v1/roaming/partners", tags=tags, opt={**write, "secret": True})
    async def invite_roaming_partner(
        request: Request[Any, Any, Any], data: JSONBody[PartnerBody]
    ) -> Response[Invitation]:
        """Lets a partner register with us. The answer holds the token it begins with, this once."""
        wanted = PartnerWanted(
            name=data.name,
            own_parties=_parties(data.own_parties),
            own_role=data.own_role,
            is_hub=data.is_hub,
            quirks=data.quirks or Quirks(),
        )
        stored, token = await connections.invite(caller_of(request), wanted, timedelta(hours=data.valid_h))
        made = Invitation(partner=_view(stored), versions_url=connections.versions_url, token=token)
        return Response(made, headers=etag(stored.revision))

    @post("/v1/roaming/partners/register", tags=tags, opt=write)
    async def register_with_roaming_partner(
        request: Request[Any, Any, Any], data: JSONBody[RegisterBody]
    ) -> Response[Partner]:
        """Registers with a partner by the URL and token that it gave. Where that fails the partner stays, in the state `registering`,
        and it can be tried again."""
        wanted = PartnerWanted(
            name=data.name,
            own_parties=_parties(data.own_parties),
            own_role=data.own_role,
            is_hub=data.is_hub,
            version=data.version,
            quirks=data.quirks or Quirks(),
        )
        try:
            stored = await connections.register(caller_of(request), wanted, data.versions_url, data.token)
        except HandshakeError as error:
            raise HandshakeProblemError(error) from error
        return Response(_view(stored), headers=etag(stored.revision))

    @get("/v1/roaming/partners/{id:str}", tags=tags, opt=read)
    async def get_roaming_partner(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[Partner]:
        """A partner."""
        stored = await connections.one(caller_of(request), ident_of(_PARTNER, id))
        return Response(_view(stored), headers=etag(stored.revision))

    @patch("/v1/roaming/partners/{id:str}", tags=tags, opt=write)
    async def change_roaming_partner(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[PartnerPatch], if_match: IfMatch = None
    ) -> Response[Partner]:
        """Changes settings of a partner. What it sees of us it is told with the next rotation."""
        parties = data.own_parties
        changes = PartnerChanges(
            name=data.name,
            own_parties=parties if isinstance(parties, UnsetType) else _parties(parties),
            own_role=data.own_role,
            is_hub=data.is_hub,
            quirks=data.quirks,
        )
        stored = await connections.change(caller_of(request), ident_of(_PARTNER, id), changes, revision_of(if_match))
        return Response(_view(stored), headers=etag(stored.revision))

    @delete("/v1/roaming/partners/{id:str}", tags=tags, opt=write, status_code=200)
    async def delete_roaming_partner(
        request: Request[Any, Any, Any], id: FromPath[str], tell: FromQuery[bool] = True
    ) -> Removed:
        """Ends a connection and tells the partner; one that had ended is removed with its log."""
        return Removed(untold=await connections.remove(caller_of(request), ident_of(_PARTNER, id), tell=tell))

    @post("/v1/roaming/partners/{id:str}/invite", tags=tags, opt={**write, "secret": True}, status_code=200)
    async def invite_roaming_partner_again(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[InviteBody]
    ) -> Invitation:
        """Another invitation for a partner that is not registered; the one before no longer holds."""
        stored, token = await connections.invite_again(
            caller_of(request), ident_of(_PARTNER, id), timedelta(hours=data.valid_h)
        )
        return Invitation(partner=_view(stored), versions_url=connections.versions_url, token=token)

    @post("/v1/roaming/partners/{id:str}/register", tags=tags, opt=write, status_code=200)
    async def register_with_roaming_partner_again(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[AgainBody]
    ) -> Partner:
        """Tries a registration once more."""
        try:
            stored = await connections.register_again(
                caller_of(request), ident_of(_PARTNER, id), data.versions_url, data.token, data.version
            )
        except HandshakeError as error:
            raise HandshakeProblemError(error) from error
        return _view(stored)

    @post("/v1/roaming/partners/{id:str}/rotate", tags=tags, opt=write, status_code=200)
    async def rotate_roaming_partner(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[RotateBody]
    ) -> Partner:
        """Exchanges new tokens with a partner and reads anew where its modules are; goes over to another version where one is named."""
        try:
            stored = await connections.rotate(caller_of(request), ident_of(_PARTNER, id), data.version)
        except HandshakeError as error:
            raise HandshakeProblemError(error) from error
        return _view(stored)

    @post("/v1/roaming/partners/{id:str}/suspend", tags=tags, opt=write, status_code=200)
    async def suspend_roaming_partner(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[SuspendBody]
    ) -> Partner:
        """Sends nothing more to a partner, and takes nothing of it; what changes waits."""
        return _view(await connections.suspend(caller_of(request), ident_of(_PARTNER, id), data.because))

    @post("/v1/roaming/partners/{id:str}/resume", tags=tags, opt=write, status_code=200)
    async def resume_roaming_partner(request: Request[Any, Any, Any], id: FromPath[str]) -> Partner:
        """Goes on with a partner that was suspended; what waited is sent."""
        return _view(await connections.resume(caller_of(request), ident_of(_PARTNER, id)))

    @get("/v1/roaming/partners/{id:str}/health", tags=tags, opt=read)
    async def get_roaming_partner_health(request: Request[Any, Any, Any], id: FromPath[str]) -> PartnerHealth:
        """How a partner does, module by module, and which tokens it may come with."""
        stored, modules, tokens = await connections.health(caller_of(request), ident_of(_PARTNER, id))
        return PartnerHealth(partner=_view(stored), modules=modules, tokens=tokens)

    @get("/v1/roaming/partners/{id:str}/outgoing", tags=tags, opt={**read, "sorts": OUTGOING_SORTS})
    async def list_roaming_outgoing(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        parked: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[OutgoingView]:
        """Objects that a partner does not have the newest state of, the longest waiting first; `parked=true` for those given up."""
        after = begin(request, cursor, sort)
        ident = ident_of(_PARTNER, id)
        await connections.one(caller_of(request), ident)
        found = await partners.waiting(caller_of(request), ident, parked, limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/roaming/partners/{id:str}/retry", tags=tags, opt=write, status_code=202)
    async def retry_roaming_partner(request: Request[Any, Any, Any], id: FromPath[str]) -> Retried:
        """Has what was given up, or waits for another attempt, sent now."""
        ident = ident_of(_PARTNER, id)
        await connections.one(caller_of(request), ident)
        return Retried(count=await partners.retry(caller_of(request), ident))

    @post("/v1/roaming/partners/{id:str}/push", tags=tags, opt=write, status_code=202)
    async def push_to_roaming_partner(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[PushBody]
    ) -> list[PushView]:
        """Has a partner sent all that it may see, whether it changed or not: for one that does not read our lists."""
        return await pushing.push(caller_of(request), ident_of(_PARTNER, id), data.modules)

    @get("/v1/roaming/partners/{id:str}/pushes", tags=tags, opt=read)
    async def list_roaming_pushes(request: Request[Any, Any, Any], id: FromPath[str]) -> list[PushView]:
        """What a partner was sent as a whole, and how much of it still waits."""
        return await pushing.pushes(caller_of(request), ident_of(_PARTNER, id))

    @get("/v1/roaming/exchanges", tags=tags, opt={**read, "sorts": EXCHANGE_SORTS})
    async def list_roaming_exchanges(
        request: Request[Any, Any, Any],
        partner_id: Text = None,
        correlation_id: Text = None,
        request_id: Text = None,
        module: Text = None,
        direction: Annotated[str | None, QueryParameter(pattern="^(in|out)$")] = None,
        party: Annotated[str | None, QueryParameter(pattern="^[A-Za-z]{2}[A-Za-z0-9]{3}$")] = None,
        failed: FromQuery[bool] = False,
        routed: FromQuery[bool | None] = None,
        since: From = None,
        until: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[ExchangeView]:
        """What went over the wire, newest first; a message and what it led to have one correlation id."""
        after = begin(request, cursor, sort)
        wanted = ExchangeFilter(
            connection_id=None if partner_id is None else ident_of(_PARTNER, partner_id),
            correlation_id=correlation_id,
            request_id=request_id,
            module=module,
            direction=direction,
            party=party,
            failed=failed,
            routed=routed,
            since=time_of("since", since),
            until=time_of("until", until),
        )
        found = await partners.exchanges(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/roaming/exchanges/{id:str}", tags=tags, opt=read)
    async def get_roaming_exchange(request: Request[Any, Any, Any], id: FromPath[str]) -> ExchangeView:
        """One request and its answer."""
        return await partners.exchange(caller_of(request), ident_of(_EXCHANGE, id))

    @post("/v1/roaming/exchanges/{id:str}/replay", tags=tags, opt=write, status_code=200)
    async def replay_roaming_exchange(request: Request[Any, Any, Any], id: FromPath[str]) -> Replayed:
        """Sends a request of ours once more, as it was, under the same correlation id."""
        outcome = await partners.replay(caller_of(request), ident_of(_EXCHANGE, id))
        return Replayed(
            ok=outcome.ok,
            failure=outcome.failure,
            sentence=outcome.sentence,
            http_status=outcome.http_status,
            status_code=outcome.status_code,
            latency_ms=outcome.latency_ms,
            correlation_id=outcome.correlation_id,
        )

    @get("/v1/roaming/routes", tags=tags, opt=read)
    async def list_roaming_routes(request: Request[Any, Any, Any]) -> RouteList:
        """Between whom our hub lets messages pass."""
        return RouteList(items=await partners.routes(caller_of(request)))

    @put("/v1/roaming/routes", tags=tags, opt=write)
    async def put_roaming_route(request: Request[Any, Any, Any], data: JSONBody[RouteBody]) -> RouteList:
        """Says whether messages of one party may pass to another."""
        await partners.put_route(caller_of(request), data.from_party, data.to_party, data.modules, data.allowed)
        return RouteList(items=await partners.routes(caller_of(request)))

    @delete("/v1/roaming/routes/{from_party:str}/{to_party:str}", tags=tags, opt=write)
    async def delete_roaming_route(
        request: Request[Any, Any, Any], from_party: FromPath[str], to_party: FromPath[str]
    ) -> None:
        """Forgets a rule."""
        await partners.remove_route(caller_of(request), from_party, to_party)

    return [
        list_roaming_routes,
        put_roaming_route,
        delete_roaming_route,
        list_roaming_parties,
        get_roaming_party,
        put_roaming_party,
        delete_roaming_party,
        list_roaming_partners,
        invite_roaming_partner,
        register_with_roaming_partner,
        get_roaming_partner,
        change_roaming_partner,
        delete_roaming_partner,
        invite_roaming_partner_again,
        register_with_roaming_partner_again,
        rotate_roaming_partner,
        suspend_roaming_partner,
        resume_roaming_partner,
        get_roaming_partner_health,
        list_roaming_outgoing,
        retry_roaming_partner,
        push_to_roaming_partner,
        list_roaming_pushes,
        list_roaming_exchanges,
        get_roaming_exchange,
        replay_roaming_exchange,
    ]


def _party(country_code: str, party_id: str) -> PartyId:
    plain = country_code.isascii() and country_code.isalpha() and len(country_code) == 2
    if not plain or not party_id.isascii() or not party_id.isalnum() or len(party_id) != 3:
        raise NotFoundError("roaming party", f"{country_code[:10]}*{party_id[:10]}")
    return PartyId(country_code, party_id)


def _parties(given: list[PartyRef] | None) -> tuple[PartyId, ...] | None:
    return None if given is None else tuple(PartyId(one.country_code, one.party_id) for one in given)


def _view(stored: StoredConnection) -> Partner:
    peer = stored.peer
    same = {name: getattr(stored, name) for name in _SAME}
    return Partner(
        id=str(peer.id),
        name=peer.name,
        state=peer.state,
        version=peer.version,
        versions_url=peer.versions_url,
        parties=[
            PartnerParty(
                country_code=one.id.country_code,
                party_id=one.id.party_id,
                role=one.role,
                business_details=one.business_details,
            )
            for one in peer.parties
        ],
        own_parties=[str(one.id) for one in peer.own],
        own_role=peer.own_role,
        is_hub=peer.is_hub,
        modules=[ModuleView(module=one.module, interface=one.interface, url=one.url) for one in peer.modules],
        quirks=peer.quirks,
        token_form=None if peer.token_form is None else peer.token_form.value,
        **same,
    )


_SAME = tuple(name for name in StoredConnection.__struct_fields__ if name not in ("peer", "own_parties"))
