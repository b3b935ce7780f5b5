"""The audit log as people read it: who did what to what, when, with what it was before and after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from chargeplane.app.api_keys import Caller
from chargeplane.store.database import Database
from chargeplane.store.queries import audit as queries
from chargeplane.store.queries.audit import AuditEntry, AuditFilter
from chargeplane.store.queries.paging import Position

_AT_ONCE: Final = 500


class AuditLog:
    """Use cases about the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, caller: Caller, wanted: AuditFilter, limit: int, after: Position | None) -> list[AuditEntry]:
        """Entries, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def exported(self, caller: Caller, wanted: AuditFilter) -> None:
        """Writes down that the log was given out."""
        async with self._database.change() as db:
            await queries.audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="export",
                kind="audit-log",
                ident="audit-log",
                after=wanted,
            )

    async def export(self, caller: Caller, wanted: AuditFilter) -> AsyncIterator[list[AuditEntry]]:
        """All entries, newest first, some at a time; what is written meanwhile is not among them."""
        after: Position | None = None
        while True:
            found = await self.page(caller, wanted, _AT_ONCE, after)
            if found:
                yield found
            if len(found) < _AT_ONCE:
                return
            after = Position((int(found[-1].id),))
