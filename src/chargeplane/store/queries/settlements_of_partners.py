"""Statements of partners, the CDRs they rest on, and CDRs that partners sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.roaming.disputes import DisputeState
from chargeplane.domain.settlements.model import SettlementKind, Statement
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_time

_decode = msgspec.json.Decoder(Statement).decode
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


class StoredStatement(Struct, frozen=True, kw_only=True):
    """A statement."""

    id: int
    agreement_id: int
    number: str
    statement: Statement
    created_at: datetime
    created_by: str
    paid_at: datetime | None
    paid_reference: str | None


class StatedCdr(Struct, frozen=True, kw_only=True):
    """A CDR as a statement needs it; below nothing where it is a credit."""

    id: int
    credit: bool
    ended_at: datetime
    location_id: str
    evse_uid: str
    station_id: str | None
    country: str | None
    energy_wh: Decimal
    net: Decimal
    gross: Decimal


class PartnerCdr(Struct, frozen=True, kw_only=True):
    """A CDR that a partner sent.

    Args:
        agreement_id: by which it is settled; None where there was none when it came.
        cdr_id: the partner's.
        object_key: of its document, where it came over OCPI.
    """

    id: int
    agreement_id: int | None
    party: str
    cdr_id: str
    credit: bool
    id_token: str | None
    started_at: datetime
    ended_at: datetime
    energy_wh: Decimal
    currency: str
    total_excl: Decimal
    total_incl: Decimal
    country: str
    statement_id: int | None
    received_at: datetime
    object_key: int | None
    dispute: DisputeState | None


_COLUMNS: Final = "id, agreement_id, number, body, created_at, created_by, paid_at, paid_reference"
_FREE: Final = "(c.holds = '{}' OR EXISTS (SELECT FROM cdr_release r WHERE r.cdr_id = c.id))"


def _stored(row: Any) -> StoredStatement:
    said = dict(row)
    return StoredStatement(statement=_decode(said.pop("body")), **said)


async def serialise(db: Db, tenant_id: TenantId, agreement_id: int) -> None:
    """Lets one at a time settle an agreement, until the transaction ends."""
    await db.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($2, $1))", tenant_id, f"partner statement {agreement_id}"
    )


async def serialise_party(db: Db, tenant_id: TenantId, party: str) -> None:
    """Lets one at a time settle with a roaming partner, whatever the agreement, until the transaction ends."""
    await db.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($2, $1))", tenant_id, f"partner statements with {party}"
    )


async def last_end(db: Db, tenant_id: TenantId, agreement_id: int) -> datetime | None:
    """Until when an agreement is settled; None: it never was."""
    found: datetime | None = await db.fetchval(
        "SELECT max(period_end) FROM partner_statement WHERE tenant_id = $1 AND agreement_id = $2",
        tenant_id,
        agreement_id,
    )
    return found


async def cdrs_at(
    db: Db, tenant_id: TenantId, agreement_id: int, currency: str, since: datetime, until: datetime
) -> list[StatedCdr]:
    """CDRs of the whole tenant that ended in an interval, may be billed, and are on no statement of an agreement."""
    return await _cdrs(db, "", tenant_id, agreement_id, currency, since, until)


async def cdrs_under(
    db: Db, tenant_id: TenantId, agreement_id: int, currency: str, since: datetime, until: datetime, party: str
) -> list[StatedCdr]:
    """The same, of sessions under the agreement itself, and of the partner's drivers without any that no other agreement's statement has.

    Args:
        party: the partner, as `DE*ABC`.
    """
    return await _cdrs(
        db,
        " AND (c.agreement_id = $2 OR (c.agreement_id IS NULL AND EXISTS (SELECT FROM roaming_document d WHERE d.tenant_id = c.tenant_id"
        " AND d.module = 'cdrs' AND lower(d.id) = c.id::text AND upper(d.body::jsonb #>> '{cdr_token,country_code}') || '*'"
        " || upper(d.body::jsonb #>> '{cdr_token,party_id}') = $6)"
        " AND NOT EXISTS (SELECT FROM stated_cdr o JOIN partner_statement p ON p.id = o.statement_id WHERE o.cdr_id = c.id"
        " AND p.kind = 'roaming')))",
        tenant_id,
        agreement_id,
        currency,
        since,
        until,
        party,
    )


async def _cdrs(db: Db, more: str, *values: Any) -> list[StatedCdr]:
    rows = await db.fetch(
        "SELECT c.id, c.kind = 'credit' AS credit, c.ended_at, c.location_id, c.evse_uid, c.body::jsonb ->> 'station_id' AS station_id,"
        " c.body::jsonb #>> '{place,country_alpha2}' AS country, c.energy_wh, coalesce(c.total_excl, 0) AS net,"
        " coalesce(c.total_incl, 0) AS gross FROM cdr c WHERE c.tenant_id = $1 AND c.currency = $3 AND c.ended_at >= $4 AND c.ended_at < $5"
        f" AND {_FREE} AND NOT EXISTS (SELECT FROM stated_cdr s WHERE s.agreement_id = $2 AND s.cdr_id = c.id){more} ORDER BY c.id",
        *values,
    )
    return [StatedCdr(**row) for row in rows]


async def insert(db: Db, tenant_id: TenantId, agreement_id: int, number: str, statement: Statement, by: str) -> int:
    """A new statement; its id."""
    ident: int = await db.fetchval(
        "INSERT INTO partner_statement (tenant_id, agreement_id, kind, number, party, name, period_start, period_end, currency, payable,"
        " body, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
        tenant_id,
        agreement_id,
        statement.kind.value,
        number,
        statement.party,
        statement.name,
        statement.period_start,
        statement.period_end,
        statement.currency,
        statement.payable,
        _encode(statement).decode(),
        by,
    )
    return ident


async def mark(db: Db, tenant_id: TenantId, agreement_id: int, cdr_ids: Sequence[int], statement_id: int) -> None:
    """CDRs are on a statement now; the database refuses those that are on another of the agreement."""
    await db.execute(
        "INSERT INTO stated_cdr (agreement_id, cdr_id, tenant_id, statement_id) SELECT $1, u, $3, $4 FROM unnest($2::int8[]) u",
        agreement_id,
        list(cdr_ids),
        tenant_id,
        statement_id,
    )


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> StoredStatement | None:
    """A statement."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM partner_statement WHERE tenant_id = $1 AND id = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else _stored(row)


