"""Drivers, and whose id tokens are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.authorization import token_key
from chargeplane.domain.people.drivers import DriverContent, DriverStatus, TokenOrigin, email_key, name_of
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, like


class DriverView(DriverContent, frozen=True, kw_only=True, omit_defaults=False):
    """A driver.

    Args:
        id: ours.
        status_reason: why the driver is blocked or closed.
        email_verified: whether the driver read a mail sent there.
        has_password: whether the driver can sign in by one.
        external_id: the operator's own number.
        user_groups: names that agreements and tariffs may be for.
        revision: rises with every change; the ETag.
    """

    id: str
    status: DriverStatus
    status_reason: str | None
    email: str | None
    email_verified: bool
    has_password: bool
    external_id: str | None
    user_groups: tuple[str, ...]
    revision: int
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    erased_at: datetime | None


class DriverIdTokenView(Struct, frozen=True, kw_only=True):
    """An id token of a driver.

    Args:
        id: of the id token, as in `/v1/id-tokens`.
        confirmed: false while a car's address waits for its first charging session.
        visual_number: printed on the card, where it is one.
    """

    id: str
    driver_id: str
    id_token: str
    type: str
    status: str
    origin: TokenOrigin
    label: str | None
    vehicle_id: str | None
    visual_number: str | None
    confirmed: bool
    valid_until: datetime | None
    created_at: datetime


class OwnTransactionFilter(Struct, frozen=True, kw_only=True):
    """Which of one's transactions. `started_from` is included, `started_to` not."""

    is_open: bool | None = None
    started_from: datetime | None = None
    started_to: datetime | None = None


class DriverFilter(Struct, frozen=True, kw_only=True):
    """Which drivers. `q` is looked for in names, e-mail, company, tax id and the operator's number, without case."""

    q: str | None = None
    status: str | None = None
    email: str | None = None
    external_id: str | None = None
    user_group: str | None = None
    id_token: str | None = None


class TokenOwner(Struct, frozen=True, kw_only=True):
    """Whose an id token is."""

    id_token_id: int
    driver_id: int
    user_groups: tuple[str, ...]


_COLUMNS = (
    "driver.id::text AS id, status, status_reason, email, email_verified_at IS NOT NULL AS email_verified,"
    " password_hash IS NOT NULL AS has_password, external_id, user_groups, body, revision, driver.created_at, driver.updated_at,"
    " closed_at, erased_at"
)
_content = msgspec.json.Decoder(DriverContent).decode


def _view(row: Any) -> DriverView:
    values = dict(row)
    content = _content(values.pop("body"))
    values["user_groups"] = tuple(values["user_groups"])
    values["status"] = DriverStatus(values["status"])
    return DriverView(**values, **{name: getattr(content, name) for name in content.__struct_fields__})


def content_of(view: DriverView) -> DriverContent:
    """What is told of the driver, alone."""
    return DriverContent(**{name: getattr(view, name) for name in DriverContent.__struct_fields__})


def _search(email: str | None, external_id: str | None, content: DriverContent) -> str:
    parts = (name_of(content), content.company, email, external_id, content.tax_id, content.phone)
    return "\n".join(part for part in parts if part).lower()


DRIVER_SORTS: Final = Sorts("driver.id", email=by_text("email", missing=True))


async def page(
    db: Db, tenant_id: TenantId, wanted: DriverFilter, limit: int, after: Position | None
) -> list[DriverView]:
    """Drivers, newest first; at most `limit`."""
    where = Where()
    where.add("driver.tenant_id = ?", tenant_id)
    if wanted.status is None:
        where.add("driver.erased_at IS NULL")
    where.add_if("status = ?", wanted.status)
    where.add_if("email_key = ?", None if wanted.email is None else email_key(wanted.email))
    where.add_if("external_id = ?", wanted.external_id)
    where.add_if("user_groups @> ARRAY[?::text]", wanted.user_group)
    if wanted.q is not None:
        where.add("search LIKE ?", like(wanted.q))
    if wanted.id_token is not None:
        where.add(
            "driver.id IN (SELECT d.driver_id FROM driver_id_token d JOIN id_token i ON i.id = d.id_token_id"
            " WHERE i.token_key = ? AND i.tenant_id = ?)",
            token_key(wanted.id_token),
            tenant_id,
        )
    order = DRIVER_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM driver WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> DriverView | None:
    """The driver with our id.

    Args:
        lock: until the transaction ends.
    """
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM driver WHERE tenant_id = $1 AND driver.id = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else _view(row)


