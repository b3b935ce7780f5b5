"""Providers of identities, sign-ons that went to one and have not come back, and who one is there."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.people.roles import Role
from chargeplane.domain.people.sign_on import ProviderContent, RoleRule, content_of, content_text
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time


class SignOnProviderView(Struct, frozen=True, kw_only=True):
    """A provider of identities, as its tenant sees it.

    Args:
        slug: in the addresses of sign-on.
        has_client_secret: the secret itself is never told.
    """

    id: str
    slug: str
    issuer: str
    client_id: str
    has_client_secret: bool
    enabled: bool
    title: str
    scopes: tuple[str, ...]
    role_claim: str | None
    roles: tuple[RoleRule, ...]
    default_role: Role | None
    create_users: bool
    clock_skew_s: int
    max_age_s: int | None
    revision: int
    created_at: datetime
    updated_at: datetime


class Provider(Struct, frozen=True, kw_only=True):
    """A provider with what asking it needs.

    Args:
        client_secret: encrypted; None for a public client.
    """

    id: int
    tenant_id: TenantId
    slug: str
    issuer: str
    client_id: str
    client_secret: bytes | None
    enabled: bool
    content: ProviderContent
    revision: int
    created_at: datetime
    updated_at: datetime

    def view(self) -> SignOnProviderView:
        """As its tenant sees it."""
        said = {name: getattr(self.content, name) for name in ProviderContent.__struct_fields__}
        return SignOnProviderView(
            id=str(self.id),
            slug=self.slug,
            issuer=self.issuer,
            client_id=self.client_id,
            has_client_secret=self.client_secret is not None,
            enabled=self.enabled,
            revision=self.revision,
            created_at=self.created_at,
            updated_at=self.updated_at,
            **said,
        )


class Attempt(Struct, frozen=True, kw_only=True):
    """A sign-on that went to a provider.

    Args:
        verifier: encrypted: of PKCE (RFC 7636).
        browser_hash: of the cookie of the browser that began it.
    """

    provider_id: int
    nonce: str
    verifier: bytes
    browser_hash: bytes
    redirect_uri: str
    return_to: str
    expires_at: datetime


_COLUMNS = "id, tenant_id, slug, issuer, client_id, client_secret, enabled, body, revision, created_at, updated_at"
_ATTEMPT = "provider_id, nonce, verifier, browser_hash, redirect_uri, return_to, expires_at"


PROVIDER_SORTS: Final = Sorts("id", slug=by_text("slug"), created_at=by_time("created_at"))


async def page(db: Db, tenant_id: TenantId, limit: int, after: Position | None) -> list[Provider]:
    """A tenant's providers, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    order = PROVIDER_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM oidc_provider WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_provider(row) for row in rows]


async def enabled_of(db: Db, tenant_slug: str) -> list[Provider]:
    """The providers by which one may sign on to a tenant, in the order of their names."""
    rows = await db.fetch(
        f"SELECT {_prefixed()} FROM oidc_provider p JOIN tenant t ON t.id = p.tenant_id WHERE t.slug = $1 AND p.enabled"
        " ORDER BY p.slug LIMIT 100",
        tenant_slug,
    )
    return [_provider(row) for row in rows]


async def by_slug(db: Db, tenant_slug: str, slug: str) -> Provider | None:
    """An enabled provider by its name in addresses."""
    row = await db.fetchrow(
        f"SELECT {_prefixed()} FROM oidc_provider p JOIN tenant t ON t.id = p.tenant_id WHERE t.slug = $1 AND p.slug = $2"
        " AND p.enabled",
        tenant_slug,
        slug,
    )
    return None if row is None else _provider(row)


async def by_id(db: Db, ident: int) -> Provider | None:
    """A provider by our id, of whatever tenant."""
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM oidc_provider WHERE id = $1", ident)
    return None if row is None else _provider(row)


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> Provider | None:
    """A provider of a tenant.

    Args:
        lock: until the transaction ends.
    """
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM oidc_provider WHERE tenant_id = $1 AND id = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else _provider(row)


async def insert(
    db: Db,
    tenant_id: TenantId,
    *,
    slug: str,
    issuer: str,
    client_id: str,
    enabled: bool,
    content: ProviderContent,
) -> int:
    """A new provider without a secret; our id.

    Raises:
        asyncpg.UniqueViolationError: the tenant has one with this slug.
    """
    ident: int = await db.fetchval(
        "INSERT INTO oidc_provider (tenant_id, slug, issuer, client_id, enabled, body) VALUES ($1, $2, $3, $4, $5, $6)"
        " RETURNING id",
        tenant_id,
        slug,
        issuer,
        client_id,
        enabled,
        content_text(content),
    )
    return ident


