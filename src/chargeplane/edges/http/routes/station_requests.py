"""/v1/requests: what stations were asked for and tell about in later messages."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from chargeplane.app.api_keys import Scope
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import StationIdPath, Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.station_requests import STATION_REQUEST_SORTS, StationRequestView


def station_request_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    requests = services.subjects.station_requests

    @get(
        "/v1/charging-stations/{station_id:str}/requests",
        tags=["requests"],
        opt={"scope": Scope.STATIONS_READ, "sorts": STATION_REQUEST_SORTS},
    )
    async def list_station_requests(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        kind: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[StationRequestView]:
        """What a station was asked for and tells about in later messages (reports, logs, firmware), newest first."""
        after = begin(request, cursor, sort)
        found = await requests.page(caller_of(request), station_id, kind, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/requests/{id:str}", tags=["requests"], opt={"scope": Scope.STATIONS_READ})
    async def get_station_request(request: Request[Any, Any, Any], id: FromPath[str]) -> StationRequestView:
        """A request, with everything the station told about it."""
        return await requests.one(caller_of(request), ident_of("request", id))

    return [list_station_requests, get_station_request]
