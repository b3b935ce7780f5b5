"""A transaction as its events have made it, and its events as stored."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.messages import IdToken, Reading, ReportKind
from chargeplane.domain.register import Track
from chargeplane.kernel.ids import TransactionId


class Flag(enum.StrEnum):
    """What an operator or auditor should know of a transaction."""

    OFFLINE = "offline"
    """An event came from a time without connection."""
    METER_RESET = "meter_reset"
    """The register fell; the energy is the sum of its rises."""
    METER_GLITCH = "meter_glitch"
    """One odd register value was left out."""
    METER_JUMP = "meter_jump"
    """The register rose beyond physics; that rise is not counted."""
    UNIT_REPAIRED = "unit_repaired"
    """Register values were taken in another unit than they were declared in."""
    CLOCK_STEPPED = "clock_stepped"
    """The station's times ran backwards while its register rose; the values count in an order in which it never fell."""
    SEQ_GAP = "seq_gap"
    """Sequence numbers are missing."""
    SEQ_REPEATED = "seq_repeated"
    """Different events carry the same sequence number."""
    START_UNCONFIRMED = "start_unconfirmed"
    """No start was received (yet)."""
    OPENED_BY_STOP = "opened_by_stop"
    """Only the stop arrived."""
    REFUSED_TOKEN = "refused_token"  # noqa: S105
    """Started with an unknown, blocked or otherwise refused id token; the record is kept."""
    STOPPED_BY_OTHER = "stopped_by_other"
    """Stopped with an id token that neither began it nor is of the same group."""
    LATE_VALUES = "late_values"
    """Something arrived after the transaction was closed."""
    ID_MISMATCH = "id_mismatch"
    """An event carried another transaction id and was matched by connector, token and time."""
    SECOND_STOP = "second_stop"
    """More than one stop was received; the first by its time counts."""
    TIME_UNTRUSTED = "time_untrusted"
    """The station's time of the start or stop could not be believed; ours stands in."""
    CLOSED_BY_OPERATOR = "closed_by_operator"
    CLOSED_BY_EVIDENCE = "closed_by_evidence"
    CLOSED_BY_POLICY = "closed_by_policy"
    """It lasted longer than is allowed, and its station did not end it when it was asked to."""
    REOPENED = "reopened"
    """It was closed by evidence, and then its station spoke of it again."""


class TransactionState(Struct, frozen=True, kw_only=True):
    """A transaction as its events have made it: what is kept in memory and in `transaction.state`.

    What stored events bring back (`refold`) are the register tracks, the energy, the sequence intervals, the window of
    recent hashes and the newest times; every other field changes only in an `Advanced` with `snapshot` set.

    Args:
        opened_at: our time of the first event.
        started_at, stopped_at: effective time of start and stop (the station's where it can be believed, else ours).
        ordinal: number of stored events; the first event has ordinal 1.
        energy_wh: Wh, never negative.
        meter_start_wh, meter_stop_wh: Wh, as the register read at start and stop (the first and last known value
            where the station gave none); after a meter reset their difference is not the energy.
        id_token: who started, as far as known.
        id_assigned: `ocpp_transaction_id` was given by us (1.6).
        stop_id_token: who stopped, where the stop says so.
        reported_start, reported_stop: the station's own time of start and stop as received.
        start_meter: register in the start message, for repeats (1.6 meterStart).
        started_seen, ended_seen: the start / the stop was received.
        id_token_rank: 3 from the start, 2 from an update, 1 from the stop, 0 unknown.
        tracks: register tracks, most trusted source first.
        seq_seen: intervals (low, high, low, high, ...) of sequence numbers seen.
        recent: first 8 bytes of the content hashes of the newest 16 events.
        newest_at: newest time in any event as the station wrote it.
        newest_half, newest_forgotten: what `newest_at` was at the last and the last but one multiple of 8 events: no event
            that left the window of hashes has a newer time than `newest_forgotten`.
        newest_effective: newest effective time of any event.
        charging_state_at: effective time of the event that gave `charging_state`.
    """

    id: TransactionId
    ocpp_transaction_id: str | None
    opened_at: datetime
    started_at: datetime
    evse_id: int | None
    connector_id: int | None
    id_token: IdToken | None
    ordinal: int
    is_open: bool
    energy_wh: Decimal
    meter_start_wh: Decimal | None
    meter_stop_wh: Decimal | None
    stopped_at: datetime | None
    stop_reason: str | None
    charging_state: str | None
    offline: bool
    flags: tuple[Flag, ...]
    start_message_id: str | None
    id_assigned: bool = False
    stop_id_token: IdToken | None = None
    reported_start: datetime | None = None
    reported_stop: datetime | None = None
    start_meter: Decimal | None = None
    started_seen: bool = False
    ended_seen: bool = False
    id_token_rank: int = 0
    tracks: tuple[Track, ...] = ()
    seq_seen: tuple[int, ...] = ()
    recent: bytes = b""
    newest_at: datetime | None = None
    newest_half: datetime | None = None
    newest_forgotten: datetime | None = None
    newest_effective: datetime | None = None
    charging_state_at: datetime | None = None

    @property
    def seq_gaps(self) -> tuple[tuple[int, int], ...]:
        """Missing sequence numbers as (first, last), the newest intervals only where there are very many."""
        seen = self.seq_seen
        return tuple((seen[i] + 1, seen[i + 1] - 1) for i in range(1, len(seen) - 1, 2))


class StoredEvent(Struct, frozen=True, kw_only=True):
    """An event of a transaction as stored, for repeats and for folding again.

    Args:
        ordinal: 1 for the first event.
        content_hash: 16 bytes as given to `open_transaction` or `advance`.
        at: `TransactionReport.at` as received.
        received_at: the `now` that was given with the event.
        readings: as given with the event.
    """

    ordinal: int
    kind: ReportKind
    content_hash: bytes
    seq_no: int | None
    at: datetime | None
    received_at: datetime
    readings: tuple[Reading, ...]
