"""Commands that we gave to partners."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from chargeplane.domain.roaming.asking import CommandRecord, CommandState, CommandType
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time

_COLUMNS: Final = (
    "id, type, country_code || '*' || party_id AS partner, connection_id, requested_by, driver_id, reference, state, response,"
    " result, message, created_at, answered_at, expires_at, ended_at"
)


def _record(row: Any) -> CommandRecord:
    said = dict(row)
    return CommandRecord(**{**said, "type": CommandType(said["type"]), "state": CommandState(said["state"])})


async def insert(
    db: Db,
    tenant_id: TenantId,
    connection_id: int,
    party: tuple[str, str],
    kind: CommandType,
    *,
    secret: str,
    body: bytes,
    requested_by: str,
    driver_id: int | None,
    reference: str | None,
    expires_at: datetime,
) -> CommandRecord:
    """Writes a command before it is sent."""
    row = await db.fetchrow(
        "INSERT INTO partner_command (tenant_id, connection_id, country_code, party_id, type, secret, body, requested_by,"
        " driver_id, reference, state, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'sent', $11)"
        f" RETURNING {_COLUMNS}",
        tenant_id,
        connection_id,
        *party,
        kind.value,
        secret,
        body,
        requested_by,
        driver_id,
        reference,
        expires_at,
    )
    return _record(row)


async def respond(
    db: Db,
    ident: int,
    state: CommandState,
    *,
    response: str | None,
    message: str | None,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    """Writes the operator's answer. A result that was faster stays what it is."""
    await db.execute(
        "UPDATE partner_command SET response = coalesce($3, response), answered_at = $6,"
        " state = CASE WHEN result IS NULL THEN $2 ELSE state END,"
        " message = CASE WHEN result IS NULL THEN $4 ELSE message END,"
        " expires_at = coalesce($5, expires_at),"
        " ended_at = CASE WHEN result IS NULL AND $2 <> 'waiting' THEN $6 ELSE ended_at END WHERE id = $1",
        ident,
        state.value,
        response,
        message,
        expires_at,
        now,
    )


async def result(
    db: Db,
    connection_id: int,
    kind: CommandType,
    secret: str,
    state: CommandState,
    *,
    word: str,
    message: str | None,
    told: bytes,
    now: datetime,
) -> tuple[TenantId, CommandRecord] | None:
    """Writes the station's result; None where no command of this partner has this secret. A later result counts (a reservation that
    the operator cancels comes by the same URL)."""
    row = await db.fetchrow(
        "UPDATE partner_command SET state = $4, result = $5, message = coalesce($6, message), ended_at = coalesce(ended_at, $7),"
        " told = $8"
        f" WHERE secret = $3 AND connection_id = $1 AND type = $2 RETURNING tenant_id, {_COLUMNS}",
        connection_id,
        kind.value,
        secret,
        state.value,
        word,
        message,
        now,
        told,
    )
    if row is None:
        return None
    said = dict(row)
    return TenantId(said.pop("tenant_id")), _record(said)


async def time_out(db: Db, now: datetime, most: int) -> list[tuple[TenantId, CommandRecord]]:
    """Ends commands of which nothing was heard in time."""
    rows = await db.fetch(
        "UPDATE partner_command SET state = 'timed_out', ended_at = $1, message = coalesce(message,"
        " 'Nothing was heard of it in time.') WHERE id IN (SELECT id FROM partner_command WHERE ended_at IS NULL"
        f" AND expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING tenant_id, {_COLUMNS}",
        now,
        most,
    )
    found = []
    for row in rows:
        said = dict(row)
        found.append((TenantId(said.pop("tenant_id")), _record(said)))
    return found


async def one(db: Db, tenant_id: TenantId, ident: int) -> CommandRecord | None:
    """One command; None where there is none."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM partner_command WHERE tenant_id = $1 AND id = $2", tenant_id, ident
    )
    return None if row is None else _record(row)


async def told(db: Db, tenant_id: TenantId, ident: int) -> bytes | None:
    """The result of a command as it came; None where none came."""
    found: bytes | None = await db.fetchval(
        "SELECT told FROM partner_command WHERE tenant_id = $1 AND id = $2", tenant_id, ident
    )
    return found


async def put_profile(db: Db, connection_id: int, session_id: str, document: bytes) -> bool:
    """Writes the active charging profile of a partner's session; whether there is such a session."""
    done = await db.execute(
        "UPDATE received_session SET profile = $3 WHERE object_key = (SELECT key FROM partner_object"
        " WHERE connection_id = $1 AND module = 'sessions' AND id_key = lower($2) ORDER BY key DESC LIMIT 1)",
        connection_id,
        session_id,
        document,
    )
    return done == "UPDATE 1"


async def reserved(db: Db, tenant_id: TenantId, party: tuple[str, str], reservation_id: str, driver_id: int) -> bool:
    """Whether a driver reserved at a partner under an id."""
    found = await db.fetchval(
        "SELECT 1 FROM partner_command WHERE tenant_id = $1 AND driver_id = $2 AND country_code = $3 AND party_id = $4"
        " AND type = 'RESERVE_NOW' AND convert_from(body, 'UTF8')::json ->> 'reservation_id' = $5 LIMIT 1",
        tenant_id,
        driver_id,
        *party,
        reservation_id,
    )
    return found is not None


PARTNER_COMMAND_SORTS: Final = Sorts("id", created_at=by_time("created_at"))


async def page(
    db: Db, tenant_id: TenantId, limit: int, after: Position | None, *, driver_id: int | None = None
) -> list[CommandRecord]:
    """Commands, the newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("driver_id = ?", driver_id)
    order = PARTNER_COMMAND_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM partner_command WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_record(row) for row in rows]
