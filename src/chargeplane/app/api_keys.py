"""API keys: who calls, for which tenant, and what the key allows.

A key is machine-made of random bits, so what is stored is its plain SHA-256: a slow hash would protect nothing. The one exception is the first key, which an operator may choose (`CHARGEPLANE_ADMIN_KEY`); it has at least 16 characters.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import as_utc
from chargeplane.store.database import Database
from chargeplane.store.queries import api_keys as queries
from chargeplane.store.queries.api_keys import ApiKeyView
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.secrets import api_key_prefix, hash_api_key, make_api_key

SYSTEM_TENANT: Final = TenantId(1)
"""The default tenant; its administrators administer tenants."""


class Scope(enum.StrEnum):
    """What a key may do. `admin` includes everything of its tenant."""

    STATIONS_READ = "stations:read"
    STATIONS_WRITE = "stations:write"
    CALLS = "calls"
    COMMANDS = "commands"
    MESSAGES_READ = "messages:read"
    TRANSACTIONS_READ = "transactions:read"
    TRANSACTIONS_WRITE = "transactions:write"
    ID_TOKENS_READ = "id-tokens:read"
    ID_TOKENS_WRITE = "id-tokens:write"
    QUARANTINE_READ = "quarantine:read"
    QUARANTINE_WRITE = "quarantine:write"
    CERTIFICATES_READ = "certificates:read"
    CERTIFICATES_WRITE = "certificates:write"
    ALERTS_READ = "alerts:read"
    ALERTS_WRITE = "alerts:write"
    FIRMWARE_READ = "firmware:read"
    FIRMWARE_WRITE = "firmware:write"
    DIAGNOSTICS_READ = "diagnostics:read"
    DIAGNOSTICS_WRITE = "diagnostics:write"
    CUSTOMER_INFORMATION = "customer-information"
    SECURITY_READ = "security:read"
    AGREEMENTS_READ = "agreements:read"
    AGREEMENTS_WRITE = "agreements:write"
    EVENTS_READ = "events:read"
    LOCATIONS_READ = "locations:read"
    LOCATIONS_WRITE = "locations:write"
    TARIFFS_READ = "tariffs:read"
    TARIFFS_WRITE = "tariffs:write"
    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    DRIVERS_READ = "drivers:read"
    DRIVERS_WRITE = "drivers:write"
    DRIVERS_ERASE = "drivers:erase"
    VEHICLES_READ = "vehicles:read"
    VEHICLES_WRITE = "vehicles:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    AUDIT_READ = "audit-log:read"
    INVOICES_READ = "invoices:read"
    INVOICES_WRITE = "invoices:write"
    LEDGER_READ = "ledger:read"
    LEDGER_WRITE = "ledger:write"
    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    CDRS_READ = "cdrs:read"
    CDRS_WRITE = "cdrs:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    PERFORMANCE_READ = "performance:read"
    PERFORMANCE_WRITE = "performance:write"
    WORK_READ = "work:read"
    WORK_WRITE = "work:write"
    BOOKINGS_READ = "bookings:read"
    BOOKINGS_WRITE = "bookings:write"
    ROAMING_READ = "roaming:read"
    ROAMING_WRITE = "roaming:write"
    ADMIN = "admin"


ALL_SCOPES: Final = frozenset(str(scope) for scope in Scope)


class Caller(Struct, frozen=True, kw_only=True):
    """Who calls: one key of one tenant, a user who is signed in, or a driver.

    Args:
        key_id: our key of the API key; 0 stands for a person, or a policy that acts by itself.
        name: the key's or the user's name, for the audit log.
        user_id, driver_id: our id of the person; 0 where it is none.
        login_id: our id of the login, where a person calls.
        confined: a user who came by a provider that this tenant alone trusts: nothing of other tenants is for them.
    """

    key_id: int
    tenant_id: TenantId
    name: str
    scopes: frozenset[str]
    user_id: int = 0
    driver_id: int = 0
    login_id: int = 0
    confined: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether the key allows it."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def actor(self) -> str:
        """How the audit log names the caller."""
        if self.driver_id:
            return f"driver:{self.driver_id}"  # no name: it would have to be found again when the driver is erased
        if self.user_id:
            return f"user:{self.user_id} {self.name}"
        return f"api-key:{self.key_id} {self.name}" if self.key_id else f"policy: {self.name}"


_CHOSEN_KEY = re.compile(r"[A-Za-z0-9_.~-]{16,}")
_TOUCH_EVERY = timedelta(minutes=1)


class ApiKeys:
    """Use cases about API keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authenticate(self, key: str) -> Caller | None:
        """The caller a key stands for; None where it is unknown, expired or revoked."""
        async with self._database.read() as db:
            found = await queries.by_hash(db, hash_api_key(key))
        if found is None:
            return None
        now = datetime.now(UTC)
        if found.expires_at is not None and found.expires_at <= now:
            return None
        if found.last_used_at is None or now - found.last_used_at > _TOUCH_EVERY:
            async with self._database.change() as db:
                await queries.touch(db, found.id, now)
        return Caller(
            key_id=found.id, tenant_id=TenantId(found.tenant_id), name=found.name, scopes=frozenset(found.scopes)
        )

    async def page(self, tenant_id: TenantId, q: str | None, limit: int, after: Position | None) -> list[ApiKeyView]:
        """Keys that are not revoked, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, tenant_id, q, limit, after)

    async def create(
        self,
        caller: Caller,
        name: str,
        scopes: Sequence[Scope],
        expires_at: datetime | None,
        owner: TenantId | None = None,
    ) -> tuple[ApiKeyView, str]:
        """A new key, and its text, which is never shown again.

        Args:
            owner: tenant of the key; the caller's unless given.

        Raises:
            InvalidInputError: no scope, or it would expire in the past.
        """
        if not scopes:
            raise InvalidInputError("A key needs at least one scope.", (("/scopes", "Give at least one scope"),))
        if expires_at is not None:
            expires_at = as_utc(expires_at)
            if expires_at <= datetime.now(UTC):
                raise InvalidInputError(
                    "The key would have expired already.", (("/expires_at", "Must be in the future"),)
                )
        key = make_api_key()
        async with self._database.change() as db:
            view = await queries.insert(
                db,
                owner or caller.tenant_id,
                name=name,
                hashed=hash_api_key(key),
                prefix=api_key_prefix(key),
                scopes=sorted({str(s) for s in scopes}),
                created_by=caller.actor,
                expires_at=expires_at,
            )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind="api-key",
                ident=str(view.id),
                after={"name": name, "scopes": view.scopes},
            )
        return view, key

    async def revoke(self, caller: Caller, key_id: int) -> None:
        """Makes a key worthless at once.

        Raises:
            NotFoundError: the tenant has no such key.
        """
        async with self._database.change() as db:
            if not await queries.revoke(db, caller.tenant_id, key_id):
                raise NotFoundError("API key", str(key_id))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="revoke",
                kind="api-key",
                ident=str(key_id),
                before={"revoked": False},
                after={"revoked": True},
            )


async def ensure_admin_key(database: Database, chosen: str | None) -> str | None:
    """Sets the first API key, called at every start.

    Args:
        chosen: `CHARGEPLANE_ADMIN_KEY`; the same on a restart changes nothing.
    Returns:
        The key where one was made here (to be printed once, to the terminal), else None.
    Raises:
        InvalidInputError: the chosen key is shorter than 16 characters or not URL-safe.
    """
    if chosen is not None:
        if not _CHOSEN_KEY.fullmatch(chosen):
            raise InvalidInputError(
                "CHARGEPLANE_ADMIN_KEY must be 16 or more URL-safe characters (A-Z a-z 0-9 - _ . ~)."
            )
        async with database.change() as db:
            await queries.ensure(
                db, SYSTEM_TENANT, "admin", hash_api_key(chosen), api_key_prefix(chosen), [str(Scope.ADMIN)]
            )
        return None
    made = make_api_key()
    async with database.change() as db:
        was_first = await queries.insert_first(
            db, SYSTEM_TENANT, "admin", hash_api_key(made), api_key_prefix(made), [str(Scope.ADMIN)]
        )
    return made if was_first else None
