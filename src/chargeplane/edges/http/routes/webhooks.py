"""/v1/webhook-endpoints, /v1/webhook-deliveries, /v1/webhook-events, /v1/webhook-event-types."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Scope
from chargeplane.app.webhooks.webhooks import EndpointChanges
from chargeplane.domain.webhooks import EVENT_TYPES, TYPE_PATTERN, DeliveryState
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.webhooks import (
    DELIVERY_SORTS,
    ENDPOINT_SORTS,
    WEBHOOK_EVENT_SORTS,
    AttemptView,
    DeliveryFilter,
    DeliveryView,
    EndpointView,
    EventView,
)

_ENDPOINT = "webhook endpoint"
_DELIVERY = "webhook delivery"

Url = Annotated[str, Meta(min_length=1, max_length=2000)]
EventType = Annotated[str, Meta(max_length=80, pattern=TYPE_PATTERN)]
EventTypes = Annotated[list[EventType], Meta(min_length=1, max_length=100)]
Description = Annotated[str, Meta(max_length=500)]
Instant = Annotated[datetime, Meta(tz=True)]
State = Annotated[DeliveryState | None, QueryParameter(name="state")]
Ident = Annotated[str, Meta(pattern="^[0-9]{1,18}$")]


class NewEndpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events are to go.

    Args:
        event_types: `transaction.ended`, `transaction.*`, or `*`.
    """

    url: Url
    event_types: EventTypes
    description: Description | None = None
    enabled: bool = True


class EndpointPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed; what is left out stays."""

    url: Url | UnsetType = UNSET
    event_types: EventTypes | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class EndpointWithSecret(Struct, kw_only=True):
    """An endpoint and its secret, which is never shown again.

    Args:
        secret: `whsec_` and base64, as Standard Webhooks' verifiers take it.
    """

    endpoint: EndpointView
    secret: str


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a secret is replaced.

    Args:
        overlap_h: hours in which both sign; 0: the one before counts no more from now on.
    """

    overlap_h: Annotated[int, Meta(ge=0, le=720)] = 24


