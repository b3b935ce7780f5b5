"""A guest at an EVSE: the stages from the scanned code to the receipt."""

from __future__ import annotations

import enum
from typing import Final

from chargeplane.kernel.errors import LocalProtocolError


class Stage(enum.StrEnum):
    """How far a guest has come."""

    PAYING = "paying"
    STARTING = "starting"
    WAITING = "waiting"
    CHARGING = "charging"
    SETTLING = "settling"
    DONE = "done"
    ENDED = "ended"


_S = Stage
MAY_FOLLOW: Final[dict[Stage, frozenset[Stage]]] = {
    _S.PAYING: frozenset({_S.STARTING, _S.ENDED}),
    _S.STARTING: frozenset({_S.WAITING, _S.CHARGING, _S.ENDED}),
    _S.WAITING: frozenset({_S.CHARGING, _S.ENDED}),
    _S.CHARGING: frozenset({_S.SETTLING}),
    _S.SETTLING: frozenset({_S.DONE}),
    _S.DONE: frozenset(),
    _S.ENDED: frozenset({_S.CHARGING}),  # the station started after all
}
"""What may come after a stage."""

OVER: Final = frozenset({_S.DONE, _S.ENDED})
"""Nothing more is expected."""


def moved(before: Stage, after: Stage) -> Stage:
    """The stage that a visit goes to.

    Raises:
        LocalProtocolError: it cannot go there from where it is.
    """
    if after is not before and after not in MAY_FOLLOW[before]:
        raise LocalProtocolError(f"A guest's visit cannot go from '{before.value}' to '{after.value}'.")
    return after


class EndedBecause(enum.StrEnum):
    """Why a visit ended without charging."""

    NOT_PAID = "not_paid"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    NO_ANSWER = "no_answer"
    NOT_PLUGGED_IN = "not_plugged_in"
    GIVEN_UP = "given_up"
