"""/v1/configuration-templates: what stations of a kind are to have, and how far they are from it."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Scope
from chargeplane.app.configuration import TemplateChanges
from chargeplane.domain.configuration import ApplyPolicy, ResetPolicy, Selector, StandingState
from chargeplane.domain.variables import VariableSetting
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import (
    Cursor,
    Limit,
    Page,
    Sort,
    begin,
    page_of,
)
from chargeplane.edges.http.routes.common import IfMatch, StationIdPath, Text, etag, ident_of, revision_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.configuration import (
    DRIFT_SORTS,
    TEMPLATE_SORTS,
    TEMPLATE_VERSION_SORTS,
    DriftView,
    TemplateVersionView,
    TemplateView,
)

_KIND = "configuration template"

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Description = Annotated[str, Meta(max_length=4000)]
Variables = Annotated[tuple[VariableSetting, ...], Meta(min_length=1, max_length=200)]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]
WaveSize = Annotated[
    int, Meta(ge=1, le=10_000, description="How many stations are changed at the same time; each one value at a time.")
]
StopAfter = Annotated[int, Meta(ge=1, le=1_000_000, description="So many failures in a row pause the template.")]
Note = Annotated[str, Meta(max_length=4000)]


class NewTemplate(Struct, kw_only=True, forbid_unknown_fields=True):
    """A configuration template to be made.

    Args:
        selector: which stations it is for.
        variables: what they are to have. A standard OCPP 1.6 key may stand in `variable` without component. A password is stored encrypted
            and shown as ********; given so in a change it stays.
        apply: auto: stations that differ are changed by themselves; manual: when somebody asks.
        priority: of two templates that want the same variable the one with the higher has its way, then the newer.
        reset: what follows where a value needs a restart.
        note: about this version.
    """

    name: Name
    description: Description | None = None
    selector: Selector
    variables: Variables
    note: Note | None = None
    apply: ApplyPolicy = ApplyPolicy.MANUAL
    priority: Priority = 0
    wave_size: WaveSize = 1
    reset: ResetPolicy = ResetPolicy.NONE
    stop_after: StopAfter = 5


class TemplatePatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change of a template; what is left out stays. Other variables make another version.

    Args:
        paused: true stops it from being applied by itself; false lets it again, and forgets its failures.
    """

    name: Name | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    selector: Selector | UnsetType = UNSET
    variables: Variables | UnsetType = UNSET
    note: Note | None = None
    apply: ApplyPolicy | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    wave_size: WaveSize | UnsetType = UNSET
    reset: ResetPolicy | UnsetType = UNSET
    stop_after: StopAfter | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


