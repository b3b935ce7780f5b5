"""What stations do besides charging, subject by subject: made, and told which reports and questions are theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chargeplane.app.alerts import Alerts
from chargeplane.app.battery_swaps import BatterySwaps
from chargeplane.app.commands import Commands
from chargeplane.app.data_transfer import DataTransfer
from chargeplane.app.display_messages import DisplayMessages
from chargeplane.app.event_streams import EventStreams
from chargeplane.app.events import EventFeed
from chargeplane.app.house import Desk
from chargeplane.app.reach import StationReach
from chargeplane.app.reports import Reports
from chargeplane.app.station_payments import StationPayments
from chargeplane.app.station_requests import StationRequests
from chargeplane.app.station_tariffs import StationTariffs
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
    database, commands, events = parts.database, parts.commands, parts.events
    station_requests = StationRequests(database, events)
    alerts = Alerts(database, events)

    display_messages = DisplayMessages(database, commands, station_requests, events)
    display_messages.register(parts.reports)
    data_transfer = DataTransfer()
    data_transfer.load()
    data_transfer.register(parts.desks)
    battery_swaps = BatterySwaps(database, events)
    battery_swaps.register(parts.reports)
    event_streams = EventStreams(database, commands, events)
    event_streams.register(parts.reports, parts.desks)
    station_payments = StationPayments(database, events)
    station_payments.register(parts.desks)

    return Subjects(
        station_requests=station_requests,
        alerts=alerts,
        display_messages=display_messages,
        station_tariffs=StationTariffs(database, commands),
        data_transfer=data_transfer,
        battery_swaps=battery_swaps,
        event_streams=event_streams,
        station_payments=station_payments,
    )
