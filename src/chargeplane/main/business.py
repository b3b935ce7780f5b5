"""The business around the stations, noun by noun: made, and told which facts are theirs."""

from __future__ import annotations

from chargeplane.app.audit_log import AuditLog
from chargeplane.app.cdrs.writing import TOPICS as CDR_TOPICS
from chargeplane.app.people import own_data
from chargeplane.app.people.charges import Charges
from chargeplane.app.people.own import OwnThings
from chargeplane.app.public_data import PublicData
from chargeplane.app.sessions.agreed import AgreementsOfSessions
from chargeplane.app.sessions.paying import PaymentsOfSessions
from chargeplane.app.settlements import STATEMENT_MADE
from chargeplane.edges.datex2 import Publications
from chargeplane.edges.http.services import Business, Subjects
from chargeplane.edges.ocpi_export import OcpiExport
from chargeplane.main.agreements import start_agreements
from chargeplane.main.bookings import start_bookings
from chargeplane.main.invoicing import start_invoicing
from chargeplane.main.operations import start_operations
from chargeplane.main.payments import account_holds, settle_by_cdrs, start_payments
from chargeplane.main.people import start_people
from chargeplane.main.rating import start_rating
from chargeplane.main.roaming import start_roaming
from chargeplane.main.roaming_money import start_roaming_money
from chargeplane.main.roaming_operator import hear_changes
from chargeplane.main.sessions import start_sessions
from chargeplane.main.subjects import Parts


async def start_business(parts: Parts, subjects: Subjects) -> Business:
    """Makes and starts every part of it."""
    rating = await start_rating(parts, subjects)
    people = await start_people(parts)
    agreements = await start_agreements(parts, drivers=people.people)
    people.drivers.holds = people.driver_tokens.holds = agreements.following
    paying = await start_payments(parts, subjects, rating)
    bookings = await start_bookings(parts, subjects, rating.tariffs, agreements.resolving, people.people)
    # Before the sessions, whose drivers may be partners'.
    roaming = await start_roaming(parts, subjects, rating, agreements.resolving, bookings.bookings)
    roaming_money = await start_roaming_money(parts, subjects, rating, paying, roaming)
    sessions = await start_sessions(
        parts,
        subjects,
        rating,
        agreements=AgreementsOfSessions(agreements.resolving),
        drivers=people.people,
        payments=PaymentsOfSessions(parts.database, paying.sessions),
        reserved=bookings.bookings,
        roaming=roaming.operator.sessions,
        terminals=roaming_money.confirmations,
    )
    hear_changes(roaming.operator, roaming.connections.on_change, parts)
    sessions.keeper.watcher = paying.sessions
    holds = account_holds(parts, subjects, paying, agreements.resolving)
    sessions.keeper.holds = holds
    settle_by_cdrs(paying, parts.facts)
    parts.facts.subscribe("roaming_terminals", CDR_TOPICS, roaming_money.confirmations.settled)
    agreements.usage.charges = sessions.charges
    invoicing = await start_invoicing(
        parts, people.people, people.post, holding=paying.payments, stations=subjects.station_payments
    )
    parts.facts.subscribe("roaming_invoices", (STATEMENT_MADE,), roaming_money.rest.reconciliation.stated)
    paying.guests.mailer, paying.guests.receipts = people.post, invoicing.invoices
    people.personal_data.holders["payment_methods"] = paying.methods
    operations = await start_operations(parts, subjects)
    parts.facts.begin()
    own_data.register(people.personal_data)
    return Business(
        facts=parts.facts,
        locations=rating.locations,
        tariffs=rating.tariffs,
        code_addresses=rating.code_addresses,
        people=people.people,
        drivers=people.drivers,
        driver_tokens=people.driver_tokens,
        vehicles=people.vehicles,
        driver_accounts=people.driver_accounts,
        users=people.users,
        user_accounts=people.user_accounts,
        logins=people.logins,
        guard=people.guard,
        credentials=people.credentials,
        sign_on=people.sign_on,
        sign_on_providers=people.sign_on_providers,
        audit_log=AuditLog(parts.database),
        personal_data=people.personal_data,
        charges=Charges(
            parts.database,
            parts.commands,
            rating.locations,
            people.driver_tokens,
            rating.tariffs,
            agreements.resolving,
            holds,
        ),
        own=OwnThings(
            sessions=sessions.sessions,
            cdrs=sessions.cdrs,
            invoices=invoicing.invoices,
            payments=paying.payments,
            accounts=paying.accounts,
            agreements=agreements.agreements,
            bookings=bookings.bookings,
            drivers=people.drivers,
            tokens=people.driver_tokens,
        ),
        public_url=parts.config.public_url,
        agreements=agreements.agreements,
        agreement_resolving=agreements.resolving,
        agreement_usage=agreements.usage,
        agreement_following=agreements.following,
        payments=paying.payments,
        payment_providers=paying.providers,
        payment_webhooks=paying.webhooks,
        payment_accounts=paying.accounts,
        payment_methods=paying.methods,
        guests=paying.guests,
        guest_door=paying.guest_door,
        vat_checks=invoicing.vat_checks,
        ledger=invoicing.ledger,
        settlements=invoicing.settlements,
        sessions=sessions.sessions,
        cdrs=sessions.cdrs,
        webhooks=operations.webhooks,
        meter_keys=sessions.meter_keys,
        bookings=bookings.bookings,
        booking_keeper=bookings.keeper,
        booking_telling=bookings.telling,
        performance=operations.performance,
        work_list=operations.work_list,
        invoices=invoicing.invoices,
        billing_runs=invoicing.billing_runs,
        exports=invoicing.exports,
        roaming=roaming,
        publications_to_partners=roaming.operator.publications,
        roaming_provider=roaming.provider.rest,
        roaming_money=roaming_money.rest,
        public_data=PublicData(parts.database),
        publications=Publications(),
        public_lists=OcpiExport(),
    )
