"""Who is signed in: opaque tokens of random bits, of which the hash is stored; looked up at each request, so a revoked one is worthless at once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from chargeplane.app.api_keys import ALL_SCOPES, Caller
from chargeplane.domain.people.drivers import DriverStatus
from chargeplane.domain.people.roles import Role, scopes_of
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import drivers, users
from chargeplane.store.queries import logins as queries
from chargeplane.store.queries.paging import Db

DRIVER_PREFIX: Final = "cpd_"
USER_PREFIX: Final = "cpu_"
_TOUCH_EVERY: Final = timedelta(minutes=1)


class Signed(Struct, frozen=True, kw_only=True):
    """A login that was just made.

    Args:
        token: told here and never again.
        csrf_token: to be sent as X-CSRF-Token with every change, where the token travels as a cookie.
    """

    login_id: int
    token: str
    csrf_token: str
    expires_at: datetime


def csrf_token_of(token: str) -> str:
    """What proves that a request was made by who can read the token's holder's pages: a digest that only the token gives."""
    return urlsafe_b64encode(hmac.digest(token.encode(), b"csrf", "sha256")[:18]).decode()


def hash_of(token: str) -> bytes:
    """What is stored of a token: SHA-256; it is random, so nothing slower is needed."""
    return hashlib.sha256(token.encode()).digest()


class Logins:
    """Makes logins and knows whose they are.

    Args:
        driver_for, user_for: how long a login lasts after its last use.
    """

    def __init__(self, database: Database, *, driver_for: timedelta, user_for: timedelta) -> None:
        self._database = database
        self._driver_for = driver_for
        self._user_for = user_for

    async def make(
        self,
        db: Db,
        tenant_id: TenantId,
        *,
        driver_id: int | None = None,
        user_id: int | None = None,
        kind: str,
        device: str | None,
        address: str | None,
    ) -> Signed:
        """Signs a person in, within a change."""
        token = (USER_PREFIX if driver_id is None else DRIVER_PREFIX) + secrets.token_urlsafe(32)
        expires_at = datetime.now(UTC) + (self._user_for if driver_id is None else self._driver_for)
        ident = await queries.insert(
            db,
            tenant_id,
            hash_of(token),
            driver_id=driver_id,
            user_id=user_id,
            kind=kind,
            device=None if device is None else device[:200],
            address=address,
            expires_at=expires_at,
        )
        return Signed(login_id=ident, token=token, csrf_token=csrf_token_of(token), expires_at=expires_at)

    async def authenticate(self, token: str) -> Caller | None:
        """The person a token stands for; None where it is unknown, expired or revoked, or the person may not come in any more."""
        async with self._database.read() as db:
            login = await queries.by_hash(db, hash_of(token))
            caller = None if login is None else await self._caller(db, login)
        if login is None or caller is None:
            return None
        now = datetime.now(UTC)
        if now - login.last_used_at > _TOUCH_EVERY:
            async with self._database.change() as db:
                lasts = self._driver_for if login.driver_id is not None else self._user_for
                await queries.touch(db, login.id, now + lasts)
        return caller

    async def _caller(self, db: Db, login: queries.StoredLogin) -> Caller | None:
        if login.driver_id is not None:
            driver = await drivers.one(db, login.tenant_id, login.driver_id)
            if driver is None or driver.status is not DriverStatus.ACTIVE:
                return None
            return Caller(
                key_id=0,
                tenant_id=login.tenant_id,
                name="driver",
                scopes=frozenset(),
                driver_id=login.driver_id,
                login_id=login.id,
            )
        assert login.user_id is not None
        found = await users.role_in(db, login.user_id, login.tenant_id)
        if found is None:
            return None
        name, role = found
        return Caller(
            key_id=0,
            tenant_id=login.tenant_id,
            name=name,
            scopes=scopes_of(Role(role), ALL_SCOPES),
            user_id=login.user_id,
            login_id=login.id,
            confined=login.oidc_provider_id is not None,
        )

    async def sweep(self) -> None:
        """Removes what has been over for a month."""
        async with self._database.change() as db:
            await queries.sweep(db, datetime.now(UTC) - timedelta(days=30))
