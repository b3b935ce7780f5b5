"""How a station's password or security profile is changed so that it can never be locked out (OCPP 2.0.1 A01, A05).

What is next is good at the door before the station hears of it, beside what is registered. What the station does is seen by how it
comes in: only when it came in by what is next, that becomes what is registered and the old is dropped. Whatever got lost in between
(an answer, a process, the station's memory), one of the two is right.

The specification has the CSMS forget the old password as soon as the station said Accepted (A01.FR.03). Stations that say so and keep
the old one would be locked out, so here the old one is good until the new one was used.
"""

from __future__ import annotations

import enum
from typing import Final

from msgspec import Struct

MOST_ATTEMPTS: Final = 3
"""How often the same is sent to a station that may or may not have taken it."""

MOST_RETURNS: Final = 2
"""How often a station may come back by the old way after it had agreed, until it is given up."""


class ChangeKind(enum.StrEnum):
    """What is changed."""

    PASSWORD = "password"  # noqa: S105
    PROFILE = "profile"


class ChangeState(enum.StrEnum):
    """waiting -> sent -> agreed -> done, or one of the other ends."""

    WAITING = "waiting"
    """For the station, or for what must be there before."""
    SENT = "sent"
    """Whether the station took it is not known."""
    AGREED = "agreed"
    """It said so; it has to come in by it."""
    ROLLING_BACK = "rolling_back"
    """What it was told to do is being taken back."""
    DONE = "done"
    REFUSED = "refused"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


ENDED: Final = frozenset(
    {
        ChangeState.DONE,
        ChangeState.REFUSED,
        ChangeState.ROLLED_BACK,
        ChangeState.EXPIRED,
        ChangeState.CANCELLED,
        ChangeState.SUPERSEDED,
    }
)


class NextStep(enum.Enum):
    """What follows from how a station came in."""

    NOTHING = enum.auto()
    PROMOTE = enum.auto()
    """What is next becomes what is registered."""
    SEND_AGAIN = enum.auto()
    RESTART = enum.auto()
    """It may need a restart to use what it took."""
    ROLL_BACK = enum.auto()


class Standing(Struct, frozen=True, kw_only=True):
    """Where a change stands, as far as this is decided by it.

    Args:
        attempts: how often it was sent.
        returns: how often the station came back by the old way after it had agreed.
        restarts: it changes by a restart only (2.x profiles), and was told to restart.
    """

    kind: ChangeKind
    state: ChangeState
    attempts: int = 0
    returns: int = 0
    restarts: bool = False


def after_return(standing: Standing, *, by_next: bool) -> NextStep:
    """What follows from a station's return.

    Args:
        by_next: it came in by all that is next.
    """
    if by_next:
        return NextStep.PROMOTE
    match standing.state:
        case ChangeState.SENT:
            # It did not take it, or has not used it yet: the same again is safe.
            return NextStep.SEND_AGAIN if standing.attempts < MOST_ATTEMPTS else NextStep.ROLL_BACK
        case ChangeState.AGREED:
            if standing.kind is ChangeKind.PROFILE:
                # whitepaper A05.FR.08, OCPP 2.0.1 B10.FR.03: it tried and fell back
                return NextStep.ROLL_BACK if standing.restarts or standing.returns >= 1 else NextStep.RESTART
            return NextStep.ROLL_BACK if standing.returns >= MOST_RETURNS else NextStep.RESTART
        case _:
            return NextStep.NOTHING


def stays_good(state: ChangeState, *, agreed: bool, attempts: int) -> bool:
    """Whether what is next stays good at the door when a change ends so: a station that may have taken it may still use it."""
    if state in (ChangeState.DONE, ChangeState.REFUSED, ChangeState.SUPERSEDED):
        return False
    return agreed or attempts > 0
