"""What partners asked of our stations, and the results they are owed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.cdrs.session import RoamingDriver
from chargeplane.domain.roaming.authorization import driver_from, driver_text
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_time


class NewRequest(Struct, frozen=True, kw_only=True):
    """What a partner asks.

    Args:
        request: canonical JSON.
        routing: JSON, of the connections' own; whom the result goes to.
        deadline: then the result is TIMEOUT.
    """

    tenant_id: TenantId
    connection_id: int
    kind: str
    request: str
    response_url: str
    routing: str | None
    deadline: datetime


class Owed(Struct, frozen=True, kw_only=True):
    """A request whose result is to be sent, or that is overdue.

    Args:
        request: JSON, as it was written down.
        result: JSON; None: there is none yet.
    """

    id: int
    tenant_id: TenantId
    connection_id: int
    kind: str
    request: str
    response_url: str
    routing: str | None
    command_id: int | None
    deadline: datetime
    result: str | None
    attempts: int


class RequestView(Struct, frozen=True, kw_only=True):
    """What a partner asked of a station of ours.

    Args:
        kind: START_SESSION, STOP_SESSION, ...; GET_PROFILE, SET_PROFILE, CLEAR_PROFILE.
        result: how it ended; null while that is not known.
        sent_at: when the partner took the result.
        error: why it has not.
    """

    id: str
    connection_id: str
    kind: str
    command_id: str | None
    result: str | None
    created_at: datetime
    result_at: datetime | None
    sent_at: datetime | None
    attempts: int
    error: str | None


class PartnersReservation(Struct, frozen=True, kw_only=True):
    """A reservation that a partner asked for.

    Args:
        reference: its id at the partner.
        reservation_id: ours.
        request_id: the request it came by; the partner is told over its response_url.
    """

    connection_id: int
    reference: str
    tenant_id: TenantId
    reservation_id: int
    request_id: int
    location_id: str
    driver: RoamingDriver


_OWED: Final = (
    "id, tenant_id, connection_id, kind, request, response_url, routing, command_id, deadline, result, attempts"
)


async def insert(db: Db, new: NewRequest) -> int:
    """Writes a request down; our id of it."""
    ident: int = await db.fetchval(
        "INSERT INTO roaming_request (tenant_id, connection_id, kind, request, response_url, routing, deadline, due_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING id",
        new.tenant_id,
        new.connection_id,
        new.kind,
        new.request,
        new.response_url,
        new.routing,
        new.deadline,
    )
    return ident


async def bind(db: Db, ident: int, *, command_id: int | None = None, reservation_id: int | None = None) -> None:
    """Says by which command, or which reservation, it is carried out."""
    await db.execute(
        "UPDATE roaming_request SET command_id = coalesce($2, command_id), reservation_id = coalesce($3, reservation_id)"
        " WHERE id = $1",
        ident,
        command_id,
        reservation_id,
    )


async def finish(db: Db, ident: int, result: str) -> bool:
    """Its result, to be sent at once; False where it has one already."""
    done = await db.fetchval(
        "UPDATE roaming_request SET result = $2, result_at = now(), due_at = now() WHERE id = $1 AND result IS NULL"
        " RETURNING id",
        ident,
        result,
    )
    return done is not None


async def again(db: Db, ident: int, result: str) -> int | None:
    """One more result to the address of a request that has had one, as a request of its own; its id."""
    made: int | None = await db.fetchval(
        "INSERT INTO roaming_request (tenant_id, connection_id, kind, request, response_url, routing, reservation_id, deadline,"
        " result, result_at) SELECT tenant_id, connection_id, kind, request, response_url, routing, reservation_id, now(), $2, now()"
        " FROM roaming_request WHERE id = $1 RETURNING id",
        ident,
        result,
    )
    return made


async def take(db: Db, limit: int, lease_s: float, grace_s: float) -> list[Owed]:
    """Requests that something is to be done about now, for the length of a lease.

    Args:
        grace_s: a request without a result whose station answered so long ago is one that nobody waits for any more.
    """
    rows = await db.fetch(
        "UPDATE roaming_request SET due_at = now() + make_interval(secs => $2), attempts = attempts + (result IS NOT NULL)::int"
        " WHERE id IN (SELECT r.id FROM roaming_request r WHERE r.sent_at IS NULL AND (r.due_at <= now()"
        " OR r.due_at = r.deadline AND r.result IS NULL AND EXISTS (SELECT FROM command c WHERE c.id = r.command_id"
        " AND c.finished_at < now() - make_interval(secs => $3))) ORDER BY r.due_at LIMIT $1"
        f" FOR UPDATE OF r SKIP LOCKED) RETURNING {_OWED}",
        limit,
        lease_s,
        grace_s,
    )
    return [Owed(**row) for row in rows]


async def hold(db: Db, idents: list[int], lease_s: float) -> None:
    """Keeps requests whose result is on its way."""
    await db.execute(
        "UPDATE roaming_request SET due_at = now() + make_interval(secs => $2) WHERE id = ANY ($1) AND sent_at IS NULL",
        idents,
        lease_s,
    )


async def sent(db: Db, ident: int) -> None:
    """The partner took the result."""
    await db.execute("UPDATE roaming_request SET sent_at = now(), error = NULL WHERE id = $1", ident)


async def not_sent(db: Db, ident: int, error: str, again_at: datetime | None) -> None:
    """The partner did not take it.

    Args:
        again_at: None: it is not tried again.
    """
    await db.execute(
        "UPDATE roaming_request SET error = $2, due_at = coalesce($3, 'infinity'::timestamptz) WHERE id = $1",
        ident,
        error,
        again_at,
    )


ROAMING_REQUEST_SORTS: Final = Sorts("id", created_at=by_time("created_at"), attempts=by_number("attempts"))


async def page(
    db: Db, tenant_id: TenantId, connection_id: int | None, limit: int, after: Position | None
) -> list[RequestView]:
    """What was asked, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("connection_id = ?", connection_id)
    order = ROAMING_REQUEST_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT id, connection_id, kind, command_id, result::json ->> 'result' AS result, created_at, result_at, sent_at,"
        f" attempts, error FROM roaming_request WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_view(row) for row in rows]


