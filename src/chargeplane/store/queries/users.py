"""Users, their roles in tenants, and by what they sign in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.people.drivers import email_key
from chargeplane.domain.people.roles import Role
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time, like


class UserView(Struct, frozen=True, kw_only=True):
    """A user, as a tenant sees one.

    Args:
        id: ours.
        role: in this tenant.
        has_password: whether the user can sign in by one; false until an invitation was taken.
        second_factor: whether a one-time code is asked for too.
    """

    id: str
    email: str
    name: str
    language: str | None
    role: Role
    has_password: bool
    second_factor: bool
    revision: int
    created_at: datetime
    updated_at: datetime


class Membership(Struct, frozen=True, kw_only=True):
    """A user's role in a tenant."""

    tenant: str
    tenant_name: str
    role: Role


class StoredUser(Struct, frozen=True, kw_only=True):
    """A user with what signing in needs."""

    id: int
    email: str
    name: str
    language: str | None
    password_hash: str | None
    totp_secret: bytes | None
    totp_since: datetime | None
    totp_last_step: int


_COLUMNS = (
    "u.id::text AS id, u.email, u.name, u.language, r.role, u.password_hash IS NOT NULL AS has_password,"
    " u.totp_since IS NOT NULL AS second_factor, u.revision, u.created_at, u.updated_at"
)
_FROM = "user_account u JOIN user_role r ON r.user_id = u.id"
_STORED = "id, email, name, language, password_hash, totp_secret, totp_since, totp_last_step"


def _view(row: Any) -> UserView:
    return UserView(**{**row, "role": Role(row["role"])})


USER_SORTS: Final = Sorts("u.id", name=by_text("u.name"), created_at=by_time("u.created_at"))


async def page(
    db: Db, tenant_id: TenantId, q: str | None, role: str | None, limit: int, after: Position | None
) -> list[UserView]:
    """Users of a tenant, newest first; at most `limit`."""
    where = Where()
    where.add("r.tenant_id = ?", tenant_id)
    where.add_if("r.role = ?", role)
    if q is not None:
        where.add("(lower(u.name) LIKE ? OR u.email_key LIKE ?)", like(q), like(q))
    order = USER_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> UserView | None:
    """A user of a tenant.

    Args:
        lock: until the transaction ends.
    """
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE r.tenant_id = $1 AND u.id = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else _view(row)


async def by_email(db: Db, email: str, *, lock: bool = False) -> StoredUser | None:
    """The user with this e-mail address, in whatever tenants."""
    row = await db.fetchrow(
        f"SELECT {_STORED} FROM user_account WHERE email_key = $1 AND disabled_at IS NULL{' FOR UPDATE' if lock else ''}",
        email_key(email),
    )
    return None if row is None else StoredUser(**row)


async def stored(db: Db, ident: int, *, lock: bool = False) -> StoredUser | None:
    """The user with our id, in whatever tenants."""
    row = await db.fetchrow(
        f"SELECT {_STORED} FROM user_account WHERE id = $1 AND disabled_at IS NULL{' FOR UPDATE' if lock else ''}",
        ident,
    )
    return None if row is None else StoredUser(**row)


async def insert(db: Db, email: str, name: str, language: str | None, password_hash: str | None) -> int:
    """A new user without a role; our id.

    Raises:
        asyncpg.UniqueViolationError: there is one with this e-mail address.
    """
    ident: int = await db.fetchval(
        "INSERT INTO user_account (email, email_key, name, language, password_hash) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        email,
        email_key(email),
        name,
        language,
        password_hash,
    )
    return ident


async def describe(db: Db, ident: int, name: str, language: str | None) -> None:
    """What a user is called."""
    await db.execute(
        "UPDATE user_account SET name = $2, language = $3, revision = revision + 1, updated_at = now() WHERE id = $1",
        ident,
        name,
        language,
    )


