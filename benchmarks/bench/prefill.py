"""Millions of rows of earlier days, in the real tables and partitions, made by multiplying one real transaction.

A station runs one transaction with as many meter values as asked for; its rows are then copied inside the database with new
ids and times, spread over stations and past days. So the rows are as large and as varied as real ones.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime, timedelta

import asyncpg

from benchmarks.bench.processes import Failed, Server, load, target
from benchmarks.load.watch import log

_AT_ONCE = 2
_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_TEMPLATE = """
SELECT id, ordinal FROM transaction WHERE NOT is_open AND ordinal >= $1 ORDER BY id DESC LIMIT 1
"""
_PARTITIONS = """
SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'transaction_event'::regclass AND pg_get_expr(c.relpartbound, c.oid) LIKE 'FOR VALUES FROM (' || quote_literal($1::text) || ')%'
"""


def prefill(server: Server, transactions: int, events: int, days: int) -> None:
    """Fills the database of a running server.

    Args:
        transactions: how many transactions are to be added.
        events: meter rows of each, the start and the stop among them.
        days: past days to spread them over.
    """
    log(f"making a transaction of {events} events")
    one = ["-n", "1", "--repeat", "1", "--warmup", "0", "--duration", str(events / 20), "--rate", "20", "--no-setup"]
    load([*target("1.6", server), *one, "--scenario", "metervalues-tx"])
    asyncio.run(_fill(server.database_url, transactions, events, days))


async def _fill(url: str, transactions: int, events: int, days: int) -> None:
    connection = await asyncpg.connect(url, command_timeout=7200)
    try:
        found = await connection.fetchrow(_TEMPLATE, events - 2)
        if found is None:
            raise Failed("The transaction to multiply is not in the database.")
        first = 1000 + await connection.fetchval("SELECT last_value FROM transaction_id_seq")
        # The server's id blocks begin behind ours from now on.
        await connection.execute("SELECT setval('transaction_id_seq', $1)", first + transactions + 1000)
        today = datetime.now(UTC).date()
        begin = time.monotonic()
        waiting = iter(range(days))

        async def fill_days(one: asyncpg.Connection) -> None:
            for number in waiting:
                done, then = (transactions * part // days for part in (number, number + 1))
                day = today - timedelta(days=days - number)
                await _fill_day(one, found["id"], events, day, first + done, then - done)
                log(f"  {day}: {then - done:,} transactions, {time.monotonic() - begin:.0f} s")

        more = [await asyncpg.connect(url, command_timeout=7200) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*map(fill_days, more))
        finally:
            for one in more:
                await one.close()
        log("  vacuum, so that it does not happen while something is measured")
        await connection.execute("VACUUM (ANALYZE) transaction, transaction_event")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _fill_day(
    connection: asyncpg.Connection, template: int, events: int, day: date, first: int, count: int
) -> None:
    async with connection.transaction():
        if not await connection.fetchval(_PARTITIONS, str(day)):
            await connection.execute(
                f"CREATE TABLE transaction_event_prefill_{day:%Y%m%d} PARTITION OF transaction_event "
                f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
        await connection.execute("SET LOCAL synchronous_commit = off")
        stations = "(SELECT array_agg(key ORDER BY key) FROM charging_station WHERE station_id LIKE 'LOAD%')"
        # n counts the day's transactions; each gets its own moment of the day.
        moment = f"('{day}T00:00:00Z'::timestamptz + n * interval '86400 seconds' / {max(count, 1)})"
        new = {
            "id": f"{first} + n",
            "station_key": "keys[1 + n % cardinality(keys)]",
            "ocpp_transaction_id": f"'pre-' || ({first} + n)",
            "opened_at": moment,
            "started_at": moment,
            "stopped_at": f"{moment} + interval '40 minutes'",
            "updated_at": f"{moment} + interval '40 minutes'",
            "state": f"replace(old.state, '\"id\":' || old.id || ',', '\"id\":' || ({first} + n) || ',')",
        }
        await _copy(connection, "transaction", new, f"old.id = {template}", stations, count)
        new = {
            "opened_on": f"'{day}'::date",
            "transaction_id": f"{first} + n",
            "station_key": "keys[1 + n % cardinality(keys)]",
            "message_id": f"md5(({first} + n)::text) || old.ordinal",
            "at": f"{moment} + old.ordinal * interval '2 minutes'",
            "received_at": f"{moment} + old.ordinal * interval '2 minutes'",
        }
        chosen = f"old.transaction_id = {template} AND old.ordinal <= {events}"
        await _copy(connection, "transaction_event", new, chosen, stations, count)


async def _copy(
    connection: asyncpg.Connection, table: str, new: dict[str, str], chosen: str, stations: str, count: int
) -> None:
    columns = [row["attname"] for row in await connection.fetch(_COLUMNS, table)]
    values = ", ".join(new.get(column, f"old.{column}") for column in columns)
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM generate_series(0, {count - 1}) AS n, "
        f"(SELECT {stations} AS keys) AS s, (SELECT * FROM {table} AS old WHERE {chosen} ORDER BY 1, 2, 3) AS old"
    )
