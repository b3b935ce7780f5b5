"""Facts reach their handlers at least once, in order per key, and what fails for good is parked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from chargeplane.kernel.errors import InvalidInputError, UnavailableError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Connection, Database
from chargeplane.store.outbox import Fact, OutboxWorker, Topic
from chargeplane.store.queries.outbox import discard, page, retry

TENANT = TenantId(1)


class Setting:
    """A database and the workers on it."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.db: Connection
        self.workers: list[OutboxWorker] = []

    async def write(self, *facts: tuple[str, str]) -> None:
        """Writes facts (key, payload) of topic `t`."""
        await self.db.executemany(
            "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, 't', $1, $2)", list(facts)
        )

    async def work(self, handler: Callable[[Fact], Awaitable[None]], **options: float) -> OutboxWorker:
        """Starts a worker for topic `t`."""
        of_topic = {k: options.pop(k) for k in ("max_attempts", "timeout_s", "first_retry_s") if k in options}
        worker = OutboxWorker(self.database.connect_writer, **options)  # type: ignore[arg-type]
        worker.register("t", Topic(handler=handler, **of_topic))  # type: ignore[arg-type]
        await worker.start()
        self.workers.append(worker)
        return worker

    async def work_batches(
        self, handler: Callable[[Sequence[Fact]], Awaitable[None]], **options: float
    ) -> OutboxWorker:
        """Starts a worker that takes topic `t` in batches."""
        max_attempts = int(options.pop("max_attempts", 14))
        worker = OutboxWorker(self.database.connect_writer, **options)  # type: ignore[arg-type]
        worker.register_batches(("t",), handler, max_attempts=max_attempts)
        await worker.start()
        self.workers.append(worker)
        return worker

    async def settled(self, sql: str = "SELECT count(*) = 0 FROM outbox") -> None:
        """Waits until a query says true."""
        async with asyncio.timeout(30):
            while not await self.db.fetchval(sql):
                await asyncio.sleep(0.01)


@pytest.fixture
async def setting(database_url: str) -> AsyncIterator[Setting]:
    one = Setting(database_url)
    one.db = await one.database.connect_writer()
    yield one
    for worker in one.workers:
        await worker.stop()
    await one.db.close()
    await one.database.close()


async def test_facts_are_handed_over_in_order_and_then_gone(setting: Setting) -> None:
    heard: list[str] = []

    async def handle(fact: Fact) -> None:
        heard.append(fact.payload)

    await setting.write(*(("k", str(number)) for number in range(500)))
    worker = await setting.work(handle)
    await setting.settled()
    assert heard == [str(number) for number in range(500)]
    assert worker.handled == 500


async def test_workers_share_the_table_without_breaking_the_order_of_a_key(setting: Setting) -> None:
    heard: dict[str, list[int]] = {}
    busy: set[str] = set()

    async def handle(fact: Fact) -> None:
        assert fact.key not in busy, "two facts of one key at once"
        busy.add(fact.key)
        await asyncio.sleep(0)
        heard.setdefault(fact.key, []).append(int(fact.payload))
        busy.discard(fact.key)

    for _ in range(3):
        await setting.work(handle, poll_s=0.02)
    for number in range(200):
        await setting.write((f"k{number % 7}", str(number)))
    await setting.settled()
    assert sorted(n for one in heard.values() for n in one) == list(range(200))
    assert all(one == sorted(one) for one in heard.values())
    assert all(worker.failed == 0 for worker in setting.workers)


async def test_hint_wakes_an_idle_worker(setting: Setting) -> None:
    got = asyncio.Event()

    async def handle(fact: Fact) -> None:
        got.set()

    worker = await setting.work(handle, poll_s=3600)
    await asyncio.wait_for(
        setting.settled("SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%min(next%'"), 9
    )
    await setting.write(("k", "1"))
    worker.hint()
    await asyncio.wait_for(got.wait(), 30)


async def test_failed_fact_is_tried_again_and_those_behind_it_wait(setting: Setting) -> None:
    heard: list[tuple[str, str, int]] = []

    async def handle(fact: Fact) -> None:
        heard.append((fact.key, fact.payload, fact.attempts))
        if fact.payload == "first" and fact.attempts < 3:
            raise UnavailableError("away")

    await setting.write(("a", "first"), ("a", "second"), ("b", "other"))
    await setting.work(handle, first_retry_s=0.02)
    await setting.settled()
    assert [one for one in heard if one[0] == "a"] == [
        ("a", "first", 1),
        ("a", "first", 2),
        ("a", "first", 3),
        ("a", "second", 1),
    ]
    assert ("b", "other", 1) in heard


