"""/v1/locations and /v1/evses: where charging happens."""

from __future__ import annotations

import enum
from math import isfinite
from typing import Annotated, Any, Literal
from urllib.parse import quote

from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.locations import EvseWanted
from chargeplane.app.locations.codes import as_png, as_svg
from chargeplane.domain.locations.model import ConnectorContent, EvseContent, LocationContent, PaymentMethod
from chargeplane.domain.tariffs.model import OcpiId
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, decode_cursor, encode_cursor, page_of
from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.edges.http.routes.common import IfMatch, Text, etag, revision_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.store.queries.locations import LOCATION_SORTS, EvseView, LocationFilter, LocationView

Latitude = Annotated[float | None, QueryParameter(ge=-90, le=90, description="Degrees; with `longitude`.")]
Longitude = Annotated[float | None, QueryParameter(ge=-180, le=180, description="Degrees; with `latitude`.")]
Radius = Annotated[float, QueryParameter(ge=1, le=20_100_000, description="Metres around the point.")]
Country = Annotated[str | None, QueryParameter(pattern="^[A-Z]{3}$", description="ISO 3166-1 alpha-3.")]
OpenAt = Annotated[
    str | None,
    QueryParameter(
        description="RFC 3339: open at that time by their opening times.", schema_extra={"format": "date-time"}
    ),
]
MinPower = Annotated[int | None, QueryParameter(ge=0, le=100_000_000, description="W, of a connector.")]
Scale = Annotated[int, QueryParameter(ge=1, le=50, description="Pixels a module (PNG).")]
Available = Annotated[bool | None, QueryParameter(description="true: an EVSE that is free now.")]


class PictureFormat(enum.StrEnum):
    """How a QR code is drawn."""

    SVG = "svg"
    PNG = "png"


