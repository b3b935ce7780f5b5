"""Keeps the history of EVSEs' states, and computes the figures of days from it.

Both are looks that one node at a time takes. What is computed is written in place of what stood, a few hundred stations a database
transaction; a day that was not finished stays due, so that whoever comes next begins it again. The last days are computed anew every
quarter of an hour: what stations tell late, and what is billed late, finds its day.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from chargeplane.domain.performance.figures import figures
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import performance as queries

_STATIONS: Final = 300
_DAYS: Final = 50
_SETTLED_AFTER: Final = timedelta(days=3)

_log = structlog.get_logger(__name__)


class Rollups:
    """Looks until it is stopped.

    Args:
        states_every_s: between two looks at the states: what lasts shorter may not be seen.
        days_every_s: between two rounds over the last days.
    """

    def __init__(self, database: Database, *, states_every_s: float = 15.0, days_every_s: float = 900.0) -> None:
        self._database = database
        self._states_every_s = states_every_s
        self._days_every_s = days_every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks from now on."""
        self._task = asyncio.create_task(self._run(), name="performance")

    async def stop(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        next_round = 0.0
        while True:
            try:
                await self.note_states()
                if time.monotonic() >= next_round:
                    next_round = time.monotonic() + self._days_every_s
                    today = datetime.now(UTC).date()
                    async with self._database.change() as db:
                        await queries.mark_due(db, today - _SETTLED_AFTER, today)
                await self.compute()
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("performance_failed")
            await asyncio.sleep(self._states_every_s)

    async def note_states(self) -> int:
        """Writes down which EVSEs are in another state; how many."""
        async with self._database.change() as db:
            return await queries.note_states(db)

    async def compute(self) -> int:
        """Computes the days that are due, fifty at most; how many."""
        async with self._database.read() as db:
            days = await queries.due(db, _DAYS)
        for tenant_id, day, ticks in days:
            after = 0
            while True:
                async with self._database.change() as db:
                    if not await queries.alone(db):
                        return 0
                    keys = await queries.stations_behind(db, tenant_id, after, _STATIONS)
                    if not keys:
                        await queries.settle_due(db, tenant_id, day, ticks)
                        break
                    now = datetime.now(UTC)
                    rows = await queries.evse_days(db, tenant_id, day, keys)
                    made = [
                        (one, figures(day, one.states, one.exclusions, one.sessions, one.accepted, now)) for one in rows
                    ]
                    told = [pair for pair in made if pair[1] != _NOTHING or pair[0].revenue]
                    await queries.put_days(db, tenant_id, day, keys, told)
                after = keys[-1]
                await asyncio.sleep(0)
        return len(days)


_NOTHING: Final = figures(datetime(2000, 1, 1, tzinfo=UTC).date(), (), (), (), (), datetime(2000, 1, 1, tzinfo=UTC))
