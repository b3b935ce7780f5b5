"""Our id tokens as partners know them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.authorization import IdTokenRecord, token_key
from chargeplane.domain.roaming.own_tokens import Provider
from chargeplane.domain.token_rules import EvseType
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.id_tokens import record_of
from chargeplane.store.queries.paging import Db, Where


class TokenRow(Struct, frozen=True):
    """An id token with its owner."""

    id: int
    record: IdTokenRecord
    driver_id: int | None
    updated_at: datetime
    known: bytes | None
    """The document partners have; None where they have none."""


_COLUMNS: Final = (
    "i.id::text AS id, i.id_token, i.type, i.status, i.valid_from, i.valid_until, i.group_id, i.language, i.personal_message,"
    " i.concurrent_limit, i.rules, i.credit_wh, i.credit, i.note, i.revision, i.created_at, i.updated_at,"
    " i.held_by, i.held_status, i.held_reason, i.held_concurrent, i.held_wh, i.held_at, d.driver_id"
)
_OWNED: Final = "id_token i LEFT JOIN driver_id_token d ON d.id_token_id = i.id AND d.confirmed_at IS NOT NULL"


def _row(row: Any, known: bytes | None) -> TokenRow:
    return TokenRow(int(row["id"]), record_of(row), row["driver_id"], row["updated_at"], known)


async def provider_of(db: Db, tenant_id: TenantId) -> Provider | None:
    """The tenant's party that is a provider; None where it has none."""
    row = await db.fetchrow(
        "SELECT country_code, party_id, business_details::json ->> 'name' AS name FROM roaming_party"
        " WHERE tenant_id = $1 AND 'EMSP' = ANY(roles) ORDER BY key LIMIT 1",
        tenant_id,
    )
    return None if row is None else Provider(row["country_code"], row["party_id"], row["name"])


async def providers(db: Db) -> dict[TenantId, tuple[Provider, int]]:
    """The providers of all tenants, each with the count of changes of its tenant's id tokens."""
    rows = await db.fetch(
        "SELECT DISTINCT ON (p.tenant_id) p.tenant_id, p.country_code, p.party_id, p.business_details::json ->> 'name' AS name,"
        " coalesce(c.ticks, 0) AS ticks FROM roaming_party p LEFT JOIN id_token_clock c USING (tenant_id)"
        " WHERE 'EMSP' = ANY(p.roles) ORDER BY p.tenant_id, p.key"
    )
    return {
        TenantId(row["tenant_id"]): (Provider(row["country_code"], row["party_id"], row["name"]), row["ticks"])
        for row in rows
    }


async def changed(
    db: Db, tenant_id: TenantId, since: datetime | None, until: datetime, after: int, limit: int
) -> list[TokenRow]:
    """Id tokens that changed, or that time made valid or invalid, in the order of their ids.

    Args:
        since: None: all.
    """
    where = Where()
    where.add("i.tenant_id = ? AND i.id > ?", tenant_id, after)
    if since is not None:
        where.add(
            "(i.updated_at >= ? OR i.held_at >= ? OR i.valid_until BETWEEN ? AND ? OR i.valid_from BETWEEN ? AND ?"
            " OR EXISTS (SELECT FROM driver_id_token t WHERE t.id_token_id = i.id AND t.created_at >= ?))",
            since,
            since,
            since,
            until,
            since,
            until,
            since,
        )
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS}, k.document AS known FROM {_OWNED} LEFT JOIN provider_token k ON k.tenant_id = i.tenant_id"
        f" AND k.id_token_id = i.id WHERE {where} ORDER BY i.id LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_row(row, row["known"]) for row in rows]


class Lost(Struct, frozen=True):
    """A token that partners know and that is no more."""

    id_token_id: int
    document: bytes


async def lost(db: Db, tenant_id: TenantId, limit: int) -> list[Lost]:
    """Tokens that partners take for valid and that are no more."""
    rows = await db.fetch(
        "SELECT k.id_token_id, k.document FROM provider_token k WHERE k.tenant_id = $1 AND k.valid"
        " AND NOT EXISTS (SELECT FROM id_token i WHERE i.id = k.id_token_id) LIMIT $2",
        tenant_id,
        limit,
    )
    return [Lost(row["id_token_id"], row["document"]) for row in rows]


class Published(Struct, frozen=True):
    """A token as it is published."""

    id_token_id: int
    uid: str
    contract_id: str
    type: str
    valid: bool
    last_updated: datetime
    document: bytes


