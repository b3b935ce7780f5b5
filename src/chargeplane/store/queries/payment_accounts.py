"""Accounts of the house: wallets and credit; and what the providers of the house know of a payment.

Every movement has a key and happens once. A movement that would take more than there is changes nothing: the condition is part of the
update, whose row lock orders those who come at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_amount, by_text, by_time

NOTHING: Final = Decimal(0)


class AccountView(Struct, frozen=True, kw_only=True):
    """A wallet (prepaid) or a credit account (paid later by invoice).

    Args:
        kind: wallet or credit.
        owner: a driver's id, an agreement's number, or what the operator calls it.
        balance: of a credit account below zero: what is owed.
        held: reserved for sessions under way.
        credit_limit: how far below zero the balance may go; zero for a wallet.
        available: what may still be held.
        revision: rises with every change of what an operator sets; the ETag.
    """

    id: str
    kind: str
    owner: str
    balance: MoneyView
    held: MoneyView
    credit_limit: MoneyView
    available: MoneyView
    revision: int
    created_at: datetime
    updated_at: datetime


class EntryView(Struct, frozen=True, kw_only=True):
    """A movement of an account.

    Args:
        kind: hold, release, capture, refund, top_up, top_up_refund, paid, correction.
        balance, held: what changed.
        balance_after: the balance then.
    """

    id: str
    kind: str
    balance: MoneyView
    held: MoneyView
    balance_after: MoneyView
    payment_id: str | None
    by: str
    reason: str | None
    created_at: datetime


class HousePayment(Struct, frozen=True, kw_only=True):
    """What a provider of the house knows of a payment."""

    ref: str
    tenant_id: TenantId
    account_id: int | None
    hold: Decimal
    authorized: Decimal
    captured: Decimal
    refunded: Decimal
    refunds: list[str]
    ended: str | None
    expires_at: datetime | None


_ACCOUNT: Final = (
    "id, kind, owner, currency, balance, held, credit_limit, revision, created_at, updated_at FROM payment_account"
)
_HOUSE: Final = "SELECT ref, tenant_id, account_id, hold, authorized, captured, refunded, refunds, ended, expires_at FROM house_payment"


async def wallet_of(db: Db, tenant_id: TenantId, owners: Sequence[str], currency: str) -> tuple[str | None, int | None]:
    """(the provider by which wallets pay, the wallet of the first owner who has one); None where there is none."""
    provider: str | None = await db.fetchval(
        "SELECT name FROM payment_provider WHERE tenant_id = $1 AND kind = 'wallet' AND enabled ORDER BY name LIMIT 1",
        tenant_id,
    )
    account: int | None = await db.fetchval(
        "SELECT id FROM payment_account WHERE tenant_id = $1 AND kind = 'wallet' AND currency = $3 AND owner = ANY($2)"
        " ORDER BY array_position($2::text[], owner) LIMIT 1",
        tenant_id,
        list(owners),
        currency,
    )
    return provider, account


async def create(
    db: Db, tenant_id: TenantId, kind: str, owner: str, currency: str, credit_limit: Decimal
) -> AccountView | None:
    """A new account; None where the owner has one of this kind and currency."""
    row = await db.fetchrow(
        "INSERT INTO payment_account (tenant_id, kind, owner, currency, credit_limit) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT DO NOTHING RETURNING id, kind, owner, currency, balance, held, credit_limit, revision, created_at,"
        " updated_at",
        tenant_id,
        kind,
        owner,
        currency,
        credit_limit,
    )
    return None if row is None else _view(row)


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> AccountView | None:
    """An account by our id."""
    row = await db.fetchrow(
        f"SELECT {_ACCOUNT} WHERE tenant_id = $1 AND id = $2{' FOR UPDATE' if lock else ''}", tenant_id, ident
    )
    return None if row is None else _view(row)


async def of_owner(db: Db, tenant_id: TenantId, kind: str, owner: str, currency: str) -> AccountView | None:
    """The owner's account of a kind and currency."""
    row = await db.fetchrow(
        f"SELECT {_ACCOUNT} WHERE tenant_id = $1 AND kind = $2 AND owner = $3 AND currency = $4",
        tenant_id,
        kind,
        owner,
        currency,
    )
    return None if row is None else _view(row)


ACCOUNT_SORTS: Final = Sorts(
    "id", owner=by_text("owner"), balance=by_amount("balance", "balance"), created_at=by_time("created_at")
)


async def page(
    db: Db, tenant_id: TenantId, kind: str, owner: str | None, limit: int, after: Position | None
) -> list[AccountView]:
    """Accounts, newest first."""
    where = Where()
    where.add("tenant_id = ? AND kind = ?", tenant_id, kind)
    where.add_if("owner = ?", owner)
    order = ACCOUNT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"SELECT {_ACCOUNT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def set_limit(db: Db, ident: int, credit_limit: Decimal) -> AccountView:
    """Sets how far a credit account may go below zero; what is owed beyond it already stays owed."""
    row = await db.fetchrow(
        "UPDATE payment_account SET credit_limit = $2, revision = revision + 1, updated_at = now() WHERE id = $1 RETURNING"
        " id, kind, owner, currency, balance, held, credit_limit, revision, created_at, updated_at",
        ident,
        credit_limit,
    )
    assert row is not None
    return _view(row)


