"""Roaming as operator: what is published, who is let in, what partners ask of our stations; made and started."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from chargeplane.app.bookings import Bookings
from chargeplane.app.bookings.telling import ANNOUNCED, CHARGED
from chargeplane.app.charging_profiles import ChargingProfiles
from chargeplane.app.profile_keeper import ProfileKeeper
from chargeplane.app.pulse import Pulse
from chargeplane.app.reservations import Reservations
from chargeplane.app.roaming.active_profiles import ActiveProfiles
from chargeplane.app.roaming.authorizing import Authorizing, AuthorizingSettings
from chargeplane.app.roaming.booking_fees import EvsePlaces, PartnerBookingFees
from chargeplane.app.roaming.booking_places import PLACE_TOPICS, BookingPlaces
from chargeplane.app.roaming.commands import PartnerCommands
from chargeplane.app.roaming.operator import OurParties, Outgoing, PartnersAsked, PeerSource, Rendering
from chargeplane.app.roaming.own_documents import OwnDocuments
from chargeplane.app.roaming.partner_bookings import BookingRendering, PartnerBookings
from chargeplane.app.roaming.ports import Caller
from chargeplane.app.roaming.profiles import PartnerProfiles
from chargeplane.app.roaming.publications import PartnerPublications
from chargeplane.app.roaming.publishing import TOPICS, Publishing, PublishingSettings
from chargeplane.app.roaming.results import Results
from chargeplane.app.roaming.sessions import TOPICS as CDR_TOPICS
from chargeplane.app.roaming.sessions import SessionsOfPartners
from chargeplane.domain.roaming.commands import Asked
from chargeplane.edges.ocpi_server.call import Handler
from chargeplane.edges.ocpi_server.handlers.bookings_sender import bookings_sender
from chargeplane.edges.ocpi_server.handlers.commands_receiver import commands_receiver
from chargeplane.edges.ocpi_server.handlers.own_lists import own_lists
from chargeplane.main.config import Role
from chargeplane.main.roaming_documents import MAKING, SESSION_MAKING, booking, booking_location
from chargeplane.main.subjects import Parts

_LOOK_S = 2.0
_FORGET_S = 3600.0

UPCOMING = "booking.upcoming"
"""Of what announces bookings, what says nothing new of one."""

MODULES = ("locations", "tariffs", "sessions", "cdrs")
"""Modules whose objects are told by `OperatorParts.rendering`."""


class Charging(Protocol):
    """Smart charging."""

    @property
    def charging_profiles(self) -> ChargingProfiles:
        """Profiles, and what they add up to."""
        ...

    @property
    def profile_keeper(self) -> ProfileKeeper:
        """Who brings them to stations."""
        ...


@dataclass(frozen=True, kw_only=True)
class OperatorParts:
    """Their use cases.

    Args:
        sessions: given to the sessions, which tell it of partners' drivers.
        rendering: makes what is sent of `MODULES`.
        look: whether anybody here is an operator now.
        handlers: of the door for partners.
    """

    parties: OurParties
    publishing: Publishing
    authorizing: Authorizing
    sessions: SessionsOfPartners
    bookings: PartnerBookings
    booking_places: BookingPlaces
    booking_fees: PartnerBookingFees
    booking_rendering: BookingRendering
    documents: OwnDocuments
    commands: PartnerCommands
    profiles: PartnerProfiles
    active: ActiveProfiles
    results: Results
    rendering: Rendering
    publications: PartnerPublications
    look: Callable[[], Awaitable[None]]
    handlers: dict[int, Handler]


async def start_operator(
    parts: Parts,
    places: EvsePlaces,
    reservations: Reservations,
    charging: Charging,
    bookings: Bookings,
    *,
    peers: PeerSource,
    caller: Caller,
    wake: Callable[[], None],
) -> OperatorParts:
    """Makes them; on nodes that do jobs, what is published is kept from now on.

    Args:
        places: which EVSE is meant.
        wake: called after something was noted for partners.
    """
    database, config = parts.database, parts.config.roaming_operator
    parties = OurParties(database)
    asked = PartnersAsked(database, peers, caller)
    telling = Outgoing(wake)
    publishing = Publishing(
        database, parties, telling, MAKING, PublishingSettings(look_every_s=config.status_look_every_s)
    )
    authorizing = Authorizing(
        database,
        parties,
        asked,
        AuthorizingSettings(timeout_s=config.authorize_timeout_s, ask_allowed=config.authorize_allowed),
    )
    parts.on_stop.append(authorizing.stop)
    results = Results(database, asked, lease_s=parts.config.roaming.lease_s)
    commands = PartnerCommands(
        database,
        parts.commands,
        parts.reach,
        places,
        reservations,
        results,
        timeout_s=config.command_timeout_s,
    )
    parts.on_stop.append(commands.stop)
    profiles = PartnerProfiles(
        database, parts.commands, commands, charging.charging_profiles, parts.reach, charging.profile_keeper.kick
    )
    results.told[Asked.GET_PROFILE] = profiles.planned
    results.found = {Asked.SET_PROFILE: profiles.found, Asked.CLEAR_PROFILE: profiles.found}
    active = ActiveProfiles(database, charging.charging_profiles, telling)
    documents = OwnDocuments(database)
    sessions = SessionsOfPartners(
        database, authorizing, parties, telling, SESSION_MAKING, every_s=config.session_push_s
    )
    booked = PartnerBookings(database, bookings, parties, telling, booking)
    booking_places = BookingPlaces(
        database, parties, telling, booking_location, look_every_s=config.status_look_every_s
    )
    bookings.on_policy.append(booking_places.look_soon)
    look = await _listen_at_stations(parts, parties, authorizing)
    if parts.config.role in (Role.ALL, Role.JOBS):
        if parts.status_hints is not None:
            await parts.status_hints.listen(publishing.heard)
        await publishing.start()
        parts.on_stop.append(publishing.stop)
        await active.start()
        parts.on_stop.append(active.stop)
        await booking_places.start()
        parts.on_stop.append(booking_places.stop)
        await results.start()
        parts.on_stop.append(results.stop)
        forgetting = Pulse("roaming requests", _FORGET_S, results.forget)
        forgetting.start()
        parts.on_stop.append(forgetting.stop)
    return OperatorParts(
        parties=parties,
        publishing=publishing,
        authorizing=authorizing,
        sessions=sessions,
        bookings=booked,
        booking_places=booking_places,
        booking_fees=PartnerBookingFees(database, places, parts.outbox.hint),
        booking_rendering=BookingRendering(database),
        documents=documents,
        commands=commands,
        profiles=profiles,
        active=active,
        results=results,
        rendering=Rendering(database),
        publications=PartnerPublications(database, wake),
        look=look,
        handlers={
            **own_lists(documents, commands),
            **commands_receiver(commands, profiles),
            **bookings_sender(documents, booked),
        },
    )


async def _listen_at_stations(
    parts: Parts, parties: OurParties, authorizing: Authorizing
) -> Callable[[], Awaitable[None]]:
    """Has this node's stations ask for partners' id tokens, and tell of statuses, from when on anybody here is an operator; what looks
    whether that is so."""
    house, hints = parts.house, parts.status_hints

    async def look() -> None:
        if house is None:
            return
        operating = bool(await parties.operating_tenants())
        house.roaming = authorizing if operating else None
        house.status_committed = hints.note if operating and hints is not None else None

    await look()
    pulse = Pulse("roaming stations", _LOOK_S, look)
    pulse.start()
    parts.on_stop.append(pulse.stop)
    return look


def follow(operator: OperatorParts, parts: Parts) -> None:
    """Hears of locations, EVSEs and tariffs."""
    parts.facts.subscribe("roaming", TOPICS, operator.publishing.changed)
    parts.facts.subscribe("roaming_places", PLACE_TOPICS, operator.booking_places.changed)
    told = [topic for topic in ANNOUNCED if topic != UPCOMING]
    parts.facts.subscribe("roaming_places", told, operator.booking_places.booked)
    parts.facts.subscribe("roaming_bookings", told, operator.bookings.changed)
    parts.facts.subscribe("roaming_fees", (CHARGED,), operator.booking_fees.charged)


def hear_changes(operator: OperatorParts, changes: list[Callable[[int], None]], parts: Parts) -> None:
    """Hears of CDRs, which the sessions have declared by then, and of changes of parties and partners.

    Args:
        changes: the connections' listeners.
    """
    looking: set[asyncio.Future[None]] = set()

    def changed(_: int) -> None:
        operator.parties.forget()
        operator.publishing.look_soon()
        operator.booking_places.look_soon()
        task = asyncio.ensure_future(operator.look())
        looking.add(task)
        task.add_done_callback(looking.discard)

    changes.append(changed)
    parts.facts.subscribe("roaming", CDR_TOPICS, operator.sessions.settled)
