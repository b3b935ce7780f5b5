"""Charging profiles that stations were asked to hold, and what they say they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.charging_profiles import ChargingProfile
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.charging_stations import NODE_LIVES
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_decode: Final = msgspec.json.Decoder(ChargingProfile).decode


class ChargingProfileView(Struct, frozen=True, kw_only=True):
    """A charging profile of a station.

    Args:
        origin: operator, static_limit, planner, agreement, partner (of roaming); station: it was seen there and others set it.
        source: OCPP's charging limit source.
        sent: what the station got, where that is not `profile`: its model takes no other.
        changes: how that differs, in sentences.
        state: wanted (is to be sent), installed, refused, removing (is to be cleared), removed.
        reason: why it is refused, removed or wanted again.
        attempts: how often it was tried to send or clear it since the last change.
        confirmed_at: when the station last reported it.
    """

    id: int
    profile: ChargingProfile
    origin: str
    source: str
    sent: ChargingProfile | None
    changes: Sequence[str]
    state: str
    reason: str | None
    attempts: int
    set_by: str
    created_at: datetime
    updated_at: datetime
    installed_at: datetime | None
    confirmed_at: datetime | None
    revision: int

    @property
    def held(self) -> ChargingProfile:
        """What the station holds where it is installed."""
        return self.profile if self.sent is None else self.sent


class ProfileFilter(Struct, frozen=True, kw_only=True):
    """Which profiles."""

    state: str | None = None
    purpose: str | None = None
    evse_id: int | None = None
    origin: str | None = None


class DueStation(Struct, frozen=True, kw_only=True):
    """A station with something to settle.

    Args:
        booted: it booted since its profiles were last known to be there.
    """

    tenant_id: TenantId
    key: StationKey
    station_id: str
    booted: bool
    booted_at: datetime | None
    vendor: str
    model: str
    firmware: str


_COLUMNS: Final = (
    "id, profile, origin, source, sent, changes, state, reason, attempts, set_by, created_at, updated_at, installed_at,"
    " confirmed_at, revision"
)


def _view(row: Any) -> ChargingProfileView:
    values = {**row, "profile": _decode(row["profile"])}
    values["sent"] = None if row["sent"] is None else _decode(row["sent"])
    return ChargingProfileView(**values)


PROFILE_SORTS: Final = Sorts("id", default="id", created_at=by_time("created_at"), updated_at=by_time("updated_at"))


async def page(
    db: Db, key: StationKey, wanted: ProfileFilter, limit: int, after: Position | None
) -> list[ChargingProfileView]:
    """A station's profiles by id; removed ones only where they are asked for."""
    where = Where()
    where.add("station_key = ?", key)
    if wanted.state is None:
        where.add("state <> 'removed'")
    where.add_if("state = ?", wanted.state)
    where.add_if("purpose = ?", wanted.purpose)
    where.add_if("evse_id = ?", wanted.evse_id)
    where.add_if("origin = ?", wanted.origin)
    order = PROFILE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM charging_profile WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_view(row) for row in rows]


async def one(db: Db, key: StationKey, ident: int, *, lock: bool = False) -> ChargingProfileView | None:
    """A profile of a station."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM charging_profile WHERE station_key = $1 AND id = $2{' FOR UPDATE' if lock else ''}",
        key,
        ident,
    )
    return None if row is None else _view(row)


async def alive(db: Db, key: StationKey) -> list[ChargingProfileView]:
    """Those that are on the station or are to be."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM charging_profile WHERE station_key = $1 AND state IN ('wanted', 'installed') ORDER BY id",
        key,
    )
    return [_view(row) for row in rows]


async def unsettled(db: Db, key: StationKey) -> list[ChargingProfileView]:
    """Those that are to be sent or cleared now, what is cleared first."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM charging_profile WHERE station_key = $1 AND state IN ('wanted', 'removing')"
        " AND retry_at <= now() ORDER BY state = 'wanted', stack_level, id",
        key,
    )
    return [_view(row) for row in rows]


async def put(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    profile: ChargingProfile,
    *,
    origin: str,
    set_by: str,
    state: str = "wanted",
    source: str = "CSO",
    seen_request: int | None = None,
) -> None:
    """Keeps a profile, in place of one with its id."""
    await db.execute(
        "INSERT INTO charging_profile AS p (station_key, id, tenant_id, origin, source, purpose, evse_id, stack_level,"
        " ocpp_transaction_id, profile, state, set_by, seen_request, confirmed_at, installed_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::int4,"
        " CASE WHEN $13::int4 IS NULL THEN NULL ELSE now() END, CASE WHEN $11 = 'installed' THEN now() END)"
        " ON CONFLICT (station_key, id) DO UPDATE SET origin = excluded.origin, source = excluded.source,"
        " purpose = excluded.purpose, evse_id = excluded.evse_id, stack_level = excluded.stack_level,"
        " ocpp_transaction_id = excluded.ocpp_transaction_id, profile = excluded.profile, state = excluded.state,"
        " sent = NULL, changes = '{}', reason = NULL, attempts = 0, retry_at = now(), set_by = excluded.set_by,"
        " revision = p.revision + 1, updated_at = now(), installed_at = excluded.installed_at,"
        " confirmed_at = excluded.confirmed_at, seen_request = excluded.seen_request",
        key,
        profile.id,
        tenant_id,
        origin,
        source,
        profile.purpose.value,
        profile.evse_id,
        profile.stack_level,
        profile.transaction_id,
        _encode(profile).decode(),
        state,
        set_by,
        seen_request,
    )
    await db.execute(
        "INSERT INTO smart_charging_station (station_key, tenant_id, checked_at) VALUES ($1, $2, now())"
        " ON CONFLICT DO NOTHING",
        key,
        tenant_id,
    )


async def send_again(db: Db, key: StationKey, evse_id: int, purposes: Sequence[str]) -> None:
    """Has what an EVSE's static limit holds down sent anew: that limit is another now."""
    await db.execute(
        "UPDATE charging_profile SET state = 'wanted', revision = revision + 1, attempts = 0, retry_at = now()"
        " WHERE station_key = $1 AND evse_id IN (0, $2) AND purpose = ANY($3) AND state = 'installed'"
        " AND origin NOT IN ('static_limit', 'station')",
        key,
        evse_id,
        list(purposes),
    )


