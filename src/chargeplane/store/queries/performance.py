"""History of what EVSEs could do, and the figures of their days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.performance.figures import (
    STARTS_WITHIN,
    DayFigures,
    EvseState,
    SessionFacts,
    Span,
    StateSpan,
    day_span,
)
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.charging_stations import NODE_LIVES, keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time

_HISTORY_LOCK: Final = 0x6876_7365
_ROLL_LOCK: Final = 0x726F_6C6C
_BEFORE: Final = timedelta(days=31)
"""So far back a fault that goes on is looked for."""


class ExclusionView(Struct, frozen=True, kw_only=True):
    """Time that does not count against uptime.

    Args:
        station_id, evse_id, location_id: where; all null: everywhere.
    """

    id: str
    kind: str
    station_id: str | None
    evse_id: int | None
    location_id: str | None
    starts_at: datetime
    ends_at: datetime
    note: str | None
    created_by: str
    created_at: datetime


class PerformanceRow(Struct, frozen=True, kw_only=True):
    """Sums over EVSEs and days.

    Args:
        group: a day, or the name of a station, EVSE, location, model or firmware; null where that is unknown.
        revenue: by currency, without taxes.
    """

    group: str | None
    evses: int
    observed_s: float
    down_s: float
    excluded_s: float
    occupied_s: float
    repairs: int
    repair_s: float
    attempts: int
    successes: int
    sessions: int
    energy_wh: Decimal
    revenue: dict[str, Decimal]


class EvseDay(Struct, frozen=True, kw_only=True):
    """What a day of an EVSE is computed from."""

    station_key: StationKey
    evse_id: int
    location_id: str | None
    model: str | None
    firmware: str | None
    states: list[StateSpan]
    exclusions: list[Span]
    sessions: list[SessionFacts]
    accepted: list[tuple[datetime, str]]
    revenue: dict[str, Decimal]


# -- history -----------------------------------------------------------------------------------------------------------

# A station's own row (EVSE 0, connector 0) holds for all of it: 1.6 stations report themselves so.
_NOW: Final = f"""
    SELECT s.tenant_id, s.key AS station_key, k.evse_id, o.id AS open_id,
        CASE WHEN n.id IS NULL THEN 'offline' WHEN w.status = 'Faulted' OR k.faulted THEN 'faulted'
            WHEN w.status = 'Unavailable' OR k.unusable THEN 'unavailable' ELSE 'up' END AS state,
        least(now(), greatest(o.started_at, CASE WHEN n.id IS NULL THEN greatest(c.changed_at, x.seen_at, c.last_seen_at)
            ELSE greatest(c.changed_at, k.at, w.received_at) END)) AS since
    FROM charging_station s
    JOIN station_connection c ON c.station_key = s.key
    LEFT JOIN node n ON n.id = c.node_id AND c.connected
        AND n.seen_at > now() - interval '{int(NODE_LIVES.total_seconds())} seconds'
    LEFT JOIN node x ON x.id = c.node_id AND c.connected
    JOIN (SELECT station_key, evse_id, bool_and(status = 'Faulted') AS faulted,
            bool_and(status IN ('Faulted', 'Unavailable')) AS unusable, max(received_at) AS at
        FROM connector WHERE evse_id > 0 GROUP BY 1, 2) k ON k.station_key = s.key
    LEFT JOIN connector w ON w.station_key = s.key AND w.evse_id = 0 AND w.connector_id = 0
    LEFT JOIN evse_availability o ON o.station_key = s.key AND o.evse_id = k.evse_id AND o.ended_at IS NULL
    WHERE s.deleted_at IS NULL"""


async def note_states(db: Db, limit: int = 10_000) -> int:
    """Writes down which EVSEs are in another state than they were; how many.

    What changed and changed back between two looks is not seen.
    """
    await db.execute("SELECT pg_advisory_xact_lock($1)", _HISTORY_LOCK)  # another node at it finds most for us
    rows = await db.fetch(
        f"SELECT q.* FROM ({_NOW}) q LEFT JOIN evse_availability o ON o.id = q.open_id"
        " WHERE o.state IS DISTINCT FROM q.state LIMIT $1",
        limit,
    )
    ended = [row for row in rows if row["open_id"] is not None]
    if ended:
        await db.execute(
            "UPDATE evse_availability a SET ended_at = greatest(a.started_at, u.at)"
            " FROM unnest($1::bigint[], $2::timestamptz[]) AS u (id, at) WHERE a.id = u.id",
            [row["open_id"] for row in ended],
            [row["since"] for row in ended],
        )
    if rows:
        await db.execute(
            "INSERT INTO evse_availability (tenant_id, station_key, evse_id, state, started_at)"
            " SELECT * FROM unnest($1::integer[], $2::bigint[], $3::integer[], $4::text[], $5::timestamptz[])"
            " ON CONFLICT DO NOTHING",
            *([row[name] for row in rows] for name in ("tenant_id", "station_key", "evse_id", "state", "since")),
        )
    # A removed station is in no state any more.
    await db.execute(
        "UPDATE evse_availability a SET ended_at = greatest(a.started_at, s.deleted_at) FROM charging_station s"
        " WHERE s.key = a.station_key AND s.deleted_at IS NOT NULL AND a.ended_at IS NULL"
    )
    return len(rows)


# -- days --------------------------------------------------------------------------------------------------------------


async def alone(db: Db) -> bool:
    """Whether no other node computes days, until the end of the transaction."""
    return bool(await db.fetchval("SELECT pg_try_advisory_xact_lock($1)", _ROLL_LOCK))


async def mark_due(db: Db, since: date, until: date, tenant_id: TenantId | None = None) -> None:
    """Has days computed (again), `until` included.

    Args:
        tenant_id: None: of all tenants with stations.
    """
    await db.execute(
        "INSERT INTO performance_due (tenant_id, day) SELECT t.id, d::date FROM tenant t,"
        " generate_series($1::date, $2::date, interval '1 day') d WHERE ($3::integer IS NULL OR t.id = $3)"
        " AND EXISTS (SELECT FROM charging_station s WHERE s.tenant_id = t.id)"
        " ON CONFLICT (tenant_id, day) DO UPDATE SET ticks = performance_due.ticks + 1",
        since,
        until,
        tenant_id,
    )


async def due(db: Db, limit: int) -> list[tuple[TenantId, date, int]]:
    """Days to be computed, the newest first, with what tells whether they were marked again meanwhile."""
    rows = await db.fetch(
        "SELECT tenant_id, day, ticks FROM performance_due ORDER BY day DESC, tenant_id LIMIT $1", limit
    )
    return [(row["tenant_id"], row["day"], row["ticks"]) for row in rows]


async def settle_due(db: Db, tenant_id: TenantId, day: date, ticks: int) -> None:
    """A day was computed as of `ticks`."""
    await db.execute(
        "DELETE FROM performance_due WHERE tenant_id = $1 AND day = $2 AND ticks = $3", tenant_id, day, ticks
    )


async def stations_behind(db: Db, tenant_id: TenantId, after: int, limit: int) -> list[StationKey]:
    """The tenant's stations by our keys, those removed too: their past stays."""
    rows = await db.fetch(
        "SELECT key FROM charging_station WHERE tenant_id = $1 AND key > $2 ORDER BY key LIMIT $3",
        tenant_id,
        after,
        limit,
    )
    return [row["key"] for row in rows]


