"""The stations of this node: who may connect, which socket owns a station, and the actors behind them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog

from chargeplane.app.actor import Actor
from chargeplane.app.directory import Directory
from chargeplane.app.evidence import Doubts
from chargeplane.app.gaps import Gaps
from chargeplane.app.house import House, LiveFeed, Silence, StationSettings, utc_now
from chargeplane.app.ports import CloseReason, Proof, StationCredentials, StationLink
from chargeplane.domain.messages import Boot, Registration
from chargeplane.domain.quirks import Known, Limit
from chargeplane.domain.security_events import ServerEvent
from chargeplane.domain.transactions import Flag, TransactionState
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import NodeId, StationKey, TenantId, TransactionId
from chargeplane.store import stations as store
from chargeplane.store.commit import GroupCommitter, Node
from chargeplane.store.ids import IdBlocks
from chargeplane.store.queries import authorization
from chargeplane.store.tokens import TokenReader

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger(__name__)

T = TypeVar("T")

TRANSACTION_ID_BLOCK = 1000
OCPP16_ID_BLOCK = 1000
_LOAD_MOST = 500
_READERS = 4
_SEEN_CHUNK = 500

PasswordCheck = Callable[[StationCredentials, bytes], bool]
UnknownStation = Callable[[str | None, str, str], None]


Suspicion = Callable[[ServerEvent, StationCredentials | None, str, dict[str, str]], None]
"""Told what somebody tried: at which station, from which address, and more about it."""


CameIn = Callable[[StationCredentials, Proof], None]
"""Told how a station came in whose password or security profile is being changed."""


class Door(Protocol):
    """What of a node's door concerns whoever looks after security; both are set once, at the start."""

    on_suspicion: Suspicion
    on_came_in: CameIn


def _nothing(_: StationKey) -> None:
    pass


def _never(credentials: StationCredentials, password: bytes) -> bool:
    return False


def _unheard(
    event: ServerEvent, credentials: StationCredentials | None, remote_address: str, details: dict[str, str]
) -> None:
    pass


def _unproven(credentials: StationCredentials, proof: Proof) -> None:
    pass


def _proved_by(proof: Proof, password_hash: bytes | None, certificate_name: str | None) -> tuple[object, ...]:
    """What counts for a socket that came in by a security profile: the password in 1 and 2, the certificate's name in 3."""
    return (password_hash if proof.profile in (1, 2) else None, certificate_name if proof.profile == 3 else None)


