"""The audit log: who changed what by hand, written in the transaction that changes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time, like


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


class AuditEntry(Struct, frozen=True, kw_only=True):
    """A change, a login, or what somebody did by hand.

    Args:
        actor: `user:7 Anna`, `api-key:3 ci`, `driver:12`, `policy: ...`.
        object_kind, object_id: what it was done to, in the words of the API.
        before, after: what it was and is; null where that does not apply.
    """

    id: str
    at: datetime
    actor: str
    action: str
    object_kind: str
    object_id: str
    reason: str | None
    before: Any
    after: Any


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which entries. `at_from` is included, `at_to` not.

    Args:
        actor: who, with or without the name behind: `user:7`, `api-key:3`, `driver:12`.
    """

    actor: str | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    at_from: datetime | None = None
    at_to: datetime | None = None


AUDIT_SORTS: Final = Sorts("audit_log.id", at=by_time("audit_log.at"))


async def page(
    db: Db, tenant_id: TenantId, wanted: AuditFilter, limit: int, after: Position | None
) -> list[AuditEntry]:
    """Entries, newest first; at most `limit`."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    if wanted.actor is not None:
        # a number ends where a blank or nothing follows: user:7 is not user:70
        pattern = like(wanted.actor)[1:-1]
        where.add("(lower(actor) = lower(?) OR lower(actor) LIKE ?)", wanted.actor, f"{pattern} %")
    where.add_if("action = ?", wanted.action)
    where.add_if("object_kind = ?", wanted.object_kind)
    where.add_if("object_id = ?", wanted.object_id)
    where.add_if("at >= ?", wanted.at_from)
    where.add_if("at < ?", wanted.at_to)
    order = AUDIT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id, at, actor, action, object_kind, object_id, reason, before, after FROM audit_log"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [
        AuditEntry(
            **{
                **row,
                "id": str(row["id"]),
                "before": None if row["before"] is None else msgspec.Raw(row["before"]),
                "after": None if row["after"] is None else msgspec.Raw(row["after"]),
            }
        )
        for row in rows
    ]
