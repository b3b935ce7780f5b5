"""One fact, heard by several: each subscriber gets a copy of its own.

A fact is written once, with the change it follows from, under the topic that says what happened (`cdr.created`). Here it becomes, for each
subscriber of the topic, a fact `<topic>><name>` with the same payload and the key `<name> <key>`, written in the database transaction that
deletes the original: so each has exactly one copy, whatever is killed and whenever. A copy has its own order, its own attempts and its
own end: a subscriber that fails or hangs holds up itself alone, and is parked alone.

A subscriber that comes later hears what is passed on from then on. Facts whose topic is declared as awaited stay where they are until
somebody subscribes to them (they are money, and must not be lost); others that nobody subscribed to end here, seen by the live events
and webhooks. Where several nodes run, a topic is passed on by any of them: all must know a new subscriber before it misses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from chargeplane.store.database import Connection
from chargeplane.store.outbox import Fact, FactHandler, OutboxWorker, Topic
from chargeplane.store.queries import facts as queries

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

Shown = Callable[[Fact], None]
"""Shows a fact to whoever watches. It is called at least once, perhaps just before the copies are committed."""


class FactCopies:
    """Who hears which facts of the house."""

    def __init__(self, outbox: OutboxWorker) -> None:
        self._outbox = outbox
        self._declared: dict[str, Shown | None] = {}
        self._awaited: set[str] = set()
        self._subscribers: dict[str, tuple[str, ...]] = {}
        self._begun = False

    def declare(self, topics: Iterable[str], *, shown: Shown | None = None, awaited: bool = False) -> None:
        """Names topics that may be subscribed to; who writes the facts declares them.

        Args:
            shown: shows each fact to whoever watches.
            awaited: the facts stay in the outbox until somebody subscribes.
        """
        for topic in topics:
            if topic in self._declared:
                raise ValueError(f"Facts '{topic}' are declared already.")
            self._declared[topic] = shown
            if awaited:
                self._awaited.add(topic)
            self._take(topic)

    def subscribe(
        self,
        name: str,
        topics: Iterable[str],
        handler: FactHandler,
        *,
        max_attempts: int = 14,
        timeout_s: float = 30.0,
        first_retry_s: float = 5.0,
    ) -> None:
        """Hands facts of these topics to a handler from now on, at least once each, in order per key.

        The handler sees the fact as it was written, topic and key included; `id` is that of its copy, the same at a repeat.

        Args:
            name: of the subscriber, such as `invoicing`: the same on every node and for ever.
            topics: declared ones.
            max_attempts, timeout_s, first_retry_s: as in `Topic`.

        Raises:
            ValueError: the name is none, a topic was not declared, or the name has subscribed to it already.
        """
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"'{name}' is no name of a subscriber: small letters, digits and _.")
        for topic in topics:
            if topic not in self._declared:
                raise ValueError(f"There are no facts '{topic}'.")
            subscribers = self._subscribers.get(topic, ())
            if name in subscribers:
                raise ValueError(f"'{name}' has subscribed to '{topic}' already.")
            self._outbox.register(
                f"{topic}>{name}",
                Topic(
                    handler=_as_written(name, topic, handler),
                    max_attempts=max_attempts,
                    timeout_s=timeout_s,
                    first_retry_s=first_retry_s,
                ),
            )
            self._subscribers[topic] = (*subscribers, name)
            self._take(topic)

    def begin(self) -> None:
        """Facts are passed on from now on; what was written before this waited. Whoever subscribes at the start has done so by now."""
        self._begun = True
        for topic in self._declared:
            self._take(topic)

    def _take(self, topic: str) -> None:
        if self._begun and (topic in self._subscribers or topic not in self._awaited):
            self._outbox.register_writer((topic,), self._pass_on)
            self._outbox.look_again()

    async def _pass_on(self, db: Connection, facts: Sequence[Fact]) -> None:
        copies = [(fact, name) for fact in facts for name in self._subscribers.get(fact.topic, ())]
        if copies:
            await queries.copy(
                db,
                [fact.tenant_id for fact, _ in copies],
                [f"{fact.topic}>{name}" for fact, name in copies],
                [f"{name} {fact.key}" for fact, name in copies],
                [fact.payload for fact, _ in copies],
            )
            self._outbox.hint()
        for fact in facts:
            shown = self._declared[fact.topic]
            if shown is not None:
                shown(fact)


def _as_written(name: str, topic: str, handler: FactHandler) -> FactHandler:
    prefix = f"{name} "

    async def handle(fact: Fact) -> None:
        await handler(replace(fact, topic=topic, key=fact.key.removeprefix(prefix)))

    return handle
