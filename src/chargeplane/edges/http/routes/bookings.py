"""/v1/bookings: an EVSE for a driver and an interval. `/v1/reservations` is what single stations are told."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.bookings import Change, Offer, Search, Wish
from chargeplane.app.bookings.bookings import EvseTimeline
from chargeplane.app.bookings.views import BookingView
from chargeplane.app.id_tokens import IdTokenType
from chargeplane.domain.bookings.policy import BookingPolicy
from chargeplane.domain.bookings.states import BookingState
from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.tariffs.model import OcpiId
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.money import CostView, cost_view
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
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.time import later
from chargeplane.store.queries.bookings import BOOKING_SORTS, BookingFilter

_Text = Annotated[str, Meta(min_length=1, max_length=255)]
_Instant = Annotated[datetime, Meta(tz=True)]
_Power = Annotated[int, Meta(ge=0, le=100_000_000)]
_Energy = Annotated[int, Meta(ge=1, le=10_000_000)]
Latitude = Annotated[float | None, QueryParameter(ge=-90, le=90, description="Degrees; with `longitude`.")]
Longitude = Annotated[float | None, QueryParameter(ge=-180, le=180, description="Degrees; with `latitude`.")]
Radius = Annotated[float, QueryParameter(ge=1, le=500_000, description="Metres around the point.")]
MinPower = Annotated[int | None, QueryParameter(ge=0, le=100_000_000, description="W, of a connector.")]
Start = Annotated[
    str | None,
    QueryParameter(description="RFC 3339; now where it is left out.", schema_extra={"format": "date-time"}),
]
End = Annotated[
    str | None,
    QueryParameter(description="RFC 3339; an hour later where it is left out.", schema_extra={"format": "date-time"}),
]
EnergyWh = Annotated[
    float | None, QueryParameter(gt=0, le=10_000_000, description="Wh that the car will take, for the price; 20,000.")
]
MaxPrice = Annotated[
    float | None,
    QueryParameter(ge=0, le=1_000_000, description="Of the session, with taxes; what has no price is left out."),
]
WantedState = Annotated[BookingState | None, QueryParameter(name="state")]


class Current(enum.StrEnum):
    """Alternating or direct."""

    AC = "AC"
    DC = "DC"


class NewBooking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An EVSE to be booked: one that is named, or the first at a location that fits.

    Args:
        id_token: with which the driver will come.
        starts_at: null: now.
        connector_id: of the EVSE; null: any.
        standard, current, min_power_w, payment_method: what it must have.
        energy_wh: what the car will take, for the estimate; null: 20 kWh.
        confirm: false: it is held for some minutes only, until it is confirmed.
        may_move: to an equal EVSE at the same location, where this one is not to be had.
        payment_id: a payment that holds money for it: fees are taken of the hold, and the session that uses the booking is paid by it.
    """

    id_token: _Text
    ends_at: _Instant
    starts_at: _Instant | None = None
    id_token_type: IdTokenType | None = None
    driver_id: _Text | None = None
    evse_uid: OcpiId | None = None
    location_id: OcpiId | None = None
    connector_id: OcpiId | None = None
    standard: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    current: Current | None = None
    min_power_w: _Power | None = None
    payment_method: PaymentMethod | None = None
    energy_wh: _Energy | None = None
    confirm: bool = True
    may_move: bool = True
    payment_id: Annotated[str, Meta(pattern="^[0-9]{1,18}$")] | None = None


class BookingChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be another way; what is left out stays."""

    starts_at: _Instant | None = None
    ends_at: _Instant | None = None
    evse_uid: OcpiId | None = None
    may_move: bool | None = None


class Cancellation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a booking is canceled.

    Args:
        waive_fee: it costs nothing, whatever the terms say.
    """

    reason: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    waive_fee: bool = False


class OfferView(Struct, kw_only=True):
    """An EVSE that is free for the interval.

    Args:
        free_until: when the next booking begins; null: none is known of.
        price: of the session as estimated; null: no tariff says.
    """

    location_id: str
    location_name: str | None
    address: str
    city: str
    distance_m: int | None
    evse_uid: str
    evse_id: str | None
    station_id: str | None
    connector_id: str
    standard: str
    power_type: str
    max_power_w: int
    payment_methods: list[str]
    starts_at: datetime
    ends_at: datetime
    free_until: datetime | None
    tariff_id: str | None
    tariff_version: int | None
    agreement_id: str | None
    price: CostView | None


class TakenView(Struct, kw_only=True):
    """An interval in which an EVSE is booked, with the buffer after it."""

    starts_at: datetime
    until: datetime
    state: str


class TimelineView(Struct, kw_only=True):
    """When an EVSE is booked.

    Args:
        booked_until: where it is booked now.
        free_until: where it is not: when the next booking begins; null: none is known of.
    """

    evse_uid: str
    booked_until: datetime | None
    free_until: datetime | None
    taken: list[TakenView]


