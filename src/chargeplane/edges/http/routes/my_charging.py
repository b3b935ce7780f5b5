"""/v1/me: what charging costs a driver before it begins, what the driver charged, and how it goes at this moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.cdrs.explaining import Explanation
from chargeplane.app.cdrs.views import CdrView
from chargeplane.app.events import Watcher
from chargeplane.app.people.charges import ChargeAnswer
from chargeplane.app.sessions.views import SessionView
from chargeplane.domain.cdrs.cdr import CdrKind
from chargeplane.domain.cdrs.session import SessionState
from chargeplane.domain.languages import known
from chargeplane.domain.rating import Expected, prices_now
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.money import CostView
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.cdrs import CdrWhole, whole_cdr
from chargeplane.edges.http.routes.common import From, Text, To, ident_of, time_of
from chargeplane.edges.http.routes.sessions import Language
from chargeplane.edges.http.routes.tariffs import RatingView, rating_view, unit_view
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.sse import HEARTBEAT, HEARTBEAT_S, HELLO, LOST, event, stream
from chargeplane.edges.http.wire import ENCODER
from chargeplane.store.queries.cdrs import CDR_SORTS, CdrFilter
from chargeplane.store.queries.sessions import SESSION_SORTS, SessionFilter

_MINE = {"driver": True}
_Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]
_OVER = frozenset({SessionState.SETTLED, SessionState.CREDITED})
WaitS = Annotated[float, QueryParameter(ge=0, le=60, description="Seconds to wait for the station's answer.")]
EvseUid = Annotated[str, Meta(min_length=1, max_length=36)]
EvseCode = Annotated[str, Meta(min_length=1, max_length=64)]


class ChargeToPrice(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where, and how much, as far as it is known.

    Args:
        evse_uid, evse_code: one of them; the code is the one in the QR code on the EVSE.
        energy_wh, duration_s: that the session will have, for the estimate; none of them: no estimate.
        parking_s: connected after charging has ended.
    """

    evse_uid: EvseUid | None = None
    evse_code: EvseCode | None = None
    energy_wh: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    duration_s: _Seconds | None = None
    parking_s: _Seconds = 0
    language: Annotated[str, Meta(max_length=35)] | None = None


class ChargePriceView(Struct, kw_only=True):
    """What charging at an EVSE costs now.

    Args:
        agreement: number of the agreement that it is by; null: by the tariff of the connector.
        until: until when these prices hold; null: for good, or no tariff holds.
        per_kwh, per_hour, per_parking_hour, fee: in the first moment; null where nothing is charged for it.
        tariff: all of it; null: none holds.
        estimate: of the session as it was asked for, line by line.
    """

    location_id: str
    location_name: str | None
    evse_uid: str
    at: datetime
    agreement: str | None
    currency: str | None
    until: datetime | None
    per_kwh: CostView | None
    per_hour: CostView | None
    per_parking_hour: CostView | None
    fee: CostView | None
    tariff: Tariff | None
    estimate: RatingView | None


class ChargePlace(Struct, kw_only=True, forbid_unknown_fields=True):
    """An EVSE, by its uid or by the code in the QR code on it."""

    evse_uid: EvseUid | None = None
    evse_code: EvseCode | None = None


