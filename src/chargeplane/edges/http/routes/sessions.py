"""/v1/sessions: the business view of transactions, and what they cost, line by line."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from chargeplane.app.api_keys import Scope
from chargeplane.app.cdrs.explaining import Explanation
from chargeplane.app.sessions.views import SessionView
from chargeplane.domain.cdrs.session import SessionState
from chargeplane.domain.languages import known
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, Text, To, ident_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.sessions import SESSION_SORTS, SessionFilter

Ident = Annotated[str | None, QueryParameter(pattern=r"^[0-9]{1,18}$")]
Language = Annotated[str | None, QueryParameter(max_length=35, description="ISO 639-1; English where it is not there.")]


def number_of(ident: str | None) -> int | None:
    """An id of the query, whose form was checked already."""
    return None if ident is None else int(ident)


def session_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    sessions = services.business.sessions

    @get("/v1/sessions", tags=["sessions"], opt={"scope": Scope.SESSIONS_READ, "sorts": SESSION_SORTS})
    async def list_sessions(
        request: Request[Any, Any, Any],
        wanted_state: Annotated[SessionState | None, QueryParameter(name="state")] = None,
        location_id: Text = None,
        evse_uid: Text = None,
        station_id: Text = None,
        id_token: Text = None,
        driver_id: Ident = None,
        agreement_id: Ident = None,
        payment_id: Ident = None,
        tariff_id: Text = None,
        started_from: From = None,
        started_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[SessionView]:
        """Charging sessions, the one that started last first."""
        after = begin(request, cursor, sort)
        wanted = SessionFilter(
            state=wanted_state,
            location_id=location_id,
            evse_uid=evse_uid,
            station_id=station_id,
            id_token=id_token,
            driver_id=number_of(driver_id),
            agreement_id=number_of(agreement_id),
            payment_id=number_of(payment_id),
            tariff_id=tariff_id,
            started_from=time_of("started_from", started_from),
            started_to=time_of("started_to", started_to),
        )
        found = await sessions.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get("/v1/sessions/{session_id:str}", tags=["sessions"], opt={"scope": Scope.SESSIONS_READ})
    async def show_session(request: Request[Any, Any, Any], session_id: FromPath[str]) -> SessionView:
        """A charging session; its id is that of its transaction."""
        return await sessions.one(caller_of(request), ident_of("session", session_id))

    @get("/v1/sessions/{session_id:str}/explanation", tags=["sessions"], opt={"scope": Scope.SESSIONS_READ})
    async def explain_session(
        request: Request[Any, Any, Any], session_id: FromPath[str], language: Language = None
    ) -> Explanation:
        """Every line of what it costs, in words, with the meter values it rests on."""
        return await sessions.explain(caller_of(request), ident_of("session", session_id), known(language))

    @post(
        "/v1/sessions/{session_id:str}/refresh",
        tags=["sessions"],
        opt={"scope": Scope.SESSIONS_WRITE},
        status_code=202,
    )
    async def refresh_session(request: Request[Any, Any, Any], session_id: FromPath[str]) -> SessionView:
        """Has it rated, its signed values verified, and settled where it is over: now instead of soon."""
        ident = ident_of("session", session_id)
        await sessions.refresh(caller_of(request), ident)
        return await sessions.one(caller_of(request), ident)

    return [list_sessions, show_session, explain_session, refresh_session]
