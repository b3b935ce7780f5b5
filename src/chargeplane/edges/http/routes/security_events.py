"""/v1/security-events."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from chargeplane.app.api_keys import Scope
from chargeplane.domain.security_events import EventSeverity, EventSource
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, Text, To, ident_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.security_events import SECURITY_EVENT_SORTS, SecurityEventFilter, SecurityEventView


def security_event_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    log = services.subjects.security_events

    @get("/v1/security-events", tags=["security"], opt={"scope": Scope.SECURITY_READ, "sorts": SECURITY_EVENT_SORTS})
    async def list_security_events(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        source: FromQuery[EventSource | None] = None,
        wanted_type: Annotated[str | None, QueryParameter(name="type", min_length=1, max_length=50)] = None,
        severity: FromQuery[EventSeverity | None] = None,
        received_from: From = None,
        received_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[SecurityEventView]:
        """What stations reported and what this server saw at its doors, newest first."""
        after = begin(request, cursor, sort)
        wanted = SecurityEventFilter(
            station_id=station_id,
            source=None if source is None else source.value,
            type=wanted_type,
            severity=None if severity is None else severity.value,
            received_from=time_of("received_from", received_from),
            received_to=time_of("received_to", received_to),
        )
        found = await log.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/security-events/{id:str}", tags=["security"], opt={"scope": Scope.SECURITY_READ})
    async def get_security_event(request: Request[Any, Any, Any], id: FromPath[str]) -> SecurityEventView:
        """A security event."""
        return await log.one(caller_of(request), ident_of("security event", id))

    return [list_security_events, get_security_event]