async def update(
    db: Db, ident: int, *, slug: str, issuer: str, client_id: str, enabled: bool, content: ProviderContent
) -> None:
    """Describes a provider anew."""
    await db.execute(
        "UPDATE oidc_provider SET slug = $2, issuer = $3, client_id = $4, enabled = $5, body = $6, revision = revision + 1,"
        " updated_at = now() WHERE id = $1",
        ident,
        slug,
        issuer,
        client_id,
        enabled,
        content_text(content),
    )


async def set_secret(db: Db, ident: int, sealed: bytes | None) -> None:
    """The secret by which we prove ourselves to a provider, encrypted."""
    await db.execute("UPDATE oidc_provider SET client_secret = $2 WHERE id = $1", ident, sealed)


async def delete(db: Db, ident: int) -> None:
    """Removes a provider; who came in by it is signed out."""
    await db.execute("DELETE FROM oidc_provider WHERE id = $1", ident)


async def sign_out(db: Db, ident: int) -> None:
    """Ends all logins by a provider, and what went to it and has not come back."""
    await db.execute(
        "UPDATE login SET revoked_at = now() WHERE oidc_provider_id = $1 AND revoked_at IS NULL AND expires_at > now()",
        ident,
    )
    await db.execute("DELETE FROM oidc_attempt WHERE provider_id = $1", ident)


# Attempts


async def keep_attempt(db: Db, state_hash: bytes, attempt: Attempt) -> None:
    """Notes a sign-on that goes to its provider; forgets those that are over."""
    await db.execute("DELETE FROM oidc_attempt WHERE expires_at < now()")
    await db.execute(
        f"INSERT INTO oidc_attempt (state_hash, {_ATTEMPT}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        state_hash,
        *(getattr(attempt, name) for name in Attempt.__struct_fields__),
    )


async def take_attempt(db: Db, state_hash: bytes) -> Attempt | None:
    """A sign-on that comes back: it comes once. None where none of ours went, or too long ago."""
    row = await db.fetchrow(
        f"DELETE FROM oidc_attempt WHERE state_hash = $1 RETURNING {_ATTEMPT}, expires_at > now() AS in_time",
        state_hash,
    )
    if row is None or not row["in_time"]:
        return None
    return Attempt(**{name: row[name] for name in Attempt.__struct_fields__})


# Identities


async def user_of(db: Db, issuer: str, subject: str) -> int | None:
    """Our id of the user whom a provider knows by a subject."""
    found: int | None = await db.fetchval(
        "SELECT user_id FROM user_identity WHERE issuer = $1 AND subject = $2", issuer, subject
    )
    return found


async def link(db: Db, issuer: str, subject: str, user_id: int) -> None:
    """Says who a provider's subject is here."""
    await db.execute(
        "INSERT INTO user_identity (issuer, subject, user_id) VALUES ($1, $2, $3)", issuer, subject, user_id
    )


async def bind_login(db: Db, login_id: int, provider_id: int, id_token: bytes | None, sid: str | None) -> None:
    """Notes by which provider a login was.

    Args:
        sid: the provider's name of its own session, where it tells it.
    """
    await db.execute(
        "UPDATE login SET oidc_provider_id = $2, oidc_id_token = $3, oidc_sid = $4 WHERE id = $1",
        login_id,
        provider_id,
        id_token,
        sid,
    )


async def end_logins(
    db: Db, provider: Provider, subject: str | None, sid: str | None, before: datetime
) -> list[tuple[int, int]]:
    """Ends the logins by a provider of a subject, of a session there, or of both; (login, user) of each.

    Args:
        subject, sid: at least one of them.
        before: without a session, logins since then stay: who says it again later does not mean them.
    """
    rows = await db.fetch(
        "UPDATE login SET revoked_at = now() WHERE oidc_provider_id = $1 AND revoked_at IS NULL AND user_id IS NOT NULL"
        " AND ($2::text IS NULL OR oidc_sid = $2)"
        " AND ($3::text IS NULL OR user_id = (SELECT user_id FROM user_identity WHERE issuer = $4 AND subject = $3))"
        " AND num_nonnulls($2::text, $3::text) > 0 AND ($2::text IS NOT NULL OR created_at < $5) RETURNING id, user_id",
        provider.id,
        sid,
        subject,
        provider.issuer,
        before,
    )
    return [(row["id"], row["user_id"]) for row in rows]


async def provider_of_login(db: Db, login_id: int) -> tuple[int, bytes | None] | None:
    """By which provider a login was, with the ID token as kept; None where by none."""
    row = await db.fetchrow(
        "SELECT oidc_provider_id, oidc_id_token FROM login WHERE id = $1 AND oidc_provider_id IS NOT NULL", login_id
    )
    return None if row is None else (row["oidc_provider_id"], row["oidc_id_token"])


def _prefixed() -> str:
    return ", ".join(f"p.{name}" for name in _COLUMNS.split(", "))


def _provider(row: Any) -> Provider:
    said = dict(row)
    return Provider(content=content_of(said.pop("body")), **said)
