"""REST for tests: the real application on a real socket over a real database; only the stations behind it are made here."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from chargeplane.app.addresses import FileAddresses
from chargeplane.app.api_keys import ApiKeys, ensure_admin_key
from chargeplane.app.authority import HouseAuthority
from chargeplane.app.certificates import Certificates
from chargeplane.app.charging_stations import ChargingStations
from chargeplane.app.commands import Commands, Wire
from chargeplane.app.directory import Directory
from chargeplane.app.events import EventFeed
from chargeplane.app.fact_copies import FactCopies
from chargeplane.app.id_tokens import IdTokens
from chargeplane.app.message_feed import MessageFeed
from chargeplane.app.messages import Messages
from chargeplane.app.outbox import Outbox
from chargeplane.app.ports import CloseReason, LoggedCall
from chargeplane.app.quarantine import Quarantine
from chargeplane.app.quirks import Quirks
from chargeplane.app.reports import Reports
from chargeplane.app.tenants import Tenants
from chargeplane.app.transactions import Transactions
from chargeplane.bridge.commands import call_outcome, reservation_field
from chargeplane.bridge.secrets import answer_without_secrets, without_secrets
from chargeplane.bridge.variables import reported_variables
from chargeplane.domain.commands import (
    CallOutcome,
    CallOutcomeKind,
    Command,
    CommandOutcome,
    CommandState,
)
from chargeplane.domain.webhooks import is_fact_told
from chargeplane.edges.http import HttpConfig, HttpServer, Services
from chargeplane.edges.http.services import Business
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import NodeId, StationKey, TransactionId
from chargeplane.kernel.proxies import TrustedProxies
from chargeplane.main.business import start_business
from chargeplane.main.config import Config, FilesConfig, LoginConfig, WebhooksConfig
from chargeplane.main.subjects import Parts, start_subjects
from chargeplane.store.database import Database
from chargeplane.store.outbox import OutboxWorker
from chargeplane.store.queries import webhooks as webhook_events
from chargeplane.store.secrets import InstallationKeys

ADMIN_KEY = "admin-key-of-the-tests"


@dataclass
class StationDouble:
    """A connected station: answers what it is told to answer and remembers what it got."""

    version: str = "1.6"
    accepted: bool = True
    answer: bytes = b'{"status":"Accepted"}'
    command_state: CommandState = CommandState.ACCEPTED
    delay_s: float = 0.0
    calls: list[tuple[str, bytes, float]] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


class StationsDouble:
    """StationReach and Directory in one: the stations' side of the application."""

    def __init__(self) -> None:
        self.connected: dict[StationKey, StationDouble] = {}
        self.refreshed: list[StationKey] = []
        self.closed: list[tuple[StationKey, CloseReason]] = []
        self.closed_transactions: list[tuple[StationKey, TransactionId, str, str]] = []
        self.refresh_delay_s = 0.0
        self.tenants_refreshed = 0
        self.on_suspicion: Any = None
        self.on_came_in: Any = None

    async def call(self, key: StationKey, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        station = self.connected.get(key)
        if station is None:
            raise ConflictError("The station is not connected.")
        if action == "Reset" and b'"type"' not in payload:
            raise InvalidInputError("The payload does not fit.", (("/payload/type", "Required"),))
        station.calls.append((action, payload, timeout_s))
        await asyncio.sleep(station.delay_s)
        if action == "Unknown":
            return CallOutcome(
                outcome=CallOutcomeKind.CALLERROR,
                message_id="m1",
                error_code="NotImplemented",
                error_description="What?",
                error_details=b"{}",
                latency_ms=1.5,
            )
        return CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="m1", payload=station.answer, latency_ms=1.5)

    async def command(self, key: StationKey, command: Command, timeout_s: float) -> CommandOutcome:
        station = self.connected.get(key)
        if station is None:
            raise ConflictError("The station is not connected.")
        station.commands.append(command)
        await asyncio.sleep(station.delay_s)
        return CommandOutcome(
            state=station.command_state,
            action="RemoteStartTransaction",
            status="Accepted",
            call=CallOutcome(
                outcome=CallOutcomeKind.CALLRESULT, message_id="m2", payload=b'{"status":"Accepted"}', latency_ms=2
            ),
        )

    async def ready(self, key: StationKey, *, pending: bool = False) -> bool:
        station = self.connected.get(key)
        return station is not None and (pending or station.accepted)

    async def version(self, key: StationKey) -> str | None:
        station = self.connected.get(key)
        return None if station is None else station.version

    async def close(self, key: StationKey, reason: CloseReason) -> None:
        self.closed.append((key, reason))

    async def close_transaction(self, key: StationKey, transaction_id: TransactionId, reason: str, actor: str) -> None:
        self.closed_transactions.append((key, transaction_id, reason, actor))

    async def refresh(self, key: StationKey) -> None:
        await asyncio.sleep(self.refresh_delay_s)
        self.refreshed.append(key)

    async def refresh_tenants(self) -> None:
        self.tenants_refreshed += 1


class NobodyHere:
    """A node without stations."""

    node_id = NodeId(0)
    connected_count = 0

    def present(self) -> list[Any]:
        return []

    def link(self, key: StationKey) -> None:
        return None

    def actor(self, key: StationKey) -> Any:
        raise NotFoundError("charging station", str(key))


class KeptLog:
    """A message log that keeps its entries in memory."""

    def __init__(self) -> None:
        self.entries: list[LoggedCall] = []

    def add(self, entry: LoggedCall) -> None:
        self.entries.append(entry)