class RetryAll(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the deliveries that were given up.

    Args:
        since: made since then; null: all.
    """

    since: Instant | None = None


class Retried(Struct, kw_only=True):
    """How many are tried again; 10,000 at most at once."""

    count: int


class Replay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A time range to be sent once more, oldest first.

    Args:
        from_: included.
        to: not included.
        event_types: only these; null: all that the endpoint wants.
        after: `continue_after` of the replay before.
    """

    from_: Instant
    to: Instant
    event_types: Annotated[list[EventType], Meta(min_length=1, max_length=100)] | None = None
    after: Ident | None = None


class Replayed(Struct, kw_only=True):
    """How many events are sent once more.

    Args:
        continue_after: where there are more than 10,000: give it as `after` for the next ones.
    """

    count: int
    continue_after: str | None


class ReplayEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an event is sent once more."""

    endpoint_id: Ident


class DeliveryWithAttempts(Struct, kw_only=True):
    """A delivery with its attempts, the newest 100, newest first."""

    delivery: DeliveryView
    attempts: list[AttemptView]


class EventTypeView(Struct, kw_only=True):
    """A type of events and what it means."""

    type: str
    description: str


class EventTypeList(Struct, kw_only=True):
    """All there are."""

    items: list[EventTypeView]


def webhook_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    webhooks = services.business.webhooks
    read, write = {"scope": Scope.WEBHOOKS_READ}, {"scope": Scope.WEBHOOKS_WRITE}
    tags = ["webhooks"]

    @get("/v1/webhook-event-types", tags=tags, opt=read)
    async def list_webhook_event_types() -> EventTypeList:
        """What can be heard of."""
        return EventTypeList(items=[EventTypeView(type=kind, description=text) for kind, text in EVENT_TYPES.items()])

    @get("/v1/webhook-endpoints", tags=tags, opt={**read, "sorts": ENDPOINT_SORTS})
    async def list_webhook_endpoints(
        request: Request[Any, Any, Any],
        enabled: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EndpointView]:
        """Where events go, newest first."""
        after = begin(request, cursor, sort)
        found = await webhooks.page(caller_of(request), enabled, limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/webhook-endpoints", tags=tags, opt={**write, "secret": True})
    async def create_webhook_endpoint(
        request: Request[Any, Any, Any], data: JSONBody[NewEndpoint]
    ) -> Response[EndpointWithSecret]:
        """Has events sent to an address. The answer holds the secret that verifies them, this once."""
        view, secret = await webhooks.create(
            caller_of(request), data.url, data.event_types, data.description, data.enabled
        )
        return Response(EndpointWithSecret(endpoint=view, secret=secret), headers=etag(view.revision))

    @get("/v1/webhook-endpoints/{id:str}", tags=tags, opt=read)
    async def get_webhook_endpoint(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[EndpointView]:
        """An endpoint and how it does."""
        view = await webhooks.one(caller_of(request), ident_of(_ENDPOINT, id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/webhook-endpoints/{id:str}", tags=tags, opt=write)
    async def change_webhook_endpoint(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[EndpointPatch], if_match: IfMatch = None
    ) -> Response[EndpointView]:
        """Changes an endpoint. Enabling one that was disabled sends what waited."""
        changes = EndpointChanges(
            url=data.url, event_types=data.event_types, description=data.description, enabled=data.enabled
        )
        view = await webhooks.change(caller_of(request), ident_of(_ENDPOINT, id), changes, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete("/v1/webhook-endpoints/{id:str}", tags=tags, opt=write)
    async def delete_webhook_endpoint(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Deletes an endpoint with its deliveries."""
        await webhooks.remove(caller_of(request), ident_of(_ENDPOINT, id))

    @post("/v1/webhook-endpoints/{id:str}/rotate-secret", tags=tags, opt={**write, "secret": True}, status_code=200)
    async def rotate_webhook_secret(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Rotation]
    ) -> EndpointWithSecret:
        """Makes a new secret. Until the overlap ends, each delivery is signed with both."""
        view, secret = await webhooks.rotate(
            caller_of(request), ident_of(_ENDPOINT, id), timedelta(hours=data.overlap_h)
        )
        return EndpointWithSecret(endpoint=view, secret=secret)

    @post("/v1/webhook-endpoints/{id:str}/ping", tags=tags, opt=write, status_code=202)
    async def ping_webhook_endpoint(request: Request[Any, Any, Any], id: FromPath[str]) -> DeliveryView:
        """Sends a test event (`webhook.ping`)."""
        return await webhooks.ping(caller_of(request), ident_of(_ENDPOINT, id))

    @post("/v1/webhook-endpoints/{id:str}/retry", tags=tags, opt=write, status_code=202)
    async def retry_webhook_endpoint(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[RetryAll]
    ) -> Retried:
        """Has the deliveries that were given up tried again, all or those since a time."""
        return Retried(count=await webhooks.retry_failed(caller_of(request), ident_of(_ENDPOINT, id), data.since))

    @post("/v1/webhook-endpoints/{id:str}/replay", tags=tags, opt=write, status_code=202)
    async def replay_webhook_events(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Replay]
    ) -> Replayed:
        """Sends the events of a time range once more, under the ids they had."""
        count, last = await webhooks.replay(
            caller_of(request),
            ident_of(_ENDPOINT, id),
            data.from_,
            data.to,
            data.event_types,
            0 if data.after is None else int(data.after),
        )
        return Replayed(count=count, continue_after=None if last is None else str(last))

    @get("/v1/webhook-deliveries", tags=tags, opt={**read, "sorts": DELIVERY_SORTS})
    async def list_webhook_deliveries(
        request: Request[Any, Any, Any],
        endpoint_id: Text = None,
        wanted_state: State = None,
        event_type: Text = None,
        key: Text = None,
        since: From = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[DeliveryView]:
        """Deliveries, newest first; `state=failed` for those given up."""
        after = begin(request, cursor, sort)
        wanted = DeliveryFilter(
            endpoint_id=None if endpoint_id is None else ident_of(_ENDPOINT, endpoint_id),
            state=None if wanted_state is None else wanted_state.value,
            type=event_type,
            key=key,
            since=time_of("since", since),
        )
        found = await webhooks.deliveries(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/webhook-deliveries/{id:str}", tags=tags, opt=read)
    async def get_webhook_delivery(request: Request[Any, Any, Any], id: FromPath[str]) -> DeliveryWithAttempts:
        """A delivery with what became of each attempt."""
        view, attempts = await webhooks.delivery(caller_of(request), ident_of(_DELIVERY, id))
        return DeliveryWithAttempts(delivery=view, attempts=attempts)

    @post("/v1/webhook-deliveries/{id:str}/retry", tags=tags, opt=write, status_code=202)
    async def retry_webhook_delivery(request: Request[Any, Any, Any], id: FromPath[str]) -> DeliveryView:
        """Has one tried now, with all its attempts before it again."""
        return await webhooks.retry(caller_of(request), ident_of(_DELIVERY, id))

    @get("/v1/webhook-events", tags=tags, opt={**read, "sorts": WEBHOOK_EVENT_SORTS})
    async def list_webhook_events(
        request: Request[Any, Any, Any],
        event_type: Text = None,
        key: Text = None,
        since: From = None,
        until: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EventView]:
        """What happened since the tenant has endpoints, newest first."""
        after = begin(request, cursor, sort)
        found = await webhooks.events(
            caller_of(request), event_type, key, time_of("since", since), time_of("until", until), limit + 1, after
        )
        return page_of(request, found, limit, after)

    @get("/v1/webhook-events/{id:str}", tags=tags, opt=read)
    async def get_webhook_event(request: Request[Any, Any, Any], id: FromPath[str]) -> EventView:
        """An event."""
        return await webhooks.event(caller_of(request), ident_of("event", id))

    @post("/v1/webhook-events/{id:str}/replay", tags=tags, opt=write, status_code=202)
    async def replay_webhook_event(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[ReplayEvent]
    ) -> DeliveryView:
        """Sends one event once more to an endpoint."""
        return await webhooks.replay_event(caller_of(request), ident_of("event", id), int(data.endpoint_id))

    return [
        list_webhook_event_types,
        list_webhook_endpoints,
        create_webhook_endpoint,
        get_webhook_endpoint,
        change_webhook_endpoint,
        delete_webhook_endpoint,
        rotate_webhook_secret,
        ping_webhook_endpoint,
        retry_webhook_endpoint,
        replay_webhook_events,
        list_webhook_deliveries,
        get_webhook_delivery,
        retry_webhook_delivery,
        list_webhook_events,
        get_webhook_event,
        replay_webhook_event,
    ]
