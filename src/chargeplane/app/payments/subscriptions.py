"""Facts about payments, handed to all who need them: each gets a copy of its own, tried again for itself alone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chargeplane.app.events import EventFeed
from chargeplane.app.payments.carrying import FACTS
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact, FactHandler, OutboxWorker, Topic


class Subscriptions:
    """Who hears of payments. A fact is shown to whoever watches, and copied for every subscriber."""

    def __init__(self, database: Database, outbox: OutboxWorker, events: EventFeed) -> None:
        self._database = database
        self._outbox = outbox
        self._events = events
        self._subscribers: dict[str, tuple[str, ...]] = {}
        outbox.register_batches(FACTS, self._pass_on)

    def subscribe(self, name: str, topics: Sequence[str], handler: FactHandler) -> None:
        """Hands facts of these topics to a handler from now on, at least once, in order per payment.

        Args:
            name: of the subscriber, such as `invoicing`.
            topics: of `carrying.FACTS`, such as `payment.captured`; the handler sees `<name>:<topic>`.
        """
        for topic in topics:
            if topic not in FACTS:
                raise ValueError(f"There are no facts '{topic}' about payments.")
            self._outbox.register(f"{name}:{topic}", Topic(handler=handler))
            self._subscribers[topic] = (*self._subscribers.get(topic, ()), name)

    async def _pass_on(self, facts: Sequence[Fact]) -> None:
        copies = [
            (fact.tenant_id, f"{name}:{fact.topic}", fact.key, fact.payload)
            for fact in facts
            for name in self._subscribers.get(fact.topic, ())
        ]
        if copies:
            async with self._database.change() as db:
                await db.executemany(
                    "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)", copies
                )
            self._outbox.hint()
        for fact in facts:
            self._events.publish(fact.topic, TenantId(fact.tenant_id), None, msgspec.Raw(fact.payload.encode()))
