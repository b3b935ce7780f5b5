"""The outbox's worker: facts that were written together with the change they follow from are handed to their handlers.

A fact is handed over at least once: a handler that succeeded just before a crash is called again, so it must stand a
repeat (the row's id is the same). Facts of one key (of one tenant) are handed over one at a time, in the order they
were written; different keys go side by side.

How a row goes: a worker claims it by setting `next_at` to the end of a lease, in a short transaction, and works on it
without one, so no transaction stays open over somebody else's slow server. Success deletes the row. A failure sets
`next_at` to the next attempt, later each time; rows behind it wait. What failed too often, or for good
(`RuleError`), is parked for a person to see, and the rows behind it go on. A worker that died is noticed when its
lease ends. Claims are serialised by an advisory lock, or two workers could take two rows of one key at once.

Idle it costs one indexed query every few seconds; `hint` wakes it at once after a commit in the same process.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from msgspec import Struct

from chargeplane.kernel.errors import NotFoundError, RuleError
from chargeplane.store.database import Connection, is_unavailable

log = structlog.get_logger(__name__)

_LOCK_KEY: Final = 0x6F75_7462_6F78
_BATCH: Final = 200
_POLL_S: Final = 5.0
_LEASE_S: Final = 120.0
_LAST_BACKOFF_S: Final = 3600.0
_SETTLE_RETRY_S: Final = 0.5


class Fact(Struct, frozen=True, kw_only=True):
    """A row of the outbox, as a handler gets it.

    Args:
        id: rises with time; the same at a repeat.
        tenant_id: whose.
        topic: which handler it is for.
        key: what it is ordered by, such as a partner or a webhook.
        payload: JSON text.
        created_at: when it was written.
        attempts: this one included.
    """

    id: int
    tenant_id: int
    topic: str
    key: str
    payload: str
    created_at: datetime
    attempts: int


FactHandler = Callable[[Fact], Awaitable[None]]
"""Does what follows from a fact. RuleError: never try again. Any other error: try again later."""


class Topic(Struct, frozen=True, kw_only=True):
    """How facts of one topic are handled.

    Args:
        handler: see FactHandler.
        max_attempts: after so many failures the fact is parked; 14 are about a day and a half.
        timeout_s: of one attempt; below the lease.
        first_retry_s: wait after the first failure; doubled each time, an hour at most.
    """

    handler: FactHandler
    max_attempts: int = 14
    timeout_s: float = 30.0
    first_retry_s: float = 5.0


class ParkedFact(Struct, frozen=True, kw_only=True):
    """A fact that was given up, for a person to see."""

    id: int
    tenant_id: int
    topic: str
    key: str
    payload: str
    created_at: datetime
    parked_at: datetime
    attempts: int
    error: str | None


class OutboxWorker:
    """Hands facts to their handlers until it is stopped. Several workers, in several processes, share one table.

    Args:
        connect: opens a writer connection.
        concurrency: handlers that run at once, each on another key.
        lease_s: how long a claimed row is safe from other workers.
        poll_s: how often the table is looked at without a hint.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        concurrency: int = 16,
        lease_s: float = _LEASE_S,
        poll_s: float = _POLL_S,
    ) -> None:
        self._connect = connect
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._keys: set[asyncio.Task[None]] = set()
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._topics: dict[str, Topic] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._db: Connection | None = None
        self._db_lock = asyncio.Lock()
        self.handled = 0
        """Facts handed over since the start."""
        self.failed = 0
        """Failed attempts since the start."""
        self.parked = 0
        """Facts parked since the start."""

    def register(self, name: str, topic: Topic) -> None:
        """Handles a topic from the next claim on; facts of topics nobody registered stay where they are."""
        if topic.timeout_s >= self._lease_s:
            raise ValueError("An attempt must end before its lease does.")
        self._topics[name] = topic

    def hint(self) -> None:
        """Something was written: look at once. Costs nothing to call often."""
        self._wake.set()

    async def start(self) -> None:
        """Begins to work."""
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def stop(self) -> None:
        """Ends; attempts under way are cut off and made again by whoever comes next, without waiting for the lease."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        keys = list(self._keys)
        for task in keys:
            task.cancel()
        await asyncio.gather(*keys, return_exceptions=True)
        if self._db is not None:
            await self._db.close()
            self._db = None

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            wait = self._poll_s
            try:
                if len(self._keys) < self._concurrency:
                    claimed = await self._claim()
                    if claimed:
                        self._work(claimed)
                        continue
                    wait = await self._until_next()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("outbox_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    # Handing over

    def _work(self, facts: Sequence[Fact]) -> None:
        until = time.monotonic() + self._lease_s
        keys: dict[tuple[int, str], list[Fact]] = {}
        for fact in facts:
            keys.setdefault((fact.tenant_id, fact.key), []).append(fact)
        for queue in keys.values():
            # A task a key: a slow partner holds up nobody else's facts.
            task = asyncio.create_task(self._work_key(queue, until))
            self._keys.add(task)
            task.add_done_callback(self._key_done)

    def _key_done(self, task: asyncio.Task[None]) -> None:
        self._keys.discard(task)
        self._wake.set()  # room for more
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("outbox_key_failed", error=str(error) or type(error).__name__)

    async def _work_key(self, queue: list[Fact], until: float) -> None:
        async with self._slots:
            for place, fact in enumerate(queue):
                topic = self._topics[fact.topic]
                if time.monotonic() + topic.timeout_s > until:
                    await self._release(queue[place:])
                    return
                try:
                    async with asyncio.timeout(topic.timeout_s):
                        await topic.handler(fact)
                except asyncio.CancelledError:
                    try:
                        await self._release(queue[place:])
                    except Exception as error:
                        log.warning("outbox_not_released", key=fact.key, error=str(error) or type(error).__name__)
                    raise
                except Exception as error:
                    self.failed += 1
                    if await self._failed(fact, topic, error):
                        continue
                    await self._release(queue[place + 1 :])
                    return
                self.handled += 1
                await self._settle("DELETE FROM outbox WHERE id = $1", fact.id)

    async def _failed(self, fact: Fact, topic: Topic, error: Exception) -> bool:
        """Notes a failure; True where the fact is parked, so that those behind it go on."""
        sentence = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            sentence = f"No end within {topic.timeout_s:g} s."
        sentence = sentence.replace("\x00", "")[:2000]
        if isinstance(error, RuleError) or fact.attempts >= topic.max_attempts:
            log.error("outbox_parked", id=fact.id, topic=fact.topic, key=fact.key, error=sentence)
            self.parked += 1
            await self._settle(
                "UPDATE outbox SET parked_at = now(), next_at = NULL, error = $2 WHERE id = $1", fact.id, sentence
            )
            return True
        delay = min(topic.first_retry_s * 2 ** (fact.attempts - 1), _LAST_BACKOFF_S) * random.uniform(0.8, 1.2)
        log.warning("outbox_retry", id=fact.id, topic=fact.topic, key=fact.key, in_s=round(delay, 1), error=sentence)
        await self._settle(
            "UPDATE outbox SET next_at = now() + make_interval(secs => $2), error = $3 WHERE id = $1",
            fact.id,
            delay,
            sentence,
        )
        return False

    async def _release(self, facts: Sequence[Fact]) -> None:
        """Gives claimed rows back untried."""
        if facts:
            await self._execute(
                "UPDATE outbox SET next_at = NULL, attempts = attempts - 1 WHERE id = ANY($1)",
                [fact.id for fact in facts],
            )

    # The table

    async def _claim(self) -> list[Fact]:
        async with self._use_db() as db, db.transaction():
            await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
            # The lock is held before this statement takes its snapshot, so it sees every earlier claim.
            rows = await db.fetch(_CLAIM, list(self._topics), _BATCH, self._lease_s)
        facts = [Fact(**row) for row in rows]
        facts.sort(key=lambda fact: fact.id)
        return facts

    async def _until_next(self) -> float:
        async with self._use_db() as db:
            wait = await db.fetchval(
                "SELECT extract(epoch FROM min(next_at) - now())::float8 FROM outbox "
                "WHERE next_at IS NOT NULL AND parked_at IS NULL AND topic = ANY($1)",
                list(self._topics),
            )
        return self._poll_s if wait is None else min(max(wait, 0.01), self._poll_s)

    async def _settle(self, statement: str, *arguments: Any) -> None:
        """Writes an outcome, as soon as the database is there to take it: what was done must not be done again."""
        while True:
            try:
                return await self._execute(statement, *arguments)
            except Exception as error:
                if not is_unavailable(error):
                    raise
            await asyncio.sleep(_SETTLE_RETRY_S)

    async def _execute(self, statement: str, *arguments: Any) -> None:
        async with self._use_db() as db:
            await db.execute(statement, *arguments)

    @contextlib.asynccontextmanager
    async def _use_db(self) -> AsyncIterator[Connection]:
        async with self._db_lock:
            if self._db is None or self._db.is_closed():
                self._db = await self._connect()
            try:
                yield self._db
            except asyncio.CancelledError:
                # A BEGIN that was cut off may stand: what followed on this connection would never be committed.
                self._db.terminate()
                self._db = None
                raise


_CLAIM: Final = """
    UPDATE outbox SET next_at = now() + make_interval(secs => $3), attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM outbox o
        WHERE parked_at IS NULL AND topic = ANY($1) AND (next_at IS NULL OR next_at <= now())
          AND NOT EXISTS (
            SELECT FROM outbox earlier
            WHERE earlier.next_at > now() AND earlier.parked_at IS NULL
              AND earlier.tenant_id = o.tenant_id AND earlier.key = o.key AND earlier.id < o.id)
        ORDER BY id LIMIT $2
        FOR UPDATE SKIP LOCKED)
    RETURNING id, tenant_id, topic, key, payload, created_at, attempts
