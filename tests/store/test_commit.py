"""The group commit: durable before told, once or not at all, one bad row never stops its neighbours."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from chargeplane.kernel.ids import StationKey
from chargeplane.store.commit import CommitLimits, GroupCommitter, Node, NodeReplacedError, Premise, Work
from chargeplane.store.commit import fields as f
from chargeplane.store.commit.committer import ONE_PLAN, Row
from chargeplane.store.commit.tables import (
    AUTHORIZATION_ATTEMPT,
    CONNECTOR,
    ID_TOKEN_VERSION,
    PREMISES,
    TARGETS,
    TRANSACTION,
    statement,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Told(Work):
    """A work that notes what it was told."""

    __slots__ = ("event", "outcome")

    def __init__(self, station: int, rows: list[tuple[int, Row]]) -> None:
        super().__init__(StationKey(station), rows)
        self.outcome = ""
        self.event = asyncio.Event()

    def committed(self) -> None:
        self.outcome += "committed"
        self.event.set()

    def refused(self, error: Exception) -> None:
        self.outcome += "refused"
        self.event.set()

    def fenced(self) -> None:
        self.outcome += "fenced"
        self.event.set()

    def overtaken(self) -> None:
        self.outcome += "overtaken"
        self.event.set()


def attempt(station: int, message_id: str) -> tuple[int, Row]:
    return AUTHORIZATION_ATTEMPT.index, (
        f.day(NOW.date()),
        f.timestamp(NOW),
        f.int4(1),
        f.int8(station),
        f.NULL,
        f.text("AABB"),
        f.NULL,
        f.text("Accepted"),
        f.raw(message_id.encode("utf-8", "surrogatepass")),
        f.raw(b"h" * 16),
    )


def status(station: int, word: str, evse_id: int = 1) -> tuple[int, Row]:
    none = (f.NULL,) * 4
    at = f.timestamp(NOW)
    return CONNECTOR.index, (f.int8(station), f.int4(evse_id), f.int4(1), f.text(word), f.text(word), *none, at, at)


Connect = Callable[[], Awaitable[Any]]


@pytest.fixture
async def connect(database_url: str) -> AsyncIterator[Connect]:
    made: list[Any] = []

    async def connect() -> Any:
        made.append(await asyncpg.connect(database_url))
        return made[-1]

    yield connect
    for db in made:
        db.terminate()


@pytest.fixture
async def db(connect: Connect) -> Any:
    found = await connect()
    for number in range(1, 9):
        await found.execute("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, $1)", f"CS{number}")
    return found


async def committer(connect: Connect, name: str = "node", **limits: int) -> tuple[Node, GroupCommitter]:
    node = Node(name)
    await node.register(await connect())
    made = GroupCommitter(node, connect, limits=CommitLimits(**limits) if limits else None)
    await made.start()
    return node, made


async def messages(db: Any) -> list[str]:
    return [row[0] for row in await db.fetch("SELECT message_id FROM authorization_attempt ORDER BY message_id")]


async def test_a_work_is_told_only_after_its_rows_can_be_read_by_others(connect: Connect, db: Any) -> None:
    _, writer = await committer(connect)
    seen: list[list[str]] = []
    work = Told(1, [attempt(1, "a")])
    writer.submit(work)
    await work.event.wait()
    seen.append(await messages(db))
    assert work.outcome == "committed"
    assert seen == [["a"]]
    await writer.stop()


async def test_what_gives_way_waits_behind_what_came_later_and_has_its_share_of_each_batch(
    connect: Connect, db: Any
) -> None:
    node = Node("node")
    await node.register(await connect())
    writer = GroupCommitter(node, connect, limits=CommitLimits(max_works=10, max_patient=3))
    order: list[str] = []

    class Noted(Told):
        def __init__(self, name: str) -> None:
            super().__init__(1, [attempt(1, name)])
            self.name = name

        def committed(self) -> None:
            order.append(self.name)
            super().committed()

    boots = [Noted(f"boot{number:02}") for number in range(20)]
    stops = [Noted(f"stop{number:02}") for number in range(25)]
    for work in boots:
        writer.submit_patiently(work)
    for work in stops:
        writer.submit(work)
    assert writer.queued == 45
    await writer.start()
    await asyncio.gather(*(work.event.wait() for work in (*boots, *stops)))
    await writer.stop()
    # batches of ten with three boots each, until the boots are alone
    assert [name for name in order if name.startswith("stop")] == [work.name for work in stops]
    assert [name for name in order if name.startswith("boot")] == [work.name for work in boots]
    assert order.index("boot00") > order.index("stop09")
    assert order.index("stop24") < order.index("boot09")
    assert len(await messages(db)) == 45


async def test_what_gives_way_is_committed_where_nothing_else_comes(connect: Connect, db: Any) -> None:
    _, writer = await committer(connect)
    work = Told(1, [attempt(1, "boot")])
    writer.submit_patiently(work)
    await work.event.wait()
    await writer.stop()
    assert await messages(db) == ["boot"]


async def test_what_arrives_during_a_commit_is_the_next_batch(connect: Connect, db: Any) -> None:
    node, writer = await committer(connect)
    first = node.batch
    works = [Told(1, [attempt(1, f"{number:03}")]) for number in range(200)]
    for work in works:
        writer.submit(work)
    await asyncio.gather(*(work.event.wait() for work in works))
    assert len(await messages(db)) == 200
    assert node.batch - first <= 2
    await writer.stop()


async def test_batches_are_capped(connect: Connect, db: Any) -> None:
    node, writer = await committer(connect, max_works=10)
    first = node.batch
    works = [Told(1, [attempt(1, f"{number:03}")]) for number in range(100)]
    for work in works:
        writer.submit(work)
    await asyncio.gather(*(work.event.wait() for work in works))
    assert node.batch - first == 10
    await writer.stop()


@pytest.mark.parametrize(
    "culprit",
    [
        pytest.param([attempt(2, "a\x00b")], id="nul"),
        pytest.param([attempt(2, "\ud800")], id="lone surrogate"),
        pytest.param([status(999_999, "Available")], id="no such station"),
        pytest.param([(CONNECTOR.index, (f.NULL, *status(2, "Available")[1][1:]))], id="null in a key"),
        pytest.param([(CONNECTOR.index, (f.text("?"), *status(2, "Available")[1][1:]))], id="wrong length"),
    ],
)
async def test_one_bad_row_never_stops_the_batch_it_is_in(
    connect: Connect, db: Any, culprit: list[tuple[int, Row]]
) -> None:
    _, writer = await committer(connect)
    works = [Told(1, [attempt(1, f"{number:02}")]) for number in range(30)]
    bad = Told(2, culprit)
    for work in [*works[:17], bad, *works[17:]]:
        writer.submit(work)
    await asyncio.gather(*(work.event.wait() for work in [*works, bad]))
    assert bad.outcome == "refused"
    assert {work.outcome for work in works} == {"committed"}
    assert await messages(db) == [f"{number:02}" for number in range(30)]
    await writer.stop()


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
async def test_a_batch_that_met_another_transaction_is_written_again(connect: Connect, db: Any, sqlstate: str) -> None:
    """Serialisation failures, deadlocks and locks not had: no work hears of them, none is taken for a bad one."""
    await db.execute("CREATE SEQUENCE met")  # whose numbers no rollback takes back
    await db.execute(
        "CREATE FUNCTION meets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('met') <= 2 THEN"
        f" RAISE EXCEPTION 'met another' USING ERRCODE = '{sqlstate}'; END IF; RETURN NEW; END $$"
    )
    await db.execute("CREATE TRIGGER meets BEFORE INSERT ON connector FOR EACH ROW EXECUTE FUNCTION meets()")
    _, writer = await committer(connect)
    works = [Told(number, [status(number, "Available"), attempt(number, f"{number:02}")]) for number in range(1, 9)]
    for work in works:
        writer.submit(work)
    await asyncio.gather(*(work.event.wait() for work in works))
    assert {work.outcome for work in works} == {"committed"}
    assert await messages(db) == [f"{number:02}" for number in range(1, 9)]
    assert await db.fetchval("SELECT count(*) FROM connector") == 8
    assert await db.fetchval("SELECT last_value FROM met") > 2
    await writer.stop()


async def test_a_cancelled_work_is_not_written(connect: Connect, db: Any) -> None:
    _, writer = await committer(connect)
    dropped, kept = Told(1, [attempt(1, "dropped")]), Told(1, [attempt(1, "kept")])
    dropped.cancelled = True
    writer.submit(dropped)
    writer.submit(kept)
    await kept.event.wait()
    assert await messages(db) == ["kept"]
    assert dropped.outcome == ""
    await writer.stop()


async def test_the_last_image_of_a_row_in_a_batch_counts(connect: Connect, db: Any) -> None:
    _, writer = await committer(connect)
    works = [Told(1, [status(1, word)]) for word in ("Available", "Occupied", "Faulted")]
    for work in works:
        writer.submit(work)
    await works[-1].event.wait()
    assert await db.fetchval("SELECT status FROM connector WHERE station_key = 1") == "Faulted"
    await writer.stop()


async def test_every_kind_of_row_has_a_statement_the_database_can_prepare(connect: Connect, db: Any) -> None:
    for target in TARGETS:
        await db.prepare(statement(1 << target.index))
    await db.prepare(statement((1 << len(TARGETS)) - 1))
    await db.prepare(statement((1 << len(TARGETS)) - 1 | PREMISES))


async def premise(db: Any, key: str) -> Premise:
    version = await db.fetchval(
        f"SELECT bit_xor({ID_TOKEN_VERSION}) FROM id_token t WHERE tenant_id = 1 AND token_key = $1", key
    )
    return Premise((f.int4(1), f.text(key), f.int8(version)))


async def test_works_whose_premises_hold_no_more_leave_the_batch_and_the_rest_commits(
    connect: Connect, db: Any
) -> None:
    await db.execute(
        "INSERT INTO id_token (tenant_id, type, id_token, token_key, status) "
        "SELECT 1, 'Central', key, key, 'Accepted' FROM unnest('{a,b,c}'::text[]) AS key"
    )
    held = {key: await premise(db, key) for key in "abc"}
    await db.execute("UPDATE id_token SET status = 'Blocked' WHERE token_key = 'b'")
    _, writer = await committer(connect)
    works = {names: Told(1, [attempt(1, names)]) for names in ("", "a", "b", "c", "ab", "ac")}
    for names, work in works.items():
        work.premises = tuple([held[name] for name in names])
        writer.submit(work)
    bare = Told(1, [])  # writes nothing, and rests on something all the same
    bare.premises = (held["b"],)
    writer.submit(bare)
    await asyncio.gather(*(work.event.wait() for work in [*works.values(), bare]))
    gone = {names for names, work in works.items() if work.outcome == "overtaken"}
    assert gone == {"b", "ab"}
    assert bare.outcome == "overtaken"
    assert await messages(db) == ["", "a", "ac", "c"]
    assert {name for name in "abc" if not held[name].holds} == {"b"}
    await writer.stop()


async def test_premises_are_proved_in_a_batch_that_waited_for_its_nodes_row(connect: Connect, db: Any) -> None:
    await db.execute(
        "INSERT INTO id_token (tenant_id, type, id_token, token_key, status) VALUES (1, 'Central', 'a', 'a', 'Accepted')"
    )
    node, writer = await committer(connect)
    other = await connect()
    held = other.transaction()
    await held.start()
    await other.execute("UPDATE node SET seen_at = now() WHERE id = $1", node.id)
    work = Told(1, [attempt(1, "waited")])
    work.premises = (await premise(db, "a"),)
    writer.submit(work)
    while not await db.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        assert not work.outcome
    await held.commit()
    await work.event.wait()
    assert (work.outcome, await messages(db)) == ("committed", ["waited"])
    await writer.stop()


async def test_premises_are_found_by_the_key_also_while_the_table_has_no_statistics(connect: Connect, db: Any) -> None:
    await db.execute(ONE_PLAN)
    for filled in (False, True):
        if filled:
            await db.execute(
                "INSERT INTO id_token (tenant_id, type, id_token, token_key, status) "
                "SELECT 1, 'Central', n::text, n::text, 'Accepted' FROM generate_series(1, 300) AS n"
            )
        await db.execute(f"PREPARE batch_{filled} AS {statement(PREMISES)}")
        plan = "\n".join(
            row[0] for row in await db.fetch(f"EXPLAIN EXECUTE batch_{filled}(1, 1, NULL, 1, NULL, NULL, NULL)")
        )
        assert "using id_token_key on id_token" in plan
        assert "Index Cond: (token_key = p.token_key)" in plan


def transaction(number: int, authorization: str | None, reason: str | None) -> tuple[int, Row]:
    at, values = f.timestamp(NOW), dict.fromkeys([column.name for column in TRANSACTION.columns], f.NULL)
    values |= {"id": f.int8(number), "tenant_id": f.int4(1), "station_key": f.int8(1)}
    values |= dict.fromkeys(("opened_at", "started_at", "updated_at"), at)
    values |= {"energy_wh": f.text("0"), "is_open": f.FALSE, "offline": f.FALSE, "flags": f.text("")}
    values |= {"ordinal": f.int4(1), "state": f.text("{}")}
    values |= {"authorization_status": f.text_or_null(authorization), "stop_reason": f.text_or_null(reason)}
    return TRANSACTION.index, tuple(values.values())


async def test_what_the_last_image_does_not_say_again_stays_as_an_earlier_one_of_the_batch_said_it(
    connect: Connect, db: Any
) -> None:
    _, writer = await committer(connect)
    works = [Told(1, [transaction(7, "Accepted", None)]), Told(1, [transaction(7, None, "Local")])]
    for work in works:
        writer.submit(work)
    await works[-1].event.wait()
    row = await db.fetchrow("SELECT authorization_status, stop_reason FROM transaction")
    assert tuple(row) == ("Accepted", "Local")
    await writer.stop()


async def test_a_station_taken_over_leaves_the_batch_and_the_rest_commits(connect: Connect, db: Any) -> None:
    one, writer_one = await committer(connect, "one")
    two, writer_two = await committer(connect, "two")
    await one.take_over(db, [StationKey(1), StationKey(2)])
    await two.take_over(db, [StationKey(1)])
    lost, kept = Told(1, [attempt(1, "lost")]), Told(2, [attempt(2, "kept")])
    writer_one.submit(lost)
    writer_one.submit(kept)
    await asyncio.gather(lost.event.wait(), kept.event.wait())
    assert (lost.outcome, kept.outcome) == ("fenced", "committed")
    taken = Told(1, [attempt(1, "taken")])
    writer_two.submit(taken)
    await taken.event.wait()
    assert await messages(db) == ["kept", "taken"]
    await writer_one.stop()
    await writer_two.stop()


async def test_a_takeover_waits_for_the_batch_under_way(connect: Connect, db: Any) -> None:
    one, _ = await committer(connect, "one")
    two, _ = await committer(connect, "two")
    await one.take_over(db, [StationKey(1)])
    other = await connect()
    batch = other.transaction()
    await batch.start()
    await other.execute("UPDATE node SET last_batch = 99 WHERE id = $1 AND fence = $2", one.id, one.fence)
    takeover = asyncio.create_task(two.take_over(db, [StationKey(1)]))
    watcher = await connect()
    while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        assert not takeover.done()
    await batch.commit()
    await takeover
    assert await db.fetchval("SELECT node_id FROM station_connection WHERE station_key = 1") == two.id
    assert await db.fetchval("SELECT epoch FROM station_connection WHERE station_key = 1") == 2


async def test_a_process_whose_name_was_taken_stops(connect: Connect, db: Any) -> None:
    _, writer = await committer(connect, "same")
    stopped: list[NodeReplacedError] = []
    writer.on_replaced = stopped.append
    newer = Node("same")
    await newer.register(db)
    work = Told(1, [attempt(1, "late")])
    writer.submit(work)
    await work.event.wait()
    assert work.outcome == "fenced"
    assert await messages(db) == []
    assert len(stopped) == 1
    await writer.stop()


async def test_killed_writer_connections_lose_and_double_nothing(connect: Connect, db: Any) -> None:
    """The connection dies at random moments, also between COMMIT and its answer: every work is told once, each row is there once."""
    _, writer = await committer(connect, max_works=20)
    works = [Told(1 + number % 8, [attempt(1 + number % 8, f"{number:04}")]) for number in range(1500)]
    pids = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'WITH fence%' AND pid <> pg_backend_pid()"

    async def feed() -> None:
        for work in works:
            writer.submit(work)
            if work.rows[0][1][8].endswith(b"0"):
                await asyncio.sleep(0)

    async def kill() -> None:
        while not all(work.outcome for work in works):
            await db.execute(pids)
            await asyncio.sleep(0.02 + os.urandom(1)[0] / 5000)

    await asyncio.gather(feed(), kill(), *(work.event.wait() for work in works))
    assert {work.outcome for work in works} == {"committed"}
    assert await messages(db) == [f"{number:04}" for number in range(1500)]
    await writer.stop()


async def test_stopping_commits_what_is_queued(connect: Connect, db: Any) -> None:
    _, writer = await committer(connect)
    works = [Told(1, [attempt(1, f"{number:02}")]) for number in range(50)]
    for work in works:
        writer.submit(work)
    await writer.stop()
    assert {work.outcome for work in works} == {"committed"}
