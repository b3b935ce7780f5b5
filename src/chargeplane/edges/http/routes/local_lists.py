"""/v1/charging-stations/{station_id}/local-list."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler

from chargeplane.app.api_keys import Scope
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.routes.common import StationIdPath
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.local_lists import LocalListView


def local_list_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    lists = services.subjects.local_lists

    @get("/v1/charging-stations/{station_id:str}/local-list", tags=["local-lists"], opt={"scope": Scope.STATIONS_READ})
    async def get_local_list(request: Request[Any, Any, Any], station_id: StationIdPath) -> LocalListView:
        """What a station holds of its local list, and whether that is what belongs there. Which id tokens belong there is
        `local_list` in the settings of the station or its tenant."""
        return await lists.one(caller_of(request), station_id)

    @post(
        "/v1/charging-stations/{station_id:str}/local-list/send",
        tags=["local-lists"],
        opt={"scope": Scope.COMMANDS},
        status_code=202,
    )
    async def send_local_list(request: Request[Any, Any, Any], station_id: StationIdPath) -> LocalListView:
        """Sends the whole list again as soon as the station can take it. 409 where no policy keeps the list."""
        return await lists.send_again(caller_of(request), station_id)

    return [get_local_list, send_local_list]
