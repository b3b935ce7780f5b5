"""Bookings: kept, shown, changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.authorization import token_key
from chargeplane.domain.bookings.fees import BookingCharge
from chargeplane.domain.bookings.policy import BookingPolicy
from chargeplane.domain.bookings.states import HOLDING, OPEN, BookingState
from chargeplane.domain.bookings.terms import BookingTerms
from chargeplane.domain.bookings.times import BookingTimes
from chargeplane.domain.cdrs.session import RoamingDriver
from chargeplane.domain.roaming.authorization import driver_from, driver_text
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time

HELD: Final = "('created', 'confirmed', 'active', 'used')"
"""As the constraint has it, so that its index is used."""

assert set(HELD.strip("()").replace("'", "").split(", ")) == {state.value for state in HOLDING}

_OPEN: Final = [state.value for state in OPEN]
_text = msgspec.json.Encoder(decimal_format="string").encode
_terms = msgspec.json.Decoder(BookingTerms).decode
_money = msgspec.json.Decoder(Money).decode
_charges = msgspec.json.Decoder(tuple[BookingCharge, ...]).decode
_policy = msgspec.json.Decoder(BookingPolicy, strict=False).decode


class Booking(Struct, frozen=True, kw_only=True):
    """A booking with the place that is booked.

    Args:
        station_key, ocpp_evse_id: what the EVSE is bound to now.
        evse_closed: a person declared the EVSE to be out of service.
        kept_by: `station`, `us` where it cannot; None while nobody does.
        charges: what was charged for it without a session.
        due_at: when it is looked at next.
        roaming: whose driver it is for, where that is a partner's.
        other_keys: of further id tokens that may use it.
    """

    id: int
    tenant_id: TenantId
    evse_key: int
    evse_uid: str
    location_id: str
    location_key: int
    time_zone: str
    station_key: StationKey | None
    station_id: str | None
    ocpp_evse_id: int | None
    evse_removed: bool
    evse_closed: bool
    connector_id: str | None
    standard: str | None
    power_w: int
    times: BookingTimes
    state: BookingState
    reason: str | None
    id_token: str
    id_token_type: str | None
    group_id: str | None
    driver_id: str | None
    terms: BookingTerms
    tariff_id: str | None
    tariff_version: int | None
    price: Money | None
    may_move: bool
    moved_from: tuple[str, ...]
    confirm_by: datetime | None
    announced_at: datetime | None
    kept_at: datetime | None
    kept_by: str | None
    walk_in: int | None
    walk_in_stopped: int | None
    display_number: int | None
    transaction_id: int | None
    used_at: datetime | None
    ended_at: datetime | None
    charges: tuple[BookingCharge, ...]
    revision: int
    requested_by: str
    created_at: datetime
    updated_at: datetime
    payment_id: int | None = None
    roaming: RoamingDriver | None = None
    other_keys: tuple[str, ...] = ()


class BookingFilter(Struct, frozen=True, kw_only=True):
    """Which bookings.

    Args:
        starts_from, starts_to: of their beginning; the end does not belong.
    """

    state: str | None = None
    location_id: str | None = None
    evse_uid: str | None = None
    id_token: str | None = None
    driver_id: str | None = None
    starts_from: datetime | None = None
    starts_to: datetime | None = None


class NewBooking(Struct, frozen=True, kw_only=True):
    """What is written down of a new booking."""

    evse_key: int
    connector_id: str | None
    standard: str | None
    power_w: int
    times: BookingTimes
    state: BookingState
    id_token: str
    id_token_type: str | None
    group_id: str | None
    driver_id: str | None
    terms: BookingTerms
    tariff_id: str | None
    tariff_version: int | None
    price: Money | None
    may_move: bool
    confirm_by: datetime | None
    due_at: datetime | None
    requested_by: str
    payment_id: int | None = None
    roaming: RoamingDriver | None = None
    other_keys: tuple[str, ...] = ()


_SELECT: Final = """SELECT b.id, b.tenant_id, b.evse_key, e.uid AS evse_uid, l.id AS location_id, l.key AS location_key, l.time_zone,
    e.station_key, s.station_id, e.ocpp_evse_id, e.removed_at IS NOT NULL AS evse_removed,
    e.body::jsonb ->> 'declared_status' IS NOT NULL AS evse_closed, b.connector_id, b.standard, b.power_w, b.starts_at, b.ends_at, b.blocked_until,
    b.announce_at, b.ask_at, b.no_show_at, b.state, b.reason, b.id_token, b.id_token_type, b.group_id, b.driver_id, b.terms,
    b.tariff_id, b.tariff_version, b.price, b.may_move, b.moved_from, b.confirm_by, b.announced_at, b.kept_at, b.kept_by,
    b.walk_in, b.walk_in_stopped, b.display_number, b.transaction_id, b.used_at, b.ended_at, b.charges, b.revision,
    b.requested_by, b.created_at, b.updated_at, b.payment_id, b.roaming, b.other_keys
    FROM booking b JOIN evse e ON e.key = b.evse_key JOIN location l ON l.key = e.location_key
    LEFT JOIN charging_station s ON s.key = e.station_key"""

_OWN: Final = """(t.token_key = b.token_key OR t.token_key = ANY (b.other_keys) OR (b.group_id IS NOT NULL AND EXISTS (SELECT FROM id_token i
    WHERE i.tenant_id = b.tenant_id AND i.token_key = t.token_key AND i.group_id = b.group_id))
    OR EXISTS (SELECT FROM booking_hold h WHERE h.booking_id = b.id AND h.station_key = t.station_key AND h.number = t.reservation_id))"""

_HERE: Final = """t.station_key = e.station_key AND t.evse_id = e.ocpp_evse_id"""

_TIMES: Final = tuple(BookingTimes.__struct_fields__)


def booking_of(row: Any) -> Booking:
    """A row as a booking."""
    fields = dict(row)
    times = BookingTimes(**{name: fields.pop(name) for name in _TIMES})
    return Booking(
        **{
            **fields,
            "times": times,
            "state": BookingState(fields["state"]),
            "terms": _terms(fields["terms"]),
            "price": None if fields["price"] is None else _money(fields["price"]),
            "charges": _charges(fields["charges"]),
            "moved_from": tuple(fields["moved_from"]),
            "roaming": None if fields["roaming"] is None else driver_from(fields["roaming"]),
            "other_keys": tuple(fields["other_keys"]),
        }
    )


async def policy(db: Db, tenant_id: TenantId) -> BookingPolicy:
    """What the tenant wants; the defaults where it never said."""
    body: str | None = await db.fetchval("SELECT body FROM booking_policy WHERE tenant_id = $1", tenant_id)
    return BookingPolicy() if body is None else _policy(body)


async def put_policy(db: Db, tenant_id: TenantId, wanted: BookingPolicy) -> None:
    """What the tenant wants from now on."""
    await db.execute(
        "INSERT INTO booking_policy (tenant_id, body) VALUES ($1, $2)"
        " ON CONFLICT (tenant_id) DO UPDATE SET body = excluded.body, updated_at = now()",
        tenant_id,
        _text(wanted).decode(),
    )


async def one(db: Db, tenant_id: TenantId, ident: int) -> Booking | None:
    """The booking with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE b.tenant_id = $1 AND b.id = $2", tenant_id, ident)
    return None if row is None else booking_of(row)


