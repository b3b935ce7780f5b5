"""Opening hours brought to stations: out of service when they close, in service when they open.

Every node looks after the stations connected to it. What a station was told lasts over its reboots, as anything does that
`availability` wrote down. A transaction that runs at closing time goes on: the station schedules the change. An operator's own word
about the whole station holds until the hours change next.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from chargeplane.app import availability
from chargeplane.app.actor import Actor
from chargeplane.app.commands import Commands
from chargeplane.app.directory import Directory
from chargeplane.app.house import utc_now
from chargeplane.app.presence import Presence
from chargeplane.app.pulse import Pulse, paced
from chargeplane.domain.commands import ChangeAvailability, CommandState
from chargeplane.domain.opening_hours import OpeningHours, changed_at, is_open
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import availability as queries

BY: Final = "opening hours"
_RETRY: Final = timedelta(minutes=5)

log = structlog.get_logger(__name__)


class OpeningHoursKeeper:
    """Keeps stations to their hours.

    Args:
        every_s: how often the clock is looked at.
    """

    def __init__(
        self, database: Database, commands: Commands, stations: Presence, directory: Directory, *, every_s: float = 10.0
    ) -> None:
        self._database = database
        self._commands = commands
        self._stations = stations
        self._directory = directory
        self._settled: dict[StationKey, tuple[OpeningHours, bool]] = {}
        self._not_before: dict[StationKey, datetime] = {}
        self._running: set[StationKey] = set()
        self._pulse = Pulse("opening hours", every_s, self._beat)

    async def start(self) -> None:
        """Begins to look at the clock."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    async def _beat(self) -> None:
        if not self._directory.keeps_hours:
            self._settled.clear()
            self._not_before.clear()
            return
        now = utc_now()
        async for actor in paced(self._stations.present()):
            hours = self._directory.opening_hours(actor.key)
            link = actor.link
            if hours is None or link is None or not link.accepted or actor.key in self._running:
                continue
            wanted = (hours, is_open(hours, now))
            if self._settled.get(actor.key) == wanted:
                continue
            if now < self._not_before.get(actor.key, now):
                continue
            self._running.add(actor.key)
            self._pulse.spawn(self._bring(actor, *wanted, now))

    async def _bring(self, actor: Actor, hours: OpeningHours, operative: bool, now: datetime) -> None:
        try:
            if await self._is_so(actor.key, hours, operative, now):
                self._settled[actor.key] = (hours, operative)
                return
            command = ChangeAvailability(operative=operative)
            outcome = await self._commands.ask(actor.tenant_id, actor.key, command, by=BY, valid_s=60.0)
            if outcome.state is CommandState.ACCEPTED:
                self._settled[actor.key] = (hours, operative)
                self._not_before.pop(actor.key, None)
                log.info("opening_hours_told", station=actor.station_id, open=operative)
            else:
                self._not_before[actor.key] = utc_now() + _RETRY
        finally:
            self._running.discard(actor.key)

    async def _is_so(self, key: StationKey, hours: OpeningHours, operative: bool, now: datetime) -> bool:
        """Whether the station has been told, or an operator has said otherwise since the hours last changed."""
        async with self._database.read() as db:
            stored = await queries.of_station(db, key)
            whole = next((one for one in stored if one.evse_id == 0 and one.connector_id == 0), None)
            if (whole is None or whole.operative) is operative:
                return True
            ours = whole is None or await queries.last_word_is(
                db, key, f"policy: {BY}", repeats=f"policy: {availability.BY}"
            )
        if ours or whole is None:
            return False
        edge = changed_at(hours, now)
        return edge is None or whole.requested_at >= edge
