"""What a priced transaction cost in all, told to its station in the answer to its end (OCPP 2.0.1 I03.FR.02).

The keeper of sessions notes which open transactions have a price. Only the end of one of these is looked up; every other message pays for nothing. The
messages before the end are read from the database, the end itself is in memory and not written yet. What is not known in time is left out:
the station is answered all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import structlog
from msgspec import Struct

from chargeplane.domain.cdrs.charging import ToldEvent, charge_of_transaction
from chargeplane.domain.messages import TransactionReport
from chargeplane.domain.rating import Terms, rate
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.domain.transaction_state import StoredEvent, TransactionState
from chargeplane.kernel.ids import TenantId, TransactionId

log = structlog.get_logger(__name__)

_WITHIN_S: Final = 3.0
_MOST: Final = 100_000


class Price(Struct, frozen=True, kw_only=True):
    """By what a transaction is priced."""

    tariff: Tariff
    zone: ZoneInfo
    terms: Terms
    reserved_from: datetime | None = None


Earlier = Callable[[TenantId, TransactionId], Awaitable[list[Any]]]
"""Reads the stored messages of a transaction, as rows."""


class FinalCosts:
    """Priced transactions of this process."""

    def __init__(self) -> None:
        self.priced: dict[TransactionId, Price] = {}
        self.read: Earlier | None = None
        self.told: Callable[[list[Any]], list[ToldEvent]] = list
        self.noted: Callable[[TransactionId, Price], None] | None = None
        """Hears prices that are new, or other than before; so nodes with the stations know them (app/final_cost_sharing.py)."""
        self.forgotten: Callable[[TransactionId], None] | None = None

    def note(self, ident: TransactionId, price: Price) -> None:
        """A transaction that is open has a price. There is a bound: where more are open than that, the first are told no total."""
        known = self.priced.get(ident)
        self.hear(ident, price)
        if self.noted is not None and known != price:
            self.noted(ident, price)

    def hear(self, ident: TransactionId, price: Price) -> None:
        """The same, told by another node."""
        if ident not in self.priced and len(self.priced) >= _MOST:
            self.priced.pop(next(iter(self.priced)))
        self.priced[ident] = price

    def forget(self, ident: TransactionId) -> None:
        """It has ended, or costs nothing any more."""
        self.drop(ident)
        if self.forgotten is not None:
            self.forgotten(ident)

    def drop(self, ident: TransactionId) -> None:
        """The same, told by another node."""
        self.priced.pop(ident, None)

    async def of(
        self,
        tenant_id: TenantId,
        state: TransactionState,
        report: TransactionReport,
        content_hash: bytes,
        received_at: datetime,
    ) -> list[Decimal | None]:
        """What it costs, taxes included; never raises.

        Args:
            state: as the end made it.
            report: the end.
        """
        price, read = self.priced.pop(state.id, None), self.read
        if price is None or read is None:
            return [None]
        end = ToldEvent(
            event=StoredEvent(
                ordinal=state.ordinal,
                kind=report.kind,
                content_hash=content_hash,
                seq_no=report.seq_no,
                at=report.at,
                received_at=received_at,
                readings=report.readings,
            ),
            charging_state=report.charging_state,
        )
        try:
            async with asyncio.timeout(_WITHIN_S):
                rows = await read(tenant_id, state.id)
                return [await asyncio.to_thread(self._rated, price, state, rows, end)]
        except Exception as error:
            log.warning("final_cost_not_told", transaction=state.id, error=str(error) or type(error).__name__)
            return [None]

    def _rated(self, price: Price, state: TransactionState, rows: list[Any], end: ToldEvent) -> Decimal:
        told = [one for one in self.told(rows) if one.event.ordinal < end.event.ordinal]
        charge = charge_of_transaction(
            [*told, end],
            started_at=state.started_at,
            until=state.stopped_at or end.event.received_at,
            energy_wh=state.energy_wh,
            reserved_from=price.reserved_from,
        )
        return rate(charge, price.tariff, price.zone, terms=price.terms).due.incl