async def set_role(db: Db, ident: int, tenant_id: TenantId, role: Role) -> None:
    """Gives a user a role in a tenant."""
    await db.execute(
        "INSERT INTO user_role (user_id, tenant_id, role) VALUES ($1, $2, $3)"
        " ON CONFLICT (user_id, tenant_id) DO UPDATE SET role = $3",
        ident,
        tenant_id,
        role.value,
    )
    await db.execute("UPDATE user_account SET revision = revision + 1, updated_at = now() WHERE id = $1", ident)


async def take_role(db: Db, ident: int, tenant_id: TenantId) -> None:
    """Takes a user's role in a tenant; who has none anywhere any more is removed."""
    await db.execute("DELETE FROM user_role WHERE user_id = $1 AND tenant_id = $2", ident, tenant_id)
    await db.execute(
        "DELETE FROM user_account WHERE id = $1 AND NOT EXISTS (SELECT FROM user_role WHERE user_id = $1)", ident
    )


async def owners(db: Db, tenant_id: TenantId) -> list[int]:
    """Our ids of a tenant's owners, locked."""
    rows = await db.fetch(
        "SELECT user_id FROM user_role WHERE tenant_id = $1 AND role = 'owner' ORDER BY user_id FOR UPDATE", tenant_id
    )
    return [row["user_id"] for row in rows]


async def role_in(db: Db, ident: int, tenant_id: TenantId) -> tuple[str, str] | None:
    """A user's name and role in a tenant; None where the user has none, or is not let in any more."""
    row = await db.fetchrow(
        f"SELECT u.name, r.role FROM {_FROM} WHERE u.id = $1 AND r.tenant_id = $2 AND u.disabled_at IS NULL",
        ident,
        tenant_id,
    )
    return None if row is None else (row["name"], row["role"])


async def memberships(db: Db, ident: int) -> list[Membership]:
    """A user's roles, by the slugs of the tenants."""
    rows = await db.fetch(
        "SELECT t.slug AS tenant, t.name AS tenant_name, r.role FROM user_role r JOIN tenant t ON t.id = r.tenant_id"
        " WHERE r.user_id = $1 ORDER BY t.slug",
        ident,
    )
    return [Membership(tenant=row["tenant"], tenant_name=row["tenant_name"], role=Role(row["role"])) for row in rows]


async def set_password(db: Db, ident: int, password_hash: str | None) -> None:
    """What a user signs in by."""
    await db.execute(
        "UPDATE user_account SET password_hash = $2, updated_at = now() WHERE id = $1", ident, password_hash
    )


async def set_totp(db: Db, ident: int, secret: bytes | None, since: datetime | None) -> None:
    """The secret of a user's one-time codes, encrypted; None takes it away."""
    await db.execute(
        "UPDATE user_account SET totp_secret = $2, totp_since = $3, totp_last_step = 0, updated_at = now() WHERE id = $1",
        ident,
        secret,
        since,
    )


async def use_totp_step(db: Db, ident: int, step: int) -> bool:
    """Uses a one-time code up; whether it, or a later one, was not used before."""
    status = await db.execute(
        "UPDATE user_account SET totp_last_step = $2 WHERE id = $1 AND totp_last_step < $2", ident, step
    )
    return status.endswith(" 1")


async def set_recovery_codes(db: Db, ident: int, hashes: Sequence[bytes]) -> None:
    """The recovery codes of a user, in place of those there were."""
    await db.execute("DELETE FROM recovery_code WHERE user_id = $1", ident)
    await db.executemany(
        "INSERT INTO recovery_code (user_id, code_hash) VALUES ($1, $2)", [(ident, one) for one in hashes]
    )


async def use_recovery_code(db: Db, ident: int, code_hash: bytes) -> bool:
    """Uses a recovery code up; whether there was one."""
    status = await db.execute(
        "UPDATE recovery_code SET used_at = now() WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL",
        ident,
        code_hash,
    )
    return status.endswith(" 1")
