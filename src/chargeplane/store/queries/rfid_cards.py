"""Cards that were printed, and who claimed them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.domain.people.drivers import visual_key
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time


class CardView(Struct, frozen=True, kw_only=True):
    """A card.

    Args:
        id: ours.
        visual_number: printed on it.
        driver_id: who claimed it; null: nobody yet.
    """

    id: str
    visual_number: str
    id_token: str
    type: str
    driver_id: str | None
    claimed_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


class StoredCard(Struct, frozen=True, kw_only=True):
    """A card with its code, encrypted."""

    id: int
    visual_key: str
    id_token: str
    id_token_type: str
    activation_code: bytes
    driver_id: int | None
    revoked_at: datetime | None


_COLUMNS = (
    "id::text AS id, visual_number, id_token, id_token_type AS type, driver_id::text AS driver_id, claimed_at, revoked_at,"
    " created_at"
)


async def insert(
    db: Db, tenant_id: TenantId, number: str, id_token: str, kind: str, activation_code: bytes
) -> CardView:
    """A new card.

    Raises:
        asyncpg.UniqueViolationError: the tenant has one with this number.
    """
    row = await db.fetchrow(
        "INSERT INTO rfid_card (tenant_id, visual_number, visual_key, id_token, id_token_type, activation_code)"
        f" VALUES ($1, $2, $3, $4, $5, $6) RETURNING {_COLUMNS}",
        tenant_id,
        number,
        visual_key(number),
        id_token,
        kind,
        activation_code,
    )
    assert row is not None
    return CardView(**row)


CARD_SORTS: Final = Sorts("rfid_card.id", visual_number=by_text("visual_number"), created_at=by_time("created_at"))


async def page(
    db: Db, tenant_id: TenantId, number: str | None, claimed: bool | None, limit: int, after: Position | None
) -> list[CardView]:
    """Cards, newest first; at most `limit`."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("visual_key = ?", None if number is None else visual_key(number))
    if claimed is not None:
        where.add(f"driver_id IS {'NOT ' if claimed else ''}NULL")
    order = CARD_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM rfid_card WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [CardView(**row) for row in rows]


async def locked(db: Db, tenant_id: TenantId, number: str) -> StoredCard | None:
    """The card with a number, locked until the transaction ends."""
    row = await db.fetchrow(
        "SELECT id, visual_key, id_token, id_token_type, activation_code, driver_id, revoked_at FROM rfid_card"
        " WHERE tenant_id = $1 AND visual_key = $2 FOR UPDATE",
        tenant_id,
        visual_key(number),
    )
    return None if row is None else StoredCard(**row)


async def claim(db: Db, ident: int, driver_id: int) -> None:
    """Makes a card a driver's."""
    await db.execute("UPDATE rfid_card SET driver_id = $2, claimed_at = now() WHERE id = $1", ident, driver_id)


async def give_back(db: Db, tenant_id: TenantId, driver_id: int, id_token: str, kind: str) -> None:
    """A card that a driver gave up: nobody can claim it again."""
    await db.execute(
        "UPDATE rfid_card SET revoked_at = now() WHERE tenant_id = $1 AND driver_id = $2 AND lower(id_token) = lower($3)"
        " AND id_token_type = $4",
        tenant_id,
        driver_id,
        id_token,
        kind,
    )
