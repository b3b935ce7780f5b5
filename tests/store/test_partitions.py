"""Partitions are there before they are needed, and go when their time is over, without stopping anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest

from chargeplane.store.database import Connection, Database
from chargeplane.store.partitions import DAYS_AHEAD, Partitions, aging_tables, partition_days, partitioned_tables

NOW = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
TODAY = NOW.date()
TABLES = partitioned_tables(message_log_days=30, meter_values_days=10)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Connection]:
    database = Database(database_url)
    connection = await database.connect_writer()
    yield connection
    await connection.close()
    await database.close()


def _keeper(database_url: str, now: datetime = NOW) -> Partitions:
    return Partitions(Database(database_url).connect_writer, TABLES, now=lambda: now)


async def _log(db: Connection, day: date, message_id: str = "1") -> None:
    await db.execute(
        "INSERT INTO message_log VALUES ($1, now(), 1, true, 'Heartbeat', $2, 'callresult', NULL, 1, NULL, NULL, false)",
        day,
        message_id,
    )


async def _event(db: Connection, day: date, transaction: int) -> None:
    await db.execute(
        "INSERT INTO transaction_event (opened_on, transaction_id, ordinal, station_key, kind, action, message_id, "
        "content_hash, received_at, energy_wh, payload) "
        "VALUES ($1, $2, 1, 1, 'Started', 'StartTransaction', '1', '\\x00', now(), 0, '{}')",
        day,
        transaction,
    )


async def test_today_and_the_days_ahead_have_partitions(database_url: str, db: Connection) -> None:
    report = await _keeper(database_url).maintain()
    days = [TODAY + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]
    for table in TABLES:
        assert sorted(await partition_days(db, table.name)) == days
    assert len(report.made) == len(TABLES) * len(days)
    await _log(db, TODAY)
    assert await db.fetchval("SELECT tableoid::regclass::text FROM message_log") == "message_log_20260301"


async def test_second_round_changes_nothing_and_the_next_day_makes_one_more(database_url: str) -> None:
    await _keeper(database_url).maintain()
    assert (await _keeper(database_url).maintain()).made == ()
    assert len((await _keeper(database_url, NOW + timedelta(days=1)).maintain()).made) == len(TABLES)


async def test_partition_has_the_indexes_of_its_table(database_url: str, db: Connection) -> None:
    await _keeper(database_url).maintain()
    await _event(db, TODAY, 7)
    attached = await db.fetchval(
        "SELECT count(*) FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid "
        "WHERE indrelid = 'transaction_event_20260301'::regclass AND indisunique"
    )
    assert attached == 1


async def test_rows_that_fell_into_the_default_partition_are_moved_home(database_url: str, db: Connection) -> None:
    strayed = TODAY - timedelta(days=3)
    await _log(db, strayed, "strayed")
    await _log(db, TODAY, "today")
    await _keeper(database_url).maintain()
    assert await db.fetchval("SELECT count(*) FROM message_log_default") == 0
    places = await db.fetch("SELECT message_id, tableoid::regclass::text AS place FROM message_log ORDER BY 2")
    assert [tuple(row) for row in places] == [("strayed", "message_log_20260226"), ("today", "message_log_20260301")]


async def test_days_beyond_retention_are_dropped_and_younger_ones_stay(database_url: str, db: Connection) -> None:
    for age in (31, 30, 29):
        past = NOW - timedelta(days=age)
        await _keeper(database_url, past).maintain()
        await _log(db, past.date(), str(age))
    report = await _keeper(database_url).maintain()
    assert "message_log_20260129" in report.dropped
    rows = await db.fetch("SELECT message_id FROM message_log ORDER BY logged_on")
    assert [row["message_id"] for row in rows] == ["30", "29"]
    assert await db.fetchval("SELECT to_regclass('message_log_20260129')") is None
    # No retention is set for it.
    assert date(2026, 1, 29) in await partition_days(db, "authorization_attempt")


async def test_old_rows_in_the_default_partition_go_too(database_url: str, db: Connection) -> None:
    await _log(db, TODAY - timedelta(days=31), "old")
    await _keeper(database_url).maintain()
    assert await db.fetchval("SELECT count(*) FROM message_log") == 0


async def test_day_of_an_open_transaction_is_kept_until_it_closes(database_url: str, db: Connection) -> None:
    past = NOW - timedelta(days=20)
    await _keeper(database_url, past).maintain()
    await _event(db, past.date(), 7)
    await db.execute("INSERT INTO open_transaction VALUES (7, 1, 1, $1, NULL, 1, '{}')", past.date())
    await _keeper(database_url).maintain()
    assert await db.fetchval("SELECT count(*) FROM transaction_event") == 1
    await db.execute("DELETE FROM open_transaction")
    await _keeper(database_url).maintain()
    assert await db.fetchval("SELECT count(*) FROM transaction_event") == 0


async def test_partition_in_use_is_put_off_and_nobody_waits_for_it(database_url: str, db: Connection) -> None:
    past = NOW - timedelta(days=40)
    await _keeper(database_url, past).maintain()
    database = Database(database_url)
    reader, writer = await database.connect_writer(), await database.connect_writer()
    slow = reader.transaction()
    await slow.start()
    await reader.execute("SELECT count(*) FROM message_log")
    round_ = asyncio.create_task(_keeper(database_url).maintain())
    # A writer goes on meanwhile: it waits for at most one lock time-out at a time.
    async with asyncio.timeout(30):
        while not round_.done():
            await _log(writer, TODAY)
    report = await round_
    assert "message_log_20260120" in report.put_off
    await slow.rollback()
    assert "message_log_20260120" in (await _keeper(database_url).maintain()).dropped
    await reader.close()
    await writer.close()


async def test_one_node_at_a_time_does_the_work(database_url: str, db: Connection) -> None:
    reports = await asyncio.gather(*(_keeper(database_url).maintain() for _ in range(4)))
    made = [name for report in reports for name in report.made]
    assert len(made) == len(set(made)) == len(TABLES) * (DAYS_AHEAD + 1)


async def test_partition_detached_by_a_round_that_died_is_dropped(database_url: str, db: Connection) -> None:
    past = NOW - timedelta(days=40)
    await _keeper(database_url, past).maintain()
    await db.execute("ALTER TABLE message_log DETACH PARTITION message_log_20260120")
    assert "message_log_20260120" in (await _keeper(database_url).maintain()).dropped
    assert await db.fetchval("SELECT to_regclass('message_log_20260120')") is None


async def test_start_makes_partitions_before_it_returns(database_url: str, db: Connection) -> None:
    keeper = _keeper(database_url)
    await keeper.start()
    assert TODAY in await partition_days(db, "message_log")
    await keeper.stop()


async def test_attempts_and_notices_are_kept_as_long_as_is_set(database_url: str, db: Connection) -> None:
    old, kept = TODAY - timedelta(days=91), TODAY - timedelta(days=90)
    for day in (old, kept):
        await db.execute(
            "INSERT INTO station_notice VALUES ($1, now(), 1, 'SecurityEventNotification', NULL, 'm', '\\x00', '{}')",
            day,
        )
        await db.execute(
            "INSERT INTO authorization_attempt VALUES ($1, now(), 1, 1, NULL, 'TAG', NULL, 'Accepted', 'm', '\\x00')",
            day,
        )
    await _keeper(database_url).maintain()
    assert await db.fetchval("SELECT array_agg(received_on) FROM station_notice") == [kept]
    assert await db.fetchval("SELECT count(*) FROM authorization_attempt") == 2  # for 400 days


async def test_old_rows_of_tables_without_partitions_are_deleted_and_told(database_url: str, db: Connection) -> None:
    await db.execute(
        "INSERT INTO idempotency_key (tenant_id, key, route, body_hash, created_at) "
        "SELECT 1, n::text, '/', '\\x00', $1::timestamptz - make_interval(hours => n) FROM generate_series(23, 25) n",
        NOW,
    )
    await db.execute(
        "INSERT INTO unknown_station (tenant_id, station_id, remote_address, last_seen_at) "
        "SELECT 1, n::text, 'a', $1::timestamptz - make_interval(days => n) FROM generate_series(1, 12000) n",
        NOW,
    )
    keeper = Partitions(
        Database(database_url).connect_writer, TABLES, aging=aging_tables(unknown_stations_days=90), now=lambda: NOW
    )
    report = await keeper.maintain()
    assert report.deleted == {"idempotency_key": 1, "unknown_station": 11_910}
    assert await db.fetchval("SELECT count(*) FROM idempotency_key") == 2
    assert (await keeper.maintain()).deleted == {}
    keeps = Partitions(
        Database(database_url).connect_writer, TABLES, aging=aging_tables(unknown_stations_days=0), now=lambda: NOW
    )
    await db.execute("UPDATE unknown_station SET last_seen_at = '2000-01-01T00:00:00Z'")
    assert (await keeps.maintain()).deleted == {}


async def test_commands_and_audit_log_are_kept_as_long_as_is_set(database_url: str, db: Connection) -> None:
    await db.execute("INSERT INTO charging_station (tenant_id, station_id, security_profile) VALUES (1, 'CP', 1)")
    station = await db.fetchval("SELECT key FROM charging_station")
    # days ago, from 12,000 to 1: more than is deleted at once, ids in the order of the times
    await db.execute(
        "INSERT INTO command (tenant_id, station_key, type, request, state, created_at) "
        "SELECT 1, $2, 'call', '{}', CASE WHEN n = 9000 THEN 'pending' ELSE 'accepted' END, "
        "$1::timestamptz - make_interval(days => n) FROM generate_series(12000, 1, -1) n",
        NOW,
        station,
    )
    await db.execute(
        "INSERT INTO audit_log (tenant_id, actor, action, object_kind, object_id, at) "
        "SELECT 1, 'a', 'b', 'c', n::text, $1::timestamptz - make_interval(days => n) FROM generate_series(800, 1, -1) n",
        NOW,
    )
    await db.execute(
        "INSERT INTO certificate (tenant_id, station_key, state, csr, csr_hash, command_id) "
        "SELECT 1, $1, 'issued', '', '', min(id) FROM command",
        station,
    )
    connect = Database(database_url).connect_writer
    keeps = Partitions(connect, TABLES, aging=aging_tables(commands_days=0, audit_log_days=0), now=lambda: NOW)
    assert (await keeps.maintain()).deleted == {}
    keeper = Partitions(connect, TABLES, aging=aging_tables(commands_days=400, audit_log_days=730), now=lambda: NOW)
    assert (await keeper.maintain()).deleted == {"command": 11_598, "audit_log": 70}
    assert await db.fetchval("SELECT count(*) FROM command") == 402  # what waits, and what brought a certificate
    assert await db.fetchval("SELECT max(object_id::int) FROM audit_log") == 730
    assert (await keeper.maintain()).deleted == {}