async def locked(db: Db, ident: int) -> Booking | None:
    """The booking, locked until the transaction ends."""
    row = await db.fetchrow(f"{_SELECT} WHERE b.id = $1 FOR NO KEY UPDATE OF b", ident)
    return None if row is None else booking_of(row)


BOOKING_SORTS: Final = Sorts("b.id", starts_at=by_time("b.starts_at"), ends_at=by_time("b.ends_at"))


async def page(db: Db, tenant_id: TenantId, wanted: BookingFilter, limit: int, after: Position | None) -> list[Booking]:
    """Bookings, newest first."""
    where = Where()
    where.add("b.tenant_id = ?", tenant_id)
    where.add_if("b.state = ?", wanted.state)
    where.add_if("b.driver_id = ?", wanted.driver_id)
    where.add_if("b.starts_at >= ?", wanted.starts_from)
    where.add_if("b.starts_at < ?", wanted.starts_to)
    where.add_if("lower(e.uid) = lower(?)", wanted.evse_uid)
    where.add_if("lower(l.id) = lower(?)", wanted.location_id)
    if wanted.id_token is not None:
        where.add("b.token_key = ?", token_key(wanted.id_token))
    order = BOOKING_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [booking_of(row) for row in rows]


async def lock_driver(db: Db, tenant_id: TenantId, driver: str) -> None:
    """One at a time for a driver: two who book together are counted one after the other."""
    await db.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('chargeplane.booking.' || $1::text, $2))", driver, tenant_id
    )


