"""Charging profiles, limits, vehicles' needs and DER control: made and wired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chargeplane.app.alerts import Alerts
from chargeplane.app.charging_profiles import ChargingProfiles, ProfileWire
from chargeplane.app.der_controls import DerControls
from chargeplane.app.ev_charging import EvCharging
from chargeplane.app.profile_keeper import ProfileKeeper
from chargeplane.app.static_caps import StaticCaps
from chargeplane.app.static_limits import StaticLimits
from chargeplane.app.station_requests import StationRequests
from chargeplane.bridge.charging_profiles import ABILITIES, sentences_of_losses
from chargeplane.main.config import Role
from chargeplane.ocpp.versions import OcppVersion

if TYPE_CHECKING:
    from chargeplane.main.subjects import Parts


@dataclass(frozen=True, kw_only=True)
class SmartCharging:
    """Their use cases."""

    charging_profiles: ChargingProfiles
    profile_keeper: ProfileKeeper
    static_limits: StaticLimits
    der_controls: DerControls


async def start_smart_charging(parts: Parts, requests: StationRequests, alerts: Alerts) -> SmartCharging:
    """Makes and starts them."""
    database, commands, events = parts.database, parts.commands, parts.events
    ends_profiles = parts.config.role in (Role.ALL, Role.JOBS)
    keeper = ProfileKeeper(database, commands, requests, parts.reach, events, ends_profiles=ends_profiles)
    keeper.register(parts.reports)
    keeper.known_of = parts.directory.known_of
    wire = ProfileWire(
        abilities={version.value: abilities for version, abilities in ABILITIES.items()}, losses=sentences_of_losses
    )
    profiles = ChargingProfiles(database, commands, parts.reach, events, wire, keeper.kick)
    vehicles = EvCharging(database, profiles, alerts, events, ABILITIES[OcppVersion.V21], keeper.kick)
    vehicles.register(parts.reports, parts.desks)
    limits = StaticLimits(database, keeper.kick)
    StaticCaps(database, commands)
    controls = DerControls(database, commands, parts.reach, requests, alerts, events)
    controls.register(parts.reports)
    await keeper.start()
    await limits.start()
    parts.on_stop.extend((keeper.stop, vehicles.stop, limits.stop))
    return SmartCharging(charging_profiles=profiles, profile_keeper=keeper, static_limits=limits, der_controls=controls)
