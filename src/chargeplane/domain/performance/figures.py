"""The figures of an EVSE's day, from what happened to it. docs/operations.md says what they mean.

All spans are half-open; seconds are real ones.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct

ENOUGH_WH: Final = Decimal(100)
"""Energy from which a session has charged something."""

STARTS_WITHIN: Final = timedelta(minutes=5)
"""An id token that was accepted begins a session within so long, or the attempt has failed."""

_EARLY: Final = timedelta(minutes=1)

NORMAL_STOPS: Final = frozenset(
    {
        "EVDisconnected",
        "Local",
        "MasterPass",
        "Remote",
        "DeAuthorized",
        "EnergyLimitReached",
        "TimeLimitReached",
        "SOCLimitReached",
        "CostLimitReached",
        "LocalOutOfCredit",
        "StoppedByEV",
        "ReqEnergyTransferRejected",
    }
)
"""Reasons for which a session ends as it was meant to. No reason is `Local` (OCPP 2.0.1, TransactionType.stoppedReason)."""


class EvseState(enum.StrEnum):
    """What an EVSE can do."""

    UP = "up"
    FAULTED = "faulted"
    UNAVAILABLE = "unavailable"
    OFFLINE = "offline"


class ExclusionKind(enum.StrEnum):
    """Why time does not count."""

    PLANNED = "planned"
    GRID = "grid"
    VANDALISM = "vandalism"
    NETWORK = "network"
    VEHICLE = "vehicle"
    OTHER = "other"


class Span(Struct, frozen=True):
    """A stretch of time; `end` is not included."""

    start: datetime
    end: datetime


class StateSpan(Struct, frozen=True):
    """A state of an EVSE; `end` None: it is in it."""

    state: EvseState
    start: datetime
    end: datetime | None


class SessionFacts(Struct, frozen=True, kw_only=True):
    """A transaction as far as figures go.

    Args:
        id_token: case-folded; None where nobody was asked.
        end: None while it goes on.
        paid: False where its payment failed.
    """

    start: datetime
    end: datetime | None
    energy_wh: Decimal
    stop_reason: str | None
    id_token: str | None
    paid: bool


class DayFigures(Struct, frozen=True, kw_only=True):
    """An EVSE's day. Seconds of: being observed; not being up; of that, what does not count; being connected to vehicles; repairs."""

    observed_s: float = 0.0
    down_s: float = 0.0
    excluded_s: float = 0.0
    occupied_s: float = 0.0
    repairs: int = 0
    repair_s: float = 0.0
    attempts: int = 0
    successes: int = 0
    sessions: int = 0
    energy_wh: Decimal = Decimal(0)


def day_span(day: date) -> Span:
    """A UTC day."""
    start = datetime.combine(day, time.min, UTC)
    return Span(start, start + timedelta(days=1))


def figures(
    day: date,
    states: Sequence[StateSpan],
    exclusions: Sequence[Span],
    sessions: Sequence[SessionFacts],
    accepted: Sequence[tuple[datetime, str]],
    now: datetime,
) -> DayFigures:
    """The figures of a UTC day.

    Args:
        states: in order, not overlapping; also what lies before the day where the EVSE was down into it.
        sessions: those that touch the day or began shortly after it.
        accepted: when which id token (case-folded) was accepted.
        now: what lies behind it has not happened yet.
    """
    whole = day_span(day)
    until = min(whole.end, now)
    down = [_cut(one, whole.start, until, now) for one in states if one.state is not EvseState.UP]
    seen = [_cut(one, whole.start, until, now) for one in states]
    lost = _union(down)
    repairs, repair_s = _repairs(states, whole)
    ended = [one for one in sessions if one.end is not None and whole.start <= one.end < whole.end]
    failed_starts = _never_started(sessions, accepted, whole, now)
    return DayFigures(
        observed_s=_length(_union(seen)),
        down_s=_length(lost),
        excluded_s=_length(_intersection(lost, _union(exclusions))),
        occupied_s=_length(_union(_cut_session(one, whole.start, until, now) for one in sessions)),
        repairs=repairs,
        repair_s=repair_s,
        attempts=len(ended) + failed_starts,
        successes=sum(succeeded(one) for one in ended),
        sessions=len(ended),
        energy_wh=sum((one.energy_wh for one in ended), Decimal(0)),
    )


def succeeded(session: SessionFacts) -> bool:
    """Whether a session that ended went as the driver wanted: it charged something, ended as meant, and its payment did not fail."""
    return (
        session.energy_wh >= ENOUGH_WH
        and (session.stop_reason is None or session.stop_reason in NORMAL_STOPS)
        and session.paid
    )


def _never_started(
    sessions: Sequence[SessionFacts], accepted: Sequence[tuple[datetime, str]], whole: Span, now: datetime
) -> int:
    """Id tokens that were accepted within the day and after which no session began. A driver who tries again within
    `STARTS_WITHIN` makes one attempt; one who shows the id token to stop has a session."""
    count = 0
    last: dict[str, datetime] = {}
    for at, token in sorted(accepted):
        before = last.get(token)
        last[token] = at
        if not whole.start <= at < whole.end or at + STARTS_WITHIN > now:
            continue
        if before is not None and at - before < STARTS_WITHIN:
            continue
        began = any(
            one.id_token == token
            and (
                at - _EARLY <= one.start < at + STARTS_WITHIN
                or (one.start <= at and (one.end is None or at < one.end + _EARLY))
            )
            for one in sessions
        )
        count += not began
    return count


def _repairs(states: Sequence[StateSpan], whole: Span) -> tuple[int, float]:
    """How often the EVSE came up within the day after being down, and for how long it had been."""
    count, seconds = 0, 0.0
    since: datetime | None = None
    for one in states:
        if one.state is not EvseState.UP:
            since = since or one.start
        else:
            if since is not None and whole.start <= one.start < whole.end:
                count += 1
                seconds += (one.start - since).total_seconds()
            since = None
    return count, seconds


def _cut(one: StateSpan, start: datetime, end: datetime, now: datetime) -> Span:
    return Span(max(one.start, start), min(one.end or now, end))


def _cut_session(one: SessionFacts, start: datetime, end: datetime, now: datetime) -> Span:
    return Span(max(one.start, start), min(one.end or now, end))


def _union(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for one in sorted((one for one in spans if one.end > one.start), key=lambda one: one.start):
        if found and one.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, one.end))
        else:
            found.append(one)
    return found


def _intersection(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    return _union(Span(max(a.start, b.start), min(a.end, b.end)) for a in some for b in others)


def _length(spans: Sequence[Span]) -> float:
    return sum((one.end - one.start).total_seconds() for one in spans)
