"""What agreements' limits of money and power are held against, and the sessions they lowered or ended."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from chargeplane.domain.agreements.limits import LimitKind
from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.store.queries.paging import Db


async def owed(db: Db, tenant_id: TenantId, agreement_id: int, currency: str, but: TransactionId | None) -> Decimal:
    """What is owed under an agreement: invoices that are open, what is to be billed, and what its sessions cost so far.

    Args:
        but: a session that is not counted.
    """
    found: Decimal = await db.fetchval(
        "SELECT coalesce((SELECT sum(CASE WHEN kind = 'credit_note' THEN -1 ELSE 1 END * (gross - paid - credited - written_off))"
        "  FROM invoice WHERE tenant_id = $1 AND agreement_id = $2 AND currency = $3 AND number IS NOT NULL), 0)"
        " + coalesce((SELECT sum(c.total_incl) FROM billable_cdr b JOIN cdr c ON c.id = b.cdr_id WHERE b.tenant_id = $1"
        "  AND b.agreement_id = $2 AND b.invoice_id IS NULL AND b.currency = $3), 0)"
        " + coalesce((SELECT sum(gross) FROM billable_fee WHERE tenant_id = $1 AND agreement_id = $2 AND invoice_id IS NULL"
        "  AND currency = $3), 0)"
        " + coalesce((SELECT sum(s.cost_incl) FROM charging_session s WHERE s.tenant_id = $1 AND s.agreement_id = $2"
        "  AND s.currency = $3 AND s.id IS DISTINCT FROM $4::int8"
        "  AND (s.state IN ('active', 'ended') OR (s.state = 'settled' AND NOT EXISTS"
        "  (SELECT FROM billable_cdr b JOIN cdr c ON c.id = b.cdr_id WHERE c.session_id = s.id)"
        "  AND s.updated_at > now() - interval '10 minutes'))), 0)",
        tenant_id,
        agreement_id,
        currency,
        but,
    )
    return found


async def note(
    db: Db,
    tenant_id: TenantId,
    transaction_id: TransactionId,
    agreement_id: int,
    kind: LimitKind,
    value: str,
    *,
    stopped: bool,
    again_before: datetime,
) -> tuple[bool, bool]:
    """Writes down that a limit did something to a session: (whether to do it now, whether it is the first time).

    Args:
        again_before: what was noted before then is done again.
    """
    row = await db.fetchrow(
        "INSERT INTO session_limit AS l (transaction_id, tenant_id, agreement_id, kind, value, stopped)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (transaction_id, kind) DO UPDATE SET noted_at = now()"
        " WHERE l.noted_at < $7 RETURNING xmax = 0 AS first",
        transaction_id,
        tenant_id,
        agreement_id,
        kind.value,
        value,
        stopped,
        again_before,
    )
    return row is not None, row is not None and row["first"]
