"""How much is held for a session, and when the session has to end so that the hold suffices."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct

LATENCY: Final = timedelta(seconds=20)
"""From the order to stop until the car takes nothing more."""

LEAST_SHARE: Final = Decimal("0.02")
"""Of the hold: a margin for what rounding, taxes and a last meter value may add."""


class Spending(Struct, frozen=True, kw_only=True):
    """How fast a session costs.

    Args:
        cost: so far, as it would be billed now.
        per_hour: the highest that an hour can cost from here: energy at full power, time, parking.
        jump: what may be added at once, whatever the time (a step that is begun, a fee that is due later).
        told_ago: age of the newest meter value.
        meter_interval: time between meter values.
        latency: from the order to stop until the car takes nothing more.
    """

    cost: Decimal
    per_hour: Decimal
    told_ago: timedelta = timedelta()
    meter_interval: timedelta = timedelta(seconds=60)
    latency: timedelta = LATENCY
    jump: Decimal = Decimal(0)


def margin(hold: Decimal, spending: Spending) -> Decimal:
    """What may still be added between the newest value we know and the end of charging when we order the stop after the next value."""
    blind = spending.told_ago + spending.meter_interval + spending.latency
    hours = Decimal(int(blind.total_seconds() * 1000)) / 3_600_000
    return max(spending.per_hour * hours + spending.jump, hold * LEAST_SHARE)


def used_up(hold: Decimal, spending: Spending) -> bool:
    """Whether the session has to stop now, or the hold to be raised."""
    return spending.cost + margin(hold, spending) >= hold


def raised(hold: Decimal, step: Decimal, most: Decimal) -> Decimal | None:
    """The next hold, one step higher; None where it is the highest already."""
    return None if hold >= most else min(hold + step, most)