async def lock_evse(db: Db, evse_key: int) -> None:
    """One at a time for an EVSE, so that those who want the same wait for one another and do not collide in the constraint."""
    await db.execute("SELECT FROM evse WHERE key = $1 FOR NO KEY UPDATE", evse_key)


async def count_open(db: Db, tenant_id: TenantId, id_token: str, driver_id: str | None, but: int | None = None) -> int:
    """Bookings that a driver has before them.

    Args:
        driver_id: None: those of the id token.
        but: not this one.
    """
    who = "token_key = $2" if driver_id is None else "driver_id = $2"
    count: int = await db.fetchval(
        f"SELECT count(*) FROM booking WHERE tenant_id = $1 AND {who} AND state = ANY($3) AND id IS DISTINCT FROM $4",
        tenant_id,
        token_key(id_token) if driver_id is None else driver_id,
        _OPEN,
        but,
    )
    return count


async def insert(db: Db, tenant_id: TenantId, new: NewBooking) -> int:
    """A new booking; our id. asyncpg's ExclusionViolationError where the EVSE is booked."""
    ident: int = await db.fetchval(
        "INSERT INTO booking (tenant_id, evse_key, connector_id, standard, power_w, starts_at, ends_at, blocked_until,"
        " announce_at, ask_at, no_show_at, state, id_token, id_token_type, token_key, group_id, driver_id, terms, tariff_id,"
        " tariff_version, price, may_move, confirm_by, due_at, requested_by, payment_id, roaming, other_keys)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,"
        " $24, $25, $26, $27, $28) RETURNING id",
        tenant_id,
        new.evse_key,
        new.connector_id,
        new.standard,
        new.power_w,
        *_times(new.times),
        new.state.value,
        new.id_token,
        new.id_token_type,
        token_key(new.id_token),
        new.group_id,
        new.driver_id,
        _text(new.terms).decode(),
        new.tariff_id,
        new.tariff_version,
        None if new.price is None else _text(new.price).decode(),
        new.may_move,
        new.confirm_by,
        new.due_at,
        new.requested_by,
        new.payment_id,
        None if new.roaming is None else driver_text(new.roaming),
        list(new.other_keys),
    )
    return ident


async def set_tokens(
    db: Db, ident: int, id_token: str, id_token_type: str | None, other_keys: Sequence[str], roaming: RoamingDriver
) -> None:
    """Other id tokens use the booking of a partner's driver.

    Args:
        id_token: as the station is told it.
        other_keys: as tokens are compared.
    """
    await db.execute(
        "UPDATE booking SET id_token = $2, id_token_type = $3, token_key = $4, other_keys = $5, roaming = $6,"
        " revision = revision + 1, updated_at = now() WHERE id = $1",
        ident,
        id_token,
        id_token_type,
        token_key(id_token),
        list(other_keys),
        driver_text(roaming),
    )


