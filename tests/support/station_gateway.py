"""A gateway in memory with actors that behave like the app's: in order, answers after a commit, newest socket owns.

The commit is a turn of the loop, or waits as long as a test holds it (a database that is away).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from chargeplane.app.ports import (
    AnswerCallback,
    CloseReason,
    LoggedCall,
    Received,
    StationCredentials,
    StationLink,
)
from chargeplane.domain.messages import (
    Acknowledged,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    Boot,
    BootAnswer,
    Heartbeat,
    HeartbeatAnswer,
    IdTokenInfo,
    Registration,
    ReportKind,
    StationAnswer,
    StationMessage,
    TransactionAnswer,
    TransactionReport,
)
from chargeplane.domain.quirks import Known, Origin, QuirkTable, built_in
from chargeplane.domain.security_events import ServerEvent
from chargeplane.kernel.ids import StationId, StationKey, TenantId

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Actor:
    """One station's owner."""

    def __init__(self, gateway: MemoryGateway, key: StationKey) -> None:
        self.gateway = gateway
        self.key = key
        self.link: StationLink | None = None
        self.messages: list[Received] = []
        self.repairs: list[str] = []
        self._waiting: deque[tuple[Received, AnswerCallback]] = deque()

    @property
    def backlog(self) -> int:
        return len(self._waiting)

    def receive(self, received: Received, answer: AnswerCallback) -> None:
        self.messages.append(received)
        self.gateway.on_take(self.key)
        self.gateway.notify()
        if isinstance(received.message, Heartbeat):
            answer(HeartbeatAnswer(now=NOW))
            return
        self._waiting.append((received, answer))
        if not self.gateway.held and len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self.commit)

    def repaired(self, rules: tuple[str, ...]) -> None:
        self.repairs.extend(rules)

    def commit(self) -> None:
        while self._waiting and not self.gateway.held:
            received, answer = self._waiting.popleft()
            answer(self.gateway.decide(self.key, received.message))


class MemoryGateway:
    """Stations by (tenant slug, id)."""

    def __init__(self) -> None:
        self.stations: dict[tuple[str | None, str], StationCredentials] = {}
        self.passwords: dict[StationKey, bytes] = {}
        self.actors: dict[StationKey, Actor] = {}
        self.suspicions: list[tuple[ServerEvent, str | None]] = []
        self.unknown: list[tuple[str | None, str, str]] = []
        self.gone: list[StationLink] = []
        self.table = QuirkTable((Origin.BUILT_IN, built_in()))
        self.told: dict[StationKey, tuple[str | None, str | None, str | None]] = {}
        self.held = False
        self.registrations: dict[StationKey, Registration] = {}
        self.on_find: Callable[[], None] = lambda: None
        self.on_take: Callable[[StationKey], None] = lambda key: None
        self._changed = asyncio.Condition()

    def add(
        self,
        station_id: str,
        *,
        profile: int = 0,
        password: bytes | None = None,
        tenant: str | None = None,
        registration: Registration = Registration.ACCEPTED,
        assumed_version: str | None = None,
    ) -> StationKey:
        key = StationKey(len(self.stations) + 1)
        self.stations[(tenant, station_id)] = StationCredentials(
            key=key,
            tenant_id=TenantId(1),
            station_id=StationId(station_id),
            security_profile=profile,
            registration=registration,
            assumed_version=assumed_version,
        )
        if password is not None:
            self.passwords[key] = password
        self.registrations[key] = registration
        return key

    def find(self, tenant_slug: str | None, station_id: str) -> StationCredentials | None:
        self.on_find()
        exact = self.stations.get((tenant_slug, station_id))
        if exact is not None:
            return exact
        for (tenant, known), credentials in self.stations.items():
            if tenant == tenant_slug and known.casefold() == station_id.casefold():
                return credentials
        return None

    def verify_password(self, credentials: StationCredentials, password: bytes) -> bool:
        return self.passwords.get(credentials.key) == password

    def verify_next_password(self, credentials: StationCredentials, password: bytes) -> bool:
        return False

    def suspicious(
        self, event: ServerEvent, credentials: StationCredentials | None, remote_address: str, details: dict[str, str]
    ) -> None:
        self.suspicions.append((event, None if credentials is None else credentials.station_id))

    def known(self, credentials: StationCredentials) -> Known:
        told = self.told.get(credentials.key)
        return self.table.of(
            *(told or (credentials.vendor, credentials.model, credentials.firmware_version)), credentials.station_id
        )

    def recognised(self, credentials: StationCredentials, boot: Boot) -> Known:
        self.told[credentials.key] = (boot.vendor, boot.model, boot.firmware_version)
        return self.known(credentials)

    def unknown_station(self, tenant_slug: str | None, station_id: str, remote_address: str) -> None:
        self.unknown.append((tenant_slug, station_id, remote_address))

    def connected(self, credentials: StationCredentials, link: StationLink) -> Actor:
        actor = self.actors.setdefault(credentials.key, Actor(self, credentials.key))
        older, actor.link = actor.link, link
        if older is not None:
            older.close(CloseReason.DISPLACED)
        self.notify()
        return actor

    def disconnected(self, credentials: StationCredentials, link: StationLink) -> None:
        actor = self.actors[credentials.key]
        self.gone.append(link)
        if actor.link is link:
            actor.link = None
        self.notify()

    def decide(self, key: StationKey, message: StationMessage) -> StationAnswer:
        info = IdTokenInfo(status=AuthorizationStatus.ACCEPTED)
        match message:
            case Boot():
                return BootAnswer(status=self.registrations[key], interval_s=300, now=NOW)
            case Authorize():
                return AuthorizeAnswer(id_token_info=info)
            case TransactionReport():
                return TransactionAnswer(
                    assigned_id=4711 if message.csms_assigns_id and message.kind is ReportKind.STARTED else None,
                    id_token_info=info if message.id_token is not None else None,
                )
            case _:
                return Acknowledged()

    def release(self) -> None:
        """The database is back."""
        self.held = False
        for actor in self.actors.values():
            actor.commit()

    def link(self, key: StationKey) -> StationLink:
        found = self.actors[key].link
        assert found is not None
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a connect or disconnect that makes the condition true."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(condition), 30)

    async def heard(self, count: int) -> None:
        """Waits until the actors have taken so many messages."""
        await self.until(lambda: sum(len(actor.messages) for actor in self.actors.values()) >= count)

    def notify(self) -> None:
        """Something changed that a test may wait for."""

        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._task = asyncio.get_running_loop().create_task(tell())


class ListLog:
    """A message log in memory."""

    def __init__(self) -> None:
        self.entries: list[LoggedCall] = []

    def add(self, entry: LoggedCall) -> None:
        self.entries.append(entry)
