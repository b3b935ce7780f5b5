"""Transactions, their events and meter values as the API shows them.

`transaction` is written when a transaction opens and closes; while it is open, the newest event has the energy and the
snapshot in `open_transaction` the charging state.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.authorization import token_key
from chargeplane.domain.clock import effective
from chargeplane.domain.messages import Reading, SignedValue
from chargeplane.domain.timeline import Heard
from chargeplane.domain.transactions import TransactionState
from chargeplane.kernel.ids import StationKey, TenantId, TransactionId
from chargeplane.store.queries.charging_stations import keys_of
from chargeplane.store.queries.paging import Db, Mark, Position, Sorts, Where, by_time
from chargeplane.store.queries.payloads import as_json

_SOON: Final = timedelta(hours=1)
"""What is opened later than this after its start was told late; as in the index `transaction_delayed`."""

_FEW_OPEN: Final = 1000
"""Open transactions that are looked up one by one."""

_CLOCK_SLACK: Final = timedelta(days=1)
"""A station's clock is believed ahead of ours by less than this."""


class GapView(Struct, frozen=True, kw_only=True):
    """Sequence numbers that were never received (OCPP 2.x seqNo), both ends included."""

    first_seq_no: int
    last_seq_no: int


class TransactionView(Struct, frozen=True, kw_only=True):
    """A charging transaction.

    Args:
        id: ours, unique over all stations.
        ocpp_transaction_id: as the station knows it.
        started_at, stopped_at: the station's times where they can be believed.
        opened_at: when we first heard of it.
        stop_reason: OCPP's word.
        meter_start_wh, meter_stop_wh: the energy register at both ends.
        energy_wh: delivered so far, or in all.
        state: open or closed.
        offline: parts of it were reported afterwards.
        gaps: what is missing of the station's sequence.
        flags: what an operator should know of it.
        events: messages received for it.
    """

    id: str
    ocpp_transaction_id: str | None
    station_id: str
    evse_id: int | None
    connector_id: int | None
    id_token: str | None
    id_token_type: str | None
    authorization_status: str | None
    state: str
    started_at: datetime
    stopped_at: datetime | None
    opened_at: datetime
    stop_reason: str | None
    charging_state: str | None
    meter_start_wh: Decimal | None
    meter_stop_wh: Decimal | None
    energy_wh: Decimal
    offline: bool
    gaps: list[GapView]
    flags: list[str]
    events: int
    reservation_id: int | None
    remote_start_id: int | None
    updated_at: datetime


class TransactionFilter(Struct, frozen=True, kw_only=True):
    """Which transactions. `started_from` is included, `started_to` not."""

    station_id: str | None = None
    id_token: str | None = None
    is_open: bool | None = None
    started_from: datetime | None = None
    started_to: datetime | None = None


class TransactionEventView(Struct, frozen=True, kw_only=True):
    """A message of a transaction, as received.

    Args:
        ordinal: order of arrival, from 1.
        at: the station's time; null where it sent none.
        energy_wh: of the transaction, after this event.
        payload: the CALL's payload.
    """

    ordinal: int
    kind: str
    action: str
    message_id: str
    seq_no: int | None
    at: datetime | None
    received_at: datetime
    energy_wh: Decimal
    payload: Any


class SampleView(Struct, frozen=True, kw_only=True):
    """One sampled value in base units.

    Args:
        value: null where the station sent no usable number, or only a signed value.
        unit: Wh, W, varh, var, VAh, VA, A, V, Hz, Celsius, Percent.
        repaired: the rule that changed the value; `raw` is what the station wrote.
    """

    measurand: str
    value: Decimal | None
    unit: str | None
    phase: str | None
    location: str | None
    context: str | None
    signed: dict[str, str | None] | None
    repaired: str | None
    raw: str | None


class MeterValueView(Struct, frozen=True, kw_only=True):
    """Samples taken at one moment.

    Args:
        at: the station's time; null where it sent none.
        event: ordinal of the event they came with.
    """

    at: datetime | None
    received_at: datetime
    event: int
    samples: list[SampleView]


