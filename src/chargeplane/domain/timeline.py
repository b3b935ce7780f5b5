"""When a transaction charged and when it only stood there.

What the station says of its charging state counts, from the moment of one word to that of the next (OCPP 2.x chargingState). Where
it says nothing (1.6, and 2.x stations that leave it out) the meter tells: between two register values the car charged if
the register rose; where no register is read, power flowed from a sample of power on until the next. Values come at intervals, so what
the meter tells is as fine as they are; what the station says is exact.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.messages import Reading

_REGISTER: Final = "Energy.Active.Import.Register"
_POWER: Final = "Power.Active.Import"
_NOISE_W: Final = 5
"""Below this a power meter shows nothing but itself."""


class Standing(enum.StrEnum):
    """What goes on."""

    CHARGING = "charging"
    SUSPENDED_EV = "suspended_ev"
    """The car takes nothing."""
    SUSPENDED_EVSE = "suspended_evse"
    """The station gives nothing."""
    CONNECTED = "connected"
    """The car is there; no energy is asked for or given."""
    VACANT = "vacant"
    """No car is connected."""
    IDLE = "idle"
    """No energy flows, and the station does not say why."""


_WORDS: Final = {
    "Charging": Standing.CHARGING,
    "SuspendedEV": Standing.SUSPENDED_EV,
    "SuspendedEVSE": Standing.SUSPENDED_EVSE,
    "EVConnected": Standing.CONNECTED,
    "Idle": Standing.VACANT,
}


class Heard(Struct, frozen=True, kw_only=True):
    """What one message told.

    Args:
        at: its effective time.
        charging_state: OCPP 2.x word; None where it had none.
        readings: with it; a reading without a time is of `at`.
    """

    at: datetime
    charging_state: str | None = None
    readings: tuple[Reading, ...] = ()


class Span(Struct, frozen=True, kw_only=True):
    """Some time of a transaction.

    Args:
        stated: the station said so; else the meter tells.
    """

    since: datetime
    until: datetime
    standing: Standing
    stated: bool


class Timeline(Struct, frozen=True, kw_only=True):
    """A transaction's time. The sums are seconds; `charging_s` and `idle_s` make up all of it."""

    spans: tuple[Span, ...]
    charging_s: Decimal
    idle_s: Decimal
    suspended_ev_s: Decimal
    suspended_evse_s: Decimal


def timeline(heard: Sequence[Heard], *, started_at: datetime, until: datetime) -> Timeline:
    """The time from start to stop, cut where something changed.

    Args:
        heard: in any order.
        until: the stop; for an open transaction the newest message.
    """
    if until < started_at:
        until = started_at
    stated = _stated(heard, until)
    measured = _measured(heard)
    cuts = sorted(
        {started_at, until}
        | {moment for since, end, _ in stated + measured for moment in (since, end) if started_at < moment < until}
    )
    spans: list[Span] = []
    moments = cuts[:-1]
    saying, seeing = _covering(stated, moments), _covering(measured, moments)
    for (since, end), said, shown in zip(itertools.pairwise(cuts), saying, seeing, strict=True):
        seen = said or shown or Standing.IDLE
        last = spans[-1] if spans else None
        if last is not None and last.standing is seen and last.stated is (said is not None):
            spans[-1] = Span(since=last.since, until=end, standing=seen, stated=last.stated)
        else:
            spans.append(Span(since=since, until=end, standing=seen, stated=said is not None))

    def total(*wanted: Standing) -> Decimal:
        whole = sum((span.until - span.since for span in spans if span.standing in wanted), timedelta())
        return Decimal(whole // timedelta(milliseconds=1)).scaleb(-3)

    return Timeline(
        spans=tuple(spans),
        charging_s=total(Standing.CHARGING),
        idle_s=total(*(one for one in Standing if one is not Standing.CHARGING)),
        suspended_ev_s=total(Standing.SUSPENDED_EV),
        suspended_evse_s=total(Standing.SUSPENDED_EVSE),
    )


_Part = tuple[datetime, datetime, Standing]


def _covering(parts: Sequence[_Part], moments: Sequence[datetime]) -> list[Standing | None]:
    """For each moment the last begun of the parts that it is in; one walk, since a long transaction has thousands of both.

    Args:
        parts: by when they begin.
        moments: rising.
    """
    found: list[Standing | None] = []
    begun: list[_Part] = []  # the last begun is at the end; what is under it begun earlier and may last longer
    place = 0
    for moment in moments:
        while place < len(parts) and parts[place][0] <= moment:
            begun.append(parts[place])
            place += 1
        while begun and begun[-1][1] <= moment:
            begun.pop()
        found.append(begun[-1][2] if begun else None)
    return found


def _stated(heard: Sequence[Heard], until: datetime) -> list[_Part]:
    """From each word on to the next; equal times: the last that was given counts."""
    words: dict[datetime, Standing] = {}
    for one in heard:
        standing = _WORDS.get(one.charging_state or "")
        if standing is not None:
            words[one.at] = standing
    moments = sorted(words)
    ends = [*moments[1:], max(until, moments[-1])] if moments else []
    return [(since, end, words[since]) for since, end in zip(moments, ends, strict=True)]


def _measured(heard: Sequence[Heard]) -> list[_Part]:
    registers: dict[datetime, Decimal] = {}
    powers: dict[datetime, Decimal] = {}
    for one in heard:
        for reading in one.readings:
            at = reading.at or one.at
            for sample in reading.samples:
                if sample.value is None or sample.phase is not None:
                    continue
                if sample.measurand == _REGISTER and sample.location in (None, "Outlet"):
                    registers[at] = max(sample.value, registers.get(at, sample.value))
                elif sample.measurand == _POWER:
                    powers[at] = sample.value
    flows = sorted(powers)
    parts: list[_Part] = [
        (since, end, Standing.CHARGING if powers[since] > _NOISE_W else Standing.IDLE)
        for since, end in itertools.pairwise(flows)
    ]
    reads = sorted(registers)
    rises: list[_Part] = [
        (since, end, Standing.CHARGING if registers[end] > registers[since] else Standing.IDLE)
        for since, end in itertools.pairwise(reads)
    ]
    if not rises or len(parts) > 2 * len(rises):
        # Few register values, many of power: where the register stood still nothing flowed, else power tells.
        still = [part for part in rises if part[2] is Standing.IDLE]
        covered = _covering(still, [part[0] for part in parts])
        flowing = [part for part, standing in zip(parts, covered, strict=True) if standing is None]
        return sorted(flowing + still, key=lambda part: part[0])
    return rises
