"""Bookings that partners asked for."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from chargeplane.domain.roaming.bookings import PartnerBooking, kept_of, kept_text
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class StoredBooking(Struct, frozen=True, kw_only=True):
    """What a partner asked for.

    Args:
        id: as the partner is told it.
        country_code, party_id: the provider's.
        booking_id: ours; None: it was rejected.
    """

    id: int
    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    request_id: str
    booking_id: int | None
    kept: PartnerBooking


_COLUMNS = "id, tenant_id, connection_id, country_code, party_id, request_id, booking_id, body"


def _stored(row: Any) -> StoredBooking:
    said = dict(row)
    return StoredBooking(kept=kept_of(said.pop("body")), **said)


async def next_id(db: Db) -> int:
    """The number of the next booking."""
    found: int = await db.fetchval("SELECT nextval(pg_get_serial_sequence('partner_booking', 'id'))")
    return found


async def insert(db: Db, new: StoredBooking) -> None:
    """Keeps a new one. asyncpg's UniqueViolationError where the request is known."""
    await db.execute(
        "INSERT INTO partner_booking (id, tenant_id, connection_id, country_code, party_id, request_id, booking_id, body)"
        " OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        new.id,
        new.tenant_id,
        new.connection_id,
        new.country_code,
        new.party_id,
        new.request_id,
        new.booking_id,
        kept_text(new.kept),
    )


async def of_request(
    db: Db, connection_id: int, party: tuple[str, str], request_id: str, *, locked: bool = False
) -> StoredBooking | None:
    """By what the provider calls it.

    Args:
        party: country code and party id in capitals.
    """
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM partner_booking WHERE connection_id = $1 AND country_code = $2 AND party_id = $3"
        f" AND lower(request_id) = lower($4){' FOR NO KEY UPDATE' if locked else ''}",
        connection_id,
        *party,
        request_id,
    )
    return None if row is None else _stored(row)


async def of_booking(db: Db, booking_id: int) -> StoredBooking | None:
    """Of a booking of ours, locked; None where no partner asked for it."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM partner_booking WHERE booking_id = $1 FOR NO KEY UPDATE", booking_id
    )
    return None if row is None else _stored(row)


async def keep(db: Db, ident: int, kept: PartnerBooking) -> None:
    """More is known of it."""
    await db.execute("UPDATE partner_booking SET body = $2, updated_at = now() WHERE id = $1", ident, kept_text(kept))


async def cdr_of(db: Db, ident: int) -> int | None:
    """Our CDR of what a booking costs without a session; None where there is none."""
    found: int | None = await db.fetchval("SELECT cdr_id FROM partner_booking WHERE id = $1", ident)
    return found


async def note_cdr(db: Db, ident: int, cdr_id: int) -> None:
    """It has one."""
    await db.execute("UPDATE partner_booking SET cdr_id = $2 WHERE id = $1", ident, cdr_id)
