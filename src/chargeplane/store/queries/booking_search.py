"""EVSEs that are free for an interval, the nearest first.

Locations come from their index in the order of their distance, their EVSEs one location after the other, so that the search ends
when the page is full; whether one is booked is asked of the index that forbids double bookings.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.locations.model import ConnectorContent, LocationContent, PaymentMethod
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.bookings import HELD
from chargeplane.store.queries.locations import DISTANCE, FREE_NOW, within
from chargeplane.store.queries.paging import Db, Position, Where

_location_of = msgspec.json.Decoder(LocationContent).decode
_connector_of = msgspec.json.Decoder(ConnectorContent).decode


class Wanted(Struct, frozen=True, kw_only=True):
    """What is looked for.

    Args:
        near: latitude, longitude, radius in metres.
        blocked_until: the end with the buffer.
        free_now: an EVSE that nobody uses now.
        evse_keys: one of these only.
        but: not this one.
    """

    starts_at: datetime
    blocked_until: datetime
    near: tuple[float, float, float] | None = None
    location_id: str | None = None
    evse_uid: str | None = None
    standard: str | None = None
    current: str | None = None
    min_power_w: int | None = None
    payment_method: PaymentMethod | None = None
    free_now: bool = False
    but: int | None = None


class FreeEvse(Struct, frozen=True, kw_only=True):
    """An EVSE that is free for the interval.

    Args:
        connectors: those that fit.
        free_until: when the next booking begins; None: none is known.
    """

    key: int
    uid: str
    evse_id: str | None
    location_key: int
    location_id: str
    location: LocationContent
    time_zone: str
    country: str
    distance_m: float | None
    station_key: StationKey | None
    station_id: str | None
    ocpp_evse_id: int | None
    payment_methods: tuple[PaymentMethod, ...]
    connectors: tuple[ConnectorContent, ...]
    free_until: datetime | None


_STRETCH: Final = """int8range((e.key << 32) + floor(extract(epoch FROM {start}::timestamptz))::bigint,
    (e.key << 32) + ceil(extract(epoch FROM {end}::timestamptz))::bigint)"""


async def free(
    db: Db, tenant_id: TenantId, wanted: Wanted, limit: int, after: Position | None = None
) -> list[FreeEvse]:
    """EVSEs that are free, the nearest first; at most `limit`.

    Args:
        after: (distance, location key, EVSE key).
    """
    where = Where()
    where.add("l.tenant_id = ?", tenant_id)
    where.add("l.deleted_at IS NULL")
    distance = "0::float8"
    if wanted.near is not None:
        latitude, longitude, radius = wanted.near
        distance = DISTANCE.format(lat=f"{latitude!r}::float8", lon=f"{longitude!r}::float8")
        within(where, latitude, longitude, radius)
        where.add(f"{distance} <= ?", radius)
    where.add_if("lower(l.id) = lower(?)", wanted.location_id)
    if wanted.evse_uid is not None:
        where.add(
            "l.key = (SELECT o.location_key FROM evse o WHERE o.tenant_id = l.tenant_id AND lower(o.uid) = lower(?))",
            wanted.evse_uid,
        )
    if after:
        where.add(f"({distance}, l.key) >= (?::float8, ?::bigint)", float(after[0]), after[1])
    evses = Where()
    evses.values = where.values
    evses.add("e.location_key = p.key")
    evses.add("e.removed_at IS NULL")
    evses.add("e.body::jsonb ->> 'declared_status' IS NULL")
    if after:
        evses.add("(p.distance, p.key, e.key) > (?::float8, ?::bigint, ?::bigint)", float(after[0]), after[1], after[2])
    evses.add_if("lower(e.uid) = lower(?)", wanted.evse_uid)
    evses.add_if("e.key <> ?", wanted.but)
    if wanted.payment_method is not None:
        evses.add("e.payment_methods @> ARRAY[?::text]", wanted.payment_method.value)
    connector = Where()
    connector.values = where.values
    connector.add("n.evse_key = e.key")
    connector.add_if("n.standard = ?", wanted.standard)
    connector.add_if("n.power_w >= ?", wanted.min_power_w)
    if wanted.current is not None:
        connector.add("n.power_type = 'DC'" if wanted.current == "DC" else "n.power_type <> 'DC'")
    evses.add(f"EXISTS (SELECT FROM evse_connector n WHERE {connector})")
    stretch = _STRETCH.format(start="?", end="?")
    evses.add(
        f"NOT EXISTS (SELECT FROM booking b WHERE b.held && {stretch} AND b.state IN {HELD})",
        wanted.starts_at,
        wanted.blocked_until,
    )
    if wanted.free_now:
        evses.add(FREE_NOW)
    values = where.values
    values += [limit, wanted.blocked_until]
    bound, until = len(values) - 1, len(values)
    rows = await db.fetch(
        f"""WITH near AS MATERIALIZED (SELECT l.key, {distance} AS distance FROM location l WHERE {where}
            ORDER BY distance, l.key),
        found AS (SELECT p.key AS location_key, p.distance, e.key FROM near p CROSS JOIN LATERAL
            (SELECT e.key FROM evse e WHERE {evses} ORDER BY e.key) e LIMIT ${bound})
        SELECT f.key, f.location_key, f.distance, e.uid, e.evse_id, e.payment_methods, e.station_key, e.ocpp_evse_id,
            s.station_id, l.id AS location_id, l.body, l.time_zone, l.country,
            (SELECT array_agg(n.body ORDER BY n.ocpp_connector_id) FROM evse_connector n WHERE {connector}) AS connectors,
            (SELECT min(b.starts_at) FROM booking b WHERE b.evse_key = e.key AND b.state IN {HELD}
                AND b.starts_at >= ${until}) AS free_until
        FROM found f JOIN evse e ON e.key = f.key JOIN location l ON l.key = f.location_key
        LEFT JOIN charging_station s ON s.key = e.station_key
        ORDER BY f.distance, f.location_key, f.key""",
        *values,
    )
    return [_free(row, wanted.near is not None) for row in rows]


def _free(row: Any, measured: bool) -> FreeEvse:
    return FreeEvse(
        key=row["key"],
        uid=row["uid"],
        evse_id=row["evse_id"],
        location_key=row["location_key"],
        location_id=row["location_id"],
        location=_location_of(row["body"]),
        time_zone=row["time_zone"],
        country=row["country"],
        distance_m=row["distance"] if measured else None,
        station_key=row["station_key"],
        station_id=row["station_id"],
        ocpp_evse_id=row["ocpp_evse_id"],
        payment_methods=tuple(PaymentMethod(word) for word in row["payment_methods"]),
        connectors=tuple(_connector_of(body) for body in row["connectors"] or ()),
        free_until=row["free_until"],
    )


async def evses_at(db: Db, tenant_id: TenantId, location_id: str | None, evse_uid: str | None) -> list[tuple[int, str]]:
    """Keys and uids of the EVSEs of a location, or of one; those that are removed are left out."""
    rows = await db.fetch(
        "SELECT e.key, e.uid FROM evse e JOIN location l ON l.key = e.location_key WHERE e.tenant_id = $1"
        " AND e.removed_at IS NULL AND ($2::text IS NULL OR lower(l.id) = lower($2)) AND ($3::text IS NULL OR lower(e.uid)"
        " = lower($3)) AND ($2 IS NOT NULL OR $3 IS NOT NULL) AND l.deleted_at IS NULL ORDER BY e.key LIMIT 500",
        tenant_id,
        location_id,
        evse_uid,
    )
    return [(row["key"], row["uid"]) for row in rows]


async def location_of(db: Db, tenant_id: TenantId, evse_uid: str) -> str | None:
    """The location of an EVSE."""
    ident: str | None = await db.fetchval(
        "SELECT l.id FROM evse e JOIN location l ON l.key = e.location_key WHERE e.tenant_id = $1 AND lower(e.uid) = lower($2)",
        tenant_id,
        evse_uid,
    )
    return ident
