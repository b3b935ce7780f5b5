"""What follows from changes of locations, EVSEs and tariffs: facts in the transaction of the change, a copy for each who needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact, FactHandler, OutboxWorker, Topic
from chargeplane.store.queries.paging import Db

FACTS: Final = (
    "location.created",
    "location.updated",
    "location.deleted",
    "evse.created",
    "evse.updated",
    "evse.removed",
    "tariff.created",
    "tariff.updated",
    "tariff.retired",
    "tariff.deleted",
)
"""Topics; the payload is {"id": ...}: the id of the location or tariff, the uid of the EVSE. What it looks like now is read."""


async def tell(db: Db, tenant_id: TenantId, topic: str, ident: str) -> None:
    """Writes a fact down within the caller's transaction."""
    assert topic in FACTS, topic
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        tenant_id,
        topic,
        f"{topic.partition('.')[0]}:{ident.lower()}",
        msgspec.json.encode({"id": ident}).decode(),
    )


class LocationFacts:
    """Who hears of locations, EVSEs and tariffs: each gets a copy of its own, tried again for itself alone."""

    def __init__(self, database: Database, outbox: OutboxWorker) -> None:
        self._database = database
        self._outbox = outbox
        self._subscribers: dict[str, tuple[str, ...]] = {}
        outbox.register_batches(FACTS, self._pass_on)

    def subscribe(self, name: str, topics: Sequence[str], handler: FactHandler) -> None:
        """Hands facts of these topics to a handler from now on, at least once, in order per object.

        Args:
            name: of the subscriber, such as `ocpi`.
            topics: of `FACTS`; the handler sees `<name>:<topic>`.
        """
        for topic in topics:
            if topic not in FACTS:
                raise ValueError(f"There are no facts '{topic}' about locations and tariffs.")
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
