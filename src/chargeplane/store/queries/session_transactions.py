"""What a session is made of: its transaction and the messages of it, read as of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.cdrs.charging import ToldEvent
from chargeplane.domain.messages import Reading, ReportKind
from chargeplane.domain.transaction_state import Flag, StoredEvent, TransactionState
from chargeplane.kernel.ids import StationKey, TenantId, TransactionId
from chargeplane.store.queries.paging import Db

MOST_EVENTS: Final = 20_000
"""Messages of one transaction that are rated."""

_snapshot = msgspec.json.Decoder(TransactionState, strict=False).decode
_readings = msgspec.json.Decoder(tuple[Reading, ...], strict=False).decode

_HEAD: Final = """
    SELECT t.id, t.tenant_id, t.station_key, s.station_id, t.token_key, t.id_token, t.id_token_type, t.is_open, t.ordinal,
        t.opened_at, t.reservation_id, t.remote_start_id, t.authorization_status, coalesce(o.state, t.state) AS state,
        e.energy_wh AS newest_energy_wh, e.ordinal AS newest_ordinal, e.received_at AS newest_at, e.at AS newest_told_at
    FROM transaction t JOIN charging_station s ON s.key = t.station_key
    LEFT JOIN open_transaction o ON o.transaction_id = t.id
    LEFT JOIN LATERAL (
        SELECT energy_wh, ordinal, received_at, at FROM transaction_event
        WHERE transaction_id = t.id AND opened_on = (t.opened_at AT TIME ZONE 'UTC')::date
        ORDER BY ordinal DESC LIMIT 1) e ON true
    WHERE t.id = $1 AND t.tenant_id = $2
"""


class SessionTransaction(Struct, frozen=True, kw_only=True):
    """A transaction as a session sees it.

    Args:
        token_key: as tokens are compared.
        ordinal: of its newest event.
        newest_at: when that came; None where no event is kept any more.
        gaps: sequence numbers are missing.
    """

    id: TransactionId
    tenant_id: TenantId
    station_key: StationKey
    station_id: str
    ocpp_transaction_id: str | None
    evse_id: int | None
    connector_id: int | None
    id_token: str | None
    id_token_type: str | None
    token_key: str | None
    is_open: bool
    opened_at: datetime
    started_at: datetime
    stopped_at: datetime | None
    stop_reason: str | None
    energy_wh: Decimal
    flags: tuple[Flag, ...]
    gaps: bool
    ordinal: int
    newest_at: datetime | None
    reservation_id: int | None


async def head(db: Db, tenant_id: TenantId, ident: TransactionId) -> SessionTransaction | None:
    """The transaction without its messages."""
    row = await db.fetchrow(_HEAD, ident, tenant_id)
    if row is None:
        return None
    state = _snapshot(row["state"])
    is_open = row["is_open"] and state.is_open
    return SessionTransaction(
        id=row["id"],
        tenant_id=row["tenant_id"],
        station_key=row["station_key"],
        station_id=row["station_id"],
        ocpp_transaction_id=state.ocpp_transaction_id,
        evse_id=state.evse_id,
        connector_id=state.connector_id,
        id_token=row["id_token"] if state.id_token is None else state.id_token.value,
        id_token_type=row["id_token_type"] if state.id_token is None else state.id_token.type,
        token_key=row["token_key"],
        is_open=is_open,
        opened_at=row["opened_at"],
        started_at=state.started_at,
        stopped_at=state.stopped_at,
        stop_reason=state.stop_reason,
        energy_wh=row["newest_energy_wh"] if is_open and row["newest_energy_wh"] is not None else state.energy_wh,
        flags=state.flags,
        gaps=bool(state.seq_gaps),
        ordinal=max(row["ordinal"], state.ordinal, row["newest_ordinal"] or 0),
        newest_at=row["newest_at"],
        reservation_id=row["reservation_id"],
    )


async def closed_ordinal(db: Db, ident: TransactionId) -> int | None:
    """How many events a closed transaction has, as of now; None where it is open."""
    value: int | None = await db.fetchval("SELECT ordinal FROM transaction WHERE id = $1 AND NOT is_open", ident)
    return value


async def event_rows(db: Db, transaction: SessionTransaction, known: int = 0, after: int = 0) -> list[Any]:
    """The rows that `told_events` reads, one more than are rated where there are too many.

    Args:
        known: how many were read before, and are not read again.
        after: the ordinal of the last of those.
    """
    return list(
        await db.fetch(
            "SELECT ordinal, kind, content_hash, seq_no, at, received_at, payload, readings FROM transaction_event"
            " WHERE transaction_id = $1 AND opened_on = ($2::timestamptz AT TIME ZONE 'UTC')::date"
            " AND ordinal > $4 ORDER BY ordinal LIMIT $3",
            transaction.id,
            transaction.opened_at,
            MOST_EVENTS + 1 - known,
            after,
        )
    )


class _Info(Struct):
    chargingState: object = None  # noqa: N815


class _Payload(Struct):
    transactionInfo: _Info | None = None  # noqa: N815


_payload = msgspec.json.Decoder(_Payload).decode


def told_events(rows: Sequence[Any], known: Sequence[ToldEvent] = ()) -> list[ToldEvent]:
    """The messages as they are rated. Slow with many: not for the loop of stations.

    Args:
        known: those before the rows.
    """
    return [*known, *map(_told, rows[: MOST_EVENTS - len(known)])]


def _told(row: Any) -> ToldEvent:
    return ToldEvent(
        event=StoredEvent(
            ordinal=row["ordinal"],
            kind=ReportKind(row["kind"]),
            content_hash=row["content_hash"],
            seq_no=row["seq_no"],
            at=row["at"],
            received_at=row["received_at"],
            readings=_readings(row["readings"]) if row["readings"] else (),
        ),
        charging_state=_state(row["payload"]),
    )


def _state(payload: str) -> str | None:
    try:
        info = _payload(payload).transactionInfo
    except (msgspec.MsgspecError, RecursionError):
        return None
    state = None if info is None else info.chargingState
    return state if isinstance(state, str) else None
