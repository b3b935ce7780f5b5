"""Payment terminals and invoice reconciliation: made and started."""

from __future__ import annotations

from dataclasses import dataclass

from chargeplane.app.roaming.confirmations import Confirmations
from chargeplane.app.roaming.reconciliation import MODULE as INVOICES
from chargeplane.app.roaming.reconciliation import Reconciliation
from chargeplane.app.roaming.terminals import MODULE as PAYMENTS
from chargeplane.app.roaming.terminals import TOPICS as EVSE_TOPICS
from chargeplane.app.roaming.terminals import Terminals
from chargeplane.domain.roaming.replicas import Module
from chargeplane.edges.http.services import RoamingMoney, Subjects
from chargeplane.edges.ocpi_server.handlers import invoices_sender
from chargeplane.edges.ocpi_server.handlers import payments as payment_rows
from chargeplane.main.config import Role
from chargeplane.main.payments import PaymentParts
from chargeplane.main.rating import RatingParts
from chargeplane.main.roaming import Roaming
from chargeplane.main.subjects import Parts


@dataclass(frozen=True, kw_only=True)
class RoamingMoneyParts:
    """Their use cases.

    Args:
        confirmations: also given to the sessions, whose payers they know.
    """

    rest: RoamingMoney
    confirmations: Confirmations


async def start_roaming_money(
    parts: Parts, subjects: Subjects, rating: RatingParts, paying: PaymentParts, roaming: Roaming
) -> RoamingMoneyParts:
    """Makes them; on nodes that do jobs, EVSEs follow their terminals from now on."""
    database, wake = parts.database, roaming.outgoing.hint
    terminals = Terminals(database, roaming.caller, roaming.connections, rating.locations, parts.events, wake=wake)
    confirmations = Confirmations(
        database, roaming.connections, paying.carrying, subjects.alerts, parts.events, wake=wake
    )
    reconciliation = Reconciliation(
        database, roaming.connections, roaming.provider.rest.records, parts.events, wake=wake
    )
    roaming.door.offer(invoices_sender.handlers(reconciliation))
    roaming.outgoing.register(INVOICES, reconciliation)
    replicas = roaming.provider.replicas
    replicas.hooks.setdefault(Module.INVOICES, []).append(reconciliation.came)
    replicas.after.setdefault(Module.INVOICES, []).append(reconciliation.written)
    roaming.door.offer(payment_rows.handlers(terminals, confirmations))
    roaming.outgoing.register(PAYMENTS, terminals)
    roaming.provider.rest.pulling.takers |= {
        Module.TERMINALS.value: terminals.receive,
        Module.CONFIRMATIONS.value: confirmations.receive,
    }
    parts.facts.subscribe("roaming_terminals", EVSE_TOPICS, terminals.changed)
    if parts.config.role in (Role.ALL, Role.JOBS):
        await terminals.start()
        parts.on_stop.append(terminals.stop)
    return RoamingMoneyParts(
        rest=RoamingMoney(terminals=terminals, confirmations=confirmations, reconciliation=reconciliation),
        confirmations=confirmations,
    )
