"""Payments as sessions see them: who paid for it before it began."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.app.payments.ports import PublicPrice
from chargeplane.app.sessions.ports import PaidBy
from chargeplane.store.database import Database
from chargeplane.store.queries.session_transactions import SessionTransaction

_FIND: Final = """
    SELECT payment_id, price FROM guest_visit
    WHERE station_key = $1 AND ocpp_evse_id = $2 AND ended_at IS NULL AND tenant_id = $3 AND id_token = $4
    UNION ALL SELECT payment_id, price FROM guest_visit WHERE transaction_id = $5 AND tenant_id = $3
    UNION ALL SELECT id, NULL FROM payment WHERE session_id = $5 AND tenant_id = $3
    LIMIT 1
"""


class _Price(Struct):
    tariff_id: str | None = None
    version: int | None = None


class PaymentsOfSessions:
    """Implements `SessionPayments`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def paid_by(self, transaction: SessionTransaction) -> PaidBy | None:
        """The payment of a guest's visit, with the tariff that was shown; or the one that was made for the session."""
        async with self._database.read() as db:
            row = await db.fetchrow(
                _FIND,
                transaction.station_key,
                transaction.evse_id,
                transaction.tenant_id,
                transaction.id_token,
                transaction.id,
            )
        if row is None:
            return None
        price = _Price()
        if row["price"] is not None:
            shown = msgspec.json.decode(row["price"], type=PublicPrice)
            price = msgspec.json.decode(shown.frozen, type=_Price)
        return PaidBy(payment_id=row["payment_id"], tariff_id=price.tariff_id, tariff_version=price.version)
