"""Which agreement applies to somebody at a place at a moment, and why not the others.

The most specific scope applies: first the place (EVSE, station, location, country, everywhere), then the people (id token, driver, token
group, user group, OCPI party, anybody); then the higher priority. Two that would tie are refused when the second is accepted or activated
(`ties`). What cannot be seen then, two groups of users with one member in common, goes to the agreement that began first.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from chargeplane.domain.agreements.clock import Span, in_force, spans
from chargeplane.domain.agreements.model import CHARGING, Agreement, AgreementKind, Version, version_at
from chargeplane.domain.agreements.scope import (
    Fit,
    Place,
    ResolveAsk,
    Who,
    fit,
    people_of,
    places_of,
)


class Verdict(enum.StrEnum):
    """What became of a candidate."""

    APPLIES = "applies"
    LOST = "lost"
    REFUSED = "refused"


class Candidate(Struct, frozen=True, kw_only=True):
    """An agreement that was looked at.

    Args:
        reason: one sentence.
        place, who: how specifically it covers what is asked; None where it does not.
    """

    agreement_id: str
    number: str
    version: int
    verdict: Verdict
    reason: str
    place: str | None = None
    who: str | None = None
    priority: int = 0


class Resolution(Struct, frozen=True, kw_only=True):
    """The agreement that applies, with the version, and all that were looked at, the best first."""

    agreement: Agreement | None
    version: Version | None
    candidates: tuple[Candidate, ...]


_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def resolve(agreements: Iterable[Agreement], ask: ResolveAsk) -> Resolution:
    """Decides.

    Args:
        agreements: candidates as of the moment asked for or later; others do no harm.
    """
    fitting: list[tuple[tuple[object, ...], Agreement, Version, Fit]] = []
    refused: list[Candidate] = []
    for agreement in agreements:
        version = version_at(agreement, ask.at)
        found: Fit | str | None = None
        if agreement.kind not in ask.kinds:
            found = f"it is a {agreement.kind.value.replace('_', ' ')} agreement"
        found = found or in_force(agreement, ask.at) or fit(version.terms, agreement.parties, ask)
        if isinstance(found, str):
            refused.append(_candidate(agreement, version, Verdict.REFUSED, f"Refused: {found}."))
            continue
        begun = agreement.begun_at or _LATEST
        rank = (-found.place, -found.who, -version.terms.priority, begun, agreement.id)
        fitting.append((rank, agreement, version, found))
    fitting.sort(key=lambda one: one[0])
    told: list[Candidate] = []
    for number, (_, agreement, version, how) in enumerate(fitting):
        if number == 0:
            sentence = f"Applies: it covers {_words(how)}, nothing covers it more specifically."
            told.append(_candidate(agreement, version, Verdict.APPLIES, sentence, how))
        else:
            told.append(_candidate(agreement, version, Verdict.LOST, _lost(fitting[0], version, how), how))
    best = fitting[0] if fitting else None
    return Resolution(
        agreement=best and best[1],
        version=best and best[2],
        candidates=(*told, *sorted(refused, key=lambda c: c.number)),
    )


def _words(how: Fit) -> str:
    place, who = how.place.name.lower(), how.who.name.lower().replace("_", " ")
    return f"{'anybody' if how.who is Who.ANYBODY else f'the {who}'} {place if how.place is Place.EVERYWHERE else f'at the {place}'}"


def _lost(best: tuple[object, Agreement, Version, Fit], its: Version, fits: Fit) -> str:
    _, winner, version, how = best
    if fits.place != how.place:
        return f"Lost to '{winner.number}', whose place is more specific ({how.place.name.lower()})."
    if fits.who != how.who:
        return f"Lost to '{winner.number}', which names who charges more specifically ({how.who.name.lower()})."
    if its.terms.priority != version.terms.priority:
        return f"Lost to '{winner.number}' by priority: {its.terms.priority} against {version.terms.priority}."
    return f"Lost to '{winner.number}', which is as specific and began first."


def _candidate(
    agreement: Agreement, version: Version, verdict: Verdict, reason: str, how: Fit | None = None
) -> Candidate:
    return Candidate(
        agreement_id=str(agreement.id),
        number=agreement.number,
        version=version.version,
        verdict=verdict,
        reason=reason,
        place=None if how is None else how.place.name.lower(),
        who=None if how is None else how.who.name.lower(),
        priority=version.terms.priority,
    )


# -- ties --------------------------------------------------------------------------------------------------------------


class Tie(Struct, frozen=True, kw_only=True):
    """That neither of two agreements would go before the other.

    Args:
        since, until: when both would hold; until None: without end.
    """

    agreement_id: int
    number: str
    since: datetime
    until: datetime | None


def rivals(one: AgreementKind, other: AgreementKind) -> bool:
    """Whether agreements of two kinds compete for the same session or place."""
    return one is other or (one in CHARGING and other in CHARGING)


def ties(agreement: Agreement, others: Sequence[Agreement], now: datetime) -> tuple[Tie, ...]:
    """Those with which an agreement would tie from now on: as specific, at the same place, for the same people, with the same
    priority, at the same time.

    Args:
        agreement: as it would be.
        others: all as of now.
    """
    found = []
    own = spans(agreement, now)
    for other in others:
        if other.id == agreement.id or not rivals(agreement.kind, other.kind):
            continue
        tie = _tie(agreement, own, other, now)
        if tie is not None:
            found.append(tie)
    return tuple(found)


def _tie(agreement: Agreement, own: tuple[Span, ...], other: Agreement, now: datetime) -> Tie | None:
    for mine in own:
        terms = mine.version.terms
        for theirs in spans(other, now):
            since = max(mine.since, theirs.since)
            ends = [one for one in (mine.until, theirs.until) if one is not None]
            until = min(ends, default=None)
            if until is not None and until <= since:
                continue
            against = theirs.version.terms
            if terms.priority != against.priority:
                continue
            people, others = people_of(terms, agreement.parties), people_of(against, other.parties)
            if bool(people) != bool(others) or (people and people.keys().isdisjoint(others)):
                continue
            if not places_of(terms).keys().isdisjoint(places_of(against)):
                return Tie(agreement_id=other.id, number=other.number, since=since, until=until)
    return None
