"""/v1/me/places: where drivers may charge. /v1/me/roaming/sessions/{id}: what they do while, and after, they charge at a partner's station."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from litestar import Request, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream
from msgspec import Struct

from chargeplane.app.roaming.nearby import PlaceView
from chargeplane.domain.roaming.asking import Preferences
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.routes.roaming_provider import (
    CommandView,
    Energy,
    Latitude,
    Longitude,
    MinPower,
    PartnerQuery,
    PreferencesAnswer,
    Radius,
    RoamingSessionView,
    WaitS,
    command_view,
    filter_of,
    session_view,
)
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.sse import HEARTBEAT, HEARTBEAT_S, HELLO, LOST, event, stream
from chargeplane.edges.http.wire import ENCODER
from chargeplane.store.queries.paging import Mark

_MINE = {"driver": True}
_OVER: Final = frozenset({"COMPLETED", "INVALID"})


class _Told(Struct):
    id: str = ""


_told = msgspec.json.Decoder(_Told).decode


_NOWHERE: Final = (-1.0, 0)
"""Before the first of a list."""


def _behind(distance: Any, key: Any) -> Mark | None:
    return None if distance < 0 else (distance, key)


def my_roaming_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    provider, feed = services.business.roaming_provider, services.events

    @get(
        "/v1/me/roaming/sessions/{id:str}/live",
        tags=["me"],
        opt=_MINE,
        media_type="text/event-stream",
        return_dto=None,
    )
    async def watch_my_roaming_session(request: Request[Any, Any, Any], id: FromPath[str]) -> Stream:
        """Server-sent events of a session of one's own at a partner's station: `received_session.state` first, then each time the partner
        tells of it, as `GET /v1/me/roaming/sessions/{id}` shows it. The stream ends with the session. Where events were lost, one of
        type `lost` says so, and the stream ends."""
        caller, ident = caller_of(request), ident_of("session", id)

        async def view() -> RoamingSessionView:
            return session_view(await provider.records.session(caller, ident, driver_id=caller.driver_id))

        await view()
        # Watched before it is read: nothing falls between.
        watcher = feed.watch(caller.tenant_id, kinds=frozenset({"received_session"}))

        async def pieces() -> AsyncIterator[bytes]:
            yield HELLO
            known = await view()
            yield event("received_session.state", ENCODER.encode(known))
            while known.status not in _OVER and not watcher.closed:
                found = await watcher.next(HEARTBEAT_S)
                if found is None:
                    if watcher.lost:
                        yield LOST
                        return
                    if not watcher.closed:
                        yield HEARTBEAT
                elif _told(found.data).id == str(ident):
                    known = await view()
                    yield event(found.kind, ENCODER.encode(known), found.id)

        return stream(pieces(), watcher.close)

    @post("/v1/me/roaming/sessions/{id:str}/unlock", tags=["me"], opt=_MINE, status_code=202)
    async def unlock_my_cable_at_partner(
        request: Request[Any, Any, Any], id: FromPath[str], wait_s: WaitS = 0
    ) -> CommandView:
        """Has the partner unlock the connector at which one charged until half an hour ago, where it did not by itself."""
        caller = caller_of(request)
        return command_view(
            await provider.asking.unlock_after(
                caller, ident_of("session", id), driver_id=caller.driver_id, wait_s=wait_s
            )
        )

    @put("/v1/me/roaming/sessions/{id:str}/charging-preferences", tags=["me"], opt=_MINE)
    async def tell_my_preferences(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Preferences]
    ) -> PreferencesAnswer:
        """Tells the operator what one needs of a session of one's own: how, until when, how much."""
        caller = caller_of(request)
        answer = await provider.asking.prefer(caller, ident_of("session", id), data, driver_id=caller.driver_id)
        return PreferencesAnswer(response=answer)

    @get("/v1/me/places", tags=["me"], opt=_MINE)
    async def list_places_for_me(
        request: Request[Any, Any, Any],
        latitude: Latitude = None,
        longitude: Longitude = None,
        radius_m: Radius = 10_000,
        q: Text = None,
        standard: Text = None,
        current: FromQuery[Literal["AC", "DC"] | None] = None,
        min_power_w: MinPower = None,
        available: FromQuery[bool | None] = None,
        partner: PartnerQuery = None,
        energy_wh: Energy = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[PlaceView]:
        """Where one may charge around a point, at our stations and at partners', the nearest first, and what it costs there by the tariff
        of the connector. What one's own agreement makes of it `POST /v1/me/price` says."""
        if latitude is None and longitude is None:
            sentence = "A point is required"
            raise ProblemError(
                400,
                "malformed-request",
                f"'latitude': {sentence}.",
                errors=[FieldProblem(detail=sentence, parameter="latitude")],
            )
        wanted = filter_of(latitude, longitude, radius_m, q, standard, current, min_power_w, available, partner)
        place = decode_cursor("my-places", cursor, (float, int, float, int))
        after = (None, None) if place is None else (_behind(place[0], place[1]), _behind(place[2], place[3]))
        energy = None if energy_wh is None else Decimal(str(energy_wh))
        found = await provider.nearby.around(caller_of(request), wanted, limit + 1, after, energy_wh=energy)
        more = None
        if len(found) > limit:
            ours, theirs = found[limit - 1][0]
            more = encode_cursor("my-places", (*(ours or _NOWHERE), *(theirs or _NOWHERE)))
        return Page(items=[view for _, view in found[:limit]], next_cursor=more)

    return [list_places_for_me, watch_my_roaming_session, unlock_my_cable_at_partner, tell_my_preferences]
