"""/v1/me/bookings: a driver searches, holds, changes and cancels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from chargeplane.app.bookings import Change, Search, Wish
from chargeplane.app.bookings.views import BookingView
from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.tariffs.model import OcpiId
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import (
    Cursor,
    Limit,
    Page,
    Sort,
    begin,
    decode_cursor,
    encode_cursor,
    page_of,
)
from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.edges.http.routes.bookings import (
    BookingChange,
    Current,
    End,
    EnergyWh,
    Latitude,
    Longitude,
    MaxPrice,
    MinPower,
    OfferView,
    Radius,
    Start,
    WantedState,
    decimal_of,
    near_of,
    offer_view,
)
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.routes.drivers import Ident, number_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.time import later
from chargeplane.store.queries.bookings import BOOKING_SORTS, BookingFilter

_MINE = {"driver": True}
_Instant = Annotated[datetime, Meta(tz=True)]


class MyNewBooking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An EVSE to be booked: one that is named, or the first at a location that fits.

    Args:
        id_token_id: which of one's id tokens comes; null: the app's.
        starts_at: null: now.
        energy_wh: what the car will take, for the estimate.
        confirm: false: it is held for some minutes only, until it is confirmed.
        may_move: to an equal EVSE at the same location, where this one is not to be had.
    """

    ends_at: _Instant
    starts_at: _Instant | None = None
    id_token_id: Ident | None = None
    evse_uid: OcpiId | None = None
    location_id: OcpiId | None = None
    connector_id: OcpiId | None = None
    standard: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    current: Current | None = None
    min_power_w: Annotated[int, Meta(ge=0, le=100_000_000)] | None = None
    energy_wh: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    confirm: bool = True
    may_move: bool = True


class MyCancellation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a booking is canceled."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


def my_booking_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    own = services.business.own

    @get("/v1/me/bookings/offers", tags=["me"], opt=_MINE)
    async def search_my_offers(
        request: Request[Any, Any, Any],
        latitude: Latitude = None,
        longitude: Longitude = None,
        radius_m: Radius = 10_000,
        location_id: Text = None,
        evse_uid: Text = None,
        starts_at: Start = None,
        ends_at: End = None,
        standard: Text = None,
        current: FromQuery[Literal["AC", "DC"] | None] = None,
        min_power_w: MinPower = None,
        payment_method: FromQuery[PaymentMethod | None] = None,
        energy_wh: EnergyWh = None,
        max_price: MaxPrice = None,
        available: FromQuery[bool] = False,
        open: FromQuery[bool] = True,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[OfferView]:
        """EVSEs that are free for an interval, the nearest first, with what a session costs by one's own agreement. Around a point, at a
        location, or one EVSE."""
        near = near_of(latitude, longitude, radius_m)
        if near is None and location_id is None and evse_uid is None:
            sentence = "Give latitude and longitude, location_id or evse_uid"
            raise ProblemError(
                400,
                "malformed-request",
                f"'latitude': {sentence}.",
                errors=[FieldProblem(detail=sentence, parameter="latitude")],
            )
        start = time_of("starts_at", starts_at) or datetime.now(UTC)
        end = time_of("ends_at", ends_at) or later(start, timedelta(hours=1))
        search = Search(
            near=near,
            location_id=location_id,
            evse_uid=evse_uid,
            starts_at=start,
            ends_at=end,
            standard=standard,
            current=current,
            min_power_w=min_power_w,
            payment_method=payment_method,
            energy_wh=decimal_of("energy_wh", energy_wh),
            max_price=decimal_of("max_price", max_price),
            available=available,
            open=open,
        )
        after = decode_cursor("my-booking-offers", cursor, (float, int, int))
        found = await own.offers(caller_of(request), search, limit + 1, after)
        more = encode_cursor("my-booking-offers", found[limit - 1][0]) if len(found) > limit else None
        start, end = start.replace(microsecond=0), end.replace(microsecond=0)
        return Page(items=[offer_view(one, start, end) for _, one in found[:limit]], next_cursor=more)

    @post("/v1/me/bookings", tags=["me"], opt=_MINE)
    async def book_for_me(request: Request[Any, Any, Any], data: JSONBody[MyNewBooking]) -> Response[BookingView]:
        """Books an EVSE for an interval. 409 where it is booked, or one has as many bookings as may be; the sentence says what is free
        instead."""
        wish = Wish(
            id_token="",
            starts_at=data.starts_at,
            ends_at=data.ends_at,
            evse_uid=data.evse_uid,
            location_id=data.location_id,
            connector_id=data.connector_id,
            standard=data.standard,
            current=None if data.current is None else data.current.value,
            min_power_w=data.min_power_w,
            energy_wh=None if data.energy_wh is None else Decimal(data.energy_wh),
            confirm=data.confirm,
            may_move=data.may_move,
        )
        view = await own.book(caller_of(request), wish, number_of(data.id_token_id))
        return Response(view, headers={"Location": f"/v1/me/bookings/{view.id}", **etag(view.revision)})

    @get("/v1/me/bookings", tags=["me"], opt={**_MINE, "sorts": BOOKING_SORTS})
    async def list_my_bookings(
        request: Request[Any, Any, Any],
        wanted_state: WantedState = None,
        location_id: Text = None,
        evse_uid: Text = None,
        starts_from: From = None,
        starts_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[BookingView]:
        """One's bookings, newest first."""
        after = begin(request, cursor, sort)
        wanted = BookingFilter(
            state=wanted_state and wanted_state.value,
            location_id=location_id,
            evse_uid=evse_uid,
            starts_from=time_of("starts_from", starts_from),
            starts_to=time_of("starts_to", starts_to),
        )
        found = await own.bookings(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/me/bookings/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_booking(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[BookingView]:
        """A booking of one's own."""
        view = await own.booking(caller_of(request), ident_of("booking", id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/me/bookings/{id:str}", tags=["me"], opt=_MINE)
    async def change_my_booking(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[BookingChange], if_match: IfMatch = None
    ) -> Response[BookingView]:
        """Extends, shortens or moves a booking: all of it, or nothing."""
        wanted = Change(starts_at=data.starts_at, ends_at=data.ends_at, evse_uid=data.evse_uid, may_move=data.may_move)
        view = await own.change_booking(caller_of(request), ident_of("booking", id), wanted, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @post("/v1/me/bookings/{id:str}/confirm", tags=["me"], opt=_MINE, status_code=200)
    async def confirm_my_booking(
        request: Request[Any, Any, Any], id: FromPath[str], if_match: IfMatch = None
    ) -> Response[BookingView]:
        """Makes a booking that is only held one that counts."""
        view = await own.confirm_booking(caller_of(request), ident_of("booking", id), revision_of(if_match))
        return Response(view, status_code=200, headers=etag(view.revision))

    @post("/v1/me/bookings/{id:str}/cancel", tags=["me"], opt=_MINE, status_code=200)
    async def cancel_my_booking(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[MyCancellation], if_match: IfMatch = None
    ) -> Response[BookingView]:
        """Gives the EVSE free, at the fee of the terms where it is later than they say. 409 where it is in use or over."""
        view = await own.cancel_booking(caller_of(request), ident_of("booking", id), data.reason, revision_of(if_match))
        return Response(view, status_code=200, headers=etag(view.revision))

    return [
        search_my_offers,
        book_for_me,
        list_my_bookings,
        get_my_booking,
        change_my_booking,
        confirm_my_booking,
        cancel_my_booking,
    ]
