"""What stations and vehicles tell about smart charging, limits that are kept on stations, and what models refuse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.domain.charging_profiles import ChargingSchedule
from chargeplane.domain.smart_charging import EvChargingNeeds, EvChargingSchedule
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_schedules: Final = msgspec.json.Decoder(tuple[ChargingSchedule, ...]).decode
_needs: Final = msgspec.json.Decoder(EvChargingNeeds).decode
_schedule: Final = msgspec.json.Decoder(EvChargingSchedule).decode


class ChargingLimitView(Struct, frozen=True, kw_only=True):
    """What an external system allows.

    Args:
        evse_id: 0: the whole station.
        schedules: empty where the station does not tell them.
        cleared_at: null while it holds.
    """

    evse_id: int
    source: str
    schedules: Sequence[ChargingSchedule]
    grid_critical: bool | None
    local_generation: bool | None
    told_at: datetime
    cleared_at: datetime | None


class EvNeedView(Struct, frozen=True, kw_only=True):
    """What a vehicle told of its needs.

    Args:
        answer: Accepted, Processing, Rejected, NoChargingProfile.
        profile_id: of the profile it got.
    """

    id: str
    evse_id: int
    transaction_id: str | None
    ocpp_transaction_id: str | None
    needs: EvChargingNeeds
    answer: str
    reason: str | None
    profile_id: int | None
    received_at: datetime


class EvScheduleView(Struct, frozen=True, kw_only=True):
    """What a vehicle said it would follow, and whether that is within the limits."""

    id: str
    evse_id: int
    transaction_id: str | None
    ocpp_transaction_id: str | None
    schedule: EvChargingSchedule
    accepted: bool
    reason: str | None
    received_at: datetime


class OpenCharge(Struct, frozen=True, kw_only=True):
    """A transaction that goes on at a station."""

    id: int
    ocpp_transaction_id: str
    evse_id: int
    started_at: datetime
    priority: bool
    allowed: Sequence[str] | None
    needs_told: bool


class StationFacts(Struct, frozen=True, kw_only=True):
    """What is known of a station that charging profiles ask about."""

    station_id: str
    tenant_id: TenantId
    location_id: str | None
    vendor: str
    model: str
    firmware: str
    ocpp_version: str | None
    connected: bool
    changed_at: datetime | None
    evse_ids: Sequence[int]


class StaticLimitView(Struct, frozen=True, kw_only=True):
    """A limit that is kept on a station.

    Args:
        evse_id: 0: the whole station.
        set_for: station, or location: its share of the site's limit.
    """

    evse_id: int
    set_for: str
    limit: Decimal
    unit: str
    set_by: str
    updated_at: datetime


class LocationLimitView(Struct, frozen=True, kw_only=True):
    """A limit of a site, divided over its stations.

    Args:
        rule: equal: each station has the same; by_evses: each has as many shares as EVSEs, one at least.
    """

    location_id: str
    limit: Decimal
    unit: str
    rule: str
    set_by: str
    updated_at: datetime


class DialectView(Struct, frozen=True, kw_only=True):
    """What a model refuses of charging profiles."""

    vendor: str
    model: str
    firmware: str
    trait: str
    hits: int
    seen_at: datetime
    station_id: str | None


async def facts(db: Db, key: StationKey) -> StationFacts | None:
    """What is known of a station."""
    row = await db.fetchrow(
        "SELECT s.station_id, s.tenant_id, s.location_id, s.vendor, s.model, s.firmware_version, c.ocpp_version,"
        " coalesce(c.connected, false) AS connected, c.changed_at,"
        " ARRAY(SELECT DISTINCT evse_id FROM connector k WHERE k.station_key = s.key AND evse_id > 0 ORDER BY 1) AS evses"
        " FROM charging_station s LEFT JOIN station_connection c ON c.station_key = s.key WHERE s.key = $1",
        key,
    )
    if row is None:
        return None
    return StationFacts(
        station_id=row["station_id"],
        tenant_id=row["tenant_id"],
        location_id=row["location_id"],
        vendor=row["vendor"] or "",
        model=row["model"] or "",
        firmware=row["firmware_version"] or "",
        ocpp_version=row["ocpp_version"],
        connected=row["connected"],
        changed_at=row["changed_at"],
        evse_ids=list(row["evses"]),
    )


async def open_charges(db: Db, key: StationKey) -> list[OpenCharge]:
    """The transactions that go on at a station."""
    rows = await db.fetch(
        "SELECT t.id, t.ocpp_transaction_id, t.evse_id, t.started_at, coalesce(c.priority, false) AS priority, c.allowed,"
        " EXISTS (SELECT FROM ev_charging_need n WHERE n.station_key = t.station_key"
        " AND n.ocpp_transaction_id = t.ocpp_transaction_id) AS needs_told"
        " FROM transaction t LEFT JOIN transaction_charging c"
        " ON c.station_key = t.station_key AND c.ocpp_transaction_id = t.ocpp_transaction_id"
        " WHERE t.station_key = $1 AND t.is_open AND t.evse_id IS NOT NULL AND t.ocpp_transaction_id IS NOT NULL"
        " ORDER BY t.opened_at",
        key,
    )
    return [OpenCharge(**row) for row in rows]


async def variables_of(db: Db, key: StationKey) -> dict[tuple[str, str, str, int], str]:
    """What the station reported of its smart charging: by component, variable, instance and EVSE, in lower case."""
    rows = await db.fetch(
        "SELECT lower(component) AS component, lower(variable) AS variable, lower(variable_instance) AS instance,"
        " evse_id, value FROM station_variable WHERE station_key = $1 AND attribute = 'Actual' AND value IS NOT NULL"
        " AND (lower(component) IN ('smartchargingctrlr', 'v2xchargingctrlr') OR (lower(component) = 'evse' AND"
        " lower(variable) IN ('supplyphases', 'acphaseswitchingsupported')) OR (component = '' AND lower(variable) IN"
        " ('chargeprofilemaxstacklevel', 'chargingschedulemaxperiods', 'maxchargingprofilesinstalled',"
        " 'chargingscheduleallowedchargingrateunit')))",
        key,
    )
    return {(row["component"], row["variable"], row["instance"], row["evse_id"]): row["value"] for row in rows}


# --- External limits --------------------------------------------------------------------------------------------------


async def put_limit(
    db: Db,
    key: StationKey,
    evse_id: int,
    source: str,
    schedules: Sequence[ChargingSchedule],
    grid_critical: bool | None,
    local_generation: bool | None,
    told_at: datetime,
) -> None:
    """An external system's limit, in place of its last one."""
    await db.execute(
        "INSERT INTO charging_limit AS l (station_key, evse_id, source, schedules, grid_critical, local_generation, told_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (station_key, evse_id, source) DO UPDATE SET"
        " schedules = excluded.schedules, grid_critical = excluded.grid_critical,"
        " local_generation = excluded.local_generation, told_at = excluded.told_at, cleared_at = NULL"
        " WHERE l.told_at <= excluded.told_at",
        key,
        evse_id,
        source,
        _encode(schedules).decode(),
        grid_critical,
        local_generation,
        told_at,
    )


