"""Connections to PostgreSQL, by a URL of the operator's or of the embedded server.

Five kinds, because they must not wait for each other:
- writer connections (`connect_writer`): the group commit's, one each, owned by their user;
- a log connection (`connect_log`): synchronous_commit off, what is lost in a crash was lossy anyway;
- the reader pool (`readers`, `read`): the API's reads, with a statement timeout;
- the changer pool (`change`): the API's writes, each a transaction;
- the SQLAlchemy engine (`engine`): ordinary work outside of the hot path.

`json` and `jsonb` go in and come out as bytes of JSON text on all asyncpg connections: they are decoded by msgspec or
handed on as they are. The state of availability is kept by one probe, whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chargeplane.kernel.errors import InvalidInputError, UnavailableError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
PooledConnection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

READ_TIMEOUT_S: Final = 15
"""Longest statement an API read or write may run."""

_CONNECT_TIMEOUT_S: Final = 10.0
_PROBE_S: Final = 2.0
_FIRST_RETRY_S: Final = 0.1
_LAST_RETRY_S: Final = 2.0

_CONNECTION_LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,  # the dismissal came between two questions, and the next one met its remains
)


def is_unavailable(error: BaseException) -> bool:
    """Whether the error says that the database is away, and not that it refused the work."""
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error) or "closing" in str(error)
    return isinstance(error, (UnavailableError, *_CONNECTION_LOST))


class DatabaseAddress(Struct, frozen=True, kw_only=True):
    """Where the database is.

    Args:
        host: name, address, or the folder of a Unix socket.
        port: TCP port, or the number in the socket's name.
        user, password, database: as PostgreSQL knows them; password None where it needs none.
        options: libpq's query parameters of the URL that are left, such as sslmode.
    """

    host: str
    port: int
    user: str
    password: str | None
    database: str
    options: dict[str, str]

    def __str__(self) -> str:
        """For messages: without the password."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def with_database(self, database: str) -> DatabaseAddress:
        """The same server, another database."""
        return DatabaseAddress(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            options=self.options,
        )

    def asyncpg_arguments(self) -> dict[str, Any]:
        """Arguments of asyncpg.connect."""
        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
        }
        if "sslmode" in self.options:
            arguments["ssl"] = self.options["sslmode"]
        return arguments


