"""Vehicles of drivers."""

from __future__ import annotations

from typing import Final

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.app.people.drivers import locked_driver
from chargeplane.domain.people.vehicles import VehicleContent, check_vehicle
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import vehicles as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.vehicles import VehicleFilter, VehicleView

MOST_VEHICLES: Final = 100
"""Of one driver."""


class Vehicles:
    """Use cases about vehicles. A driver as caller has the driver's own only."""

    def __init__(self, database: Database, events: EventFeed) -> None:
        self._database = database
        self._events = events

    async def page(
        self, caller: Caller, wanted: VehicleFilter, limit: int, after: Position | None
    ) -> list[VehicleView]:
        """Vehicles, newest first; at most `limit`."""
        if caller.driver_id:
            wanted = VehicleFilter(driver_id=caller.driver_id, q=wanted.q)
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> VehicleView:
        """A vehicle by our id.

        Raises:
            NotFoundError: the caller has no such vehicle.
        """
        async with self._database.read() as db:
            return await self._found(db, caller, ident)

    async def create(self, caller: Caller, driver_id: int, content: VehicleContent) -> VehicleView:
        """A new vehicle of a driver.

        Raises:
            InvalidInputError: a value that is not allowed, or no such driver.
            ConflictError: the driver has as many as there may be.
        """
        _check(content)
        async with self._database.change() as db:
            try:
                await locked_driver(db, caller.tenant_id, driver_id, None)
            except NotFoundError as error:
                raise InvalidInputError(str(error), (("/driver_id", str(error)),)) from None
            there = await queries.page(
                db, caller.tenant_id, VehicleFilter(driver_id=driver_id), MOST_VEHICLES, after=None
            )
            if len(there) >= MOST_VEHICLES:
                raise ConflictError(f"A driver may have at most {MOST_VEHICLES} vehicles.")
            view = await queries.insert(db, caller.tenant_id, driver_id, content)
            await self._note(db, caller, "create", None, view)
        self._events.publish("vehicle.created", caller.tenant_id, None, view)
        return view

    async def replace(
        self, caller: Caller, ident: int, content: VehicleContent, if_revision: int | None
    ) -> VehicleView:
        """Describes a vehicle anew.

        Raises:
            NotFoundError: the caller has no such vehicle.
            InvalidInputError: a value that is not allowed.
            StaleError: it has another revision.
        """
        _check(content)
        async with self._database.change() as db:
            before = await self._found(db, caller, ident, lock=True)
            if if_revision is not None and if_revision != before.revision:
                raise StaleError(str(ident), before.revision)
            view = await queries.update(db, ident, content)
            await self._note(db, caller, "update", before, view)
        self._events.publish("vehicle.updated", caller.tenant_id, None, view)
        return view

    async def remove(self, caller: Caller, ident: int) -> None:
        """Removes a vehicle; id tokens that were for it stay.

        Raises:
            NotFoundError: the caller has no such vehicle.
        """
        async with self._database.change() as db:
            before = await self._found(db, caller, ident, lock=True)
            await queries.delete(db, ident)
            await self._note(db, caller, "delete", before, None)
        self._events.publish("vehicle.deleted", caller.tenant_id, None, before)

    async def _found(self, db: Db, caller: Caller, ident: int, *, lock: bool = False) -> VehicleView:
        found = await queries.one(db, caller.tenant_id, ident, lock=lock)
        if found is None or (caller.driver_id and found.driver_id != str(caller.driver_id)):
            raise NotFoundError("vehicle", str(ident))
        return found

    async def _note(
        self, db: Db, caller: Caller, action: str, before: VehicleView | None, after: VehicleView | None
    ) -> None:
        one = after or before
        assert one is not None
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind="vehicle",
            ident=one.id,
            before=before,
            after=after,
        )


def _check(content: VehicleContent) -> None:
    faults = check_vehicle(content)
    if faults:
        raise InvalidInputError(f"The vehicle is not right: {faults[0][0][1:]}: {faults[0][1]}.", tuple(faults))