async def clear_limit(db: Db, key: StationKey, evse_id: int, source: str, at: datetime) -> None:
    """An external system limits no more."""
    await db.execute(
        "UPDATE charging_limit SET cleared_at = $4 WHERE station_key = $1 AND evse_id = $2 AND source = $3"
        " AND told_at <= $4 AND cleared_at IS NULL",
        key,
        evse_id,
        source,
        at,
    )


async def limits(db: Db, key: StationKey, *, holding: bool = False) -> list[ChargingLimitView]:
    """External limits of a station.

    Args:
        holding: only those that were not cleared.
    """
    rows = await db.fetch(
        "SELECT evse_id, source, schedules, grid_critical, local_generation, told_at, cleared_at FROM charging_limit"
        f" WHERE station_key = $1{' AND cleared_at IS NULL' if holding else ''} ORDER BY evse_id, source",
        key,
    )
    return [ChargingLimitView(**{**row, "schedules": _schedules(row["schedules"])}) for row in rows]


# --- Vehicles ---------------------------------------------------------------------------------------------------------


async def add_need(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    needs: EvChargingNeeds,
    charge: OpenCharge | None,
    answer: str,
    reason: str | None,
    profile_id: int | None,
    at: datetime,
) -> None:
    """Keeps what a vehicle needs, and what it was answered."""
    await db.execute(
        "INSERT INTO ev_charging_need (tenant_id, station_key, evse_id, transaction_id, ocpp_transaction_id, needs, answer,"
        " reason, profile_id, received_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tenant_id,
        key,
        needs.evse_id,
        charge and charge.id,
        charge and charge.ocpp_transaction_id,
        _encode(needs).decode(),
        answer,
        reason,
        profile_id,
        at,
    )


