"""Id tokens that agreements cover, what their transactions use up, and what agreements hold them to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.agreements.holds import Hold
from chargeplane.domain.messages import AuthorizationStatus
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class CoveredToken(Struct, frozen=True, kw_only=True):
    """An id token as agreements see it.

    Args:
        token_key: what it is compared by.
        open_count: transactions it has open.
        held: as written; None where nothing holds it.
    """

    id: int
    type: str
    id_token: str
    token_key: str
    group_id: str | None
    open_count: int
    held: Hold | None


_COLUMNS: Final = (
    "t.id, t.type, t.id_token, t.token_key, t.group_id, t.held_by, t.held_status, t.held_reason, t.held_concurrent, t.held_wh,"
    " (SELECT count(*) FROM open_transaction o WHERE o.tenant_id = t.tenant_id AND o.token_key = t.token_key) AS open_count"
)


def _token(row: Any) -> CoveredToken:
    held = None
    if row["held_by"] is not None:
        held = Hold(
            agreement_id=row["held_by"],
            reason=row["held_reason"],
            status=None if row["held_status"] is None else AuthorizationStatus(row["held_status"]),
            concurrent=row["held_concurrent"],
            wh=row["held_wh"],
        )
    return CoveredToken(
        id=row["id"],
        type=row["type"],
        id_token=row["id_token"],
        token_key=row["token_key"],
        group_id=row["group_id"],
        open_count=row["open_count"],
        held=held,
    )


async def uses_agreements(db: Db, tenant_id: TenantId) -> bool:
    """Whether the tenant has any agreement."""
    found: bool = await db.fetchval("SELECT EXISTS (SELECT FROM service_agreement WHERE tenant_id = $1)", tenant_id)
    return found


async def serialise(db: Db, tenant_id: TenantId) -> None:
    """Lets one at a time decide what a tenant's id tokens are held to, until the transaction ends."""
    await db.execute("SELECT pg_advisory_xact_lock(hashtextextended('agreement holds', $1))", tenant_id)


async def covered(
    db: Db,
    tenant_id: TenantId,
    *,
    token_keys: Sequence[str],
    groups: Sequence[str],
    ids: Sequence[int],
    held_by: int | None,
    after: int,
    most: int,
) -> list[CoveredToken]:
    """Id tokens named by themselves, by a group, by our ids, or held by an agreement; by id, after one.

    Args:
        groups: in lower case.
    """
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM id_token t WHERE t.id IN ("
        " SELECT id FROM id_token WHERE token_key = ANY($2) AND tenant_id = $1"
        " UNION SELECT id FROM id_token WHERE tenant_id = $1 AND lower(group_id) = ANY($3) AND group_id IS NOT NULL"
        " UNION SELECT id FROM id_token WHERE id = ANY($4) AND tenant_id = $1"
        " UNION SELECT id FROM id_token WHERE held_by = $5 AND tenant_id = $1)"
        " AND t.id > $6 ORDER BY t.id LIMIT $7",
        tenant_id,
        list(token_keys),
        list(groups),
        list(ids),
        held_by,
        after,
        most,
    )
    return [_token(row) for row in rows]


class Used(Struct, frozen=True, kw_only=True):
    """What id tokens use together.

    Args:
        open_count: transactions that are open.
        energy_wh: of transactions opened since the moment asked for, running ones as last told.
    """

    open_count: int
    energy_wh: Decimal


_TOKENS_OF: Final = (
    " SELECT token_key FROM id_token WHERE token_key = ANY($2) AND tenant_id = $1"
    " UNION SELECT token_key FROM id_token WHERE tenant_id = $1 AND lower(group_id) = ANY($3) AND group_id IS NOT NULL"
    " UNION SELECT token_key FROM id_token WHERE id = ANY($4) AND tenant_id = $1"
)


async def used(
    db: Db,
    tenant_id: TenantId,
    *,
    token_keys: Sequence[str],
    groups: Sequence[str],
    ids: Sequence[int],
    since: datetime,
) -> Used:
    """What id tokens use; arguments as of `covered`."""
    row = await db.fetchrow(
        f"WITH k AS ({_TOKENS_OF}), running AS (SELECT o.transaction_id, o.opened_on FROM open_transaction o"
        " WHERE o.tenant_id = $1 AND o.token_key IN (SELECT token_key FROM k))"
        " SELECT (SELECT count(*) FROM running) AS open_count,"
        " coalesce((SELECT sum(x.energy_wh) FROM transaction x WHERE x.tenant_id = $1 AND x.token_key IN (SELECT token_key FROM k)"
        " AND x.opened_at >= $5 AND NOT x.is_open), 0)"
        " + coalesce((SELECT sum(e.energy_wh) FROM running r, LATERAL (SELECT energy_wh FROM transaction_event e"
        " WHERE e.transaction_id = r.transaction_id AND e.opened_on = r.opened_on ORDER BY e.ordinal DESC LIMIT 1) e"
        " WHERE r.opened_on >= ($5 AT TIME ZONE 'UTC')::date), 0) AS energy_wh",
        tenant_id,
        list(token_keys),
        list(groups),
        list(ids),
        since,
    )
    assert row is not None  # an aggregate gives a row
    return Used(open_count=row["open_count"], energy_wh=row["energy_wh"])


