"""Who hears of CDRs: each listener has a topic of its own, so that none waits for another and none hears twice what another failed on.

`cdr.created` and `cdr.released` become, for each listener, the fact `<topic>><name>` with the same payload and the key `<name> session:<id>`:
in order per session, and no listener's failure is in the way of another.
"""

from __future__ import annotations

from chargeplane.app.cdrs.writing import CREATED, RELEASED
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact, FactHandler, OutboxWorker, Topic

TOPICS = (CREATED, RELEASED)


class CdrTelling:
    """Passes facts about CDRs on to whoever listens."""

    def __init__(self, database: Database, outbox: OutboxWorker) -> None:
        self._database = database
        self._outbox = outbox
        self._listeners: dict[str, list[str]] = {topic: [] for topic in TOPICS}

    def register(self) -> None:
        """Begins; listeners are there by then, or what is told meanwhile never reaches them."""
        for topic in TOPICS:
            self._outbox.register(topic, Topic(handler=self._pass_on))

    def listen(self, name: str, topic: str, handler: FactHandler, *, max_attempts: int = 14) -> None:
        """Hands facts of `topic` to a listener, at least once each, in order per session.

        Args:
            name: of the listener, such as `invoices`; the same on every node and for ever.
            handler: as for every topic of the outbox.
        """
        self._listeners[topic].append(name)
        self._outbox.register(f"{topic}>{name}", Topic(handler=handler, max_attempts=max_attempts))

    async def _pass_on(self, fact: Fact) -> None:
        names = self._listeners[fact.topic]
        if not names:
            return
        async with self._database.change() as db:
            # A repeat finds that it was passed on: the fact's own row goes in the same transaction.
            gone = await db.fetchval("DELETE FROM outbox WHERE id = $1 RETURNING id", fact.id)
            if gone is None:
                return
            for name in names:
                await db.execute(
                    "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
                    TenantId(fact.tenant_id),
                    f"{fact.topic}>{name}",
                    f"{name} {fact.key}",
                    fact.payload,
                )
        self._outbox.hint()