async def last_need(db: Db, key: StationKey, ocpp_transaction_id: str) -> EvChargingNeeds | None:
    """What a transaction's vehicle last told of its needs."""
    found = await db.fetchval(
        "SELECT needs FROM ev_charging_need WHERE station_key = $1 AND ocpp_transaction_id = $2 ORDER BY id DESC LIMIT 1",
        key,
        ocpp_transaction_id,
    )
    return None if found is None else _needs(found)


def _vehicle_where(key: StationKey, transaction_id: int | None) -> Where:
    where = Where()
    where.add("station_key = ?", key)
    where.add_if("transaction_id = ?", transaction_id)
    return where


NEED_SORTS: Final = Sorts("n.id", received_at=by_time("n.received_at"))


async def needs(
    db: Db, key: StationKey, transaction_id: int | None, limit: int, after: Position | None
) -> list[EvNeedView]:
    """What vehicles told of their needs, newest first."""
    where = _vehicle_where(key, transaction_id)
    order = NEED_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id::text, evse_id, transaction_id::text, ocpp_transaction_id, needs, answer, reason, profile_id,"
        f" received_at FROM ev_charging_need n WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [EvNeedView(**{**row, "needs": _needs(row["needs"])}) for row in rows]


async def add_schedule(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    told: EvChargingSchedule,
    charge: OpenCharge | None,
    accepted: bool,
    reason: str | None,
    at: datetime,
) -> None:
    """Keeps what a vehicle will follow."""
    await db.execute(
        "INSERT INTO ev_charging_schedule (tenant_id, station_key, evse_id, transaction_id, ocpp_transaction_id, schedule,"
        " accepted, reason, received_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant_id,
        key,
        told.evse_id,
        charge and charge.id,
        charge and charge.ocpp_transaction_id,
        _encode(told).decode(),
        accepted,
        reason,
        at,
    )


SCHEDULE_SORTS: Final = Sorts("n.id", received_at=by_time("n.received_at"))


async def schedules(
    db: Db, key: StationKey, transaction_id: int | None, limit: int, after: Position | None
) -> list[EvScheduleView]:
    """What vehicles said they would follow, newest first."""
    where = _vehicle_where(key, transaction_id)
    order = SCHEDULE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id::text, evse_id, transaction_id::text, ocpp_transaction_id, schedule, accepted, reason, received_at"
        f" FROM ev_charging_schedule n WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [EvScheduleView(**{**row, "schedule": _schedule(row["schedule"])}) for row in rows]


async def put_priority(db: Db, key: StationKey, ocpp_transaction_id: str, active: bool) -> None:
    """Whether a transaction charges with priority."""
    await db.execute(
        "INSERT INTO transaction_charging (station_key, ocpp_transaction_id, priority) VALUES ($1, $2, $3)"
        " ON CONFLICT (station_key, ocpp_transaction_id) DO UPDATE SET priority = excluded.priority, updated_at = now()",
        key,
        ocpp_transaction_id,
        active,
    )