class Timelines(Struct, kw_only=True):
    """Of the EVSEs of a location."""

    items: list[TimelineView]


def near_of(latitude: float | None, longitude: float | None, radius_m: float) -> tuple[float, float, float] | None:
    if latitude is None and longitude is None:
        return None
    if latitude is None or longitude is None or not (isfinite(latitude) and isfinite(longitude) and isfinite(radius_m)):
        name = "latitude" if latitude is None else "longitude"
        raise _wrong(name, "latitude and longitude belong together, as finite numbers")
    return latitude, longitude, radius_m


def _wrong(name: str, sentence: str) -> ProblemError:
    return ProblemError(
        400, "malformed-request", f"'{name}': {sentence}.", errors=[FieldProblem(detail=sentence, parameter=name)]
    )


def decimal_of(name: str, value: float | None) -> Decimal | None:
    if value is not None and not isfinite(value):
        raise _wrong(name, "Must be a finite number")
    return None if value is None else Decimal(str(value))


def offer_view(offer: Offer, starts_at: datetime, ends_at: datetime) -> OfferView:
    evse, connector, rating = offer.evse, offer.connector, offer.rating
    agreed = offer.agreed
    return OfferView(
        location_id=evse.location_id,
        location_name=evse.location.name,
        address=evse.location.address,
        city=evse.location.city,
        distance_m=None if evse.distance_m is None else round(evse.distance_m),
        evse_uid=evse.uid,
        evse_id=evse.evse_id,
        station_id=evse.station_id,
        connector_id=connector.id,
        standard=connector.standard,
        power_type=connector.power_type.value,
        max_power_w=connector.power_w,
        payment_methods=[method.value for method in evse.payment_methods],
        starts_at=starts_at,
        ends_at=ends_at,
        free_until=evse.free_until,
        tariff_id=None if offer.tariff is None else offer.tariff.id,
        tariff_version=None if offer.tariff is None else offer.tariff.version,
        agreement_id=None if agreed is None else agreed.terms.agreement_id,
        price=None if rating is None else cost_view(rating.due, rating.currency),
    )


def _timelines(found: Sequence[EvseTimeline]) -> Timelines:
    return Timelines(
        items=[
            TimelineView(
                evse_uid=one.evse_uid,
                booked_until=one.booked_until,
                free_until=one.free_until,
                taken=[TakenView(starts_at=t.starts_at, until=t.until, state=t.state) for t in one.taken],
            )
            for one in found
        ]
    )


