"""What an agreement's limits do to a session that runs: less power, or its end before more is owed than may be."""

from __future__ import annotations

import enum
from datetime import timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.payments.holds import Spending, used_up

_TWICE: Final = Decimal(2)
"""A session may cost so many times as much an hour as it did so far: it may have begun slowly."""
_LEAST_S: Final = 60.0


class LimitKind(enum.StrEnum):
    """Which limit it was."""

    POWER = "power"
    SESSION_COST = "session_cost"
    """`hold_per_session`, of a session that no payment holds money for."""
    CREDIT = "credit"


class LimitNote(Struct, frozen=True, kw_only=True):
    """A limit that lowered or ended a session.

    Args:
        value: in words, as `11 kW` or `50.00 EUR`.
        stopped: the station was asked to end it.
    """

    kind: LimitKind
    value: str
    stopped: bool


def spent(limit: Decimal, owed_before: Decimal, cost: Decimal, lasted: timedelta, told_ago: timedelta) -> bool:
    """Whether a session has to end so that a limit of money suffices.

    Args:
        owed_before: beside the session.
        cost: of the session so far, with taxes.
        lasted: the session so far.
        told_ago: age of its newest meter value.
    """
    left = limit - owed_before
    if left <= 0:
        return True
    hours = Decimal(str(max(lasted.total_seconds(), _LEAST_S))) / 3600
    return used_up(left, Spending(cost=cost, per_hour=cost / hours * _TWICE, told_ago=told_ago))