async def keep_reservation(db: Db, one: PartnersReservation) -> None:
    """Which reservation of ours stands for a partner's."""
    await db.execute(
        "INSERT INTO roaming_reservation (connection_id, reference, tenant_id, reservation_id, request_id, location_id, driver)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (connection_id, reference) DO UPDATE SET"
        " reservation_id = excluded.reservation_id, request_id = excluded.request_id, location_id = excluded.location_id,"
        " driver = excluded.driver, updated_at = now()",
        one.connection_id,
        one.reference.lower(),
        one.tenant_id,
        one.reservation_id,
        one.request_id,
        one.location_id,
        driver_text(one.driver),
    )


async def reservation(db: Db, connection_id: int, reference: str) -> PartnersReservation | None:
    """The reservation that a partner means."""
    row = await db.fetchrow(
        "SELECT connection_id, reference, tenant_id, reservation_id, request_id, location_id, driver FROM roaming_reservation"
        " WHERE connection_id = $1 AND reference = $2",
        connection_id,
        reference.lower(),
    )
    return None if row is None else PartnersReservation(**{**row, "driver": driver_from(row["driver"])})


async def forget(db: Db, before: datetime) -> None:
    """Removes what was settled long ago."""
    await db.execute("DELETE FROM roaming_request WHERE created_at < $1", before)


async def note_profile(db: Db, session_id: int, tenant_id: TenantId, connection_id: int, told: str | None) -> None:
    """A partner has set the profile of a session, or was told of the active one."""
    await db.execute(
        "INSERT INTO roaming_profile (session_id, tenant_id, connection_id, told) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (session_id) DO UPDATE SET told = coalesce(excluded.told, roaming_profile.told), updated_at = now()",
        session_id,
        tenant_id,
        connection_id,
        told,
    )


async def profiles_of(db: Db, idents: Sequence[int]) -> dict[int, tuple[int, str | None]]:
    """Sessions whose profile a partner has set: connection, and what it was told last."""
    rows = await db.fetch(
        "SELECT session_id, connection_id, told FROM roaming_profile WHERE session_id = ANY($1)", list(idents)
    )
    return {row["session_id"]: (row["connection_id"], row["told"]) for row in rows}


def _view(row: Any) -> RequestView:
    return RequestView(
        **{
            **row,
            "id": str(row["id"]),
            "connection_id": str(row["connection_id"]),
            "command_id": None if row["command_id"] is None else str(row["command_id"]),
        }
    )
