"""Commands and raw calls to stations, with how they ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.addresses import hide_secrets
from chargeplane.domain.commands import CallOutcome, CallOutcomeKind, CommandOutcome, CommandState
from chargeplane.kernel.ids import CommandId, StationKey, TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time
from chargeplane.store.queries.payloads import as_json, json_object
from chargeplane.store.queries.webhooks import note


class CommandView(Struct, frozen=True, kw_only=True):
    """A command or raw call.

    Args:
        type: start, stop, unlock, ...; `call` for a raw call.
        request: what was asked for.
        state: pending, sent, accepted, rejected, failed, timed_out, expired.
        action: the OCPP action it became.
        outcome: callresult, callerror, timeout, disconnected.
        answer: the station's answer, or its error.
        status: the station's own status word.
        reason: a sentence where it was not accepted.
        reply: what the station told beyond its status, in the same form for every version.
    """

    id: str
    station_id: str
    type: str
    request: Any
    state: str
    action: str | None
    message_id: str | None
    outcome: str | None
    answer: Any
    status: str | None
    reason: str | None
    reply: Any
    latency_ms: float | None
    requested_by: str | None
    created_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None


class PendingCommand(Struct, frozen=True, kw_only=True):
    """A command that waits for its station."""

    id: CommandId
    tenant_id: TenantId
    station_key: StationKey
    request: str
    expires_at: datetime | None
    requested_by: str


_SELECT = """
    SELECT c.id, s.station_id, c.type, c.request, c.state, c.action, c.message_id, c.outcome, c.answer, c.status,
        c.reason, c.reply, c.latency_ms, c.requested_by, c.created_at, c.sent_at, c.finished_at, c.expires_at
    FROM command c JOIN charging_station s ON s.key = c.station_key"""


async def insert(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    *,
    type: str,
    request: str,
    state: CommandState,
    requested_by: str,
    action: str | None = None,
    expires_at: datetime | None = None,
) -> CommandId:
    """A new command; `sent_at` is now where its state is sent."""
    ident: CommandId = await db.fetchval(
        "INSERT INTO command (tenant_id, station_key, type, request, state, requested_by, action, expires_at, sent_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $5 = 'sent' THEN now() END) RETURNING id",
        tenant_id,
        key,
        type,
        request,
        state.value,
        requested_by,
        action,
        expires_at,
    )
    return ident


async def next_reservation_id(db: Db) -> int:
    """A number that no reservation has."""
    number: int = await db.fetchval("SELECT nextval('reservation_id_seq')")
    return number


async def take(db: Db, ident: CommandId) -> bool:
    """Marks a pending command as sent; False where somebody else did, or it expired."""
    status: str = await db.execute(
        "UPDATE command SET state = 'sent', sent_at = now() WHERE id = $1 AND state = 'pending'", ident
    )
    return status.endswith(" 1")


async def untake(db: Db, ident: CommandId) -> None:
    """Marks a command as pending again: it was never sent."""
    await db.execute("UPDATE command SET state = 'pending', sent_at = NULL WHERE id = $1 AND state = 'sent'", ident)


async def finish(db: Db, ident: CommandId, outcome: CommandOutcome) -> None:
    """Writes how a command ended."""
    call = outcome.call
    answer = None if call is None else call.payload if call.payload is not None else call.error_details
    status, reason = outcome.status, outcome.reason
    if call is not None:
        status = call.error_code if status is None else status
        reason = call.error_description if reason is None else reason
    request = await db.fetchval(
        "UPDATE command SET state = $2, action = coalesce($3, action), message_id = $4, outcome = $5, answer = $6,"
        " status = $7, reason = $8, latency_ms = $9, reply = $10, finished_at = now() WHERE id = $1 RETURNING request",
        ident,
        outcome.state.value,
        outcome.action,
        None if call is None else made_storable(call.message_id),
        None if call is None else call.outcome.value,
        None if answer is None else made_storable(answer.decode("utf-8", "replace")),
        None if status is None else made_storable(status, 255),
        None if reason is None else made_storable(reason, 4000),
        None if call is None else call.latency_ms,
        None if outcome.reply is None else made_storable(outcome.reply.decode("utf-8", "replace")),
    )
    await _hide(db, ident, request)
    await _finished(db, ident)


async def settle_lost(db: Db, before: datetime) -> None:
    """Ends commands sent before a time whose outcome nobody waits for any more: their process is gone."""
    rows = await db.fetch(
        "UPDATE command SET state = 'failed', finished_at = now(),"
        " reason = 'The server stopped before the station answered.' WHERE state = 'sent' AND sent_at < $1"
        " RETURNING id, request",
        before,
    )
    for row in rows:
        await _hide(db, row["id"], row["request"])
        await _finished(db, row["id"])


async def one(db: Db, tenant_id: TenantId, ident: int) -> CommandView | None:
    """The command with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE c.tenant_id = $1 AND c.id = $2", tenant_id, ident)
    return None if row is None else _view(row)


