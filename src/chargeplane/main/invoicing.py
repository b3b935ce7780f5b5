"""Invoices and the ledger: made and started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chargeplane.app.bookings.telling import Telling as BookingTelling
from chargeplane.app.cdrs.telling import TOPICS as CDR_TOPICS
from chargeplane.app.cdrs.telling import CdrTelling
from chargeplane.app.invoicing.drafting import Drafting
from chargeplane.app.invoicing.exports import Exports
from chargeplane.app.invoicing.facts import PAYMENT_TOPICS, InvoicingFacts
from chargeplane.app.invoicing.fees import CHARGED, BookingFees, Holding
from chargeplane.app.invoicing.invoices import Invoices
from chargeplane.app.invoicing.ports import Mailer
from chargeplane.app.invoicing.runs import BillingRuns
from chargeplane.app.invoicing.telling import ISSUED, mailed, shown_to
from chargeplane.app.invoicing.telling import TOPICS as INVOICE_TOPICS
from chargeplane.app.ledger import Ledger
from chargeplane.app.payments.subscriptions import Subscriptions
from chargeplane.app.people import People
from chargeplane.app.pulse import Pulse
from chargeplane.edges.documents import DocumentPainter
from chargeplane.main.config import Role
from chargeplane.main.subjects import Parts
from chargeplane.store.outbox import Topic

_RUNS_EVERY_S: Final = 1.0
_REMINDERS_EVERY_S: Final = 600.0
NAME: Final = "invoicing"
"""As a listener to facts."""


@dataclass(frozen=True, kw_only=True)
class InvoicingParts:
    """What REST shows of it.

    Args:
        facts: hears of CDRs and payments.
    """

    ledger: Ledger
    invoices: Invoices
    billing_runs: BillingRuns
    exports: Exports
    facts: InvoicingFacts


async def start_invoicing(
    parts: Parts,
    people: People,
    payments: Subscriptions,
    cdrs: CdrTelling,
    mailer: Mailer,
    *,
    bookings: BookingTelling | None = None,
    holding: Holding | None = None,
) -> InvoicingParts:
    """Makes the use cases; on nodes that do jobs, runs are worked on and reminders go out from now on."""
    drafting = Drafting(people)
    invoices = Invoices(parts.database, DocumentPainter(), mailer)
    invoices.hint = parts.outbox.hint
    runs = BillingRuns(parts.database, parts.events, drafting)
    facts = InvoicingFacts(parts.database, drafting)
    payments.subscribe(NAME, PAYMENT_TOPICS, facts.payment)
    for topic in CDR_TOPICS:
        cdrs.listen(NAME, topic, facts.cdr)
    show = shown_to(parts.events)
    parts.outbox.register_batches([topic for topic in INVOICE_TOPICS if topic != ISSUED], show)
    parts.outbox.register(ISSUED, Topic(handler=mailed(invoices, show), timeout_s=60.0))
    if bookings is not None:
        fees = BookingFees(parts.database, drafting, holding)
        parts.outbox.register(CHARGED, Topic(handler=fees.charged))
        bookings.listeners.append(fees.over)
    if parts.config.role in (Role.ALL, Role.JOBS):
        for pulse in (
            Pulse("billing runs", _RUNS_EVERY_S, runs.work),
            Pulse("reminders", _REMINDERS_EVERY_S, invoices.remind),
        ):
            pulse.start()
            parts.on_stop.append(pulse.stop)
    return InvoicingParts(
        ledger=Ledger(parts.database),
        invoices=invoices,
        billing_runs=runs,
        exports=Exports(parts.database),
        facts=facts,
    )
