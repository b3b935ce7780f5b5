"""Transactions as an operator reads them, and closing one by hand."""

from __future__ import annotations

from chargeplane.app.api_keys import Caller
from chargeplane.app.reach import StationReach
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import transactions as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.transactions import (
    MeterValueView,
    TransactionEventView,
    TransactionFilter,
    TransactionPlace,
    TransactionView,
)


class Transactions:
    """Use cases about transactions. Their rules are domain/transactions.py, applied by the station's actor."""

    def __init__(self, database: Database, reach: StationReach) -> None:
        self._database = database
        self._reach = reach

    async def page(
        self, caller: Caller, wanted: TransactionFilter, limit: int, after: Position | None
    ) -> list[TransactionView]:
        """Transactions, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> TransactionView:
        """A transaction by our id.

        Raises:
            NotFoundError: the tenant has no such transaction.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("transaction", str(ident))
        return found

    async def events(
        self, caller: Caller, ident: int, limit: int, after: Position | None
    ) -> list[TransactionEventView]:
        """The messages of a transaction as received, in order.

        Raises:
            NotFoundError: the tenant has no such transaction.
        """
        place = await self.place(caller, ident)
        async with self._database.read() as db:
            return await queries.events(db, place, limit, after)

    async def meter_values(
        self, caller: Caller, ident: int, limit: int, after: Position | None
    ) -> list[tuple[Position, MeterValueView]]:
        """The meter values of a transaction in order of arrival, each with its position.

        Raises:
            NotFoundError: the tenant has no such transaction.
        """
        place = await self.place(caller, ident)
        async with self._database.read() as db:
            return await queries.meter_values(db, place, limit, after)

    async def close(self, caller: Caller, ident: int, reason: str) -> TransactionView:
        """Closes an open transaction by hand, with its last known value; the audit log says who and why.

        Raises:
            NotFoundError: the tenant has no such transaction.
            ConflictError: it is closed already.
        """
        place = await self.place(caller, ident)
        if not place.is_open:
            raise ConflictError(f"Transaction {ident} is closed already.")
        await self._reach.close_transaction(place.station_key, place.id, reason, caller.actor)
        async with self._database.change() as db:
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="close",
                kind="transaction",
                ident=str(ident),
                reason=reason,
            )
        return await self.one(caller, ident)

    async def place(self, caller: Caller, ident: int) -> TransactionPlace:
        """Where a transaction is kept.

        Raises:
            NotFoundError: the tenant has no such transaction.
        """
        async with self._database.read() as db:
            found = await queries.place(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("transaction", str(ident))
        return found
