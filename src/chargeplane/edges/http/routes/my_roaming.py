"""/v1/me/roaming/sessions/{id}: what drivers do while, and after, they charge at a partner's station."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from litestar import Request, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.response import Stream
from msgspec import Struct

from chargeplane.domain.roaming.asking import Preferences
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.routes.common import ident_of
from chargeplane.edges.http.routes.roaming_provider import (
    CommandView,
    PreferencesAnswer,
    RoamingSessionView,
    WaitS,
    command_view,
    session_view,
)
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.sse import HEARTBEAT, HEARTBEAT_S, HELLO, LOST, event, stream
from chargeplane.edges.http.wire import ENCODER

_MINE = {"driver": True}
_OVER: Final = frozenset({"COMPLETED", "INVALID"})


class _Told(Struct):
    id: str = ""


_told = msgspec.json.Decoder(_Told).decode


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

    return [watch_my_roaming_session, unlock_my_cable_at_partner, tell_my_preferences]
