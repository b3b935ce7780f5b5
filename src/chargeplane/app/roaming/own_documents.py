"""Our documents as partners read them: lists in pages, single objects; each partner those that it may see."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.publication import Publication
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_documents as queries
from chargeplane.store.queries.roaming_documents import BOOKING_LOCATIONS, LOCATIONS, Behind


class Part(Struct, frozen=True, kw_only=True):
    """Which part of a list. `date_from` is included, `date_to` not.

    Args:
        free_from, free_to: of booking locations: that are free some time in between.
    """

    date_from: datetime | None = None
    date_to: datetime | None = None
    offset: int = 0
    limit: int = 100
    free_from: datetime | None = None
    free_to: datetime | None = None


class _Connector(Struct):
    id: str


class _Evse(Struct):
    uid: str
    connectors: list[msgspec.Raw] = []
    capabilities: list[str] = []


class _Location(Struct):
    evses: list[msgspec.Raw] = []


_location = msgspec.json.Decoder(_Location).decode
_evse = msgspec.json.Decoder(_Evse).decode
_connector = msgspec.json.Decoder(_Connector).decode
_KEPT_S: Final = 60.0
_MOST_ENDS: Final = 2000
_PREFERENCES: Final = "CHARGING_PREFERENCES_CAPABLE"


class OwnDocuments:
    """Reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ends: OrderedDict[tuple[Hashable, int], tuple[float, Behind]] = OrderedDict()

    async def page(
        self,
        tenant_id: TenantId,
        connection_id: int,
        module: str,
        part: Part,
        party: PartyId | None = None,
        driver: PartyId | None = None,
    ) -> tuple[int, list[bytes]]:
        """How many documents there are for a partner, and some of them, in the order of creation.

        Args:
            party: of this operator of ours alone.
            driver: of sessions and CDRs those of this provider's drivers alone.
        """
        async with self._database.read() as db:
            rule = await queries.publication(db, connection_id)
            asked = (
                connection_id,
                tenant_id,
                module,
                rule,
                part.date_from,
                part.date_to,
                part.free_from,
                part.free_to,
                party,
                driver,
            )
            total, documents, following = await queries.page(
                db,
                tenant_id,
                module,
                connection_id,
                rule,
                date_from=part.date_from,
                date_to=part.date_to,
                offset=part.offset,
                limit=part.limit,
                party=None if party is None else (party.country_code, party.party_id),
                free_from=part.free_from,
                free_to=part.free_to,
                behind=self._behind(asked, part.offset),
                driver=None if driver is None else (driver.country_code, driver.party_id),
            )
        if following is not None:
            place = asked, part.offset + len(documents)
            self._ends[place] = time.monotonic() + _KEPT_S, following
            self._ends.move_to_end(place)
            if len(self._ends) > _MOST_ENDS:
                self._ends.popitem(last=False)
        return total, documents

    def _behind(self, asked: Hashable, offset: int) -> Behind | None:
        """Where the part before ended, if it was given lately: whoever reads a whole list page by page goes on from there, and neither
        walks through what it has nor misses what is behind something that went meanwhile."""
        until, found = self._ends.get((asked, offset), (0.0, None))
        return found if until > time.monotonic() else None

    async def location(self, tenant_id: TenantId, connection_id: int, location_id: str) -> bytes | None:
        """A location; None where there is none for the partner."""
        async with self._database.read() as db:
            rule = await queries.publication(db, connection_id)
            found = await queries.seen(db, tenant_id, LOCATIONS, location_id, connection_id, rule)
        return None if found is None else found.body

    async def booking_location(self, tenant_id: TenantId, connection_id: int, ident: str) -> bytes | None:
        """A booking location; None where there is none for the partner, or it is gone."""
        async with self._database.read() as db:
            rule = await queries.publication(db, connection_id)
            found = await queries.seen(db, tenant_id, BOOKING_LOCATIONS, ident, connection_id, rule)
        return None if found is None or found.removed_at is not None else found.body

    async def evse(self, tenant_id: TenantId, connection_id: int, location_id: str, uid: str) -> bytes | None:
        """An EVSE of it."""
        body = await self.location(tenant_id, connection_id, location_id)
        if body is None:
            return None
        wanted = uid.casefold()
        return next((bytes(one) for one in _location(body).evses if _evse(one).uid.casefold() == wanted), None)

    async def connector(
        self, tenant_id: TenantId, connection_id: int, location_id: str, uid: str, ident: str
    ) -> bytes | None:
        """A connector of it."""
        body = await self.evse(tenant_id, connection_id, location_id, uid)
        if body is None:
            return None
        wanted = ident.casefold()
        return next((bytes(one) for one in _evse(body).connectors if _connector(one).id.casefold() == wanted), None)

    async def takes_preferences(self, tenant_id: TenantId, connection_id: int, location_id: str, uid: str) -> bool:
        """Whether drivers may say their preferences at an EVSE."""
        body = await self.evse(tenant_id, connection_id, location_id, uid)
        return body is not None and _PREFERENCES in _evse(body).capabilities

    async def publication(self, connection_id: int) -> Publication:
        """What a partner sees."""
        async with self._database.read() as db:
            return await queries.publication(db, connection_id)
