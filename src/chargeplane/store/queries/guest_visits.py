"""Guests at EVSEs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.authorization import token_key
from chargeplane.domain.payments.visits import Stage
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db


class Visit(Struct, frozen=True, kw_only=True):
    """A guest at an EVSE.

    Args:
        token: part of the guest's own address.
        place, price: JSON, as shown when the visit began.
        cost_lines: JSON: [words, amount] pairs.
    """

    id: int
    tenant_id: TenantId
    token: str
    payment_id: int
    code: str
    station_key: StationKey
    ocpp_evse_id: int
    evse_uid: str
    place: str
    price: str
    id_token: str | None
    id_token_type: str | None
    stage: Stage
    reason: str | None
    language: str
    email: str | None
    email_sent_at: datetime | None
    transaction_id: int | None
    energy_wh: Decimal | None
    cost: Decimal | None
    cost_lines: str | None
    cost_at: datetime | None
    stop_asked_at: datetime | None
    stop_reason: str | None
    start_asked_at: datetime | None
    start_until: datetime | None
    ended_at: datetime | None
    next_at: datetime | None
    claimed_until: datetime | None
    created_at: datetime


class RunningHere(Struct, frozen=True, kw_only=True):
    """A transaction that a guest's id token began."""

    id: int
    ocpp_transaction_id: str | None
    is_open: bool


_COLUMNS: Final = (
    "id, tenant_id, token, payment_id, code, station_key, ocpp_evse_id, evse_uid, place, price, id_token, id_token_type,"
    " stage, reason, language, email, email_sent_at, transaction_id, energy_wh, cost, cost_lines, cost_at, stop_asked_at,"
    " stop_reason, start_asked_at, start_until, ended_at, next_at, claimed_until, created_at"
)


async def insert(
    db: Db,
    tenant_id: TenantId,
    *,
    token: str,
    payment_id: int,
    code: str,
    station_key: StationKey,
    ocpp_evse_id: int,
    evse_uid: str,
    location_id: str | None,
    place: str,
    price: str,
    language: str,
    email: str | None,
) -> int:
    """A new visit; its id."""
    ident: int = await db.fetchval(
        "INSERT INTO guest_visit (tenant_id, token, payment_id, code, station_key, ocpp_evse_id, evse_uid, location_id,"
        " place, price, stage, language, email, next_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'paying', $11, $12,"
        " now()) RETURNING id",
        tenant_id,
        token,
        payment_id,
        code,
        station_key,
        ocpp_evse_id,
        evse_uid,
        location_id,
        place,
        price,
        language,
        email,
    )
    return ident


async def by_token(db: Db, token: str) -> Visit | None:
    """The visit of a guest's own address."""
    return _visit(await db.fetchrow(f"SELECT {_COLUMNS} FROM guest_visit WHERE token = $1", token))


async def one(db: Db, ident: int) -> Visit | None:
    """A visit by our id."""
    return _visit(await db.fetchrow(f"SELECT {_COLUMNS} FROM guest_visit WHERE id = $1", ident))


async def locked(db: Db, ident: int) -> Visit | None:
    """The same, locked until the transaction ends; None where somebody else has it."""
    return _visit(await db.fetchrow(f"SELECT {_COLUMNS} FROM guest_visit WHERE id = $1 FOR UPDATE SKIP LOCKED", ident))


async def due(db: Db, now: datetime, most: int = 200) -> list[int]:
    """Visits that are to be looked at."""
    rows = await db.fetch(
        "SELECT id FROM guest_visit WHERE next_at <= $1 AND (claimed_until IS NULL OR claimed_until <= $1)"
        " ORDER BY next_at LIMIT $2",
        now,
        most,
    )
    return [row["id"] for row in rows]


async def change(db: Db, ident: int, **columns: Any) -> None:
    """Writes columns of a visit."""
    values = {name: value.value if isinstance(value, Stage) else value for name, value in columns.items()}
    changes = ", ".join(f"{name} = ${place}" for place, name in enumerate(values, 2))
    await db.execute(f"UPDATE guest_visit SET {changes}, updated_at = now() WHERE id = $1", ident, *values.values())


async def somebody_here(db: Db, station_key: StationKey, ocpp_evse_id: int) -> bool:
    """Whether another guest has paid at an EVSE and is not done, or a transaction goes on there."""
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM guest_visit WHERE station_key = $1 AND ocpp_evse_id = $2 AND ended_at IS NULL"
        " AND stage IN ('starting', 'waiting', 'charging'))"
        " OR EXISTS (SELECT FROM open_transaction o JOIN transaction t ON t.id = o.transaction_id"
        " WHERE o.station_key = $1 AND t.evse_id = $2)",
        station_key,
        ocpp_evse_id,
    )
    return found


async def begun(db: Db, tenant_id: TenantId, id_token: str) -> RunningHere | None:
    """The transaction that an id token began, open or over; None where there is none yet."""
    key = token_key(id_token)
    row = await db.fetchrow(
        "SELECT t.id, t.ocpp_transaction_id, t.is_open FROM open_transaction o JOIN transaction t ON t.id = o.transaction_id"
        " WHERE o.tenant_id = $1 AND o.token_key = $2 LIMIT 1",
        tenant_id,
        key,
    )
    if row is None:
        row = await db.fetchrow(
            "SELECT id, ocpp_transaction_id, is_open FROM transaction WHERE tenant_id = $1 AND token_key = $2"
            " ORDER BY opened_at DESC LIMIT 1",
            tenant_id,
            key,
        )
    return None if row is None else RunningHere(**row)


async def payment_of_token(db: Db, tenant_id: TenantId, id_token: str) -> int | None:
    """The payment of the guest who has an id token."""
    found: int | None = await db.fetchval(
        "SELECT payment_id FROM guest_visit WHERE tenant_id = $1 AND id_token = upper($2)", tenant_id, id_token
    )
    return found


async def frozen_price(db: Db, tenant_id: TenantId, transaction_id: int) -> str | None:
    """The price of the guest whose session it is: JSON of `PublicPrice`."""
    found: str | None = await db.fetchval(
        "SELECT price FROM guest_visit WHERE tenant_id = $1 AND transaction_id = $2", tenant_id, transaction_id
    )
    return found


async def connector_statuses(db: Db, station_key: StationKey, ocpp_evse_id: int) -> list[str]:
    """What the connectors of an EVSE reported last."""
    rows = await db.fetch(
        "SELECT status FROM connector WHERE station_key = $1 AND evse_id IN (0, $2) ORDER BY evse_id DESC, connector_id",
        station_key,
        ocpp_evse_id,
    )
    return [row["status"] for row in rows]


async def remove_id_token(db: Db, tenant_id: TenantId, id_token: str) -> None:
    """The guest's id token lets nobody charge any more."""
    await db.execute(
        "DELETE FROM id_token WHERE tenant_id = $1 AND token_key = $2 AND note LIKE 'guest %'",
        tenant_id,
        token_key(id_token),
    )


def _visit(row: Any) -> Visit | None:
    return None if row is None else Visit(**{**row, "stage": Stage(row["stage"])})
