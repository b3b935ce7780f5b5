"""Firmware campaigns and where their stations are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.campaigns import CampaignState, Judged, Plan, StationState, WaveCounts
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.charging_stations import NODE_LIVES
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_text, by_time


class CampaignView(Struct, frozen=True, kw_only=True):
    """A campaign.

    Args:
        state: running, paused, stopped (by itself), canceled, finished.
        reason: why it is in this state, where somebody said or too many failed.
        wave: the one that has been reached.
        waves: how many there are.
        progress: stations in each state.
    """

    id: str
    name: str
    firmware_id: str
    version: str
    state: CampaignState
    reason: str | None
    plan: Plan
    wave: int
    waves: int
    total: int
    progress: dict[str, int]
    created_at: datetime
    created_by: str
    changed_at: datetime
    finished_at: datetime | None


class CampaignStationView(Struct, frozen=True, kw_only=True):
    """A station of a campaign.

    Args:
        state: waiting, asking, updating, installed, succeeded, failed, skipped, canceled.
        status: the station's last word.
        attempts: how often it was asked.
        from_version: before; to_version: as its boot said afterwards.
        not_before: the next attempt.
    """

    station_id: str
    wave: int
    state: StationState
    status: str | None
    reason: str | None
    attempts: int
    from_version: str | None
    to_version: str | None
    connected: bool
    not_before: datetime | None
    asked_at: datetime | None
    changed_at: datetime
    finished_at: datetime | None


class Working(Struct, frozen=True, kw_only=True):
    """A campaign that a node works on."""

    id: int
    tenant_id: TenantId
    firmware_id: int
    version: str
    state: CampaignState
    plan: Plan
    wave: int
    forgiven_failed: int
    forgiven_ended: int
    transfer: str | None


class Member(Struct, frozen=True, kw_only=True):
    """A station of a campaign, as the work needs it."""

    key: StationKey
    state: StationState
    attempts: int
    asked_by: str | None
    asked_at: datetime | None
    changed_at: datetime
    version: str | None
    booted_at: datetime | None
    status: str | None


class Candidate(Struct, frozen=True, kw_only=True):
    """A station that a new campaign may have."""

    key: StationKey
    station_id: str
    vendor: str | None
    model: str | None
    version: str | None


_plan = msgspec.json.Decoder(Plan).decode

_VIEW = """
    SELECT c.id::text, c.name, c.firmware_id::text, f.version, c.state, c.state_reason AS reason, c.plan::text AS plan, c.wave,
        c.created_at, c.created_by, c.changed_at, c.finished_at,
        (SELECT coalesce(max(s.wave), 0) FROM firmware_campaign_station s WHERE s.campaign = c.id) AS waves,
        (SELECT coalesce(jsonb_object_agg(p.state, p.number), '{}') FROM (SELECT s.state, count(*) AS number
            FROM firmware_campaign_station s WHERE s.campaign = c.id GROUP BY s.state) p)::text AS progress
    FROM firmware_campaign c JOIN firmware f ON f.id = c.firmware_id"""


def _view(row: Any) -> CampaignView:
    progress = msgspec.json.decode(row["progress"])
    return CampaignView(
        **{
            **row,
            "plan": _plan(row["plan"]),
            "state": CampaignState(row["state"]),
            "progress": progress,
            "total": sum(progress.values()),
        }
    )


async def candidates(
    db: Db,
    tenant_id: TenantId,
    *,
    station_ids: Sequence[str] | None,
    vendor: str | None,
    model: str | None,
    firmware_version: str | None,
    location_id: str | None,
    most: int,
) -> list[Candidate]:
    """Stations that fit, in a stable order; at most `most`."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add("deleted_at IS NULL AND registration = 'Accepted'")
    if station_ids is not None:
        where.add("lower(station_id) = ANY(?)", [one.lower() for one in station_ids])
    where.add_if("lower(vendor) = lower(?)", vendor)
    where.add_if("lower(model) = lower(?)", model)
    where.add_if("lower(firmware_version) = lower(?)", firmware_version)
    where.add_if("location_id = ?", location_id)
    rows = await db.fetch(
        f"SELECT key, station_id, vendor, model, firmware_version AS version FROM charging_station WHERE {where} ORDER BY key"
        f" LIMIT ${len(where.values) + 1}",
        *where.values,
        most,
    )
    return [Candidate(**row) for row in rows]


