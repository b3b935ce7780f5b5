"""Providers of identities as an owner administers them: who may sign a tenant's users on, and what role they get by it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import asyncpg
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.people.users import may_give
from chargeplane.domain.people.roles import Role
from chargeplane.domain.people.sign_on import ClaimPath, ProviderContent, RoleRule, Scope, faults_of
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import sign_on as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.sign_on import Provider, SignOnProviderView
from chargeplane.store.secrets import InstallationKeys

MOST_PROVIDERS: Final = 200
"""Of one tenant."""

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class ProviderChanges(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new provider has, or a change changes; UNSET stays as it is.

    Args:
        slug: in the addresses of sign-on.
        issuer: the provider's own address, exactly as its discovery document says it.
        client_secret: null for a public client, which PKCE alone proves.
    """

    slug: Annotated[str, Meta(min_length=1, max_length=63)] | UnsetType = UNSET
    issuer: Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType = UNSET
    client_id: Annotated[str, Meta(min_length=1, max_length=255, pattern="^[!-~]+$")] | UnsetType = UNSET
    client_secret: Annotated[str, Meta(min_length=1, max_length=2000)] | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    title: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[^\\x00-\\x1f\\x7f]+$")] | UnsetType = UNSET
    scopes: Annotated[tuple[Scope, ...], Meta(max_length=20)] | UnsetType = UNSET
    role_claim: ClaimPath | UnsetType | None = UNSET
    roles: Annotated[tuple[RoleRule, ...], Meta(max_length=100)] | UnsetType = UNSET
    default_role: Role | UnsetType | None = UNSET
    create_users: bool | UnsetType = UNSET
    clock_skew_s: Annotated[int, Meta(ge=0, le=300)] | UnsetType = UNSET
    max_age_s: Annotated[int, Meta(ge=0, le=31_536_000)] | UnsetType | None = UNSET