async def put_values(
    db: Db, key: StationKey, profile: ChargingProfile, sent: ChargingProfile | None = None, changes: Sequence[str] = ()
) -> None:
    """New values of a dynamic profile, which the station has already or gets in another message.

    Args:
        sent: what it gets in place of them.
        changes: how that differs.
    """
    await db.execute(
        "UPDATE charging_profile SET profile = $3, sent = $4, changes = $5::text[], updated_at = now()"
        " WHERE station_key = $1 AND id = $2",
        key,
        profile.id,
        _encode(profile).decode(),
        None if sent is None else _encode(sent).decode(),
        list(changes),
    )


async def settle(
    db: Db,
    key: StationKey,
    ident: int,
    revision: int,
    state: str,
    reason: str | None = None,
    sent: ChargingProfile | None = None,
    changes: Sequence[str] = (),
) -> bool:
    """How sending or clearing ended; whether the profile is still the one that was sent."""
    row = await db.fetchrow(
        "UPDATE charging_profile SET state = $4, reason = $5, sent = $6, changes = $7::text[], attempts = attempts + 1,"
        " updated_at = now(), installed_at = CASE WHEN $4 = 'installed' THEN now() ELSE installed_at END"
        " WHERE station_key = $1 AND id = $2 AND revision = $3 RETURNING 1",
        key,
        ident,
        revision,
        state,
        reason,
        None if sent is None else _encode(sent).decode(),
        list(changes),
    )
    return row is not None


async def put_off(db: Db, key: StationKey, ident: int, revision: int, reason: str | None) -> None:
    """Sending or clearing came to nothing: again later, ever later up to ten minutes."""
    await db.execute(
        "UPDATE charging_profile SET attempts = attempts + 1, reason = $4, updated_at = now(),"
        " retry_at = now() + least(600, 5 * 2 ^ least(attempts, 10)) * interval '1 second'"
        " WHERE station_key = $1 AND id = $2 AND revision = $3",
        key,
        ident,
        revision,
        reason,
    )


async def remove(db: Db, key: StationKey, ident: int, set_by: str) -> None:
    """A profile is to be cleared; one that never was installed is gone."""
    await db.execute(
        "UPDATE charging_profile SET state = CASE WHEN state = 'refused' THEN 'removed' ELSE 'removing' END,"
        " reason = NULL, attempts = 0, retry_at = now(), revision = revision + 1, set_by = $3, updated_at = now()"
        " WHERE station_key = $1 AND id = $2 AND state <> 'removed'",
        key,
        ident,
        set_by,
    )


async def end_with_transactions(db: Db) -> int:
    """Profiles of transactions that are over are on no station any more (OCPP 2.x K02.FR.05; 1.6, 3.13.1); how many."""
    rows = await db.fetch(
        "UPDATE charging_profile p SET state = 'removed', reason = 'Its transaction is over.', updated_at = now()"
        " WHERE p.purpose = 'TxProfile' AND p.state <> 'removed' AND p.ocpp_transaction_id IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM transaction t WHERE t.station_key = p.station_key"
        " AND t.ocpp_transaction_id = p.ocpp_transaction_id AND t.is_open) RETURNING 1"
    )
    return len(rows)


_REACHABLE: Final = (
    "SELECT s.tenant_id, s.key, s.station_id, s.booted_at, s.vendor, s.model, s.firmware_version,"
    " coalesce(s.booted_at > coalesce(h.checked_at, 'epoch') AND EXISTS (SELECT FROM charging_profile i"
    " WHERE i.station_key = s.key AND i.state = 'installed'), false) AS booted"
    " FROM smart_charging_station h JOIN charging_station s ON s.key = h.station_key"
    " JOIN station_connection c ON c.station_key = s.key JOIN node n ON n.id = c.node_id"
    " WHERE c.connected AND n.seen_at > now() - $2::interval AND s.registration = 'Accepted'"
    " AND s.deleted_at IS NULL AND (h.claimed_until IS NULL OR h.claimed_until < now())"
)


