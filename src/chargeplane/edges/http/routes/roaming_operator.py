"""/v1/roaming/partners/{id}/publication: what a partner is shown of ours. /v1/roaming/requests: what partners asked of our stations."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from chargeplane.app.api_keys import Scope
from chargeplane.domain.roaming.publication import Publication
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.roaming_requests import ROAMING_REQUEST_SORTS, RequestView

_PARTNER = "roaming partner"


def roaming_operator_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    publications = services.business.publications_to_partners
    read, write = {"scope": Scope.ROAMING_READ}, {"scope": Scope.ROAMING_WRITE}
    tags = ["roaming"]

    @get("/v1/roaming/partners/{partner_id:str}/publication", tags=tags, opt=read)
    async def get_publication(request: Request[Any, Any, Any], partner_id: FromPath[str]) -> Publication:
        """What the partner is shown of our locations and the rest; without anything said, all that is published."""
        return await publications.one(caller_of(request), ident_of(_PARTNER, partner_id))

    @put("/v1/roaming/partners/{partner_id:str}/publication", tags=tags, opt=write)
    async def put_publication(
        request: Request[Any, Any, Any], partner_id: FromPath[str], data: JSONBody[Publication]
    ) -> Publication:
        """Says what the partner is shown from now on. It is told what it sees for the first time; what it saw and sees no more is removed
        there."""
        return await publications.put(caller_of(request), ident_of(_PARTNER, partner_id), data)

    @get("/v1/roaming/requests", tags=tags, opt={**read, "sorts": ROAMING_REQUEST_SORTS})
    async def list_requests(
        request: Request[Any, Any, Any],
        partner_id: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[RequestView]:
        """Commands and charging profiles that partners sent for our stations, with what they were told; newest first."""
        after = begin(request, cursor, sort)
        wanted = None if partner_id is None else ident_of(_PARTNER, partner_id)
        found = await publications.requests(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    return [get_publication, put_publication, list_requests]
