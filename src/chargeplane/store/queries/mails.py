"""Mails on their way."""

from __future__ import annotations

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


async def insert(db: Db, tenant_id: TenantId, driver_id: int | None, user_id: int | None) -> int:
    """A new mail, empty still; our id of it."""
    ident: int = await db.fetchval(
        "INSERT INTO mail (tenant_id, driver_id, user_id, sealed) VALUES ($1, $2, $3, '') RETURNING id",
        tenant_id,
        driver_id,
        user_id,
    )
    return ident


async def seal(db: Db, ident: int, sealed: bytes) -> None:
    """What it says, encrypted."""
    await db.execute("UPDATE mail SET sealed = $2 WHERE id = $1", ident, sealed)


async def announce(db: Db, tenant_id: TenantId, topic: str, ident: int) -> None:
    """The fact that it is to be sent; mails do not wait for each other."""
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        tenant_id,
        topic,
        f"mail {ident}",
        str(ident),
    )


async def sealed(db: Db, ident: int) -> bytes | None:
    """What it says; None where it is gone."""
    found: bytes | None = await db.fetchval("SELECT sealed FROM mail WHERE id = $1", ident)
    return found


async def delete(db: Db, ident: int) -> None:
    """Forgets a mail that was sent."""
    await db.execute("DELETE FROM mail WHERE id = $1", ident)


async def delete_of(db: Db, driver_id: int) -> None:
    """Forgets the mails to a driver that were not sent."""
    await db.execute("DELETE FROM mail WHERE driver_id = $1", driver_id)
