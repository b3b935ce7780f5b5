"""The OCPP log of a station, page by page and live."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery
from litestar.response import Stream

from chargeplane.app.api_keys import Scope
from chargeplane.app.message_feed import MessageWatcher
from chargeplane.app.messages import Messages
from chargeplane.app.ports import LoggedCall
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, StationIdPath, Text, To, time_of
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.sse import HEARTBEAT, HEARTBEAT_S, HELLO, LOST, event, stream
from chargeplane.edges.http.wire import ENCODER
from chargeplane.store.queries.messages import MESSAGE_SORTS, MessageFilter, MessageView
from chargeplane.store.queries.payloads import as_json


class DirectionWord(enum.StrEnum):
    """Who made the CALL."""

    FROM_STATION = "from_station"
    TO_STATION = "to_station"


class OutcomeWord(enum.StrEnum):
    """How a CALL ended."""

    CALLRESULT = "callresult"
    CALLERROR = "callerror"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    REFUSED = "refused"


def message_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    messages = services.messages

    @get(
        "/v1/charging-stations/{station_id:str}/messages",
        tags=["messages"],
        opt={"scope": Scope.MESSAGES_READ, "sorts": MESSAGE_SORTS},
    )
    async def list_messages(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        direction: FromQuery[DirectionWord | None] = None,
        action: Text = None,
        message_id: Text = None,
        outcome: FromQuery[OutcomeWord | None] = None,
        sent_from: From = None,
        sent_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[MessageView]:
        """The OCPP log of a station, newest first: each CALL with how it ended."""
        after = begin(request, cursor, sort)
        wanted = MessageFilter(
            from_station=None if direction is None else direction is DirectionWord.FROM_STATION,
            action=action,
            message_id=message_id,
            outcome=outcome and outcome.value,
            sent_from=time_of("sent_from", sent_from),
            sent_to=time_of("sent_to", sent_to),
        )
        found = await messages.page(caller_of(request), station_id, wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get(
        "/v1/charging-stations/{station_id:str}/messages/live",
        tags=["messages"],
        opt={"scope": Scope.MESSAGES_READ},
        media_type="text/event-stream",
        return_dto=None,
    )
    async def watch_messages(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        direction: FromQuery[DirectionWord | None] = None,
        action: Text = None,
    ) -> Stream:
        """The OCPP log of a station from now on, as server-sent events of type `message`."""
        from_station = None if direction is None else direction is DirectionWord.FROM_STATION
        watcher = await messages.watch(caller_of(request), station_id)
        return stream(_entries(messages, watcher, from_station, action and action.lower()), watcher.close)

    return [list_messages, watch_messages]


async def _entries(
    messages: Messages, watcher: MessageWatcher, from_station: bool | None, action: str | None
) -> AsyncIterator[bytes]:
    yield HELLO
    while not watcher.closed:
        entry = await watcher.next(HEARTBEAT_S)
        if entry is None:
            if watcher.lost:
                yield LOST
                return
            if not watcher.closed:
                yield HEARTBEAT
        elif (from_station is None or entry.from_station is from_station) and (
            action is None or entry.action.lower() == action
        ):
            yield event("message", ENCODER.encode(_view(entry, await messages.payload_of(entry))))


def _view(entry: LoggedCall, payload: bytes | str | None) -> MessageView:
    return MessageView(
        at=entry.at,
        direction="from_station" if entry.from_station else "to_station",
        action=entry.action,
        message_id=entry.message_id,
        payload=as_json(payload),
        response=as_json(entry.response),
        outcome=entry.outcome,
        error_code=entry.error_code,
        latency_ms=None if entry.latency_us is None else entry.latency_us / 1000,
    )