_DAY = "(t.opened_at AT TIME ZONE 'UTC')::date"

_SELECT = f"""
    SELECT t.id, t.ocpp_transaction_id, s.station_id, t.id_token, t.id_token_type, t.authorization_status, t.is_open,
        t.opened_at, t.reservation_id, t.remote_start_id, t.ordinal, t.updated_at, coalesce(o.state, t.state) AS state,
        e.energy_wh AS newest_energy_wh, e.ordinal AS newest_ordinal, e.received_at AS newest_at, e.seq_nos
    FROM transaction t
    JOIN charging_station s ON s.key = t.station_key
    LEFT JOIN open_transaction o ON o.transaction_id = t.id
    LEFT JOIN LATERAL (
        SELECT (array_agg(energy_wh ORDER BY ordinal DESC))[1] AS energy_wh, max(ordinal) AS ordinal,
            max(received_at) AS received_at, array_agg(seq_no) FILTER (WHERE seq_no IS NOT NULL) AS seq_nos
        FROM transaction_event
        WHERE transaction_id = o.transaction_id AND opened_on = {_DAY} AND ordinal > o.ordinal
    ) e ON true"""


TRANSACTION_SORTS: Final = Sorts("t.id", ident_name=None, default="-opened_at", opened_at=by_time("t.opened_at"))


async def page(
    db: Db, tenant_id: TenantId, wanted: TransactionFilter, limit: int, after: Position | None
) -> list[TransactionView]:
    """Transactions, the one opened last first."""
    where = Where()
    where.add("t.tenant_id = ?", tenant_id)
    if wanted.station_id is not None:
        where.add("t.station_key = ANY(?)", await keys_of(db, tenant_id, wanted.station_id))
    where.add_if("t.token_key = ?", None if wanted.id_token is None else token_key(wanted.id_token))
    if wanted.is_open is not None:
        where.add(f"{'' if wanted.is_open else 'NOT '}t.is_open")
    if wanted.is_open:
        # is_open has no index, for it changes; where few are open, they are looked up, else the newest soon show some.
        ids = await db.fetch(
            "SELECT transaction_id FROM open_transaction WHERE tenant_id = $1 LIMIT $2", tenant_id, _FEW_OPEN + 1
        )
        if len(ids) <= _FEW_OPEN:
            where.add("t.id = ANY(?)", [row["transaction_id"] for row in ids])
    if wanted.started_from is not None:
        where.add("t.started_at >= ?", wanted.started_from)
        # started_at is not indexed; what started then was not opened before.
        if wanted.started_from.year > 1:
            where.add("t.opened_at >= ?", wanted.started_from - _CLOCK_SLACK)
    where.add_if("t.started_at < ?", wanted.started_to)
    order = TRANSACTION_SORTS.begin(where, after)
    where.values.append(limit)
    page_end = f"ORDER BY {order} LIMIT ${len(where.values)}"
    chosen = f"SELECT t.id, t.opened_at FROM transaction t WHERE {where} {page_end}"
    if wanted.started_to is not None and wanted.started_to.year < 9999:
        # What started before a time was opened soon after it, or is one of the few that were told late.
        where.values.append(wanted.started_to + _SOON)
        bound = f"${len(where.values)}"
        chosen = (
            f"(SELECT t.id, t.opened_at FROM transaction t WHERE {where} AND t.opened_at <= {bound} {page_end}) UNION ALL"
            f" (SELECT t.id, t.opened_at FROM transaction t WHERE {where} AND t.opened_at > {bound}"
            f" AND t.opened_at - t.started_at > interval '1 hour' {page_end}) {page_end.replace('t.', '')}"
        )
    # The page is chosen before anything is gathered for it.
    rows = await db.fetch(
        f"WITH chosen AS MATERIALIZED ({chosen}) {_SELECT} WHERE t.id IN (SELECT id FROM chosen) ORDER BY {order}",
        *where.values,
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> TransactionView | None:
    """The transaction with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE t.tenant_id = $1 AND t.id = $2", tenant_id, ident)
    return None if row is None else _view(row)


class TransactionPlace(Struct, frozen=True, kw_only=True):
    """Where a transaction is kept."""

    id: TransactionId
    station_key: StationKey
    opened_at: datetime
    is_open: bool
    ocpp_transaction_id: str | None


async def place(db: Db, tenant_id: TenantId, ident: int) -> TransactionPlace | None:
    """Where the transaction with our id is kept."""
    row = await db.fetchrow(
        "SELECT id, station_key, opened_at, is_open, ocpp_transaction_id FROM transaction"
        " WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        ident,
    )
    return None if row is None else TransactionPlace(**row)


TRANSACTION_EVENT_SORTS: Final = Sorts(
    "ordinal",
    ident_name="ordinal",
    default="ordinal",
    ident_of=lambda one: (one.ordinal,),
    received_at=by_time("received_at"),
)


async def events(
    db: Db, at: TransactionPlace, kind: str | None, limit: int, after: Position | None
) -> list[TransactionEventView]:
    """The transaction's messages in order of arrival."""
    where = Where()
    where.add("transaction_id = ? AND opened_on = (?::timestamptz AT TIME ZONE 'UTC')::date", at.id, at.opened_at)
    where.add_if("kind = ?", kind)
    order = TRANSACTION_EVENT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT ordinal, kind, action, message_id, seq_no, at, received_at, energy_wh, payload FROM transaction_event"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [
        TransactionEventView(
            ordinal=row["ordinal"],
            kind=row["kind"],
            action=row["action"],
            message_id=row["message_id"],
            seq_no=row["seq_no"],
            at=row["at"],
            received_at=row["received_at"],
            energy_wh=row["energy_wh"],
            payload=as_json(row["payload"]),
        )
        for row in rows
    ]


