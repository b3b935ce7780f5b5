"""/v1/id-tokens."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Scope
from chargeplane.app.id_tokens import IdTokenChanges, IdTokenStatus, IdTokenType
from chargeplane.domain.token_rules import TokenRules
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import IfMatch, Text, etag, ident_of, revision_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.id_tokens import ID_TOKEN_SORTS, IdTokenFilter, IdTokenView

TokenText = Annotated[str, Meta(min_length=1, max_length=255)]
GroupId = Annotated[str, Meta(min_length=1, max_length=255)]
Language = Annotated[str, Meta(min_length=1, max_length=8)]
Message = Annotated[str, Meta(max_length=1024)]
Concurrent = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Note = Annotated[str, Meta(max_length=2000)]


class NewIdToken(Struct, kw_only=True, forbid_unknown_fields=True):
    """An id token to be known from now on."""

    id_token: TokenText
    type: IdTokenType = IdTokenType.ISO14443
    status: IdTokenStatus = IdTokenStatus.ACCEPTED
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    group_id: GroupId | None = None
    language: Language | None = None
    personal_message: Message | None = None
    concurrent_limit: Concurrent | None = None
    rules: TokenRules | None = None
    credit_wh: Decimal | None = None
    credit: Decimal | None = None
    note: Note | None = None


class IdTokenPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change of an id token; what is left out stays."""

    id_token: TokenText | UnsetType = UNSET
    type: IdTokenType | UnsetType = UNSET
    status: IdTokenStatus | UnsetType = UNSET
    valid_from: datetime | UnsetType | None = UNSET
    valid_until: datetime | UnsetType | None = UNSET
    group_id: GroupId | UnsetType | None = UNSET
    language: Language | UnsetType | None = UNSET
    personal_message: Message | UnsetType | None = UNSET
    concurrent_limit: Concurrent | UnsetType | None = UNSET
    rules: TokenRules | UnsetType | None = UNSET
    credit_wh: Decimal | UnsetType | None = UNSET
    credit: Decimal | UnsetType | None = UNSET
    note: Note | UnsetType | None = UNSET


def id_token_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    tokens = services.id_tokens

    @post("/v1/id-tokens", tags=["id-tokens"], opt={"scope": Scope.ID_TOKENS_WRITE})
    async def create_id_token(request: Request[Any, Any, Any], data: JSONBody[NewIdToken]) -> Response[IdTokenView]:
        """Makes an id token known. Its text is any string, matched without case."""
        view = await tokens.create(caller_of(request), _changes(data))
        return Response(view, headers={"Location": f"/v1/id-tokens/{view.id}", **etag(view.revision)})

    @get("/v1/id-tokens", tags=["id-tokens"], opt={"scope": Scope.ID_TOKENS_READ, "sorts": ID_TOKEN_SORTS})
    async def list_id_tokens(
        request: Request[Any, Any, Any],
        id_token: Text = None,
        type: FromQuery[IdTokenType | None] = None,
        status: FromQuery[IdTokenStatus | None] = None,
        group_id: Text = None,
        q: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[IdTokenView]:
        """Id tokens, newest first. `q` is looked for in id token, group and note."""
        after = begin(request, cursor, sort)
        wanted = IdTokenFilter(
            id_token=id_token, type=type and type.value, status=status and status.value, group_id=group_id, q=q
        )
        found = await tokens.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/id-tokens/{id:str}", tags=["id-tokens"], opt={"scope": Scope.ID_TOKENS_READ})
    async def get_id_token(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[IdTokenView]:
        """An id token, by our id."""
        view = await tokens.one(caller_of(request), ident_of("id token", id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/id-tokens/{id:str}", tags=["id-tokens"], opt={"scope": Scope.ID_TOKENS_WRITE})
    async def update_id_token(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[IdTokenPatch], if_match: IfMatch = None
    ) -> Response[IdTokenView]:
        """Changes an id token; it holds from the next authorisation on."""
        view = await tokens.change(caller_of(request), ident_of("id token", id), _changes(data), revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete("/v1/id-tokens/{id:str}", tags=["id-tokens"], opt={"scope": Scope.ID_TOKENS_WRITE})
    async def delete_id_token(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Removes an id token; its transactions stay."""
        await tokens.remove(caller_of(request), ident_of("id token", id))

    return [create_id_token, list_id_tokens, get_id_token, update_id_token, delete_id_token]


def _changes(data: JSONBody[NewIdToken] | IdTokenPatch) -> IdTokenChanges:
    return IdTokenChanges(**{name: getattr(data, name) for name in data.__struct_fields__})
