"""Transactions that the station no longer has: the stop happened offline and never came.

The evidence is an EVSE that turned Available while we hold its transaction open. That is a reason to ask, not yet to
close: statuses are replayed before the stops they belong to. The station's own word decides; where it has none (1.6, or
no answer) a period of grace does.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from chargeplane.domain.clock import effective
from chargeplane.domain.messages import ConnectorState, ConnectorStatus
from chargeplane.domain.transaction_state import TransactionState

GRACE: Final = timedelta(minutes=10)
"""How long a stop may still come after its EVSE turned Available, where the station cannot be asked."""


class Verdict(enum.Enum):
    """What to do with a doubtful transaction."""

    KEEP = "the station still has it"
    WAIT = "its stop may still be on the way: ask again later"
    CLOSE = "the station no longer has it: close with the last known value"


def doubtful(
    status: ConnectorStatus, open_transactions: Sequence[TransactionState], now: datetime
) -> tuple[TransactionState, ...]:
    """The open transactions that a status speaks against: ask the station about each (2.x GetTransactionStatus).

    Args:
        status: only Available on an EVSE speaks; it must be newer than all the transaction has told.
        now: when the status came in.
    """
    if status.status is not ConnectorState.AVAILABLE or not status.evse_id or not open_transactions:
        return ()
    at = effective(status.at, now)
    return tuple(
        state
        for state in open_transactions
        if state.is_open
        and state.evse_id == status.evse_id
        and (state.connector_id is None or status.connector_id in (0, state.connector_id))
        and at > (state.newest_effective or state.started_at)
    )


def verdict(
    *,
    ongoing: bool | None,
    messages_in_queue: bool | None,
    doubted_at: datetime,
    now: datetime,
    heard_since: bool = False,
    grace: timedelta = GRACE,
) -> Verdict:
    """What to do after asking.

    Args:
        ongoing: GetTransactionStatus.ongoingIndicator; None where the station was not or could not be asked.
        messages_in_queue: GetTransactionStatus.messagesInQueue; None as above.
        doubted_at: our time of the status that raised the doubt.
        heard_since: an event of the transaction came in after it.
        grace: how long a stop may still come where the station does not say.
    Source: OCPP 2.0.1 E14.
    """
    if heard_since or ongoing:
        return Verdict.KEEP
    if messages_in_queue:
        return Verdict.WAIT
    if ongoing is False and messages_in_queue is False:
        return Verdict.CLOSE
    return Verdict.CLOSE if now - doubted_at >= grace else Verdict.WAIT
