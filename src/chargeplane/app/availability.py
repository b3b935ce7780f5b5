"""The availability that operators asked for: written down, and told again to a station that forgot it over a reboot."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from chargeplane.app.actor import Actor
from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.house import utc_now
from chargeplane.app.presence import Presence
from chargeplane.app.pulse import Pulse, paced
from chargeplane.domain.availability import Wanted, forgotten
from chargeplane.domain.commands import ChangeAvailability, CommandOutcome, CommandState
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import availability as queries
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries.availability import WantedAvailability

BY: Final = "availability"
"""Who says again what an operator, or another policy, has asked for."""

log = structlog.get_logger(__name__)


class Availability:
    """Use cases about availability.

    Args:
        after_boot_s: how long a booted station has to report its statuses before they are compared with what is wanted.
    """

    def __init__(
        self, database: Database, commands: Commands, stations: Presence, *, after_boot_s: float = 20.0
    ) -> None:
        self._database = database
        self._commands = commands
        self._stations = stations
        self._after_boot = timedelta(seconds=after_boot_s)
        self._compared: dict[StationKey, datetime] = {}
        self._pulse = Pulse("availability", max(0.05, min(5.0, after_boot_s / 3)), self._beat)
        commands.followers.setdefault(ChangeAvailability, []).append(self._changed)

    async def start(self) -> None:
        """Begins to watch for boots."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    async def wanted(self, caller: Caller, station_id: str) -> list[WantedAvailability]:
        """What operators want of a station and its places, the widest first.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
            return await queries.of_station(db, key)

    async def _changed(
        self, tenant_id: TenantId, key: StationKey, command: ChangeAvailability, outcome: CommandOutcome
    ) -> None:
        # Accepted holds at once, Scheduled when the transaction has ended; both are to last over a reboot.
        if outcome.state is CommandState.ACCEPTED:
            link = self._stations.link(key)
            alone = link is not None and link.ocpp_version == "1.6"
            evse, connector = command.evse_id or 0, 0 if alone else command.connector_id or 0
            async with self._database.change() as db:
                await queries.want(db, key, evse, connector, command.operative, alone=alone)

    async def _beat(self) -> None:
        now = utc_now()
        async for actor in paced(self._stations.present()):
            booted = actor.booted_at
            link = actor.link
            if booted is None or now - booted < self._after_boot or self._compared.get(actor.key) == booted:
                continue
            if link is None or not link.accepted or not actor.is_loaded:
                continue
            self._compared[actor.key] = booted
            self._pulse.spawn(self._compare(actor))

    async def _compare(self, actor: Actor) -> None:
        try:
            async with self._database.read() as db:
                stored = await queries.of_station(db, actor.key)
        except BaseException:
            self._compared.pop(actor.key, None)  # the next look does it
            raise
        if not stored:
            return
        wanted = [Wanted(evse_id=one.evse_id, connector_id=one.connector_id, operative=one.operative) for one in stored]
        reported = {place: known.status for place, known in actor.connectors.items()}
        for one in forgotten(wanted, reported):
            log.info("availability_told_again", station=actor.station_id, evse=one.evse_id, operative=one.operative)
            async with self._database.change() as db:
                await queries.sent_again(db, actor.key, one.evse_id, one.connector_id)
            command = ChangeAvailability(
                operative=one.operative,
                evse_id=one.evse_id or None,
                connector_id=one.connector_id or None,
            )
            await self._commands.ask(actor.tenant_id, actor.key, command, by=BY, valid_s=60.0)
