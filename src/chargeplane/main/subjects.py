"""What stations do besides charging, subject by subject: made, and told which reports and questions are theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chargeplane.app.alerts import Alerts
from chargeplane.app.commands import Commands
from chargeplane.app.events import EventFeed
from chargeplane.app.house import Desk
from chargeplane.app.reach import StationReach
from chargeplane.app.reports import Reports
from chargeplane.app.station_requests import StationRequests
from chargeplane.edges.http.services import Subjects
from chargeplane.main.config import Config
from chargeplane.store.database import Database
from chargeplane.store.secrets import InstallationKeys


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What subjects are made of.

    Args:
        desks: who answers which question of a station; subjects add theirs.
        reports: who takes which report; subjects add theirs.
        on_stop: called in the reverse order when the server stops; subjects add theirs.
    """

    config: Config
    database: Database
    secrets: InstallationKeys
    reach: StationReach
    commands: Commands
    events: EventFeed
    reports: Reports
    desks: dict[type, Desk]
    on_stop: list[Callable[[], Awaitable[object]]]


async def start_subjects(parts: Parts) -> Subjects:
    """Makes and starts every subject."""
    return Subjects(
        station_requests=StationRequests(parts.database, parts.events),
        alerts=Alerts(parts.database, parts.events),
    )
