"""What a tenant publishes to everybody: its published locations with their prices and status, for national access points
(Regulation (EU) 2023/1804, Article 20). Nothing is told of a tenant that did not say so in its settings, of locations that are not published, of
removed EVSEs, or of the ids by which stations connect.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from msgspec import Struct

from chargeplane.app.tariffs.tariffs import PUBLIC
from chargeplane.domain.locations.model import EvseStatus
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import locations as location_queries
from chargeplane.store.queries import tariffs as tariff_queries
from chargeplane.store.queries import tenants
from chargeplane.store.queries.locations import EvseView, LocationFilter, LocationView
from chargeplane.store.queries.paging import Position

_AT_ONCE: Final = 200
"""Locations that are read together."""

_STATIONS: Final = uuid.UUID("5c2a2f0e-6f83-4c0c-9b1d-6a3f1d0b7a55")


class Publisher(Struct, frozen=True, kw_only=True):
    """Who publishes.

    Args:
        country: ISO 3166-1 alpha-2, of the national access point.
        national_id: by which it knows the publisher.
        language: ISO 639-1, of names.
        operator_id: `DE*ABC`, of the tenant's own stations.
    """

    name: str
    country: str
    national_id: str
    language: str
    operator_id: str | None


class PublicEvse(Struct, frozen=True, kw_only=True):
    """An EVSE as everybody may know it.

    Args:
        ident: its EVSE id, or else its uid.
        tariff_id: what the public pays; None where nothing is said.
        status_since: when the status was told; None where that is not known.
    """

    ident: str
    view: EvseView
    tariff_id: str | None
    status_since: datetime | None = None


class PublicLocation(Struct, frozen=True, kw_only=True):
    """A location as everybody may know it.

    Args:
        stations: EVSEs by their stations; ids are stable and say nothing of those by which stations connect.
    """

    view: LocationView
    stations: Mapping[str, Sequence[PublicEvse]]
    operator_name: str
    operator_id: str | None


class PublicPart(Struct, frozen=True, kw_only=True):
    """Some of the locations, and what the public pays there by tariff id."""

    places: Sequence[PublicLocation]
    tariffs: Mapping[str, Tariff]


class Writer(Protocol):
    """Who writes it in a form that others read."""

    def table(self, publisher: Publisher, at: datetime, parts: AsyncIterator[PublicPart]) -> AsyncIterator[bytes]:
        """What is there, and what it costs."""
        ...

    def status(self, publisher: Publisher, at: datetime, parts: AsyncIterator[PublicPart]) -> AsyncIterator[bytes]:
        """What can be used now."""
        ...


class ListWriter(Protocol):
    """Who writes it as lists of OCPI."""

    def locations(self, publisher: Publisher, at: datetime, parts: AsyncIterator[PublicPart]) -> AsyncIterator[bytes]:
        """Locations with their status."""
        ...

    def tariffs(self, publisher: Publisher, at: datetime, parts: AsyncIterator[PublicPart]) -> AsyncIterator[bytes]:
        """What the public pays there."""
        ...


class PublicData:
    """Use cases around it.

    Args:
        now: the time, for tests.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._now = now

    async def publisher(self, slug: str) -> tuple[TenantId, Publisher]:
        """Who publishes under this name.

        Raises:
            NotFoundError: there is no such tenant, or it does not publish.
        """
        async with self._database.read() as db:
            tenant = await tenants.by_slug(db, slug)
            tenant_id = await tenants.id_of(db, slug)
        said = tenant.settings.public_data if tenant is not None else None
        if tenant is None or tenant_id is None or said is None:
            raise NotFoundError("publication", slug[:64])
        operator = None if said.party_id is None else f"{said.country}*{said.party_id}"
        return tenant_id, Publisher(
            name=tenant.name,
            country=said.country,
            national_id=said.national_id,
            language=said.language,
            operator_id=operator,
        )

    async def parts(self, tenant_id: TenantId, publisher: Publisher) -> AsyncIterator[PublicPart]:
        """Everything that is published, some at a time: however many there are, memory stays bounded."""
        after: Position | None = None
        while True:
            async with self._database.read() as db:
                found = await location_queries.page(db, tenant_id, LocationFilter(publish=True), _AT_ONCE, after)
                named = {
                    ident
                    for _, view in found
                    for evse in view.evses
                    for connector in evse.connectors
                    for ident in connector.tariff_ids
                }
                since = await location_queries.reported_at(db, [position[0] for position, _ in found])
                at = self._now()
                valid = await tariff_queries.valid(db, tenant_id, sorted(named), at) if named else []
            holding = {tariff.id.lower(): tariff for tariff in valid if tariff.holds(at)}
            yield PublicPart(
                places=[_public(view, holding, since, tenant_id, publisher) for _, view in found],
                tariffs={tariff.id: tariff for tariff in holding.values()},
            )
            if len(found) < _AT_ONCE:
                return
            after = Position(location_queries.LOCATION_SORTS.place_of(found[-1], None))


def _public(
    view: LocationView,
    holding: Mapping[str, Tariff],
    since: Mapping[str, datetime],
    tenant_id: TenantId,
    publisher: Publisher,
) -> PublicLocation:
    stations: dict[str, list[PublicEvse]] = {}
    for evse in view.evses:
        if evse.status is EvseStatus.REMOVED or not evse.connectors:
            continue
        # Of a station that several EVSEs share; else the EVSE stands for it.
        name = f"{tenant_id}/{evse.station_id or evse.uid}"
        stations.setdefault(str(uuid.uuid5(_STATIONS, name)), []).append(
            PublicEvse(
                ident=evse.evse_id or evse.uid,
                view=evse,
                tariff_id=_tariff(evse, holding),
                status_since=since.get(evse.uid),
            )
        )
    return PublicLocation(view=view, stations=stations, operator_name=publisher.name, operator_id=publisher.operator_id)


def _tariff(evse: EvseView, holding: Mapping[str, Tariff]) -> str | None:
    for connector in evse.connectors:
        here = [holding[ident.lower()] for ident in connector.tariff_ids if ident.lower() in holding]
        for kind in PUBLIC:
            for tariff in here:
                if tariff.type is kind:
                    return tariff.id
    return None