def parse_address(url: str) -> DatabaseAddress:
    """Reads `postgresql://user:password@host:port/database?host=/socket/folder&sslmode=...`.

    Args:
        url: also with the scheme `postgres` or `postgresql+asyncpg`.
    Raises:
        InvalidInputError: it is not such a URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInputError("The database URL has no valid port.") from None
    if parts.scheme not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise InvalidInputError(
            f"The database URL must begin with postgresql:// (PostgreSQL is the only database); it has "
            f"'{parts.scheme}'."
        )
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    database = unquote(parts.path.lstrip("/")) or options.pop("dbname", "")
    user = unquote(parts.username or "") or options.pop("user", "")
    if not database or not user:
        raise InvalidInputError("The database URL must name a user and a database: postgresql://user@host/database.")
    return DatabaseAddress(
        host=options.pop("host", "") or unquote(parts.hostname or "localhost"),
        port=int(options.pop("port", "") or port or 5432),
        user=user,
        password=unquote(parts.password) if parts.password is not None else options.pop("password", None),
        database=database,
        options=options,
    )


class _Pooled(asyncpg.Connection[asyncpg.Record] if TYPE_CHECKING else asyncpg.Connection):  # type: ignore[misc]
    """A connection of a pool: given back without asking the server.

    asyncpg would have it forget session settings, listeners and advisory locks each time, a round trip that costs as much as a small
    query. Whoever sets something for longer than a transaction has a connection of its own (`connect_listener`, `connect_writer`); an
    open transaction is ended all the same.
    """

    def get_reset_query(self) -> str:
        return ""


async def set_json_codecs(connection: Connection | PooledConnection) -> None:
    """Makes json and jsonb bytes of JSON text in both directions on one connection, COPY included."""
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=b"\x01".__add__, decoder=_without_version, format="binary"
    )


def _without_version(value: bytes) -> bytes:
    return value[1:]  # jsonb in binary form is a version byte (1) and the text


class Database:
    """One PostgreSQL database and our connections to it.

    Args:
        url: see parse_address.
        application: prefix of application_name in pg_stat_activity.
        readers: connections of the reader pool at most.
    """

    def __init__(self, url: str, *, application: str = "chargeplane", readers: int = 10) -> None:
        self.url = url
        self.address = parse_address(url)
        self._application = application
        self._reader_limit = readers
        self._readers: Pool | None = None
        self._changers: Pool | None = None
        self._pool_lock = asyncio.Lock()
        self._engine: AsyncEngine | None = None
        self._available = asyncio.Event()
        self._probe: asyncio.Task[None] | None = None
        self._monitor: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[bool], None]] = []
        self._after: dict[int, list[Callable[[], None]]] = {}

    # Connections

    async def connect_writer(self, purpose: str = "commit") -> Connection:
        """A connection for durable writes, owned by the caller.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        return await self._connect(purpose, {"synchronous_commit": "on", "idle_in_transaction_session_timeout": "60s"})

    async def connect_log(self) -> Connection:
        """The message log's connection: what it commits may be lost in a crash of PostgreSQL, nothing else.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        return await self._connect("log", {"synchronous_commit": "off"})

    async def connect_listener(self) -> Connection:
        """A connection for LISTEN, or for session-level advisory locks.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        return await self._connect("listen", {})

    async def _connect(self, purpose: str, settings: dict[str, str]) -> Connection:
        try:
            connection: Connection = await asyncpg.connect(
                **self.address.asyncpg_arguments(),
                timeout=_CONNECT_TIMEOUT_S,
                server_settings={"application_name": f"{self._application} {purpose}", "jit": "off", **settings},
            )
            await set_json_codecs(connection)
        except (*_CONNECTION_LOST, asyncpg.InterfaceError) as error:
            raise self._away(error) from error
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise InvalidInputError(f"The database {self.address} refused the login: {error}.") from error
        except asyncpg.InvalidCatalogNameError as error:
            raise InvalidInputError(f"The server of {self.address} has no such database: create it first.") from error
        return connection

    async def readers(self) -> Pool:
        """The pool for reads; made at the first call.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        if self._readers is None:
            async with self._pool_lock:
                if self._readers is None:
                    self._readers = await self._make_readers()
        return self._readers

    async def _make_readers(self) -> Pool:
        return await self._make_pool("read", {"default_transaction_read_only": "on"})

    async def _make_pool(self, purpose: str, settings: dict[str, str]) -> Pool:
        try:
            pool: Pool = await asyncpg.create_pool(
                **self.address.asyncpg_arguments(),
                min_size=1,
                max_size=self._reader_limit,
                timeout=_CONNECT_TIMEOUT_S,
                init=set_json_codecs,
                connection_class=_Pooled,
                server_settings={
                    "application_name": f"{self._application} {purpose}",
                    "statement_timeout": f"{READ_TIMEOUT_S}s",
                    "jit": "off",
                    **settings,
                },
            )
        except (*_CONNECTION_LOST, asyncpg.InterfaceError) as error:
            raise self._away(error) from error
        return pool

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[PooledConnection]:
        """A read-only connection for the `async with` block.

        Raises:
            UnavailableError: the database is away, or the statement took longer than READ_TIMEOUT_S.
        """
        pool = await self.readers()
        with self._told_unavailable():
            async with pool.acquire(timeout=READ_TIMEOUT_S) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[PooledConnection]:
        """A transaction for the `async with` block: committed at its end, rolled back where it raises.

        Raises:
            UnavailableError: the database is away (whether the transaction was committed is then unknown), or the
                statement took longer than READ_TIMEOUT_S.
        """
        if self._changers is None:
            async with self._pool_lock:
                if self._changers is None:
                    self._changers = await self._make_pool("change", {"idle_in_transaction_session_timeout": "60s"})
        after: list[Callable[[], None]] = []
        with self._told_unavailable():
            async with self._changers.acquire(timeout=READ_TIMEOUT_S) as connection:
                self._after[id(connection)] = after
                try:
                    async with connection.transaction():
                        yield connection
                finally:
                    del self._after[id(connection)]
        for act in after:
            act()

    def after_commit(self, db: Connection | PooledConnection, act: Callable[[], None]) -> None:
        """Has something done when the change that `db` belongs to is committed; never where it is rolled back.

        Args:
            db: of `change`; of any other connection nothing is known, and it is done at once.
        """
        waiting = self._after.get(id(db))
        if waiting is None:
            act()
        else:
            waiting.append(act)

    @contextlib.contextmanager
    def _told_unavailable(self) -> Iterator[None]:
        try:
            yield
        except asyncpg.QueryCanceledError as error:
            raise UnavailableError(f"The query took longer than {READ_TIMEOUT_S} s and was cancelled.") from error
        except (*_CONNECTION_LOST, asyncpg.InterfaceError) as error:
            if not is_unavailable(error):
                raise
            raise self._away(error) from error

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine over asyncpg, for ordinary work; made at first use."""
        if self._engine is None:
            self._engine = make_engine(self.address, f"{self._application} work")
        return self._engine

    async def close(self) -> None:
        """Closes what this object opened; connections given away stay with their owners."""
        for task in (self._monitor, self._probe):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._monitor = self._probe = None
        for pool in (self._readers, self._changers):
            if pool is None:
                continue
            try:
                await asyncio.wait_for(pool.close(), 5)
            except TimeoutError:
                pool.terminate()
        self._readers = self._changers = None
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    # Availability

    @property
    def available(self) -> bool:
        """Whether the database answered when it was last asked or used."""
        return self._available.is_set()

    def on_availability(self, listener: Callable[[bool], None]) -> None:
        """Calls back, in the event loop, with True or False at each change."""
        self._listeners.append(listener)

    def lost(self, _error: BaseException | None = None) -> None:
        """To be told by whoever saw the database fail: starts probing for its return at once."""
        self._set_available(False)
        self._start_probe()

    async def wait_available(self) -> None:
        """Returns when the database takes a query; at once where nothing is known to be wrong."""
        if not self._available.is_set():
            self._start_probe()
            await self._available.wait()

    def monitor(self) -> None:
        """Watches availability from now on (every two seconds), for readiness."""
        if self._monitor is None:
            self._monitor = asyncio.create_task(self._watch(), name="database-monitor")

    def _set_available(self, value: bool) -> None:
        if value == self._available.is_set():
            return
        if value:
            self._available.set()
        else:
            self._available.clear()
        for listener in self._listeners:
            listener(value)

    def _start_probe(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._probe_until_back(), name="database-probe")

    async def _probe_until_back(self) -> None:
        delay = _FIRST_RETRY_S
        while True:
            try:
                connection = await self._connect("probe", {})
                try:
                    await connection.fetchval("SELECT 1", timeout=_CONNECT_TIMEOUT_S)
                finally:
                    connection.terminate()
            except (UnavailableError, InvalidInputError, *_CONNECTION_LOST):
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY_S)
            else:
                self._set_available(True)
                return

    async def _watch(self) -> None:
        connection: Connection | None = None
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await self._connect("monitor", {})
                    connection.add_termination_listener(lambda _connection: self.lost())
                await connection.fetchval("SELECT 1", timeout=_CONNECT_TIMEOUT_S)
                self._set_available(True)
                await asyncio.sleep(_PROBE_S)
            except (UnavailableError, InvalidInputError, asyncpg.InterfaceError, *_CONNECTION_LOST):
                if connection is not None:
                    connection.terminate()
                    connection = None
                self._set_available(False)
                await self.wait_available()
            except asyncio.CancelledError:
                if connection is not None:
                    connection.terminate()
                raise

    def _away(self, error: BaseException) -> UnavailableError:
        self._set_available(False)
        return unreachable(self.address, error)


def make_engine(address: DatabaseAddress, application: str) -> AsyncEngine:
    """SQLAlchemy's engine for an address; the caller disposes of it."""
    arguments = address.asyncpg_arguments()
    url = URL.create(
        "postgresql+asyncpg", username=arguments.pop("user"), password=arguments.pop("password"), database="x"
    ).set(database=arguments.pop("database"))
    return create_async_engine(
        url,
        pool_size=3,
        max_overflow=5,
        pool_pre_ping=True,
        connect_args={
            **arguments,
            "timeout": _CONNECT_TIMEOUT_S,
            "server_settings": {"application_name": application, "jit": "off"},
        },
    )


def unreachable(address: DatabaseAddress, error: BaseException) -> UnavailableError:
    """What is said of a database that cannot be reached: where it is, without the password, and why."""
    return UnavailableError(f"The database {address} cannot be reached: {_reason(error)}.")


def _reason(error: BaseException) -> str:
    while isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig.__cause__ or error.orig  # SQLAlchemy's own sentences are for programmers
    if isinstance(error, FileNotFoundError):
        return "its socket is not there, so it does not run"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, socket.gaierror):
        return "its host name is unknown"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (str(error) or type(error).__name__).rstrip(".")
