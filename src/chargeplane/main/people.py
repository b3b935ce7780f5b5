"""Drivers, users and their logins: made and started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chargeplane.app.people import Drivers, DriverTokens, People, Vehicles
from chargeplane.app.pulse import Pulse
from chargeplane.main.config import Role
from chargeplane.main.subjects import Parts

_LOOK_EVERY_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class PeopleParts:
    """What the other parts ask of people, and the routes call."""

    people: People
    drivers: Drivers
    driver_tokens: DriverTokens
    vehicles: Vehicles


async def start_people(parts: Parts) -> PeopleParts:
    """Makes the use cases; on nodes that do jobs, cars' addresses are confirmed from now on."""
    hint = parts.outbox.hint
    tokens = DriverTokens(parts.database, parts.secrets, parts.events, hint)
    if parts.config.role in (Role.ALL, Role.JOBS):

        async def look() -> None:
            await tokens.confirm_seen()

        pulse = Pulse("autocharge", _LOOK_EVERY_S, look)
        pulse.start()
        parts.on_stop.append(pulse.stop)
    return PeopleParts(
        people=People(parts.database),
        drivers=Drivers(parts.database, parts.events, hint),
        driver_tokens=tokens,
        vehicles=Vehicles(parts.database, parts.events),
    )