async def hold(db: Db, tenant_id: TenantId, holds: Sequence[tuple[int, Hold | None]]) -> None:
    """Writes what id tokens are held to, by id."""
    await db.execute(
        "UPDATE id_token t SET held_by = u.by, held_status = u.status, held_reason = u.reason, held_concurrent = u.concurrent,"
        " held_wh = u.wh, held_at = CASE WHEN u.by IS NULL THEN NULL WHEN (t.held_by, t.held_status) IS DISTINCT FROM"
        " (u.by, u.status) THEN now() ELSE t.held_at END"
        " FROM unnest($2::int8[], $3::int8[], $4::text[], $5::text[], $6::int4[], $7::numeric[])"
        " AS u(id, by, status, reason, concurrent, wh) WHERE t.id = u.id AND t.tenant_id = $1",
        tenant_id,
        [ident for ident, _ in holds],
        [None if one is None else one.agreement_id for _, one in holds],
        [None if one is None or one.status is None else str(one.status) for _, one in holds],
        [None if one is None else one.reason for _, one in holds],
        [None if one is None else one.concurrent for _, one in holds],
        [None if one is None else one.wh for _, one in holds],
    )


async def limited(db: Db, after: int, most: int) -> list[tuple[TenantId, int]]:
    """Agreements in force with limits that sessions use up, after an id; all tenants'."""
    rows = await db.fetch(
        "SELECT tenant_id, id FROM service_agreement WHERE limited AND id > $1"
        " AND state IN ('accepted', 'active', 'suspended', 'ending') ORDER BY id LIMIT $2",
        after,
        most,
    )
    return [(TenantId(row["tenant_id"]), row["id"]) for row in rows]


async def tenants_with_limits(db: Db) -> set[TenantId]:
    """Tenants of which some agreement has limits that sessions use up."""
    rows = await db.fetch("SELECT DISTINCT tenant_id FROM service_agreement WHERE limited")
    return {TenantId(row["tenant_id"]) for row in rows}


async def tokens_of_transactions(db: Db, transaction_ids: Iterable[int]) -> list[tuple[TenantId, str]]:
    """Tenant and key of the id tokens of transactions."""
    rows = await db.fetch(
        "SELECT DISTINCT tenant_id, token_key FROM transaction WHERE id = ANY($1) AND token_key IS NOT NULL",
        list(transaction_ids),
    )
    return [(TenantId(row["tenant_id"]), row["token_key"]) for row in rows]


class UsedAt(Struct, frozen=True, kw_only=True):
    """What an agreement's id tokens used at one EVSE of a station."""

    station_id: str
    evse_id: int | None
    sessions: int
    open_sessions: int
    energy_wh: Decimal


async def used_by_place(
    db: Db,
    tenant_id: TenantId,
    *,
    token_keys: Sequence[str],
    groups: Sequence[str],
    ids: Sequence[int],
    since: datetime,
    until: datetime,
) -> list[UsedAt]:
    """The same by station and EVSE, of transactions opened in an interval."""
    rows = await db.fetch(
        f"WITH k AS ({_TOKENS_OF}) SELECT s.station_id, x.evse_id, count(*) AS sessions,"
        " count(*) FILTER (WHERE x.is_open) AS open_sessions,"
        " sum(CASE WHEN NOT x.is_open THEN x.energy_wh ELSE coalesce((SELECT e.energy_wh FROM transaction_event e"
        " WHERE e.transaction_id = x.id AND e.opened_on = (x.opened_at AT TIME ZONE 'UTC')::date"
        " ORDER BY e.ordinal DESC LIMIT 1), 0) END) AS energy_wh"
        " FROM transaction x JOIN charging_station s ON s.key = x.station_key"
        " WHERE x.tenant_id = $1 AND x.token_key IN (SELECT token_key FROM k) AND x.opened_at >= $5 AND x.opened_at < $6"
        " GROUP BY s.station_id, x.evse_id",
        tenant_id,
        list(token_keys),
        list(groups),
        list(ids),
        since,
        until,
    )
    return [UsedAt(**row) for row in rows]
