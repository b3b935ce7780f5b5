"""Each subscriber has its own copy of a fact: exactly one, in order per key, held up and parked alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from chargeplane.app.fact_copies import FactCopies, Shown
from chargeplane.kernel.errors import InvalidInputError, UnavailableError
from chargeplane.store.database import Connection, Database
from chargeplane.store.outbox import BatchHandler, Fact, FactHandler, OutboxWorker

Heard = list[tuple[str, str]]


class House:
    """A database with its outbox, and nodes that come and go."""

    def __init__(self, database: Database, db: Connection) -> None:
        self.database, self.db = database, db
        self.workers: list[OutboxWorker] = []

    async def write(self, *facts: tuple[str, str], topic: str = "thing.made") -> None:
        """Writes facts (key, payload)."""
        await self.db.executemany(
            "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, $1, $2, $3)",
            [(topic, key, payload) for key, payload in facts],
        )

    async def node(
        self,
        subscribers: dict[str, FactHandler],
        *,
        shown: Shown | None = None,
        awaited: bool = False,
        lease_s: float = 120.0,
        prepare: Callable[[OutboxWorker], None] = lambda worker: None,
    ) -> FactCopies:
        """A process that hands facts on."""
        worker = OutboxWorker(self.database.connect_writer, poll_s=0.02, pace_s=0.01, lease_s=lease_s)
        prepare(worker)
        copies = FactCopies(worker)
        copies.declare(("thing.made", "thing.gone"), shown=shown, awaited=awaited)
        for name, handler in subscribers.items():
            copies.subscribe(name, ("thing.made", "thing.gone"), handler, first_retry_s=0.01)
        await worker.start()
        self.workers.append(worker)
        copies.begin()
        return copies

    async def until(self, sql: str) -> None:
        """Waits until a query says true."""
        async with asyncio.timeout(30):
            while not await self.db.fetchval(sql):
                await asyncio.sleep(0.01)

    async def empty(self) -> None:
        """Waits until nothing waits any more."""
        await self.until("SELECT NOT EXISTS (SELECT FROM outbox WHERE parked_at IS NULL)")


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    database = Database(database_url, readers=2)
    one = House(database, await database.connect_writer())
    yield one
    for worker in one.workers:
        await worker.stop()
    await one.db.close()
    await database.close()


def listener(heard: Heard) -> FactHandler:
    """Writes down what it hears."""

    async def hear(fact: Fact) -> None:
        heard.append((fact.key, fact.payload))

    return hear


async def test_every_subscriber_hears_every_fact_as_it_was_written_in_order_per_key(house: House) -> None:
    first: list[Fact] = []
    second: Heard = []

    async def hear(fact: Fact) -> None:
        first.append(fact)

    await house.write(*((f"k {number % 3}", str(number)) for number in range(300)))
    await house.write(("k 0", "last"), topic="thing.gone")
    await house.node({"one": hear, "two": listener(second)})
    await house.empty()
    assert {fact.topic for fact in first} == {"thing.made", "thing.gone"}
    assert len({fact.id for fact in first}) == len(first)
    for heard in ([(fact.key, fact.payload) for fact in first], second):
        for key in range(3):
            said = [payload for of, payload in heard if of == f"k {key}"]
            assert said == [str(n) for n in range(300) if n % 3 == key] + ["last"] * (key == 0)


async def test_a_subscriber_that_fails_or_hangs_holds_up_itself_alone(house: House) -> None:
    heard: Heard = []
    again: Heard = []
    hangs, let_go = asyncio.Event(), asyncio.Event()
    failures = 3

    async def fail(fact: Fact) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise UnavailableError("Not now.")
        again.append((fact.key, fact.payload))

    async def refuse(fact: Fact) -> None:
        raise InvalidInputError("Never.")

    async def hang(fact: Fact) -> None:
        hangs.set()
        await let_go.wait()

    await house.node({"fails": fail, "refuses": refuse, "hangs": hang, "well": listener(heard)})
    facts = [("k", "1"), ("k", "2"), ("k", "3")]
    await house.write(*facts)
    async with asyncio.timeout(30):
        await hangs.wait()
        while heard != facts or again != facts:
            await asyncio.sleep(0.01)
    await house.until("SELECT count(*) = 3 FROM outbox WHERE topic = 'thing.made>refuses' AND parked_at IS NOT NULL")
    assert await house.db.fetchval("SELECT count(*) FROM outbox WHERE topic = 'thing.made>hangs'") == 3
    let_go.set()
    await house.empty()
    assert await house.db.fetchval("SELECT count(*) FROM outbox") == 3, "only what was refused is left, for a person"


async def test_killed_before_the_copies_are_committed_each_is_there_once(house: House) -> None:
    """Two nodes of three die with their first batch, after the copies were written."""
    heard: dict[int, tuple[str, str]] = {}
    other: Heard = []
    died = asyncio.Event()

    async def hear(fact: Fact) -> None:
        heard[fact.id] = (fact.key, fact.payload)

    def die(fact: Fact) -> None:
        died.set()
        raise asyncio.CancelledError

    sent = []
    for number in range(9):
        sent.append((f"k{number % 2}", str(number)))
        await house.write(sent[-1])
        dies = number % 3 < 2
        died.clear()
        await house.node({"one": hear, "two": listener(other)}, shown=die if dies else None)
        if dies:
            async with asyncio.timeout(30):
                await died.wait()
            assert len(heard) == number // 3 * 3, "nothing of a batch that died was heard"
        else:
            await house.empty()
        await house.workers.pop().stop()
    for got in (list(heard.values()), other):
        assert sorted(got) == sorted(sent)
        for key in ("k0", "k1"):
            assert [one for one in got if one[0] == key] == [one for one in sent if one[0] == key]


async def test_killed_while_a_subscriber_works_it_hears_the_same_copy_again(house: House) -> None:
    heard: list[int] = []
    began = asyncio.Event()

    async def die(fact: Fact) -> None:
        heard.append(fact.id)
        began.set()
        await asyncio.Event().wait()

    async def hear(fact: Fact) -> None:
        heard.append(fact.id)

    await house.node({"one": die})
    await house.write(("k", "1"))
    async with asyncio.timeout(30):
        await began.wait()
    await house.workers[0].stop()
    await house.node({"one": hear})
    await house.empty()
    assert len(heard) == 2
    assert len(set(heard)) == 1


async def test_a_subscriber_added_later_hears_what_is_passed_on_from_then_on(house: House) -> None:
    early: Heard = []
    late: Heard = []
    copies = await house.node({"early": listener(early)})
    await house.write(("k", "1"))
    await house.empty()
    copies.subscribe("late", ("thing.made",), listener(late))
    await house.write(("k", "2"))
    await house.empty()
    assert early == [("k", "1"), ("k", "2")]
    assert late == [("k", "2")]


async def test_what_is_awaited_stays_until_somebody_subscribes(house: House) -> None:
    heard: Heard = []
    shown: list[str] = []
    copies = await house.node({}, shown=lambda fact: shown.append(fact.payload), awaited=True)
    await house.write(("k", "1"), ("k", "2"))
    await house.db.execute("INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, 'other', 'k', '')")
    done = asyncio.Event()
    house.workers[0].register_batches(("other",), _sets(done))
    async with asyncio.timeout(30):
        await done.wait()
    assert await house.db.fetchval("SELECT count(*) FROM outbox WHERE topic = 'thing.made'") == 2
    copies.subscribe("one", ("thing.made",), listener(heard))
    await house.empty()
    assert heard == [("k", "1"), ("k", "2")]
    assert shown == ["1", "2"]


async def test_what_nobody_subscribed_to_is_shown_and_ends(house: House) -> None:
    shown: list[str] = []
    await house.node({}, shown=lambda fact: shown.append(fact.payload))
    await house.write(("k", "1"))
    await house.empty()
    assert shown == ["1"]


async def test_a_bus_that_is_away_does_not_hold_copies_up(house: House) -> None:
    heard: Heard = []

    async def away(facts: object) -> None:
        raise UnavailableError("The bus is away.")

    await house.write(("t", "1"), topic="transaction.ended")
    await house.node(
        {"one": listener(heard)}, prepare=lambda worker: worker.register_batches(["transaction.ended"], away)
    )
    await house.write(("k", "1"))
    await house.until("SELECT count(*) = 1 FROM outbox")
    assert heard == [("k", "1")]
    assert await house.db.fetchval("SELECT topic FROM outbox") == "transaction.ended"


async def test_a_fact_that_cannot_be_passed_on_waits_alone(house: House) -> None:
    heard: Heard = []
    broken = True

    def stumble(fact: Fact) -> None:
        if broken and fact.key == "bad":
            raise RuntimeError("stumbled")

    await house.write(("bad", "1"), ("good", "2"))
    await house.node({"one": listener(heard)}, shown=stumble)
    await house.until("SELECT count(*) = 1 FROM outbox")
    assert heard == [("good", "2")]
    broken = False
    await house.db.execute("UPDATE outbox SET next_at = now()")
    house.workers[0].look_again()
    await house.empty()
    assert heard == [("good", "2"), ("bad", "1")]


async def test_names_and_topics_are_checked() -> None:
    async def never() -> Connection:
        raise AssertionError

    copies = FactCopies(OutboxWorker(never))
    copies.declare(("thing.made",))
    hear = listener([])
    with pytest.raises(ValueError, match="declared already"):
        copies.declare(("thing.made",))
    with pytest.raises(ValueError, match="no facts 'weather'"):
        copies.subscribe("one", ("weather",), hear)
    with pytest.raises(ValueError, match="no name"):
        copies.subscribe("One two", ("thing.made",), hear)
    copies.subscribe("one", ("thing.made",), hear)
    with pytest.raises(ValueError, match="already"):
        copies.subscribe("one", ("thing.made",), hear)


def _sets(done: asyncio.Event) -> BatchHandler:
    async def handle(facts: Sequence[Fact]) -> None:
        done.set()

    return handle
