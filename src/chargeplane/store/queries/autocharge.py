"""Cars' addresses that were seen where their drivers began to charge."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class SeenCar(Struct, frozen=True, kw_only=True):
    """An address that waits for its confirmation, and the transaction that gives it."""

    tenant_id: TenantId
    driver_id: int
    id_token_id: int
    transaction_id: int


async def seen(db: Db, within: timedelta, most: int = 100) -> list[SeenCar]:
    """Addresses that waited and were presented at a station around the start of a transaction there that the driver began with
    another token; at most `most`.

    Args:
        within: between the two.
    """
    rows = await db.fetch(
        "SELECT DISTINCT ON (d.id_token_id) d.tenant_id, d.driver_id, d.id_token_id, t.id AS transaction_id"
        " FROM driver_id_token d JOIN id_token i ON i.id = d.id_token_id"
        " JOIN driver_id_token o ON o.driver_id = d.driver_id AND o.confirmed_at IS NOT NULL"
        " JOIN id_token k ON k.id = o.id_token_id"
        " JOIN transaction t ON t.tenant_id = d.tenant_id AND t.token_key = k.token_key AND t.opened_at >= d.created_at - $1::interval"
        "  AND t.authorization_status = 'Accepted'"
        " WHERE d.confirmed_at IS NULL AND EXISTS (SELECT FROM authorization_attempt a WHERE a.station_key = t.station_key"
        "  AND a.received_at BETWEEN t.opened_at - $1::interval AND t.opened_at + $1::interval"
        "  AND lower(regexp_replace(a.id_token, '^VID:|[:. -]', '', 'g')) = i.token_key)"
        " ORDER BY d.id_token_id, t.id LIMIT $2",
        within,
        most,
    )
    return [SeenCar(**row) for row in rows]
