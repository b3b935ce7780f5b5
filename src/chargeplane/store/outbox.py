"""The outbox's worker: facts that were written together with the change they follow from are handed to their handlers.

A fact is handed over at least once: a handler that succeeded just before a crash is called again, so it must stand a
repeat (the row's id is the same). Facts of one key (of one tenant) are handed over one at a time, in the order they
were written; different keys go side by side.

How a row goes: a worker claims it by setting `next_at` to the end of a lease, in a short transaction, and works on it
without one, so no transaction stays open over somebody else's slow server. Success deletes the row. A failure sets
`next_at` to the next attempt, later each time; rows behind it wait. What failed too often, or for good
(`RuleError`), is parked for a person to see, and the rows behind it go on. A worker that died is noticed when its
lease ends. Claims are serialised by an advisory lock, or two workers could take two rows of one key at once.

Topics whose handler only passes facts on within the house go in batches: a thousand rows are deleted, handed over and
committed in one database transaction, so a row costs microseconds and a crash in between repeats the batch. That
commit does not wait for the disk: a deletion lost with the database's last moments is a repeat as well. A batch that
fails for another reason than an outage is handed over row by row as above, so that only the culprit waits or is parked;
rows of its key wait behind it. What follows from some of these topics are only other rows: a `Writer` writes them in that same
transaction, so what it writes is there exactly once, and an outage of whoever the others are handed to does not hold it up.

Idle it costs a few indexed queries every few seconds; `hint` wakes it at once after a commit in the same process. Under
load it looks about twenty times a second: a round trip then serves hundreds of rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import structlog
from msgspec import Struct

from chargeplane.kernel.errors import RuleError
from chargeplane.store.database import Connection, is_unavailable

log = structlog.get_logger(__name__)

_LOCK_KEY: Final = 0x6F75_7462_6F78
_BATCH: Final = 200
_POLL_S: Final = 5.0
_LEASE_S: Final = 120.0
_LAST_BACKOFF_S: Final = 3600.0
_SETTLE_RETRY_S: Final = 0.5
_OUTAGE_RETRY_S: Final = 1.0
_BATCH_ROWS: Final = 1000
_BATCH_TIMEOUT_S: Final = 10.0
_PACE_S: Final = 0.1
_SETTLED_S: Final = 2.0
"""What has an id below those handed over so long ago is looked for only now and then: another node's slow commit."""
_FULL_LOOK_S: Final = 20.0
_COUNT_EVERY_S: Final = 10.0
_COUNTED: Final = 100_000


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


BatchHandler = Callable[[Sequence[Fact]], Awaitable[None]]
"""Takes facts of several tenants, in order, all or none; must end within seconds. Errors as for a FactHandler."""


Writer = Callable[[Connection, Sequence[Fact]], Awaitable[None]]
"""Writes what follows from facts of several tenants, in order, in the database transaction that deletes them: both are there, or neither."""


Keeper = Callable[[Connection, Sequence[Fact]], Awaitable[None]]
"""Writes what is to be done about facts, in the database transaction that deletes them; must stand a repeat."""


Observer = Callable[[Connection, list[Fact]], Awaitable[None]]
"""Writes down that facts were met, in the database transaction that takes them for the first time; must stand a repeat."""


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


class OutboxLevel(Struct, frozen=True, kw_only=True):
    """How full the table is, all tenants together.

    Args:
        waiting: facts to be handed over, at most 100,000 are counted.
        parked: facts given up.
        oldest_s: age of the oldest that waits; 0 where none does.
    """

    waiting: int = 0
    parked: int = 0
    oldest_s: float = 0.0