async def put_allowed(db: Db, key: StationKey, ocpp_transaction_id: str, allowed: Sequence[str]) -> None:
    """How a transaction's vehicle may transfer energy."""
    await db.execute(
        "INSERT INTO transaction_charging (station_key, ocpp_transaction_id, allowed) VALUES ($1, $2, $3::text[])"
        " ON CONFLICT (station_key, ocpp_transaction_id) DO UPDATE SET allowed = excluded.allowed, updated_at = now()",
        key,
        ocpp_transaction_id,
        list(allowed),
    )


async def count_renegotiation(db: Db, key: StationKey, ocpp_transaction_id: str) -> int:
    """One more schedule for a vehicle that went beyond its last one; how many so far."""
    count: int = await db.fetchval(
        "INSERT INTO transaction_charging (station_key, ocpp_transaction_id, renegotiations) VALUES ($1, $2, 1)"
        " ON CONFLICT (station_key, ocpp_transaction_id) DO UPDATE SET"
        " renegotiations = transaction_charging.renegotiations + 1, updated_at = now() RETURNING renegotiations",
        key,
        ocpp_transaction_id,
    )
    return count


# --- Static limits ----------------------------------------------------------------------------------------------------


async def static_limits(db: Db, key: StationKey) -> list[StaticLimitView]:
    """Limits that are kept on a station."""
    rows = await db.fetch(
        "SELECT evse_id, set_for, limit_value AS limit, unit, set_by, updated_at FROM static_limit WHERE station_key = $1"
        " ORDER BY evse_id, set_for",
        key,
    )
    return [StaticLimitView(**row) for row in rows]


async def put_static(
    db: Db, tenant_id: TenantId, key: StationKey, evse_id: int, set_for: str, limit: Decimal, unit: str, set_by: str
) -> bool:
    """A limit that is kept on a station; whether it is another than before."""
    found = await db.fetchval(
        "INSERT INTO static_limit AS s (station_key, evse_id, set_for, tenant_id, limit_value, unit, set_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (station_key, evse_id, set_for) DO UPDATE SET"
        " limit_value = excluded.limit_value, unit = excluded.unit, set_by = excluded.set_by, updated_at = now()"
        " WHERE (s.limit_value, s.unit) IS DISTINCT FROM (excluded.limit_value, excluded.unit) RETURNING 1",
        key,
        evse_id,
        set_for,
        tenant_id,
        limit,
        unit,
        set_by,
    )
    return found is not None


async def drop_static(db: Db, key: StationKey, evse_id: int, set_for: str) -> bool:
    """Whether there was such a limit; it is no more."""
    found = await db.fetchval(
        "DELETE FROM static_limit WHERE station_key = $1 AND evse_id = $2 AND set_for = $3 RETURNING 1",
        key,
        evse_id,
        set_for,
    )
    return found is not None


_LOCATION: Final = "location_id, limit_value AS limit, unit, rule, set_by, updated_at"


async def put_location(
    db: Db, tenant_id: TenantId, location_id: str, limit: Decimal, unit: str, rule: str, set_by: str
) -> None:
    """A limit of a site."""
    await db.execute(
        "INSERT INTO location_limit (tenant_id, location_id, limit_value, unit, rule, set_by)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, location_id) DO UPDATE SET"
        " limit_value = excluded.limit_value, unit = excluded.unit, rule = excluded.rule, set_by = excluded.set_by,"
        " updated_at = now()",
        tenant_id,
        location_id,
        limit,
        unit,
        rule,
        set_by,
    )


async def location(db: Db, tenant_id: TenantId, location_id: str) -> LocationLimitView | None:
    """The limit of a site."""
    row = await db.fetchrow(
        f"SELECT {_LOCATION} FROM location_limit WHERE tenant_id = $1 AND location_id = $2", tenant_id, location_id
    )
    return None if row is None else LocationLimitView(**row)


