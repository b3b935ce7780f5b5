"""What keepers of the business have still to do, counted now and then, as measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chargeplane.app.pulse import Pulse
from chargeplane.kernel.measures import Measures
from chargeplane.store.database import Database
from chargeplane.store.queries.keeper_levels import KeeperLevel, levels

_EVERY_S: Final = 15.0


class KeeperLevels:
    """Counts on a node that does jobs; the measures are of all tenants, whichever node is asked."""

    def __init__(self, database: Database, measures: Measures, *, every_s: float = _EVERY_S) -> None:
        self._database = database
        self._levels: list[KeeperLevel] = []
        self._pulse = Pulse("keeper levels", every_s, self.count)
        measures.gauge(
            "chargeplane_keeper_waiting",
            "Work of the business that is due, by keeper; counted to 10,000.",
            lambda: self.by("waiting"),
            "keeper",
        )
        measures.gauge(
            "chargeplane_keeper_failing",
            "Work that failed when it was last tried, or was given up, by keeper; counted to 10,000.",
            lambda: self.by("failing"),
            "keeper",
        )
        measures.gauge(
            "chargeplane_keeper_oldest_seconds",
            "For how long the oldest work is due, by keeper.",
            lambda: self.by("oldest_s"),
            "keeper",
        )

    def start(self) -> None:
        """Counts from now on."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    async def count(self) -> None:
        """Counts once."""
        async with self._database.read() as db:
            self._levels = await levels(db)

    def by(self, field: str) -> Mapping[str, float]:
        """A field of `KeeperLevel`, by keeper, as last counted."""
        return {level.keeper: getattr(level, field) for level in self._levels}
