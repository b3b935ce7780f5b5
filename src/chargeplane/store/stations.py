"""What a station's actor reads: its state after a restart, the history of a transaction, older transactions.

Everything is read for many stations in one go: after a restart ten thousand of them come back at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from msgspec import Struct

from chargeplane.domain.messages import AuthorizationStatus, IdToken, Reading, ReportKind
from chargeplane.domain.transactions import Flag, StoredEvent, TransactionState, rebuilt, refold
from chargeplane.kernel.ids import StationKey, TenantId, TransactionId

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger(__name__)

_decode_state = msgspec.json.Decoder(TransactionState).decode
_decode_readings = msgspec.json.Decoder(tuple[Reading, ...]).decode
encode_state = msgspec.json.Encoder().encode
_STATUSES = frozenset(status.value for status in AuthorizationStatus)
encode_readings = msgspec.json.Encoder().encode


class ConnectorRow(Struct, frozen=True):
    """A connector's last status as stored."""

    evse_id: int
    connector_id: int
    status: str
    at: datetime | None
    received_at: datetime


class Attempt(Struct, frozen=True):
    """A recent authorisation attempt, to recognise its repeat after a restart."""

    message_id: str
    content_hash: bytes
    status: AuthorizationStatus


class Loaded(Struct):
    """A station's state as committed.

    Args:
        open: open transactions, oldest first, folded up to their last event.
        connectors: last status of each.
        attempts: authorisation attempts of the last minutes, oldest first.
        notices: (message id, content hash) of other kept messages of the last minutes.
        node: who owns the station; None where it never connected.
    """

    open: list[TransactionState]
    connectors: list[ConnectorRow]
    attempts: list[Attempt]
    notices: list[tuple[str, bytes]]
    node: int | None = None


def opened_on(opened_at: datetime) -> date:
    """The partition of a transaction's events: the UTC day on which we opened it."""
    return opened_at.date() if opened_at.tzinfo is UTC else opened_at.astimezone(UTC).date()


def _state_of(transaction_id: int, text: str) -> TransactionState | None:
    """A stored state; None where this release cannot read it (another one wrote it)."""
    try:
        return _decode_state(text)
    except (msgspec.MsgspecError, ValueError) as error:
        log.error("transaction_state_unreadable", transaction=transaction_id, error=str(error))
        return None


def _readings_of(row: Record) -> tuple[Reading, ...]:
    text = row["readings"]
    if not text:
        return ()
    try:
        return _decode_readings(text)
    except (msgspec.MsgspecError, ValueError) as error:
        log.error("event_readings_unreadable", content_hash=row["content_hash"].hex(), error=str(error))
        return ()


def _stored_event(row: Record) -> StoredEvent:
    return StoredEvent(
        ordinal=row["ordinal"],
        kind=ReportKind(row["kind"]),
        content_hash=row["content_hash"],
        seq_no=row["seq_no"],
        at=row["at"],
        received_at=row["received_at"],
        readings=_readings_of(row),
    )


_EVENT_COLUMNS = "e.ordinal, e.kind, e.content_hash, e.seq_no, e.at, e.received_at, e.readings"

REPEAT_WINDOW = timedelta(minutes=10)
"""How far back a repeat of a message outside of transactions is recognised after a restart."""


async def load(db: Connection, keys: Sequence[StationKey], now: datetime, *, repeats: bool) -> dict[StationKey, Loaded]:
    """The stations' committed state.

    Args:
        repeats: also read the recent attempts and notices (only worth it soon after a start).
    """
    found = {key: Loaded([], [], [], []) for key in keys}
    states: dict[int, tuple[TransactionState | None, list[StoredEvent]]] = {}
    for row in await db.fetch(
        f"SELECT o.transaction_id, o.state, {_EVENT_COLUMNS} FROM open_transaction o "  # noqa: S608 - constants only
        "LEFT JOIN transaction_event e ON e.opened_on = o.opened_on AND e.transaction_id = o.transaction_id "
        "AND e.ordinal > o.ordinal WHERE o.station_key = ANY($1::int8[]) ORDER BY o.transaction_id, e.ordinal",
        keys,
    ):
        entry = states.get(row["transaction_id"])
        if entry is None:
            entry = states[row["transaction_id"]] = (_state_of(row["transaction_id"], row["state"]), [])
        if row["ordinal"] is not None:
            entry[1].append(_stored_event(row))
    if states:
        owners = await db.fetch(
            "SELECT transaction_id, station_key FROM open_transaction WHERE transaction_id = ANY($1::int8[])",
            list(states),
        )
        owner_of = {row["transaction_id"]: row["station_key"] for row in owners}
        for transaction_id, (state, tail) in states.items():
            owner = owner_of.get(transaction_id)
            if owner is None or owner not in found:
                continue
            if state is None:
                state = await _rebuild(db, transaction_id)
                if state is None or not state.is_open:
                    continue
            elif tail:
                state = refold(state, tail)
            found[owner].open.append(state)
    for row in await db.fetch(
        "SELECT station_key, evse_id, connector_id, status, at, received_at FROM connector WHERE station_key = ANY($1::int8[])",
        keys,
    ):
        found[row["station_key"]].connectors.append(ConnectorRow(row[1], row[2], row[3], row[4], row[5]))
    for row in await db.fetch(
        "SELECT station_key, node_id FROM station_connection WHERE station_key = ANY($1::int8[])", keys
    ):
        found[row["station_key"]].node = row["node_id"]
    if repeats:
        since = now - REPEAT_WINDOW
        for row in await db.fetch(
            "SELECT station_key, message_id, content_hash, status FROM authorization_attempt "
            "WHERE station_key = ANY($1::int8[]) AND received_at > $2 AND received_on >= $3 ORDER BY received_at",
            keys,
            since,
            since.date(),
        ):
            if row[3] in _STATUSES:  # another release may have had more
                found[row[0]].attempts.append(Attempt(row[1], row[2], AuthorizationStatus(row[3])))
        for row in await db.fetch(
            "SELECT station_key, message_id, content_hash FROM station_notice "
            "WHERE station_key = ANY($1::int8[]) AND received_at > $2 AND received_on >= $3 ORDER BY received_at",
            keys,
            since,
            since.date(),
        ):
            found[row[0]].notices.append((row[1], row[2]))
    return found


