"""What partners are to be told."""

from __future__ import annotations

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


async def note(
    db: Db,
    tenant_id: TenantId,
    module: str,
    key: str,
    connections: list[int] | None,
    hint: str | None,
    correlation_id: str | None,
    delay_s: float,
) -> None:
    """Writes a row for each partner, or makes the row there is due again."""
    await db.execute(
        "INSERT INTO roaming_outgoing AS o (tenant_id, connection_id, module, key, hint, correlation_id, next_at)"
        " SELECT c.tenant_id, c.id, $2, $3, $5, $6, now() + make_interval(secs => $7) FROM roaming_connection c"
        " WHERE c.tenant_id = $1 AND c.state IN ('registered', 'suspended') AND ($4::bigint[] IS NULL OR c.id = ANY ($4))"
        " ORDER BY c.id"
        " ON CONFLICT (connection_id, module, key) DO UPDATE SET ticks = o.ticks + 1,"
        " hint = CASE WHEN o.hint = excluded.hint THEN o.hint END, correlation_id = excluded.correlation_id, attempts = 0,"
        " parked_at = NULL, error = NULL, noted_at = clock_timestamp(),"
        " next_at = CASE WHEN o.attempts = 0 THEN least(o.next_at, excluded.next_at) ELSE excluded.next_at END",
        tenant_id,
        module,
        key,
        connections,
        hint,
        correlation_id,
        delay_s,
    )
