"""Limits that stations keep for when they are alone, of stations and of sites."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from litestar import Request, delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.static_limits import DivisionRule, LocationLimitState, StaticLimitState
from chargeplane.domain.charging_profiles import RateUnit
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.routes.common import StationIdPath
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import InvalidInputError

_TAG = "smart-charging"
_MOST = Decimal(10**9)
Evse = Annotated[int, QueryParameter(ge=0, le=9_999, description="0: the whole station.")]


class StaticLimitBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """A limit in W (all phases together) or A (each phase).

    Args:
        evse_id: 0: the whole station.
    """

    limit: Decimal
    unit: RateUnit
    evse_id: Annotated[int, Meta(ge=0, le=9_999)] = 0


class LocationLimitBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """A site's limit and the rule by which its stations share it."""

    limit: Decimal
    unit: RateUnit
    rule: DivisionRule = DivisionRule.BY_EVSES


class StaticLimits(Struct, kw_only=True):
    """The limits a station keeps."""

    items: list[StaticLimitState]


def _checked(limit: Decimal) -> Decimal:
    if not limit.is_finite() or not 0 <= limit <= _MOST:
        sentence = "Must be 0 to 1,000,000,000"
        raise InvalidInputError(f"'limit': {sentence}.", (("/limit", sentence),))
    return limit


def static_limit_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    limits = services.subjects.static_limits

    @get("/v1/charging-stations/{station_id:str}/static-limit", tags=[_TAG], opt={"scope": Scope.STATIONS_READ})
    async def get_static_limits(request: Request[Any, Any, Any], station_id: StationIdPath) -> StaticLimits:
        """The limits that a station keeps, and whether it has them."""
        return StaticLimits(items=await limits.of_station(caller_of(request), station_id))

    @put("/v1/charging-stations/{station_id:str}/static-limit", tags=[_TAG], opt={"scope": Scope.COMMANDS})
    async def put_static_limit(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[StaticLimitBody]
    ) -> StaticLimits:
        """Has a station keep a limit, also without a connection. Of the whole station it is its ChargingStationMaxProfile, which
        every transaction is under; of one EVSE it is a default, which a profile of the transaction overrules."""
        caller = caller_of(request)
        return StaticLimits(items=await limits.put(caller, station_id, data.evse_id, _checked(data.limit), data.unit))

    @delete(
        "/v1/charging-stations/{station_id:str}/static-limit",
        tags=[_TAG],
        opt={"scope": Scope.COMMANDS},
        status_code=204,
    )
    async def delete_static_limit(request: Request[Any, Any, Any], station_id: StationIdPath, evse: Evse = 0) -> None:
        """Ends a limit; the station's share of its site's stays."""
        await limits.drop(caller_of(request), station_id, evse)

    @get("/v1/locations/{location_id:str}/static-limit", tags=[_TAG], opt={"scope": Scope.STATIONS_READ})
    async def get_location_limit(request: Request[Any, Any, Any], location_id: FromPath[str]) -> LocationLimitState:
        """A site's limit, each station's share, and whether the station has it."""
        return await limits.of_location(caller_of(request), location_id)

    @put("/v1/locations/{location_id:str}/static-limit", tags=[_TAG], opt={"scope": Scope.COMMANDS})
    async def put_location_limit(
        request: Request[Any, Any, Any], location_id: FromPath[str], data: JSONBody[LocationLimitBody]
    ) -> LocationLimitState:
        """Limits a site: divided over its stations equally, or by the number of their EVSEs. A station that comes or goes
        changes the shares within a minute."""
        caller = caller_of(request)
        return await limits.put_location(caller, location_id, _checked(data.limit), data.unit, data.rule)

    @delete("/v1/locations/{location_id:str}/static-limit", tags=[_TAG], opt={"scope": Scope.COMMANDS}, status_code=204)
    async def delete_location_limit(request: Request[Any, Any, Any], location_id: FromPath[str]) -> None:
        """Ends a site's limit; its stations' own stay."""
        await limits.drop_location(caller_of(request), location_id)

    return [
        get_static_limits,
        put_static_limit,
        delete_static_limit,
        get_location_limit,
        put_location_limit,
        delete_location_limit,
    ]