async def by_email(db: Db, tenant_id: TenantId, email: str) -> DriverView | None:
    """The driver with this e-mail address."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM driver WHERE tenant_id = $1 AND email_key = $2", tenant_id, email_key(email)
    )
    return None if row is None else _view(row)


async def insert(
    db: Db,
    tenant_id: TenantId,
    content: DriverContent,
    *,
    email: str | None,
    external_id: str | None = None,
    user_groups: Sequence[str] = (),
    password_hash: str | None = None,
) -> DriverView:
    """A new driver.

    Raises:
        asyncpg.UniqueViolationError: the tenant has one with this e-mail address or number.
    """
    row = await db.fetchrow(
        "INSERT INTO driver (tenant_id, email, email_key, external_id, user_groups, password_hash, body, search)"
        f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_COLUMNS}",
        tenant_id,
        email,
        None if email is None else email_key(email),
        external_id,
        list(user_groups),
        password_hash,
        msgspec.json.encode(content).decode(),
        _search(email, external_id, content),
    )
    assert row is not None
    return _view(row)


async def update(
    db: Db,
    ident: int,
    content: DriverContent,
    *,
    email: str | None,
    external_id: str | None,
    user_groups: Sequence[str],
    verified: bool,
) -> DriverView:
    """Tells anew of a driver.

    Args:
        verified: whether the e-mail address is known to be the driver's.
    Raises:
        asyncpg.UniqueViolationError: the tenant has another with this e-mail address or number.
    """
    row = await db.fetchrow(
        "UPDATE driver SET email = $2, email_key = $3, external_id = $4, user_groups = $5, body = $6, search = $7,"
        " email_verified_at = CASE WHEN $8 THEN coalesce(email_verified_at, now()) END,"
        f" revision = revision + 1, updated_at = now() WHERE id = $1 RETURNING {_COLUMNS}",
        ident,
        email,
        None if email is None else email_key(email),
        external_id,
        list(user_groups),
        msgspec.json.encode(content).decode(),
        _search(email, external_id, content),
        verified,
    )
    assert row is not None
    return _view(row)


async def set_status(db: Db, ident: int, status: DriverStatus, reason: str | None) -> DriverView:
    """What the driver may do from now on."""
    row = await db.fetchrow(
        "UPDATE driver SET status = $2, status_reason = $3, revision = revision + 1, updated_at = now(),"
        f" closed_at = CASE WHEN $2 = 'closed' THEN now() ELSE closed_at END WHERE id = $1 RETURNING {_COLUMNS}",
        ident,
        status.value,
        reason,
    )
    assert row is not None
    return _view(row)


async def set_password(db: Db, ident: int, password_hash: str | None) -> None:
    """What the driver signs in by."""
    await db.execute("UPDATE driver SET password_hash = $2, updated_at = now() WHERE id = $1", ident, password_hash)


# Whose id tokens are

_OF_TOKENS = (
    "d.id_token_id::text AS id, d.driver_id::text AS driver_id, i.id_token, i.type, i.status, d.origin, d.label,"
    " d.vehicle_id::text AS vehicle_id, c.visual_number, d.confirmed_at IS NOT NULL AS confirmed, i.valid_until, d.created_at"
)
_TOKENS = (
    f"SELECT {_OF_TOKENS} FROM driver_id_token d JOIN id_token i ON i.id = d.id_token_id LEFT JOIN rfid_card c"
    " ON c.driver_id = d.driver_id AND lower(c.id_token) = lower(i.id_token) AND c.id_token_type = i.type"
)


def _token(row: Any) -> DriverIdTokenView:
    return DriverIdTokenView(**{**row, "origin": TokenOrigin(row["origin"])})


async def tokens_of(db: Db, tenant_id: TenantId, driver_id: int) -> list[DriverIdTokenView]:
    """The id tokens of a driver, the first one first."""
    rows = await db.fetch(
        f"{_TOKENS} WHERE d.tenant_id = $1 AND d.driver_id = $2 ORDER BY d.id_token_id", tenant_id, driver_id
    )
    return [_token(row) for row in rows]


async def token_of(db: Db, tenant_id: TenantId, driver_id: int, id_token_id: int) -> DriverIdTokenView | None:
    """One of them."""
    row = await db.fetchrow(
        f"{_TOKENS} WHERE d.tenant_id = $1 AND d.driver_id = $2 AND d.id_token_id = $3",
        tenant_id,
        driver_id,
        id_token_id,
    )
    return None if row is None else _token(row)


async def bind(
    db: Db,
    tenant_id: TenantId,
    driver_id: int,
    id_token_id: int,
    *,
    origin: TokenOrigin,
    label: str | None = None,
    vehicle_id: int | None = None,
    status_before: str | None = None,
    confirmed: bool = True,
) -> None:
    """Makes an id token a driver's.

    Raises:
        asyncpg.UniqueViolationError: it is somebody's already.
    """
    await db.execute(
        "INSERT INTO driver_id_token (id_token_id, tenant_id, driver_id, origin, label, vehicle_id, status_before, confirmed_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN now() END)",
        id_token_id,
        tenant_id,
        driver_id,
        origin.value,
        label,
        vehicle_id,
        status_before,
        confirmed,
    )


async def unbind(db: Db, tenant_id: TenantId, driver_id: int, id_token_id: int) -> bool:
    """Makes an id token nobody's; whether it was the driver's."""
    status = await db.execute(
        "DELETE FROM driver_id_token WHERE tenant_id = $1 AND driver_id = $2 AND id_token_id = $3",
        tenant_id,
        driver_id,
        id_token_id,
    )
    return status.endswith(" 1")


async def describe_token(db: Db, id_token_id: int, label: str | None, vehicle_id: int | None) -> None:
    """What a driver calls an id token, and which vehicle it is for."""
    await db.execute(
        "UPDATE driver_id_token SET label = $2, vehicle_id = $3 WHERE id_token_id = $1", id_token_id, label, vehicle_id
    )


async def confirm_token(db: Db, id_token_id: int) -> None:
    """Notes that a token was seen with its driver."""
    await db.execute("UPDATE driver_id_token SET confirmed_at = now() WHERE id_token_id = $1", id_token_id)


async def accepted_tokens(db: Db, driver_id: int) -> list[int]:
    """Our ids of the driver's tokens that may charge now, locked."""
    rows = await db.fetch(
        "SELECT i.id FROM driver_id_token d JOIN id_token i ON i.id = d.id_token_id WHERE d.driver_id = $1"
        " AND i.status = 'Accepted' ORDER BY i.id FOR UPDATE OF i, d",
        driver_id,
    )
    return [row["id"] for row in rows]