_readings = msgspec.json.Decoder(tuple[Reading, ...], strict=False)


class _Info(Struct):
    chargingState: object = None  # noqa: N815


class _Event(Struct):
    """A stored payload, as far as it tells the charging state; those of 1.6 do not."""

    transactionInfo: _Info | None = None  # noqa: N815


_event = msgspec.json.Decoder(_Event)


HEARD_MOST: Final = 20_000
"""Messages of one transaction that its time is worked out from; what comes after is left out."""


async def stored_events(db: Db, at: TransactionPlace) -> list[Any]:
    """The rows that `heard` reads."""
    return list(
        await db.fetch(
            "SELECT at, received_at, payload, readings FROM transaction_event"
            " WHERE transaction_id = $1 AND opened_on = ($2::timestamptz AT TIME ZONE 'UTC')::date"
            " ORDER BY ordinal LIMIT $3",
            at.id,
            at.opened_at,
            HEARD_MOST,
        )
    )


async def events_since(db: Db, at: TransactionPlace, ordinal: int, most: int) -> list[Any]:
    """Messages of a transaction after one, in order of arrival, as far as they are rated."""
    return list(
        await db.fetch(
            "SELECT ordinal, at, received_at, energy_wh, payload FROM transaction_event WHERE transaction_id = $1"
            " AND opened_on = ($2::timestamptz AT TIME ZONE 'UTC')::date AND ordinal > $3 ORDER BY ordinal LIMIT $4",
            at.id,
            at.opened_at,
            ordinal,
            most,
        )
    )


def charging_state_of(payload: str) -> str | None:
    """The charging state that a message of OCPP 2.x told; None where it told none."""
    try:
        info = _event.decode(payload).transactionInfo
    except (msgspec.MsgspecError, RecursionError):
        return None
    state = None if info is None else info.chargingState
    return state if isinstance(state, str) else None


def heard(rows: Sequence[Any]) -> list[Heard]:
    """What each message of a transaction told of charging, in order of arrival. Slow with many: not for the loop of stations."""
    return [
        Heard(
            at=effective(row["at"], row["received_at"]),
            charging_state=charging_state_of(row["payload"]),
            readings=_readings.decode(row["readings"]) if row["readings"] else (),
        )
        for row in rows
    ]