async def locations(db: Db) -> list[tuple[TenantId, LocationLimitView]]:
    """The limits of all sites."""
    rows = await db.fetch(f"SELECT tenant_id, {_LOCATION} FROM location_limit ORDER BY tenant_id, location_id")
    return [
        (row["tenant_id"], LocationLimitView(**{name: row[name] for name in LocationLimitView.__struct_fields__}))
        for row in rows
    ]


async def drop_location(db: Db, tenant_id: TenantId, location_id: str) -> bool:
    """Whether the site had a limit; it has none any more."""
    found = await db.fetchval(
        "DELETE FROM location_limit WHERE tenant_id = $1 AND location_id = $2 RETURNING 1", tenant_id, location_id
    )
    return found is not None


async def stations_at(db: Db, tenant_id: TenantId, location_id: str) -> list[tuple[StationKey, str, int]]:
    """Key, id and number of EVSEs (one at least) of a site's stations, by id."""
    rows = await db.fetch(
        "SELECT s.key, s.station_id, greatest(1, (SELECT count(DISTINCT evse_id) FROM connector k"
        " WHERE k.station_key = s.key AND evse_id > 0))::int4 AS evses FROM charging_station s"
        " WHERE s.tenant_id = $1 AND s.location_id = $2 AND s.deleted_at IS NULL ORDER BY s.station_id",
        tenant_id,
        location_id,
    )
    return [(row["key"], row["station_id"], row["evses"]) for row in rows]


async def stray_shares(db: Db) -> list[tuple[TenantId, StationKey]]:
    """Stations that keep a share of a site that has no limit, or that they left."""
    rows = await db.fetch(
        "SELECT l.tenant_id, l.station_key FROM static_limit l JOIN charging_station s ON s.key = l.station_key"
        " WHERE l.set_for = 'location' AND NOT EXISTS (SELECT FROM location_limit o"
        " WHERE o.tenant_id = l.tenant_id AND o.location_id = s.location_id)"
    )
    return [(row["tenant_id"], row["station_key"]) for row in rows]


# --- Dialects ---------------------------------------------------------------------------------------------------------


async def traits(db: Db, tenant_id: TenantId, vendor: str, model: str, firmware: str) -> list[str]:
    """What a model refuses."""
    rows = await db.fetch(
        "SELECT trait FROM charging_dialect WHERE tenant_id = $1 AND vendor = $2 AND model = $3 AND firmware = $4",
        tenant_id,
        vendor,
        model,
        firmware,
    )
    return [row["trait"] for row in rows]


async def learn(
    db: Db, tenant_id: TenantId, vendor: str, model: str, firmware: str, trait: str, station_id: str | None
) -> None:
    """A model was seen to refuse something, once more."""
    await db.execute(
        "INSERT INTO charging_dialect AS d (tenant_id, vendor, model, firmware, trait, station_id)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, vendor, model, firmware, trait) DO UPDATE SET"
        " hits = d.hits + 1, seen_at = now(), station_id = coalesce(excluded.station_id, d.station_id)",
        tenant_id,
        vendor,
        model,
        firmware,
        trait,
        station_id,
    )


async def forget(db: Db, tenant_id: TenantId, vendor: str, model: str, firmware: str, trait: str) -> bool:
    """Whether the model was known to refuse it; it is no more."""
    found = await db.fetchval(
        "DELETE FROM charging_dialect WHERE tenant_id = $1 AND vendor = $2 AND model = $3 AND firmware = $4 AND trait = $5"
        " RETURNING 1",
        tenant_id,
        vendor,
        model,
        firmware,
        trait,
    )
    return found is not None


async def dialects(db: Db, tenant_id: TenantId) -> list[DialectView]:
    """What models are known to refuse; at most a thousand."""
    rows = await db.fetch(
        "SELECT vendor, model, firmware, trait, hits, seen_at, station_id FROM charging_dialect WHERE tenant_id = $1"
        " ORDER BY vendor, model, firmware, trait LIMIT 1000",
        tenant_id,
    )
    return [DialectView(**row) for row in rows]