async def held_tokens(db: Db, driver_id: int) -> list[tuple[int, str]]:
    """Tokens that were blocked with their driver and are blocked still: our ids, and what they were before."""
    rows = await db.fetch(
        "SELECT i.id, d.status_before FROM driver_id_token d JOIN id_token i ON i.id = d.id_token_id WHERE d.driver_id = $1"
        " AND d.status_before IS NOT NULL AND i.status = 'Blocked' ORDER BY i.id FOR UPDATE OF i, d",
        driver_id,
    )
    return [(row["id"], row["status_before"]) for row in rows]


async def note_status_before(db: Db, driver_id: int, id_token_id: int, status: str | None) -> None:
    """What a token is to be again when its driver is not blocked any more."""
    await db.execute(
        "UPDATE driver_id_token SET status_before = $3 WHERE driver_id = $1 AND id_token_id = $2",
        driver_id,
        id_token_id,
        status,
    )


async def driver_of_token(db: Db, tenant_id: TenantId, kind: str | None, id_token: str) -> int | None:
    """Whose an id token is; one that waits for its confirmation is nobody's yet.

    Args:
        kind: OCPP 2.x type; None (1.6) matches any, an accepted token before others.
    """
    found: int | None = await db.fetchval(
        "SELECT d.driver_id FROM id_token i JOIN driver_id_token d ON d.id_token_id = i.id"
        " WHERE i.token_key = $2 AND i.tenant_id = $1 AND ($3::text IS NULL OR lower(i.type) = lower($3))"
        " AND d.confirmed_at IS NOT NULL ORDER BY i.status = 'Accepted' DESC, i.id LIMIT 1",
        tenant_id,
        token_key(id_token),
        kind,
    )
    return found


