"""Streams of periodic values (OCPP 2.1 N11 to N15): opened by stations, paced by us, kept for some days."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.events import EventFeed
from chargeplane.app.house import Desk
from chargeplane.app.reports import Place, Reports
from chargeplane.domain.commands import CommandState
from chargeplane.domain.commands.display_and_cost import AdjustStream, GetStreams
from chargeplane.domain.station_exchanges import StreamAccepted, StreamClosing, StreamOpening, Streams, StreamValues
from chargeplane.kernel.errors import ConflictError, RuleError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import event_streams as queries
from chargeplane.store.queries.event_streams import EventStreamView, StreamValueView, Within
from chargeplane.store.queries.paging import Mark, Position

_MOST_STREAMS: Final = 200
"""Open ones a station may have; it then goes on with NotifyEvent (N11)."""


class EventStreams:
    """Use cases about streams."""

    def __init__(self, database: Database, commands: Commands, events: EventFeed) -> None:
        self._database = database
        self._commands = commands
        self._events = events

    def register(self, reports: Reports, desks: dict[type, Desk]) -> None:
        """Takes what stations tell."""
        desks[StreamOpening] = self._open
        reports.take(StreamClosing, self._closed)
        reports.take(StreamValues, self._values)

    async def _open(self, place: Place, asks: StreamOpening) -> Struct | None:
        async with self._database.change() as db:
            if await queries.open_count(db, place.key) >= _MOST_STREAMS:
                return None
            pace = asks.parameters
            await queries.opened(
                db,
                place.tenant_id,
                place.key,
                asks.id,
                asks.monitor_id,
                pace.interval_s,
                pace.values,
                place.received_at,
            )
        return StreamAccepted()

    async def _closed(self, place: Place, report: StreamClosing) -> None:
        async with self._database.change() as db:
            await queries.closed(db, place.key, report.id, place.received_at)

    async def _values(self, place: Place, report: StreamValues) -> None:
        async with self._database.change() as db:
            await queries.add(
                db,
                place.key,
                report.id,
                [one.at for one in report.values],
                [one.value for one in report.values],
                report.pending,
                place.fact_id,
                place.received_at,
            )
        self._events.publish("event_stream.values", place.tenant_id, place.station_id, report)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def of_station(self, caller: Caller, station_id: str) -> list[EventStreamView]:
        """A station's streams.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            return await queries.of_station(db, key)

    async def values(
        self, caller: Caller, station_id: str, ident: int, within: Within, limit: int, after: Position | None
    ) -> list[tuple[StreamValueView, Mark]]:
        """A stream's values, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            return await queries.values(db, key, ident, within, limit, after)

    async def adjust(
        self, caller: Caller, station_id: str, ident: int, interval_s: int | None, values: int | None
    ) -> list[EventStreamView]:
        """Has a stream sent more or less often; the station's streams.

        Raises:
            NotFoundError: the tenant has no such station.
            ConflictError: the station does not.
        """
        key = await self._key(caller, station_id)
        outcome = await self._commands.ask(
            caller.tenant_id,
            key,
            AdjustStream(id=ident, interval_s=interval_s, values=values),
            by=caller.actor,
            valid_s=0,
        )
        if outcome.state is not CommandState.ACCEPTED:
            raise ConflictError(f"The stream was not adjusted: {outcome.reason or outcome.state.value}")
        async with self._database.change() as db:
            await queries.paced(db, key, ident, interval_s, values)
            return await queries.of_station(db, key)

    async def refresh(self, caller: Caller, station_id: str) -> list[EventStreamView]:
        """Asks the station for its open streams, should ours be wrong (N12).

        Raises:
            NotFoundError: the tenant has no such station.
            RuleError: the station did not say.
        """
        key = await self._key(caller, station_id)
        asked_at = datetime.now(UTC)
        outcome = await self._commands.ask(caller.tenant_id, key, GetStreams(), by=caller.actor, valid_s=0)
        told = reply_of(outcome, Streams)
        if outcome.state is not CommandState.ACCEPTED or told is None:
            raise RuleError(outcome.reason or f"The station did not say: {outcome.state.value}.")
        there = {one.id: one for one in told.streams[:_MOST_STREAMS]}
        async with self._database.change() as db:
            for known in await queries.of_station(db, key):
                if known.closed_at is None and known.id not in there and known.opened_at < asked_at:
                    await queries.closed(db, key, known.id, asked_at)
            for one in there.values():
                pace = one.parameters
                await queries.opened(
                    db, caller.tenant_id, key, one.id, one.monitor_id, pace.interval_s, pace.values, asked_at
                )
            return await queries.of_station(db, key)

    async def _key(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key