async def also_known(db: Db, tenant_id: TenantId, station_key: StationKey, uid: str, presented: str) -> None:
    """A station knows a partner's token by another name: bookings of it there are used by that, too."""
    await db.execute(
        "UPDATE booking b SET other_keys = array_append(b.other_keys, $4::text) FROM evse e WHERE e.key = b.evse_key"
        " AND e.station_key = $2 AND b.tenant_id = $1 AND b.state = 'active' AND b.roaming IS NOT NULL"
        " AND lower(b.roaming::jsonb ->> 'uid') = lower($3) AND NOT b.other_keys @> ARRAY[$4::text]",
        tenant_id,
        station_key,
        uid,
        token_key(presented),
    )


def _times(times: BookingTimes) -> tuple[datetime, ...]:
    return (
        times.starts_at,
        times.ends_at,
        times.blocked_until,
        times.announce_at,
        times.ask_at,
        times.no_show_at,
    )


async def change(
    db: Db,
    ident: int,
    *,
    evse_key: int,
    connector_id: str | None,
    times: BookingTimes,
    state: BookingState,
    may_move: bool,
    announced: bool,
    due_at: datetime | None,
    price: Money | None,
) -> None:
    """Another EVSE or interval, in one statement: never neither, never both. ExclusionViolationError as for `insert`."""
    await db.execute(
        "UPDATE booking SET evse_key = $2, connector_id = $3, starts_at = $4, ends_at = $5, blocked_until = $6,"
        " announce_at = $7, ask_at = $8, no_show_at = $9, state = $10, may_move = $11,"
        " announced_at = CASE WHEN $12 THEN announced_at END, due_at = $13, price = $14, kept_at = CASE WHEN evse_key = $2"
        " AND state = $10 THEN kept_at END, kept_by = CASE WHEN evse_key = $2 AND state = $10 THEN kept_by END,"
        " revision = revision + 1, updated_at = now() WHERE id = $1",
        ident,
        evse_key,
        connector_id,
        *_times(times),
        state.value,
        may_move,
        announced,
        due_at,
        None if price is None else _text(price).decode(),
    )


async def move_to(db: Db, ident: int, evse_key: int, connector_id: str | None, left: str) -> None:
    """Puts a booking on an equal EVSE. ExclusionViolationError as for `insert`.

    Args:
        left: uid of the EVSE that it was on.
    """
    await db.execute(
        "UPDATE booking SET evse_key = $2, connector_id = $3, moved_from = moved_from || $4::text, kept_at = NULL,"
        " kept_by = NULL, walk_in = NULL, walk_in_stopped = NULL, display_number = NULL, revision = revision + 1,"
        " updated_at = now() WHERE id = $1",
        ident,
        evse_key,
        connector_id,
        left,
    )


