"""Transactions that a station is asked about, because something of them is missing or nothing more is heard."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Final

from chargeplane.domain.messages import ConnectorState
from chargeplane.domain.transaction_state import TransactionState


class Why(enum.StrEnum):
    """Why a station is asked about a transaction."""

    GAP = "gap"
    """Sequence numbers are missing."""
    RECONNECT = "reconnect"
    """The station was away while the transaction was open."""
    SILENCE = "silence"
    """Nothing was heard of it for long, while the station told other things."""
    AGE = "age"
    """It has lasted longer than any charging does."""


class Outcome(enum.StrEnum):
    """What an inquiry led to."""

    WAITING = "waiting"
    """Messages are on their way, or the station has not answered."""
    KEPT = "kept"
    """The transaction goes on."""
    COMPLETE = "complete"
    """No message is on its way any more: what is missing will not come."""
    CLOSED = "closed"
    """The station no longer has the transaction: it was closed with its last known value."""
    UNKNOWN = "unknown"
    """The station cannot be asked or does not say."""


LONGEST_WAIT: Final = timedelta(hours=1)


def settled(
    why: Why,
    *,
    is_open: bool,
    ongoing: bool | None,
    messages_in_queue: bool | None,
    connector: str | None,
) -> Outcome:
    """What to make of a station's answer.

    Args:
        is_open: whether we hold the transaction open.
        ongoing, messages_in_queue: as answered (OCPP 2.0.1 E14); None where the station did not or could not say.
        connector: status of its connector as last told; None where it was never told.
    """
    if messages_in_queue:
        return Outcome.WAITING  # nothing is closed before its queue is empty
    if ongoing:
        return Outcome.KEPT
    if messages_in_queue is False and (ongoing is False or not is_open):
        return Outcome.CLOSED if is_open else Outcome.COMPLETE
    if why is Why.SILENCE and is_open:
        # A station that cannot be asked: a car at the connector speaks for the transaction.
        return Outcome.KEPT if connector in (ConnectorState.OCCUPIED, ConnectorState.RESERVED) else Outcome.CLOSED
    return Outcome.UNKNOWN


def again_after(times: int, first: timedelta) -> timedelta:
    """How long to wait before the same question is asked again: longer every time, at most an hour."""
    return min(first * float(2 ** min(times, 12)), LONGEST_WAIT)


def is_silent(state: TransactionState, heard_at: datetime | None, now: datetime, after: timedelta) -> bool:
    """Whether nothing was heard of an open transaction for long, while its station was heard.

    Args:
        heard_at: when anything was last heard of the station.
    """
    newest = max(state.newest_effective or state.started_at, state.opened_at)
    return heard_at is not None and heard_at - newest >= after and now - heard_at < after


def is_eternal(state: TransactionState, now: datetime, after: timedelta) -> bool:
    """Whether an open transaction has lasted too long, since we first heard of it: a clock of the station that is wrong ends none."""
    return now - max(state.started_at, state.opened_at) >= after
