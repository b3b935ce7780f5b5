"""A publication as a stream of text: begun, a site after the other, ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from chargeplane.app.public_data import PublicPart, Publisher
from chargeplane.edges.datex2.status import site_status
from chargeplane.edges.datex2.table import TableWriter
from chargeplane.edges.datex2.xml import attribute, instant, leaf, namespaces, node

_TABLE = "locations"
_PROFILE = ' profileName="AFIR Energy Infrastructure" profileVersion="01-00-00"'


class Publications:
    """Writes both publications of DATEX II 3.7, `AfirEnergyInfrastructure`."""

    async def table(self, publisher: Publisher, at: datetime, parts: AsyncIterator[PublicPart]) -> AsyncIterator[bytes]:
        """Locations, stations, charging points, connectors and prices."""
        version = attribute(str(int(at.timestamp())))
        writer = TableWriter(publisher.language)
        opening = f"<aegi:energyInfrastructureTable id={attribute(_TABLE)} version={version}>"
        begun = False
        yield _begin("EnergyInfrastructureTablePublication", publisher, at)
        async for part in parts:
            sites = "".join(writer.site(place, part.tariffs) for place in part.places if place.stations)
            if sites:
                # A table without a site is none: then the publication would be one that the schema refuses.
                yield (sites if begun else opening + sites).encode()
                begun = True
        yield (("</aegi:energyInfrastructureTable>" if begun else "") + "</d2:payload>").encode()

    async def status(
        self, publisher: Publisher, at: datetime, parts: AsyncIterator[PublicPart]
    ) -> AsyncIterator[bytes]:
        """Status of the charging points."""
        yield _begin("EnergyInfrastructureStatusPublication", publisher, at)
        async for part in parts:
            yield "".join(site_status(place) for place in part.places if place.stations).encode()
        yield b"</d2:payload>"


def _begin(kind: str, publisher: Publisher, at: datetime) -> bytes:
    head = (
        leaf("com:publicationTime", instant(at))
        + node(
            "com:publicationCreator",
            leaf("com:country", publisher.country),
            leaf("com:nationalIdentifier", publisher.national_id),
        )
        + node(
            "aegi:headerInformation",
            leaf("com:confidentiality", "noRestriction"),
            leaf("com:informationStatus", "real"),
        )
    )
    language = attribute(publisher.language)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<d2:payload{namespaces()} xsi:type="aegi:{kind}" lang={language} modelBaseVersion="3"{_PROFILE}>{head}'
    ).encode()
