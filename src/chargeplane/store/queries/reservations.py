"""Reservations as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.reservations import STANDING, ReservationState
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time


class ReservationView(Struct, frozen=True, kw_only=True):
    """A place kept for an id token.

    Args:
        id: ours.
        ocpp_reservation_id: the number the station knows it by.
        evse_id: null for any.
        connector_type: any EVSE with such a connector; null for any.
        state: requested, accepted; or how it ended: occupied, faulted, rejected, unavailable, unreached, used, expired, removed,
            no_transaction, cancelled.
        reason: why it was not accepted or did not last.
        transaction_id: the transaction that used it.
    """

    id: str
    station_id: str
    ocpp_reservation_id: int
    evse_id: int | None
    connector_type: str | None
    id_token: str
    id_token_type: str | None
    group_id: str | None
    valid_from: datetime
    valid_until: datetime
    state: str
    reason: str | None
    transaction_id: str | None
    requested_by: str
    created_at: datetime
    updated_at: datetime


class ReservationFilter(Struct, frozen=True, kw_only=True):
    """Which reservations."""

    station_id: str | None = None
    id_token: str | None = None
    state: str | None = None


class StoredReservation(Struct, frozen=True, kw_only=True):
    """A reservation, locked for a change."""

    id: int
    tenant_id: TenantId
    station_key: StationKey
    ocpp_reservation_id: int
    state: ReservationState
    valid_until: datetime


_SELECT = """
    SELECT r.id::text AS id, s.station_id, r.ocpp_reservation_id, r.evse_id, r.connector_type, r.id_token, r.id_token_type,
        r.group_id, r.valid_from, r.valid_until, r.state, r.reason, r.transaction_id::text AS transaction_id,
        r.requested_by, r.created_at, r.updated_at
    FROM reservation r JOIN charging_station s ON s.key = r.station_key"""
_STORED = "SELECT id, tenant_id, station_key, ocpp_reservation_id, state, valid_until FROM reservation"


async def insert(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    *,
    number: int,
    evse_id: int | None,
    connector_type: str | None,
    id_token: str,
    id_token_type: str | None,
    group_id: str | None,
    valid_until: datetime,
    requested_by: str,
    valid_from: datetime | None = None,
) -> int:
    """A new reservation, not yet asked for; our id.

    Args:
        valid_from: None: from now on.
    """
    ident: int = await db.fetchval(
        "INSERT INTO reservation (tenant_id, station_key, ocpp_reservation_id, evse_id, connector_type, id_token,"
        " id_token_type, group_id, valid_until, state, requested_by, valid_from)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'requested', $10, coalesce($11, now())) RETURNING id",
        tenant_id,
        key,
        number,
        evse_id,
        connector_type,
        id_token,
        id_token_type,
        group_id,
        valid_until,
        requested_by,
        valid_from,
    )
    return ident


async def one(db: Db, tenant_id: TenantId, ident: int) -> ReservationView | None:
    """The reservation with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE r.tenant_id = $1 AND r.id = $2", tenant_id, ident)
    return None if row is None else ReservationView(**row)


RESERVATION_SORTS: Final = Sorts(
    "r.id", valid_from=by_time("r.valid_from"), valid_until=by_time("r.valid_until"), created_at=by_time("r.created_at")
)


async def page(
    db: Db, tenant_id: TenantId, wanted: ReservationFilter, limit: int, after: Position | None
) -> list[ReservationView]:
    """Reservations, newest first."""
    where = Where()
    where.add("r.tenant_id = ?", tenant_id)
    if wanted.station_id is not None:
        where.add("r.station_key = ANY(?)", await keys_of(db, tenant_id, wanted.station_id))
    where.add_if("lower(r.id_token) = lower(?)", wanted.id_token)
    where.add_if("r.state = ?", wanted.state)
    order = RESERVATION_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [ReservationView(**row) for row in rows]


async def locked(db: Db, ident: int) -> StoredReservation | None:
    """A reservation by our id, locked until the transaction ends."""
    return _stored(await db.fetchrow(f"{_STORED} WHERE id = $1 FOR UPDATE", ident))


async def by_number(db: Db, key: StationKey, number: int) -> StoredReservation | None:
    """The station's newest reservation with a number, locked until the transaction ends."""
    return _stored(
        await db.fetchrow(
            f"{_STORED} WHERE station_key = $1 AND ocpp_reservation_id = $2 ORDER BY id DESC LIMIT 1 FOR UPDATE",
            key,
            number,
        )
    )


async def over(db: Db, before: datetime, most: int = 500) -> list[StoredReservation]:
    """Standing ones whose time ended before a moment."""
    rows = await db.fetch(
        f"{_STORED} WHERE state IN ('requested', 'accepted') AND valid_until < $1 ORDER BY valid_until LIMIT $2"
        " FOR UPDATE SKIP LOCKED",
        before,
        most,
    )
    return [found for found in map(_stored, rows) if found is not None]


async def move(
    db: Db, ident: int, state: ReservationState, reason: str | None = None, transaction_id: int | None = None
) -> None:
    """Gives a reservation its new state."""
    await db.execute(
        "UPDATE reservation SET state = $2, reason = $3, transaction_id = coalesce($4, transaction_id), updated_at = now()"
        " WHERE id = $1",
        ident,
        state.value,
        reason,
        transaction_id,
    )


async def next_number(db: Db, key: StationKey) -> int:
    """A number for a reservation, that none of the station's standing ones has."""
    while True:
        number: int = await db.fetchval("SELECT nextval('reservation_id_seq')")
        taken = await db.fetchval(
            "SELECT 1 FROM reservation WHERE station_key = $1 AND ocpp_reservation_id = $2 AND state = ANY($3)",
            key,
            number,
            [state.value for state in STANDING],
        )
        if taken is None:
            return number


def _stored(row: Any) -> StoredReservation | None:
    return None if row is None else StoredReservation(**{**row, "state": ReservationState(row["state"])})
