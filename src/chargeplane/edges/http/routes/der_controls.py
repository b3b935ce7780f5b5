"""DER controls of stations (OCPP 2.1)."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, PathParameter
from msgspec import Struct

from chargeplane.app.api_keys import Scope
from chargeplane.domain.der_controls import (
    Curve,
    DerControl,
    DerControlType,
    EnterService,
    FixedPowerFactor,
    FixedVar,
    FrequencyDroop,
    Gradient,
    MaxDischarge,
)
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.charging_profiles import Ended, ended
from chargeplane.edges.http.routes.common import StateText, StationIdPath, Text
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.der_controls import DER_CONTROL_SORTS, DER_EVENT_SORTS, DerControlView, DerEventView

_TAG = "smart-charging"
_PATH = "/v1/charging-stations/{station_id:str}/der-controls"
ControlId = Annotated[str, PathParameter(max_length=36, description="Of the control, unique on the station.")]


class DerControlBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """A DER control: its type, and the settings of that type."""

    type: DerControlType
    is_default: bool
    curve: Curve | None = None
    enter_service: EnterService | None = None
    fixed_power_factor: FixedPowerFactor | None = None
    fixed_var: FixedVar | None = None
    frequency_droop: FrequencyDroop | None = None
    gradient: Gradient | None = None
    max_discharge: MaxDischarge | None = None


def der_control_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    controls = services.subjects.der_controls

    @get(_PATH, tags=[_TAG], opt={"scope": Scope.STATIONS_READ, "sorts": DER_CONTROL_SORTS})
    async def list_der_controls(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        wanted_state: StateText = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[DerControlView]:
        """What a station does by itself when voltage or frequency leave their bounds, by id."""
        after = begin(request, cursor, sort)
        found = await controls.page(caller_of(request), station_id, wanted_state, limit + 1, after)
        return page_of(request, found, limit, after)

    @put(f"{_PATH}/{{control_id:str}}", tags=[_TAG], opt={"scope": Scope.COMMANDS})
    async def put_der_control(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        control_id: ControlId,
        data: JSONBody[DerControlBody],
    ) -> DerControlView:
        """Sets a DER control at a connected station; `state` says what came of it."""
        fields = {name: getattr(data, name) for name in data.__struct_fields__}
        return await controls.put(caller_of(request), station_id, DerControl(id=control_id, **fields))

    @delete(f"{_PATH}/{{control_id:str}}", tags=[_TAG], opt={"scope": Scope.COMMANDS}, status_code=200)
    async def delete_der_control(
        request: Request[Any, Any, Any], station_id: StationIdPath, control_id: ControlId
    ) -> Ended:
        """Removes a DER control from a connected station."""
        return ended(await controls.clear(caller_of(request), station_id, control_id))

    @post(f"{_PATH}/report", tags=[_TAG], opt={"scope": Scope.COMMANDS}, status_code=202)
    async def report_der_controls(request: Request[Any, Any, Any], station_id: StationIdPath) -> Ended:
        """Asks a station for all of its DER controls."""
        number, outcome = await controls.ask_report(caller_of(request), station_id)
        return ended(outcome, number)

    @get(
        "/v1/charging-stations/{station_id:str}/der-events",
        tags=[_TAG],
        opt={"scope": Scope.STATIONS_READ, "sorts": DER_EVENT_SORTS},
    )
    async def list_der_events(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        kind: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[DerEventView]:
        """What DER controls made a station do: alarms, and scheduled controls that began or ended; newest first."""
        after = begin(request, cursor, sort)
        found = await controls.events(caller_of(request), station_id, kind, limit + 1, after)
        return page_of(request, found, limit, after)

    return [list_der_controls, put_der_control, delete_der_control, report_der_controls, list_der_events]
