"""Makes the objects of a server from its configuration, starts them in order and stops them in the reverse.

The only reader of the configuration. `Server` is one process; `serve` runs one until it is told to stop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from chargeplane.app.directory import Directory
from chargeplane.app.events import EventFeed, MessageFeed
from chargeplane.app.house import StationSettings
from chargeplane.app.ports import StationCredentials
from chargeplane.app.stations import Stations
from chargeplane.app.unknown import UnknownStations
from chargeplane.edges.metrics import CommitMeasures
from chargeplane.kernel.measures import Measures
from chargeplane.main.config import Config
from chargeplane.store.commit import CommitLimits, GroupCommitter, Node
from chargeplane.store.database import Database
from chargeplane.store.embedded import EmbeddedPostgres
from chargeplane.store.message_log import MessageLogWriter
from chargeplane.store.tokens import TokenReader

log = structlog.get_logger(__name__)

Ready = Callable[["Server"], None]


class Readiness:
    """Whether stations can be taken and their messages committed; asks the database, not a flag."""

    def __init__(self, database: Database, committer: GroupCommitter) -> None:
        self._database = database
        self._committer = committer

    async def failing(self) -> Sequence[str]:
        """One sentence per reason why not; empty when ready."""
        if not self._committer.running:
            return ["The group commit has stopped."]
        try:
            async with asyncio.timeout(1.0):
                async with self._database.read() as db:
                    await db.fetchval("SELECT 1")
        except Exception as error:
            return [f"The database does not answer: {str(error) or type(error).__name__}"]
        if not self._committer.available:
            return ["The last commit did not succeed; it is being tried again."]
        return []


class Server:
    """One server process.

    Args:
        config: of the installation.
        worker: number of this process among `config.workers`, from 0.
    """

    def __init__(self, config: Config, *, worker: int = 0) -> None:
        self.config = config
        self.worker = worker
        self.measures = Measures()
        self.postgres: EmbeddedPostgres | None = None
        self.first_key: str | None = None
        """The first API key where it was made at this start."""
        self._stops: list[Callable[[], Any]] = []
        self.failed: asyncio.Future[Exception] | None = None

    async def start(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Starts everything; returns when stations can be taken.

        Args:
            progress: hears what is being waited for, in sentences.
        Raises:
            ChargeplaneError, OSError: the sentence says what is wrong.
        """
        self.failed = asyncio.get_running_loop().create_future()
        try:
            await self._start(progress)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, progress: Callable[[str], None]) -> None:
        config = self.config
        url = await self._database_url(progress)
        self.database = database = Database(url)
        self._stops.append(database.close)
        database.monitor()
        secrets = InstallationKeys.load(config.data_path, config.secret_key)

        self.node = node = Node(f"{socket.gethostname()}:{config.data_path}:{self.worker}")
        first = await database.connect_writer("register")
        try:
            await node.register(first)
            await ensure_partitions(first)
        finally:
            await first.close()
        self.committer = GroupCommitter(
            node,
            self._connect_writer,
            limits=CommitLimits(max_works=config.commit.max_rows, max_bytes=config.commit.max_bytes),
            observer=CommitMeasures(self.measures),
        )
        self.committer.on_replaced = self._fail
        await self.committer.start()
        self._stops.append(self.committer.stop)

        self.message_log = MessageLogWriter(database.connect_log, queue_limit=config.message_log.queue_limit)
        await self.message_log.start()
        self._stops.append(self.message_log.stop)
        self.messages = MessageFeed(self.message_log)
        self.events = EventFeed()

        self.directory = Directory(self._fetch)
        await self.directory.load()
        unknown = UnknownStations(self.directory, self._execute)
        self._stops.append(unknown.stop)
        tokens = TokenReader(lambda: self._connect_writer("tokens"))
        self._stops.append(tokens.stop)

        def check_password(credentials: StationCredentials, password: bytes) -> bool:
            return secrets.verify_password(
                password, credentials.password_salt, credentials.password_hash, credentials.password_key_id
            )

        self.stations = Stations(
            directory=self.directory,
            node=node,
            committer=self.committer,
            connect=lambda: self._connect_writer("stations"),
            tokens=tokens,
            settings=StationSettings(
                heartbeat_interval_s=config.ocpp.heartbeat_interval_s,
                retry_interval_s=config.ocpp.boot_retry_interval_s,
            ),
            check_password=check_password,
            unknown=unknown.note,
            feed=self.events,
        )
        await self.stations.start()
        self._stops.append(self.stations.stop)
        self._measure()
        await self._start_outbox()
        await self._start_http(secrets)
        await self._start_ocpp()
