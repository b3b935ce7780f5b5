"""Partners' Locations as drivers look for them: near a place, with a connector that fits, free now.

Locations come from their index in the order of their distance, and a page ends the search. Those that a partner does not publish, or that
a full pull found no more, or that have no EVSE left, are not shown (OCPI 2.3.0 mod_locations: `publish`, REMOVED).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.roaming.bookings import Span
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.locations import DISTANCE, within
from chargeplane.store.queries.paging import Db, Position, Where, like


class PlaceFilter(Struct, frozen=True, kw_only=True):
    """Which Locations.

    Args:
        near: latitude, longitude, radius in metres; None: in the order in which they came.
        standard: OCPI ConnectorType. current: AC or DC.
        available: an EVSE that is free, by the partner's last word.
        connection_id, party: of one partner.
        bookable: where something can be booked for this interval.
    """

    near: tuple[float, float, float] | None = None
    q: str | None = None
    country: str | None = None
    standard: str | None = None
    current: str | None = None
    min_power_w: int | None = None
    available: bool = False
    connection_id: int | None = None
    party: tuple[str, str] | None = None
    bookable: Span | None = None


class FoundPlace(Struct, frozen=True, kw_only=True):
    """A Location that fits.

    Args:
        evses: (uid, status, document) of all that are not removed.
    """

    key: int
    connection_id: int
    country_code: str
    party_id: str
    id: str
    name: str | None
    city: str | None
    time_zone: str | None
    last_updated: datetime
    document: bytes
    distance_m: float | None
    evses: tuple[tuple[str, str, bytes], ...]


_FITS: Final = (
    "EXISTS (SELECT FROM unnest(e.standards, e.power_types, e.powers_w) AS c(standard, power_type, power_w) WHERE {})"
)


async def search(
    db: Db, tenant_id: TenantId, wanted: PlaceFilter, limit: int, after: Position | None
) -> list[FoundPlace]:
    """Locations, the nearest first; at most `limit`.

    Args:
        after: (distance, key).
    """
    where = Where()
    where.add("l.tenant_id = ? AND l.gone_at IS NULL AND l.publish", tenant_id)
    distance = "0::float8"
    if wanted.near is not None:
        latitude, longitude, radius = wanted.near
        distance = DISTANCE.format(lat=f"{latitude!r}::float8", lon=f"{longitude!r}::float8")
        within(where, latitude, longitude, radius)
        where.add(f"{distance} <= ?", radius)
    where.add_if("l.country = ?", wanted.country)
    where.add_if("l.connection_id = ?", wanted.connection_id)
    if wanted.party is not None:
        where.add("l.country_code = ? AND l.party_id = ?", *wanted.party)
    if wanted.bookable is not None:
        where.add(
            "EXISTS (SELECT FROM partner_bookable b JOIN partner_object o ON o.key = b.object_key AND o.gone_at IS NULL"
            " WHERE b.tenant_id = l.tenant_id AND b.country_code = l.country_code AND b.party_id = l.party_id"
            " AND b.location_key = l.id_key AND b.free @> tstzrange(?::timestamptz, ?::timestamptz))",
            wanted.bookable.start,
            wanted.bookable.end,
        )
    if wanted.q is not None:
        pattern = like(wanted.q)
        where.add(
            "(lower(l.name) LIKE ? OR lower(l.city) LIKE ? OR lower(l.postal_code) LIKE ? OR l.id_key LIKE ?)",
            *(pattern,) * 4,
        )
    if after:
        where.add(f"({distance}, l.key) > (?::float8, ?::bigint)", float(after[0]), after[1])
    fits = Where()
    fits.values = where.values
    fits.add("e.location_key = l.key AND e.status <> 'REMOVED'")
    if wanted.available:
        fits.add("e.status = 'AVAILABLE'")
    connector = Where()
    connector.values = where.values
    connector.add_if("c.standard = ?", wanted.standard)
    connector.add_if("c.power_w >= ?", wanted.min_power_w)
    if wanted.current is not None:
        connector.add("c.power_type = 'DC'" if wanted.current == "DC" else "c.power_type <> 'DC'")
    if connector.conditions:
        fits.add(_FITS.format(connector))
    where.values.append(limit)
    rows = await db.fetch(
        f"""WITH found AS (SELECT l.key, l.connection_id, l.country_code, l.party_id, l.id, l.name, l.city, l.time_zone,
            l.last_updated, l.document, {distance} AS distance FROM partner_location l
            WHERE {where} AND EXISTS (SELECT FROM partner_evse e WHERE {fits}) ORDER BY distance, l.key
            LIMIT ${len(where.values)})
        SELECT f.*, e.uids, e.statuses, e.documents FROM found f CROSS JOIN LATERAL (SELECT array_agg(e.uid ORDER BY e.key) AS uids,
            array_agg(e.status ORDER BY e.key) AS statuses, array_agg(e.document ORDER BY e.key) AS documents
            FROM partner_evse e WHERE e.location_key = f.key AND e.status <> 'REMOVED') e ORDER BY f.distance, f.key""",
        *where.values,
    )
    return [_place(row, wanted.near is not None) for row in rows]


def _place(row: Any, measured: bool) -> FoundPlace:
    return FoundPlace(
        key=row["key"],
        connection_id=row["connection_id"],
        country_code=row["country_code"],
        party_id=row["party_id"],
        id=row["id"],
        name=row["name"],
        city=row["city"],
        time_zone=row["time_zone"],
        last_updated=row["last_updated"],
        document=row["document"],
        distance_m=row["distance"] if measured else None,
        evses=tuple(zip(row["uids"], row["statuses"], row["documents"], strict=True)),
    )