async def test_error_and_next_attempt_are_seen_while_it_waits(setting: Setting) -> None:
    async def handle(fact: Fact) -> None:
        raise ValueError("boom \x00")

    await setting.write(("a", "1"), ("a", "2"))
    await setting.work(handle, first_retry_s=600)
    await setting.settled(
        "SELECT bool_and(CASE payload WHEN '1' THEN next_at > now() + interval '400 s' AND error = 'boom ' "
        "ELSE attempts = 0 AND next_at IS NULL AND error IS NULL END) FROM outbox"
    )


async def test_slow_key_holds_up_no_other_key(setting: Setting) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def handle(fact: Fact) -> None:
        if fact.key == "slow":
            await asyncio.Event().wait()
        heard.put_nowait(fact.payload)

    await setting.write(("slow", "1"))
    worker = await setting.work(handle, poll_s=3600)
    for number in range(3):
        await setting.write(("quick", str(number)))
        worker.hint()
        assert await asyncio.wait_for(heard.get(), 30) == str(number)


async def test_outcome_is_written_when_the_database_is_back(setting: Setting) -> None:
    calls: list[int] = []

    async def handle(fact: Fact) -> None:
        calls.append(fact.id)
        assert worker._db is not None
        worker._db.terminate()
        worker._connect = once_away

    async def once_away() -> Connection:
        worker._connect = setting.database.connect_writer
        raise UnavailableError("away")

    worker = await setting.work(handle, poll_s=0.05)
    await setting.write(("a", "1"))
    await setting.settled()
    assert len(calls) == 1


async def test_what_fails_too_often_or_for_good_is_parked_and_the_rest_goes_on(setting: Setting) -> None:
    heard: list[str] = []

    async def handle(fact: Fact) -> None:
        if fact.payload == "refused":
            raise InvalidInputError("The partner knows no such session.")
        if fact.payload == "failing":
            raise UnavailableError("away")
        heard.append(fact.payload)

    await setting.write(("a", "refused"), ("a", "failing"), ("a", "fine"))
    worker = await setting.work(handle, max_attempts=2, first_retry_s=0.01)
    await setting.settled("SELECT count(*) = 2 AND bool_and(parked_at IS NOT NULL) FROM outbox")
    assert heard == ["fine"]
    assert worker.parked == 2
    parked = await page(setting.db, TENANT, True, 10, None)
    assert [(one.payload, one.attempts, one.error) for one in parked] == [
        ("refused", 1, "The partner knows no such session."),
        ("failing", 2, "away"),
    ]
    assert await page(setting.db, TenantId(2), True, 10, None) == []
    assert await page(setting.db, TENANT, False, 10, None) == []


async def test_parked_fact_can_be_tried_again_or_discarded(setting: Setting) -> None:
    allowed = asyncio.Event()

    async def handle(fact: Fact) -> None:
        if not allowed.is_set():
            raise InvalidInputError("no")

    await setting.write(("a", "1"), ("b", "2"))
    worker = await setting.work(handle)
    await setting.settled("SELECT count(*) = 2 AND bool_and(parked_at IS NOT NULL) FROM outbox")
    first, second = [int(fact.id) for fact in await page(setting.db, TENANT, True, 10, None)]
    assert not await retry(setting.db, TenantId(2), first)
    allowed.set()
    assert await retry(setting.db, TENANT, first)
    assert await discard(setting.db, TENANT, second)
    worker.hint()
    await setting.settled()
    assert worker.handled == 1
    assert not await discard(setting.db, TENANT, second)


async def test_slow_handler_is_cut_off_and_tried_again(setting: Setting) -> None:
    async def handle(fact: Fact) -> None:
        if fact.attempts == 1:
            await asyncio.Event().wait()

    await setting.write(("a", "1"))
    worker = await setting.work(handle, timeout_s=0.05, first_retry_s=0.01)
    await setting.settled()
    assert (worker.failed, worker.handled) == (1, 1)


async def test_fact_of_a_worker_that_died_is_taken_when_its_lease_ends(setting: Setting) -> None:
    begun, heard = asyncio.Event(), asyncio.Event()

    async def hang(fact: Fact) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def handle(fact: Fact) -> None:
        assert fact.attempts == 2
        heard.set()

    await setting.write(("a", "1"))
    dying = OutboxWorker(setting.database.connect_writer, lease_s=0.5)
    dying.register("t", Topic(handler=hang, timeout_s=0.4))
    await dying.start()
    await begun.wait()
    # Dead: it can write nothing any more.
    assert dying._db is not None
    dying._db.terminate()
    dying._connect = _unreachable
    other = await setting.work(handle, poll_s=0.05)
    await asyncio.wait_for(heard.wait(), 30)
    await setting.settled()
    assert other.handled == 1
    await dying.stop()


