"""Swaps of batteries, as stations tell them (OCPP 2.1, block S)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, Send
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place, Reports
from chargeplane.domain.authorization import authorize
from chargeplane.domain.commands import CommandOutcome, CommandState, RequestBatterySwap
from chargeplane.domain.messages import AuthorizationStatus
from chargeplane.domain.station_exchanges import BatterySwapReport
from chargeplane.domain.token_rules import Here
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import battery_swaps as queries
from chargeplane.store.queries import id_tokens
from chargeplane.store.queries.battery_swaps import BatterySwapView
from chargeplane.store.queries.paging import Position


class BatterySwaps:
    """Use cases about swaps.

    Args:
        commands: a swap is asked for by one.
        here: the rules of a station's tenant about id tokens.
    """

    def __init__(
        self, database: Database, events: EventFeed, commands: Commands, here: Callable[[StationKey], Here]
    ) -> None:
        self._database = database
        self._events = events
        self._here = here
        commands.wholes[RequestBatterySwap] = self._ask

    def register(self, reports: Reports) -> None:
        """Takes what stations tell."""
        reports.take(BatterySwapReport, self._reported)

    async def page(
        self, caller: Caller, station_id: str | None, limit: int, after: Position | None
    ) -> list[BatterySwapView]:
        """Swaps, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, station_id, limit, after)

    async def _ask(
        self, tenant_id: TenantId, key: StationKey, command: RequestBatterySwap, send: Send, by: str
    ) -> CommandOutcome:
        """OCPP 2.1 S02.FR.03: never for a token that is not authorised."""
        async with self._database.read() as db:
            records = await id_tokens.records(db, tenant_id, command.id_token.value)
        info = authorize(command.id_token, records, now=datetime.now(UTC), here=self._here(key))
        if info.status is not AuthorizationStatus.ACCEPTED:
            reason = (
                f"The id token is {info.status.value}: the station is asked to swap for those alone that are Accepted."
            )
            return CommandOutcome(state=CommandState.REJECTED, reason=reason)
        return await send(command)

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