STATEMENT_SORTS: Final = Sorts("id", created_at=by_time("created_at"), period_start=by_time("period_start"))


async def page(
    db: Db,
    tenant_id: TenantId,
    *,
    agreement_id: int | None,
    kind: SettlementKind | None,
    paid: bool | None,
    limit: int,
    after: Position | None,
) -> list[StoredStatement]:
    """Statements, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("agreement_id = ?", agreement_id)
    where.add_if("kind = ?", None if kind is None else kind.value)
    if paid is not None:
        where.add("paid_at IS NOT NULL" if paid else "paid_at IS NULL")
    order = STATEMENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM partner_statement WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_stored(row) for row in rows]


async def put_paid(db: Db, ident: int, at: datetime, reference: str | None) -> None:
    """A statement was paid."""
    await db.execute(
        "UPDATE partner_statement SET paid_at = $2, paid_reference = $3 WHERE id = $1", ident, at, reference
    )


# CDRs of partners

_CDR: Final = (
    "p.id, p.agreement_id, p.party, p.cdr_id, p.credit, p.id_token, p.started_at, p.ended_at, p.energy_wh, p.currency, p.total_excl,"
    " p.total_incl, p.country, p.statement_id, p.received_at, p.object_key,"
    " (SELECT k.dispute FROM checked_cdr k WHERE k.object_key = p.object_key) AS dispute"
)


def _partner_cdr(row: Any) -> PartnerCdr:
    said = dict(row)
    dispute = said.pop("dispute")
    return PartnerCdr(dispute=None if dispute is None else DisputeState(dispute), **said)


async def insert_cdr(db: Db, tenant_id: TenantId, new: PartnerCdr) -> int | None:
    """A new CDR of a partner; None where it is known."""
    ident: int | None = await db.fetchval(
        "INSERT INTO partner_cdr (tenant_id, agreement_id, party, cdr_id, credit, id_token, started_at, ended_at, energy_wh, currency,"
        " total_excl, total_incl, country, object_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        " ON CONFLICT (tenant_id, party, lower(cdr_id)) DO NOTHING RETURNING id",
        tenant_id,
        new.agreement_id,
        new.party,
        new.cdr_id,
        new.credit,
        new.id_token,
        new.started_at,
        new.ended_at,
        new.energy_wh,
        new.currency,
        new.total_excl,
        new.total_incl,
        new.country,
        new.object_key,
    )
    return ident


async def cdr_by_ref(db: Db, tenant_id: TenantId, party: str, cdr_id: str) -> PartnerCdr | None:
    """A CDR by the partner's id, whatever its case (OCPI CiString)."""
    row = await db.fetchrow(
        f"SELECT {_CDR} FROM partner_cdr p WHERE tenant_id = $1 AND party = $2 AND lower(cdr_id) = lower($3)",
        tenant_id,
        party,
        cdr_id,
    )
    return None if row is None else _partner_cdr(row)