async def evse_days(db: Db, tenant_id: TenantId, day: date, keys: Sequence[StationKey]) -> list[EvseDay]:
    """What the day of these stations' EVSEs is computed from."""
    whole = day_span(day)
    found: dict[tuple[int, int], EvseDay] = {}
    stations = {
        row["key"]: row
        for row in await db.fetch(
            "SELECT key, location_id, nullif(concat_ws(' ', vendor, model), '') AS model, firmware_version AS firmware"
            " FROM charging_station WHERE key = ANY($1)",
            keys,
        )
    }
    places = {
        (row["station_key"], row["ocpp_evse_id"]): row["id"]
        for row in await db.fetch(
            "SELECT e.station_key, e.ocpp_evse_id, l.id FROM evse e JOIN location l ON l.key = e.location_key"
            " WHERE e.station_key = ANY($1) AND e.removed_at IS NULL",
            keys,
        )
    }

    def of(station_key: int, evse_id: int | None) -> EvseDay:
        place = (station_key, evse_id or 0)
        if place not in found:
            station = stations[station_key]
            found[place] = EvseDay(
                station_key=StationKey(station_key),
                evse_id=place[1],
                location_id=places.get(place) or station["location_id"],
                model=station["model"],
                firmware=station["firmware"],
                states=[],
                exclusions=[],
                sessions=[],
                accepted=[],
                revenue={},
            )
        return found[place]

    for row in await db.fetch(
        "SELECT station_key, evse_id, state, started_at, ended_at FROM evse_availability WHERE station_key = ANY($1)"
        " AND started_at < $3 AND (ended_at IS NULL OR ended_at > $2) ORDER BY started_at, id",
        keys,
        whole.start - _BEFORE,
        whole.end,
    ):
        state = StateSpan(EvseState(row["state"]), row["started_at"], row["ended_at"])
        of(row["station_key"], row["evse_id"]).states.append(state)
    for row in await db.fetch(
        "SELECT t.id, t.station_key, t.evse_id, t.started_at, t.stopped_at, t.is_open, t.energy_wh, t.stop_reason,"
        " t.token_key, EXISTS (SELECT FROM payment p WHERE p.session_id = t.id AND p.ended = 'failed') AS unpaid"
        " FROM transaction t WHERE t.station_key = ANY($1) AND t.opened_at < $3 AND t.opened_at >= $2"
        " AND (t.is_open OR t.stopped_at >= $4)",
        keys,
        whole.start - _BEFORE,
        whole.end + timedelta(days=7),
        whole.start - timedelta(days=1),
    ):
        of(row["station_key"], row["evse_id"]).sessions.append(
            SessionFacts(
                start=row["started_at"],
                end=None if row["is_open"] else max(row["stopped_at"] or row["started_at"], row["started_at"]),
                energy_wh=row["energy_wh"],
                stop_reason=row["stop_reason"],
                id_token=row["token_key"],
                paid=not row["unpaid"],
            )
        )
    for row in await db.fetch(
        "SELECT station_key, evse_id, received_at, id_token FROM authorization_attempt WHERE station_key = ANY($1)"
        " AND received_on BETWEEN $2 AND $3 AND received_at >= $4 AND received_at < $5 AND status = 'Accepted'",
        keys,
        day - timedelta(days=1),
        day,
        whole.start - STARTS_WITHIN,
        whole.end,
    ):
        of(row["station_key"], row["evse_id"]).accepted.append((row["received_at"], row["id_token"].casefold()))
    for row in await db.fetch(
        "SELECT s.station_key, t.evse_id, c.currency, sum(c.total_excl) AS total FROM cdr c"
        " JOIN charging_session s ON s.id = c.session_id JOIN transaction t ON t.id = c.session_id"
        " WHERE c.tenant_id = $1 AND c.ended_at >= $2 AND c.ended_at < $3 AND c.currency IS NOT NULL"
        " AND c.total_excl IS NOT NULL AND s.station_key = ANY($4) GROUP BY 1, 2, 3",
        tenant_id,
        whole.start,
        whole.end,
        keys,
    ):
        of(row["station_key"], row["evse_id"]).revenue[row["currency"]] = row["total"]
    for row in await db.fetch(
        "SELECT station_key, evse_id, location_id, starts_at, ends_at FROM performance_exclusion"
        " WHERE tenant_id = $1 AND starts_at < $3 AND ends_at > $2",
        tenant_id,
        whole.start,
        whole.end,
    ):
        for one in found.values():
            if (
                row["station_key"] in (None, one.station_key)
                and row["evse_id"] in (None, one.evse_id)
                and (row["location_id"] is None or row["location_id"].lower() == (one.location_id or "").lower())
            ):
                one.exclusions.append(Span(row["starts_at"], row["ends_at"]))
    return list(found.values())


