"""Saved ways of paying: what a provider calls a payer's card, never the card."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time


class PaymentMethodView(Struct, frozen=True, kw_only=True):
    """A saved way of paying.

    Args:
        owner: a driver's id, or an agreement's number.
        provider: by its name among the tenant's payment providers.
        label: for people; never a card number.
        is_default: sessions are paid by it.
    """

    id: str
    owner: str
    provider: str
    label: str | None
    is_default: bool
    created_at: datetime


class SavedMethod(Struct, frozen=True, kw_only=True):
    """What is needed to pay by one.

    Args:
        ref: the provider's id of it.
    """

    provider: str
    ref: str


_COLUMNS = "id::text AS id, owner, provider, label, is_default, created_at"


PAYMENT_METHOD_SORTS: Final = Sorts("m.id", owner=by_text("m.owner"), created_at=by_time("m.created_at"))


async def page(
    db: Db, tenant_id: TenantId, owner: str | None, limit: int, after: Position | None
) -> list[PaymentMethodView]:
    """Saved ways of paying, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("owner = ?", owner)
    order = PAYMENT_METHOD_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM payment_method m WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [PaymentMethodView(**row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int, owner: str | None = None) -> PaymentMethodView | None:
    """One by our id; only the owner's where one is given."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM payment_method WHERE tenant_id = $1 AND id = $2 AND ($3::text IS NULL OR owner = $3)",
        tenant_id,
        ident,
        owner,
    )
    return None if row is None else PaymentMethodView(**row)


async def insert(
    db: Db, tenant_id: TenantId, owner: str, provider: str, ref: str, label: str | None, payment_id: int
) -> None:
    """Keeps one, once; the newest is the default."""
    made = await db.fetchval(
        "INSERT INTO payment_method (tenant_id, owner, provider, ref, label, payment_id) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT DO NOTHING RETURNING id",
        tenant_id,
        owner,
        provider,
        ref,
        label,
        payment_id,
    )
    if made is not None:
        await make_default(db, tenant_id, owner, made)


async def make_default(db: Db, tenant_id: TenantId, owner: str, ident: int) -> None:
    """Makes one the owner's default."""
    await db.execute(
        "UPDATE payment_method SET is_default = false WHERE tenant_id = $1 AND owner = $2 AND is_default AND id <> $3",
        tenant_id,
        owner,
        ident,
    )
    await db.execute("UPDATE payment_method SET is_default = true WHERE id = $1", ident)


async def delete(db: Db, tenant_id: TenantId, owner: str, ident: int) -> None:
    """Forgets one; where it was the default, the newest of the others is."""
    await db.execute("DELETE FROM payment_method WHERE tenant_id = $1 AND id = $2", tenant_id, ident)
    left = await db.fetchval(
        "SELECT id FROM payment_method WHERE tenant_id = $1 AND owner = $2 ORDER BY is_default DESC, id DESC LIMIT 1",
        tenant_id,
        owner,
    )
    if left is not None:
        await make_default(db, tenant_id, owner, left)


async def of_owners(db: Db, tenant_id: TenantId, owners: Sequence[str]) -> SavedMethod | None:
    """By what is paid: the default of the first owner who has one, with a provider that is enabled."""
    row = await db.fetchrow(
        "SELECT m.provider, m.ref FROM payment_method m JOIN payment_provider p ON p.tenant_id = m.tenant_id"
        " AND p.name = m.provider AND p.enabled WHERE m.tenant_id = $1 AND m.is_default AND m.owner = ANY($2)"
        " ORDER BY array_position($2::text[], m.owner) LIMIT 1",
        tenant_id,
        list(owners),
    )
    return None if row is None else SavedMethod(**row)
