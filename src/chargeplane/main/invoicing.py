"""Invoices and the ledger: made and started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chargeplane.app.cdrs.writing import TOPICS as CDR_TOPICS
from chargeplane.app.invoicing.drafting import Drafting
from chargeplane.app.invoicing.exports import Exports
from chargeplane.app.invoicing.facts import ENDED, PAYMENT_TOPICS, InvoicingFacts
from chargeplane.app.invoicing.fees import CHARGED, OVER, BookingFees, Holding
from chargeplane.app.invoicing.invoices import Invoices
from chargeplane.app.invoicing.ports import Mailer
from chargeplane.app.invoicing.runs import BillingRuns
from chargeplane.app.invoicing.telling import ISSUED, mailed
from chargeplane.app.invoicing.telling import TOPICS as INVOICE_TOPICS
from chargeplane.app.invoicing.vat import VatChecks
from chargeplane.app.ledger import Ledger
from chargeplane.app.people import People
from chargeplane.app.pulse import Pulse
from chargeplane.app.settlements import STATEMENT_MADE, Settlements
from chargeplane.app.station_payments import StationPayments
from chargeplane.edges.documents import DocumentPainter
from chargeplane.edges.outgoing import HttpFetcher, ViesRegister
from chargeplane.main.config import Role
from chargeplane.main.subjects import Parts

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

    vat_checks: VatChecks
    ledger: Ledger
    settlements: Settlements
    invoices: Invoices
    billing_runs: BillingRuns
    exports: Exports
    facts: InvoicingFacts


async def start_invoicing(
    parts: Parts,
    people: People,
    mailer: Mailer,
    *,
    holding: Holding | None = None,
    stations: StationPayments | None = None,
) -> InvoicingParts:
    """Makes the use cases; on nodes that do jobs, runs are worked on and reminders go out from now on."""
    drafting = Drafting(people)
    invoices = Invoices(parts.database, DocumentPainter(), mailer)
    invoices.hint = parts.outbox.hint
    runs = BillingRuns(parts.database, parts.events, drafting)
    facts = InvoicingFacts(parts.database, drafting)
    parts.facts.declare((*INVOICE_TOPICS, STATEMENT_MADE), shown=parts.events.show_fact)
    parts.facts.subscribe(NAME, PAYMENT_TOPICS, facts.payment)
    parts.facts.subscribe(NAME, CDR_TOPICS, facts.cdr)
    parts.facts.subscribe(NAME, (ENDED,), facts.agreement)
    parts.facts.subscribe("invoice_mails", (ISSUED,), mailed(invoices), timeout_s=60.0)
    fees = BookingFees(parts.database, drafting, holding)
    parts.facts.subscribe(NAME, (CHARGED,), fees.charged)
    parts.facts.subscribe(NAME, OVER, fees.over)
    register = None
    if parts.config.vat.url is not None:
        fetcher = HttpFetcher(private_networks=parts.config.vat.private_networks)
        parts.on_stop.append(fetcher.close)
        register = ViesRegister(fetcher, parts.config.vat.url)
        if stations is not None:
            stations.register_of_companies = register
    vat_checks = VatChecks(parts.database, register)
    if parts.config.role in (Role.ALL, Role.JOBS):
        for pulse in (
            Pulse("billing runs", _RUNS_EVERY_S, runs.work),
            Pulse("reminders", _REMINDERS_EVERY_S, invoices.remind),
            Pulse("VAT numbers", parts.config.vat.look_every_s, vat_checks.look),
        ):
            pulse.start()
            parts.on_stop.append(pulse.stop)
    return InvoicingParts(
        vat_checks=vat_checks,
        ledger=Ledger(parts.database),
        settlements=Settlements(parts.database, DocumentPainter(), parts.outbox.hint),
        invoices=invoices,
        billing_runs=runs,
        exports=Exports(parts.database),
        facts=facts,
    )