class Stations:
    """Implements the edge's gateway (`ports.StationGateway`) and holds the actors.

    Args:
        directory: loaded already.
        node, committer: started already.
        connect: opens a connection for this object alone (loading state, taking stations over).
        tokens: id token reader.
        check_password: whether a password is the station's.
        check_next_password: whether it is the one that the station is given next.
        unknown: told of stations that are not registered.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        node: Node,
        committer: GroupCommitter,
        connect: Callable[[], Awaitable[Connection]],
        tokens: TokenReader,
        settings: StationSettings,
        check_password: PasswordCheck,
        unknown: UnknownStation,
        check_next_password: PasswordCheck = _never,
        feed: LiveFeed | None = None,
    ) -> None:
        self.directory = directory
        self._node = node
        self._committer = committer
        self._connect = connect
        self._readers: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()
        for _ in range(_READERS):
            self._readers.put_nowait(None)
        self._check_password = check_password
        self._check_next_password = check_next_password
        self._unknown = unknown
        self._actors: dict[StationKey, Actor] = {}
        self._wanted: list[Actor] = []
        self._loading: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._started_at = utc_now()
        self._settings = settings
        self._feed: LiveFeed = feed or Silence()
        self.doubts = Doubts(settings, self._may_ask, self.spawn)
        self.gaps = Gaps(settings, self._may_ask, self.spawn)
        self._flushed: datetime | None = None
        self.on_suspicion: Suspicion = _unheard
        self.on_came_in: CameIn = _unproven
        directory.on_quirks = self._quirks_changed
        self.on_connected: Callable[[StationKey], None] = _nothing
        self.on_disconnected: Callable[[StationKey], None] = _nothing
        self.house = House(
            node=node,
            committer=committer,
            tokens=tokens,
            transaction_ids=IdBlocks("transaction_id_seq", TRANSACTION_ID_BLOCK, self._fetch_value),
            ocpp16_ids=IdBlocks("ocpp16_transaction_id_seq", OCPP16_ID_BLOCK, self._fetch_value),
            settings=settings,
            spawn=self.spawn,
            request_load=self._request_load,
            history=lambda state: self._reading(lambda db: store.history(db, state)),
            earlier=lambda key, name: self._reading(lambda db: store.earlier(db, key, name)),
            registration=self._registration,
            heartbeat_interval=self._heartbeat_interval,
            doubt=self.doubts.add,
            gap=self.gaps.note,
            here=directory.here,
            key_codes_guessed=self._key_codes_guessed,
            limits_kept=lambda key: self._reading(lambda db: authorization.limits_kept(db, key)),
            limits_told=lambda number: self._reading(lambda db: authorization.limits_told(db, number)),
            feed=self._feed,
        )

    async def start(self) -> None:
        """Fetches the first ids and begins to sweep."""
        self._started_at = utc_now()
        self._committer.owned = self._owned
        self._committer.on_lost = self._lost
        self._committer.on_connected = self.house.tokens.forget
        for ids in (self.house.transaction_ids, self.house.ocpp16_ids):
            await ids.refill()
            ids.prime()
            await ids.refill()
        self._sweeper = asyncio.create_task(self._sweep_forever(), name="station-sweep")

    async def stop(self) -> None:
        """Ends the sweep after a last flush; the committer is stopped after this."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._flush(utc_now())
        for task in list(self._tasks):
            task.cancel()
        if self._loading is not None:
            self._loading.cancel()
        while not self._readers.empty():
            db = self._readers.get_nowait()
            if db is not None:
                db.terminate()

    # -- the edge's gateway ----------------------------------------------------------------------------------------------------

    def find(self, tenant_slug: str | None, station_id: str) -> StationCredentials | None:
        """The station that may connect as `station_id`."""
        return self.directory.find(tenant_slug, station_id)

    def verify_password(self, credentials: StationCredentials, password: bytes) -> bool:
        """Whether any accepted form of the password is right."""
        return self._check_password(credentials, password)

    def verify_next_password(self, credentials: StationCredentials, password: bytes) -> bool:
        """Whether it is the password that the station is given next."""
        return self._check_next_password(credentials, password)

    def suspicious(
        self, event: ServerEvent, credentials: StationCredentials | None, remote_address: str, details: dict[str, str]
    ) -> None:
        """Notes what somebody tried at the door."""
        self.on_suspicion(event, credentials, remote_address, details)

    def _key_codes_guessed(self, key: StationKey) -> None:
        self.on_suspicion(ServerEvent.KEY_CODES_GUESSED, self.directory.by_key(key), "", {})

    def known(self, credentials: StationCredentials) -> Known:
        """What is known of a station."""
        return self.directory.known(credentials)

    def recognised(self, credentials: StationCredentials, boot: Boot) -> Known:
        """What is known of a station that says at its boot what it is."""
        return self.directory.recognised(credentials, boot)

    def _quirks_changed(self, tenants: frozenset[TenantId]) -> None:
        for actor in self._actors.values():
            if actor.link is not None and actor.tenant_id in tenants:
                actor.link.know_again()

    def unknown_station(self, tenant_slug: str | None, station_id: str, remote_address: str) -> None:
        """Notes an attempt by a station that is not registered."""
        self._unknown(tenant_slug, station_id, remote_address)
        self.on_suspicion(ServerEvent.UNKNOWN_STATION, None, remote_address, {"station_id": station_id})

    def connected(self, credentials: StationCredentials, link: StationLink) -> Actor:
        """A new authenticated socket owns the station; an older one is closed."""
        actor = self._actor(credentials)
        old, actor.link = actor.link, link
        if not actor.is_loaded:
            self.directory.forget_told(actor.key)
        if old is not None:
            log.warning("station_displaced", station=actor.station_id, old=old.remote_address, new=link.remote_address)
            self._emit(
                actor, "station.displaced", {"old_address": old.remote_address, "new_address": link.remote_address}
            )
            old.close(CloseReason.DISPLACED)
            self.on_suspicion(
                ServerEvent.SECOND_CONNECTION,
                credentials,
                link.remote_address,
                {"old_address": old.remote_address, "new_address": link.remote_address},
            )
        if credentials.is_changing:
            self.on_came_in(credentials, link.proof)
        now = utc_now()
        actor.connected_at = now
        came_by = credentials.next_password_hash if link.proof.next_password else credentials.password_hash
        actor.proved = _proved_by(link.proof, came_by, credentials.certificate_name)
        actor.last_seen = now
        actor.booted = False
        version, address = link.ocpp_version, link.remote_address

        def write() -> None:
            if actor.link is link and actor.is_loaded:
                actor.submit_rows([actor.connection_row(link, True, now, now)])

        actor.run(write)
        self.on_connected(actor.key)
        self._emit(actor, "station.connected", {"ocpp_version": version, "remote_address": address})
        return actor

    def disconnected(self, credentials: StationCredentials, link: StationLink) -> None:
        """The socket is gone; nothing changes where a newer one owns the station."""
        actor = self._actors.get(credentials.key)
        if actor is None or actor.link is not link:
            return
        actor.link = None
        now = utc_now()
        seen = actor.last_seen

        def write() -> None:
            if actor.link is None and actor.is_loaded:
                actor.submit_rows([actor.connection_row(link, False, now, seen)])

        actor.run(write)
        self.on_disconnected(actor.key)
        self._emit(actor, "station.disconnected", {})

    # -- for use cases ---------------------------------------------------------------------------------------------------------

    def link(self, key: StationKey) -> StationLink | None:
        """The socket of a station that is connected to this node."""
        actor = self._actors.get(key)
        return actor.link if actor is not None else None

    def actor(self, key: StationKey) -> Actor:
        """The station's actor, made where there is none (it takes the station over when it is first used).

        Raises:
            NotFoundError: no such station.
        """
        credentials = self.directory.by_key(key)
        if credentials is None:
            raise NotFoundError("charging station", str(key))
        return self._actor(credentials)

    def last_seen(self, key: StationKey) -> datetime | None:
        """When the station was last heard of on this node."""
        actor = self._actors.get(key)
        return actor.last_seen if actor is not None else None

    @property
    def connected_count(self) -> int:
        """Stations with a socket on this node."""
        return sum(1 for actor in self._actors.values() if actor.link is not None)

    @property
    def node_id(self) -> NodeId:
        """This node."""
        return self._node.id

    def present(self) -> list[Actor]:
        """The actors of the stations with a socket on this node."""
        return [actor for actor in self._actors.values() if actor.link is not None]

    async def close_transaction(self, key: StationKey, number: TransactionId, reason: str) -> TransactionState:
        """Closes an open transaction by hand; returns when that is committed.

        Raises:
            NotFoundError: no such open transaction.
            UnavailableError: the station moved to another node meanwhile.
        """
        return await self.actor(key).close_transaction(
            number, reason=reason, flag=Flag.CLOSED_BY_OPERATOR, now=utc_now()
        )

    def proved_otherwise(self, key: StationKey) -> bool:
        """Whether a station's socket came in by other credentials than it has now, or by a security profile it has no more."""
        actor = self._actors.get(key)
        credentials = self.directory.by_key(key)
        if actor is None or actor.link is None or actor.proved is None or credentials is None:
            return False
        proof = actor.link.proof
        if proof.profile not in (credentials.security_profile, credentials.next_profile):
            return True
        return actor.proved != _proved_by(proof, credentials.password_hash, credentials.certificate_name)

    def credentials_changed(self, key: StationKey) -> None:
        """After the directory was refreshed: a deleted or refused station, or one with new credentials, loses its socket."""
        actor = self._actors.get(key)
        if actor is None:
            return
        credentials = self.directory.by_key(key)
        if actor.link is not None:
            if credentials is None:
                actor.link.close(CloseReason.DELETED)
            elif credentials.registration is Registration.REJECTED:
                actor.link.close(CloseReason.REJECTED)
        if credentials is None:
            del self._actors[key]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something that a message must wait for; kept until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("station_task_failed", exc_info=task.exception())

    def _actor(self, credentials: StationCredentials) -> Actor:
        actor = self._actors.get(credentials.key)
        if actor is None:
            actor = self._actors[credentials.key] = Actor(
                self.house, credentials.key, credentials.tenant_id, credentials.station_id
            )
        return actor

    def _registration(self, key: StationKey) -> Registration:
        credentials = self.directory.by_key(key)
        return credentials.registration if credentials is not None else Registration.REJECTED

    def _may_ask(self, key: StationKey) -> bool:
        """Whether a station takes questions that nobody but the server asked for."""
        return self._registration(key) is Registration.ACCEPTED and self.directory.asks_for_transactions(key)

    def _heartbeat_interval(self, key: StationKey) -> int:
        return self.directory.heartbeat_interval_s(key) or self._settings.heartbeat_interval_s

    def _emit(self, actor: Actor, kind: str, data: dict[str, object]) -> None:
        if self._feed.active:
            self._feed.emit(kind, actor.tenant_id, actor.station_id, data)

    # -- ownership -------------------------------------------------------------------------------------------------------------

    def _owned(self) -> list[StationKey]:
        return [key for key, actor in self._actors.items() if actor.is_loaded]

    def _lost(self, key: StationKey) -> None:
        """Another node took the station over: what is in memory of it is of the past."""
        actor = self._actors.get(key)
        if actor is not None and actor.is_loaded:
            actor.fenced()

    # -- reading state ---------------------------------------------------------------------------------------------------------

    def _request_load(self, actor: Actor) -> None:
        self._wanted.append(actor)
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load(), name="station-load")
            self._loading.add_done_callback(self._load_ended)

    def _load_ended(self, task: asyncio.Task[None]) -> None:
        self._loading = None
        if not task.cancelled() and task.exception() is not None:
            log.error("station_load_failed", exc_info=task.exception())
        elif self._wanted and not task.cancelled():
            self._loading = asyncio.get_running_loop().create_task(self._load(), name="station-load")
            self._loading.add_done_callback(self._load_ended)

    async def _load(self) -> None:
        """Loads all stations that were asked for, in one go, again and again until none is wanted."""
        while self._wanted:
            wanted, self._wanted = self._wanted[:_LOAD_MOST], self._wanted[_LOAD_MOST:]
            by_key = {actor.key: actor for actor in wanted}
            now = utc_now()
            repeats = now - self._started_at < store.REPEAT_WINDOW
            fence = self._node.fence

            found = await self._reading(functools.partial(self._load_owned, list(by_key), repeats))
            if self._node.fence != fence:
                # A takeover was noted while these were not among the stations in memory: what was read may be of before it.
                self._wanted = wanted + self._wanted
                continue
            now = utc_now()
            for key, state in found.items():
                link = by_key[key].link
                if state.node != self._node.id and link is not None:
                    link.know_again()
                by_key[key].loaded(state, now)

    async def _load_owned(
        self, keys: list[StationKey], repeats: bool, db: Connection
    ) -> dict[StationKey, store.Loaded]:
        """Committed state of stations that are ours then; those of other nodes are taken over first."""
        found = await store.load(db, keys, utc_now(), repeats=repeats)
        foreign = [key for key, state in found.items() if state.node != self._node.id]
        if foreign:
            await self._node.take_over(db, foreign)
            found.update(await store.load(db, foreign, utc_now(), repeats=repeats))
            # their boots were told to other nodes
            await self.directory.refresh(foreign)
        return found

    async def _reading(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs a read (or a takeover) to its end, however long the database is away."""
        delay = 0.05
        while True:
            db = await self._readers.get()
            try:
                if db is None or db.is_closed():
                    db = await self._connect()
                return await read(db)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.error("station_read_delayed", error=str(error) or type(error).__name__)
                if db is not None:
                    db.terminate()
                    db = None
            finally:
                self._readers.put_nowait(db)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)

    async def _fetch_value(self, query: str) -> Any:
        return await self._reading(lambda db: db.fetchval(query))

    # -- sweeping --------------------------------------------------------------------------------------------------------------

    async def _sweep_forever(self) -> None:
        settings = self._settings
        period = max(
            0.05,
            min(
                settings.seen_flush_s, settings.ask_by_evidence_after_s / 2, settings.close_by_evidence_after_s / 2, 5.0
            ),
        )
        flushed = utc_now()
        while True:
            await asyncio.sleep(period)
            now = utc_now()
            try:
                if now - flushed >= timedelta(seconds=self._settings.seen_flush_s):
                    flushed = now
                    self._flush(now)
                self.doubts.review(now)
                self.gaps.review(now)
                self._ask_for_boots(now)
            except Exception:
                log.exception("sweep_failed")

    def _flush(self, now: datetime) -> None:
        """Writes when stations were last heard of, and repair counts."""
        since = self._flushed
        self._flushed = now
        for actor in self._actors.values():
            if not actor.is_loaded:
                continue
            written = actor.sweep(now)
            seen = actor.last_seen
            link = actor.link
            if link is not None and seen is not None and (since is None or seen > since):
                written.append(actor.connection_row(link, True, actor.connected_at or now, seen))
            if written:
                actor.submit_rows(written)

    def _ask_for_boots(self, now: datetime) -> None:
        """A station that connected and sent no BootNotification is asked for one; it is served all the same."""
        after = self._settings.trigger_boot_after_s
        if after is None:
            return
        limit = timedelta(seconds=after)
        for actor in self._actors.values():
            link = actor.link
            if link is None or actor.booted or actor.connected_at is None or now - actor.connected_at < limit:
                continue
            actor.booted = True
            # A pending station may be triggered (OCPP 2.0.1 B02.FR.04), a rejected one is left alone (B03.FR.03).
            if not self.directory.triggers_boot(actor.key) or self._registration(actor.key) is Registration.REJECTED:
                continue
            credentials = self.directory.by_key(actor.key)
            untold = None if credentials is None else self.known(credentials).limits.get(Limit.BOOT_NOT_TRIGGERED)
            if untold is not None:
                actor.repaired((untold,))
            else:
                self.spawn(self._trigger_boot(actor, link))

    async def _trigger_boot(self, actor: Actor, link: StationLink) -> None:
        from chargeplane.domain.commands import Trigger

        try:
            outcome = await link.command(Trigger(message="BootNotification"), 30.0)
            log.info("boot_triggered", station=actor.station_id, state=outcome.state.value)
        except Exception as error:
            log.info("boot_not_triggered", station=actor.station_id, error=str(error))
