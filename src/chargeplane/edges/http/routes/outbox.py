"""/v1/outbox."""

from __future__ import annotations

from typing import Any

from litestar import Request, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from chargeplane.app.api_keys import Scope
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.outbox import OUTBOX_SORTS, FactView

_KIND = "outbox fact"


def outbox_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    outbox = services.outbox

    @get("/v1/outbox", tags=["outbox"], opt={"scope": Scope.ADMIN, "sorts": OUTBOX_SORTS})
    async def list_outbox(
        request: Request[Any, Any, Any],
        parked: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[FactView]:
        """Facts that have not been handed over, oldest first; `parked=true` for those given up."""
        after = begin(request, cursor, sort)
        found = await outbox.page(caller_of(request), parked, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/outbox/{id:str}", tags=["outbox"], opt={"scope": Scope.ADMIN})
    async def get_outbox_fact(request: Request[Any, Any, Any], id: FromPath[str]) -> FactView:
        """A fact that has not been handed over."""
        return await outbox.one(caller_of(request), ident_of(_KIND, id))

    @post("/v1/outbox/{id:str}/retry", tags=["outbox"], opt={"scope": Scope.ADMIN}, status_code=204)
    async def retry_outbox_fact(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Has a parked fact tried again, from the beginning."""
        await outbox.retry(caller_of(request), ident_of(_KIND, id))

    @delete("/v1/outbox/{id:str}", tags=["outbox"], opt={"scope": Scope.ADMIN})
    async def discard_outbox_fact(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Removes a parked fact: what follows from it is never done."""
        await outbox.discard(caller_of(request), ident_of(_KIND, id))

    return [list_outbox, get_outbox_fact, retry_outbox_fact, discard_outbox_fact]
