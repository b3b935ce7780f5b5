"""/v1/charging-stations/{station_id}/availability."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from chargeplane.app.api_keys import Scope
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.routes.common import StationIdPath
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.availability import WantedAvailability


class Availabilities(Struct, frozen=True, kw_only=True):
    """What operators want of a station and its places, the widest first."""

    items: list[WantedAvailability]


def availability_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    availability = services.subjects.availability

    @get(
        "/v1/charging-stations/{station_id:str}/availability",
        tags=["charging-stations"],
        opt={"scope": Scope.STATIONS_READ},
    )
    async def get_availability(request: Request[Any, Any, Any], station_id: StationIdPath) -> Availabilities:
        """The availability that the command `change_availability` last set for the station, its EVSEs and connectors. A station
        that reports otherwise after a boot is told again."""
        return Availabilities(items=await availability.wanted(caller_of(request), station_id))

    return [get_availability]
