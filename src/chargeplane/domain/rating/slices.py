"""A stretch of a session in which one price component holds."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from chargeplane.domain.rating.plan import Priced
from chargeplane.domain.rating.result import CostGroup

_NOTHING: Final = Decimal(0)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = Decimal(1_000_000)


class Slice:
    """Grows while periods follow that belong to it.

    Args:
        amount: Wh, or fees.
        lasting: time.
        added: Wh or seconds that `step_size` adds.
    """

    __slots__ = ("added", "amount", "end", "group", "last_values", "lasting", "meter_values", "price", "start")

    def __init__(self, price: Priced, group: CostGroup, start: datetime) -> None:
        self.price = price
        self.group = group
        self.start = start
        self.end = start
        self.amount = _NOTHING
        self.lasting = timedelta()
        self.added = _NOTHING
        self.meter_values: set[int] = set()
        self.last_values: tuple[int, ...] = ()

    @property
    def volume(self) -> Decimal:
        """Wh, seconds, or fees, as measured."""
        return self.amount if self.amount else Decimal(self.lasting // _MICROSECOND) / _SECOND
