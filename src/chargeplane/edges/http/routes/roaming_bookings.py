"""/v1/me/roaming/bookings and /v1/roaming/bookings: drivers' bookings at partners' stations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.roaming.asked_bookings import AskedBookingView, PartnerOffer, WantedThere
from chargeplane.app.roaming.asking import TokenOf
from chargeplane.domain.roaming.bookings import AskedState, CanceledReason, Span
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
from chargeplane.edges.http.routes.bookings import End, Start
from chargeplane.edges.http.routes.common import Text, ident_of, time_of
from chargeplane.edges.http.routes.roaming_provider import (
    Latitude,
    Longitude,
    MinPower,
    OcpiText,
    PartnerQuery,
    PartnerText,
    Radius,
    filter_of,
)
from chargeplane.edges.http.services import Services
from chargeplane.kernel.time import later
from chargeplane.store.queries.asked_bookings import ASKED_BOOKING_SORTS

_MINE = {"driver": True}
_Instant = Annotated[datetime, Meta(tz=True)]
OfState = Annotated[AskedState | None, QueryParameter(name="state", description="Only those in this state.")]
DriverQuery = Annotated[str | None, QueryParameter(pattern="^[0-9]{1,18}$", description="Id of a driver.")]


class BookingThere(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An EVSE of a partner to be booked, as `offers` names it."""

    partner: PartnerText
    booking_location_id: OcpiText
    starts_at: _Instant
    ends_at: _Instant


