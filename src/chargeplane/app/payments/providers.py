"""A tenant's payment providers: configured over REST, their secrets sealed, made when they are needed."""

from __future__ import annotations

import secrets as random
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.payments.ports import Factory, Provider, ProviderSettings
from chargeplane.domain.payments.steps import Capabilities
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import payment_providers as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.payment_providers import StoredProvider
from chargeplane.store.secrets import InstallationKeys

TERMINAL: Final = "terminal"
"""Provider and kind of payments at stations' own terminals; no name for another."""


class ProviderView(Struct, frozen=True, kw_only=True):
    """How a tenant is paid.

    Args:
        kind: simulator, stripe, invoice, wallet or free.
        for_guests: guests at an EVSE pay by it; one of a tenant's providers at most.
        settings: of the kind (payments.md).
        secrets: names of those that are set; their values are never shown.
        webhook_path: where the provider tells what happens, on the REST door.
        capabilities: what it can do.
    """

    name: str
    kind: str
    enabled: bool
    for_guests: bool
    settings: dict[str, Any]
    secrets: list[str]
    webhook_path: str
    capabilities: Capabilities | None
    revision: int
    created_at: datetime
    updated_at: datetime


class ProviderChanges(Struct, frozen=True, kw_only=True):
    """What a provider is set to.

    Args:
        secrets: those given are replaced, or removed where null; UNSET keeps all.
    """

    kind: str
    enabled: bool = True
    for_guests: bool = False
    settings: Mapping[str, Any] = {}
    secrets: Mapping[str, str | None] | UnsetType = UNSET


