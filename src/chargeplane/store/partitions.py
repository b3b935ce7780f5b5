"""Daily partitions: made some days ahead, dropped when their time is over.

A table's rows go by a UTC day of ours into `<table>_<yyyymmdd>`; what has no partition falls into `<table>_default`,
so a write never fails for want of one. Retention is then the end of a partition, not a DELETE of a million rows.

Locks are what can hurt here. A new partition is made apart and attached, which lets reads and writes go on; only
the default partition is locked, and it is empty but after an outage of this mechanism. Ending one needs the parent
for a moment and would have every writer queue behind a slow reader: it is tried with a short lock time-out, and again
at the next round. One node at a time does the work, under an advisory lock.

The same round deletes what is too old in the few small tables that have no partitions, some thousand rows at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final

import asyncpg
import structlog
from msgspec import Struct

from chargeplane.store.database import Connection, is_unavailable
from chargeplane.store.queries.idempotency import KEPT as IDEMPOTENCY_KEPT

log = structlog.get_logger(__name__)

DAYS_AHEAD: Final = 4
"""Partitions made beyond today: a server may stand still for as long without falling back on the default partition."""

_LOCK_KEY: Final = 0x7061_7274_73
_LOCK_TIMEOUT: Final = "200ms"
_ATTEMPTS: Final = 3
_PERIOD_S: Final = 3600.0
_DELETED_AT_ONCE: Final = 5_000
_RETRY_S: Final = 60.0


class PartitionedTable(Struct, frozen=True, kw_only=True):
    """A table that is partitioned by day.

    Args:
        name: of the table.
        column: the date it is partitioned by.
        keep_days: whole days kept besides today; None keeps for ever.
        while_open: keeps a day as long as a transaction that was opened on it is open.
    """

    name: str
    column: str
    keep_days: int | None = None
    while_open: bool = False


def partitioned_tables(
    *,
    message_log_days: int = 30,
    meter_values_days: int = 0,
    authorization_attempts_days: int = 400,
    notices_days: int = 90,
    station_events_days: int = 400,
) -> tuple[PartitionedTable, ...]:
    """The foundation's partitioned tables.

    Args:
        message_log_days: days of the OCPP log that are kept; 0 keeps for ever, here and below.
        meter_values_days: days of meter values and transaction events that are kept.
        authorization_attempts_days: days of authorisation attempts that are kept.
        notices_days: days of stations' other messages that are kept.
        station_events_days: days of events of stations' variables that are kept.
    """
    log_days, value_days = message_log_days or None, meter_values_days or None
    return (
        PartitionedTable(name="transaction_event", column="opened_on", keep_days=value_days, while_open=True),
        PartitionedTable(name="station_meter_value", column="received_on", keep_days=value_days),
        PartitionedTable(
            name="authorization_attempt", column="received_on", keep_days=authorization_attempts_days or None
        ),
        PartitionedTable(name="station_notice", column="received_on", keep_days=notices_days or None),
        PartitionedTable(name="station_event", column="received_on", keep_days=station_events_days or None),
        PartitionedTable(name="message_log", column="logged_on", keep_days=log_days),
    )


class AgingTable(Struct, frozen=True, kw_only=True):
    """A small table without partitions whose rows are deleted when they are too old.

    Args:
        name: of the table.
        column: the time that counts.
        keep: how long a row is kept.
        by_id: the table has no index on the time; its rows are looked at in the order of `id`, which their times follow, and
            no further than to the first that is young.
        spared: an SQL condition on `aged` for rows that are kept all the same.
    """

    name: str
    column: str
    keep: timedelta
    by_id: bool = False
    spared: str = "false"


def aging_tables(
    *,
    unknown_stations_days: int = 90,
    commands_days: int = 400,
    audit_log_days: int = 730,
    event_streams_days: int = 30,
    customer_information_days: int = 7,
    security_events_days: int = 400,
    webhook_events_days: int = 30,
    payment_webhooks_days: int = 400,
    roaming_exchanges_days: int = 14,
) -> tuple[AgingTable, ...]:
    """The foundation's tables of that kind.

    Args:
        unknown_stations_days: days since the last attempt of a station that is not registered; 0 keeps for ever, here and
            below.
        commands_days: days since a command or raw call was given. One that brought a station its certificate stays.
        audit_log_days: days since what the audit log tells of.
        event_streams_days: days since a value of a stream came.
        customer_information_days: days since a station told of a customer.
        security_events_days: days since a security event.
        webhook_events_days: days since what webhooks tell of; their deliveries and attempts go with it.
        roaming_exchanges_days: days since something went over the wire with a roaming partner.
        payment_webhooks_days: days since a payment provider told something that was applied.
    """
    tables = [AgingTable(name="idempotency_key", column="created_at", keep=IDEMPOTENCY_KEPT)]
    if unknown_stations_days:
        tables.append(
            AgingTable(name="unknown_station", column="last_seen_at", keep=timedelta(days=unknown_stations_days))
        )
    if commands_days:
        tables.append(
            AgingTable(
                name="command",
                column="created_at",
                keep=timedelta(days=commands_days),
                by_id=True,
                spared="aged.state IN ('pending', 'sent') OR EXISTS (SELECT FROM certificate WHERE command_id = aged.id)",
            )
        )
    if audit_log_days:
        tables.append(AgingTable(name="audit_log", column="at", keep=timedelta(days=audit_log_days), by_id=True))
    if event_streams_days:
        tables.append(
            AgingTable(name="event_stream_value", column="received_at", keep=timedelta(days=event_streams_days))
        )
    if customer_information_days:
        keep = timedelta(days=customer_information_days)
        tables.append(AgingTable(name="customer_information", column="updated_at", keep=keep))
    if security_events_days:
        tables.append(
            AgingTable(
                name="security_event", column="received_at", keep=timedelta(days=security_events_days), by_id=True
            )
        )
    if webhook_events_days:
        keep = timedelta(days=webhook_events_days)
        tables.append(AgingTable(name="webhook_event", column="at", keep=keep, by_id=True))
    if payment_webhooks_days:
        keep = timedelta(days=payment_webhooks_days)
        waits = "aged.applied_at IS NULL"
        tables.append(AgingTable(name="payment_webhook", column="received_at", keep=keep, by_id=True, spared=waits))
    if roaming_exchanges_days:
        keep = timedelta(days=roaming_exchanges_days)
        tables.append(AgingTable(name="roaming_exchange", column="at", keep=keep, by_id=True))
        tables.append(AgingTable(name="roaming_forward_url", column="created_at", keep=keep))
        tables.append(AgingTable(name="roaming_hub_object", column="ages_from", keep=keep))
    return tuple(tables)


class PartitionReport(Struct, frozen=True, kw_only=True):
    """What one round did.

    Args:
        made: partitions made.
        dropped: partitions dropped.
        deleted: rows deleted, by table; those without are left out.
        put_off: what could not be locked in time and is tried again.
        busy: whether another node was at it, so nothing was done.
    """

    made: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    deleted: dict[str, int] = {}
    put_off: tuple[str, ...] = ()
    busy: bool = False


class Partitions:
    """Keeps the partitions of a database.

    Args:
        connect: opens a writer connection.
        tables: what to keep.
        aging: what to delete from beside them.
        now: the server's clock.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        tables: tuple[PartitionedTable, ...],
        *,
        aging: tuple[AgingTable, ...] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connect = connect
        self._tables = tables
        self._aging = aging
        self._now = now
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Does one round, so that today's partitions are there, and one every hour from then on.

        Raises:
            UnavailableError: the database is away.
        """
        await self.maintain()
        self._task = asyncio.create_task(self._run(), name="partitions")

    async def stop(self) -> None:
        """Ends the rounds; one under way is given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def maintain(self) -> PartitionReport:
        """One round: makes what is missing, drops what is over."""
        connection = await self._connect()
        try:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
                return PartitionReport(busy=True)
            await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
            made: list[str] = []
            dropped: list[str] = []
            put_off: list[str] = []
            today = self._now().date()
            for table in self._tables:
                await self._make(connection, table, today, made, put_off)
                if table.keep_days is not None:
                    await self._drop(connection, table, today - timedelta(days=table.keep_days), dropped, put_off)
            deleted = {table.name: await self._delete(connection, table) for table in self._aging}
        finally:
            await connection.close()
        report = PartitionReport(
            made=tuple(made),
            dropped=tuple(dropped),
            deleted={name: rows for name, rows in deleted.items() if rows},
            put_off=tuple(put_off),
        )
        if made or dropped or put_off or report.deleted:
            told = {"made": len(made), "dropped": dropped, "deleted": report.deleted, "put_off": put_off}
            log.info("partitions", **{name: what for name, what in told.items() if what})
        return report

    async def _delete(self, db: Connection, table: AgingTable) -> int:
        before, total = self._now() - table.keep, 0
        if table.by_id:
            return await self._delete_by_id(db, table, before)
        while True:
            status = await db.execute(
                f"DELETE FROM {table.name} WHERE ctid = ANY (ARRAY("  # noqa: S608 - names of this file
                f"SELECT ctid FROM {table.name} WHERE {table.column} < $1 LIMIT {_DELETED_AT_ONCE} FOR UPDATE SKIP LOCKED))",
                before,
            )
            rows = int(status.rpartition(" ")[2])
            total += rows
            if rows < _DELETED_AT_ONCE:
                return total

    async def _delete_by_id(self, db: Connection, table: AgingTable, before: datetime) -> int:
        total: int = 0
        last = 0
        while True:
            row = await db.fetchrow(
                f"WITH oldest AS (SELECT id, {table.column} AS at FROM {table.name} WHERE id > $1 ORDER BY id "  # noqa: S608
                f"LIMIT {_DELETED_AT_ONCE}), gone AS (DELETE FROM {table.name} aged USING oldest WHERE aged.id = oldest.id "
                f"AND oldest.at < $2 AND NOT ({table.spared}) RETURNING 1) "
                "SELECT (SELECT count(*) FROM gone) AS rows, max(id) AS last, bool_and(at < $2) AS all_old FROM oldest",
                last,
                before,
            )
            assert row is not None
            total += row["rows"]
            if not row["all_old"]:  # a young one is among them, or there were none
                break
            last = row["last"]
        return total

    async def _run(self) -> None:
        delay = _PERIOD_S
        while True:
            await asyncio.sleep(delay)
            try:
                report = await self.maintain()
                delay = _RETRY_S if report.put_off else _PERIOD_S
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("partitions_failed")
                delay = _RETRY_S

    async def _make(
        self, db: Connection, table: PartitionedTable, today: date, made: list[str], put_off: list[str]
    ) -> None:
        present = set(await partition_days(db, table.name))
        wanted = {today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)}
        # What fell into the default partition while nobody made partitions gets its own.
        strayed = await db.fetch(f"SELECT DISTINCT {table.column} AS day FROM {table.name}_default")  # noqa: S608
        cutoff = today - timedelta(days=table.keep_days) if table.keep_days is not None else None
        wanted |= {row["day"] for row in strayed if cutoff is None or row["day"] >= cutoff}
        for day in sorted(wanted - present):
            name = partition_name(table.name, day)
            if await _patiently(partial(_attach, db, table, day)):
                made.append(name)
            else:
                put_off.append(name)
                break

    async def _drop(
        self, db: Connection, table: PartitionedTable, cutoff: date, dropped: list[str], put_off: list[str]
    ) -> None:
        for day in sorted(await partition_days(db, table.name)):
            if day >= cutoff:
                break
            if table.while_open and await db.fetchval(
                "SELECT EXISTS (SELECT FROM open_transaction WHERE opened_on = $1)", day
            ):
                continue
            name = partition_name(table.name, day)
            # Detached first: dropping the files then needs no lock that anybody waits for.
            if await _patiently(partial(db.execute, f"ALTER TABLE {table.name} DETACH PARTITION {name}")):
                await db.execute(f"DROP TABLE {name}")
                dropped.append(name)
            else:
                put_off.append(name)
                break  # whoever holds it holds the others as well
        # A round that was killed between the two leaves a detached table.
        for name in await _detached(db, table.name, cutoff):
            await db.execute(f"DROP TABLE {name}")
            dropped.append(name)
        condition = f"{table.column} < $1"
        if table.while_open:
            condition += f" AND {table.column} NOT IN (SELECT opened_on FROM open_transaction)"  # noqa: S608
        await db.execute(f"DELETE FROM {table.name}_default WHERE {condition}", cutoff)  # noqa: S608