def my_charging_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business, feed = services.business, services.events
    own, charges = business.own, business.charges

    @post("/v1/me/price", tags=["me"], opt=_MINE, status_code=200)
    async def price_my_charge(request: Request[Any, Any, Any], data: JSONBody[ChargeToPrice]) -> ChargePriceView:
        """What charging at an EVSE costs before it begins: by one's own agreement where it says so, else by the EVSE's tariff."""
        expected = None
        if data.energy_wh is not None or data.duration_s is not None:
            energy = None if data.energy_wh is None else Decimal(data.energy_wh)
            expected = Expected(
                at=datetime.now(UTC), energy_wh=energy, duration_s=data.duration_s, parking_s=data.parking_s
            )
        found = await charges.price(
            caller_of(request), evse_uid=data.evse_uid, evse_code=data.evse_code, expected=expected
        )
        place, tariff = found.place, found.tariff
        answer = ChargePriceView(
            location_id=place.location_id,
            location_name=place.location_name,
            evse_uid=place.evse_uid,
            at=found.at,
            agreement=found.agreement,
            currency=None if tariff is None else tariff.currency,
            until=None,
            per_kwh=None,
            per_hour=None,
            per_parking_hour=None,
            fee=None,
            tariff=tariff,
            estimate=None if found.estimate is None else rating_view(found.estimate, data.language),
        )
        if tariff is not None:
            power = Decimal(max((one.power_w for one in place.connectors), default=0)) or None
            now = prices_now(tariff, place.time_zone, found.at, power_w=power)
            answer.until = now.until
            answer.per_kwh = unit_view(now.per_kwh, tariff.currency)
            answer.per_hour = unit_view(now.per_hour, tariff.currency)
            answer.per_parking_hour = unit_view(now.per_parking_hour, tariff.currency)
            answer.fee = unit_view(now.fee, tariff.currency)
        return answer

    @post("/v1/me/unlock", tags=["me"], opt=_MINE, status_code=202)
    async def unlock_my_cable(
        request: Request[Any, Any, Any], data: JSONBody[ChargePlace], wait_s: WaitS = 0
    ) -> ChargeAnswer:
        """Has the connector unlocked where one charges, or did within half an hour."""
        return await charges.unlock(caller_of(request), evse_uid=data.evse_uid, evse_code=data.evse_code, wait_s=wait_s)

    @get("/v1/me/sessions", tags=["me"], opt={**_MINE, "sorts": SESSION_SORTS})
    async def list_my_sessions(
        request: Request[Any, Any, Any],
        wanted_state: Annotated[SessionState | None, QueryParameter(name="state")] = None,
        location_id: Text = None,
        evse_uid: Text = None,
        started_from: From = None,
        started_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[SessionView]:
        """One's charging sessions with what they cost so far, the one that started last first."""
        after = begin(request, cursor, sort)
        wanted = SessionFilter(
            state=wanted_state,
            location_id=location_id,
            evse_uid=evse_uid,
            started_from=time_of("started_from", started_from),
            started_to=time_of("started_to", started_to),
        )
        found = await own.sessions(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get("/v1/me/sessions/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_session(request: Request[Any, Any, Any], id: FromPath[str]) -> SessionView:
        """A charging session of one's own."""
        return await own.session(caller_of(request), ident_of("session", id))

    @get("/v1/me/sessions/{id:str}/explanation", tags=["me"], opt=_MINE)
    async def explain_my_session(
        request: Request[Any, Any, Any], id: FromPath[str], language: Language = None
    ) -> Explanation:
        """Every line of what it costs, in words, with the meter values it rests on."""
        caller = caller_of(request)
        if language is None:
            language = (await business.drivers.one(caller, caller.driver_id)).language
        return await own.explain(caller, ident_of("session", id), known(language))

    @get(
        "/v1/me/sessions/{id:str}/live",
        tags=["me"],
        opt=_MINE,
        media_type="text/event-stream",
        return_dto=None,
    )
    async def watch_my_session(request: Request[Any, Any, Any], id: FromPath[str]) -> Stream:
        """Server-sent events of a charging session: `session.state` first, then each change of it, as `GET /v1/me/sessions/{id}` shows it.
        The stream ends when the session is settled. Where events were lost, one of type `lost` says so, and the stream ends."""
        caller, ident = caller_of(request), ident_of("session", id)
        await own.session(caller, ident)
        # Watched before it is read: nothing falls between.
        watcher = feed.watch(caller.tenant_id, kinds=frozenset({"session"}))

        async def pieces() -> AsyncIterator[bytes]:
            yield HELLO
            first = await own.session(caller, ident)
            yield event("session.state", ENCODER.encode(first))
            if first.state not in _OVER:
                async for piece in _changes(watcher, str(ident), caller):
                    yield piece

        return stream(pieces(), watcher.close)

    @get("/v1/me/cdrs", tags=["me"], opt={**_MINE, "sorts": CDR_SORTS})
    async def list_my_cdrs(
        request: Request[Any, Any, Any],
        kind: FromQuery[CdrKind | None] = None,
        location_id: Text = None,
        evse_uid: Text = None,
        ended_from: From = None,
        ended_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CdrView]:
        """What one's sessions came to, the one that ended last first."""
        after = begin(request, cursor, sort)
        wanted = CdrFilter(
            kind=kind,
            location_id=location_id,
            evse_uid=evse_uid,
            ended_from=time_of("ended_from", ended_from),
            ended_to=time_of("ended_to", ended_to),
        )
        found = await own.cdrs(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get("/v1/me/cdrs/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_cdr(request: Request[Any, Any, Any], id: FromPath[str], language: Language = None) -> CdrWhole:
        """A CDR of one's own with all it says."""
        view, said = await own.cdr(caller_of(request), ident_of("CDR", id))
        return whole_cdr(view, said, known(language))

    @get(
        "/v1/me/cdrs/{id:str}/transparency-file",
        tags=["me"],
        opt={**_MINE, "files": ("application/xml",)},
    )
    async def get_my_transparency_file(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[bytes]:
        """The XML file with which one checks the signed meter values of a CDR of one's own by the S.A.F.E. transparency software; of
        partners' stations too."""
        caller, ident = caller_of(request), ident_of("CDR", id)
        content = await business.meter_keys.transparency_file(caller, ident, driver_id=caller.driver_id)
        disposition = f'attachment; filename="cdr-{ident}.xml"'
        return Response(content, media_type="application/xml", headers={"Content-Disposition": disposition})

    return [
        get_my_transparency_file,
        price_my_charge,
        unlock_my_cable,
        list_my_sessions,
        get_my_session,
        explain_my_session,
        watch_my_session,
        list_my_cdrs,
        get_my_cdr,
    ]


class _Told(Struct):
    """What of an event says whose it is."""

    id: str = ""
    driver_id: str | None = None
    state: SessionState | None = None


_told = msgspec.json.Decoder(_Told).decode


async def _changes(watcher: Watcher, ident: str, caller: Caller) -> AsyncIterator[bytes]:
    while not watcher.closed:
        found = await watcher.next(HEARTBEAT_S)
        if found is None:
            if watcher.lost:
                yield LOST
                return
            if not watcher.closed:
                yield HEARTBEAT
            continue
        said = _told(found.data)
        if said.id != ident or said.driver_id != str(caller.driver_id):
            continue
        yield event(found.kind, found.data, found.id)
        if said.state in _OVER:
            return
