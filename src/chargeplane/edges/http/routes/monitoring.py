"""Monitors and events of stations, rules about events, and what stations know of customers."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.commands import reply_of
from chargeplane.domain.commands import CommandOutcome, CommandState, CustomerInformation
from chargeplane.domain.commands.diagnostics import CustomerCertificate
from chargeplane.domain.commands.monitoring import MonitorId, MonitorSetting
from chargeplane.domain.messages import IdToken
from chargeplane.domain.monitoring import (
    AlertWeight,
    EventRule,
    MonitoredVariable,
    MonitorsCleared,
    MonitorsSet,
)
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, StationIdPath, Text, To, ident_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.commands import CommandView
from chargeplane.store.queries.customer_information import CUSTOMER_INFORMATION_SORTS, CustomerInformationView
from chargeplane.store.queries.monitoring import STATION_EVENT_SORTS, EventFilter, EventRuleView, EventView, MonitorView

_READ = {"scope": Scope.DIAGNOSTICS_READ}
_WRITE = {"scope": Scope.DIAGNOSTICS_WRITE}
_CUSTOMER = {"scope": Scope.CUSTOMER_INFORMATION}

Name = Annotated[str, Meta(max_length=50)]


class Monitors(Struct, frozen=True, kw_only=True):
    """A station's monitors."""

    items: list[MonitorView]


class MonitorsToSet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Monitors as they are to be."""

    monitors: Annotated[tuple[MonitorSetting, ...], Meta(min_length=1, max_length=2000)]


class MonitorsToClear(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Monitors that are to go, by the station's ids."""

    ids: Annotated[tuple[MonitorId, ...], Meta(min_length=1, max_length=2000)]


class MonitorResult(Struct, frozen=True, kw_only=True):
    """What became of one monitor.

    Args:
        id: under which the station has it, or had it.
        variable, kind: where it was to be set.
        status: OCPP 2.x word: Accepted, Duplicate, UnknownVariable, NotFound, ...
    """

    status: str
    id: int | None = None
    variable: MonitoredVariable | None = None
    kind: str | None = None
    info: str | None = None


class MonitorResults(Struct, frozen=True, kw_only=True):
    """What became of monitors.

    Args:
        messages: how many messages it took.
        results: one for each monitor that the station answered about.
        state: of the commands; accepted where all were.
        reason: why not, of the first that was not.
    """

    messages: int
    state: CommandState
    reason: str | None
    results: list[MonitorResult]


class EventRules(Struct, frozen=True, kw_only=True):
    """The tenant's rules."""

    items: list[EventRuleView]


class NewEventRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule about events. Empty names match every one.

    Args:
        position: rules are looked at in its order; the first that matches decides.
        max_severity: matches events of this severity or a graver (lower) one.
        weight: none, info, warning, critical.
    """

    weight: AlertWeight
    component: Name = ""
    variable: Name = ""
    tech_code: Name = ""
    max_severity: Annotated[int, Meta(ge=0, le=9)] | None = None
    position: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class CustomerQuestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom a station is asked about, by exactly one of id token, certificate and identifier, and what it is to do."""

    report: bool = True
    clear: bool = False
    id_token: IdToken | None = None
    certificate: CustomerCertificate | None = None
    identifier: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class ShownCustomerInformation(Struct, frozen=True, kw_only=True):
    """What a station knows of a customer, in its own words."""

    text: str


