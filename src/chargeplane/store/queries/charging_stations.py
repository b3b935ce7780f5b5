"""Charging stations as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.clock import zone_like
from chargeplane.domain.error_words import Words, explain
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_text, by_time, like
from chargeplane.store.queries.payloads import json_object

NODE_LIVES: Final = timedelta(seconds=20)
"""A node that was not seen for this long is gone, and so are its connections."""


class ConnectorView(Struct, frozen=True, kw_only=True):
    """A connector.

    Args:
        status: Available, Occupied, Reserved, Unavailable, Faulted.
        reported_status: the station's own word (OCPP 1.6 has nine).
        at: the station's time of the status.
        received_at: ours.
        words: what its codes mean and what to do, in English, where they are known; null while nothing is wrong.
    """

    connector_id: int
    status: str
    reported_status: str
    error_code: str | None
    info: str | None
    vendor_id: str | None
    vendor_error_code: str | None
    at: datetime | None
    received_at: datetime
    words: Words | None = None


class EvseView(Struct, frozen=True, kw_only=True):
    """An EVSE: what can charge one vehicle at a time.

    Args:
        status: of its connectors taken together.
        transaction_id: the open transaction, if there is one.
    """

    evse_id: int
    status: str
    transaction_id: str | None
    connectors: list[ConnectorView]


class ClockView(Struct, frozen=True, kw_only=True):
    """How a station's clock goes, as its live messages show.

    Args:
        offset_s: the station's clock minus ours; positive where it is ahead.
        measured_at: our time of that.
        like_local_time: it is off by whole quarters of an hour: local time sent as UTC.
    """

    offset_s: float
    measured_at: datetime
    like_local_time: bool


class ConnectionView(Struct, frozen=True, kw_only=True):
    """A station's connection.

    Args:
        changed_at: when it connected or went away.
        clock: null until a message with a time has come.
    """

    connected: bool
    ocpp_version: str | None
    remote_address: str | None
    changed_at: datetime | None
    last_seen_at: datetime | None
    clock: ClockView | None


class QuirkView(Struct, frozen=True, kw_only=True):
    """A repair that the station's messages needed, or a rule about its vendor, model or firmware.

    Args:
        rule: its name; it never changes.
        hits: how often it was needed.
        last_at: null where it was not needed so far.
    """

    rule: str
    hits: int
    last_at: datetime | None


class ChargingStationView(Struct, frozen=True, kw_only=True):
    """A charging station.

    Args:
        status: of the station as a whole (Available while a connector is free); Unknown before any status came.
        registration: accepted, pending, rejected.
        has_password: whether a password is set; it is never shown.
        firmware: version of the last boot.
        settings: what we do by ourselves for this station.
        quirks: repairs that its messages needed, the most frequent first, and what else it is known for.
        metadata: the caller's own, kept and given back.
        revision: rises with every change through the API; the ETag.
    """

    station_id: str
    name: str | None
    location_id: str | None
    status: str
    connected: bool
    connection: ConnectionView
    registration: str
    security_profile: int
    has_password: bool
    vendor: str | None
    model: str | None
    serial_number: str | None
    firmware: str | None
    ocpp_version: str | None
    iccid: str | None
    imsi: str | None
    meter_type: str | None
    meter_serial_number: str | None
    boot_reason: str | None
    booted_at: datetime | None
    evses: list[EvseView]
    quirks: Sequence[QuirkView]
    settings: dict[str, Any]
    metadata: dict[str, Any]
    revision: int
    created_at: datetime
    updated_at: datetime


class StationFilter(Struct, frozen=True, kw_only=True):
    """Which stations. `q` is looked for in id, name, vendor, model and serial number, without case."""

    connected: bool | None = None
    status: str | None = None
    registration: str | None = None
    location_id: str | None = None
    model: str | None = None
    q: str | None = None


class StoredStation(Struct, frozen=True, kw_only=True):
    """What a change of a station starts from."""

    key: StationKey
    station_id: str
    security_profile: int
    registration: str
    has_password: bool
    revision: int
    settings: dict[str, Any]
    metadata: dict[str, Any]


_CONNECTED = f"(c.connected AND n.seen_at > now() - interval '{int(NODE_LIVES.total_seconds())} seconds')"

# The whole station's own word counts where it is out of service; else the best of its connectors.
_STATUS = """
    SELECT CASE
        WHEN bool_or(evse_id = 0 AND status IN ('Unavailable', 'Faulted')) THEN max(status) FILTER (WHERE evse_id = 0)
        WHEN bool_or(evse_id > 0 AND status = 'Available') THEN 'Available'
        WHEN bool_or(evse_id > 0 AND status = 'Occupied') THEN 'Occupied'
        WHEN bool_or(evse_id > 0 AND status = 'Reserved') THEN 'Reserved'
        WHEN bool_or(evse_id > 0 AND status = 'Faulted') THEN 'Faulted'
        WHEN bool_or(evse_id > 0 AND status = 'Unavailable') THEN 'Unavailable'
        WHEN bool_or(evse_id = 0) THEN max(status) FILTER (WHERE evse_id = 0)
        ELSE 'Unknown' END
    FROM connector k WHERE k.station_key = s.key"""

_SELECT = f"""
    SELECT s.key, s.station_id, s.name, s.location_id, s.security_profile, s.registration,
        s.password_hash IS NOT NULL AS has_password, s.settings, s.metadata, s.revision, s.created_at, s.updated_at,
        s.vendor, s.model, s.serial_number, s.firmware_version, s.iccid, s.imsi, s.meter_type, s.meter_serial_number,
        s.boot_reason, s.booted_at,
        coalesce({_CONNECTED}, false) AS connected, c.ocpp_version, c.remote_address, c.changed_at, c.last_seen_at,
        c.clock_offset_s, c.clock_measured_at,
        ({_STATUS}) AS status
    FROM charging_station s
    LEFT JOIN station_connection c ON c.station_key = s.key
    LEFT JOIN node n ON n.id = c.node_id"""


STATION_SORTS: Final = Sorts(
    "s.key",
    ident_name=None,
    default="-created_at",
    ident_of=lambda pair: (pair[0],),
    item=lambda pair: pair[1],
    created_at=by_time("s.created_at"),
    station_id=by_text("s.station_id"),
)


async def page(
    db: Db, tenant_id: TenantId, wanted: StationFilter, limit: int, after: Position | None
) -> list[tuple[StationKey, ChargingStationView]]:
    """Stations, newest first."""
    where = Where()
    where.add("s.tenant_id = ?", tenant_id)
    where.add("s.deleted_at IS NULL")
    joins = ""
    if wanted.connected is not None:
        joins = f"{'' if wanted.connected else 'LEFT '}JOIN station_connection c ON c.station_key = s.key"
        nodes = [
            row["id"] for row in await db.fetch("SELECT id FROM node WHERE seen_at > now() - $1::interval", NODE_LIVES)
        ]
        where.add("(c.connected AND c.node_id = ANY(?))" + ("" if wanted.connected else " IS NOT TRUE"), nodes)
    if wanted.status is not None:
        # Whoever has the status has a connector that has it; that is found faster than what all connectors say together.
        if wanted.status == "Unknown":
            where.add("NOT EXISTS (SELECT FROM connector k WHERE k.station_key = s.key)")
        else:
            where.add("EXISTS (SELECT FROM connector k WHERE k.station_key = s.key AND k.status = ?)", wanted.status)
        where.add(f"({_STATUS}) = ?", wanted.status)
    where.add_if("s.registration = ?", wanted.registration)
    if wanted.registration not in (None, "Accepted"):
        where.add("s.registration <> 'Accepted'")  # as its index says
    where.add_if("s.location_id = ?", wanted.location_id)
    where.add_if("lower(s.model) = lower(?)", wanted.model)
    if wanted.q is not None:
        where.add("s.search LIKE ?", like(wanted.q))
    order = STATION_SORTS.begin(where, after)
    where.values.append(limit)
    # The page is chosen before anything is gathered for it.
    chosen = f"SELECT s.key FROM charging_station s {joins} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}"
    rows = await db.fetch(
        f"WITH chosen AS MATERIALIZED ({chosen}) {_SELECT} WHERE s.key IN (SELECT key FROM chosen) ORDER BY {order}",
        *where.values,
    )
    keys = [row["key"] for row in rows]
    evses, quirks = await _evses(db, keys), await _quirks(db, keys)
    return [(row["key"], _view(row, evses, quirks)) for row in rows]


async def one(db: Db, tenant_id: TenantId, station_id: str) -> tuple[StationKey, ChargingStationView] | None:
    """The station with this id, compared without case."""
    row = await db.fetchrow(
        f"{_SELECT} WHERE s.tenant_id = $1 AND lower(s.station_id) = lower($2) AND s.deleted_at IS NULL",
        tenant_id,
        station_id,
    )
    if row is None:
        return None
    keys = [row["key"]]
    return row["key"], _view(row, await _evses(db, keys), await _quirks(db, keys))


async def key_of(db: Db, tenant_id: TenantId, station_id: str) -> StationKey | None:
    """Our key of the station with this id, compared without case."""
    key: StationKey | None = await db.fetchval(
        "SELECT key FROM charging_station WHERE tenant_id = $1 AND lower(station_id) = lower($2) AND deleted_at IS NULL",
        tenant_id,
        station_id,
    )
    return key


async def required_key(db: Db, tenant_id: TenantId, station_id: str) -> StationKey:
    """The key of a station that is registered.

    Raises:
        NotFoundError: the tenant has no such station.
    """
    key = await key_of(db, tenant_id, station_id)
    if key is None:
        raise NotFoundError("charging station", station_id)
    return key


async def keys_of(db: Db, tenant_id: TenantId, station_id: str) -> list[StationKey]:
    """Our keys of the stations that have this id or had it before they were deleted, compared without case."""
    rows = await db.fetch(
        "SELECT key FROM charging_station WHERE tenant_id = $1 AND lower(station_id) = lower($2)", tenant_id, station_id
    )
    return [row["key"] for row in rows]


async def locked(db: Db, tenant_id: TenantId, station_id: str) -> StoredStation | None:
    """The station, locked until the transaction ends."""
    row = await db.fetchrow(
        "SELECT key, station_id, security_profile, registration, password_hash IS NOT NULL AS has_password, revision,"
        " settings, metadata FROM charging_station"
        " WHERE tenant_id = $1 AND lower(station_id) = lower($2) AND deleted_at IS NULL FOR UPDATE",
        tenant_id,
        station_id,
    )
    if row is None:
        return None
    values = dict(row)
    values["settings"] = json_object(values["settings"])
    values["metadata"] = json_object(values["metadata"])
    return StoredStation(**values)


async def insert(db: Db, tenant_id: TenantId, station_id: str, columns: dict[str, Any]) -> StationKey:
    """A new station.

    Args:
        columns: by column name; dicts are stored as JSON.
    Raises:
        asyncpg.UniqueViolationError: the tenant has a station with this id.
    """
    names, places, values = _columns({"tenant_id": tenant_id, "station_id": station_id, **columns})
    key: StationKey = await db.fetchval(
        f"INSERT INTO charging_station ({', '.join(names)}) VALUES ({', '.join(places)}) RETURNING key",
        *values,
    )
    return key


async def pending_count(db: Db, tenant_id: TenantId, most: int) -> int:
    """How many stations wait for an operator's word, counted up to `most`."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM (SELECT FROM charging_station"
        " WHERE tenant_id = $1 AND registration = 'Pending' AND deleted_at IS NULL LIMIT $2) AS s",
        tenant_id,
        most,
    )
    return count


