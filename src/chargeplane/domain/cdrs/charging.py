"""What is rated of a transaction: its time and its energy, cut where either changed.

The energy between two values of the register is that of the transaction's own folding (repairs, resets and late values included), so
the periods add up to the energy that the transaction shows; the state is that of its timeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.clock import effective
from chargeplane.domain.rating import Charge, PeriodState, Reading, StateChange, charge_of
from chargeplane.domain.timeline import Heard, Standing, timeline
from chargeplane.domain.transaction_state import StoredEvent
from chargeplane.domain.transactions import measured


class ToldEvent(Struct, frozen=True, kw_only=True):
    """A stored event, and the charging state it told.

    Args:
        charging_state: OCPP 2.x word; None where it had none.
    """

    event: StoredEvent
    charging_state: str | None = None


def charge_of_transaction(
    told: Sequence[ToldEvent],
    *,
    started_at: datetime,
    until: datetime,
    energy_wh: Decimal,
    reserved_from: datetime | None = None,
) -> Charge:
    """A transaction as it is rated.

    Args:
        told: in any order.
        until: the stop; of an open transaction its newest message.
        energy_wh: of the transaction: the periods add up to it.
        reserved_from: when the reservation it used began.
    """
    until = max(until, started_at)
    ordinals = {effective(one.event.at, one.event.received_at): one.event.ordinal for one in told}
    readings = [
        Reading(
            # A stop's value may be told a moment after it, by a clock that was set meanwhile: it still is of the session.
            at=min(max(value.at, started_at), until),
            energy_wh=value.energy_wh,
            ordinal=ordinals.get(value.event_at),
        )
        for value in measured([one.event for one in told])
    ]
    heard = [
        Heard(
            at=effective(one.event.at, one.event.received_at),
            charging_state=one.charging_state,
            readings=one.event.readings,
        )
        for one in told
    ]
    spans = timeline(heard, started_at=started_at, until=until).spans
    states = [
        StateChange(
            at=span.since, state=PeriodState.CHARGING if span.standing is Standing.CHARGING else PeriodState.PARKING
        )
        for span in spans
    ]
    return charge_of(started_at, until, readings, states, reserved_from=reserved_from, total_wh=energy_wh)
