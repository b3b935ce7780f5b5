"""What time does to an agreement: it begins, amendments take effect, it is renewed, it ends.

Nothing waits for a job: whoever reads an agreement reads it as of a moment (`as_of`), and a job that comes late writes what every
reader has seen meanwhile. Passing through many moments or jumping over them gives the same.
"""

from __future__ import annotations

import calendar
import enum
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.agreements.model import (
    Agreement,
    AgreementState,
    RenewalMode,
    Version,
    VersionState,
    version_at,
)

FOREVER: Final = datetime(9990, 1, 1, tzinfo=UTC)
"""An end beyond which none is renewed to."""


class Boundary(enum.Enum):
    """A moment of an agreement that the clock reaches."""

    START = "start"
    END = "end"


CLOCK: Final[Mapping[tuple[AgreementState, Boundary], AgreementState]] = {
    (AgreementState.ACCEPTED, Boundary.START): AgreementState.ACTIVE,
    (AgreementState.ACCEPTED, Boundary.END): AgreementState.ENDED,
    (AgreementState.ACTIVE, Boundary.END): AgreementState.ENDED,
    (AgreementState.SUSPENDED, Boundary.END): AgreementState.ENDED,
    (AgreementState.ENDING, Boundary.END): AgreementState.ENDED,
}
"""Where the clock takes an agreement. Active and suspended ones that renew by themselves stay what they are at the end of a term."""


class Happening(enum.StrEnum):
    """What the clock did; the topic of the fact is `agreement.<this>`."""

    ACTIVATED = "activated"
    AMENDED = "amended"
    RENEWED = "renewed"
    ENDED = "ended"


class Happened(Struct, frozen=True, kw_only=True):
    """Something the clock did.

    Args:
        at: the moment it belongs to, however late it was seen.
    """

    what: Happening
    at: datetime


def add_months(at: datetime, months: int, time_zone: str) -> datetime:
    """The moment so many months later by the wall clock of a time zone, the day clamped to the month's last."""
    zone = ZoneInfo(time_zone)
    local = at.astimezone(zone)
    number = local.year * 12 + local.month - 1 + months
    year, month = divmod(number, 12)
    day = min(local.day, calendar.monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day).astimezone(UTC)


def renewed(agreement: Agreement, ends_at: datetime, months: int) -> Agreement:
    """The agreement with its end moved by so many months, counted from the end before its first renewal: so an end on the 31st is on the
    28th of February and on the 31st of March again."""
    base, moved = agreement.renewed_from, agreement.renewed_months
    if base is None or add_months(base, moved, agreement.time_zone) != ends_at:
        base, moved = ends_at, 0
    return replace(
        agreement,
        ends_at=add_months(base, moved + months, agreement.time_zone),
        renewals=agreement.renewals + 1,
        renewed_from=base,
        renewed_months=moved + months,
    )


def start_of(agreement: Agreement) -> datetime | None:
    """When an accepted agreement begins; None where somebody must activate it."""
    if agreement.starts_at is None or agreement.accepted_at is None:
        return None
    return max(agreement.starts_at, agreement.accepted_at)


def renews(agreement: Agreement) -> bool:
    """Whether the end of the term is no end: it renews by itself then."""
    if agreement.ends_at is None or agreement.ends_at >= FOREVER:
        return False
    if agreement.state not in (AgreementState.ACCEPTED, AgreementState.ACTIVE, AgreementState.SUSPENDED):
        return False
    return version_at(agreement, agreement.ends_at).terms.renewal.mode is RenewalMode.AUTOMATIC


def _boundary(agreement: Agreement) -> tuple[datetime, Boundary] | None:
    state = agreement.state
    end = agreement.ends_at
    if state is AgreementState.ACCEPTED:
        start = start_of(agreement)
        if start is not None and (end is None or start < end):
            return start, Boundary.START
        return None if end is None else (end, Boundary.END)
    if (state, Boundary.END) in CLOCK and end is not None:
        return end, Boundary.END
    return None


def _next_version(agreement: Agreement) -> Version | None:
    """The first accepted version to take effect after the one in `version`."""
    if (agreement.state, Boundary.END) not in CLOCK:
        return None
    current = agreement.numbered(agreement.version)
    best: Version | None = None
    for version in agreement.versions[1:]:
        since = version.effective_at
        if version.state is not VersionState.ACCEPTED or since is None:
            continue
        if (since, version.version) <= (current.effective_at or datetime.min.replace(tzinfo=UTC), current.version):
            continue
        if best is None or (since, version.version) < (best.effective_at, best.version):
            best = version
    return best


