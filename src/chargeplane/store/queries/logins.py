"""Who is signed in where, what mails carry, and attempts that failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from chargeplane.domain.people.mails import MailedPurpose
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class LoginView(Struct, frozen=True, kw_only=True):
    """A device or browser that is signed in.

    Args:
        kind: cookie or bearer.
        device: as it calls itself.
        address: from where it signed in.
        current: whether it is the one that asks.
    """

    id: str
    kind: str
    device: str | None
    address: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool = False


class StoredLogin(Struct, frozen=True, kw_only=True):
    """A login with whom it is of."""

    id: int
    tenant_id: TenantId
    driver_id: int | None
    user_id: int | None
    kind: str
    expires_at: datetime
    last_used_at: datetime
    oidc_provider_id: int | None


async def insert(
    db: Db,
    tenant_id: TenantId,
    token_hash: bytes,
    *,
    driver_id: int | None = None,
    user_id: int | None = None,
    kind: str,
    device: str | None,
    address: str | None,
    expires_at: datetime,
) -> int:
    """A new login; our id of it."""
    ident: int = await db.fetchval(
        "INSERT INTO login (token_hash, tenant_id, driver_id, user_id, kind, device, address, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        token_hash,
        tenant_id,
        driver_id,
        user_id,
        kind,
        device,
        address,
        expires_at,
    )
    return ident


async def by_hash(db: Db, token_hash: bytes) -> StoredLogin | None:
    """The login that a token stands for, unless it expired or was revoked."""
    row = await db.fetchrow(
        "SELECT id, tenant_id, driver_id, user_id, kind, expires_at, last_used_at, oidc_provider_id FROM login"
        " WHERE token_hash = $1 AND revoked_at IS NULL AND expires_at > now()",
        token_hash,
    )
    return None if row is None else StoredLogin(**row)


async def touch(db: Db, ident: int, expires_at: datetime) -> None:
    """Notes that a login is in use."""
    await db.execute("UPDATE login SET last_used_at = now(), expires_at = $2 WHERE id = $1", ident, expires_at)


async def page(
    db: Db,
    *,
    driver_id: int | None = None,
    user_id: int | None = None,
    current: int = 0,
    tenant_id: TenantId | None = None,
) -> list[LoginView]:
    """Where a person is signed in, newest first; the hundred newest.

    Args:
        tenant_id: to this tenant only.
    """
    rows = await db.fetch(
        "SELECT id, kind, device, address, created_at, last_used_at, expires_at FROM login"
        " WHERE (driver_id = $1 OR user_id = $2) AND revoked_at IS NULL AND expires_at > now()"
        " AND ($3::integer IS NULL OR tenant_id = $3) ORDER BY login.id DESC LIMIT 100",
        driver_id,
        user_id,
        tenant_id,
    )
    return [LoginView(**{**row, "id": str(row["id"]), "current": row["id"] == current}) for row in rows]


async def revoke(
    db: Db,
    ident: int,
    *,
    driver_id: int | None = None,
    user_id: int | None = None,
    tenant_id: TenantId | None = None,
) -> bool:
    """Ends one login of a person; whether there was one.

    Args:
        tenant_id: only where it is to this tenant.
    """
    status = await db.execute(
        "UPDATE login SET revoked_at = now() WHERE id = $1 AND (driver_id = $2 OR user_id = $3) AND revoked_at IS NULL"
        " AND expires_at > now() AND ($4::integer IS NULL OR tenant_id = $4)",
        ident,
        driver_id,
        user_id,
        tenant_id,
    )
    return status.endswith(" 1")


async def revoke_all(
    db: Db, *, driver_id: int | None = None, user_id: int | None = None, but: int = 0, tenant_id: TenantId | None = None
) -> None:
    """Ends all logins of a person.

    Args:
        but: this one stays.
        tenant_id: those in this tenant only.
    """
    await db.execute(
        "UPDATE login SET revoked_at = now() WHERE (driver_id = $1 OR user_id = $2) AND id <> $3 AND revoked_at IS NULL"
        " AND ($4::integer IS NULL OR tenant_id = $4)",
        driver_id,
        user_id,
        but,
        tenant_id,
    )


async def password_of(db: Db, driver_id: int) -> str | None:
    """The hash that is stored of a driver's password."""
    found: str | None = await db.fetchval("SELECT password_hash FROM driver WHERE id = $1", driver_id)
    return found


async def email_verified(db: Db, driver_id: int) -> None:
    """The driver read a mail sent to the address."""
    await db.execute(
        "UPDATE driver SET email_verified_at = now() WHERE id = $1 AND email_verified_at IS NULL", driver_id
    )


async def free_email(db: Db, driver_id: int) -> None:
    """Lets another account have the e-mail address of a closed one, which signs in no more."""
    await db.execute("UPDATE driver SET email_key = NULL, password_hash = NULL WHERE id = $1", driver_id)


# What mails carry


class MailedSecret(Struct, frozen=True, kw_only=True):
    """What a mail carried."""

    tenant_id: TenantId
    driver_id: int | None
    user_id: int | None
    email: str | None


async def keep_mailed(
    db: Db,
    tenant_id: TenantId,
    secret_hash: bytes,
    purpose: MailedPurpose,
    expires_at: datetime,
    *,
    driver_id: int | None = None,
    user_id: int | None = None,
    email: str | None = None,
) -> None:
    """A secret that goes out by mail; those of the same purpose that went before work no more."""
    await db.execute(
        "UPDATE mailed_secret SET used_at = now() WHERE purpose = $1 AND (driver_id = $2 OR user_id = $3) AND used_at IS NULL",
        purpose.value,
        driver_id,
        user_id,
    )
    await db.execute(
        "INSERT INTO mailed_secret (secret_hash, purpose, tenant_id, driver_id, user_id, email, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        secret_hash,
        purpose.value,
        tenant_id,
        driver_id,
        user_id,
        email,
        expires_at,
    )


