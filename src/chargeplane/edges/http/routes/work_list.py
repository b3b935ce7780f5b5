"""/v1/work-items: what needs a person, most at risk first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.domain.error_words import Words, explain
from chargeplane.domain.work_list import WorkAction, WorkKind, WorkState
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.work_list import WORK_SORTS, WorkEventView, WorkFilter, WorkItemView

_KIND = "work item"
Note = Annotated[str, Meta(min_length=1, max_length=2000)]
Instant = Annotated[datetime, Meta(tz=True)]
State = Annotated[WorkState | None, QueryParameter(name="state")]


class WorkItemWithHistory(Struct, kw_only=True):
    """An item with what became of it, oldest first."""

    item: WorkItemView
    history: list[WorkEventView]


class Remark(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note that may be left out."""

    note: Note | None = None


class Assignment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is to look after it."""

    assignee: Annotated[str, Meta(min_length=1, max_length=255)]
    note: Note | None = None


class Snooze(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Until when it is put off."""

    until: Instant
    note: Note | None = None


class NewNote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be remembered."""

    note: Note


class Doing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be done: one of the item's `actions`."""

    action: WorkAction


class ErrorWords(Struct, kw_only=True):
    """What a code means."""

    words: Words | None


def work_list_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    work = services.business.work_list
    read, write = {"scope": Scope.WORK_READ}, {"scope": Scope.WORK_WRITE}
    tags = ["work"]

    @get("/v1/work-items", tags=tags, opt={**read, "sorts": WORK_SORTS})
    async def list_work_items(
        request: Request[Any, Any, Any],
        resolved: FromQuery[bool] = False,
        kind: FromQuery[WorkKind | None] = None,
        wanted_state: State = None,
        assignee: Text = None,
        station_id: Text = None,
        snoozed: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
        language: Text = None,
    ) -> Page[WorkItemView]:
        """What needs a person, most revenue at risk first; with `resolved=true` what is over, the newest first. In English, German or
        Swedish (`language`); alerts are in English."""
        after = begin(request, cursor, sort, default="-resolved_at" if resolved else None)
        wanted = WorkFilter(
            resolved=resolved,
            kind=None if kind is None else kind.value,
            state=None if wanted_state is None else wanted_state.value,
            assignee=assignee,
            station_id=station_id,
            snoozed=snoozed,
        )
        found = await work.page(caller_of(request), wanted, limit + 1, after, language)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get("/v1/work-items/{id:str}", tags=tags, opt=read)
    async def get_work_item(
        request: Request[Any, Any, Any], id: FromPath[str], language: Text = None
    ) -> WorkItemWithHistory:
        """An item with its history."""
        item, history = await work.one(caller_of(request), ident_of(_KIND, id), language)
        return WorkItemWithHistory(item=item, history=history)

    @post("/v1/work-items/{id:str}/acknowledge", tags=tags, opt=write, status_code=200)
    async def acknowledge_work_item(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Remark]
    ) -> WorkItemView:
        """Notes that somebody has seen it."""
        return await work.acknowledge(caller_of(request), ident_of(_KIND, id), data.note)

    @post("/v1/work-items/{id:str}/assign", tags=tags, opt=write, status_code=200)
    async def assign_work_item(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Assignment]
    ) -> WorkItemView:
        """Gives it to somebody."""
        return await work.assign(caller_of(request), ident_of(_KIND, id), data.assignee, data.note)

    @post("/v1/work-items/{id:str}/snooze", tags=tags, opt=write, status_code=200)
    async def snooze_work_item(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Snooze]
    ) -> WorkItemView:
        """Puts it off; `snoozed=false` lists without it."""
        return await work.snooze(caller_of(request), ident_of(_KIND, id), data.until, data.note)

    @post("/v1/work-items/{id:str}/notes", tags=tags, opt=write, status_code=200)
    async def annotate_work_item(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[NewNote]
    ) -> WorkItemView:
        """Adds a note to its history."""
        return await work.note(caller_of(request), ident_of(_KIND, id), data.note)

    @post("/v1/work-items/{id:str}/actions", tags=tags, opt=write, status_code=202)
    async def act_on_work_item(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Doing]
    ) -> WorkItemView:
        """Does one of its `actions`; its history says what was begun."""
        return await work.act(caller_of(request), ident_of(_KIND, id), data.action)

    @get("/v1/error-words", tags=tags, opt={"scope": Scope.STATIONS_READ})
    async def get_error_words(
        error_code: Text = None,
        vendor_error_code: Text = None,
        status: Text = None,
        vendor: Text = None,
        model: Text = None,
        language: Text = None,
    ) -> ErrorWords:
        """What codes of stations mean and what to do, in English, German or Swedish; null where that is not known."""
        return ErrorWords(
            words=explain(
                error_code=error_code,
                vendor_error_code=vendor_error_code,
                status=status,
                vendor=vendor,
                model=model,
                language=language,
            )
        )

    return [
        get_error_words,
        list_work_items,
        get_work_item,
        acknowledge_work_item,
        assign_work_item,
        snooze_work_item,
        annotate_work_item,
        act_on_work_item,
    ]
