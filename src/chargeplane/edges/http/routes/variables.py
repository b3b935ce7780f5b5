"""Variables of a charging station: what it told, and changing them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from litestar import Request, Response, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.variable_changes import PATIENCE_S
from chargeplane.domain.configuration import ResetPolicy
from chargeplane.domain.variables import VariableSetting
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, as_page, begin, decode_cursor, page_of
from chargeplane.edges.http.routes.common import StateText, StationIdPath, Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries import variables
from chargeplane.store.queries.variable_changes import VARIABLE_CHANGE_SORTS, VariableChangeView
from chargeplane.store.queries.variables import VariableFilter, VariableView

_KIND = "variable change"

AttributeWord = Literal["Actual", "Target", "MinSet", "MaxSet"]
MutabilityWord = Literal["ReadOnly", "WriteOnly", "ReadWrite"]


class VariablesPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """Values that variables are to have.

    Args:
        variables: changed in this order, one at a time. A standard OCPP 1.6 key may stand in `variable` without component; any other
            key of a 1.6 station has no component.
        reset: what follows where the station says that a value needs a restart.
        patience_s: how long the station is waited for at each step: many restart after a change.
    """

    variables: Annotated[tuple[VariableSetting, ...], Meta(min_length=1, max_length=200)]
    reset: ResetPolicy = ResetPolicy.NONE
    patience_s: Annotated[float, Meta(ge=1, le=86_400)] = PATIENCE_S


def variable_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    model = services.subjects.device_model
    changes = services.subjects.variable_changes

    @get(
        "/v1/charging-stations/{station_id:str}/variables",
        tags=["variables"],
        opt={"scope": Scope.STATIONS_READ},
    )
    async def list_variables(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        component: Text = None,
        variable: Text = None,
        attribute: Annotated[AttributeWord | None, QueryParameter()] = None,
        evse_id: Annotated[int | None, QueryParameter(ge=0, le=9_999, description="0: of the whole station.")] = None,
        mutability: Annotated[MutabilityWord | None, QueryParameter()] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[VariableView]:
        """The device model as far as the station told it, in the order of names. OCPP 1.6 keys are in it: a standard one under the
        component and variable that mean the same, with its `key`; any other without component. `variable` finds a standard
        key too. Passwords have no value."""
        after = decode_cursor("variables", cursor, variables.POSITION)
        wanted = VariableFilter(
            component=component, variable=variable, attribute=attribute, evse_id=evse_id, mutability=mutability
        )
        found = await model.page(caller_of(request), station_id, wanted, limit + 1, after)
        return as_page("variables", found, limit, variables.position)

    @patch(
        "/v1/charging-stations/{station_id:str}/variables",
        tags=["variables"],
        opt={"scope": Scope.COMMANDS, "secret": True},
        status_code=202,
    )
    async def change_variables(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        data: JSONBody[VariablesPatch],
        wait_s: Annotated[float, QueryParameter(ge=0, le=60, description="Wait so long for the end.")] = 0.0,
    ) -> Response[VariableChangeView]:
        """Changes variables of a station of any version, one at a time, each read back. A station that restarts in between is waited for.
        The change goes on by itself, also over a restart of the server; look at it again under /v1/variable-changes/{id}."""
        view = await changes.ask(
            caller_of(request),
            station_id,
            data.variables,
            reset=data.reset,
            patience_s=data.patience_s,
            wait_s=wait_s,
        )
        return Response(view, headers={"Location": f"/v1/variable-changes/{quote(view.id)}"})

    @get(
        "/v1/charging-stations/{station_id:str}/variable-changes",
        tags=["variables"],
        opt={"scope": Scope.STATIONS_READ, "sorts": VARIABLE_CHANGE_SORTS},
    )
    async def list_variable_changes(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        wanted_state: StateText = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[VariableChangeView]:
        """Changes of a station's variables, newest first: those somebody asked for, and those of templates."""
        after = begin(request, cursor, sort)
        found = await changes.page(caller_of(request), station_id, wanted_state, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/variable-changes/{id:str}", tags=["variables"], opt={"scope": Scope.STATIONS_READ})
    async def get_variable_change(request: Request[Any, Any, Any], id: FromPath[str]) -> VariableChangeView:
        """A change of variables: each with its state, the station's word and what was read back."""
        return await changes.one(caller_of(request), ident_of(_KIND, id))

    @post(
        "/v1/variable-changes/{id:str}/cancel",
        tags=["variables"],
        opt={"scope": Scope.COMMANDS},
        status_code=200,
    )
    async def cancel_variable_change(request: Request[Any, Any, Any], id: FromPath[str]) -> VariableChangeView:
        """Ends a change that goes on; what was changed stays so."""
        return await changes.cancel(caller_of(request), ident_of(_KIND, id))

    return [
        list_variables,
        change_variables,
        list_variable_changes,
        get_variable_change,
        cancel_variable_change,
    ]
