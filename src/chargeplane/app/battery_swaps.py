"""Swaps of batteries, as stations tell them (OCPP 2.1, block S)."""

from __future__ import annotations

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place, Reports
from chargeplane.domain.station_exchanges import BatterySwapReport
from chargeplane.store.database import Database
from chargeplane.store.queries import battery_swaps as queries
from chargeplane.store.queries.battery_swaps import BatterySwapView
from chargeplane.store.queries.paging import Position


class BatterySwaps:
    """Use cases about swaps."""

    def __init__(self, database: Database, events: EventFeed) -> None:
        self._database = database
        self._events = events

    def register(self, reports: Reports) -> None:
        """Takes what stations tell."""
        reports.take(BatterySwapReport, self._reported)

    async def page(
        self, caller: Caller, station_id: str | None, limit: int, after: Position | None
    ) -> list[BatterySwapView]:
        """Swaps, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, station_id, limit, after)

    async def _reported(self, place: Place, report: BatterySwapReport) -> None:
        async with self._database.change() as db:
            ident = await queries.note(
                db,
                place.tenant_id,
                place.key,
                report.request_id,
                report.id_token,
                report.event,
                report.batteries,
                place.received_at,
                place.fact_id,
            )
            view = None if ident is None else await queries.one(db, ident)
        if view is not None:
            self._events.publish("battery_swap.updated", place.tenant_id, view.station_id, view)
