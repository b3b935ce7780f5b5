"""Client info of hubs: what ours tells, and what a hub told us (OCPI 2.3.0 mod_hub_client_info)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from chargeplane.domain.roaming.connection import PartyId
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Where


class ClientInfo(Struct, frozen=True, kw_only=True):
    """Whether a party can be reached through a hub.

    Args:
        status: CONNECTED, OFFLINE, PLANNED or SUSPENDED.
    """

    country_code: str
    party_id: str
    role: str
    status: str
    last_updated: datetime


_COLUMNS = "country_code, party_id, role, status, last_updated"


def _info(row: Any) -> ClientInfo:
    return ClientInfo(**{name: row[name] for name in ClientInfo.__struct_fields__})


async def put(db: Db, tenant_id: TenantId, connection_id: int | None, info: ClientInfo) -> tuple[bool, bool]:
    """Writes what is known of a party; whether it is new, and whether its status is another one.

    Args:
        connection_id: of the hub that told it; None: ours tells it.
    """
    row = await db.fetchrow(
        "WITH before AS (SELECT status FROM roaming_client_info WHERE tenant_id = $1 AND coalesce(connection_id, 0) = coalesce($2, 0)"
        " AND upper(country_code) = upper($3) AND upper(party_id) = upper($4) AND role = $5)"
        " INSERT INTO roaming_client_info AS i (tenant_id, connection_id, country_code, party_id, role, status, last_updated)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (tenant_id, coalesce(connection_id, 0), upper(country_code), upper(party_id), role)"
        " DO UPDATE SET status = excluded.status, last_updated = excluded.last_updated"
        " RETURNING (SELECT status FROM before) AS before",
        tenant_id,
        connection_id,
        info.country_code,
        info.party_id,
        info.role,
        info.status,
        info.last_updated,
    )
    before = None if row is None else row["before"]
    return before is None, before != info.status


async def one(db: Db, tenant_id: TenantId, connection_id: int | None, party: PartyId) -> ClientInfo | None:
    """What is known of a party."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM roaming_client_info WHERE tenant_id = $1 AND coalesce(connection_id, 0) = coalesce($2, 0)"
        " AND upper(country_code) = upper($3) AND upper(party_id) = upper($4) ORDER BY created_id LIMIT 1",
        tenant_id,
        connection_id,
        party.country_code,
        party.party_id,
    )
    return None if row is None else _info(row)


async def page(
    db: Db,
    tenant_id: TenantId,
    excluded: list[str],
    date_from: datetime | None,
    date_to: datetime | None,
    offset: int,
    limit: int,
) -> tuple[list[ClientInfo], int]:
    """What our hub tells, in the order of creation, and how many there are.

    Args:
        excluded: keys of parties that the asking partner is not told of: its own, and those it may not reach.
    """
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add("connection_id IS NULL")
    where.add("upper(country_code || party_id) <> ALL (?)", excluded)
    where.add_if("last_updated >= ?", date_from)
    where.add_if("last_updated < ?", date_to)
    values = where.values
    total = await db.fetchval(f"SELECT count(*) FROM roaming_client_info WHERE {where}", *values)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM roaming_client_info WHERE {where} ORDER BY created_id"
        f" OFFSET ${len(values) + 1} LIMIT ${len(values) + 2}",
        *values,
        offset,
        limit,
    )
    return [_info(row) for row in rows], int(total)


async def heard(db: Db, tenant_id: TenantId) -> list[ClientInfo]:
    """What hubs told of parties behind them."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM roaming_client_info WHERE tenant_id = $1 AND connection_id IS NOT NULL ORDER BY created_id",
        tenant_id,
    )
    return [_info(row) for row in rows]


async def hub_of(db: Db, tenant_id: TenantId, party: PartyId) -> int | None:
    """The connection of the hub that told that a party can be reached through it."""
    found: int | None = await db.fetchval(
        "SELECT connection_id FROM roaming_client_info WHERE tenant_id = $1 AND connection_id IS NOT NULL"
        " AND upper(country_code) = upper($2) AND upper(party_id) = upper($3) AND status = 'CONNECTED' ORDER BY created_id LIMIT 1",
        tenant_id,
        party.country_code,
        party.party_id,
    )
    return found
