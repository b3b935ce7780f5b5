"""The quarantine: what could not be understood or matched, and how a person settled it."""

from __future__ import annotations

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import quarantine as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.quarantine import QuarantineFilter, QuarantineView


class Quarantine:
    """Use cases about quarantined messages."""

    def __init__(self, database: Database, events: EventFeed) -> None:
        self._database = database
        self._events = events

    async def page(
        self, caller: Caller, wanted: QuarantineFilter, limit: int, after: Position | None
    ) -> list[QuarantineView]:
        """Entries, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> QuarantineView:
        """An entry by our id.

        Raises:
            NotFoundError: the tenant has no such entry.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("quarantine entry", str(ident))
        return found

    async def resolve(self, caller: Caller, ident: int, note: str) -> QuarantineView:
        """Marks an entry as settled, with a note how.

        Raises:
            NotFoundError: the tenant has no such entry.
            ConflictError: it is settled already.
        """
        async with self._database.change() as db:
            if not await queries.resolve(db, caller.tenant_id, ident, caller.actor, note):
                if await queries.one(db, caller.tenant_id, ident) is None:
                    raise NotFoundError("quarantine entry", str(ident))
                raise ConflictError(f"Quarantine entry {ident} is resolved already.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="resolve",
                kind="quarantine",
                ident=str(ident),
                reason=note,
                before={"resolution": None},
                after={"resolution": note},
            )
        view = await self.one(caller, ident)
        self._events.publish("quarantine.resolved", caller.tenant_id, view.station_id, view)
        return view
