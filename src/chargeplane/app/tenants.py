"""Tenants: our customers. Administered by the administrators of the default tenant."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import msgspec

from chargeplane.app.api_keys import SYSTEM_TENANT, Caller
from chargeplane.app.reach import Directory
from chargeplane.kernel.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import tenants as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.tenants import TenantSettings, TenantView

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Tenants:
    """Use cases about tenants."""

    def __init__(self, database: Database, directory: Directory) -> None:
        self._database = database
        self._directory = directory

    async def page(self, caller: Caller, q: str | None, limit: int, after: Position | None) -> list[TenantView]:
        """Tenants in the order of their slugs.

        Raises:
            ForbiddenError: the caller is no administrator of the default tenant.
        """
        _only_system(caller)
        async with self._database.read() as db:
            return await queries.page(db, q, limit, after)

    async def one(self, caller: Caller, slug: str) -> TenantView:
        """A tenant.

        Raises:
            ForbiddenError: the caller is no administrator of the default tenant.
            NotFoundError: there is none with this slug.
        """
        _only_system(caller)
        async with self._database.read() as db:
            found = await queries.by_slug(db, slug)
        if found is None:
            raise NotFoundError("tenant", slug)
        return found

    async def create(self, caller: Caller, slug: str, name: str, settings: TenantSettings) -> TenantView:
        """A new tenant.

        Raises:
            ForbiddenError: the caller is no administrator of the default tenant.
            InvalidInputError: the slug cannot be part of an address.
            ConflictError: the slug is taken.
        """
        _only_system(caller)
        if not _SLUG.fullmatch(slug):
            sentence = "Must be 1 to 63 of a-z 0-9 and '-', not beginning with '-'"
            raise InvalidInputError(f"'{slug}' cannot be a tenant's slug: {sentence}.", (("/slug", sentence),))
        try:
            async with self._database.change() as db:
                view = await queries.insert(db, slug, name, settings)
                await audit(
                    db, SYSTEM_TENANT, actor=caller.actor, action="create", kind="tenant", ident=slug, after=view
                )
        except asyncpg.UniqueViolationError:
            raise ConflictError(f"There is a tenant '{slug}' already.") from None
        await self._directory.refresh_tenants()
        return view

    async def change(self, caller: Caller, slug: str, name: str | None, settings: dict[str, Any]) -> TenantView:
        """The tenant after the change; its settings hold on every node when this returns.

        Args:
            name: None leaves it.
            settings: those that change, by name, valid already.
        Raises:
            ForbiddenError: the caller is no administrator of the default tenant.
            NotFoundError: there is none with this slug.
        """
        _only_system(caller)
        async with self._database.change() as db:
            before = await queries.locked(db, slug)
            if before is None:
                raise NotFoundError("tenant", slug)
            after = await queries.update(
                db, slug, before.name if name is None else name, msgspec.structs.replace(before.settings, **settings)
            )
            await audit(
                db,
                SYSTEM_TENANT,
                actor=caller.actor,
                action="update",
                kind="tenant",
                ident=slug,
                before=before,
                after=after,
            )
        if settings:
            await self._directory.refresh_tenants()
        return after

    async def id_of(self, caller: Caller, slug: str) -> TenantId:
        """Our key of another tenant, for an administrator of the default tenant who makes keys for it.

        Raises:
            ForbiddenError: the caller is no administrator of the default tenant.
            NotFoundError: there is none with this slug.
        """
        _only_system(caller)
        async with self._database.read() as db:
            found = await queries.id_of(db, slug)
        if found is None:
            raise NotFoundError("tenant", slug)
        return found


def _only_system(caller: Caller) -> None:
    if caller.tenant_id != SYSTEM_TENANT:
        raise ForbiddenError("Tenants are administered with a key of the default tenant.")
