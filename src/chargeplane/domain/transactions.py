"""The transaction's rules: which transaction a report belongs to, and what it does to it.

Signatures that app/ builds on. Everything is pure; `now` is an argument.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.messages import IdToken, Reading, ReportKind, TransactionReport
from chargeplane.kernel.ids import TransactionId


class Flag(enum.StrEnum):
    """What an operator or auditor should know of a transaction. Extend freely."""

    OFFLINE = "offline"
    METER_RESET = "meter_reset"
    SEQ_GAP = "seq_gap"
    SEQ_REPEATED = "seq_repeated"
    START_UNCONFIRMED = "start_unconfirmed"
    OPENED_BY_STOP = "opened_by_stop"
    REFUSED_TOKEN = "refused_token"  # noqa: S105
    LATE_VALUES = "late_values"
    CLOSED_BY_OPERATOR = "closed_by_operator"
    CLOSED_BY_EVIDENCE = "closed_by_evidence"


class TransactionState(Struct, frozen=True, kw_only=True):
    """A transaction as its events have made it. This is what is kept in memory and in `transaction.state`.

    Sketch: the fields named here are what app/ and store/ read; add what the rules need (register track, sequence
    intervals, recent hashes, ...), keep it small: it is encoded as JSON at start, stop and every few events.
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


class StoredEvent(Struct, frozen=True, kw_only=True):
    """An event of a transaction as stored, for repeats and for folding again."""

    ordinal: int
    kind: ReportKind
    content_hash: bytes
    seq_no: int | None
    at: datetime | None
    received_at: datetime
    readings: tuple[Reading, ...]


class Belongs(Struct, frozen=True, kw_only=True):
    """The report belongs to this transaction (perhaps a repeat: `advance` tells)."""

    transaction: TransactionState


class Opens(Struct, frozen=True, kw_only=True):
    """The report opens a new transaction.

    Args:
        flags: why, where it is not a plain start.
        supersedes: an open transaction on the same EVSE that the station evidently no longer has; the app closes it by
            evidence in the same commit.
    """

    flags: tuple[Flag, ...] = ()
    supersedes: TransactionState | None = None


class Lookup(Struct, frozen=True, kw_only=True):
    """Undecided without the store: load the station's transactions with this id (open or closed; newest 8), or, where
    the id is None, its transactions of the last 8 that match by connector and token; then call `route` again."""

    ocpp_transaction_id: str | None


class Loose(Struct, frozen=True, kw_only=True):
    """Belongs to no transaction: kept as station meter values with the reason (quarantine if it carries energy)."""

    reason: str


Route = Belongs | Opens | Lookup | Loose


def route(
    report: TransactionReport,
    message_id: str,
    open_transactions: Sequence[TransactionState],
    known: Sequence[TransactionState] | None,
    now: datetime,
) -> Route:
    """Which transaction a report belongs to.

    Args:
        open_transactions: the station's open ones, oldest first.
        known: what the store answered to an earlier `Lookup`, newest first; None before that.
    """
    raise AssertionError("written by the rules' owner")


class NeedsHistory(Struct, frozen=True, kw_only=True):
    """The report may be a repeat or older than what is folded: call again with all stored events of the transaction."""


class Advanced(Struct, frozen=True, kw_only=True):
    """What a report did.

    Args:
        state: after the report; the same object where it was a repeat.
        repeat: True where the same content is stored already: nothing is written, the answer is given again.
        opened, closed: the report opened / closed the transaction.
        snapshot: True where `transaction.state` should be written now (open, close, flags changed, every 16 events).
    """

    state: TransactionState
    repeat: bool = False
    opened: bool = False
    closed: bool = False
    snapshot: bool = False


def open_transaction(
    report: TransactionReport,
    *,
    id: TransactionId,
    assigned_id: int | None,
    message_id: str,
    content_hash: bytes,
    flags: tuple[Flag, ...],
    now: datetime,
) -> Advanced:
    """A new transaction from its first report (a start; an update or a stop whose start never came).

    Args:
        assigned_id: the 1.6 transactionId we give; None in 2.x.
        content_hash: 16 bytes over station-side content of the message.
    """
    raise AssertionError("written by the rules' owner")


def advance(
    state: TransactionState,
    report: TransactionReport,
    *,
    message_id: str,
    content_hash: bytes,
    now: datetime,
    history: Sequence[StoredEvent] | None = None,
) -> Advanced | NeedsHistory:
    """The transaction after a report.

    Args:
        history: all stored events in the order of their ordinal, given after a `NeedsHistory`.
    """
    raise AssertionError("written by the rules' owner")


def refold(state: TransactionState, tail: Sequence[StoredEvent]) -> TransactionState:
    """The state after a restart: a snapshot plus the stored events since it (ordinal > state.ordinal)."""
    raise AssertionError("written by the rules' owner")


def close_by_hand(state: TransactionState, *, reason: str, flag: Flag, now: datetime) -> Advanced:
    """Closes an open transaction with the last known value (operator, or evidence such as the EVSE being free)."""
    raise AssertionError("written by the rules' owner")