class SignOnProviders:
    """Use cases about providers.

    Args:
        plain_http: whether they may be asked without TLS.
    """

    def __init__(self, database: Database, keys: InstallationKeys, *, plain_http: bool = False) -> None:
        self._database = database
        self._keys = keys
        self._plain_http = plain_http

    async def page(self, caller: Caller, limit: int, after: Position | None) -> list[SignOnProviderView]:
        """The tenant's providers, newest first; at most `limit`."""
        async with self._database.read() as db:
            return [one.view() for one in await queries.page(db, caller.tenant_id, limit, after)]

    async def one(self, caller: Caller, ident: int) -> SignOnProviderView:
        """A provider of the tenant.

        Raises:
            NotFoundError: the tenant has no such provider.
        """
        async with self._database.read() as db:
            return (await _found(db, caller, ident)).view()

    async def create(self, caller: Caller, wanted: ProviderChanges) -> SignOnProviderView:
        """A new provider.

        Raises:
            InvalidInputError: a value is missing or not allowed.
            ForbiddenError: a role allows more than the caller may.
            ConflictError: the tenant has one of this name, or as many as there may be.
        """
        missing = [
            (f"/{name}", "Is needed")
            for name in ("slug", "issuer", "client_id", "title")
            if getattr(wanted, name) is UNSET
        ]
        if missing:
            raise InvalidInputError(f"'{missing[0][0][1:]}' is needed.", tuple(missing))
        content = _content(ProviderContent(title=""), wanted)
        slug, issuer = str(wanted.slug), str(wanted.issuer)
        self._check(slug, issuer, content)
        _may_give_all(caller, content)
        async with self._database.change() as db:
            if len(await queries.page(db, caller.tenant_id, MOST_PROVIDERS, None)) >= MOST_PROVIDERS:
                raise ConflictError(f"A tenant may have at most {MOST_PROVIDERS} providers.")
            try:
                async with db.transaction():
                    ident = await queries.insert(
                        db,
                        caller.tenant_id,
                        slug=slug,
                        issuer=issuer,
                        client_id=str(wanted.client_id),
                        enabled=wanted.enabled is not False,
                        content=content,
                    )
            except asyncpg.UniqueViolationError:
                raise ConflictError(f"There is a provider '{slug}' already.") from None
            if isinstance(wanted.client_secret, str):
                await queries.set_secret(db, ident, self._sealed(ident, wanted.client_secret))
            made = (await _found(db, caller, ident)).view()
            await _note(db, caller, "create", None, made)
        return made

    async def change(
        self, caller: Caller, ident: int, wanted: ProviderChanges, if_revision: int | None
    ) -> SignOnProviderView:
        """A provider after a change. Where it is asked otherwise than before, or not at all any more, who came in by it is signed out.

        Raises:
            NotFoundError: the tenant has no such provider.
            InvalidInputError: a value that is not allowed.
            ForbiddenError: a role, of before or after, allows more than the caller may.
            ConflictError: the tenant has another of this name.
            StaleError: it has another revision.
        """
        async with self._database.change() as db:
            before = await _found(db, caller, ident, lock=True)
            if if_revision is not None and if_revision != before.revision:
                raise StaleError(str(ident), before.revision)
            content = _content(before.content, wanted)
            slug = _given(wanted.slug, before.slug)
            issuer = _given(wanted.issuer, before.issuer)
            client_id = _given(wanted.client_id, before.client_id)
            enabled = _given(wanted.enabled, before.enabled)
            self._check(slug, issuer, content)
            _may_give_all(caller, before.content)
            _may_give_all(caller, content)
            try:
                async with db.transaction():
                    await queries.update(
                        db, ident, slug=slug, issuer=issuer, client_id=client_id, enabled=enabled, content=content
                    )
            except asyncpg.UniqueViolationError:
                raise ConflictError(f"There is a provider '{slug}' already.") from None
            if not isinstance(wanted.client_secret, UnsetType):
                secret = wanted.client_secret
                await queries.set_secret(db, ident, None if secret is None else self._sealed(ident, secret))
            if (issuer, client_id) != (before.issuer, before.client_id) or not enabled:
                await queries.sign_out(db, ident)
            after = (await _found(db, caller, ident)).view()
            await _note(db, caller, "update", before.view(), after)
        return after

    async def remove(self, caller: Caller, ident: int) -> None:
        """Removes a provider; who came in by it is signed out.

        Raises:
            NotFoundError: the tenant has no such provider.
            ForbiddenError: it gives a role that allows more than the caller may.
        """
        async with self._database.change() as db:
            before = await _found(db, caller, ident, lock=True)
            _may_give_all(caller, before.content)
            await queries.delete(db, ident)
            await _note(db, caller, "delete", before.view(), None)

    def _check(self, slug: str, issuer: str, content: ProviderContent) -> None:
        faults = faults_of(issuer, content, plain_http=self._plain_http)
        if not _SLUG.fullmatch(slug):
            faults.append(("/slug", "Must be lower-case letters, digits and hyphens"))
        if faults:
            raise InvalidInputError(f"The provider is not right: {faults[0][0][1:]}: {faults[0][1]}.", tuple(faults))

    def _sealed(self, ident: int, secret: str) -> bytes:
        return self._keys.encrypt(secret.encode(), secret_purpose(ident))


def secret_purpose(ident: int) -> str:
    """What a provider's secret is encrypted for."""
    return f"oidc provider {ident}"


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if isinstance(value, UnsetType) else value


def _content(content: ProviderContent, wanted: ProviderChanges) -> ProviderContent:
    changes = {
        name: value
        for name in ProviderContent.__struct_fields__
        if not isinstance(value := getattr(wanted, name), UnsetType)
    }
    return msgspec.structs.replace(content, **changes)


def _may_give_all(caller: Caller, content: ProviderContent) -> None:
    roles = {rule.role for rule in content.roles} | ({content.default_role} if content.default_role else set())
    for role in sorted(roles):
        may_give(caller, role)


async def _found(db: Db, caller: Caller, ident: int, *, lock: bool = False) -> Provider:
    found = await queries.one(db, caller.tenant_id, ident, lock=lock)
    if found is None:
        raise NotFoundError("sign-on provider", str(ident))
    return found


async def _note(
    db: Db, caller: Caller, action: str, before: SignOnProviderView | None, after: SignOnProviderView | None
) -> None:
    one = after or before
    assert one is not None
    await audit(
        db,
        caller.tenant_id,
        actor=caller.actor,
        action=action,
        kind="sign-on-provider",
        ident=one.id,
        before=before,
        after=after,
    )
