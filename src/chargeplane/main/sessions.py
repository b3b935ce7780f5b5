"""Sessions and CDRs: made and started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chargeplane.app.cdrs.cdrs import Cdrs
from chargeplane.app.cdrs.charges import ChargesOfAgreements
from chargeplane.app.cdrs.meter_keys import MeterKeys
from chargeplane.app.cdrs.writing import TOPICS as CDR_TOPICS
from chargeplane.app.sessions import telling as session_telling
from chargeplane.app.sessions.freezing import Freezing
from chargeplane.app.sessions.keeper import KeeperSettings, SessionKeeper
from chargeplane.app.sessions.limiting import SessionLimits
from chargeplane.app.sessions.ports import (
    Drivers,
    NoAgreements,
    Nobody,
    Reserved,
    RoamingSessions,
    SessionAgreements,
    SessionPayments,
    TerminalPayers,
)
from chargeplane.app.sessions.sessions import Sessions
from chargeplane.app.sessions.showing import CostDisplay
from chargeplane.app.sessions.signed import SignedProofs
from chargeplane.edges.http.services import Subjects
from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.main.config import Role
from chargeplane.main.rating import RatingParts
from chargeplane.main.subjects import Parts
from chargeplane.store.queries import session_transactions


@dataclass(frozen=True, kw_only=True)
class SessionParts:
    """Their use cases; `keeper.watcher` is where others hear what open sessions cost."""

    sessions: Sessions
    cdrs: Cdrs
    meter_keys: MeterKeys
    keeper: SessionKeeper
    charges: ChargesOfAgreements


async def start_sessions(
    parts: Parts,
    subjects: Subjects,
    rating: RatingParts,
    *,
    agreements: SessionAgreements | None = None,
    drivers: Drivers | None = None,
    payments: SessionPayments | None = None,
    reserved: Reserved | None = None,
    roaming: RoamingSessions | None = None,
    terminals: TerminalPayers | None = None,
) -> SessionParts:
    """Makes them; on nodes that do jobs, sessions are looked after from now on.

    Args:
        agreements, drivers, payments, reserved, roaming, terminals: what others know; without them there are none.
    """
    config, database = parts.config, parts.database
    nobody = Nobody()
    agreements = agreements or NoAgreements()
    parts.facts.declare(CDR_TOPICS, awaited=True)
    parts.facts.declare(session_telling.TOPICS)
    proofs = SignedProofs(database, subjects.alerts)
    freezing = Freezing(
        database,
        rating.locations,
        rating.tariffs,
        agreements,
        drivers or nobody,
        payments or nobody,
        reserved or nobody,
        roaming,
    )
    freezing.terminals = terminals
    keeper = SessionKeeper(
        database,
        parts.events,
        freezing,
        rating.tariffs,
        agreements,
        KeeperSettings(
            running_cost_s=config.sessions.running_cost_s,
            settle_after_s=config.sessions.settle_after_s,
            poll_s=config.sessions.poll_s,
            lease_s=config.sessions.lease_s,
        ),
        told=parts.outbox.hint,
        display=CostDisplay(database, parts.reach, parts.commands),
        proofs=proofs,
        final_costs=parts.final_costs,
        roaming=roaming,
        limits=SessionLimits(database, parts.commands, subjects.display_messages, subjects.profile_keeper.kick),
    )

    async def earlier(tenant_id: TenantId, ident: TransactionId) -> list[Any]:
        async with database.read() as db:
            transaction = await session_transactions.head(db, tenant_id, ident)
            return [] if transaction is None else await session_transactions.event_rows(db, transaction)

    parts.final_costs.read = earlier
    parts.final_costs.told = session_transactions.told_events
    if config.role in (Role.ALL, Role.JOBS):
        await keeper.start()
        parts.on_stop.append(keeper.stop)
    return SessionParts(
        sessions=Sessions(database, keeper),
        cdrs=Cdrs(database, parts.events, rating.tariffs, agreements, parts.outbox.hint, proofs),
        meter_keys=MeterKeys(database),
        keeper=keeper,
        charges=ChargesOfAgreements(),
    )
