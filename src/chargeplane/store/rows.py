"""Rows for the group commit, from domain values. One function a target; the order is that of `commit/tables.py`.

`station` and `tenant` are fields made once per actor.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from chargeplane.domain.authorization import token_key
from chargeplane.domain.clock import ClockOffset
from chargeplane.domain.messages import (
    Boot,
    ConnectorStatus,
    IdToken,
    MeterReport,
    Notice,
    ReportKind,
    TransactionReport,
)
from chargeplane.domain.transactions import TransactionState
from chargeplane.domain.variables import ReportedVariable
from chargeplane.kernel.ids import NodeId
from chargeplane.store.commit import tables
from chargeplane.store.commit.committer import Row
from chargeplane.store.commit.fields import (
    NULL,
    Field,
    boolean,
    day,
    int4,
    int4_or_null,
    int8,
    number,
    number_or_null,
    raw,
    raw_or_null,
    text,
    text_or_null,
    timestamp,
    timestamp_or_null,
)
from chargeplane.store.stations import encode_readings, opened_on

Write = tuple[int, Row]

_TRANSACTION = tables.TRANSACTION.index
_OPEN = tables.OPEN_TRANSACTION.index
_CLOSED = tables.CLOSED_TRANSACTION.index
_EVENT = tables.TRANSACTION_EVENT.index
_METER = tables.STATION_METER_VALUE.index
_ATTEMPT = tables.AUTHORIZATION_ATTEMPT.index
_CONNECTOR = tables.CONNECTOR.index
_NOTICE = tables.STATION_NOTICE.index
_CONNECTION = tables.STATION_CONNECTION.index
_BOOT = tables.STATION_BOOT.index
_QUARANTINE = tables.QUARANTINE.index
_QUIRK = tables.STATION_QUIRK.index
_VARIABLE = tables.STATION_VARIABLE.index
_OUTBOX = tables.OUTBOX.index

_KINDS: Final = {kind: text(kind.value) for kind in ReportKind}


class _Words(dict[str, Field]):
    """Fields of words that recur (actions, statuses), made once; bounded, because stations choose some of them."""

    def __missing__(self, word: str) -> Field:
        field = text(word)
        if len(self) < 1000:
            self[word] = field
        return field


class _Days(dict[date, Field]):
    """Fields of days; a handful are in use at a time."""

    def __missing__(self, when: date) -> Field:
        if len(self) > 100:
            self.clear()
        field = self[when] = day(when)
        return field


_words = _Words()
_days = _Days()


def transaction(
    state: TransactionState,
    encoded: bytes,
    tenant: Field,
    station: Field,
    report: TransactionReport | None,
    authorization: str | None,
    now: Field,
) -> Write:
    """The transaction's own row, whole; what a report or an authorisation does not say again keeps its stored value.

    Args:
        encoded: the state as JSON.
    """
    token = state.id_token
    return _TRANSACTION, (
        int8(state.id),
        tenant,
        station,
        text_or_null(state.ocpp_transaction_id),
        int4_or_null(state.evse_id),
        int4_or_null(state.connector_id),
        text(token.value) if token is not None else NULL,
        text(token_key(token.value)) if token is not None else NULL,
        text_or_null(token.type) if token is not None else NULL,
        text_or_null(authorization),
        timestamp(state.opened_at),
        timestamp(state.started_at),
        timestamp_or_null(state.stopped_at),
        text_or_null(state.stop_reason),
        text_or_null(state.charging_state),
        number_or_null(state.meter_start_wh),
        number_or_null(state.meter_stop_wh),
        number(state.energy_wh),
        boolean(state.is_open),
        boolean(state.offline),
        text(" ".join(state.flags)),
        text_or_null(state.start_message_id),
        int4_or_null(report.reservation_id) if report is not None else NULL,
        int4_or_null(report.remote_start_id) if report is not None else NULL,
        int4(state.ordinal),
        raw(encoded),
        now,
    )


def open_transaction(state: TransactionState, encoded: bytes, tenant: Field, station: Field) -> Write:
    """The open transaction's snapshot.

    Args:
        encoded: the state as JSON.
    """
    token = state.id_token
    return _OPEN, (
        int8(state.id),
        tenant,
        station,
        _days[opened_on(state.opened_at)],
        text(token_key(token.value)) if token is not None else NULL,
        int4(state.ordinal),
        raw(encoded),
    )


def closed_transaction(state: TransactionState) -> Write:
    """Takes the transaction from the open ones."""
    return _CLOSED, (int8(state.id),)


def event(
    state: TransactionState,
    report: TransactionReport,
    station: Field,
    action: str,
    message_id: str,
    content_hash: bytes,
    payload: bytes,
    received: Field,
) -> Write:
    """A transaction's event, with the energy after it."""
    return _EVENT, (
        _days[opened_on(state.opened_at)],
        int8(state.id),
        int4(state.ordinal),
        station,
        _KINDS[report.kind],
        _words[action],
        text(message_id),
        raw(content_hash),
        int4_or_null(report.seq_no),
        timestamp_or_null(report.at),
        received,
        number(state.energy_wh),
        raw(payload),
        raw(encode_readings(report.readings)) if report.readings else NULL,
    )


