"""Transactions as an operator reads them, and closing one by hand."""

from __future__ import annotations

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.reach import StationReach
from chargeplane.domain.timeline import Span, Timeline, timeline
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import transactions as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.authorization import LimitView, limits_of
from chargeplane.store.queries.inquiries import InquiryView, of_transaction
from chargeplane.store.queries.paging import Mark, Position
from chargeplane.store.queries.transactions import (
    MeterValueView,
    TransactionEventView,
    TransactionFilter,
    TransactionPlace,
    TransactionView,
)


class TransactionDetails(Struct, frozen=True, kw_only=True):
    """What is worked out of a transaction's messages, and known beside them.

    Args:
        until: the stop; of an open transaction its newest message.
        charging_s: seconds in which energy flowed.
        idle_s: all other seconds, the suspended ones among them.
        suspended_ev_s, suspended_evse_s: seconds in which the car took, or the station gave, nothing, as the station says.
        spans: the time from start to stop, cut where something changed; `stated` where the station said so, else the meter
            tells.
        limits: of the transaction; null where its id token has none.
        inquiry: the last question to the station about it; null where none was asked.
    """

    started_at: datetime
    until: datetime
    charging_s: Decimal
    idle_s: Decimal
    suspended_ev_s: Decimal
    suspended_evse_s: Decimal
    spans: tuple[Span, ...]
    limits: LimitView | None
    inquiry: InquiryView | None


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
        self, caller: Caller, ident: int, kind: str | None, limit: int, after: Position | None
    ) -> list[TransactionEventView]:
        """The messages of a transaction as received, in order.

        Raises:
            NotFoundError: the tenant has no such transaction.
        """
        place = await self.place(caller, ident)
        async with self._database.read() as db:
            return await queries.events(db, place, kind, limit, after)

    async def meter_values(
        self, caller: Caller, ident: int, limit: int, after: Position | None
    ) -> list[tuple[Mark, MeterValueView]]:
        """The meter values of a transaction in order of arrival, each with its position.

        Raises:
            NotFoundError: the tenant has no such transaction.
        """
        place = await self.place(caller, ident)
        async with self._database.read() as db:
            return await queries.meter_values(db, place, limit, after)

    async def details(self, caller: Caller, ident: int) -> TransactionDetails:
        """How a transaction's time was spent, its limits, and what its station said when it was asked about it.

        Raises:
            NotFoundError: the tenant has no such transaction.
        """
        place = await self.place(caller, ident)
        view = await self.one(caller, ident)
        async with self._database.read() as db:
            rows = await queries.stored_events(db, place)
            limits = await limits_of(db, place.id)
            inquiry = await of_transaction(db, place.id)
        # Many messages are read: not in the loop that answers stations.
        until, made = await asyncio.to_thread(_times, rows, view)
        return TransactionDetails(
            started_at=view.started_at,
            until=until,
            charging_s=made.charging_s,
            idle_s=made.idle_s,
            suspended_ev_s=made.suspended_ev_s,
            suspended_evse_s=made.suspended_evse_s,
            spans=made.spans,
            limits=limits,
            inquiry=inquiry,
        )

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
                before={"state": "open"},
                after={"state": "closed"},
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


def _times(rows: list[Any], view: TransactionView) -> tuple[datetime, Timeline]:
    heard = queries.heard(rows)
    until = view.stopped_at or max((one.at for one in heard), default=view.started_at)
    return until, timeline(heard, started_at=view.started_at, until=until)
