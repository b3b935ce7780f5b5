"""The embedded PostgreSQL as the server's main sees it: start, stay alive, stop, without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import asyncpg

from chargeplane.store.embedded.cluster import Cluster, Progress, silent
from chargeplane.store.embedded.settings import DATABASE

_FIRST_BACKOFF_S: Final = 0.1
_LAST_BACKOFF_S: Final = 30.0
_WATCH_S: Final = 1.0
_PRUNE_S: Final = 3600.0


class EmbeddedPostgres:
    """PostgreSQL in a data folder, supervised: started or adopted, restarted when it dies, stopped in order.

    Args:
        data_dir: Chargeplane's data folder.
        user: account PostgreSQL runs as when we are root.
        settings: overrides of server settings.
        progress: hears what happens, in sentences, in the event loop's thread (log it).
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        user: str | None = None,
        settings: Mapping[str, str] | None = None,
        progress: Progress = silent,
    ) -> None:
        self.cluster = Cluster(data_dir, user=user, settings=settings)
        self.pid: int | None = None
        """Of the postmaster; None while there is none."""
        self._progress = progress
        self._on_restart: list[Callable[[], None]] = []
        self._watcher: asyncio.Task[None] | None = None

    async def start(self, progress: Progress | None = None) -> str:
        """Makes, upgrades, adopts or starts PostgreSQL and waits until it takes connections, recovery included.

        Args:
            progress: takes the place of the one given to the constructor.
        Returns:
            The URL of the database, which exists then (it has the password; keep it out of logs).
        Raises:
            ConflictError, RuleError, UnavailableError: see Cluster.start.
        """
        if progress is not None:
            self._progress = progress
        try:
            await self._start_cluster()
            url = self.cluster.url()
            await ensure_database(self.cluster)
        except BaseException:
            self.cluster.unlock()
            raise
        self._watcher = asyncio.create_task(self._watch(), name="embedded-postgres")
        return url

    async def stop(self) -> None:
        """Fast shutdown; returns when everything is on disk and PostgreSQL has ended."""
        if self._watcher is not None:
            self.cluster.interrupt.set()
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        await asyncio.to_thread(self.cluster.stop, self._tell())
        self.pid = None
        self.cluster.unlock()

    def on_restart(self, callback: Callable[[], None]) -> None:
        """Calls back, in the event loop, each time PostgreSQL died and takes connections again."""
        self._on_restart.append(callback)

    async def _start_cluster(self) -> None:
        self.cluster.interrupt.clear()
        work = asyncio.create_task(asyncio.to_thread(self.cluster.start, self._tell()))
        try:
            self.pid = await asyncio.shield(work)
        except asyncio.CancelledError:
            self.cluster.interrupt.set()  # the thread sees it within milliseconds
            with contextlib.suppress(Exception):
                await work
            raise

    def _tell(self) -> Progress:
        loop = asyncio.get_running_loop()
        progress = self._progress

        def tell(sentence: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(progress, sentence)

        return tell

    async def _watch(self) -> None:
        backoff = _FIRST_BACKOFF_S
        while True:
            up_since = time.monotonic()
            await self._death()
            self.pid = None
            if time.monotonic() - up_since > 2 * _LAST_BACKOFF_S:
                backoff = _FIRST_BACKOFF_S
            self._progress("PostgreSQL has died; starting it again.")
            while True:
                try:
                    await self._start_cluster()
                    break
                except Exception as error:  # also a full disk or a folder taken away: the watch must not end for it
                    self._progress(f"PostgreSQL could not be started: {error} Next attempt in {backoff:.1f} s.")
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LAST_BACKOFF_S)
            self._progress(f"PostgreSQL runs again (pid {self.pid}).")
            for callback in self._on_restart:
                try:
                    callback()
                except Exception as error:
                    self._progress(f"A listener to PostgreSQL's restart failed: {error}")

    async def _death(self) -> None:
        """Returns when the postmaster has ended; at once where the system tells, else within a second."""
        pid = self.pid
        assert pid is not None
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        with _exit_descriptor(pid) as descriptor:
            if descriptor is not None:
                loop.add_reader(descriptor, gone.set)
            try:
                prune_at = time.monotonic() + _PRUNE_S
                while await asyncio.to_thread(self.cluster.alive, pid):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_WATCH_S if descriptor is None else _PRUNE_S):
                            await gone.wait()
                    if time.monotonic() > prune_at:
                        prune_at += _PRUNE_S
                        await asyncio.to_thread(self.cluster.prune_logs)
            finally:
                if descriptor is not None:
                    loop.remove_reader(descriptor)


@contextlib.contextmanager
def _exit_descriptor(pid: int) -> Iterator[int | None]:
    """A descriptor that turns readable when the process ends (Linux), or None."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def ensure_database(cluster: Cluster, database: str = DATABASE) -> None:
    """Makes the database where the cluster has none of that name."""
    connection = await asyncpg.connect(cluster.url("postgres"))
    try:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database) is None:
            await connection.execute(f'CREATE DATABASE "{database}"')
    finally:
        await connection.close()


@contextlib.contextmanager
def embedded_postgres(
    data_dir: Path, *, user: str | None = None, settings: Mapping[str, str] | None = None, progress: Progress = silent
) -> Iterator[str]:
    """The database's URL for a command line tool: of the server that runs on the data folder, or of a PostgreSQL
    started for the time of the `with` block. Blocking; not inside an event loop.

    Raises:
        ConflictError, RuleError, UnavailableError: see Cluster.start.
    """
    cluster = Cluster(data_dir, user=user, settings=settings)
    if cluster.owner() is not None and cluster.running() is not None:
        yield cluster.url()
        return
    cluster.start(progress)
    try:
        asyncio.run(ensure_database(cluster))
        yield cluster.url()
    finally:
        cluster.stop(progress)
        cluster.unlock()
