"""Messages on stations' displays: sent, told about, cleared (OCPP 2.0.1 and 2.1, block O)."""

from __future__ import annotations

from datetime import UTC, datetime

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place, Reports
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.commands import CommandOutcome, CommandState
from chargeplane.domain.commands.display_and_cost import ClearDisplayMessage, GetDisplayMessages, SetDisplayMessage
from chargeplane.domain.display import DisplayMessage, DisplayMessagesReport
from chargeplane.kernel.errors import ConflictError, NotFoundError, RuleError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import display_messages as queries
from chargeplane.store.queries.display_messages import DisplayMessageView

_KIND = "display_messages"


class DisplayMessages:
    """Use cases about display messages."""

    def __init__(self, database: Database, commands: Commands, requests: StationRequests, events: EventFeed) -> None:
        self._database = database
        self._commands = commands
        self._requests = requests
        self._events = events

    def register(self, reports: Reports) -> None:
        """Takes what stations tell of their messages."""
        reports.take(DisplayMessagesReport, self._reported)

    async def put(
        self, caller: Caller, station_id: str, ident: int | None, message: DisplayMessage, valid_s: float
    ) -> DisplayMessageView:
        """Shows a message; returns when the station took or refused it, or did not become reachable in time.

        Args:
            ident: its number at the station; None takes a free one. One with the same number is replaced (O06).

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.change() as db:
            number = ident if ident is not None else await queries.free_number(db, key)
            await queries.put(db, caller.tenant_id, key, number, message, caller.actor)
        outcome = await self._commands.ask(
            caller.tenant_id,
            key,
            SetDisplayMessage(id=number, message=message),
            by=caller.actor,
            valid_s=valid_s,
        )
        await self._settle(key, number, outcome, "shown")
        view = await self._one(key, number)
        self._events.publish("display_message.updated", caller.tenant_id, station_id, view)
        return view

    async def clear(self, caller: Caller, station_id: str, ident: int, valid_s: float) -> None:
        """Takes a message off the display; what the station does not know any more is gone as well (O05.FR.02).

        Raises:
            NotFoundError: there is no such message.
            ConflictError: the station refused, or did not become reachable in time.
        """
        key = await self._key(caller, station_id)
        await self._one(key, ident)
        async with self._database.change() as db:
            await queries.settle(db, key, ident, "clearing", None)
        outcome = await self._commands.ask(
            caller.tenant_id, key, ClearDisplayMessage(id=ident), by=caller.actor, valid_s=valid_s
        )
        if outcome.state is CommandState.ACCEPTED or outcome.status == "Unknown":
            async with self._database.change() as db:
                await queries.settle(db, key, ident, "cleared", None)
            return
        reason = outcome.reason or f"The command ended {outcome.state.value}."
        async with self._database.change() as db:
            await queries.settle(db, key, ident, "shown", reason)
        raise ConflictError(f"The message was not cleared: {reason}")

    async def refresh(self, caller: Caller, station_id: str) -> int:
        """Has the station tell all its messages; the number it tells them by.

        Raises:
            NotFoundError: the tenant has no such station.
            RuleError: the station cannot be asked.
        """
        key = await self._key(caller, station_id)
        number = await self._requests.open(caller.tenant_id, key, _KIND, by=caller.actor, detail={"all": True})
        outcome = await self._commands.ask(
            caller.tenant_id, key, GetDisplayMessages(request_id=number), by=caller.actor, valid_s=0
        )
        if outcome.status == "Unknown":  # O03.FR.06: it has none
            async with self._database.change() as db:
                await queries.unseen(db, key, [], datetime.now(UTC))
        if outcome.state is not CommandState.ACCEPTED:
            await self._requests.close(caller.tenant_id, key, _KIND, number, outcome.status or outcome.state.value)
            if outcome.status != "Unknown":
                raise RuleError(outcome.reason or f"The station was not asked: {outcome.state.value}.")
        return number

    async def of_station(self, caller: Caller, station_id: str) -> list[DisplayMessageView]:
        """The messages of a station, as we know them.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            return await queries.of_station(db, key)

    async def one(self, caller: Caller, station_id: str, ident: int) -> DisplayMessageView:
        """A message of a station.

        Raises:
            NotFoundError: the tenant has no such station, or the station no such message.
        """
        return await self._one(await self._key(caller, station_id), ident)

    async def _reported(self, place: Place, report: DisplayMessagesReport) -> None:
        async with self._database.change() as db:
            for message in report.messages:
                await queries.seen(db, place.tenant_id, place.key, message.id, message, place.received_at)
        found = await self._requests.status(
            place,
            _KIND,
            report.request_id,
            "more" if report.more else "all told",
            done=not report.more,
            detail=report.messages,
        )
        if not report.more and found.detail.get("all") is True:
            async with self._database.change() as db:
                there, asked_at = await queries.told(db, found.id)
                await queries.unseen(db, place.key, there, asked_at)

    async def _settle(self, key: StationKey, ident: int, outcome: CommandOutcome, done: str) -> None:
        refused = outcome.state is not CommandState.ACCEPTED
        reason = outcome.reason or f"The command ended {outcome.state.value}." if refused else None
        async with self._database.change() as db:
            await queries.settle(db, key, ident, "refused" if refused else done, reason)

    async def _key(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key

    async def _one(self, key: StationKey, ident: int) -> DisplayMessageView:
        async with self._database.read() as db:
            found = await queries.one(db, key, ident)
        if found is None:
            raise NotFoundError("display message", str(ident))
        return found
