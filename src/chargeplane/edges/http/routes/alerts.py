"""/v1/alerts."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.domain.alerts import Severity
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.alerts import ALERT_SORTS, AlertFilter, AlertView


class Clearing(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why an alert is over."""

    because: Annotated[str, Meta(min_length=1, max_length=500)]


def alert_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    alerts = services.subjects.alerts

    @get("/v1/alerts", tags=["alerts"], opt={"scope": Scope.ALERTS_READ, "sorts": ALERT_SORTS})
    async def list_alerts(
        request: Request[Any, Any, Any],
        standing: FromQuery[bool | None] = None,
        acknowledged: FromQuery[bool | None] = None,
        severity: FromQuery[Severity | None] = None,
        kind: Text = None,
        station_id: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[AlertView]:
        """What a person should look at, newest first."""
        after = begin(request, cursor, sort)
        wanted = AlertFilter(
            standing=standing,
            acknowledged=acknowledged,
            severity=None if severity is None else severity.value,
            kind=kind,
            station_id=station_id,
        )
        found = await alerts.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/alerts/{id:str}", tags=["alerts"], opt={"scope": Scope.ALERTS_READ})
    async def get_alert(request: Request[Any, Any, Any], id: FromPath[str]) -> AlertView:
        """An alert."""
        return await alerts.one(caller_of(request), ident_of("alert", id))

    @post("/v1/alerts/{id:str}/acknowledge", tags=["alerts"], opt={"scope": Scope.ALERTS_WRITE}, status_code=200)
    async def acknowledge_alert(request: Request[Any, Any, Any], id: FromPath[str]) -> AlertView:
        """Notes that the caller looks after it."""
        return await alerts.acknowledge(caller_of(request), ident_of("alert", id))

    @post("/v1/alerts/{id:str}/clear", tags=["alerts"], opt={"scope": Scope.ALERTS_WRITE}, status_code=200)
    async def clear_alert(request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Clearing]) -> AlertView:
        """Ends an alert by hand. It is raised anew should it happen again."""
        return await alerts.settle(caller_of(request), ident_of("alert", id), data.because)

    return [list_alerts, get_alert, acknowledge_alert, clear_alert]
