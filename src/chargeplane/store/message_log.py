"""The OCPP message log: its own connection, COPY, synchronous_commit off, a bounded queue whose drops are counted.

It never delays a message and never fails one: where the database is slower than the stations talk, lines are dropped and the count
of the dropped is what the operator sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog

from chargeplane.store.commit.fields import NULL, Field, boolean, day, int4, int8, raw, text, timestamp

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger(__name__)

_COLUMNS = (
    "logged_on",
    "at",
    "station_key",
    "from_station",
    "action",
    "message_id",
    "outcome",
    "error_code",
    "latency_us",
    "request",
    "response",
    "stored",
)

_TEXT_LIMIT = 64 * 1024
_MAX_INT4 = 2**31 - 1
_CHUNK = 100
_COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER = b"\xff\xff"
_ROW = len(_COLUMNS).to_bytes(2, "big")


class MessageLogWriter:
    """Takes entries (`app.ports.LoggedCall`) and copies them in batches.

    Args:
        connect: opens a connection with synchronous_commit off.
        queue_limit: entries that may wait.
        period_s: how long a batch gathers; nobody waits for it.
        batch: entries in one COPY.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        queue_limit: int = 50_000,
        period_s: float = 0.25,
        batch: int = 5_000,
    ) -> None:
        self._connect = connect
        self._limit = queue_limit
        self._period_s = period_s
        self._batch = batch
        self._entries: list[Any] = []
        self._task: asyncio.Task[None] | None = None
        self._db: Connection | None = None
        self.dropped = 0
        """Entries that were not written, since the start."""
        self.on_written: Callable[[list[Any]], None] | None = None

    def add(self, entry: Any) -> None:
        """Queues an entry or counts a drop; never waits."""
        if len(self._entries) < self._limit:
            self._entries.append(entry)
        else:
            self.dropped += 1

    @property
    def queued(self) -> int:
        """Entries that wait."""
        return len(self._entries)

    async def start(self) -> None:
        """Begins to write."""
        self._task = asyncio.create_task(self._run(), name="message-log")

    async def stop(self) -> None:
        """Writes what is queued and ends."""
        if self._task is not None:
            self._task.cancel()
        try:
            async with asyncio.timeout(5):
                while self._entries and await self._write():
                    pass
        except Exception as error:
            log.warning("message_log_not_flushed", entries=len(self._entries), error=str(error))
        if self._db is not None:
            self._db.terminate()

    async def flush(self) -> None:
        """Writes everything queued so far (tests, and readers that just caused an entry)."""
        while self._entries and await self._write():
            pass

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            while self._entries:
                if not await self._write() or len(self._entries) < self._batch // 2:
                    break

    async def _write(self) -> bool:
        entries = self._entries[: self._batch]
        del self._entries[: self._batch]
        try:
            if self._db is None or self._db.is_closed():
                self._db = await self._connect()
            await self._copy(self._db, entries)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.dropped += len(entries)
            log.warning("message_log_dropped", entries=len(entries), error=str(error) or type(error).__name__)
            if self._db is not None and self._db.is_closed():
                self._db = None
            return False
        if self.on_written is not None:
            self.on_written(entries)
        return True

    @staticmethod
    async def _copy(db: Connection, entries: list[Any]) -> None:
        await db.copy_to_table("message_log", source=_binary(entries), columns=_COLUMNS, format="binary")


async def _binary(entries: list[Any]) -> AsyncIterator[bytes]:
    """The entries in PostgreSQL's binary COPY format, a few at a time: no station waits while thousands are encoded."""
    yield _COPY_HEADER
    for start in range(0, len(entries), _CHUNK):
        rows: list[bytes] = []
        for entry in entries[start : start + _CHUNK]:
            at = entry.at
            rows += (
                _ROW,
                day(at.date()),
                timestamp(at),
                int8(entry.station),
                boolean(entry.from_station),
                _storable(entry.action.encode("utf-8", "replace")),
                _storable(entry.message_id.encode("utf-8", "replace")),
                text(entry.outcome),
                NULL if entry.error_code is None else _storable(entry.error_code.encode("utf-8", "replace")),
                NULL if entry.latency_us is None else int4(min(entry.latency_us, _MAX_INT4)),
                _payload(entry.request),
                _payload(entry.response),
                boolean(entry.stored),
            )
        yield b"".join(rows)
        await asyncio.sleep(0)
    yield _COPY_TRAILER


def _payload(payload: bytes | None) -> Field:
    """A payload as text the database takes, cut where it is huge."""
    if payload is None:
        return NULL
    if len(payload) > _TEXT_LIMIT:
        payload = payload[:_TEXT_LIMIT]
    return _storable(payload)


def _storable(value: bytes) -> Field:
    """Bytes as text: what is no UTF-8, and NUL, is replaced."""
    if value.isascii():
        return raw(value) if b"\x00" not in value else raw(value.replace(b"\x00", b"?"))
    return raw(value.decode("utf-8", "replace").replace("\x00", "�").encode())