class OutboxWorker:
    """Hands facts to their handlers until it is stopped. Several workers, in several processes, share one table.

    Args:
        connect: opens a writer connection.
        concurrency: handlers that run at once, each on another key.
        lease_s: how long a claimed row is safe from other workers.
        poll_s: how often the table is looked at without a hint.
        pace_s: pause after a batch that was not full, so that the next one gathers.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        concurrency: int = 16,
        lease_s: float = _LEASE_S,
        poll_s: float = _POLL_S,
        pace_s: float = _PACE_S,
    ) -> None:
        self._connect = connect
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._keys: set[asyncio.Task[None]] = set()
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._pace_s = pace_s
        self._topics: dict[str, Topic] = {}
        self._batches: dict[str, BatchHandler] = {}
        self._writers: dict[str, Writer] = {}
        self._keepers: list[Keeper] = []
        self._observers: list[tuple[Callable[[str], bool], Observer]] = []
        self._one_by_one = False
        self._stopping = False
        self._passed: deque[tuple[float, int]] = deque()
        self._floor = 0
        self._full_look_at = 0.0
        self._claim_at = 0.0
        self._count_at = 0.0
        self._batches_at = 0.0
        self._alone = True
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
        self.level = OutboxLevel()
        """How full the table was when it was last counted, a few seconds ago."""

    def register(self, name: str, topic: Topic) -> None:
        """Handles a topic from the next claim on; facts of topics nobody registered stay where they are."""
        if topic.timeout_s >= self._lease_s:
            raise ValueError("An attempt must end before its lease does.")
        self._topics[name] = topic

    def register_batches(self, names: Iterable[str], handler: BatchHandler, *, max_attempts: int = 14) -> None:
        """Handles topics in batches, from the next look on.

        Args:
            max_attempts: of one fact, where its batch failed and it is handed over alone.
        """

        async def alone(fact: Fact) -> None:
            if self._keepers:
                async with self._use_db() as db, db.transaction():
                    await self._keep(db, (fact,))
            await handler((fact,))

        for name in names:
            self.register(name, Topic(handler=alone, max_attempts=max_attempts))
            self._batches[name] = handler

    def register_writer(self, names: Iterable[str], writer: Writer) -> None:
        """Handles topics in batches by writing what follows, from the next look on; each fact has it written exactly once."""

        async def alone(fact: Fact) -> None:
            async with self._use_db() as db, db.transaction():
                # What was written before a failure is not written again: the fact went with it.
                if await db.fetchval("DELETE FROM outbox WHERE id = $1 RETURNING true", fact.id):
                    await writer(db, (fact,))

        for name in names:
            self.register(name, Topic(handler=alone))
            self._writers[name] = writer

    def keep(self, keeper: Keeper) -> None:
        """Has work about the facts that go in batches written down, in the same database transaction, before they are handed over."""
        self._keepers.append(keeper)

    def observe(self, wanted: Callable[[str], bool], observer: Observer) -> None:
        """Has facts written down when they are taken for the first time, those that go in batches and those that go one by one.

        Args:
            wanted: whether those of a topic are.
        """
        self._observers.append((wanted, observer))

    async def _observed(self, db: Connection, facts: Sequence[Fact]) -> None:
        for wanted, observer in self._observers:
            found = [fact for fact in facts if fact.attempts == 1 and wanted(fact.topic)]
            if found:
                await observer(db, found)

    async def _keep(self, db: Connection, facts: Sequence[Fact]) -> None:
        for keeper in self._keepers:
            await keeper(db, facts)

    def hint(self) -> None:
        """Something was written: look at once. Costs nothing to call often."""
        self._alone = True
        self._wake.set()

    def hint_batches(self) -> None:
        """Something was written of a topic that goes in batches: look at once for those only.

        Looking for the others means going through what waits for its batch, so under load it is done only where it is of use.
        """
        self._wake.set()

    def look_again(self) -> None:
        """Old facts may be taken again (somebody had parked ones retried): look at once, at everything."""
        self._full_look_at = self._claim_at = 0.0
        self._wake.set()

    async def start(self) -> None:
        """Begins to work."""
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def stop(self) -> None:
        """Ends; attempts under way are cut off and made again by whoever comes next, without waiting for the lease."""
        self._stopping = True
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
        while not self._stopping:
            self._wake.clear()
            wait = self._poll_s
            try:
                full = bool(self._batches or self._writers) and await self._pass_on()
                claimed = await self._claim_due()
                if claimed:
                    self._work(claimed)
                if full or claimed:
                    continue
                now = time.monotonic()
                wait = min(max(self._claim_at - now, 0.01), self._poll_s)
                if self._batches_at > now:
                    wait = min(wait, self._batches_at - now)
                if time.monotonic() >= self._count_at:
                    await self._count()
                if self._batches or self._writers:
                    await asyncio.sleep(self._pace_s)
            except Exception as error:
                if self._stopping:  # a rollback that failed stands in place of the cancellation
                    return
                if not is_unavailable(error):
                    log.exception("outbox_failed")
                await asyncio.sleep(min(self._poll_s, _OUTAGE_RETRY_S))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    # Passing on, a batch at a time

    async def _pass_on(self) -> bool:
        """Hands one batch over; whether it was a full one."""
        now = time.monotonic()
        topics = [*self._writers, *(self._batches if now >= self._batches_at else ())]
        if not topics:
            return False
        whole = now >= self._full_look_at
        if whole:
            self._full_look_at = now + _FULL_LOOK_S
        while self._passed and self._passed[0][0] < now - _SETTLED_S:
            self._floor = self._passed.popleft()[1]
        try:
            facts = await self._pass_batch(topics, 0 if whole else self._floor)
        except Exception as error:
            self._full_look_at = 0.0
            if is_unavailable(error):
                if now < self._batches_at or not self._batches:
                    raise
                # Perhaps only the bus is away: what needs nothing but the database goes on meanwhile.
                self._batches_at = now + min(self._poll_s, _OUTAGE_RETRY_S)
                self._wake.set()
                return False
            self.failed += 1
            log.warning("outbox_batch_failed", error=str(error) or type(error).__name__)
            self._one_by_one = True
            self._claim_at = 0.0
            return False
        if not facts:
            return False
        self.handled += len(facts)
        self._passed.append((now, facts[-1].id))
        return len(facts) == _BATCH_ROWS

    async def _pass_batch(self, topics: list[str], floor: int) -> list[Fact]:
        async with self._use_db() as db, db.transaction():
            held = await db.fetchval(
                "SELECT pg_try_advisory_xact_lock($1) FROM set_config('synchronous_commit', 'off', true)", _LOCK_KEY
            )
            if not held:
                # Another process is at it; what it leaves is looked for after the pause.
                self._wake.set()
                return []
            # The lock is held before this statement takes its snapshot: two processes never have facts of one key.
            rows = await db.fetch(_TAKE, topics, _BATCH_ROWS, floor)
            if not rows:
                return []
            facts = [
                Fact(id=ident, tenant_id=tenant, topic=topic, key=key, payload=payload, created_at=at, attempts=1)
                for ident, tenant, topic, key, payload, at in rows
            ]
            facts.sort(key=attrgetter("id"))
            await self._observed(db, facts)
            await self._keep(db, facts)
            await self._hand_over(db, facts)
        return facts

    async def _hand_over(self, db: Connection, facts: Sequence[Fact]) -> None:
        written: dict[Writer, list[Fact]] = {}
        groups: dict[BatchHandler, list[Fact]] = {}
        for fact in facts:
            handler = self._batches.get(fact.topic)
            if handler is not None:
                groups.setdefault(handler, []).append(fact)
            else:
                written.setdefault(self._writers[fact.topic], []).append(fact)
        for writer, group in written.items():
            async with asyncio.timeout(_BATCH_TIMEOUT_S):
                await writer(db, group)
        for handler, group in groups.items():
            async with asyncio.timeout(_BATCH_TIMEOUT_S):
                await handler(group)

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
        self.look_again()  # room for more, and those behind it are free
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

    async def _claim_due(self) -> list[Fact]:
        """Claims facts that go one by one, where there is room and any may be due."""
        if len(self._keys) >= self._concurrency or not (self._alone or time.monotonic() >= self._claim_at):
            return []
        self._alone = False
        claimed = await self._claim()
        self._alone = self._alone or bool(claimed)
        self._claim_at = 0.0 if claimed else time.monotonic() + await self._until_next()
        return claimed

    async def _claim(self) -> list[Fact]:
        batched = [] if self._one_by_one else [*self._batches, *self._writers]
        self._one_by_one = False
        async with self._use_db() as db, db.transaction():
            await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
            # The lock is held before this statement takes its snapshot, so it sees every earlier claim.
            rows = await db.fetch(_CLAIM, list(self._topics), _BATCH, self._lease_s, batched)
            facts = [Fact(**row) for row in rows]
            facts.sort(key=lambda fact: fact.id)
            await self._observed(db, facts)
        return facts

    async def _until_next(self) -> float:
        async with self._use_db() as db:
            wait = await db.fetchval(
                "SELECT extract(epoch FROM min(next_at) - now())::float8 FROM outbox "
                "WHERE next_at IS NOT NULL AND parked_at IS NULL AND topic = ANY($1)",
                list(self._topics),
            )
        return self._poll_s if wait is None else min(max(wait, 0.01), self._poll_s)

    async def _count(self) -> None:
        self._count_at = time.monotonic() + _COUNT_EVERY_S
        async with self._use_db() as db:
            (row,) = await db.fetch(_LEVEL, _COUNTED)
        self.level = OutboxLevel(**row)

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
                # Always along the index: a plan made while the table was small would read all of it, also the dead rows.
                await self._db.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
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
        WHERE parked_at IS NULL AND topic = ANY($1)
          AND (next_at <= now() OR next_at IS NULL AND topic <> ALL($4))
          AND NOT EXISTS (
            SELECT FROM outbox earlier
            WHERE earlier.next_at > now() AND earlier.parked_at IS NULL
              AND earlier.tenant_id = o.tenant_id AND earlier.key = o.key AND earlier.id < o.id)
        ORDER BY id LIMIT $2
        FOR UPDATE SKIP LOCKED)
    RETURNING id, tenant_id, topic, key, payload, created_at, attempts
"""


# Rows that were claimed once have a next_at; theirs and what stands behind them is not for batches.
_TAKE: Final = """
    DELETE FROM outbox WHERE id = ANY(ARRAY(
        SELECT id FROM outbox o
        WHERE id > $3 AND parked_at IS NULL AND next_at IS NULL AND topic = ANY($1)
          AND NOT EXISTS (
            SELECT FROM outbox earlier
            WHERE earlier.next_at IS NOT NULL AND earlier.parked_at IS NULL
              AND earlier.tenant_id = o.tenant_id AND earlier.key = o.key AND earlier.id < o.id)
        ORDER BY id LIMIT $2))
    RETURNING id, tenant_id, topic, key, payload, created_at
"""

_LEVEL: Final = """
    SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE parked_at IS NULL LIMIT $1) w) AS waiting,
        (SELECT count(*) FROM outbox WHERE parked_at IS NOT NULL) AS parked,
        coalesce((SELECT extract(epoch FROM now() - created_at)::float8
            FROM outbox WHERE parked_at IS NULL ORDER BY id LIMIT 1), 0) AS oldest_s
"""
