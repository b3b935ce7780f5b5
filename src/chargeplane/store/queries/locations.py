"""Locations, their EVSEs and connectors as the API shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.locations.model import (
    ConnectorContent,
    EvseContent,
    EvseStatus,
    LocationContent,
    PaymentMethod,
    degrees,
)
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Mark, Position, Sorts, Where, by_text, by_time, like

NODE_LIVES: Final = timedelta(seconds=20)
"""As for charging stations: what a node that is gone said of connections does not count."""

_encode = msgspec.json.Encoder(decimal_format="number").encode
_location_of = msgspec.json.Decoder(LocationContent).decode
_evse_of = msgspec.json.Decoder(EvseContent).decode
_connector_of = msgspec.json.Decoder(ConnectorContent).decode

EARTH_M: Final = 6_371_008.8
"""Mean radius of the earth."""


class ConnectorView(ConnectorContent, frozen=True, kw_only=True, forbid_unknown_fields=False, omit_defaults=False):
    """A connector.

    Args:
        max_power_w: what it can give at most.
        assumed: made of what the station reported; nobody described it yet.
    """

    max_power_w: int
    assumed: bool
    last_updated: datetime


class EvseView(EvseContent, frozen=True, kw_only=True, forbid_unknown_fields=False, omit_defaults=False):
    """An EVSE of a location.

    Args:
        code: public, in the QR code on it.
        status: as a person declared it, else what the station says; UNKNOWN where it is not connected.
        station_id, ocpp_evse_id: what it is bound to; null where it is bound to nothing.
        made_from_report: made by itself, of what its station reported.
    """

    uid: str
    code: str
    location_id: str
    status: EvseStatus
    station_id: str | None
    ocpp_evse_id: int | None
    connectors: list[ConnectorView]
    made_from_report: bool
    revision: int
    created_at: datetime
    last_updated: datetime


class LocationView(LocationContent, frozen=True, kw_only=True, forbid_unknown_fields=False, omit_defaults=False):
    """A location with its EVSEs.

    Args:
        distance_m: from the point that was searched from; null without one.
        revision: rises with every change; the ETag.
    """

    id: str
    evses: list[EvseView]
    revision: int
    created_at: datetime
    last_updated: datetime
    distance_m: int | None = None


class LocationFilter(Struct, frozen=True, kw_only=True):
    """Which locations. Conditions on EVSEs must be met by one EVSE together.

    Args:
        near: latitude, longitude, radius in metres.
        q: looked for in id, name, address, city and postal code, without case.
        available: an EVSE whose connector is free.
        standard: OCPI ConnectorType of a connector.
        current: AC or DC.
        min_power_w: of a connector.
        tariff_id: at a connector.
    """

    near: tuple[float, float, float] | None = None
    q: str | None = None
    country: str | None = None
    publish: bool | None = None
    facility: str | None = None
    available: bool | None = None
    standard: str | None = None
    current: str | None = None
    min_power_w: int | None = None
    payment_method: PaymentMethod | None = None
    tariff_id: str | None = None
    station_id: str | None = None


class StoredLocation(Struct, frozen=True, kw_only=True):
    """What a change of a location starts from."""

    key: int
    id: str
    content: LocationContent
    revision: int


class StoredEvse(Struct, frozen=True, kw_only=True):
    """What a change of an EVSE starts from."""

    key: int
    uid: str
    location_key: int
    location_id: str
    station_key: StationKey | None
    ocpp_evse_id: int | None
    content: EvseContent
    revision: int


# Who is connected now, by the nodes that live.
_CONNECTED = f"""EXISTS (SELECT FROM station_connection c JOIN node n ON n.id = c.node_id WHERE c.station_key = e.station_key
    AND c.connected AND n.seen_at > now() - interval '{int(NODE_LIVES.total_seconds())} seconds')"""

STATUS: Final = f"""CASE
    WHEN e.removed_at IS NOT NULL THEN 'REMOVED'
    WHEN e.body::jsonb ->> 'declared_status' IS NOT NULL THEN e.body::jsonb ->> 'declared_status'
    WHEN e.station_key IS NULL OR NOT {_CONNECTED} THEN 'UNKNOWN'
    ELSE coalesce((SELECT CASE
        WHEN bool_or(k.evse_id = 0 AND k.status = 'Faulted') THEN 'OUTOFORDER'
        WHEN bool_or(k.evse_id = 0 AND k.status = 'Unavailable') THEN 'INOPERATIVE'
        WHEN bool_or(k.evse_id > 0 AND k.status = 'Occupied') THEN 'CHARGING'
        WHEN bool_or(k.evse_id > 0 AND k.status = 'Reserved') THEN 'RESERVED'
        WHEN bool_or(k.evse_id > 0 AND k.status = 'Available') THEN 'AVAILABLE'
        WHEN bool_or(k.evse_id > 0 AND k.status = 'Faulted') THEN 'OUTOFORDER'
        WHEN bool_or(k.evse_id > 0 AND k.status = 'Unavailable') THEN 'INOPERATIVE' END
        FROM connector k WHERE k.station_key = e.station_key AND k.evse_id IN (0, e.ocpp_evse_id)), 'UNKNOWN') END"""

# One connector of an EVSE is used at a time: it is free while none is occupied and one is available.
FREE_NOW = (
    """(e.body::jsonb ->> 'declared_status' IS NULL
    AND EXISTS (SELECT FROM connector k WHERE k.station_key = e.station_key AND k.evse_id = e.ocpp_evse_id
        AND k.status = 'Available')
    AND NOT EXISTS (SELECT FROM connector k WHERE k.station_key = e.station_key
        AND ((k.evse_id = e.ocpp_evse_id AND k.status IN ('Occupied', 'Reserved'))
            OR (k.evse_id = 0 AND k.status IN ('Unavailable', 'Faulted'))))
    AND """
    + _CONNECTED
    + ")"
)

_EVSES = f"""SELECT e.key, e.location_key, e.uid, e.code, e.body, e.ocpp_evse_id, e.made_from_report, e.revision,
    e.created_at, e.updated_at, s.station_id, l.id AS location_id, {STATUS} AS status
    FROM evse e JOIN location l ON l.key = e.location_key LEFT JOIN charging_station s ON s.key = e.station_key"""

DISTANCE = f"""(2 * {EARTH_M} * asin(least(1, sqrt(
    power(sin(radians(l.place[1] - {{lat}}) / 2), 2)
    + cos(radians({{lat}})) * cos(radians(l.place[1])) * power(sin(radians(l.place[0] - {{lon}}) / 2), 2)))))"""


def behind(last: tuple[Mark, LocationView], wanted: LocationFilter, after: Position | None) -> Position:
    """Where the page after the one that ends with `last` begins."""
    if wanted.near is not None:
        return Position(last[0])
    sort = after.sort if after is not None else None
    return Position(LOCATION_SORTS.place_of(last, sort), sort)


LOCATION_SORTS: Final = Sorts(
    "l.key",
    ident_name=None,
    default="-created_at",
    ident_of=lambda pair: pair[0],
    item=lambda pair: pair[1],
    created_at=by_time("l.created_at"),
    last_updated=by_time("l.updated_at"),
    id=by_text("l.id"),
)


async def page(
    db: Db, tenant_id: TenantId, wanted: LocationFilter, limit: int, after: Position | None
) -> list[tuple[Mark, LocationView]]:
    """Locations with their position in the list: newest first, or nearest first where a place is given."""
    where = Where()
    where.add("l.tenant_id = ?", tenant_id)
    where.add("l.deleted_at IS NULL")
    where.add_if("l.country = ?", wanted.country)
    where.add_if("l.publish = ?", wanted.publish)
    if wanted.q is not None:
        where.add("l.search LIKE ?", like(wanted.q))
    if wanted.facility is not None:
        where.add("l.body::jsonb -> 'facilities' @> to_jsonb(?::text)", wanted.facility)
    _of_evses(where, wanted)
    if wanted.near is None:
        distance, order = "NULL::double precision", LOCATION_SORTS.begin(where, after)
    else:
        latitude, longitude, radius = wanted.near
        distance = DISTANCE.format(lat=f"{latitude!r}::float8", lon=f"{longitude!r}::float8")
        order = "distance, l.key"
        within(where, latitude, longitude, radius)
        where.add(f"{distance} <= ?", radius)
        if after:
            where.add(f"({distance}, l.key) > (?::float8, ?::bigint)", float(after[0]), after[1])
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT l.key, l.id, l.body, l.revision, l.created_at, l.updated_at, {distance} AS distance FROM location l"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    evses = await _evses_of(db, [row["key"] for row in rows])
    return [
        (
            (row["key"],) if wanted.near is None else (row["distance"], row["key"]),
            _view(row, evses.get(row["key"], [])),
        )
        for row in rows
    ]


def _of_evses(where: Where, wanted: LocationFilter) -> None:
    conditions, values = ["e.location_key = l.key", "e.removed_at IS NULL"], []
    connector = []
    for condition, value in (
        ("n.standard = ?", wanted.standard),
        ("n.power_w >= ?", wanted.min_power_w),
        ("n.tariff_ids @> ARRAY[?::text]", wanted.tariff_id),
    ):
        if value is not None:
            connector.append(condition)
            values.append(value)
    if wanted.current is not None:
        connector.append("n.power_type = 'DC'" if wanted.current == "DC" else "n.power_type <> 'DC'")
    if connector:
        conditions.append(
            f"EXISTS (SELECT FROM evse_connector n WHERE n.evse_key = e.key AND {' AND '.join(connector)})"
        )
    if wanted.payment_method is not None:
        conditions.append("e.payment_methods @> ARRAY[?::text]")
        values.append(wanted.payment_method.value)
    if wanted.station_id is not None:
        conditions.append(
            "e.station_key IN (SELECT s.key FROM charging_station s WHERE s.tenant_id = l.tenant_id"
            " AND lower(s.station_id) = lower(?) AND s.deleted_at IS NULL)"
        )
        values.append(wanted.station_id)
    if wanted.available:
        conditions.append(FREE_NOW)
    if len(conditions) > 2:
        where.add(f"EXISTS (SELECT FROM evse e WHERE {' AND '.join(conditions)})", *values)


def within(where: Where, latitude: float, longitude: float, radius_m: float) -> None:
    """The box around a circle, which an index finds; around a pole, and across the date line, in parts."""
    north = math.degrees(radius_m / EARTH_M)
    low, high = latitude - north, latitude + north
    reach = math.sin(min(radius_m / EARTH_M, math.pi / 2)) / max(math.cos(math.radians(latitude)), 1e-12)
    if low <= -90 or high >= 90 or reach >= 1:
        where.add("l.place <@ box(point(-180, ?), point(180, ?))", max(low, -90.0), min(high, 90.0))
        return
    east = math.degrees(math.asin(reach))
    left, right = longitude - east, longitude + east
    if left < -180 or right > 180:
        where.add(
            "(l.place <@ box(point(?, ?), point(180, ?)) OR l.place <@ box(point(-180, ?), point(?, ?)))",
            left + 360 if left < -180 else left,
            low,
            high,
            low,
            right if left < -180 else right - 360,
            high,
        )
    else:
        where.add("l.place <@ box(point(?, ?), point(?, ?))", left, low, right, high)


async def key_of(db: Db, tenant_id: TenantId, location_id: str) -> int | None:
    """Our key of the location with this id, compared without case."""
    key: int | None = await db.fetchval(
        "SELECT key FROM location WHERE tenant_id = $1 AND lower(id) = lower($2) AND deleted_at IS NULL",
        tenant_id,
        location_id,
    )
    return key


async def one(db: Db, tenant_id: TenantId, location_id: str) -> LocationView | None:
    """The location with this id, compared without case."""
    row = await db.fetchrow(
        "SELECT key, id, body, revision, created_at, updated_at, NULL::float8 AS distance FROM location"
        " WHERE tenant_id = $1 AND lower(id) = lower($2) AND deleted_at IS NULL",
        tenant_id,
        location_id,
    )
    if row is None:
        return None
    evses = await _evses_of(db, [row["key"]])
    return _view(row, evses.get(row["key"], []))


async def locked(db: Db, tenant_id: TenantId, location_id: str) -> StoredLocation | None:
    """The location, locked until the transaction ends."""
    row = await db.fetchrow(
        "SELECT key, id, body, revision FROM location"
        " WHERE tenant_id = $1 AND lower(id) = lower($2) AND deleted_at IS NULL FOR UPDATE",
        tenant_id,
        location_id,
    )
    if row is None:
        return None
    return StoredLocation(key=row["key"], id=row["id"], content=_location_of(row["body"]), revision=row["revision"])


async def insert(db: Db, tenant_id: TenantId, location_id: str, content: LocationContent) -> int:
    """A new location; our key of it."""
    key: int = await db.fetchval(
        "INSERT INTO location (tenant_id, id, body, country, time_zone, publish, place, search)"
        " VALUES ($1, $2, $3, $4, $5, $6, point($7, $8), $9) RETURNING key",
        tenant_id,
        location_id,
        *_columns(location_id, content),
    )
    return key


async def update(db: Db, key: int, location_id: str, content: LocationContent) -> None:
    """Another description of a location."""
    await db.execute(
        "UPDATE location SET body = $2, country = $3, time_zone = $4, publish = $5, place = point($6, $7), search = $8,"
        " revision = revision + 1, updated_at = now() WHERE key = $1",
        key,
        *_columns(location_id, content),
    )


def _columns(location_id: str, content: LocationContent) -> tuple[Any, ...]:
    latitude, longitude = degrees(content.coordinates)
    words = (location_id, content.name, content.address, content.city, content.postal_code)
    search = "\n".join(word for word in words if word).lower()
    body = _encode(content).decode()
    return body, content.country, content.time_zone, content.publish, float(longitude), float(latitude), search


async def touch(db: Db, key: int) -> None:
    """Says that an EVSE of the location was changed (OCPI: its `last_updated` moves too)."""
    await db.execute("UPDATE location SET updated_at = now(), revision = revision + 1 WHERE key = $1", key)


async def remove(db: Db, key: int) -> None:
    """Deletes a location; its EVSEs are removed and free of their stations."""
    await db.execute(
        "UPDATE evse SET removed_at = now(), updated_at = now(), revision = revision + 1, station_key = NULL,"
        " ocpp_evse_id = NULL WHERE location_key = $1 AND removed_at IS NULL",
        key,
    )
    await db.execute(
        "UPDATE location SET deleted_at = now(), updated_at = now(), revision = revision + 1 WHERE key = $1", key
    )


# EVSEs


async def evse(db: Db, tenant_id: TenantId, uid: str) -> EvseView | None:
    """The EVSE with this uid, compared without case; removed ones too."""
    row = await db.fetchrow(f"{_EVSES} WHERE e.tenant_id = $1 AND lower(e.uid) = lower($2)", tenant_id, uid)
    if row is None:
        return None
    connectors = await _connectors_of(db, [row["key"]])
    return _evse_view(row, connectors.get(row["key"], []))


async def evse_locked(db: Db, tenant_id: TenantId, uid: str) -> StoredEvse | None:
    """The EVSE, locked until the transaction ends; None where it was removed."""
    row = await db.fetchrow(
        "SELECT e.key, e.uid, e.location_key, l.id AS location_id, e.station_key, e.ocpp_evse_id, e.body, e.revision"
        " FROM evse e JOIN location l ON l.key = e.location_key"
        " WHERE e.tenant_id = $1 AND lower(e.uid) = lower($2) AND e.removed_at IS NULL FOR UPDATE OF e",
        tenant_id,
        uid,
    )
    if row is None:
        return None
    return StoredEvse(
        key=row["key"],
        uid=row["uid"],
        location_key=row["location_key"],
        location_id=row["location_id"],
        station_key=row["station_key"],
        ocpp_evse_id=row["ocpp_evse_id"],
        content=_evse_of(row["body"]),
        revision=row["revision"],
    )


async def insert_evse(
    db: Db,
    tenant_id: TenantId,
    location_key: int,
    uid: str,
    code: str,
    station: tuple[StationKey, int] | None,
    content: EvseContent,
    *,
    made_from_report: bool = False,
) -> int | None:
    """A new EVSE; our key of it, None where the uid is taken."""
    key: int | None = await db.fetchval(
        "INSERT INTO evse (tenant_id, location_key, uid, code, station_key, ocpp_evse_id, evse_id, payment_methods, body,"
        " made_from_report) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " ON CONFLICT (tenant_id, lower(uid)) DO NOTHING RETURNING key",
        tenant_id,
        location_key,
        uid,
        code,
        *(station or (None, None)),
        content.evse_id,
        [method.value for method in content.payment_methods],
        _encode(content).decode(),
        made_from_report,
    )
    return key


async def update_evse(
    db: Db, key: int, location_key: int, station: tuple[StationKey, int] | None, content: EvseContent
) -> None:
    """Another description of an EVSE."""
    await db.execute(
        "UPDATE evse SET location_key = $2, station_key = $3, ocpp_evse_id = $4, evse_id = $5, payment_methods = $6,"
        " body = $7, made_from_report = false, revision = revision + 1, updated_at = now() WHERE key = $1",
        key,
        location_key,
        *(station or (None, None)),
        content.evse_id,
        [method.value for method in content.payment_methods],
        _encode(content).decode(),
    )


async def set_code(db: Db, key: int, code: str) -> None:
    """Another code for an EVSE: the one that was on it is worth nothing any more."""
    await db.execute("UPDATE evse SET code = $2, revision = revision + 1, updated_at = now() WHERE key = $1", key, code)


async def remove_evse(db: Db, key: int) -> None:
    """Removes an EVSE: its uid stays taken, its station is free."""
    await db.execute(
        "UPDATE evse SET removed_at = now(), updated_at = now(), revision = revision + 1, station_key = NULL,"
        " ocpp_evse_id = NULL WHERE key = $1",
        key,
    )


async def put_connectors(
    db: Db, tenant_id: TenantId, evse_key: int, connectors: Sequence[ConnectorContent], *, assumed: bool = False
) -> None:
    """The connectors of an EVSE, all of them; those that are equal to what is there stay as they are."""
    stored = {
        row["id"]: row["body"]
        for row in await db.fetch("SELECT id, body FROM evse_connector WHERE evse_key = $1", evse_key)
    }
    kept = {connector.id for connector in connectors if stored.get(connector.id) == _encode(connector).decode()}
    gone = [ident for ident in stored if ident not in kept]
    await db.execute("DELETE FROM evse_connector WHERE evse_key = $1 AND id = ANY($2)", evse_key, gone)
    for connector in connectors:
        if connector.id in kept:
            continue
        await db.execute(
            "INSERT INTO evse_connector (evse_key, id, tenant_id, ocpp_connector_id, standard, power_type, power_w,"
            " tariff_ids, body, assumed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            evse_key,
            connector.id,
            tenant_id,
            connector.ocpp_connector_id,
            connector.standard,
            connector.power_type.value,
            connector.power_w,
            list(connector.tariff_ids),
            _encode(connector).decode(),
            assumed,
        )


async def connectors(db: Db, evse_key: int) -> list[tuple[ConnectorContent, bool]]:
    """The connectors of an EVSE in the order of the station's numbers, and whether they are assumed."""
    rows = await db.fetch(
        "SELECT body, assumed FROM evse_connector WHERE evse_key = $1 ORDER BY ocpp_connector_id", evse_key
    )
    return [(_connector_of(row["body"]), row["assumed"]) for row in rows]


async def set_tariffs(db: Db, evse_key: int, connector: ConnectorContent, tariff_ids: Sequence[str]) -> None:
    """The tariffs of a connector; it is as assumed as it was."""
    changed = msgspec.structs.replace(connector, tariff_ids=tuple(tariff_ids))
    await db.execute(
        "UPDATE evse_connector SET tariff_ids = $3, body = $4, revision = revision + 1, updated_at = now()"
        " WHERE evse_key = $1 AND id = $2",
        evse_key,
        connector.id,
        list(tariff_ids),
        _encode(changed).decode(),
    )
    await db.execute("UPDATE evse SET revision = revision + 1, updated_at = now() WHERE key = $1", evse_key)


class PlaceRow(Struct, frozen=True, kw_only=True):
    """An EVSE with what rating, agreements and payments ask of it."""

    tenant_id: TenantId
    location_id: str
    location_name: str | None
    time_zone: str
    country: str
    evse_uid: str
    evse_id: str | None
    code: str
    station_key: StationKey | None
    station_id: str | None
    ocpp_evse_id: int | None
    payment_methods: list[str]
    connectors: list[ConnectorContent]


_PLACE = """SELECT e.key, e.tenant_id, l.id AS location_id, l.body::json ->> 'name' AS location_name, l.time_zone, l.country,
    e.uid, e.evse_id, e.code, e.station_key, s.station_id, e.ocpp_evse_id, e.payment_methods,
    (SELECT array_agg(n.body ORDER BY n.ocpp_connector_id) FROM evse_connector n WHERE n.evse_key = e.key) AS connectors
    FROM evse e JOIN location l ON l.key = e.location_key LEFT JOIN charging_station s ON s.key = e.station_key
    WHERE """
_HERE = _PLACE + "e.removed_at IS NULL AND "


async def place_by_station(db: Db, tenant_id: TenantId, station_key: StationKey, ocpp_evse_id: int) -> PlaceRow | None:
    """The EVSE that is bound to one of a station."""
    return _place(
        await db.fetchrow(
            _HERE + "e.station_key = $2 AND e.ocpp_evse_id = $3 AND e.tenant_id = $1",
            tenant_id,
            station_key,
            ocpp_evse_id,
        )
    )


async def place_by_uid(db: Db, tenant_id: TenantId, uid: str, *, removed: bool = False) -> PlaceRow | None:
    """The EVSE with this uid, compared without case.

    Args:
        removed: also where it was removed.
    """
    select = _PLACE if removed else _HERE
    return _place(await db.fetchrow(select + "e.tenant_id = $1 AND lower(e.uid) = lower($2)", tenant_id, uid))


async def place_by_code(db: Db, code: str) -> PlaceRow | None:
    """The EVSE with this code, whosever it is."""
    return _place(await db.fetchrow(_HERE + "e.code = $1", code))


def _place(row: Any) -> PlaceRow | None:
    if row is None:
        return None
    return PlaceRow(
        tenant_id=row["tenant_id"],
        location_id=row["location_id"],
        location_name=row["location_name"],
        time_zone=row["time_zone"],
        country=row["country"],
        evse_uid=row["uid"],
        evse_id=row["evse_id"],
        code=row["code"],
        station_key=row["station_key"],
        station_id=row["station_id"],
        ocpp_evse_id=row["ocpp_evse_id"],
        payment_methods=list(row["payment_methods"]),
        connectors=[_connector_of(body) for body in row["connectors"] or []],
    )


# What stations are told of paying


class PaymentVariable(Struct, frozen=True, kw_only=True):
    """A switch of a station's device model that can be set."""

    component: str
    evse_id: int
    variable: str
    value: str | None


async def payment_variables(db: Db, station_key: StationKey) -> list[PaymentVariable]:
    """The switches for ways to pay that a station reported and lets be set (OCPP 2.x)."""
    rows = await db.fetch(
        "SELECT component, evse_id, variable, value FROM station_variable WHERE station_key = $1 AND attribute = 'Actual'"
        " AND component_instance = '' AND variable_instance = '' AND connector_id = 0 AND mutability = 'ReadWrite'"
        " AND (component, variable) IN (('WebPaymentsCtrlr', 'Enabled'), ('PaymentCtrlr', 'Enabled'),"
        " ('ISO15118Ctrlr', 'PnCEnabled')) ORDER BY component, evse_id",
        station_key,
    )
    return [PaymentVariable(**row) for row in rows]


async def methods_of_station(db: Db, station_key: StationKey) -> dict[int, list[str]]:
    """How one can pay at each EVSE of a station where that is said."""
    rows = await db.fetch(
        "SELECT ocpp_evse_id, payment_methods FROM evse WHERE station_key = $1 AND removed_at IS NULL"
        " AND payment_methods <> '{}'",
        station_key,
    )
    return {row["ocpp_evse_id"]: list(row["payment_methods"]) for row in rows}


# Stations at locations without EVSEs of their own


class Unbound(Struct, frozen=True, kw_only=True):
    """EVSEs that a station at a location reported, and that no EVSE there stands for.

    Args:
        connectors: (EVSE, connector) as it reported them.
        variables: values by (EVSE, connector, name); connector 0: of the EVSE.
    """

    tenant_id: TenantId
    location_key: int
    location_id: str
    station_key: StationKey
    station_id: str
    connectors: list[tuple[int, int]]
    variables: dict[tuple[int, int, str], str]


_UNBOUND = """FROM charging_station s
    JOIN location l ON l.tenant_id = s.tenant_id AND lower(l.id) = lower(s.location_id) AND l.deleted_at IS NULL
    WHERE s.location_id IS NOT NULL AND s.deleted_at IS NULL
    AND EXISTS (SELECT FROM connector k WHERE k.station_key = s.key AND k.evse_id > 0 AND NOT EXISTS
        (SELECT FROM evse e WHERE e.station_key = s.key AND e.ocpp_evse_id = k.evse_id AND e.removed_at IS NULL))
    AND NOT EXISTS (SELECT FROM evse e WHERE e.station_key = s.key AND e.removed_at IS NULL AND NOT e.made_from_report)"""


async def unbound(
    db: Db, limit: int, *, station_key: StationKey | None = None, location_key: int | None = None
) -> list[Unbound]:
    """Stations that stand at a location, reported EVSEs, and were bound to none by hand.

    Args:
        station_key: this one only; None: all.
        location_key: at this location only; None: at all.
    """
    which, values = "", []
    for condition, value in (("s.key", station_key), ("l.key", location_key)):
        if value is not None:
            values.append(value)
            which += f" AND {condition} = ${len(values) + 1}"
    rows = await db.fetch(
        f"SELECT s.key, s.tenant_id, s.station_id, l.key AS location_key, l.id AS location_id {_UNBOUND}{which}"
        " ORDER BY s.key LIMIT $1",
        limit,
        *values,
    )
    found = []
    for row in rows:
        reported = await db.fetch(
            "SELECT k.evse_id, k.connector_id FROM connector k WHERE k.station_key = $1 AND k.evse_id > 0 AND NOT EXISTS"
            " (SELECT FROM evse e WHERE e.station_key = $1 AND e.ocpp_evse_id = k.evse_id AND e.removed_at IS NULL)"
            " ORDER BY 1, 2 LIMIT 1000",
            row["key"],
        )
        told = await db.fetch(
            "SELECT evse_id, connector_id, variable, value FROM station_variable WHERE station_key = $1 AND evse_id > 0"
            " AND attribute IN ('Actual', 'MaxSet') AND value IS NOT NULL AND ((component = 'Connector' AND variable ="
            " 'ConnectorType') OR (component = 'EVSE' AND variable IN ('Power', 'SupplyPhases', 'DCVoltage')))"
            " ORDER BY attribute",
            row["key"],
        )
        found.append(
            Unbound(
                tenant_id=row["tenant_id"],
                location_key=row["location_key"],
                location_id=row["location_id"],
                station_key=row["key"],
                station_id=row["station_id"],
                connectors=[(one["evse_id"], one["connector_id"]) for one in reported],
                variables={(one["evse_id"], one["connector_id"], one["variable"]): one["value"] for one in told},
            )
        )
    return found


# Views


def _view(row: Any, evses: list[EvseView]) -> LocationView:
    return LocationView(
        **_fields(_location_of(row["body"])),
        id=row["id"],
        evses=evses,
        revision=row["revision"],
        created_at=row["created_at"],
        last_updated=row["updated_at"],
        distance_m=None if row["distance"] is None else round(row["distance"]),
    )


async def _evses_of(db: Db, location_keys: list[int]) -> dict[int, list[EvseView]]:
    rows = await db.fetch(
        f"{_EVSES} WHERE e.location_key = ANY($1) AND e.removed_at IS NULL ORDER BY e.key", location_keys
    )
    connectors = await _connectors_of(db, [row["key"] for row in rows])
    found: dict[int, list[EvseView]] = {}
    for row in rows:
        found.setdefault(row["location_key"], []).append(_evse_view(row, connectors.get(row["key"], [])))
    return found


async def reported_at(db: Db, location_keys: list[int]) -> dict[str, datetime]:
    """When the stations of locations last told the status of their EVSEs, by uid; nothing of those that never did."""
    rows = await db.fetch(
        "SELECT e.uid, max(k.received_at) AS at FROM evse e JOIN connector k ON k.station_key = e.station_key"
        " AND k.evse_id IN (0, e.ocpp_evse_id) WHERE e.location_key = ANY($1) AND e.removed_at IS NULL GROUP BY e.uid",
        location_keys,
    )
    return {row["uid"]: row["at"] for row in rows}


async def _connectors_of(db: Db, evse_keys: list[int]) -> dict[int, list[ConnectorView]]:
    found: dict[int, list[ConnectorView]] = {}
    for row in await db.fetch(
        "SELECT evse_key, body, power_w, assumed, updated_at FROM evse_connector WHERE evse_key = ANY($1)"
        " ORDER BY evse_key, ocpp_connector_id",
        evse_keys,
    ):
        found.setdefault(row["evse_key"], []).append(
            ConnectorView(
                **_fields(_connector_of(row["body"])),
                max_power_w=row["power_w"],
                assumed=row["assumed"],
                last_updated=row["updated_at"],
            )
        )
    return found


def _evse_view(row: Any, connectors: list[ConnectorView]) -> EvseView:
    return EvseView(
        **_fields(_evse_of(row["body"])),
        uid=row["uid"],
        code=row["code"],
        location_id=row["location_id"],
        status=EvseStatus(row["status"]),
        station_id=row["station_id"],
        ocpp_evse_id=row["ocpp_evse_id"],
        connectors=connectors,
        made_from_report=row["made_from_report"],
        revision=row["revision"],
        created_at=row["created_at"],
        last_updated=row["updated_at"],
    )


def _fields(content: Struct) -> dict[str, Any]:
    return {name: getattr(content, name) for name in content.__struct_fields__}
