"""Several server processes on one machine: `serve --workers N`.

The parent holds what they share (the embedded PostgreSQL, the embedded NATS) and no stations; each worker is a whole
server, and the kernel spreads new connections over their sockets (SO_REUSEPORT). A worker that dies is started again;
its stations reconnect to the others meanwhile. A worker gets its configuration through its standard input and stops
when that closes, so no worker outlives a killed parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.edges.bus import EmbeddedNats
from chargeplane.main.config import Config
from chargeplane.main.logging import configure_logging
from chargeplane.main.wiring import Places, serve
from chargeplane.store.embedded import Cluster, EmbeddedPostgres
from chargeplane.store.migrations import upgrade_database

log = structlog.get_logger(__name__)

_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 30.0
_STEADY_S: Final = 60.0
_CONNECTIONS_PER_WORKER: Final = 30


class _Job(Struct, frozen=True, kw_only=True):
    """What a worker is told."""

    worker: int
    config: Config


class Workers:
    """The parent of the worker processes.

    Args:
        config: of the installation.
        ready: told once, when all workers take stations.
    """

    def __init__(self, config: Config, ready: Callable[[Places], None]) -> None:
        self._config = config
        self._ready = ready
        self._stopping = asyncio.Event()
        self._first_key: str | None = None
        self._pids: dict[int, int] = {}

    @property
    def pids(self) -> dict[int, int]:
        """Process id by number of the worker, of those that run."""
        return dict(self._pids)

    def stop(self) -> None:
        """Has `run` end."""
        self._stopping.set()

    async def run(self) -> int:
        """Runs all until `stop`; the exit code.

        Raises:
            ChargeplaneError: PostgreSQL or NATS cannot be started.
        """
        config = self._config
        async with contextlib.AsyncExitStack() as stack:
            url = config.database_url
            if url is None:
                postgres = EmbeddedPostgres(
                    config.data_path,
                    progress=self._say,
                    settings={"max_connections": str(30 + _CONNECTIONS_PER_WORKER * config.workers)},
                )
                url = await postgres.start()
                stack.push_async_callback(postgres.stop)
            else:
                folder = Cluster(config.data_path)
                folder.lock()
                stack.callback(folder.unlock)
            await upgrade_database(url, self._say)
            nats_url = config.nats_url
            if nats_url is None:
                nats = EmbeddedNats(config.data_path, progress=self._say)
                nats_url = await nats.start()
                stack.push_async_callback(nats.stop)
            config = replace(
                config,
                database_url=url,
                nats_url=nats_url,
                http_port=config.http_port or _free_port(config.bind),
                ocpp_port=config.ocpp_port or _free_port(config.bind),
                ocpps_port=config.ocpps_port or _free_port(config.bind),
            )
            started: list[asyncio.Future[Places]] = []
            tasks = []
            for worker in range(config.workers):
                first: asyncio.Future[Places] = asyncio.get_running_loop().create_future()
                started.append(first)
                tasks.append(asyncio.create_task(self._keep(_Job(worker=worker, config=config), first)))
            announcing = asyncio.create_task(self._announce(started))
            await self._stopping.wait()
            announcing.cancel()
            log.info("stopping")
            await asyncio.gather(*tasks, return_exceptions=True)
        log.info("stopped")
        return 0

    def _say(self, sentence: str) -> None:
        log.info("stopping" if self._stopping.is_set() else "starting", doing=sentence)

    async def _announce(self, started: list[asyncio.Future[Places]]) -> None:
        places = await asyncio.gather(*started)
        key = next((place.first_key for place in places if place.first_key), None)
        self._ready(replace(places[0], first_key=key))

    async def _keep(self, job: _Job, first: asyncio.Future[Places]) -> None:
        backoff = _FIRST_BACKOFF_S
        while not self._stopping.is_set():
            begun = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "chargeplane.main.workers",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # signals of the terminal reach the parent alone, which passes them on
            )
            self._pids[job.worker] = process.pid
            try:
                await self._attend(process, job, first)
            finally:
                self._pids.pop(job.worker, None)
            if self._stopping.is_set():
                return
            if time.monotonic() - begun > _STEADY_S:
                backoff = _FIRST_BACKOFF_S
            log.error("worker_died", worker=job.worker, status=process.returncode, again_in_s=backoff)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff):
                    await self._stopping.wait()
            backoff = min(backoff * 2, _LAST_BACKOFF_S)

    async def _attend(self, process: asyncio.subprocess.Process, job: _Job, first: asyncio.Future[Places]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            await process.stdin.drain()
        heard = asyncio.create_task(process.stdout.readline())
        ending = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((heard, ending, stopping), return_when=asyncio.FIRST_COMPLETED)
            if heard.done() and (line := heard.result()) and not first.done():
                first.set_result(msgspec.json.decode(line, type=Places))
            await asyncio.wait((ending, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            await ending
        finally:
            for task in (heard, stopping):
                task.cancel()


async def serve_workers(config: Config, ready: Callable[[Places], None]) -> int:
    """Runs `config.workers` server processes until SIGTERM or SIGINT; the exit code."""
    configure_logging(config.log.level, config.log.format)
    workers = Workers(config, ready)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, workers.stop)
    return await workers.run()


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _worker() -> None:
    """Entry point of a worker process."""
    import uvloop

    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Job)

    def leave_with_parent() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    def ready(places: Places) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(places) + b"\n")
        sys.stdout.buffer.flush()

    async def run() -> int:
        # From here on a signal has its handler.
        threading.Thread(target=leave_with_parent, name="parent-watch", daemon=True).start()
        return await serve(job.config, worker=job.worker, ready=lambda server: ready(server.places()))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(run())
    sys.stdout.flush()
    os._exit(code)  # the thread that waits for the parent cannot be joined


if __name__ == "__main__":
    _worker()
