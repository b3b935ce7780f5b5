"""Ways back in for whoever holds the database: used by the command line, never by the server."""

from __future__ import annotations

from chargeplane.app.api_keys import SYSTEM_TENANT, Scope
from chargeplane.store.database import Database
from chargeplane.store.queries import api_keys as queries
from chargeplane.store.secrets import api_key_prefix, hash_api_key, make_api_key


async def make_admin_key(url: str) -> str:
    """A new administrator's key of the default tenant, written directly to the database.

    Args:
        url: of the database.
    Raises:
        UnavailableError: the database is away.
    """
    key = make_api_key()
    database = Database(url, application="chargeplane recovery")
    try:
        async with database.change() as db:
            await queries.insert(
                db,
                SYSTEM_TENANT,
                name="recovered",
                hashed=hash_api_key(key),
                prefix=api_key_prefix(key),
                scopes=[str(Scope.ADMIN)],
                created_by="command line",
                expires_at=None,
            )
    finally:
        await database.close()
    return key
