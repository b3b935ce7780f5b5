"""The OCPP message log: its own connection, COPY, synchronous_commit off, a bounded queue whose drops are counted.

It never delays a message and never fails one: where the database is slower than the stations talk, lines are dropped and the count
of the dropped is what the operator sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog

from chargeplane.store.commit.fields import NULL, Field, boolean, day, int4, int8, raw, timestamp

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
    """Takes entries (`app.ports.LoggedCall`) and copies them while they come: a COPY stays open for a while and is fed a little at
    a time, so that neither this process nor the database ever has thousands to write in one go. Nobody waits for its end.

    Args:
        connect: opens a connection with synchronous_commit off.
        queue_limit: entries that may wait.
        span_s: how long a COPY takes entries; then they can be read.
        pace_s: between two helpings.
        batch: entries at which a COPY ends early.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        queue_limit: int = 50_000,
        span_s: float = 0.25,
        pace_s: float = 0.02,
        batch: int = 5_000,
    ) -> None:
        self._connect = connect
        self._limit = queue_limit
        self._span_s = span_s
        self._pace_s = pace_s
        self._batch = batch
        self._entries: list[Any] = []
        self._task: asyncio.Task[None] | None = None
        self._db: Connection | None = None
        self._copied = 0
        self._stopping = False
        self.dropped = 0
        """Entries that were not written, since the start."""

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
        self._stopping = True
        try:
            async with asyncio.timeout(5):
                if self._task is not None:
                    await self._task
                await self.flush()
        except Exception as error:
            log.warning("message_log_not_flushed", entries=len(self._entries), error=str(error) or type(error).__name__)
        if self._db is not None:
            self._db.terminate()

    async def flush(self) -> None:
        """Writes everything queued so far; for a log that was not started, or was stopped."""
        while self._entries and await self._write(0):
            pass

    async def _run(self) -> None:
        while not self._stopping:
            if not self._entries:
                await asyncio.sleep(self._pace_s)
            elif not await self._write(self._span_s):
                await asyncio.sleep(self._span_s)

    async def _write(self, span_s: float) -> bool:
        """One COPY of what is queued and of what comes within `span_s`; whether the database has taken it."""
        self._copied = 0
        try:
            if self._db is None or self._db.is_closed():
                self._db = await self._connect()
            await self._db.copy_to_table("message_log", source=self._stream(span_s), columns=_COLUMNS, format="binary")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not self._copied:
                self._copied = len(self._take(self._batch))
            self.dropped += self._copied
            log.warning("message_log_dropped", entries=self._copied, error=str(error) or type(error).__name__)
            if self._db is not None and self._db.is_closed():
                self._db = None
            return False
        return True

    def _take(self, most: int) -> list[Any]:
        taken = self._entries[:most]
        del self._entries[: len(taken)]
        return taken

    async def _stream(self, span_s: float) -> AsyncIterator[bytes]:
        """Entries in PostgreSQL's binary COPY format, a few at a time: no station waits while many are encoded."""
        clock = asyncio.get_running_loop().time
        until = clock() + span_s
        yield _COPY_HEADER
        while True:
            while self._entries and self._copied < self._batch:
                taken = self._take(_CHUNK)
                self._copied += len(taken)
                yield _rows(taken)
                await asyncio.sleep(0)
            if self._stopping or self._copied >= self._batch or clock() >= until:
                break
            await asyncio.sleep(self._pace_s)
        yield _COPY_TRAILER


class _Words(dict[str, Field]):
    """Fields of words that recur (actions, outcomes), made once; bounded, because stations choose some of them."""

    def __missing__(self, word: str) -> Field:
        field = _storable(word.encode("utf-8", "replace"))
        if len(self) < 1000:
            self[word] = field
        return field


_words = _Words()


def _rows(entries: list[Any]) -> bytes:
    fields: list[bytes] = []
    for entry in entries:
        at = entry.at
        fields += (
            _ROW,
            day(at.date()),
            timestamp(at),
            int8(entry.station),
            boolean(entry.from_station),
            _words[entry.action],
            _storable(entry.message_id.encode("utf-8", "replace")),
            _words[entry.outcome],
            NULL if entry.error_code is None else _words[entry.error_code],
            NULL if entry.latency_us is None else int4(min(entry.latency_us, _MAX_INT4)),
            _payload(entry.request),
            _payload(entry.response),
            boolean(entry.stored),
        )
    return b"".join(fields)


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