async def update(db: Db, key: StationKey, columns: dict[str, Any]) -> None:
    """Changes columns and raises the revision."""
    names, places, values = _columns(columns)
    changes = [f"{name} = {place}" for name, place in zip(names, places, strict=True)]
    await db.execute(
        f"UPDATE charging_station SET {', '.join([*changes, 'revision = revision + 1', 'updated_at = now()'])}"
        f" WHERE key = ${len(values) + 1}",
        *values,
        key,
    )


def _columns(columns: dict[str, Any]) -> tuple[list[str], list[str], list[Any]]:
    names, places, values = [], [], []
    for name, value in columns.items():
        is_json = isinstance(value, dict)
        values.append(msgspec.json.encode(value).decode() if is_json else value)
        names.append(name)
        places.append(f"${len(values)}" + ("::text::jsonb" if is_json else ""))
    return names, places, values


async def _evses(db: Db, keys: list[StationKey]) -> dict[StationKey, list[EvseView]]:
    connectors: dict[tuple[StationKey, int], list[ConnectorView]] = {}
    for row in await db.fetch(
        "SELECT station_key, evse_id, connector_id, status, reported, error_code, info, vendor_id, vendor_error_code,"
        " at, received_at FROM connector WHERE station_key = ANY($1) AND evse_id > 0"
        " ORDER BY station_key, evse_id, connector_id",
        keys,
    ):
        connectors.setdefault((row["station_key"], row["evse_id"]), []).append(
            ConnectorView(
                connector_id=row["connector_id"],
                status=row["status"],
                reported_status=row["reported"],
                error_code=row["error_code"],
                info=row["info"],
                vendor_id=row["vendor_id"],
                vendor_error_code=row["vendor_error_code"],
                at=row["at"],
                received_at=row["received_at"],
                words=explain(
                    error_code=row["error_code"],
                    vendor_error_code=row["vendor_error_code"],
                    status="Faulted" if row["status"] == "Faulted" else None,
                    vendor=row["vendor_id"],
                ),
            )
        )
    open_now: dict[tuple[StationKey, int], str] = {}
    for row in await db.fetch(
        "SELECT t.station_key, t.evse_id, t.id FROM open_transaction o JOIN transaction t ON t.id = o.transaction_id"
        " WHERE o.station_key = ANY($1) AND t.evse_id > 0 ORDER BY t.id",
        keys,
    ):
        open_now[(row["station_key"], row["evse_id"])] = str(row["id"])
    found: dict[StationKey, list[EvseView]] = {}
    for key, evse_id in sorted({*connectors, *open_now}):
        mine = connectors.get((key, evse_id), [])
        states = {c.status for c in mine}
        status = next(
            (s for s in ("Occupied", "Available", "Reserved", "Faulted", "Unavailable") if s in states), "Unknown"
        )
        found.setdefault(key, []).append(
            EvseView(evse_id=evse_id, status=status, transaction_id=open_now.get((key, evse_id)), connectors=mine)
        )
    return found