async def put_days(
    db: Db, tenant_id: TenantId, day: date, keys: Sequence[StationKey], days: Sequence[tuple[EvseDay, DayFigures]]
) -> None:
    """Writes the day of these stations in place of what stands."""
    await db.execute(
        "DELETE FROM performance_day WHERE tenant_id = $1 AND day = $2 AND station_key = ANY($3)", tenant_id, day, keys
    )
    await db.executemany(
        "INSERT INTO performance_day (tenant_id, day, station_key, evse_id, location_id, model, firmware, observed_s,"
        " down_s, excluded_s, occupied_s, repairs, repair_s, attempts, successes, sessions, energy_wh, revenue)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18::text::jsonb)",
        [
            (
                tenant_id,
                day,
                one.station_key,
                one.evse_id,
                one.location_id,
                one.model,
                one.firmware,
                *(getattr(made, name) for name in DayFigures.__struct_fields__),
                msgspec.json.encode(one.revenue).decode(),
            )
            for one, made in days
        ],
    )


GROUPS: Final = {
    "day": "d.day::text",
    "station": "s.station_id",
    "evse": "s.station_id || '/' || d.evse_id",
    "location": "d.location_id",
    "model": "d.model",
    "firmware": "concat_ws(' ', d.model, d.firmware)",
}
"""What figures are summed by."""