async def owners(db: Db, tenant_id: TenantId, id_token_ids: Sequence[int]) -> list[TokenOwner]:
    """Whose id tokens are; those of nobody are absent."""
    rows = await db.fetch(
        "SELECT t.id_token_id, t.driver_id, d.user_groups FROM driver_id_token t JOIN driver d ON d.id = t.driver_id"
        " WHERE t.tenant_id = $1 AND t.id_token_id = ANY($2) AND t.confirmed_at IS NOT NULL",
        tenant_id,
        list(id_token_ids),
    )
    return [
        TokenOwner(
            id_token_id=row["id_token_id"], driver_id=row["driver_id"], user_groups=tuple(row["user_groups"] or ())
        )
        for row in rows
    ]


async def id_tokens_of(db: Db, tenant_id: TenantId, driver_ids: Sequence[int], user_groups: Sequence[str]) -> list[int]:
    """Our ids of the tokens of drivers, and of the members of groups (without case)."""
    rows = await db.fetch(
        "SELECT t.id_token_id FROM driver_id_token t JOIN driver d ON d.id = t.driver_id WHERE t.tenant_id = $1"
        " AND t.confirmed_at IS NOT NULL AND (t.driver_id = ANY($2)"
        " OR EXISTS (SELECT FROM unnest(d.user_groups) g WHERE lower(g) = ANY($3))) ORDER BY 1",
        tenant_id,
        list(driver_ids),
        [group.lower() for group in user_groups],
    )
    return [row["id_token_id"] for row in rows]


async def transaction_of_order(db: Db, tenant_id: TenantId, order_id: int, driver_id: int) -> int | None:
    """The transaction that an order of a driver to start began: at its station, by a token of the driver, since it was given."""
    found: int | None = await db.fetchval(
        "SELECT t.id FROM command k JOIN transaction t ON t.station_key = k.station_key AND t.opened_at >= k.created_at"
        " AND t.opened_at < k.created_at + interval '10 minutes' JOIN id_token i ON i.tenant_id = $1 AND i.token_key = t.token_key"
        " JOIN driver_id_token d ON d.id_token_id = i.id AND d.driver_id = $3"
        " WHERE k.id = $2 AND k.tenant_id = $1 ORDER BY t.opened_at LIMIT 1",
        tenant_id,
        order_id,
        driver_id,
    )
    return found


DRIVER_TRANSACTION_SORTS: Final = Sorts("t.id")


async def transactions_of(
    db: Db, tenant_id: TenantId, driver_id: int, wanted: OwnTransactionFilter, limit: int, after: Position | None
) -> list[int]:
    """Our ids of the transactions that a driver's id tokens began, the newest first; at most `limit`."""
    where = Where()
    where.add("t.tenant_id = ?", tenant_id)
    where.add("d.driver_id = ? AND d.confirmed_at IS NOT NULL", driver_id)
    where.add_if("t.is_open = ?", wanted.is_open)
    where.add_if("t.started_at >= ?", wanted.started_from)
    where.add_if("t.started_at < ?", wanted.started_to)
    order = DRIVER_TRANSACTION_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT DISTINCT t.id FROM driver_id_token d JOIN id_token i ON i.id = d.id_token_id JOIN transaction t"
        " ON t.token_key = i.token_key AND (t.id_token_type IS NULL OR t.id_token_type = i.type)"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [row["id"] for row in rows]


async def lately_at(
    db: Db, tenant_id: TenantId, driver_id: int, station_key: StationKey, ocpp_evse_id: int, within: timedelta
) -> int | None:
    """The connector at which a driver's id tokens charge at an EVSE, or last did within a time; None where they did not."""
    row = await db.fetchrow(
        "SELECT coalesce(t.connector_id, 1) AS connector FROM transaction t JOIN id_token i ON i.tenant_id = $1"
        " AND i.token_key = t.token_key JOIN driver_id_token d ON d.id_token_id = i.id AND d.driver_id = $2"
        " WHERE t.station_key = $3 AND t.evse_id = $4 AND (t.is_open OR t.updated_at > now() - $5::interval)"
        " ORDER BY t.id DESC LIMIT 1",
        tenant_id,
        driver_id,
        station_key,
        ocpp_evse_id,
        within,
    )
    return None if row is None else int(row["connector"])