def partition_name(table: str, day: date) -> str:
    """Name of a table's partition of a day."""
    return f"{table}_{day:%Y%m%d}"


async def partition_days(db: Connection, table: str) -> list[date]:
    """Days that have a partition of their own."""
    rows = await db.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = $1::text::regclass",
        table,
    )
    return [day for row in rows if (day := _day_of(table, row["relname"])) is not None]


def _day_of(table: str, name: str) -> date | None:
    digits = name.removeprefix(table + "_")
    if len(digits) != 8 or not digits.isdigit():
        return None
    with contextlib.suppress(ValueError):
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    return None


async def _detached(db: Connection, table: str, cutoff: date) -> list[str]:
    rows = await db.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND relname LIKE $1 || '\\_%' "
        "AND relnamespace = current_schema()::regnamespace",
        table,
    )
    names = [row["relname"] for row in rows]
    return [name for name in names if (day := _day_of(table, name)) is not None and day < cutoff]


async def _attach(db: Connection, table: PartitionedTable, day: date) -> None:
    name, after = partition_name(table.name, day), day + timedelta(days=1)
    default = f"{table.name}_default"
    async with db.transaction():
        await db.execute(f"CREATE TABLE {name} (LIKE {table.name} INCLUDING ALL)")
        await db.execute(f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
        await db.execute(
            f"WITH moved AS (DELETE FROM {default} WHERE {table.column} = $1 RETURNING *) "  # noqa: S608
            f"INSERT INTO {name} SELECT * FROM moved",
            day,
        )
        await db.execute(f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{after}')")


async def _patiently(work: Callable[[], Awaitable[object]]) -> bool:
    """Does the work, trying a few times where a lock was not to be had in time; False where it never was."""
    for attempt in range(_ATTEMPTS):
        try:
            await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(0.1 * (attempt + 1))
        else:
            return True
    return False
