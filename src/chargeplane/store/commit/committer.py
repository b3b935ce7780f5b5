"""The writer of a node: takes what the actors submit, commits it in batches, and tells each its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import asyncpg
import structlog
from msgspec import Struct

from chargeplane.kernel.ids import StationKey
from chargeplane.store.commit.fields import NULL, Field, array, take_arrays_as_bytes
from chargeplane.store.commit.node import Node, NodeReplacedError
from chargeplane.store.commit.tables import (
    CLOSED_TRANSACTION,
    OPEN_TRANSACTION,
    OUTBOX,
    PREMISE_COLUMNS,
    PREMISES,
    TARGETS,
    statement,
)

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.prepared_stmt import PreparedStatement

log = structlog.get_logger(__name__)

Row = tuple[Field, ...]
"""A target's fields in the order of its columns, encoded by `fields`."""


class Premise:
    """What the store held of an id token when something was decided by it, and must still hold at the commit.

    Attributes:
        row: tenant, token key and version (see `tables.PREMISES`), as fields.
        holds: False once a commit found it changed; never True again.
    """

    __slots__ = ("holds", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.holds = True


class Work:
    """Something to commit, and who is told.

    Attributes:
        station: whose state it changes (fencing).
        rows: (target index, row) in order.
        size: rough bytes.
        premises: what it was decided by; it is committed only together with their proof.
        cancelled: set by the owner when the work must not be committed any more; it is then skipped silently.
    """

    __slots__ = ("cancelled", "premises", "rows", "size", "station")

    def __init__(
        self,
        station: StationKey,
        rows: list[tuple[int, Row]],
        size: int = 0,
        premises: tuple[Premise, ...] = (),
    ) -> None:
        self.station = station
        self.rows = rows
        self.size = size
        self.premises = premises
        self.cancelled = False

    def committed(self) -> None:
        """It is safe on disk."""

    def refused(self, error: Exception) -> None:
        """The database will never take it: its data are to blame."""

    def fenced(self) -> None:
        """Another node owns the station now; nothing was written."""

    def overtaken(self) -> None:
        """A premise holds no more; nothing was written. The owner decides anew."""


class CommitLimits(Struct, frozen=True, kw_only=True):
    """How large a batch may grow.

    Args:
        max_works: messages in a batch.
        max_bytes: rough payload bytes in a batch.
        max_patient: messages in a batch, beyond those, that give way to all others.
    """

    max_works: int = 2000
    max_bytes: int = 8 * 1024 * 1024
    max_patient: int = 500


class CommitObserver(Protocol):
    """Where the writer's figures go."""

    def committed(self, works: int, seconds: float) -> None:
        """A batch was committed."""

    def failed(self, kind: str) -> None:
        """A batch was not committed: `refused`, `fenced`, `overtaken`, `unavailable`."""


class _Silent:
    def committed(self, works: int, seconds: float) -> None:
        pass

    def failed(self, kind: str) -> None:
        pass


ONE_PLAN: Final = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off"
"""Makes a connection plan a statement once, along the indexes: a plan made while a table was small would go on reading all of it,
and its dead rows."""


class _RefusedError(Exception):
    """The batch's data are to blame."""


class _FencedError(Exception):
    """The fence was raised."""


class _OvertakenError(Exception):
    """Premises of the batch hold no more; they say so themselves."""


_FACTS = 1 << OUTBOX.index

# SQLSTATE classes in which the data are to blame: cardinality, data exception, integrity, program limit.
_DATA_CLASSES = frozenset({"21", "22", "23", "54"})


def _nobody(_: StationKey) -> None:
    pass


def _nothing() -> None:
    pass


class GroupCommitter:
    """The one writer of a node.

    Args:
        node: registered already.
        connect: opens a connection for the writer alone.
        limits: of a batch.
        observer: gets batch sizes and times.
    """

    def __init__(
        self,
        node: Node,
        connect: Callable[[], Awaitable[Connection]],
        *,
        limits: CommitLimits | None = None,
        observer: CommitObserver | None = None,
    ) -> None:
        self._node = node
        self._connect = connect
        self._limits = limits or CommitLimits()
        self._observer: CommitObserver = observer or _Silent()
        self._queue: deque[Work] = deque()
        self._patient: deque[Work] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._db: Connection | None = None
        self._statements: dict[int, PreparedStatement[Any]] = {}
        self._task: asyncio.Task[None] | None = None
        self._in_flight: Sequence[Work] = ()
        self._closing = False
        self.available = False
        """Whether the last attempt to commit (or to connect) succeeded."""
        self.on_replaced: Callable[[NodeReplacedError], None] | None = None
        self.owned: Callable[[], Iterable[StationKey]] = tuple
        """The stations whose state is in memory. Once a raised fence was taken note of it stops nothing any more, so all of
        them are asked for then, not only those that have something to commit."""
        self.on_lost: Callable[[StationKey], None] = _nobody
        """Told of each of them that another node owns now."""
        self._fence_raised = False
        self.on_connected: Callable[[], None] = _nothing
        """Told of every new connection: it may lead to another server, where what is known of the old one proves nothing."""
        self.on_facts: Callable[[], None] | None = None
        """Told once a batch that wrote to the outbox."""

    @property
    def running(self) -> bool:
        """Whether works are taken at all."""
        return self._task is not None and not self._task.done()

    @property
    def queued(self) -> int:
        """Messages waiting for a batch."""
        return len(self._queue) + len(self._patient)

    def submit_patiently(self, work: Work) -> None:
        """Queues a work that gives way: it is committed with what room the others leave, and at least with its share of each batch."""
        self._patient.append(work)
        self._rouse()

    def submit(self, work: Work) -> None:
        """Queues a work; its outcome comes by one of its methods. Never waits, never fails."""
        self._queue.append(work)
        wake = self._wake
        if wake is not None:
            self._wake = None
            if not wake.done():
                wake.set_result(None)

    async def start(self) -> None:
        """Connects and begins to commit."""
        await self._reconnect()
        self.available = True
        self._task = asyncio.create_task(self._run(), name="group-commit")

    async def stop(self, grace_s: float = 10.0) -> None:
        """Commits what is queued (as long as `grace_s` allows), then ends."""
        self._closing = True
        if self._task is not None:
            if self._wake is not None and not self._wake.done():
                self._wake.set_result(None)
            done, _ = await asyncio.wait({self._task}, timeout=grace_s)
            if not done:
                self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task
        await self._drop_connection()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        queue = self._queue
        while True:
            if not queue and not self._patient:
                if self._closing:
                    return
                self._wake = wake = loop.create_future()
                await wake
                continue
            batch = self._take()
            if batch:
                self._in_flight = batch
                try:
                    await self._commit(batch)
                    if self._fence_raised:
                        await self._drop_lost(())
                except NodeReplacedError as error:
                    log.critical("node_replaced", node=self._node.name, error=str(error))
                    self.available = False
                    for work in batch:
                        work.fenced()
                    if self.on_replaced is not None:
                        self.on_replaced(error)
                    return
                finally:
                    self._in_flight = ()

    def _take(self) -> list[Work]:
        queue = self._queue
        most = self._limits.max_bytes
        batch: list[Work] = []
        size = 0
        for _ in range(min(len(queue), self._limits.max_works)):
            work = queue.popleft()
            if work.cancelled:
                continue
            batch.append(work)
            size += work.size
            if size > most:
                break
        patient = self._patient
        if patient:
            # Few at a time, for what comes now waits for this batch; never none, or they would wait for ever.
            for _ in range(min(len(patient), self._limits.max_patient)):
                work = patient.popleft()
                if not work.cancelled:
                    batch.append(work)
        return batch

    def _rouse(self) -> None:
        wake = self._wake
        if wake is not None:
            self._wake = None
            if not wake.done():
                wake.set_result(None)

    async def _commit(self, works: Sequence[Work]) -> None:
        """Commits works in order: all, or all but those whose data are to blame, however long it takes."""
        while True:
            works = [work for work in works if not work.cancelled]
            if not works:
                return
            if not _hold(works):
                continue
            try:
                await self._commit_once(works)
            except _RefusedError as refused:
                self._observer.failed("refused")
                if len(works) == 1:
                    log.warning("row_refused", station=works[0].station, error=str(refused.__cause__))
                    works[0].refused(refused)
                    return
                middle = len(works) // 2
                await self._commit(works[:middle])
                await self._commit(works[middle:])
                return
            except _FencedError:
                self._observer.failed("fenced")
                await self._drop_lost(works)
                continue
            except _OvertakenError:
                self._observer.failed("overtaken")
                continue
            for work in works:
                work.committed()
            return

    async def _commit_once(self, works: Sequence[Work]) -> None:
        """One batch, once or not at all.

        Raises:
            _RefusedError: nothing was written, the data are to blame.
            _FencedError: nothing was written, the fence was raised.
            _OvertakenError: nothing was written, premises hold no more.
        """
        mask, arrays, premises = _columns(works)
        if not mask:
            return
        node = self._node
        node.batch += 1
        number = node.batch
        delay = 0.05
        started = time.perf_counter()
        while True:
            connected = False
            try:
                db = self._db
                if db is None:
                    db = await self._reconnect()
                    fence = node.fence
                    done = await node.settle(db) == number
                    # Raised by more than ourselves: a takeover meanwhile, which this fence does not tell of any more.
                    self._fence_raised = self._fence_raised or node.fence != fence + 1
                    if done:
                        break
                    if self._fence_raised:
                        raise _FencedError
                prepared = self._statements.get(mask)
                if prepared is None:
                    prepared = self._statements[mask] = await db.prepare(statement(mask))
                connected = True
                answer = await prepared.fetchrow(number, node.id, node.instance, node.fence, *arrays)
            except (NodeReplacedError, _FencedError, asyncio.CancelledError):
                raise
            except Exception as error:
                if connected and _data_to_blame(error):
                    raise _RefusedError from error
                self.available = False
                self._observer.failed("unavailable")
                log.error(
                    "commit_delayed",
                    error=str(error) or type(error).__name__,
                    works=len(works),
                    queued=self.queued,
                )
                await self._drop_connection()
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
            else:
                assert answer is not None  # the statement ends with a row
                held, changed = answer
                if changed is not None:
                    for place in changed.split(","):
                        premises[int(place) - 1].holds = False
                    raise _OvertakenError
                if not held:
                    raise _FencedError
                break
        self.available = True
        self._observer.committed(len(works), time.perf_counter() - started)
        if mask & _FACTS and self.on_facts is not None:
            self.on_facts()

    async def _drop_lost(self, works: Sequence[Work]) -> None:
        """Our fence was raised: finds the stations we lost and gives their works back."""
        delay = 0.05
        while True:
            try:
                db = self._db or await self._reconnect()
                await self._node.refresh_fence(db)
                keys = (
                    {work.station for work in works}
                    | {work.station for work in (*self._queue, *self._patient)}
                    | set(self.owned())
                )
                lost = set(await self._node.lost(db, list(keys)))
                self._fence_raised = False
                break
            except (NodeReplacedError, asyncio.CancelledError):
                raise
            except Exception as error:
                log.error("commit_delayed", error=str(error) or type(error).__name__)
                await self._drop_connection()
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
        for work in [*works, *self._queue, *self._patient]:
            if work.station in lost and not work.cancelled:
                work.cancelled = True
                work.fenced()
        for key in lost:
            self.on_lost(key)

    async def _reconnect(self) -> Connection:
        self._statements.clear()
        db = await self._connect()
        await db.execute(ONE_PLAN)
        take_arrays_as_bytes(db)
        self._db = db
        self.on_connected()
        return db

    async def _drop_connection(self) -> None:
        db, self._db = self._db, None
        self._statements.clear()
        if db is not None:
            with contextlib.suppress(Exception):
                db.terminate()


def _hold(works: Sequence[Work]) -> bool:
    """Whether all premises of these works hold, as far as is known; gives those back that rest on others."""
    whole = True
    for work in works:
        if work.premises and not work.cancelled and not all(premise.holds for premise in work.premises):
            whole = False
            work.cancelled = True
            work.overtaken()
    return whole


def _columns(works: Sequence[Work]) -> tuple[int, list[bytes], list[Premise]]:
    """The batch's rows turned into one array a column, target by target; where only the last image of a row counts, that one.
    The premises come last, each once."""
    rows: list[list[Row] | None] = [None] * len(TARGETS)
    mask = 0
    asked: dict[Premise, None] = {}
    for work in works:
        for premise in work.premises:
            asked[premise] = None
        for index, row in work.rows:
            found = rows[index]
            if found is None:
                rows[index] = [row]
                mask |= 1 << index
            else:
                found.append(row)
    closed = rows[CLOSED_TRANSACTION.index]
    opened = rows[OPEN_TRANSACTION.index]
    if closed is not None and opened is not None:
        # Links of one statement do not see each other's rows: one that opens and closes in this batch is not inserted at all.
        gone = {row[0] for row in closed}
        rows[OPEN_TRANSACTION.index] = opened = [row for row in opened if row[0] not in gone]
        if not opened:
            rows[OPEN_TRANSACTION.index] = None
            mask &= ~(1 << OPEN_TRANSACTION.index)
    arrays: list[bytes] = []
    for target in TARGETS:
        found = rows[target.index]
        if found is None:
            continue
        key = target.key
        if key is not None and len(found) > 1:
            last: dict[Any, Row]
            if len(key) == 1:
                position = key[0]
                last = {row[position]: row for row in found}
            else:
                last = {tuple([row[position] for position in key]): row for row in found}
            if target.kept and len(last) < len(found):
                last = _filled(found, key, target.kept)
            found = list(last.values())
        arrays += [
            array(column.type, fields) for column, fields in zip(target.columns, zip(*found, strict=True), strict=True)
        ]
    premises = list(asked)
    if premises:
        mask |= PREMISES
        arrays += [
            array(column.type, fields)
            for column, fields in zip(
                PREMISE_COLUMNS, zip(*[premise.row for premise in premises], strict=True), strict=True
            )
        ]
    return mask, arrays, premises


def _filled(rows: Sequence[Row], key: tuple[int, ...], kept: tuple[int, ...]) -> dict[Any, Row]:
    """The last image of each row, with what it does not say again as an earlier one in the batch said it."""
    last: dict[Any, Row] = {}
    for row in rows:
        name = tuple([row[position] for position in key])
        before = last.get(name)
        if before is not None:
            row = tuple(
                [
                    before[position] if field == NULL and position in kept else field
                    for position, field in enumerate(row)
                ]
            )
        last[name] = row
    return last


def _data_to_blame(error: Exception) -> bool:
    """Whether the same batch would be refused again and again for what is in it."""
    if isinstance(error, asyncpg.PostgresError):
        # 08P01 is what PostgreSQL says of a field whose length does not fit its type.
        return (error.sqlstate or "")[:2] in _DATA_CLASSES or error.sqlstate == "08P01"
    return isinstance(error, (UnicodeEncodeError, OverflowError, ValueError, TypeError))
