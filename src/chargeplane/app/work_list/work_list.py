"""Use cases about the work list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.events import EventFeed
from chargeplane.app.outbox import Outbox
from chargeplane.app.webhooks import Webhooks
from chargeplane.domain.commands import Command
from chargeplane.domain.commands.basics import Reset, Stop, Trigger, Unlock
from chargeplane.domain.work_list import ACTIONS, WorkAction, WorkKind, WorkState
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import webhooks as webhook_queries
from chargeplane.store.queries import work_list as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.work_list import StoredItem, WorkEventView, WorkFilter, WorkItemView

_KIND: Final = "work item"
_VALID_S: Final = 300.0
_AT_ONCE: Final = 1000


class WorkList:
    """What operators do with the list.

    Args:
        commands, webhooks, outbox: by which actions are done.
    """

    def __init__(
        self, database: Database, feed: EventFeed, commands: Commands, webhooks: Webhooks, outbox: Outbox
    ) -> None:
        self._database = database
        self._feed = feed
        self._commands = commands
        self._webhooks = webhooks
        self._outbox = outbox

    async def page(
        self, caller: Caller, wanted: WorkFilter, limit: int, after: Position | None, language: str | None = None
    ) -> list[tuple[queries.WorkPlace, WorkItemView]]:
        """Items with their places, most at risk first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after, language)

    async def one(
        self, caller: Caller, ident: int, language: str | None = None
    ) -> tuple[WorkItemView, list[WorkEventView]]:
        """An item with its history.

        Raises:
            NotFoundError: the tenant has no such item.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident, language)
            if found is None:
                raise NotFoundError(_KIND, str(ident))
            return found, await queries.events(db, ident)

    async def acknowledge(self, caller: Caller, ident: int, note: str | None) -> WorkItemView:
        """Notes that somebody has seen it.

        Raises:
            NotFoundError: the tenant has no such item.
            ConflictError: it is resolved, or acknowledged already.
        """
        async with self._database.change() as db:
            stored = await self._open(db, caller, ident)
            if stored.state != WorkState.SEEN:
                raise ConflictError(f"The work item {ident} is {stored.state} already.")
            return await self._change(db, caller, stored, "acknowledged", note, {"state": WorkState.ACKNOWLEDGED.value})

    async def assign(self, caller: Caller, ident: int, assignee: str, note: str | None) -> WorkItemView:
        """Gives it to somebody.

        Raises:
            NotFoundError: the tenant has no such item.
            ConflictError: it is resolved.
        """
        async with self._database.change() as db:
            stored = await self._open(db, caller, ident)
            columns = {"state": WorkState.ASSIGNED.value, "assignee": assignee}
            return await self._change(db, caller, stored, "assigned", note or f"To {assignee}.", columns)

    async def snooze(self, caller: Caller, ident: int, until: datetime, note: str | None) -> WorkItemView:
        """Puts it off.

        Raises:
            NotFoundError: the tenant has no such item.
            ConflictError: it is resolved.
            InvalidInputError: the time is over.
        """
        if until <= datetime.now(UTC):
            sentence = "Must be in the future"
            raise InvalidInputError(f"'until': {sentence}.", (("/until", sentence),))
        async with self._database.change() as db:
            stored = await self._open(db, caller, ident)
            return await self._change(db, caller, stored, "snoozed", note, {"snoozed_until": until})

    async def note(self, caller: Caller, ident: int, note: str) -> WorkItemView:
        """Adds a note, also to what is resolved.

        Raises:
            NotFoundError: the tenant has no such item.
        """
        async with self._database.change() as db:
            stored = await queries.locked(db, caller.tenant_id, ident)
            if stored is None:
                raise NotFoundError(_KIND, str(ident))
            return await self._change(db, caller, stored, "noted", note, {"ident": stored.ident})

    async def act(self, caller: Caller, ident: int, action: WorkAction) -> WorkItemView:
        """Does something about it; what comes of it is told in the history.

        Raises:
            NotFoundError: the tenant has no such item.
            ConflictError: it is resolved, or that does not suit it; the sentence says what does.
        """
        async with self._database.change() as db:
            stored = await self._open(db, caller, ident)
        allowed = ACTIONS.get(WorkKind(stored.kind), ())
        if action not in allowed:
            suits = ", ".join(allowed) or "none from here"
            raise ConflictError(f"'{action}' is not for a work item of the kind {stored.kind}; what is: {suits}.")
        told = await self._do(caller, stored, action)
        async with self._database.change() as db:
            return await self._change(db, caller, stored, "acted", f"{action}: {told}", {"ident": stored.ident})

    async def _do(self, caller: Caller, stored: StoredItem, action: WorkAction) -> str:
        if action is WorkAction.RETRY:
            if stored.kind == WorkKind.UNDELIVERED_WEBHOOKS:
                count = await self._webhooks.retry_failed(caller, int(stored.ident), None)
                return f"{count} deliveries are tried again."
            async with self._database.read() as db:
                facts = await queries.parked(db, caller.tenant_id, stored.ident, _AT_ONCE)
            for fact in facts:
                await self._outbox.retry(caller, fact)
            return f"{len(facts)} facts are tried again."
        command: Command
        if action is WorkAction.STOP:
            async with self._database.read() as db:
                named = await queries.open_transaction(db, int(stored.ident))
            if named is None:
                raise ConflictError("The station has no name for this transaction; close it at /v1/transactions.")
            command = Stop(ocpp_transaction_id=named)
        elif action is WorkAction.UNLOCK:
            command = Unlock(evse_id=stored.evse_id or 1)
        elif action is WorkAction.RESET:
            command = Reset()
        else:
            command = Trigger(message="StatusNotification", evse_id=stored.evse_id or None)
        assert stored.station_key is not None
        number = await self._commands.give(
            caller.tenant_id, stored.station_key, command, by=caller.actor, valid_s=_VALID_S
        )
        return f"command {number}"

    async def _open(self, db: Db, caller: Caller, ident: int) -> StoredItem:
        stored = await queries.locked(db, caller.tenant_id, ident)
        if stored is None:
            raise NotFoundError(_KIND, str(ident))
        if stored.resolved_at is not None:
            raise ConflictError(f"The work item {ident} is resolved; a note may be added.")
        return stored

    async def _change(
        self, db: Db, caller: Caller, stored: StoredItem, what: str, note: str | None, columns: dict[str, Any]
    ) -> WorkItemView:
        await queries.change(db, stored.id, columns)
        await queries.add_event(db, stored.id, caller.actor, what, note)
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=what,
            kind=_KIND,
            ident=str(stored.id),
            reason=note,
            before={"state": stored.state},
            after=columns,
        )
        view = await queries.one(db, caller.tenant_id, stored.id)
        assert view is not None
        await webhook_queries.note(db, caller.tenant_id, "work_item.updated", f"work_item:{stored.id}", view)
        self._database.after_commit(
            db, lambda: self._feed.publish("work_item.updated", caller.tenant_id, view.station_id, view)
        )
        return view
