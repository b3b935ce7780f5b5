"""Which CDRs invoices between partners are made of: records of ours, and of partners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.roaming.checking import Verdict
from chargeplane.domain.roaming.disputes import DisputeState
from chargeplane.domain.roaming.reconciliation import KnownCdr, record_document
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where


class SentRecord(Struct, frozen=True, kw_only=True):
    """A record of ours.

    Args:
        statement_id: the statement that it follows; None where a person made it.
        taken: the partner has it.
    """

    key: int
    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    id: str
    invoice_id: str
    cdrs: list[str]
    statement_id: int | None
    last_updated: datetime
    deleted_at: datetime | None
    revision: int
    created_at: datetime
    taken: bool

    @property
    def document(self) -> bytes:
        """As OCPI has it."""
        return record_document(self.country_code, self.party_id, self.id, self.invoice_id, self.cdrs, self.last_updated)


_SENT: Final = (
    "SELECT key, tenant_id, connection_id, country_code, party_id, id, invoice_id, cdrs, statement_id, last_updated, deleted_at,"
    " revision, created_at, EXISTS (SELECT FROM roaming_sent s WHERE s.connection_id = r.connection_id"
    " AND s.module = 'invoicereconciliation' AND s.key = r.key::text) AS taken FROM own_reconciliation r"
)


async def sent(db: Db, tenant_id: TenantId, key: int, *, lock: bool = False) -> SentRecord | None:
    """A record of ours by our key."""
    row = await db.fetchrow(f"{_SENT} WHERE tenant_id = $1 AND key = $2{' FOR UPDATE' if lock else ''}", tenant_id, key)
    return None if row is None else SentRecord(**row)


SENT_SORTS: Final = Sorts("key", ident_of=lambda one: (one.key,))


async def sent_page(
    db: Db, tenant_id: TenantId, connection_id: int | None, limit: int, after: Position | None
) -> list[SentRecord]:
    """Records of ours, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("connection_id = ?", connection_id)
    order = SENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SENT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [SentRecord(**row) for row in rows]


async def listed(
    db: Db, connection_id: int, date_from: datetime | None, date_to: datetime | None, offset: int, limit: int
) -> tuple[int, list[bytes]]:
    """Part of what a partner may read of our records, in the order of creation: (how many match, documents)."""
    where = Where()
    where.add("connection_id = ? AND deleted_at IS NULL", connection_id)
    where.add_if("last_updated >= ?", date_from)
    where.add_if("last_updated < ?", date_to)
    total = await db.fetchval(f"SELECT count(*) FROM own_reconciliation WHERE {where}", *where.values)
    where.values += [limit, offset]
    rows = await db.fetch(
        f"{_SENT} WHERE {where} ORDER BY key LIMIT ${len(where.values) - 1} OFFSET ${len(where.values)}", *where.values
    )
    return total, [SentRecord(**row).document for row in rows]


async def insert(
    db: Db,
    tenant_id: TenantId,
    connection_id: int,
    party: tuple[str, str],
    ident: str,
    invoice_id: str,
    cdrs: Sequence[str],
    at: datetime,
    statement_id: int | None = None,
) -> int | None:
    """A new record of ours; its key, None where there is one of this id, or of the statement."""
    key: int | None = await db.fetchval(
        "INSERT INTO own_reconciliation (tenant_id, connection_id, country_code, party_id, id, invoice_id, cdrs, last_updated, statement_id)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING key",
        tenant_id,
        connection_id,
        *party,
        ident,
        invoice_id,
        list(cdrs),
        at,
        statement_id,
    )
    return key


async def replace(db: Db, key: int, invoice_id: str, cdrs: Sequence[str], at: datetime) -> None:
    """What a record of ours says from now on."""
    await db.execute(
        "UPDATE own_reconciliation SET invoice_id = $2, cdrs = $3, last_updated = $4, revision = revision + 1 WHERE key = $1",
        key,
        invoice_id,
        list(cdrs),
        at,
    )


async def delete(db: Db, key: int, at: datetime) -> None:
    """A record of ours was an error."""
    await db.execute(
        "UPDATE own_reconciliation SET deleted_at = $2, last_updated = $2, revision = revision + 1 WHERE key = $1",
        key,
        at,
    )


