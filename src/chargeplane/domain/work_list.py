"""What needs a person, and what may safely be done about it."""

from __future__ import annotations

import enum
from typing import Final


class WorkKind(enum.StrEnum):
    """Why somebody is needed."""

    OFFLINE = "offline"
    FAULTED = "faulted"
    FAILED_STARTS = "failed_starts"
    ETERNAL_SESSION = "eternal_session"
    DECLINED_PAYMENT = "declined_payment"
    HELD_CDRS = "held_cdrs"
    UNDELIVERED_WEBHOOKS = "undelivered_webhooks"
    AGREEMENT_ENDING = "agreement_ending"
    QUARANTINE = "quarantine"
    PARKED_FACTS = "parked_facts"
    ALERT = "alert"
    """Any standing alert: silence, wrong clocks, certificates about to end, security ..."""


class WorkState(enum.StrEnum):
    """How far it is."""

    SEEN = "seen"
    ACKNOWLEDGED = "acknowledged"
    ASSIGNED = "assigned"
    RESOLVED = "resolved"


class WorkAction(enum.StrEnum):
    """What may be done from the list."""

    RESET = "reset"
    """Restart the station when it is idle."""
    TRIGGER_STATUS = "trigger_status"
    UNLOCK = "unlock"
    STOP = "stop"
    RETRY = "retry"


ACTIONS: Final[dict[WorkKind, tuple[WorkAction, ...]]] = {
    WorkKind.FAULTED: (WorkAction.TRIGGER_STATUS, WorkAction.RESET, WorkAction.UNLOCK),
    WorkKind.FAILED_STARTS: (WorkAction.TRIGGER_STATUS, WorkAction.RESET, WorkAction.UNLOCK),
    WorkKind.ETERNAL_SESSION: (WorkAction.STOP, WorkAction.TRIGGER_STATUS),
    WorkKind.UNDELIVERED_WEBHOOKS: (WorkAction.RETRY,),
    WorkKind.PARKED_FACTS: (WorkAction.RETRY,),
}
"""What suits which kind; kinds without an entry are looked after elsewhere."""

FAILED_STARTS: Final = 3
"""So many sessions in a row without energy are one too many."""
