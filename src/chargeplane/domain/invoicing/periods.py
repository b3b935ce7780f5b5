"""Which periods of an agreement fall due, and which share of each is its."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from chargeplane.domain.agreements.items import Every
from chargeplane.domain.agreements.model import BillingCycle

MOST: Final = 600
"""Periods that are looked at in one go."""

_MONTHS: Final = {Every.MONTH: 1, Every.QUARTER: 3, Every.YEAR: 12}


class Period(Struct, frozen=True, kw_only=True):
    """A calendar period as far as the agreement lasted.

    Args:
        start, end: of what is billed; of something that falls due once the same.
        share: of the whole period, by days; above nothing, at most 1.
    """

    start: datetime
    end: datetime
    share: Decimal


def periods(
    every: Every, begun: datetime, ended: datetime | None, zone: ZoneInfo, until: datetime, *, in_advance: bool
) -> Iterator[Period]:
    """What fell due before `until`, the oldest first."""
    if every is Every.ONCE:
        if begun < until:
            yield Period(start=begun, end=begun, share=Decimal(1))
        return
    start = _floor(begun.astimezone(zone), _MONTHS[every])
    for _ in range(MOST):
        end = _plus(start, _MONTHS[every])
        since, upto = max(start, begun), end if ended is None else min(end, ended)
        due = since if in_advance else upto
        if (ended is not None and since >= ended) or (due >= until if in_advance else due > until):
            return
        if upto > since:
            days = (end.date() - start.date()).days
            had = _days(since.astimezone(zone), upto.astimezone(zone))
            yield Period(start=since, end=upto, share=min(Decimal(had) / Decimal(days), Decimal(1)))
        start = end


def cycle_end(cycle: BillingCycle, now: datetime, zone: ZoneInfo) -> datetime:
    """Until when a cycle's last whole period lasts: what ended before is billed."""
    local = now.astimezone(zone)
    if cycle is BillingCycle.SESSION:
        return now
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if cycle is BillingCycle.WEEK:
        return day - timedelta(days=day.weekday())
    return _floor(local, 3 if cycle is BillingCycle.QUARTER else 1)


def _floor(at: datetime, months: int) -> datetime:
    return at.replace(month=(at.month - 1) // months * months + 1, day=1, hour=0, minute=0, second=0, microsecond=0)


def _plus(start: datetime, months: int) -> datetime:
    month = start.month - 1 + months
    return start.replace(year=start.year + month // 12, month=month % 12 + 1)


def _days(since: datetime, upto: datetime) -> int:
    whole = (upto.date() - since.date()).days
    return whole + 1 if upto.time() != datetime.min.time() else whole
