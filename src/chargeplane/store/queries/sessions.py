"""Charging sessions: the business view of transactions."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.agreements.limits import LimitNote
from chargeplane.domain.authorization import token_key
from chargeplane.domain.cdrs.cdr import SignedSummary
from chargeplane.domain.cdrs.session import Frozen, Override, SessionState, frozen_of, frozen_text, override_of
from chargeplane.domain.transaction_state import Flag
from chargeplane.kernel.ids import StationKey, TenantId, TransactionId
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time
from chargeplane.store.queries.session_transactions import SessionTransaction

_encode: Final = msgspec.json.Encoder().encode
_limits = msgspec.json.Decoder(tuple[LimitNote, ...]).decode
_signed = msgspec.json.Decoder(SignedSummary).decode


class Session(Struct, frozen=True, kw_only=True):
    """A session as stored.

    Args:
        id: of its transaction.
        cost_excl, cost_incl: in minor units; None where no tariff holds, or nothing was rated yet.
        shown_cost: what the station was last told to show.
        settle_at: ended: until when what is missing may come.
        rated_ordinal: of the newest event that was rated.
        limits: of its agreement, that lowered or ended it.
    """

    id: TransactionId
    tenant_id: TenantId
    state: SessionState
    station_key: StationKey
    token_key: str | None
    payment_id: int | None
    frozen: Frozen
    started_at: datetime
    stopped_at: datetime | None
    energy_wh: Decimal
    currency: str | None
    cost_excl: Decimal | None
    cost_incl: Decimal | None
    shown_cost: Decimal | None
    flags: tuple[Flag, ...]
    override: Override | None
    signed: SignedSummary | None
    settle_at: datetime | None
    rated_at: datetime | None
    rated_ordinal: int
    created_at: datetime
    updated_at: datetime
    limits: tuple[LimitNote, ...] = ()


class SessionFilter(Struct, frozen=True, kw_only=True):
    """Which sessions. `started_from` is included, `started_to` not."""

    state: SessionState | None = None
    location_id: str | None = None
    evse_uid: str | None = None
    station_id: str | None = None
    id_token: str | None = None
    driver_id: int | None = None
    agreement_id: int | None = None
    payment_id: int | None = None
    tariff_id: str | None = None
    started_from: datetime | None = None
    started_to: datetime | None = None


_COLUMNS: Final = (
    "id, tenant_id, state, station_key, token_key, payment_id, frozen, started_at, stopped_at, energy_wh, currency, cost_excl, cost_incl, shown_cost,"
    " flags, override, signed, settle_at, rated_at, rated_ordinal, created_at, updated_at,"
    " (SELECT json_agg(json_build_object('kind', l.kind, 'value', l.value, 'stopped', l.stopped) ORDER BY l.noted_at)::text"
    " FROM session_limit l WHERE l.transaction_id = charging_session.id) AS limits"
)
_FLAGS: Final = {flag.value: flag for flag in Flag}


SESSION_SORTS: Final = Sorts(
    "id",
    default="-started_at",
    ident_of=lambda pair: (pair[0][1],),
    item=lambda pair: pair[1],
    started_at=by_time("started_at"),
)


async def page(db: Db, tenant_id: TenantId, wanted: SessionFilter, limit: int, after: Position | None) -> list[Session]:
    """Sessions, the one that started last first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("state = ?", wanted.state)
    where.add_if("location_id = ?", wanted.location_id)
    where.add_if("evse_uid = ?", wanted.evse_uid)
    if wanted.station_id is not None:
        where.add("station_key = ANY(?)", await keys_of(db, tenant_id, wanted.station_id))
    where.add_if("token_key = ?", None if wanted.id_token is None else token_key(wanted.id_token))
    where.add_if("driver_id = ?", wanted.driver_id)
    where.add_if("agreement_id = ?", wanted.agreement_id)
    where.add_if("payment_id = ?", wanted.payment_id)
    where.add_if("tariff_id = ?", wanted.tariff_id)
    where.add_if("started_at >= ?", wanted.started_from)
    where.add_if("started_at < ?", wanted.started_to)
    order = SESSION_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM charging_session WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_session(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> Session | None:
    """The session with our id."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM charging_session WHERE tenant_id = $1 AND id = $2", tenant_id, ident
    )
    return None if row is None else _session(row)


async def locked(db: Db, tenant_id: TenantId, ident: int) -> Session | None:
    """The session, locked until the transaction ends."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM charging_session WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant_id, ident
    )
    return None if row is None else _session(row)


