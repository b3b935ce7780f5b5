"""Payments, their providers, and guests: made and started."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.cdrs.writing import TOPICS as CDR_TOPICS
from chargeplane.app.fact_copies import FactCopies
from chargeplane.app.payments.account_holds import AccountHolds, HoldTimes
from chargeplane.app.payments.accounts import Accounts
from chargeplane.app.payments.carrying import FACTS, Carrying, Times
from chargeplane.app.payments.guests import Guests, GuestTimes, stop_before_expiry
from chargeplane.app.payments.house import house_factory
from chargeplane.app.payments.methods import PaymentMethods
from chargeplane.app.payments.payments import Payments
from chargeplane.app.payments.pricing import GuestPlaces, GuestPrices, TerminalCurrencies, TransactionCosts
from chargeplane.app.payments.providers import Providers
from chargeplane.app.payments.reconciliation import Reconciliation
from chargeplane.app.payments.sessions import PaidSessions, PowerOf
from chargeplane.app.payments.terminals import TerminalPayments
from chargeplane.app.payments.webhooks import Webhooks
from chargeplane.edges.http.guest import mail
from chargeplane.edges.http.services import GuestDoor, Subjects
from chargeplane.edges.payments import simulator_provider, stripe_provider
from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.main.config import Role
from chargeplane.main.rating import RatingParts
from chargeplane.main.subjects import Parts
from chargeplane.store.database import Database


@dataclass(frozen=True, kw_only=True)
class PaymentParts:
    """What the other parts ask of payments.

    Args:
        reconciliation: looks after what is unfinished, on nodes that do jobs.
        sessions: what the keeping of sessions asks and tells.
    """

    payments: Payments
    providers: Providers
    webhooks: Webhooks
    accounts: Accounts
    methods: PaymentMethods
    guests: Guests
    guest_door: GuestDoor
    carrying: Carrying
    reconciliation: Reconciliation
    sessions: PaidSessions


async def start_payments(parts: Parts, subjects: Subjects, rating: RatingParts) -> PaymentParts:
    """Makes them; nodes that do jobs look after what is unfinished from now on."""
    config, database = parts.config.payments, parts.database
    providers = Providers(
        database,
        parts.secrets,
        {
            "simulator": simulator_provider,
            "stripe": stripe_provider,
            **{kind: house_factory(database, kind) for kind in ("invoice", "wallet", "free")},
        },
    )
    parts.on_stop.append(providers.close)
    costs = TransactionCosts(database, rating.tariffs)
    carrying = Carrying(
        database,
        providers,
        parts.events,
        subjects.alerts,
        costs=costs,
        times=Times(call_s=config.call_timeout_s, claim_s=config.claim_s),
    )
    carrying.on_expiring = stop_before_expiry(database, parts.commands)
    carrying.on_fact = parts.outbox.hint
    payments = Payments(database, providers, carrying)
    webhooks = Webhooks(database, providers, carrying)
    guests = Guests(
        database,
        payments,
        providers,
        parts.commands,
        parts.reach,
        GuestPlaces(rating.locations),
        GuestPrices(rating.tariffs, hold=Decimal(config.guest_hold)),
        costs,
        times=GuestTimes(
            answer_s=config.guest_answer_s,
            plug_in_s=config.guest_plug_in_s,
            look_s=config.guest_look_s,
            stop_s=config.guest_stop_s,
            claim_s=config.claim_s,
            every_s=min(0.5, config.look_every_s),
        ),
    )
    public_url = config.public_url or parts.config.public_url
    guests.receipt = mail(lambda: public_url or f"http://127.0.0.1:{parts.config.http_port}")
    subjects.station_payments.recorders.append(TerminalPayments(TerminalCurrencies()).record)
    parts.facts.declare(FACTS, shown=parts.events.show_fact)
    reconciliation = Reconciliation(database, carrying, webhooks, every_s=config.look_every_s)
    if parts.config.role in (Role.ALL, Role.JOBS):
        await reconciliation.start()
        parts.on_stop.append(reconciliation.stop)
        await guests.start()
        parts.on_stop.append(guests.stop)
    return PaymentParts(
        payments=payments,
        providers=providers,
        webhooks=webhooks,
        accounts=Accounts(database, payments),
        methods=PaymentMethods(database, payments, providers),
        guests=guests,
        guest_door=GuestDoor(
            public_url=public_url,
            requests_per_minute=config.guest_requests_per_minute,
            payments_per_minute=config.guest_payments_per_minute,
            wrong_per_minute=config.guest_wrong_per_minute,
        ),
        carrying=carrying,
        reconciliation=reconciliation,
        sessions=PaidSessions(database, payments, providers, parts.commands, _power_of(database, rating)),
    )


def _power_of(database: Database, rating: RatingParts) -> PowerOf:
    async def power_of(tenant_id: TenantId, session_id: TransactionId) -> int | None:
        async with database.read() as db:
            row = await db.fetchrow(
                "SELECT evse_uid, connector_id FROM charging_session WHERE tenant_id = $1 AND id = $2",
                tenant_id,
                session_id,
            )
        place = None if row is None else await rating.locations.evse_by_uid(tenant_id, row["evse_uid"])
        if row is None or place is None:
            return None
        here = [one.power_w for one in place.connectors if one.id == row["connector_id"]]
        powers = [one for one in here or [one.power_w for one in place.connectors] if one is not None]
        return max(powers, default=None)

    return power_of


def account_holds(parts: Parts, subjects: Subjects, paying: PaymentParts, resolving: Resolving) -> AccountHolds:
    """Who holds what sessions of account holders are paid by."""
    config = parts.config.payments
    return AccountHolds(
        parts.database,
        paying.payments,
        parts.commands,
        subjects.alerts,
        resolving,
        hold=Decimal(config.account_hold),
        times=HoldTimes(answer_s=config.account_answer_s),
    )


def settle_by_cdrs(paying: PaymentParts, facts: FactCopies) -> None:
    """Final amounts come with CDRs from now on; until then guests' sessions are rated by payments themselves."""
    paying.guests.final_from_cdr = True
    facts.subscribe("payments", CDR_TOPICS, paying.sessions.cdr)