async def sums(
    db: Db,
    tenant_id: TenantId,
    by: str,
    since: date,
    until: date,
    station_id: str | None,
    location_id: str | None,
    limit: int,
) -> list[PerformanceRow]:
    """Figures by group, from a day to another, that one not included."""
    where = Where()
    where.add("d.tenant_id = ? AND d.day >= ? AND d.day < ?", tenant_id, since, until)
    if station_id is not None:
        where.add("d.station_key = ANY(?)", await keys_of(db, tenant_id, station_id))
    where.add_if("lower(d.location_id) = lower(?)", location_id)
    where.values.append(limit)
    rows = await db.fetch(
        f'WITH d AS (SELECT d.*, {GROUPS[by]} AS "group" FROM performance_day d'
        f" JOIN charging_station s ON s.key = d.station_key WHERE {where}),"
        ' r AS (SELECT "group", jsonb_object_agg(currency, amount) AS revenue FROM (SELECT "group", v.key AS currency,'
        " sum(v.value::numeric) AS amount FROM d, jsonb_each_text(d.revenue) v GROUP BY 1, 2) q GROUP BY 1)"
        ' SELECT d."group", count(DISTINCT (d.station_key, d.evse_id)) FILTER (WHERE d.evse_id > 0)::integer AS evses,'
        " sum(observed_s) AS observed_s, sum(down_s) AS down_s, sum(excluded_s) AS excluded_s,"
        " sum(occupied_s) AS occupied_s, sum(repairs)::integer AS repairs, sum(repair_s) AS repair_s,"
        " sum(attempts)::integer AS attempts, sum(successes)::integer AS successes, sum(sessions)::integer AS sessions,"
        " sum(energy_wh) AS energy_wh,"
        ' (SELECT r.revenue FROM r WHERE r."group" IS NOT DISTINCT FROM d."group") AS revenue'
        f' FROM d GROUP BY d."group" ORDER BY d."group" NULLS LAST LIMIT ${len(where.values)}',
        *where.values,
    )
    return [PerformanceRow(**{**row, "revenue": _amounts(row["revenue"])}) for row in rows]


def _amounts(kept: bytes | None) -> dict[str, Decimal]:
    return {} if kept is None else msgspec.json.decode(kept, type=dict[str, Decimal])


# -- exclusions --------------------------------------------------------------------------------------------------------

_EXCLUSION: Final = """SELECT x.id, x.kind, s.station_id, x.evse_id, x.location_id, x.starts_at, x.ends_at, x.note,
    x.created_by, x.created_at FROM performance_exclusion x LEFT JOIN charging_station s ON s.key = x.station_key"""


EXCLUSION_SORTS: Final = Sorts(
    "x.id", starts_at=by_time("x.starts_at"), ends_at=by_time("x.ends_at"), created_at=by_time("x.created_at")
)


async def exclusions(
    db: Db, tenant_id: TenantId, kind: str | None, limit: int, after: Position | None
) -> list[ExclusionView]:
    """Exclusions, newest first."""
    where = Where()
    where.add("x.tenant_id = ?", tenant_id)
    where.add_if("x.kind = ?", kind)
    order = EXCLUSION_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_EXCLUSION} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_exclusion(row) for row in rows]


async def exclusion(db: Db, tenant_id: TenantId, ident: int) -> ExclusionView | None:
    """An exclusion by our id."""
    row = await db.fetchrow(f"{_EXCLUSION} WHERE x.tenant_id = $1 AND x.id = $2", tenant_id, ident)
    return None if row is None else _exclusion(row)


def _exclusion(row: Any) -> ExclusionView:
    return ExclusionView(**{**row, "id": str(row["id"])})


async def insert_exclusion(
    db: Db,
    tenant_id: TenantId,
    kind: str,
    key: StationKey | None,
    evse_id: int | None,
    location_id: str | None,
    starts_at: datetime,
    ends_at: datetime,
    note: str | None,
    by: str,
) -> int:
    """A new exclusion; its id."""
    ident: int = await db.fetchval(
        "INSERT INTO performance_exclusion (tenant_id, kind, station_key, evse_id, location_id, starts_at, ends_at, note,"
        " created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
        tenant_id,
        kind,
        key,
        evse_id,
        location_id,
        starts_at,
        ends_at,
        note,
        by,
    )
    return ident


async def delete_exclusion(db: Db, tenant_id: TenantId, ident: int) -> None:
    """Takes an exclusion back."""
    await db.execute("DELETE FROM performance_exclusion WHERE tenant_id = $1 AND id = $2", tenant_id, ident)
