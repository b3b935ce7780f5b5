"""Webhook endpoints and their deliveries, as operators see them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import UNSET, Struct, UnsetType

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.webhooks.deliverer import DISABLED, secret_purpose
from chargeplane.domain.webhooks import PING, SECRET_BYTES, DeliveryState, can_match, is_event_type, secret_text
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import webhooks as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.webhooks import (
    AttemptView,
    DeliveryFilter,
    DeliveryView,
    EndpointView,
    EventView,
    StoredEndpoint,
)
from chargeplane.store.secrets import InstallationKeys

_KIND: Final = "webhook endpoint"
_MOST: Final = 50
_ATTEMPTS_SHOWN: Final = 100
_AT_ONCE: Final = 10_000


class EndpointChanges(Struct, frozen=True, kw_only=True):
    """What is to be changed; what is unset stays."""

    url: str | UnsetType = UNSET
    event_types: list[str] | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class Webhooks:
    """Use cases about webhooks.

    Args:
        hint: wakes the deliverer.
        plain_http: whether endpoints may be without TLS.
    """

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        alerts: Alerts,
        hint: Callable[[], None],
        *,
        plain_http: bool = False,
    ) -> None:
        self._database = database
        self._keys = keys
        self._alerts = alerts
        self._hint = hint
        self._plain_http = plain_http

    async def page(
        self, caller: Caller, enabled: bool | None, limit: int, after: Position | None
    ) -> list[EndpointView]:
        """Endpoints, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.endpoints(db, caller.tenant_id, enabled, limit, after)

    async def one(self, caller: Caller, ident: int) -> EndpointView:
        """An endpoint.

        Raises:
            NotFoundError: the tenant has no such endpoint.
        """
        async with self._database.read() as db:
            found = await queries.endpoint(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return found

    async def create(
        self, caller: Caller, url: str, event_types: list[str], description: str | None, enabled: bool
    ) -> tuple[EndpointView, str]:
        """A new endpoint and its secret, which is shown this once.

        Raises:
            InvalidInputError: the address or a type is none.
            ConflictError: the tenant has as many as it may have.
        """
        self._check(url, event_types)
        secret = secrets.token_bytes(SECRET_BYTES)
        async with self._database.change() as db:
            await queries.lock_tenant(db, caller.tenant_id)
            if await queries.endpoint_count(db, caller.tenant_id) >= _MOST:
                raise ConflictError(f"There are {_MOST} webhook endpoints already; delete one first.")
            ident = await queries.next_endpoint_id(db)
            sealed = self._keys.encrypt(secret, secret_purpose(ident))
            await queries.insert_endpoint(
                db, ident, caller.tenant_id, url, list(dict.fromkeys(event_types)), description, enabled, sealed
            )
            after = {"url": url, "event_types": event_types, "enabled": enabled}
            await self._audit(db, caller, "create", ident, None, after)
        return await self.one(caller, ident), secret_text(secret)

    async def change(
        self, caller: Caller, ident: int, wanted: EndpointChanges, if_revision: int | None
    ) -> EndpointView:
        """The endpoint after the change. Enabling it sends what waited, in order.

        Raises:
            NotFoundError: the tenant has no such endpoint.
            InvalidInputError: the address or a type is none.
            StaleError: it has another revision.
        """
        self._check(
            None if wanted.url is UNSET else wanted.url, None if wanted.event_types is UNSET else wanted.event_types
        )
        columns: dict[str, Any] = {
            name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not UNSET
        }
        if "event_types" in columns:
            columns["event_types"] = list(dict.fromkeys(columns["event_types"]))
        async with self._database.change() as db:
            stored = await self._locked(db, caller, ident)
            if if_revision is not None and if_revision != stored.revision:
                raise StaleError(str(ident), stored.revision)
            if columns:
                before = {name: getattr(stored, name) for name in columns}
                shown = dict(columns)
                if columns.get("enabled") or "url" in columns:
                    # A person has looked at it: it starts anew.
                    columns |= {"disabled_because": None, "failing_since": None, "failures": 0, "paused_until": None}
                await queries.update_endpoint(db, ident, columns)
                await self._audit(db, caller, "update", ident, before, shown)
            if columns.get("enabled"):
                await self._clear(db, caller.tenant_id, ident, "The endpoint was enabled.")
        self._hint()
        return await self.one(caller, ident)

    async def remove(self, caller: Caller, ident: int) -> None:
        """Deletes an endpoint with what was to be delivered to it.

        Raises:
            NotFoundError: the tenant has no such endpoint.
        """
        async with self._database.change() as db:
            stored = await self._locked(db, caller, ident)
            await queries.delete_endpoint(db, ident)
            await self._clear(db, caller.tenant_id, ident, "The endpoint was deleted.")
            await self._audit(db, caller, "delete", ident, {"url": stored.url}, None)

    async def rotate(self, caller: Caller, ident: int, overlap: timedelta) -> tuple[EndpointView, str]:
        """Gives an endpoint a new secret, shown this once; for a while the one before signs too.

        Raises:
            NotFoundError: the tenant has no such endpoint.
        """
        secret = secrets.token_bytes(SECRET_BYTES)
        async with self._database.change() as db:
            stored = await self._locked(db, caller, ident)
            columns: dict[str, Any] = {
                "secret": self._keys.encrypt(secret, secret_purpose(ident)),
                "previous_secret": stored.secret if overlap else None,
                "previous_until": datetime.now(UTC) + overlap if overlap else None,
            }
            await queries.update_endpoint(db, ident, columns)
            after = {"previous_until": columns["previous_until"]}
            await self._audit(db, caller, "rotate secret", ident, None, after)
        return await self.one(caller, ident), secret_text(secret)

    async def ping(self, caller: Caller, ident: int) -> DeliveryView:
        """Sends a test event, whatever the endpoint wants to hear.

        Raises:
            NotFoundError: the tenant has no such endpoint.
            ConflictError: it is disabled.
        """
        async with self._database.change() as db:
            await self._enabled(db, caller, ident)
            data = {"endpoint_id": str(ident), "asked_by": caller.actor}
            event_id = await queries.insert_event(db, caller.tenant_id, PING, f"webhook_endpoint:{ident}", data)
            delivery_id = await queries.send_event(db, ident, event_id)
        self._hint()
        return await self._delivery(caller, delivery_id)

    # -- deliveries and events -----------------------------------------------------------------------------------------

    async def deliveries(
        self, caller: Caller, wanted: DeliveryFilter, limit: int, after: Position | None
    ) -> list[DeliveryView]:
        """Deliveries, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.deliveries(db, caller.tenant_id, wanted, limit, after)

    async def delivery(self, caller: Caller, ident: int) -> tuple[DeliveryView, list[AttemptView]]:
        """A delivery with its newest attempts.

        Raises:
            NotFoundError: the tenant has no such delivery.
        """
        async with self._database.read() as db:
            # The attempts first: what is told of the delivery is not older than they are.
            attempts = await queries.attempts(db, ident, _ATTEMPTS_SHOWN)
        return await self._delivery(caller, ident), attempts

    async def _delivery(self, caller: Caller, ident: int) -> DeliveryView:
        async with self._database.read() as db:
            found = await queries.delivery(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("webhook delivery", str(ident))
        return found

    async def retry(self, caller: Caller, ident: int) -> DeliveryView:
        """Has a delivery tried now, from the beginning.

        Raises:
            NotFoundError: the tenant has no such delivery.
            ConflictError: it arrived, or its endpoint is disabled.
        """
        view = await self._delivery(caller, ident)
        if view.state == DeliveryState.DELIVERED:
            raise ConflictError(f"Delivery {ident} has arrived; replay event {view.event_id} to send it once more.")
        async with self._database.change() as db:
            await self._enabled(db, caller, int(view.endpoint_id), anew=True)
            if not await queries.retry(db, caller.tenant_id, ident):
                raise ConflictError(f"Delivery {ident} has arrived meanwhile.")
            await self._audit(db, caller, "retry", int(view.endpoint_id), None, {"delivery_id": str(ident)})
        self._hint()
        return await self._delivery(caller, ident)

    async def retry_failed(self, caller: Caller, ident: int, since: datetime | None) -> int:
        """Has an endpoint's deliveries that were given up tried again; how many. At most 10,000 at once.

        Raises:
            NotFoundError: the tenant has no such endpoint.
            ConflictError: it is disabled.
        """
        async with self._database.change() as db:
            await self._enabled(db, caller, ident, anew=True)
            count = await queries.retry_all(db, ident, since, _AT_ONCE)
            await self._audit(db, caller, "retry all", ident, None, {"since": since, "count": count})
        self._hint()
        return count

    async def events(
        self,
        caller: Caller,
        kind: str | None,
        key: str | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        after: Position | None,
    ) -> list[EventView]:
        """What happened, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.events(db, caller.tenant_id, kind, key, since, until, limit, after)

    async def event(self, caller: Caller, ident: int) -> EventView:
        """An event.

        Raises:
            NotFoundError: the tenant has no such event.
        """
        async with self._database.read() as db:
            found = await queries.event(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("event", str(ident))
        return found

    async def replay(
        self, caller: Caller, ident: int, since: datetime, until: datetime, kinds: list[str] | None, after: int
    ) -> tuple[int, int | None]:
        """Sends events of a time range once more, those the endpoint wants, oldest first; how many, and behind which one to go on.

        Args:
            kinds: only these types.
            after: events behind this one: where the replay before ended.
        Returns:
            At most 10,000; None where there are no more.
        Raises:
            NotFoundError: the tenant has no such endpoint.
            InvalidInputError: the range is empty.
            ConflictError: the endpoint is disabled.
        """
        if until <= since:
            sentence = "Must be later than 'from'"
            raise InvalidInputError(f"'to': {sentence}.", (("/to", sentence),))
        async with self._database.change() as db:
            await self._enabled(db, caller, ident)
            count, last = await queries.replay_range(db, ident, since, until, kinds, _AT_ONCE, after)
            await self._audit(db, caller, "replay", ident, None, {"from": since, "to": until, "count": count})
        self._hint()
        return count, last if count == _AT_ONCE else None

    async def replay_event(self, caller: Caller, event_id: int, endpoint_id: int) -> DeliveryView:
        """Sends one event once more, whatever the endpoint wants to hear.

        Raises:
            NotFoundError: the tenant has no such event.
            InvalidInputError: it has no such endpoint.
            ConflictError: the endpoint is disabled.
        """
        await self.event(caller, event_id)
        async with self._database.change() as db:
            try:
                await self._enabled(db, caller, endpoint_id)
            except NotFoundError as error:
                sentence = str(error).rstrip(".")
                raise InvalidInputError(f"'endpoint_id': {sentence}.", (("/endpoint_id", sentence),)) from None
            delivery_id = await queries.send_event(db, endpoint_id, event_id)
            await self._audit(db, caller, "replay", endpoint_id, None, {"event_id": str(event_id)})
        self._hint()
        return await self._delivery(caller, delivery_id)

    # -- what several need ---------------------------------------------------------------------------------------------

    async def _locked(self, db: Db, caller: Caller, ident: int) -> StoredEndpoint:
        stored = await queries.locked_endpoint(db, caller.tenant_id, ident)
        if stored is None:
            raise NotFoundError(_KIND, str(ident))
        return stored

    async def _enabled(self, db: Db, caller: Caller, ident: int, *, anew: bool = False) -> None:
        """Checks that an endpoint takes something.

        Args:
            anew: it is left alone no longer, should it be.
        """
        stored = await self._locked(db, caller, ident)
        if not stored.enabled:
            raise ConflictError(f"The webhook endpoint {ident} is disabled; enable it first.")
        if anew:
            await queries.pause(db, ident, 0)

    async def _clear(self, db: Db, tenant_id: TenantId, ident: int, because: str) -> None:
        await self._alerts.clear(db, tenant_id, None, kind=DISABLED, ident=str(ident), because=because)

    async def _audit(self, db: Db, caller: Caller, action: str, ident: int, before: Any, after: Any) -> None:
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind=_KIND,
            ident=str(ident),
            before=before,
            after=after,
        )

    def _check(self, url: str | None, event_types: list[str] | None) -> None:
        if url is not None and (sentence := self._wrong_url(url)):
            raise InvalidInputError(f"'url': {sentence}.", (("/url", sentence),))
        for place, pattern in enumerate(event_types or ()):
            if not is_event_type(pattern):
                sentence = "Must be a type as 'transaction.ended', 'transaction.*', or '*'"
            elif not can_match(pattern):
                sentence = f"No event is called '{pattern}'; see /v1/webhook-event-types"
            else:
                continue
            raise InvalidInputError(f"'event_types': {sentence}.", ((f"/event_types/{place}", sentence),))

    def _wrong_url(self, url: str) -> str | None:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            return "Not an address"
        if parts.scheme != "https" and not (self._plain_http and parts.scheme == "http"):
            return "Must begin with https://"
        if not parts.hostname or parts.username is not None or parts.fragment or any(c <= " " for c in url):
            return "Must be an address with a host, without user, fragment or spaces"
        return None
