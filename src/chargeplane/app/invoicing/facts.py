"""What invoicing hears: CDRs are noted as what is to be billed, payments are booked and put on invoices, guests get their receipts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.app.invoicing.drafting import Drafting
from chargeplane.app.invoicing.issuing import apply_payment
from chargeplane.app.ledger import post
from chargeplane.domain.agreements.model import BillingCycle, version_at
from chargeplane.domain.invoicing.booking import provider_entry
from chargeplane.domain.ledger import Account, PayerKind, clearing, receivable, wallet
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import agreements as agreement_queries
from chargeplane.store.queries import billing as queries
from chargeplane.store.queries import invoices as invoice_queries
from chargeplane.store.queries.paging import Db

PAYMENT_TOPICS: Final = ("payment.captured", "payment.refunded")
_NOT_MONEY: Final = frozenset({"invoice", "free"})
"""Kinds of providers that take nothing: what they 'captured' is paid by the invoice, or not at all."""


class CdrFact(Struct, frozen=True, kw_only=True):
    """What is taken of a fact about a CDR."""

    cdr_id: str


class PaymentFact(Struct, frozen=True, kw_only=True):
    """What is taken of a fact about a payment; amounts as they are after it."""

    payment_id: str
    provider: str
    currency: str
    captured: Decimal
    refunded: Decimal
    at: datetime
    purpose: str = "session"
    provider_kind: str = ""
    session_id: str | None = None
    driver_id: str | None = None
    account_id: str | None = None


_cdr_fact = msgspec.json.Decoder(CdrFact).decode
_payment_fact = msgspec.json.Decoder(PaymentFact).decode


def _now() -> datetime:
    return datetime.now(UTC)


class InvoicingFacts:
    """Handlers of facts; each stands repeats.

    Args:
        now: the clock.
    """

    def __init__(self, database: Database, drafting: Drafting, now: Callable[[], datetime] = _now) -> None:
        self._database = database
        self._drafting = drafting
        self._now = now

    async def cdr(self, fact: Fact) -> None:
        """A CDR was written, or released. Sessions of guests, and of agreements that are billed by session, have their invoice at once."""
        tenant_id = TenantId(fact.tenant_id)
        async with self._database.change() as db:
            found = await queries.take_cdr(db, tenant_id, int(_cdr_fact(fact.payload).cdr_id))
            if found is None or found.holds or found.currency is None:
                return
            settings, _ = await invoice_queries.settings(db, tenant_id)
            if settings.issuer is None:
                return
            subject = None
            if found.agreement_id is not None:
                if await self._by_session(db, tenant_id, found.agreement_id, found.ended_at):
                    subject = f"agreement:{found.agreement_id}"
            elif found.payment_id is not None and settings.receipts:
                subject = f"payment:{found.payment_id}"
            if subject is not None:
                now = self._now()
                until = max(now, found.ended_at + timedelta(seconds=1))
                await self._drafting.bill(db, tenant_id, subject, settings, until=until, now=now)

    async def _by_session(self, db: Db, tenant_id: TenantId, agreement_id: int, at: datetime) -> bool:
        stored = await agreement_queries.one(db, tenant_id, agreement_id)
        if stored is None:
            return False
        return version_at(stored.agreement, at).terms.billing.cycle is BillingCycle.SESSION

    async def payment(self, fact: Fact) -> None:
        """A provider took money, or gave it back."""
        said = _payment_fact(fact.payload)
        if said.provider_kind in _NOT_MONEY:
            return
        tenant_id, payment_id = TenantId(fact.tenant_id), int(said.payment_id)
        async with self._database.change() as db:
            await invoice_queries.serialise(db, tenant_id, f"payment money:{payment_id}")
            before = await queries.payment(db, tenant_id, payment_id)
            seen = await queries.see_payment(
                db,
                tenant_id,
                payment_id=payment_id,
                provider=said.provider,
                currency=said.currency,
                captured=said.captured,
                refunded=said.refunded,
                session_id=None if said.session_id is None else int(said.session_id),
                driver_id=said.driver_id,
            )
            taken = seen.captured - (before.captured if before else Decimal(0))
            given = seen.refunded - (before.refunded if before else Decimal(0))
            source, payer = self._accounts(said)
            for total, change in ((seen.captured, taken), (seen.refunded, -given)):
                if change:
                    money = Money(amount=total, currency=said.currency)
                    await post(db, tenant_id, provider_entry(payment_id, money, change, source, payer, said.at))
            settings, _ = await invoice_queries.settings(db, tenant_id)
            await apply_payment(db, tenant_id, payment_id, settings, self._now())

    def _accounts(self, said: PaymentFact) -> tuple[Account, Account]:
        if said.purpose == "top_up" and said.account_id is not None:
            return clearing(said.provider), wallet(said.account_id)
        source = (
            wallet(said.account_id) if said.provider_kind == "wallet" and said.account_id else clearing(said.provider)
        )
        return source, receivable(PayerKind.GUEST, said.payment_id)
