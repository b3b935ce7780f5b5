"""How fast a session may go on, by what it did last."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from chargeplane.app.sessions.ports import Seen
from chargeplane.domain.rating import Charge

_LAST: Final = 6
_SHORTEST: Final = timedelta(seconds=1)
_LONGEST: Final = timedelta(minutes=30)


def seen_of(charge: Charge, look_again: timedelta) -> Seen:
    """By the last few periods.

    Args:
        charge: the session so far.
        look_again: it is rated again after so long.
    """
    last = [one for one in charge.periods[-_LAST:] if one.end - one.start >= _SHORTEST]
    powers = [one.energy_wh * 3600 / Decimal(str((one.end - one.start).total_seconds())) for one in last]
    # A connector may give more than it was described with.
    return Seen(
        power_w=int(max(powers, default=Decimal(0)) * 11 / 10),
        meter_interval=None if not last else min(max(one.end - one.start for one in last), _LONGEST),
        look_again=look_again,
    )