async def _unreachable() -> Connection:
    raise UnavailableError("away")


async def test_stopped_worker_gives_its_facts_back_at_once(setting: Setting) -> None:
    begun = asyncio.Event()

    async def hang(fact: Fact) -> None:
        begun.set()
        await asyncio.Event().wait()

    await setting.write(("a", "1"), ("a", "2"))
    worker = await setting.work(hang)
    await begun.wait()
    await worker.stop()
    rows = await setting.db.fetch("SELECT attempts, next_at FROM outbox")
    assert [tuple(row) for row in rows] == [(0, None), (0, None)]


async def test_topics_nobody_handles_stay(setting: Setting) -> None:
    async def handle(fact: Fact) -> None:
        assert fact.topic == "t"

    await setting.db.execute("INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, 'later', 'k', '{}')")
    await setting.write(("k", "1"))
    await setting.work(handle)
    await setting.settled("SELECT count(*) = 0 FROM outbox WHERE topic = 't'")
    assert await setting.db.fetchval("SELECT count(*) FROM outbox WHERE topic = 'later' AND attempts = 0") == 1


async def test_worker_goes_on_after_its_connection_was_lost(setting: Setting) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def handle(fact: Fact) -> None:
        heard.put_nowait(fact.payload)

    worker = await setting.work(handle, poll_s=0.05)
    await setting.write(("a", "1"))
    assert await asyncio.wait_for(heard.get(), 30) == "1"
    await setting.settled()
    with contextlib.suppress(Exception):
        await setting.db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )
    await setting.write(("a", "2"))
    assert await asyncio.wait_for(heard.get(), 30) == "2"
    assert worker.handled == 2


async def test_batches_of_several_workers_keep_the_order_of_a_key(setting: Setting) -> None:
    heard: dict[str, list[int]] = {}
    sizes: list[int] = []

    async def handle(facts: Sequence[Fact]) -> None:
        sizes.append(len(facts))
        for fact in facts:
            heard.setdefault(fact.key, []).append(int(fact.payload))
            await asyncio.sleep(0)

    workers = [await setting.work_batches(handle, poll_s=0.02, pace_s=0.002) for _ in range(3)]
    for first in range(0, 2000, 100):
        await setting.write(*((f"k{number % 7}", str(number)) for number in range(first, first + 100)))
    await setting.settled()
    assert sorted(n for one in heard.values() for n in one) == list(range(2000))
    assert all(one == sorted(one) for one in heard.values())
    assert max(sizes) >= 100
    assert sum(worker.handled for worker in workers) == 2000


async def test_batch_of_a_worker_that_died_is_handed_over_again(setting: Setting) -> None:
    taken, heard = asyncio.Event(), asyncio.Event()
    again: list[str] = []

    async def hang(facts: Sequence[Fact]) -> None:
        taken.set()
        await asyncio.Event().wait()

    async def handle(facts: Sequence[Fact]) -> None:
        again.extend(fact.payload for fact in facts)
        heard.set()

    await setting.write(("a", "1"), ("a", "2"), ("b", "3"))
    dying = await setting.work_batches(hang)
    await taken.wait()
    await setting.db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' "
        "AND datname = current_database()"
    )
    await dying.stop()
    await setting.work_batches(handle)
    await asyncio.wait_for(heard.wait(), 30)
    assert again == ["1", "2", "3"]
    await setting.settled()


async def test_batch_waits_while_its_receiver_is_away(setting: Setting) -> None:
    away = True
    heard: list[str] = []
    tried = asyncio.Event()

    async def handle(facts: Sequence[Fact]) -> None:
        tried.set()
        if away:
            raise UnavailableError("away")
        heard.extend(fact.payload for fact in facts)

    await setting.write(("a", "1"), ("a", "2"))
    worker = await setting.work_batches(handle, poll_s=0.02)
    await asyncio.wait_for(tried.wait(), 30)
    assert await setting.db.fetchval("SELECT count(*) = 2 AND bool_and(attempts = 0) FROM outbox")
    away = False
    await setting.settled()
    assert heard == ["1", "2"]
    assert worker.failed == 0