class ReadyDouble:
    """Readiness that says what it is told."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def failing(self) -> Sequence[str]:
        return self.reasons


@dataclass
class Rest:
    """The running server and what stands behind it."""

    client: httpx.AsyncClient
    server: HttpServer
    database: Database
    stations: StationsDouble
    events: EventFeed
    messages: MessageFeed
    readiness: ReadyDouble
    base_url: str
    business: Business
    services: Services
    mails: Path
    """Where mails are written."""

    async def execute(self, sql: str, *values: Any) -> Any:
        """Runs a statement; what its first row's first column holds."""
        async with self.database.change() as db:
            return await db.fetchval(sql, *values)

    async def station(self, station_id: str = "CP1", **more: Any) -> StationKey:
        """Registers a station; our key of it."""
        response = await self.client.post("/v1/charging-stations", json={"station_id": station_id, **more})
        assert response.status_code == 201, response.text
        key: StationKey = await self.execute(
            "SELECT key FROM charging_station WHERE station_id = $1 AND deleted_at IS NULL", station_id
        )
        return key

    def as_key(self, key: str) -> httpx.AsyncClient:
        """A client with another key."""
        return httpx.AsyncClient(base_url=self.base_url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


async def _no_metrics() -> tuple[bytes, str]:
    return b"# nothing\n", "text/plain; version=0.0.4"


@contextlib.asynccontextmanager
async def running_rest(
    database_url: str,
    proxies: TrustedProxies = TrustedProxies(),  # noqa: B008
    data_dir: Path | None = None,
    **config: Any,
) -> AsyncIterator[Rest]:
    """The server on a free port, with the admin's client.

    Args:
        data_dir: the node's folder (mails go to `mail` in it), which the caller removes; None makes one. Nodes over one
            database need the same one: either may send what another's request has written.
        config: sections of the configuration that are to be otherwise.
    """
    database = Database(database_url, readers=4)
    await ensure_admin_key(database, ADMIN_KEY)
    stations, events, readiness = StationsDouble(), EventFeed(), ReadyDouble()
    messages = MessageFeed(KeptLog())
    keys = InstallationKeys("k" * 32)
    commands = Commands(
        database,
        stations,
        events,
        Wire(
            reported_variables=reported_variables,
            reservation_field=reservation_field,
            call_outcome=call_outcome,
            kept=without_secrets,
            kept_answer=answer_without_secrets,
        ),
    )
    await commands.start()
    authority = HouseAuthority(database, keys, organization="Operator", station_days=30)
    certificates = Certificates(database, authority, authority, commands, stations, events)
    folder = str(data_dir) if data_dir is not None else tempfile.mkdtemp(prefix="chargeplane-files-")
    outbox = OutboxWorker(lambda: database.connect_writer("outbox"))
    outbox.observe(is_fact_told, webhook_events.note_facts)
    await outbox.start()
    reports = Reports(outbox)

    async def fetch(query: str, *values: object) -> list[Any]:
        async with database.read() as db:
            return list(await db.fetch(query, *values))

    directory = Directory(fetch)
    await directory.load()
    desks: dict[type, Any] = {}
    on_stop: list[Any] = []
    parts = Parts(
        config=Config(
            data_dir=folder,
            files=FilesConfig(folder=folder),
            webhooks=WebhooksConfig(private_networks=True),
            login=LoginConfig(password_memory_kib=64, password_passes=1, sign_on_private_networks=True),
            **config,
        ),
        database=database,
        secrets=keys,
        reach=stations,
        shared=stations,
        door=stations,
        certificates=certificates,
        commands=commands,
        events=events,
        stations=NobodyHere(),
        directory=directory,
        outbox=outbox,
        facts=FactCopies(outbox),
        reports=reports,
        desks=desks,
        on_stop=on_stop,
        authority=authority,
        addresses=FileAddresses(public_url=None, host="127.0.0.1", http_port=0),
    )
    subjects = await start_subjects(parts)
    business = await start_business(parts, subjects)
    services = Services(
        subjects=subjects,
        business=business,
        database=database,
        keys=keys,
        api_keys=ApiKeys(database),
        tenants=Tenants(database, stations),
        charging_stations=ChargingStations(database, stations, stations, keys, events),
        commands=commands,
        messages=Messages(database, messages),
        transactions=Transactions(database, stations),
        id_tokens=IdTokens(database, events, holds=business.agreement_following),
        quarantine=Quarantine(database, events),
        quirks=Quirks(database, stations, directory),
        outbox=Outbox(database, lambda: None),
        certificates=certificates,
        events=events,
        readiness=readiness,
        metrics=_no_metrics,
    )
    server = HttpServer(HttpConfig(port=0, proxies=proxies), services)
    await server.start()
    base_url = f"http://127.0.0.1:{server.port}"
    try:
        async with httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=60
        ) as client:
            yield Rest(
                client,
                server,
                database,
                stations,
                events,
                messages,
                readiness,
                base_url,
                business,
                services,
                Path(folder) / "mail",
            )
    finally:
        await server.stop()
        while on_stop:
            await on_stop.pop()()
        await outbox.stop()
        await commands.stop()
        await database.close()
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def assert_problem(
    response: httpx.Response, status: int, *, pointer: str | None = None, parameter: str | None = None
) -> Any:
    """The response is a problem with this status, and names this field."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(response.content)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    if pointer is not None:
        assert pointer in [e.get("pointer") for e in problem["errors"]], problem
    if parameter is not None:
        assert parameter in [e.get("parameter") for e in problem["errors"]], problem
    return problem
