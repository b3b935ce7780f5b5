"""What the answer to Authorize needs for a driver's own tariff (OCPP 2.1 I08)."""

from __future__ import annotations

from collections.abc import Sequence

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db


async def told(db: Db, key: StationKey) -> list[tuple[str, str]]:
    """Names and values of what a station reported of TariffCostCtrlr, instance Tariff."""
    rows = await db.fetch(
        "SELECT variable, value FROM station_variable WHERE station_key = $1 AND lower(component) = 'tariffcostctrlr'"
        " AND lower(variable_instance) = 'tariff' AND attribute = 'Actual' AND value IS NOT NULL",
        key,
    )
    return [(row["variable"], row["value"]) for row in rows]


async def has_agreements(db: Db, tenant_id: TenantId) -> bool:
    """Whether the tenant has any agreement."""
    found: bool = await db.fetchval("SELECT EXISTS (SELECT FROM service_agreement WHERE tenant_id = $1)", tenant_id)
    return found


async def only_evse(db: Db, key: StationKey, evse_ids: Sequence[int]) -> str | None:
    """The EVSE that is meant, where it can be only one: of those named, or the station's only one."""
    rows = await db.fetch(
        "SELECT uid FROM evse WHERE station_key = $1 AND removed_at IS NULL"
        " AND (cardinality($2::int[]) = 0 OR ocpp_evse_id = ANY($2)) LIMIT 2",
        key,
        list(evse_ids),
    )
    return rows[0]["uid"] if len(rows) == 1 else None