def due_at(agreement: Agreement) -> datetime | None:
    """When the clock has something to do next; None where time changes nothing."""
    moments = []
    boundary = _boundary(agreement)
    if boundary is not None:
        moments.append(boundary[0])
    version = _next_version(agreement)
    if version is not None and version.effective_at is not None:
        moments.append(version.effective_at)
    return min(moments, default=None)


def advance(agreement: Agreement, now: datetime) -> tuple[Agreement, tuple[Happened, ...]]:
    """The agreement as of a moment, and what happened on the way to it, in order."""
    happened: list[Happened] = []
    while True:
        boundary = _boundary(agreement)
        version = _next_version(agreement)
        since = None if version is None else version.effective_at
        if version is not None and since is not None and since <= now and (boundary is None or since < boundary[0]):
            agreement = replace(agreement, version=version.version)
            if agreement.state is not AgreementState.ACCEPTED:  # before the start nobody has seen other terms
                happened.append(Happened(what=Happening.AMENDED, at=since))
            continue
        if boundary is None or boundary[0] > now:
            return agreement, tuple(happened)
        at, which = boundary
        if which is Boundary.END and renews(agreement):
            agreement = renewed(agreement, at, version_at(agreement, at).terms.renewal.months)
            happened.append(Happened(what=Happening.RENEWED, at=at))
            continue
        state = CLOCK[agreement.state, which]
        if which is Boundary.START:
            agreement = replace(agreement, state=state, begun_at=at)
            happened.append(Happened(what=Happening.ACTIVATED, at=at))
        else:
            agreement = replace(agreement, state=state)
            happened.append(Happened(what=Happening.ENDED, at=at))


def as_of(agreement: Agreement, now: datetime) -> Agreement:
    """The agreement as it is at a moment, whatever was written of it."""
    return advance(agreement, now)[0]


def in_force(agreement: Agreement, at: datetime) -> str | None:
    """Whether the terms hold at a moment: None where they do, else why not, as the rest of a sentence.

    Args:
        agreement: as of that moment or later.
    """
    state = agreement.state
    if state in _NEVER:
        return f"it is {state.value}"
    if agreement.begun_at is None or at < agreement.begun_at:
        return "it has not begun then"
    if agreement.ends_at is not None and at >= agreement.ends_at:
        return "it has ended by then"
    for one in agreement.suspensions:
        if one.since <= at and (one.until is None or at < one.until):
            return "it is suspended"
    return None


_NEVER: Final = frozenset(
    {
        AgreementState.DRAFT,
        AgreementState.PROPOSED,
        AgreementState.REJECTED,
        AgreementState.WITHDRAWN,
        AgreementState.CANCELED,
    }
)


class Span(Struct, frozen=True, kw_only=True):
    """A time in which one version's terms hold; `until` None: without end, as far as is known."""

    since: datetime
    until: datetime | None
    version: Version


def spans(agreement: Agreement, now: datetime) -> tuple[Span, ...]:
    """The times from now on in which versions hold or will; empty for what is over or was never agreed, and for what is to be
    activated by hand."""
    state = agreement.state
    if (state, Boundary.END) not in CLOCK:
        return ()
    start = agreement.begun_at if state is not AgreementState.ACCEPTED else start_of(agreement)
    if start is None:
        return ()
    end = None if renews(agreement) else agreement.ends_at
    begins = max(start, now)
    moments = sorted(
        version.effective_at
        for version in agreement.versions[1:]
        if version.state is VersionState.ACCEPTED and version.effective_at is not None and version.effective_at > begins
    )
    found = []
    for since, until in zip([begins, *moments], [*moments, None], strict=True):
        until = end if until is None or (end is not None and end < until) else until
        if until is None or since < until:
            found.append(Span(since=since, until=until, version=version_at(agreement, since)))
    return tuple(found)


def month_of(at: datetime, time_zone: str) -> tuple[datetime, datetime]:
    """The month around a moment by the wall clock of a time zone: its start, and the next one's."""
    zone = ZoneInfo(time_zone)
    first = at.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return first.astimezone(UTC), following.astimezone(UTC)
