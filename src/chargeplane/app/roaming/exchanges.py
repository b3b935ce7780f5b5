"""What went over the wire with partners: written in batches beside the work, bounded and lossy; searched by operators, replayed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

import structlog

from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_exchanges as queries
from chargeplane.store.queries.roaming_exchanges import Exchange

__all__ = ["Exchange", "ExchangeLog"]

_QUEUE: Final = 20_000
_BATCH: Final = 100
"""A statement of so many takes the loop 2 ms or so; stations share it."""
_KEPT_BYTES: Final = 16 * 1024
_log = structlog.get_logger(__name__)


class ExchangeLog:
    """Writes exchanges down; never makes anybody wait.

    Attributes:
        dropped: exchanges that were not written, because more came than could be.
    """

    def __init__(self, database: Database, *, every_s: float = 0.25) -> None:
        self._database = database
        self._every_s = every_s
        self._queue: deque[Exchange] = deque()
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def add(self, exchange: Exchange) -> None:
        """Takes an exchange, or counts a drop."""
        if len(self._queue) >= _QUEUE:
            self.dropped += 1
            return
        self._queue.append(exchange)
        self._wake.set()

    async def start(self) -> None:
        """Writes from now on."""
        self._task = asyncio.create_task(self._run(), name="roaming exchanges")

    async def stop(self) -> None:
        """Writes what waits and ends."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await self.flush()

    async def flush(self) -> None:
        """Writes all that waits."""
        async with self._writing:  # who asks for the newest may come while others are being written
            while self._queue:
                batch = [self._queue[place] for place in range(min(_BATCH, len(self._queue)))]
                await queries.insert(self._database, batch, _KEPT_BYTES)
                for _ in batch:
                    self._queue.popleft()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except Exception as error:
                _log.warning("roaming_exchanges_failed", error=str(error))
                await asyncio.sleep(1)
                self._wake.set()
            await asyncio.sleep(self._every_s)
