"""How the network does, what needs a person, and telling others: made and started."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from chargeplane.app.outbox import Outbox
from chargeplane.app.performance.performance import Performance
from chargeplane.app.performance.rollups import Rollups
from chargeplane.app.webhooks import Deliverer, Webhooks
from chargeplane.app.webhooks.deliverer import DelivererSettings
from chargeplane.app.work_list import Finder, WorkList
from chargeplane.edges.http.services import Subjects
from chargeplane.edges.outgoing import HttpFetcher
from chargeplane.main.config import Role
from chargeplane.main.subjects import Parts


@dataclass(frozen=True, kw_only=True)
class OperationsParts:
    """What the routes call."""

    webhooks: Webhooks
    performance: Performance
    work_list: WorkList


async def start_operations(parts: Parts, subjects: Subjects) -> OperationsParts:
    """Makes the use cases; nodes that do jobs deliver from now on."""
    if parts.config.role in (Role.ALL, Role.JOBS):
        rollups = Rollups(parts.database)
        finder = Finder(parts.database, parts.events)
        for worker in (rollups, finder):
            await worker.start()
            parts.on_stop.append(worker.stop)
    webhooks = await _start_webhooks(parts, subjects)
    outbox = Outbox(parts.database, parts.outbox.look_again)
    return OperationsParts(
        webhooks=webhooks,
        performance=Performance(parts.database),
        work_list=WorkList(parts.database, parts.events, parts.commands, webhooks, outbox),
    )


async def _start_webhooks(parts: Parts, subjects: Subjects) -> Webhooks:
    config = parts.config.webhooks
    sender = HttpFetcher(
        private_networks=config.private_networks, timeout_s=config.timeout_s, connections=config.max_connections
    )
    parts.on_stop.append(sender.close)
    settings = DelivererSettings(
        timeout_s=config.timeout_s,
        disable_after=timedelta(days=config.disable_after_days),
        lease_s=config.timeout_s + 75.0,
    )
    deliverer = Deliverer(parts.database, parts.secrets, sender, subjects.alerts, settings)
    if parts.config.role in (Role.ALL, Role.JOBS):
        await deliverer.start()
        parts.on_stop.append(deliverer.stop)
    return Webhooks(parts.database, parts.secrets, subjects.alerts, deliverer.hint, plain_http=config.private_networks)
