"""Locations and EVSEs as operators describe them and others look them up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.app.locations.binding import Binding, make_code, make_id
from chargeplane.app.locations.facts import tell
from chargeplane.app.locations.paying import WaysToPay
from chargeplane.app.locations.places import EvsePlace, place_of
from chargeplane.domain.locations.checks import check_evse, check_location
from chargeplane.domain.locations.model import ConnectorContent, EvseContent, LocationContent
from chargeplane.domain.locations.opening import is_open
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import locations as queries
from chargeplane.store.queries import tariffs as tariff_queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.locations import EvseView, LocationFilter, LocationView, StoredEvse
from chargeplane.store.queries.paging import Db, Mark, Position


class EvseWanted(Struct, frozen=True, kw_only=True):
    """An EVSE as it is to be.

    Args:
        station_id, ocpp_evse_id: what it is bound to; both or none.
        connectors: all of them; None leaves them as they are.
    """

    content: EvseContent
    station_id: str | None = None
    ocpp_evse_id: int | None = None
    connectors: Sequence[ConnectorContent] | None = None


class Locations:
    """Use cases about locations.

    Args:
        events: told of every change.
        binding: makes EVSEs of what stations reported.
        ways_to_pay: told to stations; None: they are not told.
    """

    def __init__(
        self, database: Database, events: EventFeed, binding: Binding, ways_to_pay: WaysToPay | None = None
    ) -> None:
        self._database = database
        self._events = events
        self._binding = binding
        self._ways_to_pay = ways_to_pay
        self.told: Callable[[], None] = lambda: None
        """Called after facts were committed: whoever follows them need not wait."""

    # Looked up by others

    async def evse_by(
        self, tenant_id: TenantId, station_key: StationKey, ocpp_evse_id: int, connector_id: int | None = None
    ) -> EvsePlace | None:
        """The EVSE that is bound to one of a station; made of what the station reported where it stands at a location.

        Args:
            connector_id: the station's number of the connector; None where it is not known.
        """
        async with self._database.read() as db:
            row = await queries.place_by_station(db, tenant_id, station_key, ocpp_evse_id)
        if row is None:
            await self._binding.bind(station_key=station_key)  # or somebody else just did
            async with self._database.read() as db:
                row = await queries.place_by_station(db, tenant_id, station_key, ocpp_evse_id)
        return None if row is None else place_of(row, connector_id)

    async def evse_by_uid(
        self, tenant_id: TenantId, evse_uid: str, connector_id: str | None = None
    ) -> EvsePlace | None:
        """The EVSE with this uid, compared without case; None where there is none or it was removed.

        Args:
            connector_id: OCPI's id of the connector.
        """
        async with self._database.read() as db:
            row = await queries.place_by_uid(db, tenant_id, evse_uid)
        if row is None:
            return None
        wanted = (connector_id or "").casefold()
        numbers = [one.ocpp_connector_id for one in row.connectors if one.id.casefold() == wanted]
        return place_of(row, numbers[0] if numbers else None)

    async def evse_once(self, tenant_id: TenantId, evse_uid: str) -> EvsePlace | None:
        """The EVSE with this uid, compared without case, also where it was removed; None where there never was one."""
        async with self._database.read() as db:
            row = await queries.place_by_uid(db, tenant_id, evse_uid, removed=True)
        return None if row is None else place_of(row, None)

    async def evse_by_code(self, code: str) -> EvsePlace | None:
        """The EVSE with this code, whosever it is; None where there is none."""
        async with self._database.read() as db:
            row = await queries.place_by_code(db, code.strip().lower())
        return None if row is None else place_of(row, None)

    # Locations

    async def page(
        self,
        caller: Caller,
        wanted: LocationFilter,
        limit: int,
        after: Position | None,
        open_at: datetime | None = None,
    ) -> list[tuple[Mark, LocationView]]:
        """Locations with their positions, newest first or nearest first; at most `limit`.

        Args:
            open_at: only those that are open then.
        """
        found: list[tuple[Mark, LocationView]] = []
        async with self._database.read() as db:
            while True:
                some = await queries.page(db, caller.tenant_id, wanted, limit, after)
                found += [one for one in some if open_at is None or _open(one[1], open_at)]
                if len(found) >= limit or len(some) < limit:
                    return found[:limit]
                after = queries.behind(some[-1], wanted, after)

    async def one(self, caller: Caller, location_id: str) -> LocationView:
        """A location, with EVSEs of the stations there that nobody bound.

        Raises:
            NotFoundError: the tenant has no such location.
        """
        async with self._database.read() as db:
            key = await queries.key_of(db, caller.tenant_id, location_id)
        if key is not None:
            await self._binding.bind(location_key=key)
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, location_id)
        if found is None:
            raise NotFoundError("location", location_id)
        return found

    async def create(self, caller: Caller, location_id: str | None, content: LocationContent) -> LocationView:
        """A new location.

        Args:
            location_id: None: one is made.
        Raises:
            InvalidInputError: what it says cannot be.
            ConflictError: the tenant has a location with this id.
        """
        check_location(content)
        location_id = location_id or make_id()
        try:
            async with self._database.change() as db:
                await queries.insert(db, caller.tenant_id, location_id, content)
                await self._audit(db, caller, "create", "location", location_id, None, content)
        except asyncpg.UniqueViolationError:
            raise ConflictError(f"There is a location '{location_id}' already.") from None
        return await self._told(caller, "location.created", location_id)

    async def replace(
        self, caller: Caller, location_id: str, content: LocationContent, if_revision: int | None
    ) -> LocationView:
        """Another description of a location.

        Raises:
            NotFoundError: the tenant has no such location.
            InvalidInputError: what it says cannot be.
            StaleError: it has another revision.
        """
        check_location(content)
        async with self._database.change() as db:
            stored = await self._stored(db, caller, location_id, if_revision)
            await queries.update(db, stored.key, stored.id, content)
            await self._audit(db, caller, "update", "location", stored.id, stored.content, content)
        return await self._told(caller, "location.updated", stored.id)

    async def remove(self, caller: Caller, location_id: str, if_revision: int | None) -> None:
        """Deletes a location; its EVSEs are removed and free of their stations, what was charged there stays.

        Raises:
            NotFoundError: the tenant has no such location.
            StaleError: it has another revision.
        """
        async with self._database.change() as db:
            stored = await self._stored(db, caller, location_id, if_revision)
            await queries.remove(db, stored.key)
            await self._audit(db, caller, "delete", "location", stored.id, stored.content, None)
        self._events.publish("location.deleted", caller.tenant_id, None, {"location_id": stored.id})

    # EVSEs

    async def evse(self, caller: Caller, uid: str) -> EvseView:
        """An EVSE, also one that was removed.

        Raises:
            NotFoundError: the tenant has no such EVSE.
        """
        async with self._database.read() as db:
            found = await queries.evse(db, caller.tenant_id, uid)
        if found is None:
            raise NotFoundError("EVSE", uid)
        return found

    async def add_evse(self, caller: Caller, location_id: str, uid: str | None, wanted: EvseWanted) -> EvseView:
        """A new EVSE of a location.

        Args:
            uid: None: one is made.
        Raises:
            NotFoundError: the tenant has no such location.
            InvalidInputError: what it says cannot be, or there is no such station or tariff.
            ConflictError: the uid was given before, or another EVSE is bound to that of the station.
        """
        uid = uid or make_id()
        if not wanted.connectors:
            sentence = "At least one is required"
            raise InvalidInputError(f"'connectors': {sentence}.", (("/connectors", sentence),))
        async with self._database.change() as db:
            location = await self._stored(db, caller, location_id, None)
            check_evse(wanted.content, wanted.connectors, location.content)
            station = await self._station(db, caller, wanted, None)
            connectors = await self._with_tariffs(db, caller.tenant_id, wanted.connectors)
            key = await queries.insert_evse(
                db, caller.tenant_id, location.key, uid, make_code(), station, wanted.content
            )
            if key is None:
                raise ConflictError(f"The EVSE uid '{uid}' was given before; uids are never given again.")
            await queries.put_connectors(db, caller.tenant_id, key, connectors)
            await queries.touch(db, location.key)
            await self._audit(db, caller, "create", "evse", uid, None, wanted)
        await self._tell(caller, wanted, station)
        return await self._told_evse(caller, "evse.created", uid)

    async def replace_evse(
        self, caller: Caller, uid: str, wanted: EvseWanted, if_revision: int | None, location_id: str | None = None
    ) -> EvseView:
        """Another description of an EVSE.

        Args:
            location_id: moves it to another location; None leaves it where it is.
        Raises:
            NotFoundError: the tenant has no such EVSE or location.
            InvalidInputError, ConflictError: as `add_evse`.
            StaleError: it has another revision.
        """
        async with self._database.change() as db:
            stored = await self._stored_evse(db, caller, uid, if_revision)
            location = await self._stored(db, caller, location_id or stored.location_id, None)
            check_evse(wanted.content, wanted.connectors, location.content)
            station = await self._station(db, caller, wanted, stored)
            await queries.update_evse(db, stored.key, location.key, station, wanted.content)
            if wanted.connectors is not None:
                connectors = await self._with_tariffs(db, caller.tenant_id, wanted.connectors)
                await queries.put_connectors(db, caller.tenant_id, stored.key, connectors)
            for key in {location.key, stored.location_key}:
                await queries.touch(db, key)
            await self._audit(db, caller, "update", "evse", stored.uid, stored.content, wanted)
        await self._tell(caller, wanted, station)
        return await self._told_evse(caller, "evse.updated", stored.uid)

    async def remove_evse(self, caller: Caller, uid: str, if_revision: int | None) -> None:
        """Removes an EVSE: it stays to be seen as REMOVED, its uid is not given again, its station is free.

        Raises:
            NotFoundError: the tenant has no such EVSE, or it was removed.
            StaleError: it has another revision.
        """
        async with self._database.change() as db:
            stored = await self._stored_evse(db, caller, uid, if_revision)
            await queries.remove_evse(db, stored.key)
            await queries.touch(db, stored.location_key)
            await self._audit(db, caller, "delete", "evse", stored.uid, stored.content, None)
        self._events.publish(
            "evse.removed", caller.tenant_id, None, {"evse_uid": stored.uid, "location_id": stored.location_id}
        )

    async def renew_code(self, caller: Caller, uid: str) -> EvseView:
        """Another code for an EVSE: the QR code that was on it leads nowhere any more.

        Raises:
            NotFoundError: the tenant has no such EVSE, or it was removed.
        """
        async with self._database.change() as db:
            stored = await self._stored_evse(db, caller, uid, None)
            await queries.set_code(db, stored.key, make_code())
            await queries.touch(db, stored.location_key)
            await self._audit(db, caller, "renew-code", "evse", stored.uid, None, None)
        return await self._told_evse(caller, "evse.updated", stored.uid)

    async def put_connector(
        self, caller: Caller, uid: str, connector: ConnectorContent, if_revision: int | None
    ) -> EvseView:
        """Adds a connector to an EVSE, or describes one anew.

        Args:
            if_revision: of the EVSE.
        Raises:
            NotFoundError, InvalidInputError, StaleError: as `replace_evse`.
        """
        async with self._database.change() as db:
            stored = await self._stored_evse(db, caller, uid, if_revision)
            there = [one for one, _ in await queries.connectors(db, stored.key)]
            kept = [one for one in there if one.id.casefold() != connector.id.casefold()]
            await self._change_connectors(db, caller, stored, [*kept, connector])
        return await self._told_evse(caller, "evse.updated", stored.uid)

    async def remove_connector(self, caller: Caller, uid: str, connector_id: str, if_revision: int | None) -> EvseView:
        """Removes a connector of an EVSE.

        Raises:
            NotFoundError: there is no such connector.
            ConflictError: it is the last one; the EVSE may be removed.
            StaleError: the EVSE has another revision.
        """
        async with self._database.change() as db:
            stored = await self._stored_evse(db, caller, uid, if_revision)
            there = [one for one, _ in await queries.connectors(db, stored.key)]
            kept = [one for one in there if one.id.casefold() != connector_id.casefold()]
            if len(kept) == len(there):
                raise NotFoundError("connector", connector_id)
            if not kept:
                raise ConflictError(f"'{connector_id}' is the last connector of '{uid}'; remove the EVSE instead.")
            await self._change_connectors(db, caller, stored, kept)
        return await self._told_evse(caller, "evse.updated", stored.uid)

    async def _change_connectors(
        self, db: Db, caller: Caller, stored: StoredEvse, connectors: list[ConnectorContent]
    ) -> None:
        location = await self._stored(db, caller, stored.location_id, None)
        check_evse(stored.content, connectors, location.content)
        before = [one for one, _ in await queries.connectors(db, stored.key)]
        connectors = await self._with_tariffs(db, caller.tenant_id, connectors)
        await queries.put_connectors(db, caller.tenant_id, stored.key, connectors)
        station = None if stored.station_key is None else (stored.station_key, stored.ocpp_evse_id or 0)
        await queries.update_evse(db, stored.key, stored.location_key, station, stored.content)
        await queries.touch(db, stored.location_key)
        await self._audit(db, caller, "update", "evse", stored.uid, before, connectors)

    # What they share

    async def _tell(self, caller: Caller, wanted: EvseWanted, station: tuple[StationKey, int] | None) -> None:
        if self._ways_to_pay is not None and station is not None and wanted.station_id is not None:
            await self._ways_to_pay.tell(caller, station[0], wanted.station_id)

    async def _stored(
        self, db: Db, caller: Caller, location_id: str, if_revision: int | None
    ) -> queries.StoredLocation:
        stored = await queries.locked(db, caller.tenant_id, location_id)
        if stored is None:
            raise NotFoundError("location", location_id)
        if if_revision is not None and if_revision != stored.revision:
            raise StaleError(stored.id, stored.revision)
        return stored

    async def _stored_evse(self, db: Db, caller: Caller, uid: str, if_revision: int | None) -> StoredEvse:
        stored = await queries.evse_locked(db, caller.tenant_id, uid)
        if stored is None:
            raise NotFoundError("EVSE", uid)
        if if_revision is not None and if_revision != stored.revision:
            raise StaleError(stored.uid, stored.revision)
        return stored

    async def _station(
        self, db: Db, caller: Caller, wanted: EvseWanted, stored: StoredEvse | None
    ) -> tuple[StationKey, int] | None:
        if wanted.station_id is None and wanted.ocpp_evse_id is None:
            return None
        if wanted.station_id is None or wanted.ocpp_evse_id is None:
            missing = "/station_id" if wanted.station_id is None else "/ocpp_evse_id"
            sentence = "station_id and ocpp_evse_id belong together"
            raise InvalidInputError(f"The EVSE is not right: {sentence}.", ((missing, sentence),))
        key = await charging_stations.key_of(db, caller.tenant_id, wanted.station_id)
        if key is None:
            sentence = f"There is no charging station '{wanted.station_id}'"
            raise InvalidInputError(f"{sentence}.", (("/station_id", sentence),))
        other = await queries.place_by_station(db, caller.tenant_id, key, wanted.ocpp_evse_id)
        if other is not None and (stored is None or other.evse_uid != stored.uid):
            raise ConflictError(
                f"EVSE {wanted.ocpp_evse_id} of '{wanted.station_id}' is bound to '{other.evse_uid}'; change or remove that one."
            )
        return key, wanted.ocpp_evse_id

    async def _with_tariffs(
        self, db: Db, tenant_id: TenantId, connectors: Sequence[ConnectorContent]
    ) -> list[ConnectorContent]:
        """The connectors with the tariffs' ids as they are stored.

        Raises:
            InvalidInputError: there is no such tariff.
        """
        wanted = [ident for connector in connectors for ident in connector.tariff_ids]
        known = await tariff_queries.known(db, tenant_id, wanted)
        faults = [
            (f"/connectors/{number}/tariff_ids/{place}", f"There is no tariff '{ident}'")
            for number, connector in enumerate(connectors)
            for place, ident in enumerate(connector.tariff_ids)
            if ident.lower() not in known
        ]
        if faults:
            raise InvalidInputError(f"{faults[0][1]}.", tuple(faults))
        return [
            msgspec.structs.replace(
                connector, tariff_ids=tuple(dict.fromkeys(known[ident.lower()] for ident in connector.tariff_ids))
            )
            for connector in connectors
        ]

    async def _audit(self, db: Db, caller: Caller, action: str, kind: str, ident: str, before: Any, after: Any) -> None:
        await audit(
            db, caller.tenant_id, actor=caller.actor, action=action, kind=kind, ident=ident, before=before, after=after
        )
        done = {"create": "created", "delete": "removed" if kind == "evse" else "deleted"}.get(action, "updated")
        await tell(db, caller.tenant_id, f"{kind}.{done}", ident)

    async def _told(self, caller: Caller, event: str, location_id: str) -> LocationView:
        view = await self.one(caller, location_id)
        self._events.publish(event, caller.tenant_id, None, view)
        self.told()
        return view

    async def _told_evse(self, caller: Caller, event: str, uid: str) -> EvseView:
        view = await self.evse(caller, uid)
        self._events.publish(event, caller.tenant_id, view.station_id, view)
        self.told()
        return view


def _open(location: LocationView, at: datetime) -> bool:
    return is_open(location.opening_times, at, ZoneInfo(location.time_zone))