async def meter_values(
    db: Db, at: TransactionPlace, limit: int, after: Position | None
) -> list[tuple[Mark, MeterValueView]]:
    """The transaction's meter values in order of arrival, each with its position."""
    event, index = after or (0, 0)
    rows = await db.fetch(
        "SELECT ordinal, received_at, readings FROM transaction_event"
        " WHERE transaction_id = $1 AND opened_on = ($2::timestamptz AT TIME ZONE 'UTC')::date AND ordinal >= $3"
        " AND readings IS NOT NULL ORDER BY ordinal LIMIT $4",
        at.id,
        at.opened_at,
        event,
        limit + 1,
    )
    found: list[tuple[Mark, MeterValueView]] = []
    for row in rows:
        for number, reading in enumerate(_readings.decode(row["readings"]), start=1):
            if (row["ordinal"], number) <= (event, index):
                continue
            found.append(((row["ordinal"], number), _meter_value(reading, row["received_at"], row["ordinal"])))
            if len(found) == limit:
                return found
    return found


def _meter_value(reading: Reading, received_at: datetime, event: int) -> MeterValueView:
    return MeterValueView(
        at=reading.at,
        received_at=received_at,
        event=event,
        samples=[
            SampleView(
                measurand=s.measurand,
                value=s.value,
                unit=s.unit,
                phase=s.phase,
                location=s.location,
                context=s.context,
                signed=_signed(s.signed),
                repaired=s.repaired,
                raw=s.raw,
            )
            for s in reading.samples
        ],
    )


def _signed(value: SignedValue | None) -> dict[str, str | None] | None:
    if value is None:
        return None
    return {
        "data": value.data,
        "signing_method": value.signing_method,
        "encoding_method": value.encoding_method,
        "public_key": value.public_key,
    }


_snapshot = msgspec.json.Decoder(TransactionState, strict=False).decode


def _gaps(seen: tuple[int, ...], later: list[int] | None) -> list[GapView]:
    """What is missing between the sequence numbers seen.

    Args:
        seen: intervals as in `TransactionState.seq_seen`.
        later: those of events after the snapshot.
    """
    intervals = sorted([*zip(seen[::2], seen[1::2], strict=True), *((number, number) for number in later or ())])
    gaps: list[GapView] = []
    highest: int | None = None
    for low, high in intervals:
        if highest is not None and low > highest + 1:
            gaps.append(GapView(first_seq_no=highest + 1, last_seq_no=low - 1))
        highest = high if highest is None else max(highest, high)
    return gaps


def _view(row: Any) -> TransactionView:
    snapshot = _snapshot(row["state"])
    is_open = row["is_open"] and snapshot.is_open
    newest_energy = row["newest_energy_wh"]
    return TransactionView(
        id=str(row["id"]),
        ocpp_transaction_id=row["ocpp_transaction_id"],
        station_id=row["station_id"],
        evse_id=snapshot.evse_id,
        connector_id=snapshot.connector_id,
        id_token=snapshot.id_token.value if snapshot.id_token is not None else row["id_token"],
        id_token_type=snapshot.id_token.type if snapshot.id_token is not None else row["id_token_type"],
        authorization_status=row["authorization_status"],
        state="open" if is_open else "closed",
        started_at=snapshot.started_at,
        stopped_at=snapshot.stopped_at,
        opened_at=row["opened_at"],
        stop_reason=snapshot.stop_reason,
        charging_state=snapshot.charging_state,
        meter_start_wh=snapshot.meter_start_wh,
        meter_stop_wh=snapshot.meter_stop_wh,
        energy_wh=snapshot.energy_wh if newest_energy is None else newest_energy,
        offline=snapshot.offline,
        gaps=_gaps(snapshot.seq_seen, row["seq_nos"]),
        flags=[flag.value for flag in snapshot.flags],
        events=max(row["ordinal"], snapshot.ordinal, row["newest_ordinal"] or 0),
        reservation_id=row["reservation_id"],
        remote_start_id=row["remote_start_id"],
        updated_at=row["newest_at"] if row["newest_at"] is not None else row["updated_at"],
    )