class Providers:
    """Use cases about payment providers, and where payments get theirs.

    Args:
        factories: by kind.
    """

    def __init__(self, database: Database, keys: InstallationKeys, factories: Mapping[str, Factory]) -> None:
        self._database = database
        self._keys = keys
        self.factories = dict(factories)
        self._made: dict[tuple[TenantId, str], tuple[int, Provider]] = {}

    async def close(self) -> None:
        """Ends the connections of all that were made."""
        made, self._made = self._made, {}
        for _, provider in made.values():
            await provider.close()

    # -- for payments --------------------------------------------------------------------------------------------------

    async def get(self, tenant_id: TenantId, name: str, *, new: bool = False) -> Provider:
        """The tenant's provider of a name.

        Args:
            new: for a new payment: it has to be enabled.
        Raises:
            NotFoundError: there is none.
            ConflictError: it takes no new payments.
        """
        async with self._database.read() as db:
            found = await queries.one(db, tenant_id, name)
        if found is None:
            raise NotFoundError("payment provider", name)
        if new and not found.enabled:
            raise ConflictError(f"The payment provider '{name}' is not enabled: enable it, or take another.")
        return await self._provider(found)

    async def kind_of(self, tenant_id: TenantId, name: str) -> str:
        """Of the tenant's provider of a name.

        Raises:
            NotFoundError: there is none.
        """
        async with self._database.read() as db:
            found = await queries.one(db, tenant_id, name)
        if found is None:
            raise NotFoundError("payment provider", name)
        return found.kind

    async def for_guests(self, tenant_id: TenantId) -> str | None:
        """The name of that by which guests pay; None where they cannot."""
        async with self._database.read() as db:
            found = await queries.for_guests(db, tenant_id)
        return None if found is None else found.name

    async def by_webhook(self, token: str) -> tuple[StoredProvider, Provider] | None:
        """Whose address for webhooks holds a token."""
        async with self._database.read() as db:
            found = await queries.by_token(db, token)
        return None if found is None else (found, await self._provider(found))

    async def _provider(self, found: StoredProvider) -> Provider:
        place = (found.tenant_id, found.name)
        known = self._made.get(place)
        if known is not None and known[0] == found.revision:
            return known[1]
        provider = self._make(
            found.tenant_id, found.name, found.kind, found.settings, self._opened(found), found.revision
        )
        self._made[place] = (found.revision, provider)
        if known is not None:
            await known[1].close()
        return provider

    def _make(
        self,
        tenant_id: TenantId,
        name: str,
        kind: str,
        settings: Mapping[str, Any],
        opened: Mapping[str, str],
        revision: int,
    ) -> Provider:
        factory = self.factories.get(kind)
        if factory is None:
            raise NotFoundError("kind of payment provider", kind)
        return factory(
            ProviderSettings(
                tenant_id=tenant_id, name=name, kind=kind, settings=settings, secrets=opened, revision=revision
            )
        )

    def _opened(self, found: StoredProvider) -> dict[str, str]:
        if found.secrets is None:
            return {}
        text = self._keys.decrypt(found.secrets, _purpose(found.tenant_id, found.name))
        return msgspec.json.decode(text, type=dict[str, str])

    # -- for people ----------------------------------------------------------------------------------------------------

    async def all(self, caller: Caller) -> list[ProviderView]:
        """The tenant's, by name."""
        async with self._database.read() as db:
            found = await queries.all_of(db, caller.tenant_id)
        return [await self._view(one) for one in found]

    async def one(self, caller: Caller, name: str) -> ProviderView:
        """The tenant's provider of a name.

        Raises:
            NotFoundError: there is none.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, name)
        if found is None:
            raise NotFoundError("payment provider", name)
        return await self._view(found)

    async def put(self, caller: Caller, name: str, wanted: ProviderChanges, if_revision: int | None) -> ProviderView:
        """Sets a provider; makes it where there is none.

        Raises:
            InvalidInputError: a value is not allowed.
            ConflictError: it has payments and would be of another kind.
            StaleError: it has another revision.
        """
        if name == TERMINAL:
            raise InvalidInputError("'terminal' stands for stations' own terminals; choose another name.")
        if wanted.kind not in self.factories:
            known = ", ".join(sorted(self.factories))
            raise InvalidInputError(
                f"There is no kind of payment provider '{wanted.kind}'.", (("/kind", f"Must be one of {known}"),)
            )
        async with self._database.change() as db:
            before = await queries.one(db, caller.tenant_id, name, lock=True)
            if if_revision is not None and if_revision != (0 if before is None else before.revision):
                raise StaleError(name, 0 if before is None else before.revision)
            if (
                before is not None
                and before.kind != wanted.kind
                and await queries.has_payments(db, caller.tenant_id, name)
            ):
                raise ConflictError(
                    f"'{name}' is of the kind {before.kind} and has payments; give the new one another name."
                )
            opened = {} if before is None else self._opened(before)
            if wanted.secrets is not UNSET:
                for secret, value in wanted.secrets.items():
                    if value is None:
                        opened.pop(secret, None)
                    else:
                        opened[secret] = value
            # A provider is made to see whether its settings are right.
            await self._make(caller.tenant_id, name, wanted.kind, wanted.settings, opened, 0).close()
            sealed = (
                self._keys.encrypt(msgspec.json.encode(opened), _purpose(caller.tenant_id, name)) if opened else None
            )
            after = await queries.put(
                db,
                caller.tenant_id,
                name,
                wanted.kind,
                wanted.enabled,
                wanted.for_guests,
                msgspec.json.encode(dict(wanted.settings)).decode(),
                sealed,
                random.token_urlsafe(24) if before is None else before.webhook_token,
            )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create" if before is None else "update",
                kind="payment-provider",
                ident=name,
                before=None if before is None else _shown(before, sorted(self._opened(before))),
                after=_shown(after, sorted(opened)),
            )
        return await self._view(after)

    async def remove(self, caller: Caller, name: str) -> None:
        """Removes a provider.

        Raises:
            NotFoundError: there is none.
            ConflictError: it has payments.
        """
        async with self._database.change() as db:
            before = await queries.one(db, caller.tenant_id, name, lock=True)
            if before is None:
                raise NotFoundError("payment provider", name)
            if await queries.has_payments(db, caller.tenant_id, name):
                raise ConflictError(f"'{name}' has payments and stays; it can be disabled with enabled: false.")
            await queries.delete(db, caller.tenant_id, name)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind="payment-provider",
                ident=name,
                before=_shown(before, sorted(self._opened(before))),
            )
        made = self._made.pop((caller.tenant_id, name), None)
        if made is not None:
            await made[1].close()

    async def _view(self, found: StoredProvider) -> ProviderView:
        try:
            able: Capabilities | None = (await self._provider(found)).able
        except (InvalidInputError, NotFoundError):
            able = None
        return ProviderView(
            name=found.name,
            kind=found.kind,
            enabled=found.enabled,
            for_guests=found.for_guests,
            settings=found.settings,
            secrets=sorted(self._opened(found)),
            webhook_path=f"/v1/webhooks/payments/{found.webhook_token}",
            capabilities=able,
            revision=found.revision,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )


def _purpose(tenant_id: TenantId, name: str) -> str:
    return f"payment provider {tenant_id} {name}"


def _shown(found: StoredProvider, names: list[str]) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "enabled": found.enabled,
        "for_guests": found.for_guests,
        "settings": found.settings,
        "secrets": names,
    }
