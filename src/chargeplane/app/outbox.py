"""The outbox as its operators see it: what waits, what was given up, and what becomes of that."""

from __future__ import annotations

from collections.abc import Callable

from chargeplane.app.api_keys import Caller
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import outbox as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.outbox import FactView
from chargeplane.store.queries.paging import Position

_KIND = "outbox fact"


class Outbox:
    """Use cases about facts of the outbox.

    Args:
        look_again: wakes the worker that hands facts over.
    """

    def __init__(self, database: Database, look_again: Callable[[], None]) -> None:
        self._database = database
        self._look_again = look_again

    async def page(self, caller: Caller, parked: bool | None, limit: int, after: Position | None) -> list[FactView]:
        """Facts, oldest first; at most `limit`.

        Args:
            parked: only those given up, or only those that wait.
        """
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, parked, limit, after)

    async def one(self, caller: Caller, ident: int) -> FactView:
        """A fact by our id.

        Raises:
            NotFoundError: the tenant has none, or it was handed over meanwhile.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return found

    async def retry(self, caller: Caller, ident: int) -> None:
        """Has a parked fact tried again, from the beginning.

        Raises:
            NotFoundError: the tenant has no such fact.
            ConflictError: it is not parked.
        """
        fact = await self._parked(caller, ident)
        async with self._database.change() as db:
            if not await queries.retry(db, caller.tenant_id, ident):
                raise ConflictError(f"Fact {ident} is not parked any more.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="retry",
                kind=_KIND,
                ident=str(ident),
                before={"topic": fact.topic, "key": fact.key, "error": fact.error},
            )
        self._look_again()

    async def discard(self, caller: Caller, ident: int) -> None:
        """Removes a parked fact: what follows from it is never done. The audit log keeps what it said.

        Raises:
            NotFoundError: the tenant has no such fact.
            ConflictError: it is not parked.
        """
        fact = await self._parked(caller, ident)
        async with self._database.change() as db:
            if not await queries.discard(db, caller.tenant_id, ident):
                raise ConflictError(f"Fact {ident} is not parked any more.")
            await audit(
                db, caller.tenant_id, actor=caller.actor, action="discard", kind=_KIND, ident=str(ident), before=fact
            )

    async def _parked(self, caller: Caller, ident: int) -> FactView:
        fact = await self.one(caller, ident)
        if fact.parked_at is None:
            raise ConflictError(f"Fact {ident} is not parked: it waits to be handed over.")
        return fact