async def told_cdrs(db: Db, tenant_id: TenantId, connection_id: int, idents: Sequence[str]) -> set[str]:
    """Those of our CDRs that a partner was told, of these ids."""
    rows = await db.fetch(
        "SELECT id FROM roaming_document WHERE tenant_id = $1 AND module = 'cdrs' AND connection_id = $2 AND lower(id) = ANY($3)",
        tenant_id,
        connection_id,
        [one.lower() for one in idents],
    )
    return {row["id"] for row in rows}


async def received_ids(db: Db, tenant_id: TenantId, connection_id: int, idents: Sequence[str]) -> set[str]:
    """Those of a partner's CDRs that we received, of these ids; in lower case."""
    rows = await db.fetch(
        "SELECT id_key FROM partner_object WHERE tenant_id = $1 AND module = 'cdrs' AND connection_id = $2 AND id_key = ANY($3)",
        tenant_id,
        connection_id,
        [one.lower() for one in idents],
    )
    return {row["id_key"] for row in rows}


async def stated_cdrs(db: Db, statement_id: int, connection_id: int) -> list[str]:
    """Ids of the CDRs of a statement that a partner was told, in order."""
    rows = await db.fetch(
        "SELECT d.id FROM stated_cdr s JOIN roaming_document d ON d.tenant_id = s.tenant_id AND d.module = 'cdrs'"
        " AND lower(d.id) = s.cdr_id::text AND d.connection_id = $2 WHERE s.statement_id = $1 ORDER BY s.cdr_id",
        statement_id,
        connection_id,
    )
    return [row["id"] for row in rows]


# Records of partners


class ReceivedRecord(Struct, frozen=True, kw_only=True):
    """A partner's record.

    Args:
        gone_at: the partner took it back.
        invoiced_amount, invoiced_currency: what the invoice asks, as a person read it.
    """

    object_key: int
    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    id: str
    invoice_id: str
    cdrs: list[str]
    last_updated: datetime
    gone_at: datetime | None
    invoiced_amount: Decimal | None
    invoiced_currency: str | None
    settled_at: datetime | None
    settled_by: str | None
    note: str | None
    revision: int
    received_at: datetime


_RECEIVED: Final = ", ".join(ReceivedRecord.__struct_fields__)


async def put_received(db: Db, tenant_id: TenantId, connection_id: int, key: int, said: Any, at: datetime) -> None:
    """Writes a partner's record; one that changed is to be looked at anew.

    Args:
        said: `domain.roaming.reconciliation.RecordSaid`.
        at: its `last_updated`.
    """
    await db.execute(
        "INSERT INTO received_reconciliation (object_key, tenant_id, connection_id, country_code, party_id, id, invoice_id, cdrs,"
        " cdr_keys, last_updated) VALUES ($1, $2, $3, upper($4), upper($5), $6, $7, $8, $9, $10) ON CONFLICT (object_key) DO UPDATE SET"
        " invoice_id = excluded.invoice_id, cdrs = excluded.cdrs, cdr_keys = excluded.cdr_keys, last_updated = excluded.last_updated,"
        " gone_at = NULL, settled_at = NULL, settled_by = NULL, note = NULL, revision = received_reconciliation.revision + 1",
        key,
        tenant_id,
        connection_id,
        said.country_code,
        said.party_id,
        said.id,
        said.invoice_id,
        list(said.cdrs),
        [one.lower() for one in said.cdrs],
        at,
    )


async def received_gone(db: Db, key: int) -> None:
    """The partner took a record back."""
    await db.execute(
        "UPDATE received_reconciliation SET gone_at = now(), revision = revision + 1 WHERE object_key = $1 AND gone_at IS NULL",
        key,
    )


async def received(db: Db, tenant_id: TenantId, key: int, *, lock: bool = False) -> ReceivedRecord | None:
    """A partner's record by our key."""
    row = await db.fetchrow(
        f"SELECT {_RECEIVED} FROM received_reconciliation WHERE tenant_id = $1 AND object_key = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        key,
    )
    return None if row is None else ReceivedRecord(**row)


RECEIVED_SORTS: Final = Sorts("object_key", ident_of=lambda one: (one.object_key,))


