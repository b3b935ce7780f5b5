"""Connections: clear errors, JSON as bytes, and availability that tells the truth."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import asyncpg
import pytest
import uvloop
from sqlalchemy import text

from chargeplane.kernel.errors import InvalidInputError, UnavailableError
from chargeplane.store.database import Database, is_unavailable, parse_address
from chargeplane.store.embedded import EmbeddedPostgres


def test_address_is_read_from_all_parts_of_a_url() -> None:
    address = parse_address("postgres://me:p%40ss@db.example:6432/charge?sslmode=require")
    assert (address.host, address.port, address.user, address.password, address.database) == (
        "db.example",
        6432,
        "me",
        "p@ss",
        "charge",
    )
    assert address.asyncpg_arguments()["ssl"] == "require"
    assert "p@ss" not in str(address)


def test_address_of_a_socket_folder_is_in_the_query() -> None:
    address = parse_address("postgresql+asyncpg://me@/charge?host=/run/pg&port=5433")
    assert (address.host, address.port, address.password) == ("/run/pg", 5433, None)


@pytest.mark.parametrize(
    "url", ["mysql://u@h/d", "postgresql://h/d", "postgresql://u@h", "postgresql://u@h:port/d", "nothing"]
)
def test_what_is_no_database_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_address(url)


async def test_json_goes_in_and_comes_out_as_bytes_also_by_copy(database_url: str) -> None:
    database = Database(database_url)
    writer = await database.connect_writer()
    await writer.execute("CREATE TABLE j (a json, b jsonb)")
    await writer.execute("INSERT INTO j VALUES ($1, $2)", b'{"x": 1}', b'{"x": 2}')
    await writer.copy_records_to_table("j", records=[(b"[3]", b"[4]")])
    async with database.read() as reader:
        rows = await reader.fetch("SELECT a, b FROM j")
    assert [tuple(row) for row in rows] == [(b'{"x": 1}', b'{"x": 2}'), (b"[3]", b"[4]")]
    await writer.close()
    await database.close()


async def test_each_kind_of_connection_has_its_settings(database_url: str) -> None:
    database = Database(database_url)
    writer, log = await database.connect_writer(), await database.connect_log()
    assert await writer.fetchval("SHOW synchronous_commit") == "on"
    assert await log.fetchval("SHOW synchronous_commit") == "off"
    assert await writer.fetchval("SHOW application_name") == "chargeplane commit"
    async with database.read() as reader:
        assert await reader.fetchval("SHOW statement_timeout") == "15s"
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await reader.execute("DELETE FROM tenant")
    async with database.engine.begin() as connection:
        assert (await connection.execute(text("SELECT slug FROM tenant"))).scalar_one() == "default"
    await writer.close()
    await log.close()
    await database.close()


async def test_read_that_takes_too_long_is_unavailable_and_the_pool_goes_on(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(UnavailableError, match="took longer"):
        async with database.read() as reader:
            await reader.execute("SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(30)")
    async with database.read() as reader:
        assert await reader.fetchval("SELECT 1") == 1
    await database.close()


async def test_absent_server_wrong_password_and_absent_database_are_told_apart(
    database_url: str, tmp_path: Path
) -> None:
    address = parse_address(database_url)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await Database(f"postgresql://u:p@/d?host={tmp_path}").connect_writer()
    with pytest.raises(UnavailableError, match="nothing listens there"):
        await Database("postgresql://u:p@127.0.0.1:1/d").connect_writer()
    with pytest.raises(InvalidInputError, match="refused the login"):
        await Database(database_url.replace(str(address.password), "wrong")).connect_writer()
    with pytest.raises(InvalidInputError, match="no such database"):
        await Database(database_url.replace(f"/{address.database}?", "/absent?")).connect_writer()


async def test_refused_work_is_not_taken_for_an_absent_database(database_url: str) -> None:
    database = Database(database_url)
    writer = await database.connect_writer()
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await writer.execute("INSERT INTO tenant (id, slug, name) VALUES (1, 'x', 'x')")
    assert not is_unavailable(refused.value)
    await writer.close()
    with pytest.raises(asyncpg.InterfaceError) as closed:
        await writer.execute("SELECT 1")
    assert is_unavailable(closed.value)
    await database.close()


async def test_dismissal_between_login_and_first_question_is_an_absent_database() -> None:
    dismissed = 0
    writers: list[asyncio.StreamWriter] = []

    async def dismiss(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes any login and says goodbye, as a server that shuts down just then."""
        nonlocal dismissed
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
            dismissed += 1
            gone = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
            writer.write(
                b"R\0\0\0\x08\0\0\0\0"
                + b"S\0\0\0\x18server_version\x0018.0\0"
                + b"Z\0\0\0\x05I"
                + (b"E" + (len(gone) + 4).to_bytes(4) + gone)
            )

    door = await asyncio.start_server(dismiss, "127.0.0.1", 0)
    port = door.sockets[0].getsockname()[1]
    database = Database(f"postgresql://me@127.0.0.1:{port}/charge?sslmode=disable")
    try:
        with pytest.raises(UnavailableError):
            async with database.read() as reader:
                await reader.fetchval("SELECT 1")
        assert not database.available
        database.monitor()
        async with asyncio.timeout(30):
            while dismissed < 5:  # it goes on asking
                await asyncio.sleep(0.01)
        assert not database.available
    finally:
        door.close()
        for writer in writers:
            writer.close()
        await database.close()


def test_availability_follows_the_server_under_uvloop(data_dir: Path) -> None:
    async def main() -> None:
        postgres = EmbeddedPostgres(data_dir)
        database = Database(await postgres.start())
        changes: asyncio.Queue[bool] = asyncio.Queue()
        database.on_availability(changes.put_nowait)
        assert not database.available
        database.monitor()
        await asyncio.wait_for(database.wait_available(), 30)
        assert await changes.get() is True
        async with database.read() as reader:
            assert await reader.fetchval("SELECT 1") == 1
        assert postgres.pid is not None

        os.kill(postgres.pid, signal.SIGKILL)
        assert await asyncio.wait_for(changes.get(), 30) is False
        await asyncio.wait_for(database.wait_available(), 30)
        assert await changes.get() is True
        # The pool's connections died with the server; new ones take their place.
        async with database.read() as reader:
            assert await reader.fetchval("SELECT 1") == 1

        await postgres.stop()
        assert await asyncio.wait_for(changes.get(), 30) is False
        with pytest.raises(UnavailableError, match="cannot be reached"):
            async with database.read() as reader:
                await reader.fetchval("SELECT 1")
        await database.close()

    uvloop.run(main())