async def set_state(
    db: Db,
    ident: int,
    state: BookingState,
    *,
    reason: str | None = None,
    due_at: datetime | None = None,
    transaction_id: int | None = None,
    used_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> None:
    """Gives a booking its new state."""
    await db.execute(
        "UPDATE booking SET state = $2, reason = coalesce($3, reason), due_at = $4, transaction_id = coalesce($5,"
        " transaction_id), used_at = coalesce($6, used_at), ended_at = coalesce($7, ended_at), revision = revision + 1,"
        " updated_at = now() WHERE id = $1",
        ident,
        state.value,
        reason,
        due_at,
        transaction_id,
        used_at,
        ended_at,
    )


async def payment_free(db: Db, tenant_id: TenantId, payment_id: int) -> str | None:
    """The state of a payment that no session and no booking has, locked; None where there is none such."""
    state: str | None = await db.fetchval(
        "SELECT state FROM payment WHERE tenant_id = $1 AND id = $2 AND session_id IS NULL AND purpose = 'session'"
        " AND NOT EXISTS (SELECT FROM booking WHERE payment_id = $2) FOR UPDATE",
        tenant_id,
        payment_id,
    )
    return state


async def charge(db: Db, booking: Booking, made: BookingCharge) -> None:
    """Writes down what is charged."""
    await db.execute(
        "UPDATE booking SET charges = $2, updated_at = now() WHERE id = $1",
        booking.id,
        _text((*booking.charges, made)).decode(),
    )


async def announced(db: Db, ident: int, at: datetime, due_at: datetime | None) -> None:
    """It was told what is coming."""
    await db.execute("UPDATE booking SET announced_at = $2, due_at = $3 WHERE id = $1", ident, at, due_at)


async def kept(db: Db, ident: int, at: datetime, by: str) -> bool:
    """The EVSE is kept; whether that is new."""
    return (
        await db.fetchval(
            "UPDATE booking SET kept_at = coalesce(kept_at, $2), kept_by = $3, reason = NULL, updated_at = now() WHERE id = $1"
            " AND state = 'active' AND kept_by IS DISTINCT FROM $3 RETURNING true",
            ident,
            at,
            by,
        )
        is True
    )


async def displayed(db: Db, ident: int, number: int | None) -> None:
    """The number of the message on the station's display."""
    await db.execute("UPDATE booking SET display_number = $2 WHERE id = $1", ident, number)


async def walk_in(db: Db, ident: int, transaction_id: int, *, stopped: bool) -> None:
    """The driver of a session that is in the way was warned, or stopped."""
    column = "walk_in_stopped" if stopped else "walk_in"
    await db.execute(f"UPDATE booking SET {column} = $2 WHERE id = $1", ident, transaction_id)


async def of_transaction(db: Db, tenant_id: TenantId, transaction_id: int) -> Booking | None:
    """The booking that a session used."""
    row = await db.fetchrow(
        f"{_SELECT} WHERE b.transaction_id = $2 AND b.tenant_id = $1 ORDER BY b.id LIMIT 1", tenant_id, transaction_id
    )
    return None if row is None else booking_of(row)


async def for_transaction(db: Db, tenant_id: TenantId, transaction_id: int) -> Booking | None:
    """The booking that a session uses, also where that was not written down yet."""
    row = await db.fetchrow(
        f"""{_SELECT} JOIN transaction t ON t.id = $2 AND t.tenant_id = b.tenant_id
        WHERE b.tenant_id = $1 AND (b.transaction_id = t.id OR (b.state = 'active' AND {_HERE} AND {_OWN}))
        ORDER BY b.transaction_id IS NULL, b.starts_at, b.id LIMIT 1""",
        tenant_id,
        transaction_id,
    )
    return None if row is None else booking_of(row)


async def fact(db: Db, tenant_id: TenantId, topic: str, ident: int, payload: object) -> None:
    """A fact of a booking, in the caller's change; in order per booking."""
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        tenant_id,
        topic,
        f"booking {ident}",
        _text(payload).decode(),
    )


# What is due


async def take_due(db: Db, now: datetime, most: int) -> list[Booking]:
    """Bookings whose time has come, locked; those that another node looks at are left to it."""
    rows = await db.fetch(
        f"{_SELECT} WHERE b.due_at <= $1 ORDER BY b.due_at LIMIT $2 FOR NO KEY UPDATE OF b SKIP LOCKED", now, most
    )
    return [booking_of(row) for row in rows]


class Came(Struct, frozen=True, kw_only=True):
    """A transaction of a booking's driver at its EVSE."""

    booking_id: int
    transaction_id: int
    started_at: datetime


async def came(db: Db, ident: int | None = None) -> list[Came]:
    """Transactions of drivers that are expected: those that begin while they are, and those that still run from before.

    Args:
        ident: of this booking only.
    """
    rows = await db.fetch(
        f"""SELECT DISTINCT ON (b.id) b.id AS booking_id, t.id AS transaction_id, t.started_at
        FROM booking b JOIN evse e ON e.key = b.evse_key
        JOIN transaction t ON {_HERE} AND t.opened_at >= b.ask_at - interval '1 day' AND t.tenant_id = b.tenant_id
        WHERE b.state = 'active' AND ($1::bigint IS NULL OR b.id = $1) AND (t.is_open OR t.opened_at >= b.ask_at)
        AND {_OWN} AND NOT EXISTS (SELECT FROM booking o WHERE o.transaction_id = t.id)
        ORDER BY b.id, t.opened_at, t.id LIMIT 1000""",
        ident,
    )
    return [Came(**row) for row in rows]


