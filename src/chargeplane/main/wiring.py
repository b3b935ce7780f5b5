"""Makes the objects of a server from its configuration, starts them in order and stops them in the reverse.

The only reader of the configuration. `Server` is one process; `serve` runs one until it is told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from msgspec import Struct

from chargeplane.app.addresses import FileAddresses, own_host
from chargeplane.app.api_keys import ApiKeys, ensure_admin_key
from chargeplane.app.authority import HouseAuthority
from chargeplane.app.bus import Bus
from chargeplane.app.certificates import Certificates
from chargeplane.app.charging_stations import ChargingStations
from chargeplane.app.commands import Commands, Wire
from chargeplane.app.directory import Directory
from chargeplane.app.directory_sync import SharedDirectory
from chargeplane.app.driver_tariffs import DriverTariffs
from chargeplane.app.event_sharing import SharedEvents
from chargeplane.app.events import EventFeed
from chargeplane.app.fact_copies import FactCopies
from chargeplane.app.facts import TOPICS, Announcer
from chargeplane.app.final_cost_sharing import SharedPrices
from chargeplane.app.house import StationSettings
from chargeplane.app.id_tokens import IdTokens
from chargeplane.app.keeper_levels import KeeperLevels
from chargeplane.app.message_feed import MessageFeed
from chargeplane.app.messages import Messages
from chargeplane.app.outbox import Outbox
from chargeplane.app.ports import StationCredentials, Trusted
from chargeplane.app.quarantine import Quarantine
from chargeplane.app.quirks import Quirks
from chargeplane.app.reaching import NodeReach
from chargeplane.app.reports import Reports
from chargeplane.app.roaming.status_hints import StatusHints
from chargeplane.app.stations import Stations
from chargeplane.app.tenants import Tenants
from chargeplane.app.transactions import Transactions
from chargeplane.app.unknown import UnknownStations
from chargeplane.app.v2g_authority import TestV2gAuthority
from chargeplane.bridge.commands import call_outcome, reservation_field
from chargeplane.bridge.secrets import answer_without_secrets, without_secrets
from chargeplane.bridge.variables import reported_variables
from chargeplane.domain.quirks import Quirk, parse
from chargeplane.domain.security_events import ServerEvent
from chargeplane.domain.webhooks import is_fact_told
from chargeplane.edges.bus import InProcessBus, NatsBus
from chargeplane.edges.ftp import FtpConfig, FtpServer
from chargeplane.edges.http.files import files_app
from chargeplane.edges.http.files_server import FilesServer
from chargeplane.edges.http.server import HttpConfig, HttpServer
from chargeplane.edges.http.services import Business, Services, Subjects
from chargeplane.edges.metrics import CommitMeasures, Exposition, WorkersExposition
from chargeplane.edges.ocpi_server.app import ROOT
from chargeplane.edges.ocpp_server import Listener, OcppServer, OcppServerConfig
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.ids import StationKey
from chargeplane.kernel.measures import Measures
from chargeplane.main.business import start_business
from chargeplane.main.config import Config, Role
from chargeplane.main.limits import raise_descriptor_limit
from chargeplane.main.logging import configure_logging
from chargeplane.main.security import server_name, signer_of, v2g_authority_of
from chargeplane.main.subjects import Parts, start_subjects
from chargeplane.main.tls import StationTls
from chargeplane.store.commit import CommitLimits, GroupCommitter, Node
from chargeplane.store.database import Database
from chargeplane.store.embedded import Cluster, EmbeddedPostgres
from chargeplane.store.message_log import MessageLogWriter
from chargeplane.store.migrations import upgrade_database
from chargeplane.store.outbox import OutboxWorker
from chargeplane.store.partitions import Partitions, aging_tables, partitioned_tables
from chargeplane.store.queries import session_work
from chargeplane.store.queries import webhooks as webhook_events
from chargeplane.store.secrets import InstallationKeys
from chargeplane.store.tokens import TokenReader

_FILES_PORT: Final = 8443

log = structlog.get_logger(__name__)

Ready = Callable[["Server"], None]


class Places(Struct, frozen=True, kw_only=True):
    """What a server that is ready tells.

    Args:
        host: address its doors listen on.
        ocpp_port, http_port: None where the role leaves the door out.
        ocpps_port: None where there is no certificate, too.
        first_key: the first API key where it was made at this start.
    """

    host: str
    ocpp_port: int | None
    http_port: int | None
    first_key: str | None
    ocpps_port: int | None = None


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
        self.http: HttpServer | None = None
        self.ocpp: OcppServer | None = None
        self.subjects: Subjects | None = None
        """What stations do besides charging; plug-ins and other ports are put in here."""
        self.business: Business | None = None
        """Locations, prices, people, agreements and money; other ports are put in here."""
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
        partitions = Partitions(
            lambda: database.connect_writer("partitions"),
            partitioned_tables(
                message_log_days=config.retention.message_log_days,
                meter_values_days=config.retention.meter_values_days,
                authorization_attempts_days=config.retention.authorization_attempts_days,
                notices_days=config.retention.notices_days,
                station_events_days=config.retention.station_events_days,
            ),
            aging=aging_tables(
                unknown_stations_days=config.retention.unknown_stations_days,
                commands_days=config.retention.commands_days,
                audit_log_days=config.retention.audit_log_days,
                event_streams_days=config.retention.event_streams_days,
                customer_information_days=config.retention.customer_information_days,
                security_events_days=config.retention.security_events_days,
                webhook_events_days=config.retention.webhook_events_days,
                roaming_exchanges_days=config.retention.roaming_exchanges_days,
                payment_webhooks_days=config.retention.payment_webhooks_days,
            ),
        )
        await partitions.start()
        self._stops.append(partitions.stop)
        secrets = InstallationKeys.load(config.data_path, config.secret_key)

        self.node = node = Node(f"{socket.gethostname()}:{config.data_path}:{self.worker}")
        first = await database.connect_writer("register")
        try:
            await node.register(first)
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

        self.directory = Directory(self._fetch, _quirks_of(config.ocpp.quirks_file))
        await self.directory.load()
        self._unknown = unknown = UnknownStations(self.directory, self._execute)
        self._stops.append(unknown.stop)
        tokens = TokenReader(lambda: self._connect_writer("tokens"))
        self._stops.append(tokens.stop)

        def check_password(credentials: StationCredentials, password: bytes) -> bool:
            salt, hashed = credentials.password_salt, credentials.password_hash
            if salt is None or hashed is None:
                return False
            return secrets.verify_password(password, salt, hashed, credentials.password_key_id)

        def check_next_password(credentials: StationCredentials, password: bytes) -> bool:
            salt, hashed = credentials.next_password_salt, credentials.next_password_hash
            if salt is None or hashed is None:
                return False
            return secrets.verify_password(password, salt, hashed, credentials.next_password_key_id)

        self.stations = Stations(
            directory=self.directory,
            node=node,
            committer=self.committer,
            connect=lambda: self._connect_writer("stations"),
            tokens=tokens,
            settings=StationSettings(
                heartbeat_interval_s=config.ocpp.heartbeat_interval_s,
                retry_interval_s=config.ocpp.boot_retry_interval_s,
                trigger_boot_after_s=config.ocpp.trigger_boot_after_s or None,
                ask_by_evidence_after_s=config.ocpp.ask_by_evidence_after_s,
                close_by_evidence_after_s=config.ocpp.close_by_evidence_after_s,
                seen_flush_s=config.ocpp.seen_flush_s,
            ),
            check_password=check_password,
            check_next_password=check_next_password,
            unknown=unknown.note,
            feed=self.events,
        )
        await self.stations.start()
        self._stops.append(self.stations.stop)
        self._measure()
        await self._start_rest(secrets)
        await self._start_ocpp()

    async def _database_url(self, progress: Callable[[str], None]) -> str:
        """The database's URL, migrated; the embedded one is started where none is configured."""
        config = self.config
        url = config.database_url
        if url is None:
            self.postgres = EmbeddedPostgres(config.data_path, progress=progress)
            url = await self.postgres.start()
            self._stops.append(self.postgres.stop)
        elif config.workers == 1:
            self._lock_folder()
        await upgrade_database(url, progress)
        return url

    def _lock_folder(self) -> None:
        """With an own database too, a folder has one server: both would be the same node, and the newer one end the older."""
        folder = Cluster(self.config.data_path)
        folder.lock()

        async def unlock() -> None:
            folder.unlock()

        self._stops.append(unlock)

    async def _start_rest(self, secrets: InstallationKeys) -> None:
        config = self.config
        alone = config.nats_url is None
        bus = await self._bus()
        shared_events = SharedEvents(self.events, bus, self.node.id, alone=alone)
        await shared_events.start()
        self._stops.append(shared_events.stop)
        reach = NodeReach(self.stations, bus, alone=alone)
        self._stops.append(reach.stop)
        shared = SharedDirectory(self.directory, self.stations, bus, self.node, self._fetch, self._execute, alone=alone)
        await shared.start()
        self._stops.append(shared.stop)
        outbox = await self._start_outbox(bus)
        reports = Reports(outbox)
        self.stations.house.report_committed = reports.hint
        self.first_key = await ensure_admin_key(self.database, config.admin_key)
        commands = Commands(
            self.database,
            reach,
            self.events,
            Wire(
                reported_variables=reported_variables,
                reservation_field=reservation_field,
                call_outcome=call_outcome,
                kept=without_secrets,
                kept_answer=answer_without_secrets,
            ),
        )
        await commands.start()
        self._stops.append(commands.stop)
        charging_stations = ChargingStations(self.database, shared, reach, secrets, self.events)
        self._unknown.register = charging_stations.take_pending
        self.authority = HouseAuthority(
            self.database,
            secrets,
            organization=config.tls.organization,
            station_days=config.tls.station_certificate_days,
        )
        await self.authority.reseal()
        self.signer = signer_of(config, self.authority)
        self.v2g = v2g_authority_of(config, self.database, secrets)
        self.certificates = Certificates(
            self.database, self.signer, self.authority, commands, reach, self.events, self.v2g
        )
        self.certificates.tell_nodes = shared.refresh_certificates
        shared.on_certificates = self.certificates.reload
        shared.on_follow = self.certificates.follow
        self.stations.house.certificates = self.certificates
        await self.certificates.start()
        self._stops.append(self.certificates.stop)
        self.addresses = FileAddresses(
            public_url=config.files.public_url,
            host=own_host(config.bind),
            http_port=config.http_port,
            tls_host=server_name(config),
        )
        parts = Parts(
            config=config,
            database=self.database,
            secrets=secrets,
            reach=reach,
            shared=shared,
            door=self.stations,
            certificates=self.certificates,
            commands=commands,
            events=self.events,
            stations=self.stations,
            directory=self.directory,
            outbox=outbox,
            facts=FactCopies(outbox),
            reports=reports,
            desks=self.stations.house.desks,
            on_stop=self._stops,
            authority=self.authority,
            addresses=self.addresses,
            final_costs=self.stations.house.final_costs,
            house=self.stations.house,
            status_hints=StatusHints(bus),
        )
        if not alone:
            stations_here = config.role in (Role.ALL, Role.STATIONS)
            prices = SharedPrices(parts.final_costs, bus, stations=stations_here)
            await prices.start()
            self._stops.append(prices.stop)
        self.subjects = subjects = await start_subjects(parts)
        self.business = business = await start_business(parts, subjects)

        if config.role in (Role.ALL, Role.JOBS):
            keepers = KeeperLevels(self.database, self.measures)
            keepers.start()
            self._stops.append(keepers.stop)
        driver_tariffs = DriverTariffs(self.database, business.tariffs, business.agreement_resolving)
        self.stations.house.driver_tariffs = driver_tariffs

        def booted(key: StationKey) -> None:
            driver_tariffs.forget(key)
            subjects.after_boot.booted(key)
            subjects.profile_keeper.booted(key)

        self.stations.house.boot_committed = booted
        services = Services(
            database=self.database,
            keys=secrets,
            api_keys=ApiKeys(self.database),
            tenants=Tenants(self.database, shared),
            quirks=Quirks(self.database, shared, self.directory),
            charging_stations=charging_stations,
            commands=commands,
            messages=Messages(self.database, self.messages),
            transactions=Transactions(self.database, reach),
            id_tokens=IdTokens(self.database, self.events, reports.hint, business.agreement_following),
            quarantine=Quarantine(self.database, self.events),
            outbox=Outbox(self.database, outbox.look_again),
            certificates=self.certificates,
            subjects=subjects,
            business=business,
            events=self.events,
            readiness=Readiness(self.database, self.committer),
            metrics=await self._exposition(bus),
        )
        if config.role in (Role.ALL, Role.API):
            self.http = HttpServer(
                HttpConfig(
                    host=config.bind, port=config.http_port, shared=config.workers > 1, proxies=config.proxies()
                ),
                services,
                doors={ROOT: business.roaming.door},
            )
            await self.http.start()
            self._stops.append(self.http.stop)
            self.addresses.http_port = self.http.port
            await self._start_ftp()

    async def _exposition(self, bus: Bus) -> Exposition | WorkersExposition:
        """What /metrics gives: of all workers where there are several."""
        config = self.config
        own = Exposition(self.measures)
        if config.workers == 1 or config.nats_url is None:
            return own
        machine = hashlib.sha256(f"{socket.gethostname()}:{config.data_path}".encode()).hexdigest()[:16]
        everyone = WorkersExposition(own, bus, group=machine, worker=self.worker, workers=config.workers)
        await everyone.start()
        self._stops.append(everyone.stop)
        return everyone

    async def _start_outbox(self, bus: Bus) -> OutboxWorker:
        """Hands facts on from now on, first those that were committed before this start."""
        outbox = OutboxWorker(lambda: self._connect_writer("outbox"))
        outbox.register_batches(TOPICS, Announcer(bus))
        outbox.keep(session_work.note)
        # Before the first fact is taken: whichever node takes one writes it down for the webhooks; those that do jobs deliver.
        outbox.observe(is_fact_told, webhook_events.note_facts)
        await outbox.start()
        self._stops.append(outbox.stop)
        self.committer.on_facts = outbox.hint_batches
        measures = self.measures
        measures.gauge(
            "chargeplane_outbox_waiting",
            "Facts of all tenants that wait to be handed over; counted to 100,000.",
            lambda: outbox.level.waiting,
        )
        measures.gauge("chargeplane_outbox_parked", "Facts that were given up.", lambda: outbox.level.parked)
        measures.gauge(
            "chargeplane_outbox_oldest_seconds", "Age of the oldest fact that waits.", lambda: outbox.level.oldest_s
        )
        measures.gauge(
            "chargeplane_outbox_handled", "Facts this process handed over since its start.", lambda: outbox.handled
        )
        measures.gauge(
            "chargeplane_outbox_failed", "Attempts of this process that failed since its start.", lambda: outbox.failed
        )
        return outbox

    async def _bus(self) -> Bus:
        """Over NATS where one is named: there may be other nodes, on this machine or elsewhere."""
        if self.config.nats_url is None:
            bus = InProcessBus()
            self._stops.append(bus.close)
            return bus
        over_nats = NatsBus(self.config.nats_url, name=f"chargeplane node {self.node.id}")
        await over_nats.connect()
        self._stops.append(over_nats.close)
        return over_nats

    def places(self) -> Places:
        """Where this server is to be found."""
        return Places(
            host=self.config.bind,
            ocpp_port=self.ocpp.ports[0] if self.ocpp is not None else None,
            ocpps_port=self.ocpp.ports[1] if self.ocpp is not None and len(self.ocpp.ports) > 1 else None,
            http_port=self.http.port if self.http is not None else None,
            first_key=self.first_key,
        )

    def _door_authorities(self) -> tuple[Trusted, ...]:
        """Whose certificates let stations in. Of V2G authorities only our own: others sign for whom they like below the same roots."""
        found: tuple[Trusted, ...] = (self.authority,)
        if self.signer is not self.authority:
            found = (self.signer, *found)
        return (*found, self.v2g) if isinstance(self.v2g, TestV2gAuthority) else found

    async def _start_ocpp(self) -> None:
        config = self.config
        if config.role not in (Role.ALL, Role.STATIONS):
            return
        ocpp = config.ocpp
        listeners = [Listener(host=config.bind, port=config.ocpp_port)]

        def tls_failed() -> None:
            if self.ocpp is not None:
                self.ocpp.tls_failed()

        self.tls = StationTls(
            config.tls,
            house=self.authority,
            authorities=self._door_authorities(),
            revoked=self.certificates.is_revoked,
            on_failure=tls_failed,
            suspicious=partial(self.stations.on_suspicion, ServerEvent.INVALID_CERTIFICATE),
        )
        self.certificates.on_reload = self.tls.reload
        self._stops.append(self.tls.close)
        door = await self.tls.open()
        if door is not None:
            secure = Listener(
                host=config.bind, port=config.ocpps_port, ssl_context=door.context, certificate_check=door.check
            )
            listeners.append(secure)
        self.ocpp = station_door = OcppServer(
            self.stations,
            OcppServerConfig(
                listeners=tuple(listeners),
                reuse_port=config.workers > 1,
                ping_interval_s=ocpp.ping_interval_s,
                ping_timeout_s=ocpp.ping_timeout_s,
                handshake_timeout_s=ocpp.handshake_timeout_s,
                close_timeout_s=ocpp.close_timeout_s,
                max_message_bytes=ocpp.max_message_bytes,
                write_buffer_bytes=ocpp.write_buffer_bytes,
                max_connections=ocpp.max_connections,
                max_connections_per_address=ocpp.max_connections_per_address,
                failed_attempts_burst=ocpp.failed_attempts_burst,
                failed_attempts_per_s=ocpp.failed_attempts_per_s,
                failed_passwords_burst=ocpp.failed_passwords_burst,
                failed_passwords_per_s=ocpp.failed_passwords_per_s,
                max_backlog=ocpp.max_backlog,
                rate_limit_per_s=ocpp.rate_limit_per_s,
                rate_limit_burst=ocpp.rate_limit_burst,
                compression=ocpp.compression,
                compression_threshold_bytes=ocpp.compression_threshold_bytes,
                proxies=config.proxies(),
            ),
            self.measures,
            self.messages,
        )
        await station_door.start()

        async def stop() -> None:
            await station_door.stop(ocpp.shutdown_grace_s)

        self._stops.append(stop)
        if door is not None:
            await self._start_files(door.context)

    async def _start_ftp(self) -> None:
        """FTP for stations' files, where a port is set."""
        files = self.config.files
        if files.ftp_port is None:
            return
        assert self.subjects is not None
        first, _, last = (files.ftp_passive_ports or "").partition("-")
        server = FtpServer(
            FtpConfig(
                host=self.config.bind,
                port=files.ftp_port,
                passive_ports=(int(first), int(last)) if last else None,
                public_host=files.ftp_public_host,
            ),
            self.subjects.firmware,
            self.subjects.uploads,
        )
        await server.start()
        self._stops.append(server.stop)
        self.addresses.ftp_port = server.port

    async def _start_files(self, context: ssl.SSLContext) -> None:
        """The files' door with TLS; without TLS they are served where REST is."""
        config = self.config
        assert self.subjects is not None
        port = config.files.https_port
        if port is None:
            port = 0 if config.ocpps_port == 0 else _FILES_PORT
        server = FilesServer(
            files_app(self.subjects.firmware, self.subjects.uploads),
            host=config.bind,
            port=port,
            context=context,
            shared=config.workers > 1,
        )
        await server.start()
        self._stops.append(server.stop)
        self.addresses.https_port = server.port

    async def stop(self) -> None:
        """Stops in the reverse order of starting; what was begun is finished, nothing committed goes unanswered."""
        while self._stops:
            step = self._stops.pop()
            try:
                await step()
            except Exception as error:
                log.error("stop_failed", step=getattr(step, "__qualname__", str(step)), error=str(error))

    def _fail(self, error: Exception) -> None:
        if self.failed is not None and not self.failed.done():
            self.failed.set_result(error)

    def _measure(self) -> None:
        measures = self.measures
        measures.gauge(
            "chargeplane_commit_queue_messages", "Messages waiting for a commit.", lambda: self.committer.queued
        )
        measures.gauge(
            "chargeplane_database_up", "Whether the last commit succeeded.", lambda: float(self.committer.available)
        )
        measures.gauge(
            "chargeplane_message_log_queue", "Entries of the message log that wait.", lambda: self.message_log.queued
        )
        measures.gauge(
            "chargeplane_message_log_dropped",
            "Entries of the message log that were dropped.",
            lambda: self.message_log.dropped,
        )
        measures.gauge("chargeplane_stations_known", "Registered charging stations.", lambda: len(self.directory))

    async def _connect_writer(self, purpose: str = "commit") -> Any:
        db = await self.database.connect_writer(purpose)
        await db.execute("SET plan_cache_mode = force_generic_plan")
        return db

    async def _fetch(self, query: str, *arguments: object) -> list[Any]:
        async with self.database.read() as db:
            return list(await db.fetch(query, *arguments))

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with self.database.change() as db:
            await db.execute(statement, *arguments)


