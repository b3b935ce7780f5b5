"""Backup, restore and status of the database: what `chargeplane db` does.

A backup is one file in PostgreSQL's custom format, made while the server runs, consistent as of its start. It does not
hold the installation key (store/secrets.py): keep `CHARGEPLANE_SECRET_KEY` or the key file elsewhere. A restore
without it works, and says which stations need a new password.

Ids handed out after the backup was made are still known to stations, so a restore moves the sequences of transaction
ids well past everything that can have been handed out since.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from msgspec import Struct

from chargeplane.kernel.errors import ConflictError, RuleError, UnavailableError
from chargeplane.store.database import Connection, Database, DatabaseAddress, parse_address
from chargeplane.store.embedded.binaries import Programs, shipped
from chargeplane.store.migrations import MigrationStatus, migration_status
from chargeplane.store.secrets import InstallationKeys

Progress = Callable[[int, int | None], None]
"""Takes how much is done, and of how much where that is known: bytes written by a backup (the whole is not known
before), parts of the database put back by a restore."""

_SKIPPED_IDS: Final = (("transaction_id_seq", 100_000_000), ("ocpp16_transaction_id_seq", 1_000_000))


class StationWithoutKey(Struct, frozen=True, kw_only=True):
    """A station whose stored password cannot be verified: it needs a new one.

    Args:
        tenant: slug.
        station_id: the identity it connects with.
        key_id: of the installation key that is missing.
    """

    tenant: str
    station_id: str
    key_id: str | None


class RestoreReport(Struct, frozen=True, kw_only=True):
    """What a restore brought.

    Args:
        revision: of the schema in the backup; `serve` and `db upgrade` bring it to this release's.
        stations: charging stations restored.
        transactions: transactions restored.
        rekey: stations that need a new password because the installation key is another one.
    """

    revision: str | None
    stations: int
    transactions: int
    rekey: tuple[StationWithoutKey, ...]


class TableSize(Struct, frozen=True, kw_only=True):
    """A table with its partitions.

    Args:
        name: of the table.
        bytes: on disk, indexes included.
        rows: as PostgreSQL estimates.
    """

    name: str
    bytes: int
    rows: int


class DatabaseStatus(Struct, frozen=True, kw_only=True):
    """What an operator wants to know of the database.

    Args:
        address: without password.
        server_version: of PostgreSQL.
        bytes: of the database on disk.
        started_at: when PostgreSQL was started.
        connections: open ones to this database.
        migrations: revision and what is pending.
        tables: the largest, in order.
        rekey: stations whose password the installation key cannot verify; empty where no keys were given.
    """

    address: str
    server_version: str
    bytes: int
    started_at: datetime
    connections: int
    migrations: MigrationStatus
    tables: tuple[TableSize, ...]
    rekey: tuple[StationWithoutKey, ...]


async def backup(
    url: str, target: Path, *, message_log: bool = True, progress: Progress = lambda _done, _of: None
) -> int:
    """Writes the database to one file, which appears under its name when it is complete and on disk.

    Args:
        url: of the database.
        target: file to make; readable by its owner only.
        message_log: whether the log of OCPP messages goes in.
        progress: hears the bytes written, twice a second.
    Returns:
        The file's size in bytes.
    Raises:
        ConflictError: the file exists.
        UnavailableError: the database is away, or pg_dump failed (the sentence has its output).
    """
    if await asyncio.to_thread(target.exists):
        raise ConflictError(f"{target} exists: choose another name for the backup.")
    address = parse_address(url)
    pg_dump = await _program("pg_dump", await _server_major(url))
    partial = target.with_name(target.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise RuleError(f"The backup {target} cannot be written: {error.strerror}.") from error
    arguments = ["--format=custom", "--no-owner", "--no-privileges", "--file", str(partial)]
    if not message_log:
        arguments.append("--exclude-table-data-and-children=message_log")
    try:
        dump = asyncio.create_task(_run(pg_dump, *arguments, "--dbname", _libpq_url(address), address=address))
        while not dump.done():
            await asyncio.wait([dump], timeout=0.5)
            progress(partial.stat().st_size, None)
        dump.result()
        return await asyncio.to_thread(_settle, partial, target)
    finally:
        partial.unlink(missing_ok=True)


async def restore(
    url: str, source: Path, keys: InstallationKeys | None = None, *, progress: Progress = lambda _done, _of: None
) -> RestoreReport:
    """Brings a backup into an empty database, all of it or nothing.

    Args:
        url: of a database without tables.
        source: a file made by `backup`.
        keys: of this installation, to find stations that need a new password.
        progress: hears how many parts of how many are back.
    Raises:
        ConflictError: the database has tables.
        RuleError: the file is no backup.
        UnavailableError: the database is away, or pg_restore failed (the sentence has its output).
    """
    address = parse_address(url)
    if not await asyncio.to_thread(source.is_file):
        raise RuleError(f"There is no backup {source}.")
    database = Database(url, application="chargeplane restore")
    connection = await database.connect_listener()
    try:
        if tables := await connection.fetchval(_COUNT_TABLES):
            raise ConflictError(
                f"The database {address} has {tables} tables: a restore needs an empty one (another data folder, or a "
                f"database made anew), so that nothing is overwritten."
            )
        pg_restore = await _program("pg_restore", connection.get_server_version().major)
        try:
            listing = await _run(pg_restore, "--list", str(source))
        except UnavailableError as error:
            raise RuleError(f"{source} is not a backup made by this program: {error}") from error
        parts = sum(1 for line in listing.splitlines() if line and not line.startswith(";"))
        done = 0

        def heard(line: str) -> None:
            nonlocal done
            if re.match(r"pg_restore: (creating|processing|executing)", line):
                done += 1
                progress(min(done, parts), parts)

        await _run(
            pg_restore,
            *("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--verbose"),
            *("--dbname", _libpq_url(address), str(source)),
            address=address,
            heard=heard,
        )
        progress(parts, parts)
        for sequence, skipped in _SKIPPED_IDS:
            await connection.execute(f"SELECT setval('{sequence}', last_value + {skipped}) FROM {sequence}")  # noqa: S608
        await connection.execute("ANALYZE")
        return RestoreReport(
            revision=await connection.fetchval("SELECT version_num FROM alembic_version"),
            stations=await connection.fetchval("SELECT count(*) FROM charging_station WHERE deleted_at IS NULL"),
            transactions=await connection.fetchval("SELECT count(*) FROM transaction"),
            rekey=await stations_without_key(connection, keys) if keys else (),
        )
    finally:
        await connection.close()
        await database.close()


async def database_status(url: str, keys: InstallationKeys | None = None) -> DatabaseStatus:
    """How the database does.

    Raises:
        UnavailableError: it is away.
    """
    migrations = await migration_status(url)
    database = Database(url, application="chargeplane status")
    connection = await database.connect_listener()
    try:
        row = await connection.fetchrow(
            "SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes, "
            "pg_postmaster_start_time() AS started_at, "
            "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections"
        )
        assert row is not None  # it reads no table
        tables = await connection.fetch(_TABLE_SIZES)
        made = migrations.current is not None
        return DatabaseStatus(
            address=str(database.address),
            server_version=row["version"],
            bytes=row["bytes"],
            started_at=row["started_at"],
            connections=row["connections"],
            migrations=migrations,
            tables=tuple(TableSize(name=t["name"], bytes=t["bytes"], rows=t["rows"]) for t in tables),
            rekey=await stations_without_key(connection, keys) if keys and made else (),
        )
    finally:
        await connection.close()
        await database.close()


async def stations_without_key(connection: Connection, keys: InstallationKeys) -> tuple[StationWithoutKey, ...]:
    """Stations whose password was hashed with a key that is not among `keys`: they need a new one."""
    rows = await connection.fetch(
        "SELECT tenant.slug, station_id, password_key_id FROM charging_station JOIN tenant ON tenant.id = tenant_id "
        "WHERE deleted_at IS NULL AND password_hash IS NOT NULL AND password_key_id <> ALL($1) "
        "ORDER BY tenant.slug, station_id",
        list(keys.ids),
    )
    return tuple(
        StationWithoutKey(tenant=row["slug"], station_id=row["station_id"], key_id=row["password_key_id"])
        for row in rows
    )


_COUNT_TABLES: Final = """
    SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""

