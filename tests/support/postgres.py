"""One PostgreSQL cluster a test run, shared by all xdist workers, and a fresh database for each test that asks.

The first worker that needs a database starts the cluster and migrates a template, under a file lock; every database
is a copy of the template (some 30 ms). The controller stops it at the end. The cluster trades durability for speed;
tests about durability start an EmbeddedPostgres of their own, in a folder from `make_data_dir`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import psutil

from chargeplane.store.embedded import Cluster
from chargeplane.store.migrations import upgrade_database

RUN_VARIABLE = "CHARGEPLANE_TEST_RUN"
LEAKS = os.environ.get("CHARGEPLANE_TEST_LEAKS", "")
"""A file to which tests are written that leave connections open."""
PREFIX = "chargeplane-test-"
TEMPLATE = "template_migrated"
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "min_wal_size": "80MB",
    "max_wal_size": "1GB",
    "max_connections": "400",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "file_copy_method": "clone",
}
_T = TypeVar("_T")


def make_data_dir() -> Path:
    """A new data folder that PostgreSQL's account can reach, also where the tests run as root (pytest's own temporary
    folders are closed to others). The caller removes it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
    folder.chmod(0o711)
    return folder


def begin_run() -> None:
    """In the controller: names the run's folder for all workers, and clears away what killed runs left."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
    folder.chmod(0o711)
    os.environ[RUN_VARIABLE] = str(folder)


def end_run() -> None:
    """In the controller: stops the cluster and removes the run's folder."""
    folder = os.environ.pop(RUN_VARIABLE, None)
    if folder:
        remove_data_dir(Path(folder))


def remove_data_dir(folder: Path) -> None:
    """Stops what runs in a data folder and removes it."""
    for home in folder.glob("postgres/[0-9]*"):
        with contextlib.suppress(Exception):
            Cluster(folder, major=int(home.name)).stop()
    link = folder / "postgres" / "run-elsewhere"
    with contextlib.suppress(OSError):
        shutil.rmtree(link.readlink(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Removes folders of runs whose process is gone."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        with contextlib.suppress(OSError, ValueError):
            if folder.stat().st_uid == os.geteuid() and not psutil.pid_exists(int(pid)):
                remove_data_dir(folder)


class TestServer:
    """The run's cluster, as one worker sees it."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster(folder, settings=FAST)
        self._count = 0
        self._dropper: Any = None
        self._dropping = asyncio.Lock()
        self._ender: Any = None
        self._ending = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-postgres", daemon=True)
        self._thread.start()
        with (folder / "setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._cluster.running() is None:
                self._cluster.start()
                self._cluster.unlock()
                self._run(self._make_template())
        self._admin = self._run(asyncpg.connect(self._cluster.url("postgres")))

    async def _make_template(self) -> None:
        admin = await asyncpg.connect(self._cluster.url("postgres"))
        await admin.execute(f"CREATE DATABASE {TEMPLATE}")
        await upgrade_database(self._cluster.url(TEMPLATE))
        await admin.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true ALLOW_CONNECTIONS false")
        await admin.close()

    def _run(self, work: Awaitable[_T]) -> _T:
        # A thread of its own: fixtures are used by tests with and without a running event loop.
        return asyncio.run_coroutine_threadsafe(_await(work), self._loop).result()

    @contextlib.contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """The URL of a fresh migrated database, dropped afterwards."""
        self._count += 1
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        name = f"test_{worker}_{os.getpid()}_{self._count}"
        self._run(self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
        try:
            yield self._cluster.url(name)
        finally:
            if LEAKS:
                self._run(self._told(name))
            # PostgreSQL waits until every backend of the cluster has heard of a drop; one in the middle of a COPY hears nothing, and a
            # COPY of a module's server stands still while its loop does. So nobody waits for it, and what is left goes with the cluster.
            asyncio.run_coroutine_threadsafe(self._drop(name), self._loop)

    async def _told(self, name: str) -> None:
        """Writes down who left connections open: by then whoever had the database is done with it."""
        left: list[str] = []
        for _ in range(20):  # a backend goes a moment after its client has
            rows = await self._admin.fetch("SELECT application_name FROM pg_stat_activity WHERE datname = $1", name)
            left = sorted(row["application_name"] or "unnamed" for row in rows)
            if not left:
                return
            await asyncio.sleep(0.05)
        with Path(LEAKS).open("a") as file:
            file.write(f"{os.environ.get('PYTEST_CURRENT_TEST', '?')}: {len(left)} left open: {', '.join(left)}\n")

    async def _drop(self, name: str) -> None:
        # What a test left open is ended at once, whatever the drop waits for: else the connections of a whole run pile up.
        async with self._ending:
            if self._ender is None or self._ender.is_closed():
                self._ender = await asyncpg.connect(self._cluster.url("postgres"))
            await self._ender.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        async with self._dropping:
            if self._dropper is None or self._dropper.is_closed():
                self._dropper = await asyncpg.connect(self._cluster.url("postgres"))
            await self._dropper.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _let_go(self) -> None:
        """What is not dropped by now goes with the cluster."""
        for connection in (self._dropper, self._ender):
            if connection is not None:
                connection.terminate()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=1)

    def close(self) -> None:
        """Ends this worker's connection and thread; the cluster goes on."""
        self._run(self._admin.close())
        self._run(self._let_go())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _await(work: Awaitable[_T]) -> _T:
    return await work
