"""The embedded PostgreSQL: durable, alone on its folder, and back after whatever happened to it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from chargeplane.kernel.errors import ConflictError
from chargeplane.store.embedded import Cluster, EmbeddedPostgres, embedded_postgres
from chargeplane.store.embedded.account import account_for

_CHILD = """
import asyncio, sys
from pathlib import Path
from chargeplane.store.embedded import EmbeddedPostgres

async def main():
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    await postgres.start()
    print(postgres.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def _query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def _restarted(postgres: EmbeddedPostgres) -> asyncio.Event:
    event = asyncio.Event()
    postgres.on_restart(event.set)
    return event


async def test_what_durability_rests_on_is_on(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    url = await postgres.start()
    for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
        assert await _query(url, f"SHOW {name}") == "on"
    assert await _query(url, "SHOW listen_addresses") == ""
    assert await _query(url, "SHOW jit") == "off"
    assert await _query(url, "SHOW checkpoint_timeout") == "15min"
    assert await _query(url, "SHOW server_encoding") == "UTF8"
    await postgres.stop()
    assert postgres.cluster.running() is None


async def test_only_the_password_opens_the_socket_and_only_its_owner_reads_either(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    url = await postgres.start()
    home = data_dir / "postgres"
    assert (home / "password").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "run").stat().st_mode & 0o777 == 0o700
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url.replace(postgres.cluster.password(), "wrong"))
    await postgres.stop()


async def test_killed_postmaster_is_started_again_with_what_was_committed(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    url = await postgres.start()
    await _query(url, "CREATE TABLE t AS SELECT 7 AS v")
    restarted = await _restarted(postgres)
    first = postgres.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await asyncio.wait_for(restarted.wait(), 30)
    assert postgres.pid not in (first, None)
    assert await _query(url, "SELECT v FROM t") == 7
    await postgres.stop()


async def test_postmaster_stopped_by_somebody_else_is_started_again(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    url = await postgres.start()
    restarted = await _restarted(postgres)
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGINT)
    await asyncio.wait_for(restarted.wait(), 30)
    assert await _query(url, "SELECT 1") == 1
    await postgres.stop()


async def test_postmaster_dying_with_a_busy_backend_is_started_again(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir)
    url = await postgres.start()
    restarted = await _restarted(postgres)
    busy = await asyncpg.connect(url)
    # An endless computation: the backend does not look up to see that its postmaster is gone.
    query = asyncio.ensure_future(busy.fetch("SELECT count(*) FROM generate_series(1, 1000000000000)"))
    while await _query(url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series(1%'") == 1:
        await asyncio.sleep(0)
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    await asyncio.wait_for(restarted.wait(), 30)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await query
    assert await _query(url, "SELECT 1") == 1
    await postgres.stop()


async def test_what_a_killed_server_left_running_is_adopted(data_dir: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _CHILD,
        str(data_dir),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # it is perhaps not installed
    )
    assert server.stdout is not None
    left = int(await server.stdout.readline())
    server.kill()
    await server.wait()

    told: list[str] = []
    postgres = EmbeddedPostgres(data_dir, progress=told.append)
    url = await postgres.start()
    assert postgres.pid == left
    assert told == [f"Taking over the running PostgreSQL (pid {left})."]
    # Adopted, it is watched like our own.
    restarted = await _restarted(postgres)
    os.kill(left, signal.SIGKILL)
    await asyncio.wait_for(restarted.wait(), 30)
    assert await _query(url, "SELECT 1") == 1
    await postgres.stop()


async def test_running_server_with_other_settings_is_stopped_and_started(data_dir: Path) -> None:
    left = Cluster(data_dir, settings={"work_mem": "4MB"})
    left.start()
    left.unlock()
    before = left.running()
    postgres = EmbeddedPostgres(data_dir, settings={"work_mem": "5MB"})
    url = await postgres.start()
    assert before is not None
    assert postgres.pid != before.pid
    assert await _query(url, "SHOW work_mem") == "5MB"
    await postgres.stop()


async def test_second_server_on_a_data_folder_is_refused_and_told_who_has_it(data_dir: Path) -> None:
    first, second = EmbeddedPostgres(data_dir), EmbeddedPostgres(data_dir)
    url = await first.start()
    with pytest.raises(ConflictError, match=rf"pid {os.getpid()}\).*{data_dir}"):
        await second.start()
    assert await _query(url, "SELECT 1") == 1
    await first.stop()
    await second.start()
    await second.stop()


def _recovery_that_waits(data_dir: Path) -> tuple[dict[str, str], Path]:
    """A cluster whose next start recovers until a file appears; settings to start it with, and the file."""
    go = data_dir / "go"
    settings = {"restore_command": f"while [ ! -e {go} ]; do sleep 0.05; done; false"}
    cluster = Cluster(data_dir, settings=settings)
    pid = cluster.start()
    os.kill(pid, signal.SIGKILL)
    cluster.wait_gone(pid)
    cluster.unlock()
    (cluster.folder / "recovery.signal").touch()
    return settings, go


async def test_recovery_is_waited_for_and_told_each_second(data_dir: Path) -> None:
    settings, go = _recovery_that_waits(data_dir)
    postgres = EmbeddedPostgres(data_dir, settings=settings)
    told: list[str] = []

    def hear(sentence: str) -> None:
        told.append(sentence)
        if "2 s so far" in sentence:
            go.touch()

    url = await asyncio.wait_for(postgres.start(hear), 60)
    assert any(s.startswith("PostgreSQL is starting (") and s.endswith("1 s so far.") for s in told)
    assert await _query(url, "SELECT pg_is_in_recovery()") is False
    await postgres.stop()


async def test_start_given_up_during_recovery_leaves_it_to_the_next(data_dir: Path) -> None:
    settings, go = _recovery_that_waits(data_dir)
    given_up = EmbeddedPostgres(data_dir, settings=settings)
    recovering = asyncio.Event()
    starting = asyncio.create_task(given_up.start(lambda sentence: recovering.set() if "so far" in sentence else None))
    await asyncio.wait_for(recovering.wait(), 30)
    running = given_up.cluster.running()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    go.touch()
    postgres = EmbeddedPostgres(data_dir, settings=settings)
    await postgres.start()
    assert running is not None
    assert postgres.pid == running.pid
    await postgres.stop()


async def test_pid_file_that_names_a_foreign_process_does_not_stop_the_start(data_dir: Path) -> None:
    cluster = Cluster(data_dir)
    pid = cluster.start()
    text = (cluster.folder / "postmaster.pid").read_text()
    os.kill(pid, signal.SIGKILL)
    cluster.wait_gone(pid)
    cluster.unlock()
    # As after a restart of a container: the number belongs to somebody else now.
    (cluster.folder / "postmaster.pid").write_text(text.replace(str(pid), str(os.getppid()), 1))
    postgres = EmbeddedPostgres(data_dir)
    url = await postgres.start()
    assert await _query(url, "SELECT 1") == 1
    await postgres.stop()


async def test_socket_lock_that_names_a_living_process_does_not_stop_the_start(data_dir: Path) -> None:
    cluster = Cluster(data_dir)
    pid = cluster.start()
    running = cluster.running()
    assert running is not None
    lock = Path(running.socket_dir) / ".s.PGSQL.5432.lock"
    text = lock.read_text()
    os.kill(pid, signal.SIGKILL)
    cluster.wait_gone(pid)
    cluster.unlock()
    # As where nobody has collected the dead postmaster yet, or its number belongs to another process of the account.
    account = account_for(cluster.home)
    with subprocess.Popen(["sleep", "60"], **account.popen_arguments()) as other:
        lock.write_text(text.replace(str(pid), str(other.pid), 1))
        postgres = EmbeddedPostgres(data_dir)
        try:
            url = await postgres.start()
            assert await _query(url, "SELECT 1") == 1
            await postgres.stop()
        finally:
            other.kill()


async def test_deep_data_folder_gets_a_short_private_socket_folder(data_dir: Path) -> None:
    deep = data_dir
    for _ in range(4):
        deep = deep / ("d" * 30)
        deep.mkdir()
        deep.chmod(0o711)
    postgres = EmbeddedPostgres(deep)
    url = await postgres.start()
    assert await _query(url, "SELECT 1") == 1
    running = postgres.cluster.running()
    assert running is not None
    assert not running.socket_dir.startswith(str(data_dir))
    assert Path(running.socket_dir).stat().st_mode & 0o777 == 0o700
    await postgres.stop()
    # The same folder again, or a new one where it was cleared away.
    Path(running.socket_dir).rmdir()
    url = await postgres.start()
    assert await _query(url, "SELECT 1") == 1
    again = postgres.cluster.running()
    assert again is not None
    assert again.socket_dir != running.socket_dir
    await postgres.stop()
    Path(again.socket_dir).rmdir()


def test_command_line_uses_the_running_server_or_one_of_its_own(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as url:
        assert asyncio.run(_query(url, "SELECT 1")) == 1
        with embedded_postgres(data_dir) as same:
            assert same == url
        assert asyncio.run(_query(url, "SELECT 1")) == 1
    assert Cluster(data_dir).running() is None


def test_ctrl_c_at_the_terminal_does_not_reach_postgresql(data_dir: Path) -> None:
    cluster = Cluster(data_dir)
    pid = cluster.start()
    assert os.getsid(pid) == pid
    cluster.stop()
    cluster.unlock()


async def test_start_that_fails_after_a_death_is_tried_again(data_dir: Path) -> None:
    told: list[str] = []
    postgres = EmbeddedPostgres(data_dir, progress=told.append)
    url = await postgres.start()
    restarted = await _restarted(postgres)
    configuration = postgres.cluster.folder / "postgresql.conf"
    text = configuration.read_text()
    configuration.write_text("nonsense\n")
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while not any("could not be started" in sentence for sentence in told):
            await asyncio.sleep(0.01)
    assert any("postgresql.conf" in sentence for sentence in told)  # the end of its log says why
    configuration.write_text(text)
    await asyncio.wait_for(restarted.wait(), 30)
    assert await _query(url, "SELECT 1") == 1
    await postgres.stop()