"""


async def parked_facts(db: Connection, tenant_id: int, *, limit: int = 100, after: int = 0) -> list[ParkedFact]:
    """Facts of a tenant that were given up, oldest first.

    Args:
        limit: how many at most.
        after: id of the last one seen.
    """
    rows = await db.fetch(
        "SELECT id, tenant_id, topic, key, payload, created_at, parked_at, attempts, error FROM outbox "
        "WHERE parked_at IS NOT NULL AND tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant_id,
        after,
        limit,
    )
    return [ParkedFact(**row) for row in rows]


async def retry_parked(db: Connection, tenant_id: int, fact_id: int) -> None:
    """Has a parked fact tried again, with all its attempts.

    Raises:
        NotFoundError: there is no such parked fact.
    """
    done = await db.execute(
        "UPDATE outbox SET parked_at = NULL, next_at = NULL, attempts = 0 "
        "WHERE id = $1 AND tenant_id = $2 AND parked_at IS NOT NULL",
        fact_id,
        tenant_id,
    )
    if done == "UPDATE 0":
        raise NotFoundError("parked fact", str(fact_id))


async def discard_parked(db: Connection, tenant_id: int, fact_id: int) -> None:
    """Removes a parked fact.

    Raises:
        NotFoundError: there is no such parked fact.
    """
    done = await db.execute(
        "DELETE FROM outbox WHERE id = $1 AND tenant_id = $2 AND parked_at IS NOT NULL", fact_id, tenant_id
    )
    if done == "DELETE 0":
        raise NotFoundError("parked fact", str(fact_id))
