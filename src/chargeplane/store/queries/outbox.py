"""Facts of the outbox as the API shows them: what waits to be handed over, and what was given up."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where
from chargeplane.store.queries.payloads import as_json


class FactView(Struct, frozen=True, kw_only=True):
    """Something that followed from a change and has not been handed over yet.

    Args:
        topic: what it tells, as `transaction.ended`.
        key: facts of one key are handed over in their order.
        attempts: so far.
        next_at: when it is tried again, or by when an attempt under way ends; null where it is due.
        parked_at: when it was given up; null while it waits.
        error: of the last attempt.
    """

    id: str
    topic: str
    key: str
    payload: Any
    created_at: datetime
    attempts: int
    next_at: datetime | None
    parked_at: datetime | None
    error: str | None


_COLUMNS = "id, topic, key, payload, created_at, attempts, next_at, parked_at, error"


OUTBOX_SORTS: Final = Sorts("id", default="id")


async def page(db: Db, tenant_id: TenantId, parked: bool | None, limit: int, after: Position | None) -> list[FactView]:
    """A tenant's facts, oldest first.

    Args:
        parked: only those given up, or only those that wait.
        after: id of the last one seen.
    """
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    if parked is not None:
        where.add(f"parked_at IS {'NOT ' if parked else ''}NULL")
    order = OUTBOX_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM outbox WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> FactView | None:
    """The fact with our id."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM outbox WHERE tenant_id = $1 AND id = $2", tenant_id, ident)
    return None if row is None else _view(row)


async def retry(db: Db, tenant_id: TenantId, ident: int) -> bool:
    """Has a parked fact tried again, with all its attempts; False where there is none."""
    status: str = await db.execute(
        "UPDATE outbox SET parked_at = NULL, next_at = NULL, attempts = 0"
        " WHERE tenant_id = $1 AND id = $2 AND parked_at IS NOT NULL",
        tenant_id,
        ident,
    )
    return status.endswith(" 1")


async def discard(db: Db, tenant_id: TenantId, ident: int) -> bool:
    """Removes a parked fact; False where there is none."""
    status: str = await db.execute(
        "DELETE FROM outbox WHERE tenant_id = $1 AND id = $2 AND parked_at IS NOT NULL", tenant_id, ident
    )
    return status.endswith(" 1")


def _view(row: Any) -> FactView:
    return FactView(**{**row, "id": str(row["id"]), "payload": as_json(row["payload"])})
