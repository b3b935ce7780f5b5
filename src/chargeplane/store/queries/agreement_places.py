"""Where an EVSE, a station or a location is, as the scope of agreements names places."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.domain.locations.countries import ALPHA2
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class NamedPlace(Struct, frozen=True, kw_only=True):
    """A place, from the smallest; None where it is not known.

    Args:
        country: ISO 3166-1 alpha-2.
    """

    evse_uid: str | None = None
    station_id: str | None = None
    location_id: str | None = None
    country: str | None = None


async def completed(db: Db, tenant_id: TenantId, known: NamedPlace, ocpp_evse_id: int | None = None) -> NamedPlace:
    """What is known, completed from the smallest place that is named.

    Args:
        ocpp_evse_id: the station's number of the EVSE, beside `station_id`.
    """
    if known.evse_uid is not None:
        row = await db.fetchrow(
            "SELECT e.uid, s.station_id, l.id, l.country FROM evse e JOIN location l ON l.key = e.location_key"
            " LEFT JOIN charging_station s ON s.key = e.station_key WHERE e.tenant_id = $1 AND lower(e.uid) = lower($2)",
            tenant_id,
            known.evse_uid,
        )
    elif known.station_id is not None:
        row = await db.fetchrow(
            "SELECT e.uid, s.station_id, coalesce(l.id, s.location_id) AS id, coalesce(l.country, o.country) AS country"
            " FROM charging_station s"
            " LEFT JOIN evse e ON e.station_key = s.key AND e.ocpp_evse_id = $3 AND e.removed_at IS NULL"
            " LEFT JOIN location l ON l.key = e.location_key"
            " LEFT JOIN location o ON o.tenant_id = s.tenant_id AND lower(o.id) = lower(s.location_id) AND o.deleted_at IS NULL"
            " WHERE s.tenant_id = $1 AND lower(s.station_id) = lower($2) AND s.deleted_at IS NULL",
            tenant_id,
            known.station_id,
            ocpp_evse_id,
        )
    elif known.location_id is not None:
        row = await db.fetchrow(
            "SELECT NULL::text AS uid, NULL::text AS station_id, id, country FROM location"
            " WHERE tenant_id = $1 AND lower(id) = lower($2) AND deleted_at IS NULL",
            tenant_id,
            known.location_id,
        )
    else:
        return known
    if row is None:
        return known
    country = row["country"]
    return NamedPlace(
        evse_uid=known.evse_uid or row["uid"],
        station_id=known.station_id or row["station_id"],
        location_id=known.location_id or row["id"],
        country=known.country or (None if country is None else ALPHA2.get(country, country)),
    )