async def test_only_the_culprit_of_a_batch_is_parked(setting: Setting) -> None:
    heard: list[str] = []

    async def handle(facts: Sequence[Fact]) -> None:
        if any(fact.payload == "refused" for fact in facts):
            raise InvalidInputError("no")
        heard.extend(fact.payload for fact in facts)

    await setting.write(("a", "1"), ("a", "refused"), ("a", "3"), ("b", "4"))
    worker = await setting.work_batches(handle, poll_s=0.02)
    await setting.settled("SELECT count(*) = 1 AND bool_and(parked_at IS NOT NULL) FROM outbox")
    assert sorted(heard) == ["1", "3", "4"]
    assert heard.index("1") < heard.index("3")
    await setting.write(("a", "5"))
    worker.hint()
    await setting.settled("SELECT count(*) = 1 FROM outbox")
    assert heard[-1] == "5"
    assert worker.parked == 1


async def test_fact_behind_one_that_waits_for_another_attempt_waits_too(setting: Setting) -> None:
    heard: list[str] = []
    fails = 2

    async def handle(facts: Sequence[Fact]) -> None:
        nonlocal fails
        if any(fact.payload == "first" for fact in facts) and fails:
            fails -= 1
            raise ValueError("boom")
        heard.extend(fact.payload for fact in facts)

    await setting.write(("a", "first"))
    worker = await setting.work_batches(handle, poll_s=0.02)
    await setting.settled("SELECT bool_and(next_at IS NOT NULL AND error = 'boom') FROM outbox")
    await setting.write(("a", "second"), ("b", "other"))
    worker.hint()
    await setting.settled("SELECT count(*) = 2 FROM outbox")
    assert heard == ["other"]
    await setting.db.execute("UPDATE outbox SET next_at = now() WHERE next_at IS NOT NULL")
    worker.look_again()
    await setting.settled()
    assert heard == ["other", "first", "second"]


async def test_level_tells_what_waits_and_what_was_parked(setting: Setting) -> None:
    async def handle(facts: Sequence[Fact]) -> None:
        raise InvalidInputError("no")

    await setting.db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload, created_at) "
        "VALUES (1, 'later', 'k', '{}', now() - interval '1 hour')"
    )
    await setting.write(("k2", "1"))
    worker = await setting.work_batches(handle)
    await setting.settled("SELECT count(*) = 1 FROM outbox WHERE parked_at IS NOT NULL")
    await worker._count()
    assert (worker.level.waiting, worker.level.parked) == (1, 1)
    assert 3600 <= worker.level.oldest_s < 3700


def test_attempt_longer_than_the_lease_is_a_mistake(database_url: str) -> None:
    async def handle(fact: Fact) -> None:
        pass

    async def main() -> None:
        worker = OutboxWorker(Database(database_url).connect_writer, lease_s=10)
        with pytest.raises(ValueError, match="before its lease"):
            worker.register("t", Topic(handler=handle, timeout_s=10))

    asyncio.run(main())


async def test_work_about_a_batch_is_written_with_its_deletion_or_not_at_all(setting: Setting) -> None:
    """Whatever becomes of the handler, a fact is there, or the work it makes; both only until the batch is committed."""
    await setting.db.execute("CREATE TABLE work_to_do (fact bigint PRIMARY KEY, times integer NOT NULL)")
    failing = True
    tried = 0

    async def keep(db: Connection, facts: Sequence[Fact]) -> None:
        await db.executemany(
            "INSERT INTO work_to_do VALUES ($1, 1) ON CONFLICT (fact) DO UPDATE SET times = work_to_do.times + 1",
            [(fact.id,) for fact in facts],
        )

    async def handle(facts: Sequence[Fact]) -> None:
        nonlocal tried
        tried += 1
        if failing:
            raise UnavailableError("away")
        if any(fact.payload == "bad" for fact in facts):
            raise InvalidInputError("bad")

    await setting.write(("a", "1"), ("a", "2"), ("b", "3"))
    worker = OutboxWorker(setting.database.connect_writer, poll_s=0.02)
    worker.register_batches(("t",), handle)
    worker.keep(keep)
    await worker.start()
    setting.workers.append(worker)
    async with asyncio.timeout(20):
        while tried < 2:  # the first attempt is rolled back by then
            await asyncio.sleep(0.01)
    assert await setting.db.fetchval("SELECT count(*) FROM work_to_do") == 0
    failing = False
    await setting.settled()
    assert [row["times"] for row in await setting.db.fetch("SELECT times FROM work_to_do")] == [1, 1, 1]
    # Handed over alone, after their batch failed, facts leave their work too.
    await setting.write(("a", "4"), ("c", "bad"))
    await setting.settled("SELECT count(*) = 1 FROM outbox WHERE parked_at IS NOT NULL")
    await setting.settled("SELECT count(*) = 5 FROM work_to_do")
