"""Lists of OCPI 2.3.0 as streams: the envelope begun, an object after the other, ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from chargeplane.app.public_data import PublicLocation, PublicPart, Publisher
from chargeplane.app.tariffs.tariffs import PUBLIC
from chargeplane.bridge.roaming.locations import location_document
from chargeplane.bridge.roaming.tariffs import tariff_document
from chargeplane.bridge.roaming.values import Document, moment, written
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.published import ConnectorNow, EvseNow
from chargeplane.domain.tariffs.model import Tariff

_BEGIN: Final = b'{"status_code":1000,"data":['


class OcpiExport:
    """Writes both lists, without what is for drivers with a contract alone.

    A party is named as the tenant said for the public; where it said none, its country with `XXX`, which ISO 15118 gives to nobody.
    """

    async def locations(
        self, publisher: Publisher, at: datetime, parts: AsyncIterator[PublicPart]
    ) -> AsyncIterator[bytes]:
        """Locations with EVSEs, connectors, status and the ids of public tariffs."""
        party = _party(publisher)
        comma = _BEGIN
        async for part in parts:
            for place in part.places:
                if place.stations:
                    yield comma + written(_location(place, part, party))
                    comma = b","
        yield (_BEGIN if comma is _BEGIN else b"") + _end(at)

    async def tariffs(
        self, publisher: Publisher, at: datetime, parts: AsyncIterator[PublicPart]
    ) -> AsyncIterator[bytes]:
        """The tariffs that locations name, each once."""
        party = _party(publisher)
        comma = _BEGIN
        told: set[str] = set()
        async for part in parts:
            for tariff in part.tariffs.values():
                if tariff.type in PUBLIC and tariff.id not in told:
                    told.add(tariff.id)
                    yield comma + written(tariff_document(tariff, tariff.id, party, tariff.last_updated))
                    comma = b","
        yield (_BEGIN if comma is _BEGIN else b"") + _end(at)


def _end(at: datetime) -> bytes:
    return b'],"timestamp":"' + moment(at).encode() + b'"}'


def _party(publisher: Publisher) -> PartyId:
    if publisher.operator_id is None:
        return PartyId(publisher.country, "XXX")
    country, _, party = publisher.operator_id.partition("*")
    return PartyId(country, party)


def _location(place: PublicLocation, part: PublicPart, party: PartyId) -> Document:
    view = place.view
    evses = []
    for evses_of_station in place.stations.values():
        for one in evses_of_station:
            evse = one.view
            changed = evse.last_updated if one.status_since is None else max(evse.last_updated, one.status_since)
            evses.append(
                EvseNow(
                    content=evse,
                    uid=evse.uid,
                    status=evse.status,
                    bound=evse.station_id is not None,
                    connectors=[
                        ConnectorNow(content=connector, last_updated=connector.last_updated)
                        for connector in evse.connectors
                    ],
                    last_updated=changed,
                )
            )
    latest = max([view.last_updated, *(evse.last_updated for evse in evses)])
    document = location_document(view, view.id, evses, party, latest)
    for evse_document in document.get("evses", ()):
        for connector in evse_document["connectors"]:
            named = [ident for ident in connector.get("tariff_ids", ()) if _is_public(part, ident)]
            connector.pop("tariff_ids", None)
            if named:
                connector["tariff_ids"] = named
    return document


def _is_public(part: PublicPart, ident: str) -> bool:
    found: Tariff | None = next((one for name, one in part.tariffs.items() if name.lower() == ident.lower()), None)
    return found is not None and found.type in PUBLIC
