"""Payments as sessions see them: who pays for it, and the tariff that the payer was shown."""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import Struct

from chargeplane.app.payments.ports import PublicPrice
from chargeplane.app.sessions.ports import PaidBy
from chargeplane.store.database import Database
from chargeplane.store.queries.session_transactions import SessionTransaction


class _Price(Struct):
    tariff_id: str | None = None
    version: int | None = None


class PaymentFinder(Protocol):
    """Finds the payment of a session."""

    async def payment_of(self, transaction: SessionTransaction) -> int | None:
        """None where there is none."""
        ...


class PaymentsOfSessions:
    """Implements `SessionPayments`."""

    def __init__(self, database: Database, finder: PaymentFinder) -> None:
        self._database = database
        self._finder = finder

    async def paid_by(self, transaction: SessionTransaction) -> PaidBy | None:
        """The payment of a session; of a guest's visit with the tariff that was shown."""
        ident = await self._finder.payment_of(transaction)
        if ident is None:
            return None
        async with self._database.read() as db:
            text = await db.fetchval("SELECT price FROM guest_visit WHERE payment_id = $1", ident)
        if text is None:
            return PaidBy(payment_id=ident)
        shown = msgspec.json.decode(text, type=PublicPrice)
        price = msgspec.json.decode(shown.frozen, type=_Price)
        return PaidBy(payment_id=ident, tariff_id=price.tariff_id, tariff_version=price.version)
