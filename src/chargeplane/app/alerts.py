"""Alerts: what a person should look at, raised by the subjects, counted while it goes on, cleared when it is over."""

from __future__ import annotations

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.domain.alerts import Severity
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import alerts as queries
from chargeplane.store.queries.alerts import AlertFilter, AlertView
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.webhooks import note


class Alerts:
    """Use cases about alerts."""

    def __init__(self, database: Database, events: EventFeed) -> None:
        self._database = database
        self._events = events

    async def raise_alert(
        self,
        db: Db,
        tenant_id: TenantId,
        key: StationKey | None,
        *,
        kind: str,
        severity: Severity,
        title: str,
        ident: str = "",
        details: object = None,
    ) -> int:
        """Raises an alert within the caller's change, or counts one more hit of the one that stands; its id.

        Args:
            key: None where it concerns no one station.
            kind: a subject's word, such as `security_event`.
            title: one sentence for a person.
            ident: tells alerts of one kind of one station apart.
            details: JSON-able.
        """
        ident_, new = await queries.raise_one(db, tenant_id, key, kind, ident, severity.value, title, details or {})
        if new:
            view = await queries.one(db, tenant_id, ident_)
            if view is not None:
                await self._tell(db, "alert.raised", tenant_id, view)
        return ident_

    async def clear(
        self, db: Db, tenant_id: TenantId, key: StationKey | None, *, kind: str, because: str, ident: str | None = ""
    ) -> None:
        """Ends an alert within the caller's change, where it stands.

        Args:
            ident: None ends all of the kind.
        """
        for number in await queries.clear(db, tenant_id, key, kind, ident, because):
            view = await queries.one(db, tenant_id, number)
            if view is not None:
                await self._tell(db, "alert.cleared", tenant_id, view)

    async def _tell(self, db: Db, kind: str, tenant_id: TenantId, view: AlertView) -> None:
        """Shows an alert once it is committed."""
        await note(db, tenant_id, kind, f"alert:{view.id}", view)
        self._database.after_commit(db, lambda: self._events.publish(kind, tenant_id, view.station_id, view))

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(self, caller: Caller, wanted: AlertFilter, limit: int, after: Position | None) -> list[AlertView]:
        """Alerts, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> AlertView:
        """An alert by our id.

        Raises:
            NotFoundError: the tenant has no such alert.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("alert", str(ident))
        return found

    async def acknowledge(self, caller: Caller, ident: int) -> AlertView:
        """Notes that the caller looks after it.

        Raises:
            NotFoundError: the tenant has no such alert.
            ConflictError: somebody does already.
        """
        async with self._database.change() as db:
            if not await queries.acknowledge(db, caller.tenant_id, ident, caller.actor):
                found = await queries.one(db, caller.tenant_id, ident)
                if found is None:
                    raise NotFoundError("alert", str(ident))
                raise ConflictError(f"Alert {ident} was acknowledged by {found.acknowledged_by} already.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="acknowledge",
                kind="alert",
                ident=str(ident),
                before={"acknowledged_by": None},
                after={"acknowledged_by": caller.actor},
            )
            return await self._changed(db, caller, ident, "alert.acknowledged")

    async def settle(self, caller: Caller, ident: int, because: str) -> AlertView:
        """Ends an alert by hand.

        Raises:
            NotFoundError: the tenant has no such alert.
            ConflictError: it is cleared already.
        """
        async with self._database.change() as db:
            if not await queries.clear_one(db, caller.tenant_id, ident, because):
                if await queries.one(db, caller.tenant_id, ident) is None:
                    raise NotFoundError("alert", str(ident))
                raise ConflictError(f"Alert {ident} is cleared already.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="clear",
                kind="alert",
                ident=str(ident),
                reason=because,
                before={"cleared_because": None},
                after={"cleared_because": because},
            )
            return await self._changed(db, caller, ident, "alert.cleared")

    async def _changed(self, db: Db, caller: Caller, ident: int, kind: str) -> AlertView:
        view = await queries.one(db, caller.tenant_id, ident)
        if view is None:
            raise NotFoundError("alert", str(ident))
        await self._tell(db, kind, caller.tenant_id, view)
        return view
