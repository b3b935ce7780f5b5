"""Drivers are shown at the station what their session costs so far (OCPP 2.0.1 I02)."""

from __future__ import annotations

from typing import Final

import structlog

from chargeplane.app.commands import Commands
from chargeplane.app.reach import StationReach
from chargeplane.domain.commands import UpdateCost
from chargeplane.domain.rating import Rating
from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.store.database import Database
from chargeplane.store.queries import sessions
from chargeplane.store.queries.sessions import Session

log = structlog.get_logger(__name__)
_VERSIONS: Final = frozenset({"2.0.1", "2.1"})
_VALID_S: Final = 20.0


class CostDisplay:
    """Tells stations what to show."""

    def __init__(
        self,
        database: Database,
        reach: StationReach,
        commands: Commands,
    ) -> None:
        self._database = database
        self._reach = reach
        self._commands = commands

    async def show(self, session: Session, rating: Rating) -> None:
        """Tells the station, where it is connected, can show it, and was not told the same before."""
        cost, ident = rating.due.incl, session.frozen.ocpp_transaction_id
        if ident is None or cost == session.shown_cost:
            return
        if await self._reach.version(session.station_key) not in _VERSIONS:
            return
        async with self._database.read() as db:
            if not await sessions.costs_shown(db, session.station_key, session.id):
                return
        try:
            await self._commands.give(
                session.tenant_id,
                session.station_key,
                UpdateCost(ocpp_transaction_id=ident, total_cost=cost),
                by="sessions",
                valid_s=_VALID_S,
            )
        except ChargeplaneError as error:
            log.warning("cost_not_shown", session=session.id, error=str(error))
            return
        async with self._database.change() as db:
            await sessions.shown(db, session.id, cost)