async def bind_cdr(db: Db, ident: int, object_key: int) -> None:
    """A CDR that was handed in came over OCPI too."""
    await db.execute(
        "UPDATE partner_cdr SET object_key = $2 WHERE id = $1 AND object_key IS NULL"
        " AND NOT EXISTS (SELECT FROM partner_cdr o WHERE o.object_key = $2)",
        ident,
        object_key,
    )


PARTNER_CDR_SORTS: Final = Sorts(
    "id", ended_at=by_time("ended_at"), energy_wh=by_number("energy_wh", Decimal), received_at=by_time("received_at")
)


async def cdrs_page(
    db: Db, tenant_id: TenantId, *, party: str | None, open: bool | None, limit: int, after: Position | None
) -> list[PartnerCdr]:
    """CDRs of partners, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("party = ?", party)
    if open is not None:
        where.add("statement_id IS NULL" if open else "statement_id IS NOT NULL")
    order = PARTNER_CDR_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_CDR} FROM partner_cdr p WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_partner_cdr(row) for row in rows]


async def open_cdrs(
    db: Db,
    tenant_id: TenantId,
    agreement_id: int,
    parties: Sequence[str],
    currency: str,
    since: datetime,
    until: datetime,
) -> list[PartnerCdr]:
    """Those on no statement that ended before `until`, locked until the transaction ends.

    Args:
        parties, since: of those without an agreement: whose, and what ended from then on.
    """
    rows = await db.fetch(
        f"SELECT {_CDR} FROM partner_cdr p WHERE tenant_id = $1 AND currency = $3 AND ended_at < $4 AND statement_id IS NULL"
        " AND (agreement_id = $2 OR agreement_id IS NULL AND party = ANY($5) AND ended_at >= $6) ORDER BY id FOR UPDATE OF p",
        tenant_id,
        agreement_id,
        currency,
        until,
        list(parties),
        since,
    )
    return [_partner_cdr(row) for row in rows]


async def mark_partner_cdrs(db: Db, agreement_id: int, idents: Sequence[int], statement_id: int) -> None:
    """They are on a statement of an agreement now."""
    await db.execute(
        "UPDATE partner_cdr SET statement_id = $2, agreement_id = $3 WHERE id = ANY($1)",
        list(idents),
        statement_id,
        agreement_id,
    )


async def roaming_agreement(db: Db, tenant_id: TenantId, party: str) -> list[int]:
    """Roaming agreements that name a party, those in force first; their ids."""
    rows = await db.fetch(
        "SELECT id FROM service_agreement WHERE tenant_id = $1 AND kind IN ('roaming_bilateral', 'hub') AND begun_at IS NOT NULL"
        " AND EXISTS (SELECT FROM jsonb_array_elements(parties) p WHERE p ->> 'kind' = 'ocpi_party' AND upper(p ->> 'id') = $2)"
        " ORDER BY state IN ('active', 'ending') DESC, id DESC",
        tenant_id,
        party,
    )
    return [row["id"] for row in rows]
