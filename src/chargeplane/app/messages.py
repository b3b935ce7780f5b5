"""The OCPP log of a station: what was said, page by page and live."""

from __future__ import annotations

from chargeplane.app.api_keys import Caller
from chargeplane.app.message_feed import MessageFeed, MessageWatcher
from chargeplane.app.ports import LoggedCall
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import messages as queries
from chargeplane.store.queries.messages import MessageFilter, MessageView
from chargeplane.store.queries.paging import Position


class Messages:
    """Use cases about the OCPP log."""

    def __init__(self, database: Database, feed: MessageFeed) -> None:
        self._database = database
        self._feed = feed

    async def page(
        self, caller: Caller, station_id: str, wanted: MessageFilter, limit: int, after: Position | None
    ) -> list[MessageView]:
        """A station's messages, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            return await queries.page(db, key, wanted, limit, after)

    async def watch(self, caller: Caller, station_id: str) -> MessageWatcher:
        """A watcher of a station's messages from now on.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        return self._feed.watch(await self._key(caller, station_id))

    async def payload_of(self, entry: LoggedCall) -> bytes | str | None:
        """The payload of a live entry, which the log may leave to the row of the event itself."""
        if entry.request is not None or not entry.stored:
            return entry.request
        async with self._database.read() as db:
            found = await queries.stored_payloads(db, entry.station, [(entry.message_id, entry.at)])
        return found.get(entry.message_id)

    def close(self) -> None:
        """Ends all watchers: the server stops."""
        self._feed.close()

    async def _key(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key
