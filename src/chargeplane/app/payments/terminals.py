"""Payments at stations' own terminals (OCPP 2.1 C18 to C25), recorded as payments: the station says how they ended, nothing is asked of anybody."""

from __future__ import annotations

from chargeplane.app.payments.carrying import write_fact
from chargeplane.app.payments.ports import Terminals
from chargeplane.app.payments.providers import TERMINAL
from chargeplane.app.reports import Place
from chargeplane.domain.payments.states import NOTHING, Ended, Goal, Payment
from chargeplane.domain.station_exchanges import Settlement
from chargeplane.store.queries import payments as queries
from chargeplane.store.queries.paging import Db

_ENDS = {"Canceled": Ended.VOIDED, "Rejected": Ended.FAILED, "Failed": Ended.FAILED}
"""OCPP 2.1 PaymentStatusEnumType; Settled took the amount."""


class TerminalPayments:
    """Records them.

    Args:
        terminals: who knows the currency a station settles in.
    """

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals

    async def record(self, db: Db, place: Place, told: Settlement) -> None:
        """Keeps a settlement as a payment, once, within the caller's change."""
        session_id = None
        if told.ocpp_transaction_id is not None:
            session_id = await db.fetchval(
                "SELECT id FROM transaction WHERE station_key = $1 AND ocpp_transaction_id = $2 ORDER BY opened_at DESC LIMIT 1",
                place.key,
                told.ocpp_transaction_id,
            )
        settled = told.status == "Settled" and told.amount > 0
        amount = max(told.amount, NOTHING)
        payment = Payment(
            hold=amount,
            goal=Goal.CAPTURE if settled else Goal.VOID,
            to_capture=amount if settled else None,
            ref=f"{place.station_id}:{told.psp_ref}:{told.status}",
            authorized=amount if settled else NOTHING,
            captured=amount if settled else NOTHING,
            ended=None if settled else _ENDS.get(told.status, Ended.VOIDED),
            error=None if settled else told.status.lower(),
        )
        key = f"{TERMINAL}-{place.key}-{told.psp_ref}-{told.status}-{told.ocpp_transaction_id or ''}-{amount}"
        ident = await queries.insert(
            db,
            place.tenant_id,
            provider=TERMINAL,
            kind=TERMINAL,
            purpose=TERMINAL,
            key=key[:500],
            currency=await self._terminals.currency(db, place),
            payment=payment,
            session_id=session_id,
            description=told.info,
            method=TERMINAL,
            by=f"station {place.station_id}",
        )
        if ident is not None:
            stored = await queries.stored(db, ident)
            assert stored is not None
            await write_fact(db, stored, stored.payment, place.received_at)