def meter_value(
    report: MeterReport, station: Field, message_id: str, content_hash: bytes, payload: bytes, received_at: datetime
) -> Write:
    """Meter values outside of a transaction."""
    return _METER, (
        _days[received_at.date()],
        station,
        int4(report.evse_id),
        int4_or_null(report.connector_id),
        text(message_id),
        raw(content_hash),
        timestamp(received_at),
        raw(payload),
        raw(encode_readings(report.readings)) if report.readings else NULL,
    )


def attempt(
    token: IdToken,
    evse_id: int | None,
    status: str,
    tenant: Field,
    station: Field,
    message_id: str,
    content_hash: bytes,
    received_at: datetime,
) -> Write:
    """An authorisation that was asked for, and what we answered."""
    return _ATTEMPT, (
        _days[received_at.date()],
        timestamp(received_at),
        tenant,
        station,
        int4_or_null(evse_id),
        text(token.value),
        text_or_null(token.type),
        _words[status],
        text(message_id),
        raw(content_hash),
    )


def connector(status: ConnectorStatus, station: Field, received_at: datetime) -> Write:
    """A connector's last status."""
    return _CONNECTOR, (
        station,
        int4(status.evse_id),
        int4(status.connector_id),
        _words[status.status.value],
        _words[status.reported],
        text_or_null(status.error_code),
        text_or_null(status.info),
        text_or_null(status.vendor_id),
        text_or_null(status.vendor_error_code),
        timestamp_or_null(status.at),
        timestamp(received_at),
    )


def notice(
    message: Notice, station: Field, message_id: str, content_hash: bytes, payload: bytes, received_at: datetime
) -> Write:
    """Any other message that is kept."""
    return _NOTICE, (
        _days[received_at.date()],
        timestamp(received_at),
        station,
        _words[message.action],
        text_or_null(message.tells),
        text(message_id),
        raw(content_hash),
        raw(payload),
    )


def variable(reported: ReportedVariable, station: Field, now: datetime) -> Write:
    """An attribute of a variable that the station reported."""
    return _VARIABLE, (
        station,
        text(reported.component),
        text(reported.component_instance),
        int4(reported.evse_id),
        int4(reported.connector_id),
        text(reported.variable),
        text(reported.variable_instance),
        text(reported.attribute),
        text_or_null(reported.value),
        text_or_null(reported.mutability),
        raw_or_null(reported.characteristics),
        timestamp(now),
    )


def connection(
    station: Field,
    node: NodeId,
    connected: bool,
    now: datetime,
    version: str,
    address: str,
    last_seen: datetime | None,
    clock: ClockOffset | None = None,
) -> Write:
    """Whether the station is connected; and how its clock goes, where that was measured since it was last written."""
    return _CONNECTION, (
        station,
        int4(node),
        boolean(connected),
        timestamp(now),
        text(version),
        text(address),
        timestamp_or_null(last_seen),
        text(f"{clock.offset_s:.3f}") if clock is not None else NULL,
        timestamp(clock.measured_at) if clock is not None else NULL,
    )


def boot(message: Boot, station: Field, now: datetime) -> Write:
    """What the station said of itself."""
    return _BOOT, (
        station,
        text_or_null(message.vendor),
        text_or_null(message.model),
        text_or_null(message.serial_number),
        text_or_null(message.firmware_version),
        text_or_null(message.iccid),
        text_or_null(message.imsi),
        text_or_null(message.meter_type),
        text_or_null(message.meter_serial_number),
        text_or_null(message.reason),
        timestamp(now),
    )


def quarantine(
    tenant: Field,
    station: Field,
    action: str,
    message_id: str,
    content_hash: bytes,
    payload: bytes,
    reason: str,
    received_at: datetime,
) -> Write:
    """A message that could not be understood, matched or stored. Texts are made storable, whatever they are."""
    return _QUARANTINE, (
        tenant,
        station,
        _made_storable(action),
        _made_storable(message_id),
        raw(content_hash),
        raw(payload),
        _made_storable(reason),
        timestamp(received_at),
    )


def quirk(station: Field, rule: str, hits: int, now: datetime) -> Write:
    """How often a repair rule was needed since it was last written."""
    return _QUIRK, (station, text(rule), int8(hits), timestamp(now))


def fact(tenant: Field, topic: str, key: str, payload: bytes) -> Write:
    """Something that follows from the change and must leave the house: `payload` is JSON."""
    return _OUTBOX, (tenant, _words[topic], text(key), raw(payload))


def _made_storable(value: str) -> Field:
    return raw(value.replace("\x00", "�").encode("utf-8", "replace"))