_TABLE_SIZES: Final = """
    SELECT coalesce(inhparent, oid)::regclass::text AS name, sum(pg_total_relation_size(oid))::bigint AS bytes,
           sum(greatest(reltuples, 0))::bigint AS rows
    FROM pg_class LEFT JOIN pg_inherits ON inhrelid = oid
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    GROUP BY 1 ORDER BY bytes DESC, name LIMIT 20
"""


async def _server_major(url: str) -> int:
    database = Database(url)
    connection = await database.connect_listener()
    try:
        return int(connection.get_server_version().major)
    finally:
        await connection.close()
        await database.close()


async def _program(name: str, server_major: int) -> str:
    """A pg_dump or pg_restore that is not older than the server: of the wheel, else on the PATH."""
    newest: Programs | None = None
    with contextlib.suppress(UnavailableError):
        newest = await asyncio.to_thread(lambda: shipped()[0])
    if newest is not None and newest.major >= server_major:
        return newest.path(name)
    found = shutil.which(name)
    if found is not None:
        version = re.search(r"\(PostgreSQL\) (\d+)", await _run(found, "--version"))
        if version and int(version[1]) >= server_major:
            return found
    raise UnavailableError(
        f"The server runs PostgreSQL {server_major}, and there is no {name} of that version: install "
        f"postgresql-client-{server_major}."
    )


async def _run(
    program: str,
    *arguments: str,
    address: DatabaseAddress | None = None,
    heard: Callable[[str], None] = lambda _line: None,
) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))} | {"LC_ALL": "C"}
    if address is not None and address.password is not None:
        environment["PGPASSWORD"] = address.password  # a command line is public
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    lines: list[str] = []
    assert process.stdout is not None
    try:
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            lines.append(line)
            heard(line)
        status = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if status != 0:
        end = "\n".join(lines[-12:])
        raise UnavailableError(f"{Path(program).name} failed (status {status}):\n{end}")
    return "\n".join(lines)


def _libpq_url(address: DatabaseAddress) -> str:
    query = urlencode({**address.options, "host": address.host, "port": str(address.port)}, quote_via=quote)
    return f"postgresql://{quote(address.user, safe='')}@/{quote(address.database, safe='')}?{query}"


def _settle(partial: Path, target: Path) -> int:
    """Renames a finished file once it is on disk, never over one that exists; returns its size."""
    fd = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    try:
        os.link(partial, target)
    except FileExistsError:
        raise ConflictError(f"{target} exists: choose another name for the backup.") from None
    except OSError:
        partial.replace(target)  # no hard links here
    else:
        partial.unlink()
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return target.stat().st_size
