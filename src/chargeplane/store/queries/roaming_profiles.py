"""Sessions whose charging profile a partner has set: what it was told of them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class Watched(Struct, frozen=True, kw_only=True):
    """A session whose partner is to know what limits it.

    Args:
        told: JSON as it was told last; None: nothing was.
    """

    session_id: int
    tenant_id: TenantId
    connection_id: int
    told: str | None


async def clock(db: Db) -> datetime:
    """Now, as rows are stamped."""
    found: datetime = await db.fetchval("SELECT now()")
    return found


async def watched(db: Db, since: datetime | None, after: int, limit: int) -> list[Watched]:
    """Sessions that go on, in the order of their ids, at whose station charging is limited otherwise.

    Args:
        since: changes from a little before then on; None: all sessions.
    """
    rows = await db.fetch(
        "SELECT p.session_id, p.tenant_id, p.connection_id, p.told FROM roaming_profile p"
        " JOIN charging_session s ON s.tenant_id = p.tenant_id AND s.id = p.session_id AND s.state = 'active'"
        " WHERE p.session_id > $2 AND ($1::timestamptz IS NULL OR p.told IS NULL"
        "   OR EXISTS (SELECT FROM charging_profile c WHERE c.station_key = s.station_key"
        "     AND c.updated_at > $1::timestamptz - interval '10 seconds')"
        "   OR EXISTS (SELECT FROM charging_limit l WHERE l.station_key = s.station_key"
        "     AND greatest(l.told_at, l.cleared_at) > $1::timestamptz - interval '1 minute'))"
        " ORDER BY p.session_id LIMIT $3",
        since,
        after,
        limit,
    )
    return [Watched(**row) for row in rows]


async def tell(db: Db, session_id: int, told: str) -> None:
    """What the partner of a session is told from now on."""
    await db.execute("UPDATE roaming_profile SET told = $2, updated_at = now() WHERE session_id = $1", session_id, told)


async def told(db: Db, connection_id: int, session_id: int) -> str | None:
    """What a partner is told of a session; None where nothing is."""
    found: str | None = await db.fetchval(
        "SELECT told FROM roaming_profile WHERE connection_id = $1 AND session_id = $2", connection_id, session_id
    )
    return found
