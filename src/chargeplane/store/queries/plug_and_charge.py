"""Trust anchors, cars' requests for certificates, and the test pool's contracts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time, like


class TrustAnchorView(Struct, frozen=True, kw_only=True):
    """An authority that contracts' certificates may lead to.

    Args:
        is_root: chains may end there; false: it stands between.
        fingerprint: SHA-256, hexadecimal.
    """

    id: str
    fingerprint: str
    is_root: bool
    subject: str
    not_before: datetime
    not_after: datetime
    pem: str
    note: str | None
    added_by: str
    added_at: datetime


class EvCertificateRequestView(Struct, frozen=True, kw_only=True):
    """A car's request for its contract's certificate.

    Args:
        renewal: an existing certificate was to be renewed.
        provider: who was asked.
        reason: why there was none.
    """

    id: str
    station_id: str
    schema: str
    renewal: bool
    provider: str
    accepted: bool
    reason: str | None
    emaid: str | None
    at: datetime


class ContractView(Struct, frozen=True, kw_only=True):
    """A contract of the test pool.

    Args:
        pcid: the car's, as in its provisioning certificate.
        certificates: how many were made of it.
    """

    id: str
    emaid: str
    pcid: str
    created_by: str
    created_at: datetime
    revoked_at: datetime | None
    revoked_because: str | None
    certificates: int


async def anchors(db: Db) -> list[tuple[TenantId, bool, str]]:
    """Of all tenants: whose, whether a root, PEM."""
    rows = await db.fetch("SELECT tenant_id, is_root, pem FROM trust_anchor ORDER BY id")
    return [(TenantId(row["tenant_id"]), row["is_root"], row["pem"]) for row in rows]


async def anchors_version(db: Db) -> tuple[int, int]:
    """Something that is another whenever an anchor was added or removed: they are never changed."""
    row = await db.fetchrow("SELECT count(*) AS held, coalesce(sum(id), 0)::bigint AS ids FROM trust_anchor")
    assert row is not None
    return row["held"], row["ids"]


async def add_anchor(
    db: Db,
    tenant_id: TenantId,
    *,
    fingerprint: bytes,
    is_root: bool,
    subject: str,
    not_before: datetime,
    not_after: datetime,
    pem: str,
    note: str | None,
    by: str,
) -> int | None:
    """Keeps an anchor; its id, None where the tenant has it."""
    ident: int | None = await db.fetchval(
        "INSERT INTO trust_anchor (tenant_id, fingerprint, is_root, subject, not_before, not_after, pem, note, added_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id",
        tenant_id,
        fingerprint,
        is_root,
        subject,
        not_before,
        not_after,
        pem,
        note,
        by,
    )
    return ident


async def remove_anchor(db: Db, tenant_id: TenantId, ident: int) -> str | None:
    """Drops an anchor; whose it was, None where there is none."""
    subject: str | None = await db.fetchval(
        "DELETE FROM trust_anchor WHERE tenant_id = $1 AND id = $2 RETURNING subject", tenant_id, ident
    )
    return subject


ANCHOR_SORTS: Final = Sorts(
    "trust_anchor.id", subject=by_text("subject"), not_after=by_time("not_after"), added_at=by_time("added_at")
)


async def anchor_page(
    db: Db, tenant_id: TenantId, q: str | None, limit: int, after: Position | None
) -> list[TrustAnchorView]:
    """Anchors, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    if q is not None:
        where.add("lower(subject) LIKE ?", like(q))
    order = ANCHOR_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id, encode(fingerprint, 'hex') AS fingerprint, is_root, subject, not_before, not_after, pem, note,"
        f" added_by, added_at FROM trust_anchor WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [TrustAnchorView(**{**row, "id": str(row["id"])}) for row in rows]


async def note_request(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    *,
    schema: str,
    renewal: bool,
    provider: str,
    accepted: bool,
    reason: str | None,
    emaid: str | None,
    at: datetime,
) -> None:
    """Keeps how a car's request ended."""
    await db.execute(
        "INSERT INTO ev_certificate_request (tenant_id, station_key, schema, renewal, provider, accepted, reason, emaid,"
        " at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant_id,
        key,
        schema,
        renewal,
        provider,
        accepted,
        reason,
        emaid,
        at,
    )


REQUEST_SORTS: Final = Sorts("r.id", at=by_time("r.at"), station_id=by_text("s.station_id"))