def _quirks_of(path: str | None) -> tuple[Quirk, ...]:
    """The operator's own rules about stations.

    Raises:
        InvalidInputError: the file cannot be read, or holds what is no rule; the sentence names the line.
    """
    if path is None:
        return ()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"ocpp.quirks_file: '{path}' cannot be read: {error}.") from error
    return parse(text, path)


def _calm_garbage_collector() -> None:
    """What is alive after the start stays: the collector need not look at it again. Messages make no cycles, so it may wait longer
    between its rounds, which stop every station for milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def serve(config: Config, *, worker: int = 0, ready: Ready | None = None) -> int:
    """Runs one server process until SIGTERM or SIGINT; the exit code.

    Args:
        ready: told when stations can be taken.
    """
    configure_logging(config.log.level, config.log.format)
    descriptors = raise_descriptor_limit()
    if config.role in (Role.ALL, Role.STATIONS) and descriptors < config.ocpp.max_connections:
        log.warning("few_descriptors", open_files=descriptors, max_connections=config.ocpp.max_connections)
    server = Server(config, worker=worker)
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)

    def say(sentence: str) -> None:
        log.info("stopping" if told.is_set() else "starting" if not starting.done() else "running", doing=sentence)

    starting = asyncio.ensure_future(server.start(say))
    stopping = asyncio.ensure_future(told.wait())
    firsts: set[asyncio.Future[Any]] = {starting, stopping}
    await asyncio.wait(firsts, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return 0
    await starting
    _calm_garbage_collector()
    try:
        if ready is not None:
            ready(server)
        assert server.failed is not None
        ends: set[asyncio.Future[Any]] = {stopping, server.failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if server.failed.done():
            log.critical("server_failed", error=str(server.failed.result()))
            return 1
        log.info("stopping")
        return 0
    finally:
        stopping.cancel()
        await server.stop()
        log.info("stopped")
