"""What a subject does again and again by itself, on every node for the stations that are there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

import structlog

from chargeplane.store.database import is_unavailable

log = structlog.get_logger(__name__)


_AT_A_TIME: Final = 200

T = TypeVar("T")


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, letting the loop serve stations every few hundred: a node may have ten thousands to look at."""
    for number, item in enumerate(items, 1):
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
        yield item


class Pulse:
    """Calls something at an interval, one call at a time; an error is logged and the next call comes all the same.

    Args:
        name: for the log.
        every_s: from the end of a call to the next.
    """

    def __init__(self, name: str, every_s: float, beat: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._every_s = every_s
        self._beat = beat
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begins after one interval."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Ends it, and what it spawned, where they stand."""
        tasks = [task for task in (self._task, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something beside the beat; its errors are logged."""
        task = asyncio.create_task(self._guarded(work), name=f"{self._name} work")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._log(error)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._beat()
            except Exception as error:
                self._log(error)

    def _log(self, error: Exception) -> None:
        if is_unavailable(error):
            log.warning("pulse_without_database", subject=self._name)
        else:
            with contextlib.suppress(Exception):
                log.error("pulse_failed", subject=self._name, exc_info=error)