async def left(db: Db) -> list[tuple[int, datetime | None]]:
    """Bookings in use whose sessions have ended, and when."""
    rows = await db.fetch(
        "SELECT b.id, t.stopped_at FROM booking b JOIN transaction t ON t.id = b.transaction_id"
        " WHERE b.state = 'used' AND NOT t.is_open LIMIT 1000"
    )
    return [(row["id"], row["stopped_at"]) for row in rows]


class InTheWay(Struct, frozen=True, kw_only=True):
    """A session of somebody else at an EVSE that is booked."""

    booking_id: int
    transaction_id: int
    ocpp_transaction_id: str | None
    station_key: StationKey
    warned: bool
    stopped: bool
    begun: bool


async def in_the_way(db: Db, now: datetime) -> list[InTheWay]:
    """Open sessions at EVSEs for whose drivers we wait, and that were not dealt with."""
    rows = await db.fetch(
        f"""SELECT b.id AS booking_id, t.id AS transaction_id, t.ocpp_transaction_id, t.station_key,
            b.walk_in IS NOT DISTINCT FROM t.id AS warned, b.walk_in_stopped IS NOT DISTINCT FROM t.id AS stopped,
            b.starts_at <= $1 AS begun
        FROM booking b JOIN evse e ON e.key = b.evse_key JOIN open_transaction o ON o.station_key = e.station_key
        JOIN transaction t ON t.id = o.transaction_id AND {_HERE} AND t.is_open
        WHERE b.state = 'active' AND NOT {_OWN}
        AND (b.walk_in IS DISTINCT FROM t.id OR (b.starts_at <= $1 AND b.walk_in_stopped IS DISTINCT FROM t.id))
        ORDER BY b.id LIMIT 1000""",
        now,
    )
    return [InTheWay(**row) for row in rows]


async def guarding(db: Db, station_key: StationKey, evse_id: int | None, now: datetime) -> list[Booking]:
    """Bookings whose drivers are expected, or charge, at a station now.

    Args:
        evse_id: at this EVSE; None: at any.
    """
    rows = await db.fetch(
        f"{_SELECT} WHERE e.station_key = $1 AND ($2::integer IS NULL OR e.ocpp_evse_id = $2)"
        " AND b.state = 'active' AND b.ask_at <= $3 AND b.ends_at > $3 ORDER BY b.starts_at LIMIT 100",
        station_key,
        evse_id,
        now,
    )
    return [booking_of(row) for row in rows]


async def evses_of_station(db: Db, station_key: StationKey) -> int:
    """How many EVSEs are bound to a station."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM evse WHERE station_key = $1 AND removed_at IS NULL", station_key
    )
    return count


# The time of EVSEs


class Taken(Struct, frozen=True, kw_only=True):
    """An interval in which an EVSE is booked; whose it is is nobody's business.

    Args:
        until: with the buffer.
    """

    evse_uid: str
    starts_at: datetime
    until: datetime
    state: str


async def taken(db: Db, tenant_id: TenantId, evse_keys: Sequence[int], since: datetime, until: datetime) -> list[Taken]:
    """When EVSEs are booked, in order."""
    rows = await db.fetch(
        "SELECT e.uid AS evse_uid, b.starts_at, b.blocked_until AS until, b.state FROM booking b JOIN evse e"
        f" ON e.key = b.evse_key WHERE b.evse_key = ANY($2) AND b.tenant_id = $1 AND b.state IN {HELD}"
        " AND b.starts_at < $4 AND b.blocked_until > $3 ORDER BY b.starts_at LIMIT 5000",
        tenant_id,
        list(evse_keys),
        since,
        until,
    )
    return [Taken(**row) for row in rows]
