"""That partners' drivers were let in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from chargeplane.domain.authorization import token_key
from chargeplane.domain.cdrs.session import RoamingDriver
from chargeplane.domain.roaming.authorization import Standing, driver_from, driver_text
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db

_SINCE: Final = timedelta(days=1)
_AHEAD: Final = timedelta(minutes=5)
_KEPT: Final = timedelta(days=90)


class Grant(Struct, frozen=True, kw_only=True):
    """A driver was let in.

    Args:
        presented: what the station knows the token by.
        station_key: at this station; None: at any.
        until: until when a transaction may begin by it.
    """

    tenant_id: TenantId
    presented: str
    station_key: StationKey | None
    until: datetime
    driver: RoamingDriver


async def insert(db: Db, grants: Sequence[Grant]) -> list[int]:
    """Writes them down; our ids of them."""
    rows = await db.fetch(
        "INSERT INTO roaming_authorization (tenant_id, connection_id, presented, station_key, until, driver)"
        " SELECT * FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[], $6::text[])"
        " RETURNING id",
        [one.tenant_id for one in grants],
        [one.driver.connection_id for one in grants],
        [token_key(one.presented) for one in grants],
        [one.station_key for one in grants],
        [one.until for one in grants],
        [driver_text(one.driver) for one in grants],
    )
    return [row["id"] for row in rows]


async def rename(db: Db, ident: int, presented: str) -> None:
    """The station knows the token by another name."""
    await db.execute("UPDATE roaming_authorization SET presented = $2 WHERE id = $1", ident, token_key(presented))


async def withdraw(db: Db, tenant_id: TenantId, presented: Sequence[str], booking_id: str) -> None:
    """Nobody begins by them any more: what they were written down for has changed.

    Args:
        presented: what stations know the booking's tokens by.
        booking_id: as the provider was told it.
    """
    await db.execute(
        "UPDATE roaming_authorization SET until = now() WHERE tenant_id = $1 AND presented = ANY($2::text[])"
        " AND until > now() AND driver::jsonb ->> 'booking_id' = $3",
        tenant_id,
        [token_key(one) for one in presented],
        booking_id,
    )


async def holding(db: Db, tenant_id: TenantId, presented: str, key: StationKey, at: datetime) -> RoamingDriver | None:
    """Who was let in at the station with this token, by what still holds; the last one."""
    text = await db.fetchval(
        "SELECT driver FROM roaming_authorization WHERE tenant_id = $1 AND presented = $2 AND until > $4"
        " AND granted_at > $4 - interval '1 day' AND (station_key IS NULL OR station_key = $3)"
        " ORDER BY granted_at DESC, id DESC LIMIT 1",
        tenant_id,
        token_key(presented),
        key,
        at,
    )
    return None if text is None else driver_from(text)


async def begun_by(db: Db, tenant_id: TenantId, presented: str, key: StationKey, at: datetime) -> RoamingDriver | None:
    """Who was let in before a transaction began at a station with this token; the last one, within a day."""
    text = await db.fetchval(
        "SELECT driver FROM roaming_authorization WHERE tenant_id = $1 AND presented = $2"
        " AND granted_at BETWEEN $4 AND $5 AND (station_key IS NULL OR station_key = $3)"
        " ORDER BY granted_at DESC, id DESC LIMIT 1",
        tenant_id,
        token_key(presented),
        key,
        at - _SINCE,
        at + _AHEAD,
    )
    return None if text is None else driver_from(text)


async def standing(db: Db, key: StationKey) -> Standing | None:
    """Where a station's EVSEs are; None where they are at no location."""
    rows = await db.fetch(
        "SELECT l.id, e.uid, e.ocpp_evse_id FROM evse e JOIN location l ON l.key = e.location_key"
        " WHERE e.station_key = $1 AND e.removed_at IS NULL ORDER BY e.ocpp_evse_id LIMIT 200",
        key,
    )
    if not rows:
        return None
    location = rows[0]["id"]
    return Standing(
        location_id=location, evses={row["uid"]: row["ocpp_evse_id"] for row in rows if row["id"] == location}
    )


async def forget(db: Db, now: datetime) -> None:
    """Removes what is older than is kept."""
    await db.execute("DELETE FROM roaming_authorization WHERE granted_at < $1", now - _KEPT)