async def _quirks(db: Db, keys: list[StationKey]) -> dict[StationKey, list[QuirkView]]:
    found: dict[StationKey, list[QuirkView]] = {}
    for row in await db.fetch(
        "SELECT station_key, rule, hits, last_at FROM station_quirk WHERE station_key = ANY($1)"
        " ORDER BY station_key, hits DESC, rule",
        keys,
    ):
        found.setdefault(row["station_key"], []).append(
            QuirkView(rule=row["rule"], hits=row["hits"], last_at=row["last_at"])
        )
    return found


def _view(
    row: Any, evses: dict[StationKey, list[EvseView]], quirks: dict[StationKey, list[QuirkView]]
) -> ChargingStationView:
    return ChargingStationView(
        station_id=row["station_id"],
        name=row["name"],
        location_id=row["location_id"],
        status=row["status"] or "Unknown",
        connected=row["connected"],
        connection=ConnectionView(
            connected=row["connected"],
            ocpp_version=row["ocpp_version"],
            remote_address=row["remote_address"],
            changed_at=row["changed_at"],
            last_seen_at=row["last_seen_at"],
            clock=None
            if row["clock_offset_s"] is None
            else ClockView(
                offset_s=row["clock_offset_s"],
                measured_at=row["clock_measured_at"],
                like_local_time=zone_like(row["clock_offset_s"]),
            ),
        ),
        registration=row["registration"].lower(),
        security_profile=row["security_profile"],
        has_password=row["has_password"],
        vendor=row["vendor"],
        model=row["model"],
        serial_number=row["serial_number"],
        firmware=row["firmware_version"],
        ocpp_version=row["ocpp_version"],
        iccid=row["iccid"],
        imsi=row["imsi"],
        meter_type=row["meter_type"],
        meter_serial_number=row["meter_serial_number"],
        boot_reason=row["boot_reason"],
        booted_at=row["booted_at"],
        evses=evses.get(row["key"], []),
        quirks=quirks.get(row["key"], []),
        settings=json_object(row["settings"]),
        metadata=json_object(row["metadata"]),
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def remove(db: Db, key: StationKey) -> None:
    """Marks the station as deleted and forgets its credentials; its history stays."""
    await db.execute(
        "UPDATE charging_station SET deleted_at = now(), updated_at = now(), revision = revision + 1,"
        " password_salt = NULL, password_hash = NULL, password_key_id = NULL WHERE key = $1",
        key,
    )


class UnknownStationView(Struct, frozen=True, kw_only=True):
    """A station that tried to connect and is not registered.

    Args:
        remote_address: of its last attempt.
    """

    station_id: str
    remote_address: str
    first_seen_at: datetime
    last_seen_at: datetime
    attempts: int


UNKNOWN_SORTS: Final = Sorts(
    'u.station_id COLLATE "C"',
    ident_kinds=(str,),
    ident_name="station_id",
    default="-last_seen_at",
    ident_of=lambda one: (one.station_id,),
    last_seen_at=by_time("u.last_seen_at"),
    first_seen_at=by_time("u.first_seen_at"),
    attempts=by_number("u.attempts"),
)


async def unknown(
    db: Db, tenant_id: TenantId, q: str | None, limit: int, after: Position | None
) -> list[UnknownStationView]:
    """Stations that tried to connect and are not registered by now, the newest attempt first."""
    where = Where()
    where.add("u.tenant_id = ?", tenant_id)
    where.add(
        "NOT EXISTS (SELECT 1 FROM charging_station s WHERE s.tenant_id = u.tenant_id"
        " AND lower(s.station_id) = lower(u.station_id) AND s.deleted_at IS NULL)"
    )
    if q is not None:
        where.add("(lower(u.station_id) LIKE ? OR u.remote_address LIKE ?)", like(q), like(q))
    order = UNKNOWN_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT u.station_id, u.remote_address, u.first_seen_at, u.last_seen_at, u.attempts FROM unknown_station u"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [UnknownStationView(**row) for row in rows]


async def put_heartbeat_interval(db: Db, key: StationKey, interval_s: int) -> tuple[str, int | None] | None:
    """Sets a station's own interval; its id and the interval before, None where it had that one already."""
    row = await db.fetchrow(
        "UPDATE charging_station s SET settings = s.settings || jsonb_build_object('heartbeat_interval_s', $2::int),"
        " revision = s.revision + 1, updated_at = now()"
        " FROM (SELECT key, (settings->>'heartbeat_interval_s')::int AS before FROM charging_station WHERE key = $1 FOR UPDATE) old"
        " WHERE s.key = old.key AND s.deleted_at IS NULL AND old.before IS DISTINCT FROM $2::int"
        " RETURNING s.station_id, old.before",
        key,
        interval_s,
    )
    return None if row is None else (row["station_id"], row["before"])
