"""/v1/reservations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.id_tokens import IdTokenType
from chargeplane.app.reservations import Wish
from chargeplane.domain.messages import IdToken
from chargeplane.domain.reservations import ReservationState
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.reservations import RESERVATION_SORTS, ReservationFilter, ReservationView

TokenText = Annotated[str, Meta(min_length=1, max_length=255)]


class NewReservation(Struct, kw_only=True, forbid_unknown_fields=True):
    """A place to be kept.

    Args:
        id_token_type: in OCPP 1.6 there are no types.
        group_id: id tokens of this group may use it too.
        evse_id: absent or 0 for any EVSE.
        connector_type: any EVSE with such a connector (2.x), such as cCCS2.
        timeout_s: how long the station may take to answer.
    """

    station_id: Annotated[str, Meta(min_length=1, max_length=48)]
    id_token: TokenText
    valid_until: datetime
    id_token_type: IdTokenType | None = None
    group_id: TokenText | None = None
    evse_id: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    connector_type: Annotated[str, Meta(min_length=1, max_length=20)] | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 20.0


def reservation_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    reservations = services.subjects.reservations

    @post("/v1/reservations", tags=["reservations"], opt={"scope": Scope.COMMANDS})
    async def create_reservation(
        request: Request[Any, Any, Any], data: JSONBody[NewReservation]
    ) -> Response[ReservationView]:
        """Asks a station to keep a place for an id token from now until a time, and waits for its answer: `state` is `accepted`
        where it does, else why it does not. It begins at once."""
        kind = data.id_token_type
        view = await reservations.reserve(
            caller_of(request),
            data.station_id,
            Wish(
                id_token=IdToken(value=data.id_token, type=None if kind is None else kind.value),
                valid_until=data.valid_until,
                group_id=data.group_id,
                evse_id=data.evse_id,
                connector_type=data.connector_type,
            ),
            data.timeout_s,
        )
        return Response(view, headers={"Location": f"/v1/reservations/{view.id}"})

    @get("/v1/reservations", tags=["reservations"], opt={"scope": Scope.STATIONS_READ, "sorts": RESERVATION_SORTS})
    async def list_reservations(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        id_token: Text = None,
        wanted_state: Annotated[ReservationState | None, QueryParameter(name="state")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[ReservationView]:
        """Reservations, newest first, with what became of them."""
        after = begin(request, cursor, sort)
        wanted = ReservationFilter(station_id=station_id, id_token=id_token, state=wanted_state and wanted_state.value)
        found = await reservations.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/reservations/{id:str}", tags=["reservations"], opt={"scope": Scope.STATIONS_READ})
    async def get_reservation(request: Request[Any, Any, Any], id: FromPath[str]) -> ReservationView:
        """A reservation, by our id."""
        return await reservations.one(caller_of(request), ident_of("reservation", id))

    @delete("/v1/reservations/{id:str}", tags=["reservations"], opt={"scope": Scope.COMMANDS}, status_code=200)
    async def cancel_reservation(request: Request[Any, Any, Any], id: FromPath[str]) -> ReservationView:
        """Gives the place free again. 409 where the reservation is over, 503 where the station does not answer."""
        return await reservations.cancel(caller_of(request), ident_of("reservation", id))

    return [create_reservation, list_reservations, get_reservation, cancel_reservation]
