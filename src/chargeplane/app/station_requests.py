"""What a station is asked for and tells about in later messages, under a number: reports, logs, firmware.

A station may tell under a number nobody gave it (0 after a trigger, or of another system's time): that makes a request of its own,
asked by `station`.
"""

from __future__ import annotations

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import station_requests as queries
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.station_requests import Opened, PartView, StationRequestView

_ENDED = ("complete", "incomplete", "failed")


class TakenPart(Struct, frozen=True, kw_only=True):
    """A part of a report.

    Args:
        request: our id of what it belongs to.
        new: False where the same part was handed over before.
        ended: the report's last part is there.
    """

    request: int
    new: bool
    ended: bool


class StationRequests:
    """Use cases about requests and their follow-ups."""

    def __init__(self, database: Database, events: EventFeed) -> None:
        self._database = database
        self._events = events

    async def open(
        self, tenant_id: TenantId, key: StationKey, kind: str, *, by: str, detail: object = None, numbered: bool = True
    ) -> int:
        """A new request, before the station is asked; its number, for the station to tell by.

        Args:
            detail: what is asked for; JSON-able.
            numbered: False where the version gives requests no number (1.6 GetDiagnostics).
        """
        async with self._database.change() as db:
            number = await queries.next_number(db)
            ident = await queries.insert(db, tenant_id, key, kind, number if numbered else None, by, detail or {})
        await self.show(tenant_id, ident)
        return number

    async def close(self, tenant_id: TenantId, key: StationKey, kind: str, request_id: int | None, status: str) -> None:
        """Ends a request that the station refused, or that nothing came of."""
        async with self._database.change() as db:
            found = await queries.newest(db, key, kind, request_id)
            if found is None or found.state in _ENDED:
                return
            await queries.update(db, found.id, "failed", status)
        await self.show(tenant_id, found.id)

    async def open_again(self, key: StationKey, kind: str, request_id: int) -> None:
        """Has a request wait again: the station is asked for the same in another way."""
        async with self._database.change() as db:
            found = await queries.newest(db, key, kind, request_id)
            if found is not None and found.state == "failed":
                await queries.update(db, found.id, "waiting", None)

    async def part(
        self, place: Place, kind: str, request_id: int | None, seq_no: int, more: bool, items: object
    ) -> list[PartView] | None:
        """A part of a report.

        Args:
            more: whether the station says that more follows.
            items: what it reports; JSON-able.
        Returns:
            All parts where the report has ended with this one, complete or not; else None.
        """
        async with self._database.change() as db:
            taken = await self.part_within(db, place, kind, request_id, seq_no, more, items)
            ended = await queries.parts(db, taken.request) if taken.ended else None
        await self.show(place.tenant_id, taken.request)
        return ended

    async def part_within(
        self, db: Db, place: Place, kind: str, request_id: int | None, seq_no: int, more: bool, items: object
    ) -> TakenPart:
        """A part of a report, within a change of the caller's; `show` the request when that is committed."""
        found = await self._meant(db, place, kind, request_id, fresh=seq_no == 0)
        kept = await queries.add_part(
            db, found.id, place.fact_id, place.received_at, seq_no=seq_no, more=more, items=items
        )
        there, last = await queries.counts(db, found.id)
        state = "receiving" if last is None else "complete" if there == last + 1 else "incomplete"
        await queries.update(db, found.id, state, None)
        return TakenPart(request=found.id, new=kept, ended=last is not None)

    async def status(
        self,
        place: Place,
        kind: str,
        request_id: int | None,
        word: str,
        *,
        done: bool = False,
        failed: bool = False,
        detail: object = None,
    ) -> Opened:
        """A status of something that goes on; the request it belongs to.

        Args:
            word: the station's.
            done: it is the last one.
            failed: it is the last one, and a failure.
        """
        async with self._database.change() as db:
            found = await self._meant(db, place, kind, request_id, fresh=False)
            kept = await queries.add_part(
                db, found.id, place.fact_id, place.received_at, status=word, items=detail or {}
            )
            if kept:
                await queries.update(db, found.id, "failed" if failed else "complete" if done else "receiving", word)
        await self.show(place.tenant_id, found.id)
        return found

    async def _meant(self, db: Db, place: Place, kind: str, request_id: int | None, *, fresh: bool) -> Opened:
        """The request a station means; a second first part after the end of a report begins another."""
        found = await queries.newest(db, place.key, kind, request_id)
        if found is None or (fresh and found.state in _ENDED and await queries.has_first(db, found.id, place.fact_id)):
            ident = await queries.insert(
                db, place.tenant_id, place.key, kind, request_id, "station", {}, state="receiving"
            )
            return Opened(id=ident, state="receiving", detail={})
        return found

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, station_id: str, kind: str | None, limit: int, after: Position | None
    ) -> list[StationRequestView]:
        """A station's requests, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
            return await queries.page(db, caller.tenant_id, key, kind, limit, after)

    async def one(self, caller: Caller, ident: int) -> StationRequestView:
        """A request by our id, with its parts.

        Raises:
            NotFoundError: the tenant has no such request.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("request", str(ident))
        return found

    async def show(self, tenant_id: TenantId, ident: int) -> None:
        """Tells who watches how far a request is."""
        if self._events.active:
            async with self._database.read() as db:
                view = await queries.one(db, tenant_id, ident)
            if view is not None:
                self._events.publish("request.updated", tenant_id, view.station_id, view)