async def outcome(db: Db, ident: int) -> CommandOutcome | None:
    """How a command ended, as it was written down; None while it goes on."""
    row = await db.fetchrow(
        "SELECT state, action, message_id, outcome, answer, status, reason, reply FROM command"
        " WHERE id = $1 AND finished_at IS NOT NULL",
        ident,
    )
    if row is None:
        return None
    call = None
    if row["outcome"] is not None:
        kind = CallOutcomeKind(row["outcome"])
        payload = None if row["answer"] is None else row["answer"].encode()
        failed = kind is CallOutcomeKind.CALLERROR
        call = CallOutcome(
            outcome=kind,
            message_id=row["message_id"],
            payload=None if failed else payload,
            error_code=row["status"] if failed else None,
            error_description=row["reason"] if failed else None,
            error_details=payload if failed else None,
        )
    return CommandOutcome(
        state=CommandState(row["state"]),
        call=call,
        action=row["action"],
        status=row["status"],
        reason=row["reason"],
        reply=None if row["reply"] is None else row["reply"].encode(),
    )


COMMAND_SORTS: Final = Sorts(
    "c.id", created_at=by_time("c.created_at"), finished_at=by_time("c.finished_at", missing=True)
)


async def page(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    state: str | None,
    action: str | None,
    limit: int,
    after: Position | None,
) -> list[CommandView]:
    """A station's commands, newest first."""
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add("c.station_key = ?", key)
    where.add_if("c.state = ?", state)
    where.add_if("lower(c.action) = lower(?)", action)
    order = COMMAND_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def pending(db: Db) -> list[PendingCommand]:
    """Commands that wait for their stations, oldest first."""
    rows = await db.fetch(
        "SELECT id, tenant_id, station_key, request, expires_at, coalesce(requested_by, '') AS requested_by FROM command WHERE state = 'pending' ORDER BY id"
    )
    return [PendingCommand(**row) for row in rows]


async def expire(db: Db, ident: CommandId) -> bool:
    """Gives up a command that still waits."""
    request = await db.fetchval(
        "UPDATE command SET state = 'expired', finished_at = now(),"
        " reason = 'The station did not become reachable in time.' WHERE id = $1 AND state = 'pending' RETURNING request",
        ident,
    )
    await _hide(db, ident, request)
    if request is not None:
        await _finished(db, ident)
    return request is not None


async def _finished(db: Db, ident: int) -> None:
    """Tells the tenant's webhooks that a command came to its end."""
    tenant_id = await db.fetchval("SELECT tenant_id FROM command WHERE id = $1", ident)
    if tenant_id is not None:
        await note(db, tenant_id, "command.finished", f"command:{ident}", lambda: one(db, tenant_id, ident))


async def _hide(db: Db, ident: int, request: str | None) -> None:
    """Takes secrets out of an address that is needed no more: until then a restart has to find it whole."""
    if request is not None and (shown := _without_secrets(request)) != request:
        await db.execute("UPDATE command SET request = $2 WHERE id = $1", ident, shown)


def _without_secrets(request: str) -> str:
    if '"location"' not in request:
        return request
    asked = json_object(request)
    where = asked.get("location")
    if not isinstance(where, str) or (hidden := hide_secrets(where)) == where:
        return request
    return msgspec.json.encode({**asked, "location": hidden}).decode()


def _view(row: Any) -> CommandView:
    return CommandView(
        **{
            **row,
            "id": str(row["id"]),
            "request": as_json(_without_secrets(row["request"])),
            "answer": as_json(row["answer"]),
            "reply": as_json(row["reply"]),
        }
    )