class NewLocation(LocationContent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A location to be made; without `id` one is made for it."""

    id: OcpiId | None = None


class NewEvse(EvseContent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An EVSE to be made; without `uid` one is made for it.

    Args:
        station_id, ocpp_evse_id: what it is bound to (OCPP 1.6: the connector's number); both or none.
    """

    connectors: Annotated[tuple[ConnectorContent, ...], Meta(min_length=1, max_length=50)]
    uid: OcpiId | None = None
    station_id: Annotated[str, Meta(min_length=1, max_length=48)] | None = None
    ocpp_evse_id: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class EvseBody(EvseContent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An EVSE as it is to be from now on.

    Args:
        connectors: all of them; null leaves them as they are.
        location_id: moves it to another location; null leaves it where it is.
    """

    connectors: Annotated[tuple[ConnectorContent, ...], Meta(min_length=1, max_length=50)] | None = None
    station_id: Annotated[str, Meta(min_length=1, max_length=48)] | None = None
    ocpp_evse_id: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    location_id: OcpiId | None = None


def _near(latitude: float | None, longitude: float | None, radius_m: float) -> tuple[float, float, float] | None:
    if latitude is None and longitude is None:
        return None
    if latitude is None or longitude is None or not (isfinite(latitude) and isfinite(longitude) and isfinite(radius_m)):
        name = "latitude" if latitude is None else "longitude"
        sentence = "latitude and longitude belong together, as finite numbers"
        raise ProblemError(
            400, "malformed-request", f"'{name}': {sentence}.", errors=[FieldProblem(detail=sentence, parameter=name)]
        )
    return latitude, longitude, radius_m


def _content(kind: type[Any], body: Struct) -> Any:
    return kind(**{name: getattr(body, name) for name in kind.__struct_fields__})


def _wanted(body: NewEvse | EvseBody) -> EvseWanted:
    return EvseWanted(
        content=_content(EvseContent, body),
        station_id=body.station_id,
        ocpp_evse_id=body.ocpp_evse_id,
        connectors=body.connectors,
    )


def location_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    locations, addresses = services.business.locations, services.business.code_addresses

    @post("/v1/locations", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE})
    async def create_location(request: Request[Any, Any, Any], data: JSONBody[NewLocation]) -> Response[LocationView]:
        """Makes a location. EVSEs are added to it, or made of what stations report that stand at it."""
        view = await locations.create(caller_of(request), data.id, _content(LocationContent, data))
        return Response(view, headers={"Location": f"/v1/locations/{quote(view.id, safe='')}", **etag(view.revision)})

    @get("/v1/locations", tags=["locations"], opt={"scope": Scope.LOCATIONS_READ, "sorts": LOCATION_SORTS})
    async def list_locations(
        request: Request[Any, Any, Any],
        latitude: Latitude = None,
        longitude: Longitude = None,
        radius_m: Radius = 10_000,
        q: Text = None,
        country: Country = None,
        publish: FromQuery[bool | None] = None,
        facility: Text = None,
        available: Available = None,
        standard: Text = None,
        current: FromQuery[Literal["AC", "DC"] | None] = None,
        min_power_w: MinPower = None,
        payment_method: FromQuery[PaymentMethod | None] = None,
        tariff_id: Text = None,
        station_id: Text = None,
        open_at: OpenAt = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[LocationView]:
        """Locations, newest first; with a point, those around it, the nearest first. What is asked of EVSEs and connectors must be
        met by one EVSE together. `q` is looked for in id, name, address, city and postal code."""
        near = _near(latitude, longitude, radius_m)
        if near is not None and sort is not None:
            sentence = "Around a point the nearest are first; leave it out, or the point"
            raise ProblemError(
                400,
                "malformed-request",
                f"'sort': {sentence}.",
                errors=[FieldProblem(detail=sentence, parameter="sort")],
            )
        after = begin(request, cursor, sort) if near is None else decode_cursor("locations-near", cursor, (float, int))
        wanted = LocationFilter(
            near=near,
            q=q,
            country=country,
            publish=publish,
            facility=facility,
            available=available or None,
            standard=standard,
            current=current,
            min_power_w=min_power_w,
            payment_method=payment_method,
            tariff_id=tariff_id,
            station_id=station_id,
        )
        found = await locations.page(caller_of(request), wanted, limit + 1, after, time_of("open_at", open_at))
        if near is None:
            return page_of(request, found, limit, after).of(lambda pair: pair[1])
        more = encode_cursor("locations-near", found[limit - 1][0]) if len(found) > limit else None
        return Page(items=[view for _, view in found[:limit]], next_cursor=more)

    @get("/v1/locations/{location_id:str}", tags=["locations"], opt={"scope": Scope.LOCATIONS_READ})
    async def get_location(request: Request[Any, Any, Any], location_id: FromPath[str]) -> Response[LocationView]:
        """A location with its EVSEs and their connectors."""
        view = await locations.one(caller_of(request), location_id)
        return Response(view, headers=etag(view.revision))

    @put("/v1/locations/{location_id:str}", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE})
    async def replace_location(
        request: Request[Any, Any, Any],
        location_id: FromPath[str],
        data: JSONBody[LocationContent],
        if_match: IfMatch = None,
    ) -> Response[LocationView]:
        """Describes a location anew; its EVSEs stay."""
        view = await locations.replace(caller_of(request), location_id, data, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete("/v1/locations/{location_id:str}", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE})
    async def delete_location(
        request: Request[Any, Any, Any], location_id: FromPath[str], if_match: IfMatch = None
    ) -> None:
        """Deletes a location and removes its EVSEs, whose stations are free then."""
        await locations.remove(caller_of(request), location_id, revision_of(if_match))

    @post("/v1/locations/{location_id:str}/evses", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE})
    async def create_evse(
        request: Request[Any, Any, Any], location_id: FromPath[str], data: JSONBody[NewEvse]
    ) -> Response[EvseView]:
        """Adds an EVSE to a location. A uid is given once, also where its EVSE was removed."""
        view = await locations.add_evse(caller_of(request), location_id, data.uid, _wanted(data))
        return Response(view, headers={"Location": f"/v1/evses/{quote(view.uid, safe='')}", **etag(view.revision)})

    @get("/v1/evses/{uid:str}", tags=["locations"], opt={"scope": Scope.LOCATIONS_READ})
    async def get_evse(request: Request[Any, Any, Any], uid: FromPath[str]) -> Response[EvseView]:
        """An EVSE, also one that was removed."""
        view = await locations.evse(caller_of(request), uid)
        return Response(view, headers=etag(view.revision))

    @put("/v1/evses/{uid:str}", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE})
    async def replace_evse(
        request: Request[Any, Any, Any], uid: FromPath[str], data: JSONBody[EvseBody], if_match: IfMatch = None
    ) -> Response[EvseView]:
        """Describes an EVSE anew. Without `station_id` it is bound to nothing."""
        view = await locations.replace_evse(
            caller_of(request), uid, _wanted(data), revision_of(if_match), data.location_id
        )
        return Response(view, headers=etag(view.revision))

    @delete("/v1/evses/{uid:str}", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE})
    async def delete_evse(request: Request[Any, Any, Any], uid: FromPath[str], if_match: IfMatch = None) -> None:
        """Removes an EVSE: it is shown as REMOVED from then on."""
        await locations.remove_evse(caller_of(request), uid, revision_of(if_match))

    @put("/v1/evses/{uid:str}/connectors/{connector_id:str}", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE})
    async def put_connector(
        request: Request[Any, Any, Any],
        uid: FromPath[str],
        connector_id: FromPath[str],
        data: JSONBody[ConnectorContent],
        if_match: IfMatch = None,
    ) -> Response[EvseView]:
        """Adds a connector to an EVSE, or describes it anew. `If-Match` is that of the EVSE."""
        if data.id.casefold() != connector_id.casefold():
            sentence = f"Must be '{connector_id}', as in the path"
            raise InvalidInputError(f"'id': {sentence}.", (("/id", sentence),))
        view = await locations.put_connector(caller_of(request), uid, data, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete(
        "/v1/evses/{uid:str}/connectors/{connector_id:str}", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE}
    )
    async def delete_connector(
        request: Request[Any, Any, Any], uid: FromPath[str], connector_id: FromPath[str], if_match: IfMatch = None
    ) -> None:
        """Removes a connector of an EVSE that has more."""
        await locations.remove_connector(caller_of(request), uid, connector_id, revision_of(if_match))

    @post("/v1/evses/{uid:str}/renew-code", tags=["locations"], opt={"scope": Scope.LOCATIONS_WRITE}, status_code=200)
    async def renew_evse_code(request: Request[Any, Any, Any], uid: FromPath[str]) -> Response[EvseView]:
        """Gives an EVSE another code: the QR code that was on it leads nowhere any more."""
        view = await locations.renew_code(caller_of(request), uid)
        return Response(view, headers=etag(view.revision))

    @get(
        "/v1/evses/{uid:str}/qr-code",
        tags=["locations"],
        opt={"scope": Scope.LOCATIONS_READ, "files": ("image/svg+xml", "image/png")},
        media_type="image/svg+xml",
        return_dto=None,
    )
    async def get_evse_qr_code(
        request: Request[Any, Any, Any],
        uid: FromPath[str],
        format: FromQuery[PictureFormat] = PictureFormat.SVG,
        scale: Scale = 8,
    ) -> Response[bytes]:
        """The QR code for an EVSE, to be printed: drivers without a contract scan it to see the price, pay and charge."""
        view = await locations.evse(caller_of(request), uid)
        address = addresses.of(view.code, str(request.base_url))
        if format is PictureFormat.PNG:
            return Response(as_png(address, scale), media_type="image/png", headers=etag(view.revision))
        return Response(as_svg(address), media_type="image/svg+xml", headers=etag(view.revision))

    return [
        create_location,
        list_locations,
        get_location,
        replace_location,
        delete_location,
        create_evse,
        get_evse,
        replace_evse,
        delete_evse,
        put_connector,
        delete_connector,
        renew_evse_code,
        get_evse_qr_code,
    ]