def monitoring_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    monitoring = services.subjects.monitoring
    customers = services.subjects.customer_information

    @get("/v1/charging-stations/{station_id:str}/monitors", tags=["diagnostics"], opt=_READ)
    async def list_monitors(request: Request[Any, Any, Any], station_id: StationIdPath) -> Monitors:
        """A station's monitors, as it last told. They are set and cleared by the commands set_variable_monitoring,
        clear_variable_monitoring and set_monitoring_base; get_monitoring_report asks for them anew."""
        return Monitors(items=await monitoring.monitors(caller_of(request), station_id))

    @post("/v1/charging-stations/{station_id:str}/monitors", tags=["diagnostics"], opt=_WRITE, status_code=200)
    async def set_monitors(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[MonitorsToSet]
    ) -> MonitorResults:
        """Sets monitors, in as many messages as the station demands, and waits for its answers."""
        return _results(await monitoring.put(caller_of(request), station_id, data.monitors), MonitorsSet)

    @post("/v1/charging-stations/{station_id:str}/monitors/clear", tags=["diagnostics"], opt=_WRITE, status_code=200)
    async def clear_monitors(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[MonitorsToClear]
    ) -> MonitorResults:
        """Clears monitors, in as many messages as the station demands, and waits for its answers."""
        return _results(await monitoring.clear(caller_of(request), station_id, data.ids), MonitorsCleared)

    @get(
        "/v1/charging-stations/{station_id:str}/events",
        tags=["diagnostics"],
        opt={**_READ, "sorts": STATION_EVENT_SORTS},
    )
    async def list_station_events(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        component: Text = None,
        variable: Text = None,
        trigger: Text = None,
        max_severity: Annotated[int | None, QueryParameter(ge=0, le=9)] = None,
        since: From = None,
        until: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EventView]:
        """Events of a station's variables, newest first. Live: `station.event`."""
        after = begin(request, cursor, sort)
        wanted = EventFilter(
            component=component,
            variable=variable,
            trigger=trigger,
            max_severity=max_severity,
            since=time_of("since", since),
            until=time_of("until", until),
        )
        found = await monitoring.page(caller_of(request), station_id, wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[0])

    @get("/v1/event-rules", tags=["diagnostics"], opt=_READ)
    async def list_event_rules(request: Request[Any, Any, Any]) -> EventRules:
        """Rules about what events weigh; the first that matches decides, then the severity: 0 to 3 critical, 4 to 6 a warning."""
        return EventRules(items=await monitoring.rules(caller_of(request)))

    @post("/v1/event-rules", tags=["diagnostics"], opt=_WRITE, status_code=201)
    async def create_event_rule(
        request: Request[Any, Any, Any], data: JSONBody[NewEventRule]
    ) -> Response[EventRuleView]:
        """A rule: what events of a component, variable or technical code weigh."""
        rule = EventRule(
            component=data.component,
            variable=data.variable,
            tech_code=data.tech_code,
            max_severity=data.max_severity,
            weight=data.weight,
        )
        return Response(await monitoring.add_rule(caller_of(request), rule, data.position), status_code=201)

    @delete("/v1/event-rules/{id:str}", tags=["diagnostics"], opt=_WRITE, status_code=204)
    async def delete_event_rule(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Deletes a rule."""
        await monitoring.delete_rule(caller_of(request), ident_of("event rule", id))

    @post(
        "/v1/charging-stations/{station_id:str}/customer-information",
        tags=["diagnostics"],
        opt=_CUSTOMER,
        status_code=202,
    )
    async def ask_for_customer_information(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        data: JSONBody[CustomerQuestion],
        wait_s: Annotated[float, QueryParameter(ge=0, le=60, description="Wait so long for the answer.")] = 0.0,
    ) -> Response[CommandView]:
        """Has a station (OCPP 2.x) report, or forget, what it knows of a customer."""
        wanted = CustomerInformation(
            report=data.report,
            clear=data.clear,
            id_token=data.id_token,
            certificate=data.certificate,
            identifier=data.identifier,
        )
        view = await customers.ask(caller_of(request), station_id, wanted, wait_s=wait_s)
        return Response(view, headers={"Location": f"/v1/commands/{quote(view.id)}"})

    @get("/v1/customer-information", tags=["diagnostics"], opt={**_CUSTOMER, "sorts": CUSTOMER_INFORMATION_SORTS})
    async def list_customer_information(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CustomerInformationView]:
        """What came of customers, without what it says, newest first."""
        after = begin(request, cursor, sort)
        found = await customers.page(caller_of(request), station_id, limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/customer-information/{id:str}/show", tags=["diagnostics"], opt=_CUSTOMER, status_code=200)
    async def show_customer_information(request: Request[Any, Any, Any], id: FromPath[str]) -> ShownCustomerInformation:
        """Shows what a station knows of a customer: once, then it is deleted."""
        text = await customers.show(caller_of(request), ident_of("customer information", id))
        return ShownCustomerInformation(text=text)

    return [
        list_monitors,
        set_monitors,
        clear_monitors,
        list_station_events,
        list_event_rules,
        create_event_rule,
        delete_event_rule,
        ask_for_customer_information,
        list_customer_information,
        show_customer_information,
    ]


def _results(outcomes: list[CommandOutcome], kind: type[MonitorsSet] | type[MonitorsCleared]) -> MonitorResults:
    results: list[MonitorResult] = []
    for outcome in outcomes:
        told = reply_of(outcome, kind)
        results += [
            MonitorResult(
                status=one.status,
                id=one.id,
                variable=getattr(one, "variable", None),
                kind=getattr(one, "kind", None),
                info=one.info,
            )
            for one in (told.results if told is not None else ())
        ]
    wrong = next((one for one in outcomes if one.state is not CommandState.ACCEPTED), None)
    return MonitorResults(
        messages=len(outcomes),
        state=CommandState.ACCEPTED if wrong is None else wrong.state,
        reason=None if wrong is None else wrong.reason,
        results=results,
    )