async def insert(db: Db, transaction: SessionTransaction, frozen: Frozen) -> bool:
    """A new session; False where it is there already."""
    made = await db.fetchval(
        "INSERT INTO charging_session (id, tenant_id, state, location_id, evse_uid, connector_id, station_key, token_key,"
        " driver_id, agreement_id, payment_id, tariff_id, tariff_version, frozen, started_at, stopped_at, energy_wh, flags)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
        " ON CONFLICT (id) DO NOTHING RETURNING id",
        transaction.id,
        transaction.tenant_id,
        SessionState.ACTIVE.value,
        frozen.place.id,
        frozen.place.evse_uid,
        frozen.place.connector_id,
        transaction.station_key,
        transaction.token_key,
        frozen.driver_id,
        None if frozen.agreement is None else frozen.agreement.id,
        frozen.payment_id,
        frozen.tariff_id,
        frozen.tariff_version,
        frozen_text(frozen),
        transaction.started_at,
        transaction.stopped_at,
        transaction.energy_wh,
        [flag.value for flag in transaction.flags],
    )
    return made is not None


async def bind_payment(db: Db, tenant_id: TenantId, ident: int, payment_id: int) -> None:
    """Says by which payment a session is paid, where that became known after it began."""
    await db.execute(
        "UPDATE charging_session SET payment_id = $3, updated_at = now() WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        ident,
        payment_id,
    )


async def update(
    db: Db,
    transaction: SessionTransaction,
    state: SessionState,
    *,
    energy_wh: Decimal,
    cost: tuple[Decimal, Decimal] | None,
    currency: str | None,
    settle_at: datetime | None = None,
    signed: SignedSummary | None = None,
) -> bool:
    """What is known of a session now; False where it is unchanged.

    Args:
        cost: before and after taxes.
        settle_at: None leaves what is there.
    """
    excl, incl = cost or (None, None)
    changed = await db.fetchval(
        "UPDATE charging_session SET state = $2, started_at = $3, stopped_at = $4, energy_wh = $5, currency = $6, cost_excl = $7,"
        " cost_incl = $8, flags = $9, rated_ordinal = $10, settle_at = coalesce($11, settle_at),"
        " signed = coalesce($12, signed), rated_at = now(), updated_at = now()"
        " WHERE id = $1 AND (state, started_at, stopped_at, energy_wh, currency, cost_excl, cost_incl, flags, rated_ordinal,"
        "   coalesce(settle_at, '-infinity'), coalesce(signed, ''))"
        " IS DISTINCT FROM ($2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce($11, settle_at, '-infinity'),"
        "   coalesce($12, signed, '')) RETURNING id",
        transaction.id,
        state.value,
        transaction.started_at,
        transaction.stopped_at,
        energy_wh,
        currency,
        excl,
        incl,
        [flag.value for flag in transaction.flags],
        transaction.ordinal,
        settle_at,
        None if signed is None else _encode(signed).decode(),
    )
    return changed is not None


async def set_state(db: Db, ident: int, state: SessionState) -> None:
    """Another state, nothing else."""
    await db.execute("UPDATE charging_session SET state = $2, updated_at = now() WHERE id = $1", ident, state.value)


async def set_override(db: Db, ident: int, override: Override) -> None:
    """What a person set."""
    await db.execute(
        "UPDATE charging_session SET override = $2, tariff_id = coalesce($3, tariff_id),"
        " tariff_version = coalesce($4, tariff_version), updated_at = now() WHERE id = $1",
        ident,
        frozen_text(override),
        override.tariff_id,
        override.tariff_version,
    )


async def shown(db: Db, ident: int, cost: Decimal) -> None:
    """What the station was told to show."""
    await db.execute("UPDATE charging_session SET shown_cost = $2 WHERE id = $1", ident, cost)


async def costs_shown(db: Db, key: StationKey, transaction_id: int) -> bool:
    """Whether a station is to be told what a session costs: it shows it, or keeps a limit of cost that it was given (OCPP 2.1 E16.FR.11)."""
    wanted: bool | None = await db.fetchval(
        "SELECT EXISTS (SELECT FROM transaction_limit l WHERE l.transaction_id = $2 AND (l.limits::jsonb->>'max_cost') IS NOT NULL"
        " AND l.limits::jsonb->'kept' ? 'maxCost') OR coalesce((s.settings->>'show_costs')::boolean, (t.settings->>'show_costs')::boolean, true)"
        " FROM charging_station s JOIN tenant t ON t.id = s.tenant_id WHERE s.key = $1",
        key,
        transaction_id,
    )
    return bool(wanted)


def _session(row: Any) -> Session:
    return Session(
        **{
            **row,
            "state": SessionState(row["state"]),
            "frozen": frozen_of(row["frozen"]),
            "flags": tuple(_FLAGS[word] for word in row["flags"] if word in _FLAGS),
            "override": override_of(row["override"]),
            "signed": None if row["signed"] is None else _signed(row["signed"]),
            "limits": () if row["limits"] is None else _limits(row["limits"]),
        }
    )
