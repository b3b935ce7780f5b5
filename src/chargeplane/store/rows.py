"""Rows for the group commit, from domain values. One function a target; the order is that of `commit/tables.py`."""

from __future__ import annotations

from datetime import datetime

from chargeplane.domain.authorization import token_key
from chargeplane.domain.messages import Boot, ConnectorStatus, IdToken, MeterReport, Notice, TransactionReport
from chargeplane.domain.transactions import TransactionState
from chargeplane.kernel.ids import NodeId, StationKey, TenantId
from chargeplane.store.commit import tables
from chargeplane.store.commit.committer import Row
from chargeplane.store.stations import encode_readings, encode_state, opened_on

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
_OUTBOX = tables.OUTBOX.index


def text(payload: bytes) -> str:
    """A payload as text; bytes that are no UTF-8 are replaced (the wire layer refuses such frames before)."""
    return payload.decode("utf-8", "replace")


def transaction(
    state: TransactionState,
    state_json: str,
    tenant: TenantId,
    station: StationKey,
    report: TransactionReport | None,
    authorization: str | None,
    now: datetime,
) -> Write:
    """The transaction's own row, whole; what a report or an authorisation does not say again keeps its stored value."""
    token = state.id_token
    return _TRANSACTION, (
        state.id,
        tenant,
        station,
        state.ocpp_transaction_id,
        state.evse_id,
        state.connector_id,
        token.value if token is not None else None,
        token.type if token is not None else None,
        authorization,
        state.opened_at,
        state.started_at,
        state.stopped_at,
        state.stop_reason,
        state.charging_state,
        state.meter_start_wh,
        state.meter_stop_wh,
        state.energy_wh,
        state.is_open,
        state.offline,
        " ".join(state.flags),
        state.start_message_id,
        report.reservation_id if report is not None else None,
        report.remote_start_id if report is not None else None,
        state.ordinal,
        state_json,
        now,
    )


def open_transaction(state: TransactionState, state_json: str, tenant: TenantId, station: StationKey) -> Write:
    """The open transaction's snapshot."""
    token = state.id_token
    return _OPEN, (
        state.id,
        tenant,
        station,
        opened_on(state.opened_at),
        token_key(token.value) if token is not None else None,
        state.ordinal,
        state_json,
    )


def closed_transaction(state: TransactionState) -> Write:
    """Takes the transaction from the open ones."""
    return _CLOSED, (state.id,)


def state_json(state: TransactionState) -> str:
    """A transaction's state as stored."""
    return encode_state(state).decode()


def event(
    state: TransactionState,
    report: TransactionReport,
    station: StationKey,
    action: str,
    message_id: str,
    content_hash: bytes,
    payload: bytes,
    received_at: datetime,
) -> Write:
    """A transaction's event, with the energy after it."""
    return _EVENT, (
        opened_on(state.opened_at),
        state.id,
        state.ordinal,
        station,
        report.kind.value,
        action,
        message_id,
        content_hash,
        report.seq_no,
        report.at,
        received_at,
        state.energy_wh,
        text(payload),
        encode_readings(report.readings).decode() if report.readings else None,
    )


def meter_value(
    report: MeterReport,
    station: StationKey,
    message_id: str,
    content_hash: bytes,
    payload: bytes,
    received_at: datetime,
) -> Write:
    """Meter values outside of a transaction."""
    return _METER, (
        received_at.date(),
        station,
        report.evse_id,
        report.connector_id,
        message_id,
        content_hash,
        received_at,
        text(payload),
        encode_readings(report.readings).decode() if report.readings else None,
    )


def attempt(
    token: IdToken,
    evse_id: int | None,
    status: str,
    tenant: TenantId,
    station: StationKey,
    message_id: str,
    content_hash: bytes,
    received_at: datetime,
) -> Write:
    """An authorisation that was asked for, and what we answered."""
    return _ATTEMPT, (
        received_at.date(),
        received_at,
        tenant,
        station,
        evse_id,
        token.value,
        token.type,
        status,
        message_id,
        content_hash,
    )


def connector(status: ConnectorStatus, station: StationKey, received_at: datetime) -> Write:
    """A connector's last status."""
    return _CONNECTOR, (
        station,
        status.evse_id,
        status.connector_id,
        status.status.value,
        status.reported,
        status.error_code,
        status.info,
        status.vendor_id,
        status.vendor_error_code,
        status.at,
        received_at,
    )


def notice(
    message: Notice, station: StationKey, message_id: str, content_hash: bytes, payload: bytes, received_at: datetime
) -> Write:
    """Any other message that is kept."""
    return _NOTICE, (
        received_at.date(),
        received_at,
        station,
        message.action,
        message.tells,
        message_id,
        content_hash,
        text(payload),
    )


def connection(
    station: StationKey,
    node: NodeId,
    connected: bool,
    now: datetime,
    version: str,
    address: str,
    last_seen: datetime | None,
) -> Write:
    """Whether the station is connected."""
    return _CONNECTION, (station, node, connected, now, version, address, last_seen)


def boot(message: Boot, station: StationKey, now: datetime) -> Write:
    """What the station said of itself."""
    return _BOOT, (
        station,
        message.vendor,
        message.model,
        message.serial_number,
        message.firmware_version,
        message.iccid,
        message.imsi,
        message.meter_type,
        message.meter_serial_number,
        message.reason,
        now,
    )


def quarantine(
    tenant: TenantId,
    station: StationKey,
    action: str,
    message_id: str,
    content_hash: bytes,
    payload: bytes,
    reason: str,
    received_at: datetime,
) -> Write:
    """A message that could not be understood, matched or stored."""
    return _QUARANTINE, (tenant, station, action, message_id, content_hash, payload, reason, received_at)


def quirk(station: StationKey, rule: str, hits: int, now: datetime) -> Write:
    """How often a repair rule was needed since it was last written."""
    return _QUIRK, (station, rule, hits, now)


def fact(tenant: TenantId, topic: str, key: str, payload: str) -> Write:
    """Something that follows from the change and must leave the house: `payload` is JSON."""
    return _OUTBOX, (tenant, topic, key, payload)