def _due(rows: Iterable[Any]) -> list[DueStation]:
    return [
        DueStation(
            tenant_id=row["tenant_id"],
            key=row["key"],
            station_id=row["station_id"],
            booted=row["booted"],
            booted_at=row["booted_at"],
            vendor=row["vendor"] or "",
            model=row["model"] or "",
            firmware=row["firmware_version"] or "",
        )
        for row in rows
    ]


async def due(db: Db, limit: int) -> list[DueStation]:
    """Reachable stations with profiles to send or clear now."""
    rows = await db.fetch(
        f"{_REACHABLE} AND s.key IN (SELECT station_key FROM charging_profile WHERE state IN ('wanted', 'removing')"
        " AND retry_at <= now()) ORDER BY h.claimed_until NULLS FIRST LIMIT $1",
        limit,
        NODE_LIVES,
    )
    return _due(rows)


async def booted(db: Db, limit: int, keys: Sequence[StationKey] | None = None) -> list[DueStation]:
    """Reachable stations with installed profiles that booted since they were last checked.

    Args:
        keys: only these are looked at; None: all stations with profiles.
    """
    rows = await db.fetch(
        f"{_REACHABLE} AND s.booted_at > coalesce(h.checked_at, 'epoch') AND EXISTS (SELECT FROM charging_profile i"
        f" WHERE i.station_key = s.key AND i.state = 'installed'){'' if keys is None else ' AND s.key = ANY($3)'} LIMIT $1",
        limit,
        NODE_LIVES,
        *(() if keys is None else (list(keys),)),
    )
    return _due(rows)


async def claim(db: Db, key: StationKey) -> bool:
    """Whether the caller may settle the station now; others may not for two minutes."""
    found = await db.fetchval(
        "UPDATE smart_charging_station SET claimed_until = now() + interval '2 minutes'"
        " WHERE station_key = $1 AND (claimed_until IS NULL OR claimed_until < now()) RETURNING 1",
        key,
    )
    return found is not None


async def release(db: Db, key: StationKey) -> None:
    """The caller has settled what it could."""
    await db.execute("UPDATE smart_charging_station SET claimed_until = NULL WHERE station_key = $1", key)


async def checked(db: Db, key: StationKey, request_id: int | None) -> None:
    """A boot is taken account of.

    Args:
        request_id: of the report that will say what is still there.
    """
    await db.execute(
        "UPDATE smart_charging_station SET checked_at = now(), check_request = $2 WHERE station_key = $1",
        key,
        request_id,
    )


async def check_request(db: Db, key: StationKey) -> int | None:
    """The report of everything that was last asked for."""
    found: int | None = await db.fetchval(
        "SELECT check_request FROM smart_charging_station WHERE station_key = $1", key
    )
    return found


async def open_check(db: Db, tenant_id: TenantId, key: StationKey, request_id: int) -> None:
    """A report of everything is asked for."""
    await db.execute(
        "INSERT INTO smart_charging_station (station_key, tenant_id, checked_at, check_request) VALUES ($1, $2, now(), $3)"
        " ON CONFLICT (station_key) DO UPDATE SET check_request = excluded.check_request",
        key,
        tenant_id,
        request_id,
    )


async def confirm(db: Db, key: StationKey, ident: int, request_id: int) -> bool:
    """The station reports a profile that we know; whether we do."""
    found = await db.fetchval(
        "UPDATE charging_profile SET confirmed_at = now(), seen_request = $3,"
        " state = CASE WHEN state IN ('wanted', 'refused') AND origin <> 'station' AND sent IS NULL AND attempts > 0"
        " THEN 'installed' WHEN origin = 'station' THEN 'installed' ELSE state END"
        " WHERE station_key = $1 AND id = $2 RETURNING 1",
        key,
        ident,
        request_id,
    )
    return found is not None


async def lost(db: Db, key: StationKey, request_id: int | None, reason: str) -> int:
    """Installed profiles that were not in a report of everything: ours are to be sent again, others are gone; how many.

    Args:
        request_id: None: the station has none at all.
    """
    rows = await db.fetch(
        "UPDATE charging_profile SET state = CASE WHEN origin = 'station' THEN 'removed' ELSE 'wanted' END, reason = $3,"
        " attempts = 0, retry_at = now(), revision = revision + 1, updated_at = now()"
        " WHERE station_key = $1 AND state = 'installed' AND ($2::int4 IS NULL OR seen_request IS DISTINCT FROM $2)"
        " RETURNING 1",
        key,
        request_id,
        reason,
    )
    return len(rows)


async def free_id(db: Db, key: StationKey, lowest: int) -> int:
    """An id from `lowest` on, within the next hundred million, that no living profile of the station has."""
    found: int = await db.fetchval(
        "SELECT coalesce(max(id) + 1, $2::int4) FROM charging_profile WHERE station_key = $1 AND id >= $2"
        " AND id < $2::int4 + 100000000 AND state <> 'removed'",
        key,
        lowest,
    )
    return found