async def use_mailed(db: Db, secret_hash: bytes, purposes: Sequence[MailedPurpose]) -> MailedSecret | None:
    """Uses a secret up; None where there is none, it is too old, or was used."""
    row = await db.fetchrow(
        "UPDATE mailed_secret SET used_at = now() WHERE secret_hash = $1 AND purpose = ANY($2) AND used_at IS NULL"
        " AND expires_at > now() RETURNING tenant_id, driver_id, user_id, email",
        secret_hash,
        [purpose.value for purpose in purposes],
    )
    return None if row is None else MailedSecret(**row)


class KnownSecret(Struct, frozen=True, kw_only=True):
    """A secret that went out, whatever became of it."""

    purpose: MailedPurpose
    tenant_id: TenantId
    driver_id: int | None
    user_id: int | None
    email: str | None
    expires_at: datetime
    used_at: datetime | None


async def mailed(db: Db, secret_hash: bytes) -> KnownSecret | None:
    """A secret that went out; None where it never did, or long ago."""
    row = await db.fetchrow(
        "SELECT purpose, tenant_id, driver_id, user_id, email, expires_at, used_at FROM mailed_secret WHERE secret_hash = $1",
        secret_hash,
    )
    return None if row is None else KnownSecret(**{**row, "purpose": MailedPurpose(row["purpose"])})


async def mailed_lately(
    db: Db, purpose: MailedPurpose, since: datetime, *, driver_id: int | None = None, user_id: int | None = None
) -> int:
    """How many mails of a purpose a person got since then."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM mailed_secret WHERE purpose = $1 AND (driver_id = $2 OR user_id = $3) AND created_at > $4",
        purpose.value,
        driver_id,
        user_id,
        since,
    )
    return count


async def forget_mailed(db: Db, *, driver_id: int | None = None, user_id: int | None = None) -> None:
    """What was mailed to a person works no more."""
    await db.execute(
        "UPDATE mailed_secret SET used_at = now() WHERE (driver_id = $1 OR user_id = $2) AND used_at IS NULL",
        driver_id,
        user_id,
    )


# Attempts that failed


class Failures(Struct, frozen=True, kw_only=True):
    """How often a subject failed."""

    failures: int
    last_at: datetime
    locked_until: datetime | None


async def failures_of(db: Db, subjects: Sequence[bytes]) -> dict[bytes, Failures]:
    """The failures of some subjects, by hash, locked until the transaction ends: of attempts at once each sees those before it."""
    ordered = sorted(subjects)  # one order for all: no two wait for each other
    await db.execute(
        "INSERT INTO login_failure (subject_hash, failures, last_at) SELECT s, 0, now() FROM unnest($1::bytea[]) s ORDER BY s"
        " ON CONFLICT DO NOTHING",
        ordered,
    )
    rows = await db.fetch(
        "SELECT subject_hash, failures, last_at, locked_until FROM login_failure WHERE subject_hash = ANY($1)"
        " ORDER BY subject_hash FOR UPDATE",
        ordered,
    )
    return {
        row["subject_hash"]: Failures(
            failures=row["failures"], last_at=row["last_at"], locked_until=row["locked_until"]
        )
        for row in rows
    }


async def failed(db: Db, subject: bytes, now: datetime, forgotten: datetime) -> int:
    """Counts a failure; how many there are now.

    Args:
        forgotten: what failed before counts no more.
    """
    count: int = await db.fetchval(
        "INSERT INTO login_failure (subject_hash, failures, last_at) VALUES ($1, 1, $2) ON CONFLICT (subject_hash) DO UPDATE"
        " SET failures = CASE WHEN login_failure.last_at < $3 THEN 1 ELSE login_failure.failures + 1 END, last_at = $2"
        " RETURNING failures",
        subject,
        now,
        forgotten,
    )
    return count


async def locked_until(db: Db, subject: bytes) -> datetime | None:
    """Until when no attempt of a subject is looked at; None where it never failed so often."""
    found: datetime | None = await db.fetchval(
        "SELECT locked_until FROM login_failure WHERE subject_hash = $1", subject
    )
    return found


async def lock(db: Db, subject: bytes, until: datetime) -> None:
    """No attempt of a subject is looked at until then."""
    await db.execute("UPDATE login_failure SET locked_until = $2 WHERE subject_hash = $1", subject, until)


async def forgive(db: Db, subject: bytes) -> None:
    """Forgets the failures of a subject."""
    await db.execute("DELETE FROM login_failure WHERE subject_hash = $1", subject)


async def take_back(db: Db, subject: bytes) -> None:
    """One failure less."""
    await db.execute(
        "UPDATE login_failure SET failures = greatest(failures - 1, 0), locked_until = NULL WHERE subject_hash = $1",
        subject,
    )


async def sweep(db: Db, before: datetime) -> None:
    """Removes what is over since then: failures, logins, secrets of mails."""
    await db.execute("DELETE FROM login_failure WHERE last_at < $1 AND coalesce(locked_until, $1) <= $1", before)
    await db.execute("DELETE FROM login WHERE expires_at < $1 OR revoked_at < $1", before)
    await db.execute("DELETE FROM mailed_secret WHERE expires_at < $1", before)
