"""The OCPP log as the API shows it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import StationKey
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time
from chargeplane.store.queries.payloads import as_json

_LONGEST: Final = timedelta(days=60)


class MessageView(Struct, frozen=True, kw_only=True):
    """One CALL and how it ended.

    Args:
        at: when the CALL was received or sent.
        direction: from_station or to_station.
        payload: of the CALL; null where it is not kept.
        response: payload of the CALLRESULT; null for any other outcome.
        outcome: callresult, callerror, timeout, disconnected, refused.
        latency_ms: until the answer was sent or received.
    """

    at: datetime
    direction: str
    action: str
    message_id: str
    payload: Any
    response: Any
    outcome: str
    error_code: str | None
    latency_ms: float | None


class MessageFilter(Struct, frozen=True, kw_only=True):
    """Which messages. `sent_from` is included, `sent_to` not."""

    from_station: bool | None = None
    action: str | None = None
    message_id: str | None = None
    outcome: str | None = None
    sent_from: datetime | None = None
    sent_to: datetime | None = None


MESSAGE_SORTS: Final = Sorts(
    "message_id",
    ident_kinds=(str,),
    ident_name=None,
    default="-at",
    ident_of=lambda one: (one.message_id,),
    at=by_time("at"),
)


async def page(db: Db, key: StationKey, wanted: MessageFilter, limit: int, after: Position | None) -> list[MessageView]:
    """A station's messages, newest first."""
    where = Where()
    where.add("station_key = ?", key)
    where.add_if("from_station = ?", wanted.from_station)
    where.add_if("lower(action) = lower(?)", wanted.action)
    where.add_if("message_id = ?", wanted.message_id)
    where.add_if("outcome = ?", wanted.outcome)
    where.add_if("at >= ?", wanted.sent_from)
    where.add_if("at < ?", wanted.sent_to)
    order = MESSAGE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT at, from_station, action, message_id, outcome, error_code, latency_us, request, response, stored"
        f" FROM message_log WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    left_out = [(row["message_id"], row["at"]) for row in rows if row["stored"] and row["request"] is None]
    kept = await stored_payloads(db, key, left_out)
    return [
        MessageView(
            at=row["at"],
            direction="from_station" if row["from_station"] else "to_station",
            action=row["action"],
            message_id=row["message_id"],
            payload=as_json(row["request"] if row["request"] is not None else kept.get(row["message_id"])),
            response=as_json(row["response"]),
            outcome=row["outcome"],
            error_code=row["error_code"],
            latency_ms=None if row["latency_us"] is None else row["latency_us"] / 1000,
        )
        for row in rows
    ]


async def stored_payloads(db: Db, key: StationKey, messages: list[tuple[str, datetime]]) -> dict[str, str]:
    """Payloads that the log leaves to the row of the event itself, by message id.

    Args:
        messages: ids, and when they came in.
    """
    if not messages:
        return {}
    ids = [message_id for message_id, _ in messages]
    first, last = min(at for _, at in messages), max(at for _, at in messages)
    first, last = first - timedelta(seconds=60), last + timedelta(seconds=60)
    found = await db.fetch(
        "SELECT e.message_id, e.payload FROM transaction t JOIN transaction_event e"
        " ON e.transaction_id = t.id AND e.opened_on = (t.opened_at AT TIME ZONE 'UTC')::date"
        " WHERE t.station_key = $1 AND t.opened_at BETWEEN $5 AND $4 AND (t.is_open OR t.updated_at >= $3)"
        " AND e.message_id = ANY($2) AND e.received_at BETWEEN $3 AND $4"
        " UNION ALL SELECT message_id, payload FROM station_meter_value"
        " WHERE station_key = $1 AND message_id = ANY($2) AND received_at BETWEEN $3 AND $4"
        " AND received_on BETWEEN ($3::timestamptz AT TIME ZONE 'UTC')::date AND ($4::timestamptz AT TIME ZONE 'UTC')::date"
        " UNION ALL SELECT message_id, payload FROM station_notice"
        " WHERE station_key = $1 AND message_id = ANY($2) AND received_at BETWEEN $3 AND $4"
        " AND received_on BETWEEN ($3::timestamptz AT TIME ZONE 'UTC')::date AND ($4::timestamptz AT TIME ZONE 'UTC')::date",
        key,
        ids,
        first,
        last,
        first - _LONGEST,
    )
    return {row["message_id"]: row["payload"] for row in found}