async def publish(db: Db, tenant_id: TenantId, tokens: Sequence[Published]) -> None:
    """Writes what partners get from now on."""
    await db.execute(
        "INSERT INTO provider_token (tenant_id, id_token_id, uid, uid_key, contract_key, type, valid, last_updated, document)"
        " SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::timestamptz[],"
        " $9::bytea[])"
        " ON CONFLICT (tenant_id, id_token_id) DO UPDATE SET uid = excluded.uid, uid_key = excluded.uid_key,"
        " contract_key = excluded.contract_key,"
        " type = excluded.type, valid = excluded.valid, last_updated = excluded.last_updated, document = excluded.document",
        tenant_id,
        [one.id_token_id for one in tokens],
        [one.uid for one in tokens],
        [one.uid.lower() for one in tokens],
        [one.contract_id.lower() for one in tokens],
        [one.type for one in tokens],
        [one.valid for one in tokens],
        [one.last_updated for one in tokens],
        [one.document for one in tokens],
    )


async def page(
    db: Db,
    tenant_id: TenantId,
    types: Sequence[str],
    *,
    date_from: datetime | None,
    date_to: datetime | None,
    offset: int,
    limit: int,
) -> tuple[int, list[bytes]]:
    """How many tokens match, and a page of them, in the order in which they were first published.

    Args:
        date_from: included. date_to: not.
    """
    where = Where()
    where.add("tenant_id = ? AND type = ANY(?::text[])", tenant_id, list(types))
    where.add_if("last_updated >= ?", date_from)
    where.add_if("last_updated < ?", date_to)
    total: int = await db.fetchval(f"SELECT count(*) FROM provider_token WHERE {where}", *where.values)
    where.values += [limit, offset]
    rows = await db.fetch(
        f"SELECT document FROM provider_token WHERE {where} ORDER BY key LIMIT ${len(where.values) - 1}"
        f" OFFSET ${len(where.values)}",
        *where.values,
    )
    return total, [row["document"] for row in rows]


async def published(db: Db, tenant_id: TenantId, id_token_id: int) -> Published | None:
    """A token as it is published; None where it is not."""
    row = await db.fetchrow(
        "SELECT id_token_id, uid, contract_key, type, valid, last_updated, document FROM provider_token WHERE tenant_id = $1 AND id_token_id = $2",
        tenant_id,
        id_token_id,
    )
    return None if row is None else Published(*row.values())


async def asked_about(db: Db, tenant_id: TenantId, uid: str) -> list[tuple[TokenRow, int]]:
    """Our id tokens with this uid, each with the sessions that it has open at partners' stations."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS}, (SELECT count(*) FROM received_session s WHERE s.tenant_id = i.tenant_id AND s.id_token_id = i.id"
        " AND s.status = 'ACTIVE' AND s.updated_at > now() - interval '7 days') AS open_count"
        f" FROM {_OWNED} WHERE i.tenant_id = $1 AND i.token_key = $2 ORDER BY i.id",
        tenant_id,
        token_key(uid),
    )
    return [(_row(row, None), row["open_count"]) for row in rows]


async def evse_types(
    db: Db, tenant_id: TenantId, party: tuple[str, str], location_id: str, uids: Sequence[str]
) -> dict[str, EvseType]:
    """What kind of current EVSEs of a partner give, as far as we have copies; by uid as asked."""
    if not uids:
        return {}
    rows = await db.fetch(
        "SELECT w.uid, e.power_types FROM unnest($5::text[], $6::text[]) AS w(uid, uid_key) JOIN partner_location l"
        " ON l.tenant_id = $1 AND l.country_code = $2 AND l.party_id = $3 AND l.id_key = lower($4)"
        " JOIN partner_evse e ON e.location_key = l.key AND e.uid_key = w.uid_key",
        tenant_id,
        *party,
        location_id,
        list(uids),
        [one.lower() for one in uids],
    )
    return {
        row["uid"]: EvseType.DC if "DC" in row["power_types"] else EvseType.AC for row in rows if row["power_types"]
    }


class Given(Struct, frozen=True, kw_only=True):
    """An authorisation that was given: its reference comes back in the Session and the CDR."""

    reference: str
    tenant_id: TenantId
    connection_id: int | None
    id_token_id: int
    driver_id: int | None
    location_id: str | None
    allowed: str


async def note_given(db: Db, given: Sequence[Given]) -> None:
    """Writes authorisations down."""
    await db.execute(
        "INSERT INTO provider_authorization (reference, tenant_id, connection_id, id_token_id, driver_id, location_id, allowed)"
        " SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[])"
        " ON CONFLICT (reference) DO NOTHING",
        [one.reference for one in given],
        [one.tenant_id for one in given],
        [one.connection_id for one in given],
        [one.id_token_id for one in given],
        [one.driver_id for one in given],
        [one.location_id for one in given],
        [one.allowed for one in given],
    )