async def request_page(
    db: Db,
    tenant_id: TenantId,
    station_id: str | None,
    accepted: bool | None,
    limit: int,
    after: Position | None,
) -> list[EvCertificateRequestView]:
    """Cars' requests, newest first."""
    where = Where()
    where.add("r.tenant_id = ?", tenant_id)
    where.add_if("lower(s.station_id) = lower(?)", station_id)
    where.add_if("r.accepted = ?", accepted)
    order = REQUEST_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT r.id, s.station_id, r.schema, r.renewal, r.provider, r.accepted, r.reason, r.emaid, r.at"
        f" FROM ev_certificate_request r JOIN charging_station s ON s.key = r.station_key WHERE {where}"
        f" ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [EvCertificateRequestView(**{**row, "id": str(row["id"])}) for row in rows]


# -- the test pool -----------------------------------------------------------------------------------------------------


async def pool_authorities(db: Db) -> dict[str, tuple[str, bytes]]:
    """By name: PEM and encrypted key."""
    rows = await db.fetch("SELECT name, pem, key FROM pool_authority")
    return {row["name"]: (row["pem"], bytes(row["key"])) for row in rows}


async def keep_pool_authority(db: Db, name: str, pem: str, key: bytes) -> None:
    """Keeps an authority; the first one of a name stays."""
    await db.execute(
        "INSERT INTO pool_authority (name, pem, key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", name, pem, key
    )


async def reseal_pool_authority(db: Db, name: str, key: bytes) -> None:
    """Its key, encrypted anew."""
    await db.execute("UPDATE pool_authority SET key = $2 WHERE name = $1", name, key)


async def lock_pool(db: Db) -> None:
    """One at a time makes authorities."""
    await db.execute("SELECT pg_advisory_xact_lock(hashtext('pool_authority'))")


async def add_contract(db: Db, tenant_id: TenantId, emaid: str, pcid: str, by: str) -> int | None:
    """A new contract; its id, None where the eMAID has one."""
    ident: int | None = await db.fetchval(
        "INSERT INTO contract (tenant_id, emaid, pcid, created_by) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING RETURNING id",
        tenant_id,
        emaid,
        pcid,
        by,
    )
    return ident


async def contracts_of(db: Db, tenant_id: TenantId, pcid: str) -> list[tuple[int, str]]:
    """Valid contracts of a car, newest first: id and eMAID."""
    rows = await db.fetch(
        "SELECT id, emaid FROM contract WHERE tenant_id = $1 AND pcid = $2 AND revoked_at IS NULL ORDER BY id DESC",
        tenant_id,
        pcid,
    )
    return [(row["id"], row["emaid"]) for row in rows]


async def keep_certificate(db: Db, contract_id: int, serial_number: str, pem: str, not_after: datetime) -> None:
    """Keeps a contract's certificate."""
    await db.execute(
        "INSERT INTO contract_certificate (serial_number, contract_id, pem, not_after) VALUES ($1, $2, $3, $4)",
        serial_number,
        contract_id,
        pem,
        not_after,
    )


async def certificate_state(db: Db, serial_number: str) -> tuple[bool, datetime | None]:
    """Whether the pool made it, and when its contract was revoked."""
    row = await db.fetchrow(
        "SELECT c.revoked_at FROM contract_certificate k JOIN contract c ON c.id = k.contract_id"
        " WHERE k.serial_number = $1",
        serial_number,
    )
    return (False, None) if row is None else (True, row["revoked_at"])


async def revoke_contract(db: Db, tenant_id: TenantId, ident: int, because: str) -> bool:
    """Ends a contract; False where there is none that holds."""
    status: str = await db.execute(
        "UPDATE contract SET revoked_at = now(), revoked_because = $3"
        " WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant_id,
        ident,
        because,
    )
    return status.endswith(" 1")


_CONTRACT = """
    SELECT c.id, c.emaid, c.pcid, c.created_by, c.created_at, c.revoked_at, c.revoked_because,
        (SELECT count(*) FROM contract_certificate k WHERE k.contract_id = c.id) AS certificates
    FROM contract c"""


CONTRACT_SORTS: Final = Sorts("c.id", emaid=by_text("c.emaid"), created_at=by_time("c.created_at"))


async def contract_page(
    db: Db, tenant_id: TenantId, emaid: str | None, revoked: bool | None, limit: int, after: Position | None
) -> list[ContractView]:
    """Contracts, newest first."""
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add_if("lower(c.emaid) = lower(?)", emaid)
    if revoked is not None:
        where.add(f"c.revoked_at IS {'NOT ' if revoked else ''}NULL")
    order = CONTRACT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_CONTRACT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_contract(row) for row in rows]


async def contract(db: Db, tenant_id: TenantId, ident: int) -> ContractView | None:
    """The contract with our id."""
    row = await db.fetchrow(f"{_CONTRACT} WHERE c.tenant_id = $1 AND c.id = $2", tenant_id, ident)
    return None if row is None else _contract(row)


def _contract(row: Any) -> ContractView:
    return ContractView(**{**row, "id": str(row["id"])})
