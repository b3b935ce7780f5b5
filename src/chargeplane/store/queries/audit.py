"""The audit log: who changed what by hand, written in the transaction that changes it."""

from __future__ import annotations

from typing import Any

import msgspec

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


async def audit(
    db: Db,
    tenant_id: TenantId,
    *,
    actor: str,
    action: str,
    kind: str,
    ident: str,
    reason: str | None = None,
    before: Any = None,
    after: Any = None,
) -> None:
    """Adds a line.

    Args:
        actor: who, as `Caller.actor` says.
        kind, ident: the object, in the words of the API.
        before, after: what changed; never a secret.
    """
    await db.execute(
        "INSERT INTO audit_log (tenant_id, actor, action, object_kind, object_id, reason, before, after)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8::text::jsonb)",
        tenant_id,
        actor,
        action,
        kind,
        ident,
        reason,
        None if before is None else msgspec.json.encode(before).decode(),
        None if after is None else msgspec.json.encode(after).decode(),
    )
