"""Whom and where terms cover, and how specifically.

A scope has two sides. Places: from everything of the tenant down to one EVSE; where none is included, everywhere. People: id tokens and
groups; where none is included, the consumer, if it is a driver or an OCPI party. What is excluded is not covered, by whatever else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.domain.agreements.model import (
    CHARGING,
    AgreementKind,
    Party,
    PartyKind,
    PartyRole,
    ScopeEntry,
    ScopeKind,
    Terms,
)
from chargeplane.domain.authorization import canonical, token_key


class Place(enum.IntEnum):
    """How closely a place is named."""

    EVERYWHERE = 0
    COUNTRY = 1
    LOCATION = 2
    STATION = 3
    EVSE = 4


class Who(enum.IntEnum):
    """How closely somebody is named."""

    ANYBODY = 0
    PARTY = 1
    USER_GROUP = 2
    TOKEN_GROUP = 3
    DRIVER = 4
    ID_TOKEN = 5


_PLACES: Final = {
    ScopeKind.TENANT: Place.EVERYWHERE,
    ScopeKind.COUNTRY: Place.COUNTRY,
    ScopeKind.LOCATION: Place.LOCATION,
    ScopeKind.STATION: Place.STATION,
    ScopeKind.EVSE: Place.EVSE,
}
_PEOPLE: Final = {
    ScopeKind.USER_GROUP: Who.USER_GROUP,
    ScopeKind.TOKEN_GROUP: Who.TOKEN_GROUP,
    ScopeKind.ID_TOKEN: Who.ID_TOKEN,
}


class ResolveAsk(Struct, frozen=True, kw_only=True):
    """Who asks to charge, where and when. What is None or empty is not known and matches no entry that names it.

    Args:
        id_token, id_token_type: as presented; the type None where the station has none (1.6).
        token_group: the group of the registered token.
        driver_id: whose token it is.
        user_groups: the driver's.
        party: OCPI party that issued the token, as `DE*ABC`.
        evse_uid, station_id, location_id, country: the place, from the smallest.
        ocpp_evse_id: the station's number of the EVSE, where its uid is not known.
        at: the moment.
        kinds: of agreements that are looked for.
    """

    at: datetime
    id_token: str | None = None
    id_token_type: str | None = None
    token_group: str | None = None
    driver_id: str | None = None
    user_groups: tuple[str, ...] = ()
    party: str | None = None
    evse_uid: str | None = None
    station_id: str | None = None
    ocpp_evse_id: int | None = None
    location_id: str | None = None
    country: str | None = None
    kinds: tuple[AgreementKind, ...] = CHARGING


def _fold(value: str | None) -> str:
    return "" if value is None else value.casefold()


def who_key(who: Who, value: str) -> str:
    """What somebody is found by: `4:17` is driver 17."""
    return f"{int(who)}:{value.lower()}"


def place_key(place: Place, value: str) -> str:
    """What a place is found by: `2:hq` is location HQ."""
    return f"{int(place)}:{value.lower()}" if place else "0:"


def _token(entry: ScopeEntry) -> str:
    return token_key(canonical(entry.value or "", entry.id_token_type))


def people_of(terms: Terms, parties: Sequence[Party]) -> dict[str, Who]:
    """Keys of those whom terms cover; empty: anybody."""
    found = {
        who_key(_PEOPLE[one.kind], _token(one) if one.kind is ScopeKind.ID_TOKEN else one.value or ""): _PEOPLE[
            one.kind
        ]
        for one in terms.scope
        if one.kind in _PEOPLE and not one.exclude
    }
    if found:
        return found
    for party in parties:
        if party.role is PartyRole.CONSUMER and party.id is not None:
            if party.kind is PartyKind.DRIVER:
                return {who_key(Who.DRIVER, party.id): Who.DRIVER}
            if party.kind is PartyKind.OCPI_PARTY:
                return {who_key(Who.PARTY, party.id): Who.PARTY}
    return {}


def places_of(terms: Terms) -> dict[str, Place]:
    """Keys of the places that terms cover."""
    found = {
        place_key(_PLACES[one.kind], one.value or ""): _PLACES[one.kind]
        for one in terms.scope
        if one.kind in _PLACES and not one.exclude
    }
    return found or {place_key(Place.EVERYWHERE, ""): Place.EVERYWHERE}


def keys_of(terms: Terms, parties: Sequence[Party]) -> tuple[str, ...]:
    """What an index finds terms by: those they cover; where that is anybody, the places (`*2:hq`)."""
    people = people_of(terms, parties)
    return tuple(people) or tuple(f"*{key}" for key in places_of(terms))


def asked_people(ask: ResolveAsk) -> dict[str, Who]:
    """Keys by which whoever asks may be named."""
    found: dict[str, Who] = {}
    if ask.id_token is not None:
        found[who_key(Who.ID_TOKEN, token_key(canonical(ask.id_token, ask.id_token_type)))] = Who.ID_TOKEN
    if ask.driver_id is not None:
        found[who_key(Who.DRIVER, ask.driver_id)] = Who.DRIVER
    if ask.token_group is not None:
        found[who_key(Who.TOKEN_GROUP, ask.token_group)] = Who.TOKEN_GROUP
    for group in ask.user_groups:
        found[who_key(Who.USER_GROUP, group)] = Who.USER_GROUP
    if ask.party is not None:
        found[who_key(Who.PARTY, ask.party)] = Who.PARTY
    return found


def asked_places(ask: ResolveAsk) -> dict[str, Place]:
    """Keys by which the place may be named."""
    found = {place_key(Place.EVERYWHERE, ""): Place.EVERYWHERE}
    for place, value in (
        (Place.COUNTRY, ask.country),
        (Place.LOCATION, ask.location_id),
        (Place.STATION, ask.station_id),
        (Place.EVSE, ask.evse_uid),
    ):
        if value is not None:
            found[place_key(place, value)] = place
    return found


def asked_keys(ask: ResolveAsk) -> list[str]:
    """What an index is asked for."""
    return [*asked_people(ask), *(f"*{key}" for key in asked_places(ask))]


def covers_person(terms: Terms, parties: Sequence[Party], people: dict[str, Who]) -> bool:
    """Whether terms cover somebody by name, wherever it may be; what covers anybody covers nobody by name."""
    if people_of(terms, parties).keys().isdisjoint(people):
        return False
    return not any(one.exclude and one.kind in _PEOPLE and _covers(one, people, {}) for one in terms.scope)


def covers_place(terms: Terms, ask: ResolveAsk) -> bool:
    """Whether terms cover a place, whoever charges there."""
    here = asked_places(ask)
    if places_of(terms).keys().isdisjoint(here):
        return False
    return not any(one.exclude and one.kind in _PLACES and _covers(one, {}, here) for one in terms.scope)


class Fit(Struct, frozen=True, kw_only=True):
    """How specifically terms cover what is asked."""

    place: Place
    who: Who


def fit(terms: Terms, parties: Sequence[Party], ask: ResolveAsk) -> Fit | str:
    """How specifically terms cover what is asked; where they do not, why, as the rest of a sentence."""
    people, asked = people_of(terms, parties), asked_people(ask)
    named = [who for key, who in people.items() if key in asked]
    if people and not named:
        return "it covers others"
    places, here = places_of(terms), asked_places(ask)
    near = [place for key, place in places.items() if key in here]
    if not near:
        return "it covers other places"
    for one in terms.scope:
        if one.kind is ScopeKind.ID_TOKEN and one.id_token_type is not None and not one.exclude:
            typed = ask.id_token_type is None or _fold(ask.id_token_type) == _fold(one.id_token_type)
            if not typed and who_key(Who.ID_TOKEN, _token(one)) in asked and named == [Who.ID_TOKEN]:
                return "it covers the id token of another type"
        if one.exclude and _covers(one, asked, here):
            return f"it excludes {one.kind.value.replace('_', ' ')} '{one.value or ''}'"
    return Fit(place=max(near), who=max(named, default=Who.ANYBODY))


def _covers(entry: ScopeEntry, people: dict[str, Who], places: dict[str, Place]) -> bool:
    place = _PLACES.get(entry.kind)
    if place is not None:
        return place_key(place, entry.value or "") in places
    value = _token(entry) if entry.kind is ScopeKind.ID_TOKEN else entry.value or ""
    return who_key(_PEOPLE[entry.kind], value) in people