class TemplateApplication(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where a template is to be applied now.

    Args:
        station_ids: some of its stations; left out: all that are not in sync.
    """

    station_ids: (
        Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...], Meta(min_length=1)] | None
    ) = None


def _changes(data: NewTemplate | TemplatePatch) -> TemplateChanges:
    return TemplateChanges(
        name=data.name,
        description=data.description,
        selector=data.selector,
        variables=data.variables,
        note=data.note,
        apply=data.apply,
        priority=data.priority,
        wave_size=data.wave_size,
        reset=data.reset,
        stop_after=data.stop_after,
        paused=data.paused if isinstance(data, TemplatePatch) else UNSET,
    )


def configuration_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    templates = services.subjects.configuration

    @post("/v1/configuration-templates", tags=["configuration"], opt={"scope": Scope.STATIONS_WRITE, "secret": True})
    async def create_configuration_template(
        request: Request[Any, Any, Any], data: JSONBody[NewTemplate]
    ) -> Response[TemplateView]:
        """Makes a template. How its stations stand is known a moment later."""
        view = await templates.create(caller_of(request), _changes(data))
        return Response(view, headers={"Location": f"/v1/configuration-templates/{view.id}", **etag(view.revision)})

    @get(
        "/v1/configuration-templates",
        tags=["configuration"],
        opt={"scope": Scope.STATIONS_READ, "sorts": TEMPLATE_SORTS},
    )
    async def list_configuration_templates(
        request: Request[Any, Any, Any], q: Text = None, limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[TemplateView]:
        """Templates, newest first, each with how many of its stations are in sync, drifted, unknown, rejected. `q` is looked for in
        their names."""
        after = begin(request, cursor, sort)
        found = await templates.page(caller_of(request), q, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/configuration-templates/{id:str}", tags=["configuration"], opt={"scope": Scope.STATIONS_READ})
    async def get_configuration_template(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[TemplateView]:
        """A template."""
        view = await templates.one(caller_of(request), ident_of(_KIND, id))
        return Response(view, headers=etag(view.revision))

    @patch(
        "/v1/configuration-templates/{id:str}",
        tags=["configuration"],
        opt={"scope": Scope.STATIONS_WRITE, "secret": True},
    )
    async def change_configuration_template(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        data: JSONBody[TemplatePatch],
        if_match: IfMatch = None,
    ) -> Response[TemplateView]:
        """Changes a template. Other variables make another version; the earlier ones stay to be seen."""
        view = await templates.change(caller_of(request), ident_of(_KIND, id), _changes(data), revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete("/v1/configuration-templates/{id:str}", tags=["configuration"], opt={"scope": Scope.STATIONS_WRITE})
    async def delete_configuration_template(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Removes a template; what it changed stays as it is."""
        await templates.remove(caller_of(request), ident_of(_KIND, id))

    @get(
        "/v1/configuration-templates/{id:str}/versions",
        tags=["configuration"],
        opt={"scope": Scope.STATIONS_READ, "sorts": TEMPLATE_VERSION_SORTS},
    )
    async def list_template_versions(
        request: Request[Any, Any, Any], id: FromPath[str], limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[TemplateVersionView]:
        """What a template wanted, newest first."""
        after = begin(request, cursor, sort)
        found = await templates.versions(caller_of(request), ident_of(_KIND, id), limit + 1, after)
        return page_of(request, found, limit, after)

    @get(
        "/v1/configuration-templates/{id:str}/stations",
        tags=["configuration"],
        opt={"scope": Scope.STATIONS_READ, "sorts": DRIFT_SORTS},
    )
    async def list_template_stations(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        wanted_state: Annotated[StandingState | None, QueryParameter(name="state")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[DriftView]:
        """The stations of a template, each variable with what is wanted and what the station has."""
        after = begin(request, cursor, sort)
        found = await templates.stations(caller_of(request), ident_of(_KIND, id), wanted_state, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @post(
        "/v1/configuration-templates/{id:str}/apply",
        tags=["configuration"],
        opt={"scope": Scope.COMMANDS},
        status_code=202,
    )
    async def apply_configuration_template(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[TemplateApplication]
    ) -> TemplateView:
        """Applies a template now, whatever its policy, in its waves; what stations refused is tried once more."""
        return await templates.apply(caller_of(request), ident_of(_KIND, id), data.station_ids)

    @post(
        "/v1/configuration-templates/{id:str}/check",
        tags=["configuration"],
        opt={"scope": Scope.STATIONS_WRITE},
        status_code=200,
    )
    async def check_configuration_template(request: Request[Any, Any, Any], id: FromPath[str]) -> TemplateView:
        """Goes through all stations of a template now, by what they told; it happens by itself too."""
        return await templates.check(caller_of(request), ident_of(_KIND, id))

    @get(
        "/v1/charging-stations/{station_id:str}/configuration",
        tags=["configuration"],
        opt={"scope": Scope.STATIONS_READ},
    )
    async def get_station_configuration(request: Request[Any, Any, Any], station_id: StationIdPath) -> list[DriftView]:
        """How a station stands to each template that is for it, those that have their way first."""
        return await templates.of_station(caller_of(request), station_id)

    return [
        create_configuration_template,
        list_configuration_templates,
        get_configuration_template,
        change_configuration_template,
        delete_configuration_template,
        list_template_versions,
        list_template_stations,
        apply_configuration_template,
        check_configuration_template,
        get_station_configuration,
    ]
