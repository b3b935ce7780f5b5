"""What a station knows of a customer: asked for, put together, shown once, and gone soon after (OCPP 2.0.1 N09, N10)."""

from __future__ import annotations

from typing import Final

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.commands import CustomerInformation as Ask
from chargeplane.domain.firmware import CustomerInformationPart
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import customer_information as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.commands import CommandView
from chargeplane.store.queries.customer_information import CustomerInformationView
from chargeplane.store.queries.paging import Position
from chargeplane.store.secrets import InstallationKeys

KIND: Final = "customer_information"
"""Requests of customer information, among those of stations."""


class CustomerInformation:
    """Use cases about customer information. What stations tell is encrypted until it is shown."""

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        commands: Commands,
        requests: StationRequests,
        events: EventFeed,
    ) -> None:
        self._database = database
        self._keys = keys
        self._commands = commands
        self._requests = requests
        self._events = events

    async def ask(self, caller: Caller, station_id: str, wanted: Ask, *, wait_s: float) -> CommandView:
        """Has a station report, or forget, what it knows of a customer.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        return await self._commands.command(caller, station_id, wanted, wait_s=wait_s)

    async def heard(self, place: Place, part: CustomerInformationPart) -> None:
        """A part of what a station knows (N09.FR.05). Its text goes nowhere but here."""
        items = [{"characters": len(part.data)}]
        async with self._database.change() as db:
            taken = await self._requests.part_within(db, place, KIND, part.request_id, part.seq_no, part.more, items)
            if not taken.new:
                return  # the same fact again: what it said is kept, or was shown and is gone
            ident = await queries.meant(db, place.tenant_id, place.key, part.request_id, fresh=part.seq_no == 0)
            sealed = self._keys.encrypt(part.data.encode(), _purpose(ident))
            await queries.add_part(db, ident, part.seq_no, part.more, sealed)
        await self._requests.show(place.tenant_id, taken.request)
        self._events.publish(
            "customer_information.updated", place.tenant_id, place.station_id, {"id": str(ident), "more": part.more}
        )

    async def page(
        self, caller: Caller, station_id: str | None, limit: int, after: Position | None
    ) -> list[CustomerInformationView]:
        """What came, without what it says, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, station_id, limit, after)

    async def show(self, caller: Caller, ident: int) -> str:
        """What a station knows of a customer; shown once, then deleted.

        Raises:
            NotFoundError: the tenant has no such information.
            ConflictError: parts are still to come, or it was shown already.
        """
        async with self._database.change() as db:
            found = await queries.take(db, caller.tenant_id, ident, caller.actor)
            if found is None:
                raise NotFoundError("customer information", str(ident))
            if found.shown_at is not None:
                raise ConflictError(f"It was shown to {found.shown_to} already, and is gone.")
            if not found.complete:
                raise ConflictError("Parts of it are still to come.")
            text = "".join(self._keys.decrypt(one, _purpose(ident)).decode() for one in found.sealed)
            await queries.shown(db, ident, caller.actor)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="show",
                kind="customer-information",
                ident=str(ident),
            )
        return text


def _purpose(ident: int) -> str:
    return f"customer information {ident}"