async def history(db: Connection, transaction: TransactionState) -> list[StoredEvent]:
    """All stored events of a transaction in the order of their arrival."""
    rows = await db.fetch(
        f"SELECT {_EVENT_COLUMNS} FROM transaction_event e WHERE e.opened_on = $1 AND e.transaction_id = $2 ORDER BY e.ordinal",  # noqa: S608
        opened_on(transaction.opened_at),
        transaction.id,
    )
    return [_stored_event(row) for row in rows]


async def _rebuild(db: Connection, transaction_id: int) -> TransactionState | None:
    """A transaction from its columns and its events, where its stored state is of no use; None where it has no row."""
    row = await db.fetchrow(
        "SELECT id, ocpp_transaction_id, evse_id, connector_id, id_token, id_token_type, opened_at, started_at, stopped_at, "
        "stop_reason, charging_state, meter_start_wh, meter_stop_wh, energy_wh, is_open, offline, flags, start_message_id "
        "FROM transaction WHERE id = $1",
        transaction_id,
    )
    if row is None:
        log.error("transaction_not_rebuilt", transaction=transaction_id)
        return None
    flags = {flag.value: flag for flag in Flag}
    # OCPP 1.6: the id of a transaction whose start was received is the one we gave, and that start has a register value.
    assigned = await _began_with(db, row, "StartTransaction")
    facts = TransactionState(
        id=TransactionId(transaction_id),
        ocpp_transaction_id=row["ocpp_transaction_id"],
        opened_at=row["opened_at"],
        started_at=row["started_at"],
        evse_id=row["evse_id"],
        connector_id=row["connector_id"],
        id_token=None if row["id_token"] is None else IdToken(value=row["id_token"], type=row["id_token_type"]),
        ordinal=0,
        is_open=row["is_open"],
        energy_wh=row["energy_wh"],
        meter_start_wh=row["meter_start_wh"],
        meter_stop_wh=row["meter_stop_wh"],
        stopped_at=row["stopped_at"],
        stop_reason=row["stop_reason"],
        charging_state=row["charging_state"],
        offline=row["offline"],
        flags=tuple(flags[flag] for flag in row["flags"] if flag in flags),
        start_message_id=row["start_message_id"],
        id_assigned=assigned,
        start_meter=row["meter_start_wh"] if assigned else None,
    )
    state = rebuilt(facts, await history(db, facts))
    log.warning("transaction_rebuilt", transaction=transaction_id, events=state.ordinal, energy_wh=str(state.energy_wh))
    return state


async def _began_with(db: Connection, transaction: Record, action: str) -> bool:
    return bool(
        await db.fetchval(
            "SELECT 1 FROM transaction_event WHERE opened_on = $1 AND transaction_id = $2 AND action = $3 LIMIT 1",
            opened_on(transaction["opened_at"]),
            transaction["id"],
            action,
        )
    )


async def earlier(
    db: Connection, station: StationKey, ocpp_transaction_id: str | None, most: int = 8
) -> list[TransactionState]:
    """The station's transactions with this id, open or closed, or, without an id, its newest ones; newest first."""
    rows = await db.fetch(
        "SELECT id, state FROM transaction WHERE station_key = $1 AND ($2::text IS NULL OR ocpp_transaction_id = $2) "
        "ORDER BY opened_at DESC, id DESC LIMIT $3",
        station,
        ocpp_transaction_id,
        most,
    )
    found = [_state_of(row["id"], row["state"]) or await _rebuild(db, row["id"]) for row in rows]
    return [state for state in found if state is not None]


class TransactionOwner(Struct, frozen=True):
    """Where a transaction lives."""

    id: TransactionId
    tenant_id: TenantId
    station_key: StationKey
    is_open: bool


async def owner_of(db: Connection, transaction_id: int) -> TransactionOwner | None:
    """The station a transaction belongs to."""
    row: Any = await db.fetchrow(
        "SELECT id, tenant_id, station_key, is_open FROM transaction WHERE id = $1", transaction_id
    )
    return None if row is None else TransactionOwner(row[0], row[1], row[2], row[3])