class OperatorsBookingThere(BookingThere, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, for an id token of ours."""

    id_token: Annotated[str, Meta(min_length=1, max_length=255)]
    id_token_type: Annotated[str, Meta(min_length=1, max_length=20)] | None = None


class BookingThereChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another interval; what is left out stays."""

    starts_at: _Instant | None = None
    ends_at: _Instant | None = None


class CancellationThere(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a booking at a partner is canceled (OCPI CanceledReason)."""

    reason: Literal["TRAFFIC", "BROKEN_VEHICLE", "NO_CANCELED", "UNKNOWN"] = "NO_CANCELED"


def roaming_booking_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    provider, tokens = services.business.roaming_provider, services.business.driver_tokens
    bookings = provider.bookings
    read, write, tags = {"scope": Scope.ROAMING_READ}, {"scope": Scope.ROAMING_WRITE}, ["roaming"]

    def wanted(data: BookingThere) -> WantedThere:
        return WantedThere(
            partner=data.partner,
            booking_location_id=data.booking_location_id,
            starts_at=data.starts_at,
            ends_at=data.ends_at,
        )

    def made(view: AskedBookingView, path: str) -> Response[AskedBookingView]:
        return Response(view, headers={"Location": f"{path}/{view.id}"})

    # Drivers

    @get("/v1/me/roaming/bookings/offers", tags=["me"], opt=_MINE)
    async def search_bookings_at_partners(
        request: Request[Any, Any, Any],
        latitude: Latitude = None,
        longitude: Longitude = None,
        radius_m: Radius = 10_000,
        q: Text = None,
        standard: Text = None,
        current: FromQuery[Literal["AC", "DC"] | None] = None,
        min_power_w: MinPower = None,
        partner: PartnerQuery = None,
        starts_at: Start = None,
        ends_at: End = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[PartnerOffer]:
        """Partners' locations where an EVSE can be booked for an interval (an hour from now on), with what charging costs there; with a
        point, the nearest first."""
        start = time_of("starts_at", starts_at) or datetime.now(UTC)
        end = time_of("ends_at", ends_at) or later(start, timedelta(hours=1))
        filters = filter_of(latitude, longitude, radius_m, q, standard, current, min_power_w, False, partner)
        after = decode_cursor("partner-bookings", cursor, (float, int))
        found = await bookings.offers(caller_of(request), filters, Span(start, end), limit + 1, after)
        more = encode_cursor("partner-bookings", found[limit - 1][0]) if len(found) > limit else None
        return Page(items=[offer for _, offer in found[:limit]], next_cursor=more)

    @post("/v1/me/roaming/bookings", tags=["me"], opt=_MINE)
    async def book_at_partner(
        request: Request[Any, Any, Any], data: JSONBody[BookingThere]
    ) -> Response[AskedBookingView]:
        """Books an EVSE of a partner for an interval. 409 where the partner rejects it; what it does not answer at once is asked again
        by itself: `state` stays `sent` until then."""
        caller = caller_of(request)
        own = await tokens.app_token(caller.tenant_id, caller.driver_id)
        view = await bookings.book(caller, wanted(data), TokenOf(id_token=own.id_token, type=own.type))
        return made(view, "/v1/me/roaming/bookings")

    @get("/v1/me/roaming/bookings", tags=["me"], opt={**_MINE, "sorts": ASKED_BOOKING_SORTS})
    async def list_my_bookings_at_partners(
        request: Request[Any, Any, Any],
        wanted_state: OfState = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[AskedBookingView]:
        """One's bookings at partners, newest first."""
        caller = caller_of(request)
        after = begin(request, cursor, sort)
        found = await bookings.page(caller, limit + 1, after, driver_id=caller.driver_id, state=wanted_state)
        return page_of(request, found, limit, after)

    @get("/v1/me/roaming/bookings/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_booking_at_partner(request: Request[Any, Any, Any], id: FromPath[str]) -> AskedBookingView:
        """A booking of one's own at a partner, as the partner told it last."""
        caller = caller_of(request)
        return await bookings.one(caller, ident_of("booking", id), driver_id=caller.driver_id)

    @patch("/v1/me/roaming/bookings/{id:str}", tags=["me"], opt=_MINE)
    async def change_my_booking_at_partner(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[BookingThereChange]
    ) -> AskedBookingView:
        """Asks the partner for another interval; 409 where it declines, and the booking stays as it was."""
        caller = caller_of(request)
        return await bookings.change(caller, ident_of("booking", id), data.starts_at, data.ends_at, caller.driver_id)

    @post("/v1/me/roaming/bookings/{id:str}/cancel", tags=["me"], opt=_MINE, status_code=200)
    async def cancel_my_booking_at_partner(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[CancellationThere]
    ) -> AskedBookingView:
        """Asks the partner to cancel; 409 where its terms do not allow it any more."""
        caller = caller_of(request)
        return await bookings.cancel(caller, ident_of("booking", id), CanceledReason(data.reason), caller.driver_id)

    # Operators

    @post("/v1/roaming/bookings", tags=tags, opt=write)
    async def book_at_partner_for(
        request: Request[Any, Any, Any], data: JSONBody[OperatorsBookingThere]
    ) -> Response[AskedBookingView]:
        """Books an EVSE of a partner for an id token of ours."""
        token = TokenOf(id_token=data.id_token, type=data.id_token_type)
        return made(await bookings.book(caller_of(request), wanted(data), token), "/v1/roaming/bookings")

    @get("/v1/roaming/bookings", tags=tags, opt={**read, "sorts": ASKED_BOOKING_SORTS})
    async def list_bookings_at_partners(
        request: Request[Any, Any, Any],
        wanted_state: OfState = None,
        driver_id: DriverQuery = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[AskedBookingView]:
        """Bookings of our drivers at partners, newest first. Those of partners' drivers at our EVSEs are in /v1/bookings."""
        after = begin(request, cursor, sort)
        driver = None if driver_id is None else int(driver_id)
        found = await bookings.page(caller_of(request), limit + 1, after, driver_id=driver, state=wanted_state)
        return page_of(request, found, limit, after)

    @get("/v1/roaming/bookings/{id:str}", tags=tags, opt=read)
    async def get_booking_at_partner(request: Request[Any, Any, Any], id: FromPath[str]) -> AskedBookingView:
        """A booking of a driver of ours at a partner."""
        return await bookings.one(caller_of(request), ident_of("booking", id))

    @post("/v1/roaming/bookings/{id:str}/cancel", tags=tags, opt=write, status_code=200)
    async def cancel_booking_at_partner(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[CancellationThere]
    ) -> AskedBookingView:
        """Asks the partner to cancel."""
        return await bookings.cancel(caller_of(request), ident_of("booking", id), CanceledReason(data.reason), None)

    return [
        search_bookings_at_partners,
        book_at_partner,
        list_my_bookings_at_partners,
        get_my_booking_at_partner,
        change_my_booking_at_partner,
        cancel_my_booking_at_partner,
        book_at_partner_for,
        list_bookings_at_partners,
        get_booking_at_partner,
        cancel_booking_at_partner,
    ]