async def insert(
    db: Db,
    tenant_id: TenantId,
    *,
    name: str,
    firmware_id: int,
    plan: Plan,
    state: CampaignState,
    created_by: str,
    transfer: str | None,
    stations: Sequence[tuple[StationKey, int, StationState, str | None, str | None]],
) -> int:
    """A new campaign; its id.

    Args:
        stations: key, wave, state, version so far, reason.
    """
    ident: int = await db.fetchval(
        "INSERT INTO firmware_campaign (tenant_id, firmware_id, name, plan, state, created_by, transfer)"
        " VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7) RETURNING id",
        tenant_id,
        firmware_id,
        name,
        msgspec.json.encode(plan).decode(),
        state.value,
        created_by,
        transfer,
    )
    await db.execute(
        "INSERT INTO firmware_campaign_station (campaign, tenant_id, position, station_key, wave, state, from_version, reason, finished_at)"
        " SELECT $1, $2, n, k, w, s, v, r, CASE WHEN s <> 'waiting' THEN now() END"
        " FROM unnest($3::bigint[], $4::integer[], $5::text[], $6::text[], $7::text[])"
        " WITH ORDINALITY AS t (k, w, s, v, r, n)",
        ident,
        tenant_id,
        [one[0] for one in stations],
        [one[1] for one in stations],
        [one[2].value for one in stations],
        [one[3] for one in stations],
        [one[4] for one in stations],
    )
    return ident


CAMPAIGN_SORTS: Final = Sorts(
    "c.id", name=by_text("c.name"), created_at=by_time("c.created_at"), changed_at=by_time("c.changed_at")
)


