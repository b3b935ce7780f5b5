"""Stations that fall silent, and clocks that go wrong: looked for once a minute, told as alerts, cleared when it is over."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Final

import structlog

from chargeplane.app.alerts import Alerts
from chargeplane.domain.alerts import Severity
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import watch as queries

SILENCE: Final = "silence"
CLOCK: Final = "clock_offset"

_log = structlog.get_logger(__name__)


class StationWatch:
    """Looks after what stations do not say.

    Args:
        default_interval_s: heartbeat interval of stations whose own or tenant's settings name none.
        silent_intervals: so many heartbeat intervals without a word are silence; 0 looks for none.
        clock_offset_s: a clock that is off by more is told; 0 looks for none.
        slack_s: added to the intervals: when a station was last heard is written every so often.
    """

    def __init__(
        self,
        database: Database,
        alerts: Alerts,
        *,
        default_interval_s: int,
        silent_intervals: int,
        clock_offset_s: float,
        slack_s: float,
        every_s: float = 60.0,
    ) -> None:
        self._database = database
        self._alerts = alerts
        self._default_interval_s = default_interval_s
        self._silent_intervals = silent_intervals
        self._clock_offset_s = clock_offset_s
        self._slack = timedelta(seconds=slack_s)
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._look_for_ever(), name="station watch")

    async def stop(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except Exception as error:
                if is_unavailable(error):
                    _log.warning("station_watch_waits_for_the_database", error=str(error))
                else:
                    _log.exception("station_watch_failed")

    async def look(self) -> None:
        """One look; another node's look at the same time makes this one do nothing."""
        async with self._database.change() as db:
            if not await queries.alone(db):
                return
            if self._silent_intervals:
                silent = await queries.silent(db, self._default_interval_s, self._silent_intervals, self._slack)
                standing = await queries.standing(db, SILENCE)
                for one in silent:
                    if one.key not in standing:
                        await self._alerts.raise_alert(
                            db,
                            one.tenant_id,
                            one.key,
                            kind=SILENCE,
                            severity=Severity.WARNING,
                            title=f"{one.station_id} has said nothing for longer than {self._silent_intervals} heartbeats.",
                            details={"heard_at": one.heard_at, "connected": one.connected},
                        )
                still = {one.key for one in silent}
                for key, tenant_id in standing.items():
                    if key not in still:
                        because = "The station speaks again, or is not expected to."
                        await self._alerts.clear(db, tenant_id, key, kind=SILENCE, because=because)
            if self._clock_offset_s:
                wrong = await queries.wrong_clocks(db, self._clock_offset_s)
                standing = await queries.standing(db, CLOCK)
                for clock in wrong:
                    if clock.key not in standing:
                        ahead = "ahead" if clock.offset_s > 0 else "behind"
                        await self._alerts.raise_alert(
                            db,
                            clock.tenant_id,
                            clock.key,
                            kind=CLOCK,
                            severity=Severity.WARNING,
                            title=f"The clock of {clock.station_id} is {abs(clock.offset_s):.0f} s {ahead}.",
                            details={"offset_s": clock.offset_s, "measured_at": clock.measured_at},
                        )
                still = {clock.key for clock in wrong}
                for key, tenant_id in standing.items():
                    if key not in still:
                        await self._alerts.clear(db, tenant_id, key, kind=CLOCK, because="The clock is right again.")
