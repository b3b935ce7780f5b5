"""Locations, tariffs and what charging costs: made and started."""

from __future__ import annotations

from dataclasses import dataclass

from chargeplane.app.locations import CodeAddresses, Locations
from chargeplane.app.locations.binding import Binding
from chargeplane.app.locations.facts import FACTS
from chargeplane.app.locations.paying import WaysToPay
from chargeplane.app.tariffs import Tariffs
from chargeplane.edges.http.services import Subjects
from chargeplane.main.config import Role
from chargeplane.main.subjects import Parts


@dataclass(frozen=True, kw_only=True)
class RatingParts:
    """What the other parts ask where a session is and what it costs there."""

    locations: Locations
    tariffs: Tariffs
    code_addresses: CodeAddresses


async def start_rating(parts: Parts, subjects: Subjects) -> RatingParts:
    """Makes the use cases; on nodes that do jobs, stations are bound to their locations from now on."""
    binding = Binding(parts.database, parts.events)
    if parts.config.role in (Role.ALL, Role.JOBS):
        await binding.start()
        parts.on_stop.append(binding.stop)
    parts.facts.declare(FACTS)
    locations = Locations(parts.database, parts.events, binding, WaysToPay(parts.database, subjects.variable_changes))
    locations.told = parts.outbox.hint
    return RatingParts(
        locations=locations,
        tariffs=Tariffs(parts.database, parts.events),
        code_addresses=CodeAddresses(parts.config.payments.public_url or parts.config.public_url),
    )
