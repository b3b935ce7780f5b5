"""A data folder of an older PostgreSQL is upgraded before the server starts, and a newer one is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import asyncpg
import pytest

from chargeplane.kernel.errors import RuleError
from chargeplane.store.embedded import Cluster, EmbeddedPostgres
from chargeplane.store.embedded.binaries import MAJOR, shipped

OLDER = next((programs.major for programs in shipped() if programs.major < MAJOR), None)


@pytest.mark.skipif(OLDER is None, reason="the wheel ships one version")
@pytest.mark.parametrize("killed", [False, True], ids=["stopped in order", "killed"])
async def test_older_cluster_is_upgraded_with_its_data(data_dir: Path, killed: bool) -> None:
    assert OLDER is not None
    old = Cluster(data_dir, major=OLDER, settings={"fsync": "off"})
    pid = old.start()
    connection = await asyncpg.connect(old.url("postgres"))
    await connection.execute("CREATE DATABASE chargeplane")
    await connection.close()
    connection = await asyncpg.connect(old.url())
    await connection.execute("CREATE TABLE kept AS SELECT g AS n, repeat('ä', g) AS v FROM generate_series(1, 1000) g")
    await connection.execute("CREATE UNIQUE INDEX ON kept (v)")
    await connection.close()
    if killed:
        os.kill(pid, signal.SIGKILL)
        old.wait_gone(pid)
    else:
        old.stop()
    old.unlock()

    told: list[str] = []
    postgres = EmbeddedPostgres(data_dir, progress=told.append)
    url = await postgres.start()
    connection = await asyncpg.connect(url)
    assert (await connection.fetchval("SHOW server_version")).startswith(f"{MAJOR}.")
    assert await connection.fetchval("SELECT sum(n) FROM kept") == 500500
    assert await connection.fetchval("SELECT n FROM kept WHERE v = $1", "ä" * 77) == 77
    await connection.close()
    await postgres.stop()
    assert f"Upgrading the database from PostgreSQL {OLDER} to {MAJOR}." in told
    assert any("not stopped in order" in sentence for sentence in told) is killed
    assert (data_dir / "postgres" / f"{OLDER}.before-{MAJOR}" / "PG_VERSION").exists()

    told.clear()
    await postgres.start()
    await postgres.stop()
    assert not any("Upgrading" in sentence for sentence in told)


def test_cluster_of_a_newer_version_is_refused_untouched(data_dir: Path) -> None:
    newer = data_dir / "postgres" / "99"
    newer.mkdir(parents=True)
    (newer / "PG_VERSION").write_text("99\n")
    cluster = Cluster(data_dir)
    with pytest.raises(RuleError, match="PostgreSQL 99, newer than"):
        cluster.start()
    cluster.unlock()
    assert not cluster.folder.exists()


def test_initdb_that_was_killed_half_way_is_made_again(data_dir: Path) -> None:
    half = data_dir / "postgres" / f"{MAJOR}.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text(f"{MAJOR}\n")
    cluster = Cluster(data_dir)
    (data_dir / "postgres" / "password").write_text("left-by-the-killed-one\n")
    os.chmod(data_dir / "postgres" / "password", 0o600)
    if os.geteuid() == 0:
        # As the killed start left it: owned by PostgreSQL's account.
        from chargeplane.store.embedded.account import account_for

        account = account_for(data_dir / "none")
        for path in (data_dir / "postgres", half, half / "PG_VERSION", data_dir / "postgres" / "password"):
            os.chown(path, account.uid, account.gid)
    cluster.start()
    assert cluster.password() == "left-by-the-killed-one"
    cluster.stop()
    cluster.unlock()