def booking_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    bookings = services.business.bookings

    @get("/v1/bookings/offers", tags=["bookings"], opt={"scope": Scope.BOOKINGS_READ})
    async def search_offers(
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
        id_token: Text = None,
        id_token_type: FromQuery[IdTokenType | None] = None,
        driver_id: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[OfferView]:
        """EVSEs that are free for an interval, the nearest first, with the price of a session and until when each is free. Around a
        point, at a location, or one EVSE. What begins soon must be free now, too; `available` asks for that always, `open=false`
        also finds places that are closed at the beginning. With an id token or driver, the agreement prices it."""
        near = near_of(latitude, longitude, radius_m)
        if near is None and location_id is None and evse_uid is None:
            raise _wrong("latitude", "Give latitude and longitude, location_id or evse_uid")
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
            id_token=id_token,
            id_token_type=None if id_token_type is None else id_token_type.value,
            driver_id=driver_id,
        )
        after = decode_cursor("booking-offers", cursor, (float, int, int))
        found = await bookings.offers(caller_of(request), search, limit + 1, after)
        more = encode_cursor("booking-offers", found[limit - 1][0]) if len(found) > limit else None
        start, end = start.replace(microsecond=0), end.replace(microsecond=0)
        return Page(items=[offer_view(one, start, end) for _, one in found[:limit]], next_cursor=more)

    @get("/v1/bookings/timeline", tags=["bookings"], opt={"scope": Scope.BOOKINGS_READ})
    async def get_booking_timeline(
        request: Request[Any, Any, Any],
        location_id: Text = None,
        evse_uid: Text = None,
        since: Annotated[str | None, QueryParameter(name="from", schema_extra={"format": "date-time"})] = None,
        to: To = None,
    ) -> Timelines:
        """When the EVSEs of a location, or one EVSE, are booked in a span (a day from now where it is left out), and until when each is
        free now. It names nobody: for walk-in drivers and planners."""
        if location_id is None and evse_uid is None:
            raise _wrong("location_id", "Give location_id or evse_uid")
        start, end = time_of("from", since), time_of("to", to)
        return _timelines(await bookings.timeline(caller_of(request), location_id, evse_uid, start, end))

    @get("/v1/bookings/policy", tags=["bookings"], opt={"scope": Scope.BOOKINGS_READ})
    async def get_booking_policy(request: Request[Any, Any, Any]) -> BookingPolicy:
        """What the tenant wants of bookings: times, limits, and what happens to walk-in drivers."""
        return await bookings.policy(caller_of(request))

    @put("/v1/bookings/policy", tags=["bookings"], opt={"scope": Scope.BOOKINGS_WRITE})
    async def put_booking_policy(request: Request[Any, Any, Any], data: JSONBody[BookingPolicy]) -> BookingPolicy:
        """Sets that for the bookings to come; what is left out gets its default."""
        return await bookings.put_policy(caller_of(request), data)

    @post("/v1/bookings", tags=["bookings"], opt={"scope": Scope.BOOKINGS_WRITE})
    async def create_booking(request: Request[Any, Any, Any], data: JSONBody[NewBooking]) -> Response[BookingView]:
        """Books an EVSE for an interval. 409 where it is booked, or the driver has as many bookings as may be; the sentence says what
        is free instead."""
        kind = data.id_token_type
        wish = Wish(
            id_token=data.id_token,
            id_token_type=None if kind is None else kind.value,
            driver_id=data.driver_id,
            starts_at=data.starts_at,
            ends_at=data.ends_at,
            evse_uid=data.evse_uid,
            location_id=data.location_id,
            connector_id=data.connector_id,
            standard=data.standard,
            current=None if data.current is None else data.current.value,
            min_power_w=data.min_power_w,
            payment_method=data.payment_method,
            energy_wh=None if data.energy_wh is None else Decimal(data.energy_wh),
            confirm=data.confirm,
            may_move=data.may_move,
            payment_id=None if data.payment_id is None else int(data.payment_id),
        )
        view = await bookings.create(caller_of(request), wish)
        return Response(view, headers={"Location": f"/v1/bookings/{view.id}", **etag(view.revision)})

    @get("/v1/bookings", tags=["bookings"], opt={"scope": Scope.BOOKINGS_READ, "sorts": BOOKING_SORTS})
    async def list_bookings(
        request: Request[Any, Any, Any],
        wanted_state: WantedState = None,
        location_id: Text = None,
        evse_uid: Text = None,
        id_token: Text = None,
        driver_id: Text = None,
        starts_from: From = None,
        starts_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[BookingView]:
        """Bookings, newest first."""
        after = begin(request, cursor, sort)
        wanted = BookingFilter(
            state=wanted_state and wanted_state.value,
            location_id=location_id,
            evse_uid=evse_uid,
            id_token=id_token,
            driver_id=driver_id,
            starts_from=time_of("starts_from", starts_from),
            starts_to=time_of("starts_to", starts_to),
        )
        found = await bookings.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/bookings/{id:str}", tags=["bookings"], opt={"scope": Scope.BOOKINGS_READ})
    async def get_booking(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[BookingView]:
        """A booking."""
        view = await bookings.one(caller_of(request), ident_of("booking", id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/bookings/{id:str}", tags=["bookings"], opt={"scope": Scope.BOOKINGS_WRITE})
    async def change_booking(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[BookingChange], if_match: IfMatch = None
    ) -> Response[BookingView]:
        """Extends, shortens or moves a booking, in time or to another EVSE: all of it, or nothing. In use, its end may be changed."""
        wanted = Change(starts_at=data.starts_at, ends_at=data.ends_at, evse_uid=data.evse_uid, may_move=data.may_move)
        view = await bookings.change(caller_of(request), ident_of("booking", id), wanted, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @post(
        "/v1/bookings/{id:str}/{action:str}",
        tags=["bookings"],
        opt={"scope": Scope.BOOKINGS_WRITE},
        status_code=200,
    )
    async def act_on_booking(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        action: FromPath[str],
        data: JSONBody[Cancellation],
        if_match: IfMatch = None,
    ) -> Response[BookingView]:
        """`confirm` makes a booking that is only held one that counts; `cancel` gives the EVSE free, at the fee of the terms where it
        is later than they say. 409 where it is in use or over."""
        caller, ident, revision = caller_of(request), ident_of("booking", id), revision_of(if_match)
        if action == "confirm":
            view = await bookings.confirm(caller, ident, revision)
        elif action == "cancel":
            view = await bookings.cancel(caller, ident, data.reason, revision, waive_fee=data.waive_fee)
        else:
            raise NotFoundError("action of bookings", action)
        return Response(view, headers=etag(view.revision))

    return [
        search_offers,
        get_booking_timeline,
        get_booking_policy,
        put_booking_policy,
        create_booking,
        list_bookings,
        get_booking,
        change_booking,
        act_on_booking,
    ]
