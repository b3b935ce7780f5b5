"""/v1/service-agreements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, PathParameter, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.agreements.agreements import AgreementChanges, TermsChanges
from chargeplane.app.agreements.views import AgreementView, ResolutionView, UsageView, VersionView
from chargeplane.app.api_keys import Scope
from chargeplane.domain.agreements.items import Item
from chargeplane.domain.agreements.model import (
    CHARGING,
    AgreementKind,
    AgreementState,
    Billing,
    Document,
    Limits,
    Party,
    PartyRole,
    Renewal,
    ScopeEntry,
)
from chargeplane.domain.agreements.scope import Place, ResolveAsk, Who, place_key, who_key
from chargeplane.domain.agreements.states import Action, Wish
from chargeplane.domain.authorization import token_key
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.time import as_utc
from chargeplane.store.queries.agreements import AGREEMENT_SORTS, AgreementFilter

_TAG = "service-agreements"
_KIND = "service agreement"
Number = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Currency = Annotated[str, Meta(min_length=3, max_length=3)]
TimeZone = Annotated[str, Meta(min_length=1, max_length=64)]
Parties = Annotated[tuple[Party, ...], Meta(max_length=20)]
Scopes = Annotated[tuple[ScopeEntry, ...], Meta(max_length=2000)]
Items = Annotated[tuple[Item, ...], Meta(max_length=200)]
Priority = Annotated[int, Meta(ge=-1000, le=1000)]
NoticeDays = Annotated[int, Meta(ge=0, le=3650)]
Documents = Annotated[tuple[Document, ...], Meta(max_length=50)]
ExternalIds = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=255)]], Meta(max_length=50)
]
Metadata = Annotated[dict[str, Any], Meta(max_length=100)]
Reason = Annotated[str, Meta(min_length=1, max_length=1000)]
Ident = Annotated[str, Meta(pattern=r"^[0-9]{1,18}$")]


class NewAgreement(Struct, kw_only=True, forbid_unknown_fields=True):
    """A draft.

    Args:
        number: unique within the tenant; made unless given.
        currency: ISO 4217; of all money in it.
        time_zone: in which its months begin.
        starts_at: null: when it is activated by hand.
        ends_at: not included; null: without end.
        supersedes: id of the agreement that ends when this one begins.
    """

    kind: AgreementKind
    currency: Currency
    time_zone: TimeZone = "UTC"
    number: Number | UnsetType = UNSET
    name: Name | None = None
    parties: Parties = ()
    scope: Scopes = ()
    items: Items = ()
    priority: Priority = 0
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    notice_days: NoticeDays = 0
    renewal: Renewal = Renewal()
    billing: Billing = Billing()
    limits: Limits = Limits()
    documents: Documents = ()
    supersedes: Ident | None = None
    external_ids: ExternalIds = {}
    metadata: Metadata = {}


class AgreementPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change; what is left out stays. Of what was proposed only name, external ids and metadata change."""

    kind: AgreementKind | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    time_zone: TimeZone | UnsetType = UNSET
    number: Number | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    parties: Parties | UnsetType = UNSET
    scope: Scopes | UnsetType = UNSET
    items: Items | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    starts_at: datetime | UnsetType | None = UNSET
    ends_at: datetime | UnsetType | None = UNSET
    notice_days: NoticeDays | UnsetType = UNSET
    renewal: Renewal | UnsetType = UNSET
    billing: Billing | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    documents: Documents | UnsetType = UNSET
    supersedes: Ident | UnsetType | None = UNSET
    external_ids: ExternalIds | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class NewAmendment(Struct, kw_only=True, forbid_unknown_fields=True):
    """Other terms; what is left out stays as in the last accepted version.

    Args:
        effective_at: from when; null: from its acceptance.
        role: who proposes it, and so accepts it; the provider unless given.
    """

    scope: Scopes | UnsetType = UNSET
    items: Items | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    notice_days: NoticeDays | UnsetType = UNSET
    renewal: Renewal | UnsetType = UNSET
    billing: Billing | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    documents: Documents | UnsetType = UNSET
    effective_at: datetime | None = None
    reason: Reason | None = None
    role: PartyRole | None = None
    signed_by: Name | None = None


class ActionBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How an action is done; what it does not know is ignored.

    Args:
        role: who proposes (and so accepts; the provider unless given), accepts (the other one), or gives notice.
        signed_by: the person who accepts.
        ends_at: of `end`: when; null: as soon as the notice allows.
        waive_notice: of `end`: the parties agreed on an earlier one.
    """

    role: PartyRole | None = None
    signed_by: Name | None = None
    reason: Reason | None = None
    ends_at: datetime | None = None
    waive_notice: bool = False


class Versions(Struct, kw_only=True):
    """All versions, the newest first."""

    items: Sequence[VersionView]


EvseNumber = Annotated[
    int | None, QueryParameter(ge=0, le=9_999, description="The station's number of the EVSE, beside station_id.")
]
SinceArgument = Annotated[str | None, QueryParameter(name="from", description="RFC 3339; included.")]
UntilArgument = Annotated[str | None, QueryParameter(name="to", description="RFC 3339; not included.")]
ActionPath = Annotated[str, PathParameter(description=f"One of {', '.join(Action)}.")]
AnswerPath = Annotated[str, PathParameter(description="accept, reject or withdraw.")]
_ANSWERS = (Action.ACCEPT, Action.REJECT, Action.WITHDRAW)


def service_agreement_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    agreements = business.agreements

    @post("/v1/service-agreements", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_WRITE})
    async def create_service_agreement(
        request: Request[Any, Any, Any], data: JSONBody[NewAgreement]
    ) -> Response[AgreementView]:
        """Makes a draft. It binds nobody until it is proposed and accepted."""
        view = await agreements.create(caller_of(request), _changes(data))
        return Response(view, headers={"Location": f"/v1/service-agreements/{view.id}", **etag(view.revision)})

    @get("/v1/service-agreements", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_READ, "sorts": AGREEMENT_SORTS})
    async def list_service_agreements(
        request: Request[Any, Any, Any],
        status: FromQuery[AgreementState | None] = None,
        kind: FromQuery[AgreementKind | None] = None,
        party: Text = None,
        driver_id: Text = None,
        id_token: Text = None,
        token_group: Text = None,
        location_id: Text = None,
        ends_before: To = None,
        q: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[AgreementView]:
        """Agreements as of now. `party` is the id of a party; `driver_id`, `id_token`, `token_group` are whom an agreement covers by name,
        `location_id` a place of one that covers anybody (one of these four); `q` is looked for in number, name, parties and external ids."""
        after = begin(request, cursor, sort)
        wanted = AgreementFilter(
            now=datetime.now(UTC),
            state=status,
            kind=kind,
            party=party,
            covers=_covers(driver_id, id_token, token_group, location_id),
            ends_before=time_of("ends_before", ends_before),
            q=q,
        )
        found = await agreements.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get("/v1/service-agreements/resolve", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_READ})
    async def resolve_service_agreement(
        request: Request[Any, Any, Any],
        id_token: Text = None,
        id_token_type: Text = None,
        driver_id: Text = None,
        token_group: Text = None,
        party: Text = None,
        evse_uid: Text = None,
        station_id: Text = None,
        evse_id: EvseNumber = None,
        location_id: Text = None,
        country: Text = None,
        at: From = None,
        kind: FromQuery[AgreementKind | None] = None,
    ) -> ResolutionView:
        """Which agreement applies to an id token or a driver at an EVSE, a station or a location at a moment, and why: every candidate with the
        reason it applies, lost or was refused. The most specific place goes first, then who is named most specifically, then the
        priority. Without `kind` it is among those under which somebody charges."""
        ask = ResolveAsk(
            at=time_of("at", at) or datetime.now(UTC),
            id_token=id_token,
            id_token_type=id_token_type,
            driver_id=driver_id,
            token_group=token_group,
            party=party,
            evse_uid=evse_uid,
            station_id=station_id,
            ocpp_evse_id=evse_id,
            location_id=location_id,
            country=country,
            kinds=CHARGING if kind is None else (kind,),
        )
        return await business.agreement_resolving.explain(caller_of(request).tenant_id, ask)

    @get("/v1/service-agreements/{id:str}", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_READ})
    async def get_service_agreement(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[AgreementView]:
        """An agreement as of now, with what can be done to it."""
        view = await agreements.one(caller_of(request), ident_of(_KIND, id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/service-agreements/{id:str}", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_WRITE})
    async def update_service_agreement(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[AgreementPatch], if_match: IfMatch = None
    ) -> Response[AgreementView]:
        """Changes a draft; of what was proposed only name, external ids and metadata. Other terms need an amendment."""
        view = await agreements.change(caller_of(request), ident_of(_KIND, id), _changes(data), revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete("/v1/service-agreements/{id:str}", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_WRITE})
    async def delete_service_agreement(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Removes a draft. Anything later is ended, canceled or withdrawn instead."""
        await agreements.remove(caller_of(request), ident_of(_KIND, id))

    @get("/v1/service-agreements/{id:str}/versions", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_READ})
    async def list_agreement_versions(request: Request[Any, Any, Any], id: FromPath[str]) -> Versions:
        """All versions with their terms, documents and acceptances."""
        return Versions(items=await agreements.versions(caller_of(request), ident_of(_KIND, id)))

    @get("/v1/service-agreements/{id:str}/usage", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_READ})
    async def get_agreement_usage(
        request: Request[Any, Any, Any], id: FromPath[str], since: SinceArgument = None, until: UntilArgument = None
    ) -> UsageView:
        """Sessions, energy and money under the agreement, of the present month unless an interval is given."""
        return await business.agreement_usage.of(
            caller_of(request), ident_of(_KIND, id), time_of("from", since), time_of("to", until)
        )

    @post("/v1/service-agreements/{id:str}/amendments", tags=[_TAG], opt={"scope": Scope.AGREEMENTS_WRITE})
    async def propose_amendment(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[NewAmendment]
    ) -> VersionView:
        """Proposes other terms: a version that holds from `effective_at`, once the other party has accepted."""
        wish = Wish(
            action=Action.PROPOSE,
            by=caller_of(request).actor,
            role=data.role,
            signed_by=data.signed_by,
            reason=data.reason,
        )
        return await agreements.amend(caller_of(request), ident_of(_KIND, id), _terms(data), data.effective_at, wish)

    @post(
        "/v1/service-agreements/{id:str}/amendments/{version:str}/{answer:str}",
        tags=[_TAG],
        opt={"scope": Scope.AGREEMENTS_WRITE},
        status_code=200,
    )
    async def answer_amendment(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        version: FromPath[str],
        answer: AnswerPath,
        data: JSONBody[ActionBody],
    ) -> VersionView:
        """Accepts, rejects or withdraws an amendment."""
        action = _action(answer, _ANSWERS)
        wish = _wish(action, data, caller_of(request).actor)
        return await agreements.answer(caller_of(request), ident_of(_KIND, id), ident_of("version", version), wish)

    @post(
        "/v1/service-agreements/{id:str}/{action:str}",
        tags=[_TAG],
        opt={"scope": Scope.AGREEMENTS_WRITE},
        status_code=200,
    )
    async def act_on_service_agreement(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        action: ActionPath,
        data: JSONBody[ActionBody],
        if_match: IfMatch = None,
    ) -> Response[AgreementView]:
        """Moves an agreement: propose, accept, reject, withdraw, cancel, activate, suspend, resume, end (with notice), reinstate,
        renew, close. What its state does not allow is a conflict that says what it does."""
        wish = _wish(_action(action, tuple(Action)), data, caller_of(request).actor)
        view = await agreements.act(caller_of(request), ident_of(_KIND, id), wish, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    return [
        create_service_agreement,
        list_service_agreements,
        resolve_service_agreement,
        get_service_agreement,
        update_service_agreement,
        delete_service_agreement,
        list_agreement_versions,
        get_agreement_usage,
        propose_amendment,
        answer_amendment,
        act_on_service_agreement,
    ]


def _terms(data: NewAgreement | AgreementPatch | NewAmendment) -> TermsChanges:
    return TermsChanges(**{name: getattr(data, name) for name in TermsChanges.__struct_fields__})


def _changes(data: NewAgreement | AgreementPatch) -> AgreementChanges:
    names = [name for name in AgreementChanges.__struct_fields__ if name not in ("terms", "supersedes")]
    supersedes = data.supersedes
    return AgreementChanges(
        terms=_terms(data),
        supersedes=int(supersedes) if isinstance(supersedes, str) else supersedes,
        **{name: getattr(data, name) for name in names},
    )


def _action(text: str, among: Sequence[Action]) -> Action:
    for action in among:
        if action.value == text:
            return action
    raise NotFoundError("action", text[:60])


def _wish(action: Action, data: ActionBody, by: str) -> Wish:
    return Wish(
        action=action,
        by=by,
        role=data.role,
        signed_by=data.signed_by,
        reason=data.reason,
        ends_at=None if data.ends_at is None else as_utc(data.ends_at),
        waive_notice=data.waive_notice,
    )


def _covers(driver_id: str | None, id_token: str | None, group: str | None, location_id: str | None) -> str | None:
    keys = [
        key
        for key in (
            driver_id and who_key(Who.DRIVER, driver_id),
            id_token and who_key(Who.ID_TOKEN, token_key(id_token)),
            group and who_key(Who.TOKEN_GROUP, group),
            location_id and f"*{place_key(Place.LOCATION, location_id)}",
        )
        if key
    ]
    if len(keys) > 1:
        sentence = "Give one of driver_id, id_token, token_group and location_id"
        raise ProblemError(
            400, "malformed-request", f"{sentence}.", errors=[FieldProblem(detail=sentence, parameter="driver_id")]
        )
    return keys[0] if keys else None
