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
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.model import AgreementState, BillingCycle, version_at
from chargeplane.domain.invoicing.booking import dispute_entry, fee_entry, provider_entry
from chargeplane.domain.invoicing.parties import InvoicingSettings
from chargeplane.domain.ledger import Account, PayerKind, clearing, receivable, wallet
from chargeplane.domain.payments.states import Dispute
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import agreements as agreement_queries
from chargeplane.store.queries import billing as queries
from chargeplane.store.queries import invoices as invoice_queries
from chargeplane.store.queries.billing import PaymentSeen
from chargeplane.store.queries.paging import Db

PAYMENT_TOPICS: Final = (
    "payment.captured",
    "payment.partly_refunded",
    "payment.refunded",
    "payment.disputed",
    "payment.fee",
)
ENDED: Final = "agreement.ended"
_NOT_MONEY: Final = frozenset({"invoice", "free"})
"""Kinds of providers that take nothing: what they 'captured' is paid by the invoice, or not at all."""


_DISPUTES: Final = (Dispute.NONE, Dispute.OPEN, Dispute.WON, Dispute.LOST)
"""In the order in which a dispute goes; it never goes back."""


class CdrFact(Struct, frozen=True, kw_only=True):
    """What is taken of a fact about a CDR."""

    cdr_id: str


class AgreementFact(Struct, frozen=True, kw_only=True):
    """What is taken of a fact about an agreement."""

    agreement_id: str
    at: datetime


class PaymentFact(Struct, frozen=True, kw_only=True):
    """What is taken of a fact about a payment; amounts as they are after it."""

    payment_id: str
    provider: str
    currency: str
    captured: Decimal
    refunded: Decimal
    at: datetime
    dispute: Dispute = Dispute.NONE
    fee: Decimal = Decimal(0)
    purpose: str = "session"
    provider_kind: str = ""
    session_id: str | None = None
    driver_id: str | None = None
    account_id: str | None = None


_cdr_fact = msgspec.json.Decoder(CdrFact).decode
_agreement_fact = msgspec.json.Decoder(AgreementFact).decode
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
                await self._bill(db, tenant_id, subject, settings, found.ended_at + timedelta(seconds=1))

    async def _by_session(self, db: Db, tenant_id: TenantId, agreement_id: int, at: datetime) -> bool:
        """Whether sessions of an agreement are billed one by one: always after it is over, for nothing else is billed then."""
        stored = await agreement_queries.one(db, tenant_id, agreement_id)
        if stored is None:
            return False
        if as_of(stored.agreement, self._now()).state in (AgreementState.ENDED, AgreementState.CLOSED):
            return True
        return version_at(stored.agreement, at).terms.billing.cycle is BillingCycle.SESSION

    async def agreement(self, fact: Fact) -> None:
        """An agreement ended: what it owes is on its final invoice at once. Sessions that end later have theirs with their CDR."""
        if fact.topic != ENDED:
            return
        tenant_id, said = TenantId(fact.tenant_id), _agreement_fact(fact.payload)
        async with self._database.change() as db:
            settings, _ = await invoice_queries.settings(db, tenant_id)
            if settings.issuer is None:
                return
            await self._bill(db, tenant_id, f"agreement:{said.agreement_id}", settings, said.at)

    async def _bill(self, db: Db, tenant_id: TenantId, subject: str, settings: InvoicingSettings, at: datetime) -> None:
        """Bills a subject whole, up to a moment and to now."""
        now = self._now()
        while (await self._drafting.bill(db, tenant_id, subject, settings, until=max(now, at), now=now)).more:
            pass

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
            await self._beside(db, tenant_id, said, seen)
            settings, _ = await invoice_queries.settings(db, tenant_id)
            await apply_payment(db, tenant_id, payment_id, settings, self._now())

    async def _beside(self, db: Db, tenant_id: TenantId, said: PaymentFact, seen: PaymentSeen) -> None:
        """Books what the provider keeps, and what the payer's bank took back."""
        fee, dispute, disputed = max(said.fee, seen.fee), seen.dispute, seen.disputed
        if fee > seen.fee:
            total = Money(amount=fee, currency=seen.currency)
            await post(db, tenant_id, fee_entry(seen.payment_id, seen.provider, total, fee - seen.fee, said.at))
        if _DISPUTES.index(said.dispute) > _DISPUTES.index(seen.dispute):
            dispute = said.dispute
            disputed = seen.disputed or seen.captured - seen.refunded
            money = Money(amount=disputed, currency=seen.currency)
            entry = dispute_entry(seen.payment_id, seen.provider, money, seen.dispute, dispute, said.at)
            if entry is not None:
                await post(db, tenant_id, entry)
        if (fee, dispute) != (seen.fee, seen.dispute):
            await queries.put_beside(db, seen.payment_id, fee, dispute, disputed)

    def _accounts(self, said: PaymentFact) -> tuple[Account, Account]:
        if said.purpose == "top_up" and said.account_id is not None:
            return clearing(said.provider), wallet(said.account_id)
        source = (
            wallet(said.account_id) if said.provider_kind == "wallet" and said.account_id else clearing(said.provider)
        )
        return source, receivable(PayerKind.GUEST, said.payment_id)
