"""/v1/quarantine."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.quarantine import QUARANTINE_SORTS, QuarantineFilter, QuarantineView

_KIND = "quarantine entry"


class Resolution(Struct, kw_only=True, forbid_unknown_fields=True):
    """How an entry was settled."""

    note: Annotated[str, Meta(min_length=1, max_length=4000)]


def quarantine_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    quarantine = services.quarantine

    @get("/v1/quarantine", tags=["quarantine"], opt={"scope": Scope.QUARANTINE_READ, "sorts": QUARANTINE_SORTS})
    async def list_quarantine(
        request: Request[Any, Any, Any],
        resolved: FromQuery[bool | None] = None,
        station_id: Text = None,
        action: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[QuarantineView]:
        """What could not be understood or matched, newest first."""
        after = begin(request, cursor, sort)
        wanted = QuarantineFilter(resolved=resolved, station_id=station_id, action=action)
        found = await quarantine.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/quarantine/{id:str}", tags=["quarantine"], opt={"scope": Scope.QUARANTINE_READ})
    async def get_quarantine_entry(request: Request[Any, Any, Any], id: FromPath[str]) -> QuarantineView:
        """A quarantined message."""
        return await quarantine.one(caller_of(request), ident_of(_KIND, id))

    @post(
        "/v1/quarantine/{id:str}/resolve",
        tags=["quarantine"],
        opt={"scope": Scope.QUARANTINE_WRITE},
        status_code=200,
    )
    async def resolve_quarantine_entry(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Resolution]
    ) -> QuarantineView:
        """Marks a message as settled, with a note how."""
        return await quarantine.resolve(caller_of(request), ident_of(_KIND, id), data.note)

    return [list_quarantine, get_quarantine_entry, resolve_quarantine_entry]
