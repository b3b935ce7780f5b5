"""Display messages and tariffs at stations, battery swaps, streams of values, settlements."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.station_tariffs import TariffsOfStation
from chargeplane.domain.display import DisplayMessage
from chargeplane.domain.station_tariffs import StationTariff, TariffsCleared
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, StationIdPath, Text, To, time_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import NotFoundError
from chargeplane.store.queries.battery_swaps import SWAP_SORTS, BatterySwapView
from chargeplane.store.queries.display_messages import DisplayMessageView
from chargeplane.store.queries.event_streams import STREAM_VALUE_SORTS, EventStreamView, StreamValueView, Within
from chargeplane.store.queries.settlements import SETTLEMENT_SORTS, SettlementView

_STATION = "/v1/charging-stations/{station_id:str}"
_Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]
WaitS = Annotated[float, QueryParameter(ge=0, le=60, description="How long to wait for a station that is away.")]


class Asked(Struct, kw_only=True):
    """The number a station tells by; see /v1/charging-stations/{station_id}/requests."""

    request_id: int


class Pace(Struct, kw_only=True, forbid_unknown_fields=True):
    """When a station sends what it gathered: after so long, after so many values, or whichever comes first."""

    interval_s: _Number | None = None
    max_values: _Number | None = None


def display_and_cost_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    subjects = services.subjects

    @get(f"{_STATION}/display-messages", tags=["display"], opt={"scope": Scope.STATIONS_READ})
    async def list_display_messages(
        request: Request[Any, Any, Any], station_id: StationIdPath
    ) -> list[DisplayMessageView]:
        """Messages on a station's display: ours, and those it says it has by itself."""
        return await subjects.display_messages.of_station(caller_of(request), station_id)

    @post(f"{_STATION}/display-messages", tags=["display"], opt={"scope": Scope.COMMANDS}, status_code=201)
    async def add_display_message(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        data: JSONBody[DisplayMessage],
        wait_s: WaitS = 0.0,
    ) -> DisplayMessageView:
        """Shows a message under a free number. `state` says whether the station took it."""
        return await subjects.display_messages.put(caller_of(request), station_id, None, data, wait_s)

    @post(f"{_STATION}/display-messages/refresh", tags=["display"], opt={"scope": Scope.COMMANDS}, status_code=202)
    async def refresh_display_messages(request: Request[Any, Any, Any], station_id: StationIdPath) -> Asked:
        """Has the station tell all its messages."""
        return Asked(request_id=await subjects.display_messages.refresh(caller_of(request), station_id))

    @get(f"{_STATION}/display-messages/{{number:str}}", tags=["display"], opt={"scope": Scope.STATIONS_READ})
    async def get_display_message(
        request: Request[Any, Any, Any], station_id: StationIdPath, number: FromPath[str]
    ) -> DisplayMessageView:
        """A message on a station's display."""
        return await subjects.display_messages.one(caller_of(request), station_id, _number(number))

    @put(f"{_STATION}/display-messages/{{number:str}}", tags=["display"], opt={"scope": Scope.COMMANDS})
    async def put_display_message(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        number: FromPath[str],
        data: JSONBody[DisplayMessage],
        wait_s: WaitS = 0.0,
    ) -> DisplayMessageView:
        """Shows a message under this number, in place of the one that has it."""
        caller = caller_of(request)
        return await subjects.display_messages.put(caller, station_id, _number(number), data, wait_s)

    @delete(f"{_STATION}/display-messages/{{number:str}}", tags=["display"], opt={"scope": Scope.COMMANDS})
    async def clear_display_message(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        number: FromPath[str],
        wait_s: WaitS = 0.0,
    ) -> None:
        """Takes a message off the display. 409 where the station refuses or is not reached."""
        await subjects.display_messages.clear(caller_of(request), station_id, _number(number), wait_s)

    @get(f"{_STATION}/tariffs", tags=["display"], opt={"scope": Scope.STATIONS_READ})
    async def list_station_tariffs(
        request: Request[Any, Any, Any], station_id: StationIdPath, ask: FromQuery[bool] = False
    ) -> TariffsOfStation:
        """Tariffs a station calculates with (OCPP 2.1); with `ask` also what it says it has."""
        return await subjects.station_tariffs.of_station(caller_of(request), station_id, ask)

    @put(f"{_STATION}/tariffs/{{evse_id:str}}", tags=["display"], opt={"scope": Scope.COMMANDS})
    async def put_station_tariff(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        evse_id: FromPath[str],
        data: JSONBody[StationTariff],
        wait_s: WaitS = 0.0,
    ) -> TariffsOfStation:
        """Sets the default tariff of an EVSE, or of all with 0. `state` says whether the station took it."""
        caller = caller_of(request)
        return await subjects.station_tariffs.put(caller, station_id, _number(evse_id), data, wait_s)

    @delete(f"{_STATION}/tariffs", tags=["display"], opt={"scope": Scope.COMMANDS}, status_code=200)
    async def clear_station_tariffs(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        evse_id: Annotated[int | None, QueryParameter(ge=0, le=2**31 - 1)] = None,
        tariff_id: Text = None,
        wait_s: WaitS = 0.0,
    ) -> TariffsCleared:
        """Has a station forget its default tariffs: all, of one EVSE, or one of them."""
        wanted = () if tariff_id is None else (tariff_id,)
        return await subjects.station_tariffs.clear(caller_of(request), station_id, evse_id, wanted, wait_s)

    @get("/v1/battery-swaps", tags=["battery-swaps"], opt={"scope": Scope.TRANSACTIONS_READ, "sorts": SWAP_SORTS})
    async def list_battery_swaps(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[BatterySwapView]:
        """Swaps of batteries, newest first."""
        after = begin(request, cursor, sort)
        found = await subjects.battery_swaps.page(caller_of(request), station_id, limit + 1, after)
        return page_of(request, found, limit, after)

    @get(f"{_STATION}/event-streams", tags=["event-streams"], opt={"scope": Scope.STATIONS_READ})
    async def list_event_streams(request: Request[Any, Any, Any], station_id: StationIdPath) -> list[EventStreamView]:
        """Streams of periodic values of a station (OCPP 2.1)."""
        return await subjects.event_streams.of_station(caller_of(request), station_id)

    @post(f"{_STATION}/event-streams/refresh", tags=["event-streams"], opt={"scope": Scope.COMMANDS}, status_code=200)
    async def refresh_event_streams(
        request: Request[Any, Any, Any], station_id: StationIdPath
    ) -> list[EventStreamView]:
        """Asks the station for its open streams."""
        return await subjects.event_streams.refresh(caller_of(request), station_id)

    @put(f"{_STATION}/event-streams/{{number:str}}", tags=["event-streams"], opt={"scope": Scope.COMMANDS})
    async def adjust_event_stream(
        request: Request[Any, Any, Any], station_id: StationIdPath, number: FromPath[str], data: JSONBody[Pace]
    ) -> list[EventStreamView]:
        """Has a stream sent more or less often."""
        caller = caller_of(request)
        return await subjects.event_streams.adjust(
            caller, station_id, _number(number), data.interval_s, data.max_values
        )

    @get(
        f"{_STATION}/event-streams/{{number:str}}/values",
        tags=["event-streams"],
        opt={"scope": Scope.STATIONS_READ, "sorts": STREAM_VALUE_SORTS},
    )
    async def list_event_stream_values(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        number: FromPath[str],
        since: From = None,
        until: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[StreamValueView]:
        """Values of a stream, newest first."""
        after = begin(request, cursor, sort)
        caller = caller_of(request)
        within = Within(since=time_of("since", since), until=time_of("until", until))
        found = await subjects.event_streams.values(caller, station_id, _number(number), within, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[0])

    @get("/v1/settlements", tags=["settlements"], opt={"scope": Scope.TRANSACTIONS_READ, "sorts": SETTLEMENT_SORTS})
    async def list_settlements(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        status: Text = None,
        psp_ref: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[SettlementView]:
        """Payments at stations' own terminals and how they ended, newest first."""
        after = begin(request, cursor, sort)
        found = await subjects.station_payments.page(caller_of(request), station_id, status, psp_ref, limit + 1, after)
        return page_of(request, found, limit, after)

    return [
        list_display_messages,
        add_display_message,
        refresh_display_messages,
        get_display_message,
        put_display_message,
        clear_display_message,
        list_station_tariffs,
        put_station_tariff,
        clear_station_tariffs,
        list_battery_swaps,
        list_event_streams,
        refresh_event_streams,
        adjust_event_stream,
        list_event_stream_values,
        list_settlements,
    ]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= 2**31 - 1):
        raise NotFoundError("number", text)
    return int(text)
