"""/v1/events: everything that changes, live."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from chargeplane.app.api_keys import Scope
from chargeplane.app.events import LiveEvent, Watcher
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.sse import HEARTBEAT, HEARTBEAT_S, HELLO, LOST, event, stream
from chargeplane.edges.http.wire import ENCODER


def event_routes(services: Services) -> list[HTTPRouteHandler]:
    """The route."""
    feed = services.events

    @get(
        "/v1/events",
        tags=["events"],
        opt={"scope": Scope.EVENTS_READ},
        media_type="text/event-stream",
        return_dto=None,
    )
    async def watch_events(
        request: Request[Any, Any, Any],
        type: Annotated[
            str | None,
            QueryParameter(
                max_length=1000,
                description="Only these, comma-separated: `transaction.ended`, or `transaction` for all of a noun.",
            ),
        ] = None,
        station_id: Annotated[str | None, QueryParameter(max_length=255, description="Of this station only.")] = None,
        last_event_id: Annotated[
            str | None,
            HeaderParameter(
                name="Last-Event-ID", max_length=100, description="The last event seen: what followed comes first."
            ),
        ] = None,
    ) -> Stream:
        """Server-sent events: everything that changes, after it was committed. Each has `type`, `at`, `station_id` and
        `data`. Lossy: where events were lost, one of type `lost` says so and the stream ends; connect again and read
        the resources anew."""
        kinds = frozenset(part.strip() for part in (type or "").split(",") if part.strip())
        watcher = feed.watch(
            caller_of(request).tenant_id, kinds=kinds, station_id=station_id, after=last_event_id or None
        )
        return stream(_events(watcher), watcher.close)

    return [watch_events]


async def _events(watcher: Watcher) -> AsyncIterator[bytes]:
    yield HELLO
    resumed = not watcher.lost
    if not resumed:
        yield LOST
        watcher.lost = False
    while not watcher.closed:
        found = await watcher.next(HEARTBEAT_S)
        if found is not None:
            yield event(found.kind, _body(found), found.id)
        elif watcher.lost:
            yield LOST
            return
        elif not watcher.closed:
            yield HEARTBEAT


def _body(found: LiveEvent) -> bytes:
    return ENCODER.encode(
        {"type": found.kind, "at": found.at, "station_id": found.station_id, "data": msgspec.Raw(found.data)}
    )