MOVEMENT_SORTS: Final = Sorts("id", balance=by_amount("balance", "balance"), created_at=by_time("created_at"))


async def entries(
    db: Db, ident: int, currency: str, kind: str | None, limit: int, after: Position | None
) -> list[EntryView]:
    """Movements of an account, newest first."""
    where = Where()
    where.add("account_id = ?", ident)
    where.add_if("kind = ?", kind)
    order = MOVEMENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id, kind, balance, held, balance_after, payment_id, by, reason, created_at FROM payment_account_entry"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [
        EntryView(
            id=str(row["id"]),
            kind=row["kind"],
            balance=Money(amount=row["balance"], currency=currency).view(),
            held=Money(amount=row["held"], currency=currency).view(),
            balance_after=Money(amount=row["balance_after"], currency=currency).view(),
            payment_id=None if row["payment_id"] is None else str(row["payment_id"]),
            by=row["by"],
            reason=row["reason"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


async def move(
    db: Db,
    tenant_id: TenantId,
    account_id: int,
    *,
    key: str,
    kind: str,
    balance: Decimal = NOTHING,
    held: Decimal = NOTHING,
    payment_id: int | None = None,
    by: str,
    reason: str | None = None,
) -> bool:
    """Moves money within the caller's change; a key that was used moves nothing.

    Args:
        balance, held: what is added.
    Returns:
        False where there is not enough; then nothing was moved.
    """
    # The row lock comes first: who repeats a key waits for the one who used it.
    await db.execute("SELECT FROM payment_account WHERE id = $1 FOR UPDATE", account_id)
    if await db.fetchval("SELECT true FROM payment_account_entry WHERE key = $1", key):
        return True
    after = await db.fetchval(
        "UPDATE payment_account SET balance = balance + $3, held = held + $4, updated_at = now()"
        " WHERE id = $1 AND tenant_id = $2 AND held + $4 >= 0"
        # What frees or brings money is never refused; a captured hold leaves what is available as it is.
        " AND ($3 - $4 >= 0 OR balance + $3 - held - $4 >= -credit_limit) RETURNING balance",
        account_id,
        tenant_id,
        balance,
        held,
    )
    if after is None:
        return False
    await db.execute(
        "INSERT INTO payment_account_entry (account_id, tenant_id, key, kind, balance, held, balance_after, payment_id, by,"
        " reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        account_id,
        tenant_id,
        key,
        kind,
        balance,
        held,
        after,
        payment_id,
        by,
        reason,
    )
    return True


# -- payments by the house ---------------------------------------------------------------------------------------------


async def house_payment(
    db: Db,
    tenant_id: TenantId,
    ref: str,
    account_id: int | None,
    hold: Decimal,
    authorized: Decimal,
    expires_at: datetime | None,
) -> HousePayment:
    """A payment by the house; the one that is there where the reference is known."""
    await db.execute(
        "INSERT INTO house_payment (ref, tenant_id, account_id, hold, authorized, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT DO NOTHING",
        ref,
        tenant_id,
        account_id,
        hold,
        authorized,
        expires_at,
    )
    found = await locked(db, tenant_id, ref)
    assert found is not None
    return found


async def locked(db: Db, tenant_id: TenantId, ref: str) -> HousePayment | None:
    """A payment by the house, locked until the transaction ends."""
    return _house(await db.fetchrow(f"{_HOUSE} WHERE tenant_id = $1 AND ref = $2 FOR UPDATE", tenant_id, ref))


async def looked_up(db: Db, tenant_id: TenantId, ref: str) -> HousePayment | None:
    """A payment by the house."""
    return _house(await db.fetchrow(f"{_HOUSE} WHERE tenant_id = $1 AND ref = $2", tenant_id, ref))


async def change(db: Db, ref: str, **columns: Any) -> None:
    """Writes columns of a payment by the house."""
    changes = ", ".join(f"{name} = ${place}" for place, name in enumerate(columns, 2))
    await db.execute(f"UPDATE house_payment SET {changes} WHERE ref = $1", ref, *columns.values())


def _house(row: Any) -> HousePayment | None:
    return None if row is None else HousePayment(**row)


def _view(row: Any) -> AccountView:
    currency = row["currency"]

    def money(amount: Decimal) -> MoneyView:
        return Money(amount=amount, currency=currency).view()

    return AccountView(
        id=str(row["id"]),
        kind=row["kind"],
        owner=row["owner"],
        balance=money(row["balance"]),
        held=money(row["held"]),
        credit_limit=money(row["credit_limit"]),
        available=money(max(NOTHING, row["balance"] - row["held"] + row["credit_limit"])),
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