async def received_page(
    db: Db, tenant_id: TenantId, connection_id: int | None, open: bool | None, limit: int, after: Position | None
) -> list[ReceivedRecord]:
    """Partners' records, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("connection_id = ?", connection_id)
    if open is not None:
        where.add(
            "settled_at IS NULL AND gone_at IS NULL" if open else "(settled_at IS NOT NULL OR gone_at IS NOT NULL)"
        )
    order = RECEIVED_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_RECEIVED} FROM received_reconciliation WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [ReceivedRecord(**row) for row in rows]


async def settle(
    db: Db, key: int, amount: Decimal | None, currency: str | None, at: datetime, by: str, note: str | None
) -> None:
    """A person found a record right, or settled it otherwise."""
    await db.execute(
        "UPDATE received_reconciliation SET invoiced_amount = $2, invoiced_currency = $3, settled_at = $4, settled_by = $5, note = $6,"
        " revision = revision + 1 WHERE object_key = $1",
        key,
        amount,
        currency,
        at,
        by,
        note,
    )


_CHECKED: Final = (
    "SELECT c.id, c.object_key AS key, true AS received, c.currency,"
    " CASE WHEN c.credit THEN -abs(c.total_excl) ELSE c.total_excl END AS total_excl,"
    " CASE WHEN c.credit THEN -abs(c.total_incl) ELSE c.total_incl END AS total_incl, c.ended_at, c.verdict, c.dispute,"
    " (SELECT coalesce(array_agg(r.id ORDER BY r.object_key), '{}') FROM received_reconciliation r"
    "  WHERE r.cdr_keys @> ARRAY[lower(c.id)] AND r.tenant_id = c.tenant_id AND r.country_code = c.country_code"
    "  AND r.party_id = c.party_id AND r.gone_at IS NULL AND r.object_key <> $1) AS other_records FROM checked_cdr c"
)


def _known(row: Any) -> KnownCdr:
    said = dict(row)
    return KnownCdr(
        **{
            **said,
            "verdict": None if said["verdict"] is None else Verdict(said["verdict"]),
            "dispute": None if said["dispute"] is None else DisputeState(said["dispute"]),
            "other_records": tuple(said["other_records"]),
        }
    )


async def known(db: Db, record: ReceivedRecord) -> dict[str, KnownCdr]:
    """The CDRs of a record that we have, by their ids in lower case: received of its sender, else ours that the sender was told."""
    keys = [one.lower() for one in record.cdrs]
    rows = await db.fetch(
        f"{_CHECKED} JOIN partner_object o ON o.key = c.object_key WHERE o.tenant_id = $2 AND o.module = 'cdrs'"
        " AND o.id_key = ANY($3) AND o.country_code = $4 AND o.party_id = $5",
        record.object_key,
        record.tenant_id,
        keys,
        record.country_code,
        record.party_id,
    )
    found = {one.id.lower(): one for one in map(_known, rows)}
    lacking = [one for one in keys if one not in found]
    if lacking:
        rows = await db.fetch(
            "SELECT d.id, c.id AS key, false AS received, coalesce(c.currency, 'XXX') AS currency, coalesce(c.total_excl, 0) AS total_excl,"
            " c.total_incl, c.ended_at, NULL::text AS verdict, NULL::text AS dispute, '{}'::text[] AS other_records"
            " FROM roaming_document d JOIN cdr c ON c.id::text = d.id"
            " WHERE d.tenant_id = $1 AND d.module = 'cdrs' AND lower(d.id) = ANY($2) AND d.connection_id = $3",
            record.tenant_id,
            lacking,
            record.connection_id,
        )
        found |= {one.id.lower(): one for one in map(_known, rows)}
    return found


async def left_out(db: Db, record: ReceivedRecord, until: datetime, limit: int) -> list[KnownCdr]:
    """CDRs of a record's sender that ended by then and that no record of it names, oldest first."""
    rows = await db.fetch(
        f"SELECT * FROM ({_CHECKED} WHERE c.tenant_id = $2 AND c.country_code = $3 AND c.party_id = $4 AND c.ended_at <= $5"
        " AND NOT lower(c.id) = ANY($6)) f WHERE other_records = '{}' ORDER BY ended_at, key LIMIT $7",
        record.object_key,
        record.tenant_id,
        record.country_code,
        record.party_id,
        until,
        [one.lower() for one in record.cdrs],
        limit,
    )
    return [_known(row) for row in rows]
