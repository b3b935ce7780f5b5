"""What registers said of VAT numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from chargeplane.domain.vat_numbers import VatAnswer, VatCheck, VatOutcome
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db

_COLUMNS: Final = "vat_id, outcome, reason, name, address, reference, checked_at, valid_at"


def _check(row: Any) -> VatCheck:
    return VatCheck(**{**row, "outcome": VatOutcome(row["outcome"])})


async def one(db: Db, tenant_id: TenantId, vat_id: str) -> VatCheck | None:
    """What was said of a number last; None: it was never asked for.

    Args:
        vat_id: normalized.
    """
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM vat_check WHERE tenant_id = $1 AND vat_id = $2", tenant_id, vat_id)
    return None if row is None else _check(row)


async def put(db: Db, tenant_id: TenantId, vat_id: str, said: VatAnswer, at: datetime) -> VatCheck:
    """Writes down what a register said; that it was valid once stays known while it is not answered."""
    row = await db.fetchrow(
        "INSERT INTO vat_check AS v (tenant_id, vat_id, outcome, reason, name, address, reference, checked_at, valid_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $3 = 'valid' THEN $8::timestamptz END)"
        " ON CONFLICT (tenant_id, vat_id) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason,"
        " name = coalesce(excluded.name, v.name), address = coalesce(excluded.address, v.address),"
        " reference = coalesce(excluded.reference, v.reference), checked_at = excluded.checked_at,"
        " valid_at = CASE excluded.outcome WHEN 'valid' THEN excluded.checked_at WHEN 'unknown' THEN v.valid_at END"
        f" RETURNING {_COLUMNS}",
        tenant_id,
        vat_id,
        said.outcome.value,
        said.reason,
        said.name,
        said.address,
        said.reference,
        at,
    )
    assert row is not None
    return _check(row)


async def due(db: Db, known_before: datetime, unknown_before: datetime, most: int) -> list[tuple[TenantId, str]]:
    """Numbers of customers and drivers, as they wrote them, that were not checked for long, or not answered lately.

    Args:
        known_before: of what a register said; `unknown_before` of what it did not say.
    """
    rows = await db.fetch(
        "SELECT w.tenant_id, w.vat_id FROM ("
        " SELECT tenant_id, body::jsonb ->> 'vat_id' AS vat_id FROM invoice_customer"
        " UNION SELECT tenant_id, body::jsonb ->> 'tax_id' FROM driver) w"
        " LEFT JOIN vat_check v ON v.tenant_id = w.tenant_id"
        " AND v.vat_id = upper(regexp_replace(w.vat_id, '[\\s.\\-]', '', 'g'))"
        " WHERE w.vat_id IS NOT NULL AND (v.vat_id IS NULL OR (v.outcome <> 'unknown' AND v.checked_at < $1)"
        " OR (v.outcome = 'unknown' AND v.checked_at < $2)) ORDER BY v.checked_at NULLS FIRST LIMIT $3",
        known_before,
        unknown_before,
        most,
    )
    return [(TenantId(row["tenant_id"]), row["vat_id"]) for row in rows]