async def page(
    db: Db, tenant_id: TenantId, state: str | None, limit: int, after: Position | None
) -> list[CampaignView]:
    """Campaigns, newest first."""
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add_if("c.state = ?", state)
    order = CAMPAIGN_SORTS.begin(where, after)
    rows = await db.fetch(
        f"{_VIEW} WHERE {where} ORDER BY {order} LIMIT ${len(where.values) + 1}", *where.values, limit
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> CampaignView | None:
    """A campaign by our id."""
    row = await db.fetchrow(f"{_VIEW} WHERE c.tenant_id = $1 AND c.id = $2", tenant_id, ident)
    return None if row is None else _view(row)


CAMPAIGN_STATION_SORTS: Final = Sorts(
    's.station_id COLLATE "C"',
    ident_kinds=(str,),
    ident_name="station_id",
    default="wave",
    ident_of=lambda one: (one.station_id,),
    wave=by_number("m.wave"),
    changed_at=by_time("m.changed_at"),
    attempts=by_number("m.attempts"),
)


async def stations(
    db: Db, tenant_id: TenantId, ident: int, state: str | None, limit: int, after: Position | None
) -> list[CampaignStationView]:
    """Stations of a campaign, by wave and in the order they were chosen."""
    where = Where()
    where.add("m.campaign = ?", ident)
    where.add("m.tenant_id = ?", tenant_id)
    where.add_if("m.state = ?", state)
    order = CAMPAIGN_STATION_SORTS.begin(where, after)
    count = len(where.values)
    rows = await db.fetch(
        "SELECT s.station_id, m.wave, m.state, m.status, m.reason, m.attempts, m.from_version, m.to_version,"
        " coalesce(c.connected AND n.id IS NOT NULL, false) AS connected, m.not_before, m.asked_at, m.changed_at, m.finished_at"
        " FROM firmware_campaign_station m JOIN charging_station s ON s.key = m.station_key"
        " LEFT JOIN station_connection c ON c.station_key = m.station_key"
        f" LEFT JOIN node n ON n.id = c.node_id AND n.seen_at > now() - ${count + 1}::interval"
        f" WHERE {where} ORDER BY {order} LIMIT ${count + 2}",
        *where.values,
        NODE_LIVES,
        limit,
    )
    return [CampaignStationView(**{**row, "state": StationState(row["state"])}) for row in rows]


async def lock(db: Db, tenant_id: TenantId, ident: int) -> CampaignState | None:
    """The state of a campaign that is about to be changed by hand; None where there is none."""
    found = await db.fetchval(
        "SELECT state FROM firmware_campaign WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant_id, ident
    )
    return None if found is None else CampaignState(found)


async def set_state(db: Db, ident: int, state: CampaignState, reason: str | None) -> None:
    """Writes a campaign's state."""
    await db.execute(
        "UPDATE firmware_campaign SET state = $2, state_reason = $3, changed_at = now() WHERE id = $1",
        ident,
        state.value,
        reason,
    )


async def end(db: Db, ident: int) -> None:
    """Nothing of the campaign goes on any more."""
    await db.execute(
        "UPDATE firmware_campaign SET finished_at = now(), changed_at = now(), claimed_by = NULL, claimed_until = NULL,"
        " state = CASE WHEN state IN ('running', 'paused') THEN 'finished' ELSE state END WHERE id = $1",
        ident,
    )


async def resume(db: Db, ident: int, *, retry_failed: bool) -> None:
    """Has a campaign go on: what failed so far stops it no more, and is tried again where somebody says so."""
    await db.execute(
        "UPDATE firmware_campaign c SET state = 'running', state_reason = NULL, changed_at = now(),"
        " forgiven_failed = CASE WHEN $2 THEN 0 ELSE t.failed END, forgiven_ended = t.ended - CASE WHEN $2 THEN t.failed ELSE 0 END"
        " FROM (SELECT count(*) FILTER (WHERE state = 'failed') AS failed,"
        "  count(*) FILTER (WHERE state IN ('failed', 'succeeded')) AS ended FROM firmware_campaign_station WHERE campaign = $1) t"
        " WHERE c.id = $1",
        ident,
        retry_failed,
    )
    if retry_failed:
        await db.execute(
            "UPDATE firmware_campaign_station SET state = 'waiting', attempts = 0, not_before = NULL, finished_at = NULL,"
            " changed_at = now() WHERE campaign = $1 AND state = 'failed'",
            ident,
        )


async def set_wave(db: Db, ident: int, wave: int) -> None:
    """A campaign has reached a wave."""
    await db.execute("UPDATE firmware_campaign SET wave = $2, changed_at = now() WHERE id = $1", ident, wave)


async def claim(db: Db, by: str, lease: timedelta, most: int) -> list[Working]:
    """Takes campaigns that nobody works on, and keeps those that are taken already."""
    rows = await db.fetch(
        "WITH chosen AS MATERIALIZED (SELECT id FROM firmware_campaign"
        "  WHERE state IN ('running', 'paused', 'stopped', 'canceled') AND finished_at IS NULL"
        "  AND (state IN ('running', 'canceled') OR EXISTS (SELECT FROM firmware_campaign_station m"
        "   WHERE m.campaign = firmware_campaign.id AND m.state IN ('asking', 'updating', 'installed')))"
        "  AND (claimed_by IS NULL OR claimed_by = $1 OR claimed_until < now()) ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)"
        " UPDATE firmware_campaign c SET claimed_by = $1, claimed_until = now() + $2::interval FROM chosen, firmware f"
        " WHERE f.id = c.firmware_id AND c.id = chosen.id"
        " RETURNING c.id, c.tenant_id, c.firmware_id, f.version, c.state, c.plan::text AS plan, c.wave, c.forgiven_failed,"
        " c.forgiven_ended, c.transfer",
        by,
        lease,
        most,
    )
    return [
        Working(**{**row, "plan": _plan(row["plan"]), "state": CampaignState(row["state"])})
        for row in sorted(rows, key=lambda row: row["id"])
    ]


async def release(db: Db, by: str) -> None:
    """Lets go of all campaigns: another node may take them at once."""
    await db.execute("UPDATE firmware_campaign SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by = $1", by)


_CONNECTED = """EXISTS (SELECT FROM station_connection c JOIN node n ON n.id = c.node_id
    WHERE c.station_key = m.station_key AND c.connected AND n.seen_at > now() - $2::interval)"""


async def counts(db: Db, ident: int) -> list[WaveCounts]:
    """Stations of each wave by state."""
    rows = await db.fetch(
        # joined, not asked for row by row: one pass over both tables, whatever the number of stations
        "SELECT m.wave, m.state, count(*) AS number, max(m.finished_at) AS last_change,"
        " count(*) FILTER (WHERE m.state = 'waiting' AND (n.id IS NOT NULL OR m.attempts > 0)) AS reachable"
        " FROM firmware_campaign_station m"
        " LEFT JOIN station_connection c ON c.station_key = m.station_key AND c.connected AND m.state = 'waiting'"
        " LEFT JOIN node n ON n.id = c.node_id AND n.seen_at > now() - $2::interval"
        " WHERE m.campaign = $1 GROUP BY m.wave, m.state",
        ident,
        NODE_LIVES,
    )
    found: dict[int, WaveCounts] = {}
    for row in rows:
        wave = row["wave"]
        before = found.get(wave) or WaveCounts(wave=wave, states={}, reachable=0)
        changes = [at for at in (before.last_change, row["last_change"]) if at is not None]
        found[wave] = WaveCounts(
            wave=wave,
            states={**before.states, StationState(row["state"]): row["number"]},
            reachable=before.reachable + row["reachable"],
            last_change=max(changes, default=None),
        )
    return [found[wave] for wave in sorted(found)]


async def going(db: Db, ident: int) -> list[Member]:
    """Stations at which something goes on."""
    rows = await db.fetch(
        "SELECT m.station_key AS key, m.state, m.attempts, m.asked_by, m.asked_at, m.changed_at, m.status,"
        " s.firmware_version AS version, s.booted_at"
        " FROM firmware_campaign_station m JOIN charging_station s ON s.key = m.station_key"
        " WHERE m.campaign = $1 AND m.state IN ('asking', 'updating', 'installed')",
        ident,
    )
    return [Member(**{**row, "state": StationState(row["state"])}) for row in rows]


async def take(db: Db, ident: int, wave: int, room: int, by: str) -> list[StationKey]:
    """Marks stations that wait and are connected as being asked; their keys. One more attempt is counted. A station at which another
    campaign is at work waits for that."""
    # A subquery in IN would be run again for more rows than its limit.
    rows = await db.fetch(
        "WITH chosen AS MATERIALIZED (SELECT m.station_key FROM firmware_campaign_station m WHERE m.campaign = $1"
        f" AND m.state = 'waiting' AND m.wave <= $3 AND (m.not_before IS NULL OR m.not_before <= now()) AND {_CONNECTED}"
        " AND NOT EXISTS (SELECT FROM firmware_campaign_station o WHERE o.station_key = m.station_key"
        "  AND o.campaign <> m.campaign AND o.state IN ('asking', 'updating', 'installed'))"
        " ORDER BY m.wave, m.position LIMIT $4 FOR UPDATE OF m SKIP LOCKED)"
        " UPDATE firmware_campaign_station s SET state = 'asking', attempts = attempts + 1, asked_by = $5, asked_at = now(),"
        " changed_at = now(), status = NULL, reason = NULL, not_before = NULL FROM chosen"
        " WHERE s.campaign = $1 AND s.station_key = chosen.station_key RETURNING s.station_key",
        ident,
        NODE_LIVES,
        wave,
        room,
        by,
    )
    return [row["station_key"] for row in rows]


async def number(db: Db, ident: int, key: StationKey, request_id: int) -> None:
    """Notes the number by which a station will tell of its update, before it is asked."""
    await db.execute(
        "UPDATE firmware_campaign_station SET request_ids = (request_ids || $3::integer)[greatest(1, cardinality(request_ids) - 18):]"
        " WHERE campaign = $1 AND station_key = $2",
        ident,
        key,
        request_id,
    )


async def judge(
    db: Db,
    ident: int,
    key: StationKey,
    judged: Judged,
    *,
    among: Sequence[StationState],
    version: str | None = None,
    uncounted: bool = False,
) -> bool:
    """Writes what becomes of a station; False where it is not in one of these states any more.

    Args:
        version: as its boot said.
        uncounted: the attempt does not count: the station was never asked.
    """
    written: str = await db.execute(
        "UPDATE firmware_campaign_station SET state = $3, reason = $4, not_before = $5, changed_at = now(),"
        " to_version = coalesce($6, to_version), attempts = attempts - CASE WHEN $7 THEN 1 ELSE 0 END,"
        " finished_at = CASE WHEN $3 IN ('succeeded', 'failed', 'skipped', 'canceled') THEN now() END"
        " WHERE campaign = $1 AND station_key = $2 AND state = ANY($8)",
        ident,
        key,
        judged.state.value,
        judged.reason,
        judged.again_at,
        version,
        uncounted,
        [state.value for state in among],
    )
    return written.endswith(" 1")


async def attempts(db: Db, ident: int, key: StationKey) -> int:
    """How often a station was asked."""
    found: int = await db.fetchval(
        "SELECT attempts FROM firmware_campaign_station WHERE campaign = $1 AND station_key = $2", ident, key
    )
    return found


class Concerned(Struct, frozen=True, kw_only=True):
    """A station's part in a campaign, for a status of it.

    Args:
        newest: the status is of the newest attempt.
    """

    campaign: int
    tenant_id: TenantId
    plan: Plan
    state: StationState
    attempts: int
    newest: bool


async def concerned(db: Db, key: StationKey, request_id: int | None) -> Concerned | None:
    """The campaign that a station's status is about, its row locked: the one that gave the number, else the one that is at work there."""
    row = await db.fetchrow(
        "SELECT m.campaign, m.tenant_id, m.state, m.attempts, c.plan::text AS plan,"
        " ($2::integer IS NULL OR m.request_ids[cardinality(m.request_ids)] = $2) AS newest FROM firmware_campaign_station m"
        " JOIN firmware_campaign c ON c.id = m.campaign WHERE m.station_key = $1"
        " AND m.state IN ('asking', 'updating', 'installed') AND ($2::integer IS NULL OR $2 = ANY(m.request_ids))"
        " ORDER BY m.campaign DESC LIMIT 1 FOR UPDATE OF m",
        key,
        request_id,
    )
    if row is None:
        return None
    return Concerned(**{**row, "plan": _plan(row["plan"]), "state": StationState(row["state"])})


async def note_status(db: Db, ident: int, key: StationKey, word: str) -> None:
    """A station told something of its update."""
    await db.execute(
        "UPDATE firmware_campaign_station SET status = $3, changed_at = now() WHERE campaign = $1 AND station_key = $2",
        ident,
        key,
        word,
    )


async def note_late(db: Db, key: StationKey, request_id: int, word: str) -> None:
    """A station whose update is over told something more of it."""
    await db.execute(
        "UPDATE firmware_campaign_station SET status = $3 WHERE station_key = $1 AND state = 'succeeded'"
        " AND request_ids[cardinality(request_ids)] = $2",
        key,
        request_id,
        word,
    )


async def drop_waiting(db: Db, ident: int, state: StationState, reason: str) -> int:
    """Ends the stations that wait; how many."""
    written: str = await db.execute(
        "UPDATE firmware_campaign_station SET state = $2, reason = $3, changed_at = now(), finished_at = now()"
        " WHERE campaign = $1 AND state = 'waiting'",
        ident,
        state.value,
        reason,
    )
    return int(written.rpartition(" ")[2])
