"""What stations do besides charging, subject by subject: made, and told which reports and questions are theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import timedelta
from typing import Final

from chargeplane.app.addresses import FileAddresses
from chargeplane.app.after_boot import AfterBoot, ReadingSettings
from chargeplane.app.alerts import Alerts
from chargeplane.app.authority import HouseAuthority
from chargeplane.app.battery_swaps import BatterySwaps
from chargeplane.app.campaigns import Campaigns
from chargeplane.app.certificates import Certificates
from chargeplane.app.commands import Commands
from chargeplane.app.configuration import Configuration, ConfigurationSettings
from chargeplane.app.customer_information import CustomerInformation
from chargeplane.app.data_transfer import DataTransfer
from chargeplane.app.device_model import DeviceModel
from chargeplane.app.directory import Directory
from chargeplane.app.display_messages import DisplayMessages
from chargeplane.app.event_streams import EventStreams
from chargeplane.app.events import EventFeed
from chargeplane.app.fact_copies import FactCopies
from chargeplane.app.final_costs import FinalCosts
from chargeplane.app.firmware import Firmware
from chargeplane.app.heartbeats import Heartbeats
from chargeplane.app.house import Desk, House
from chargeplane.app.logs import Logs
from chargeplane.app.monitoring import Monitoring
from chargeplane.app.presence import Presence
from chargeplane.app.reach import Directory as SharedDirectory
from chargeplane.app.reach import StationReach
from chargeplane.app.reports import Reports
from chargeplane.app.roaming.status_hints import StatusHints
from chargeplane.app.station_payments import StationPayments
from chargeplane.app.station_requests import StationRequests
from chargeplane.app.station_tariffs import StationTariffs
from chargeplane.app.stations import Door
from chargeplane.app.uploads import Uploads
from chargeplane.app.variable_changes import VariableChanges
from chargeplane.app.watch import StationWatch
from chargeplane.domain.firmware import CustomerInformationPart, FirmwareStatus, LogStatus, PublishStatus
from chargeplane.domain.monitoring import MonitoringReportPart, StationEvents
from chargeplane.edges.http.services import Subjects
from chargeplane.main.charging import start_charging
from chargeplane.main.config import Config, Role
from chargeplane.main.plug_and_charge import start_plug_and_charge
from chargeplane.main.security import start_security
from chargeplane.main.smart_charging import start_smart_charging
from chargeplane.store.database import Database
from chargeplane.store.files import Files
from chargeplane.store.outbox import OutboxWorker
from chargeplane.store.secrets import InstallationKeys

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What subjects are made of.

    Args:
        stations: those that are connected to this node.
        directory: their settings, and those of their tenants.
        outbox: for facts that one alone takes, and that are no reports of stations.
        facts: of the business, which any may subscribe to.
        shared: brings credentials to every node's memory.
        door: of this node, which tells what is tried and how stations come in.
        authority: of the house.
        certificates: of stations.
        desks: who answers which question of a station; subjects add theirs.
        reports: who takes which report; subjects add theirs.
        on_stop: called in the reverse order when the server stops; subjects add theirs.
        addresses: of the doors for files.
        campaign_tick_s: between two looks at the campaigns.
        final_costs: of transactions of stations on this node.
        house: what these stations share.
        status_hints: which stations' statuses changed, from every node.
    """

    config: Config
    database: Database
    secrets: InstallationKeys
    reach: StationReach
    shared: SharedDirectory
    door: Door
    certificates: Certificates
    commands: Commands
    events: EventFeed
    stations: Presence
    directory: Directory
    outbox: OutboxWorker
    facts: FactCopies
    reports: Reports
    desks: dict[type, Desk]
    on_stop: list[Callable[[], Awaitable[object]]]
    authority: HouseAuthority
    addresses: FileAddresses
    campaign_tick_s: float = 1.0
    final_costs: FinalCosts = dataclass_field(default_factory=FinalCosts)
    house: House | None = None
    status_hints: StatusHints | None = None


async def start_subjects(parts: Parts) -> Subjects:
    """Makes and starts every subject."""
    database, commands, events = parts.database, parts.commands, parts.events
    station_requests = StationRequests(database, events)
    alerts = Alerts(database, events)
    charging = await start_charging(parts)
    smart = await start_smart_charging(parts, station_requests, alerts)

    display_messages = DisplayMessages(database, commands, station_requests, events)
    display_messages.register(parts.reports)
    data_transfer = DataTransfer()
    data_transfer.load()
    data_transfer.register(parts.desks)
    battery_swaps = BatterySwaps(database, events, commands, parts.directory.here)
    battery_swaps.register(parts.reports)
    event_streams = EventStreams(database, commands, events)
    event_streams.register(parts.reports, parts.desks)
    station_payments = StationPayments(database, events)
    station_payments.register(parts.desks)
    plug_and_charge, ev_pool = start_plug_and_charge(parts.config, database, parts.secrets, parts.desks, parts.on_stop)

    firmware, uploads, logs = await _start_files(parts, station_requests)
    campaigns = Campaigns(database, firmware, commands, station_requests, events, tick_s=parts.campaign_tick_s)
    firmware.on_status = campaigns.heard
    if parts.config.role in (Role.ALL, Role.JOBS):
        await campaigns.start()
    parts.on_stop.append(campaigns.stop)
    monitoring = Monitoring(database, alerts, commands, station_requests, events)
    monitoring.register()
    parts.reports.take(StationEvents, monitoring.heard)
    parts.reports.take(MonitoringReportPart, monitoring.reported)
    parts.on_stop.append(monitoring.stop)
    customer_information = CustomerInformation(database, parts.secrets, commands, station_requests, events)
    parts.reports.take(CustomerInformationPart, customer_information.heard)
    await _start_watch(parts, alerts)
    device_model, after_boot, variable_changes, configuration = await _device_model(parts, station_requests, alerts)

    security = await start_security(
        config=parts.config,
        database=parts.database,
        secrets=parts.secrets,
        reach=parts.reach,
        directory=parts.shared,
        door=parts.door,
        authority=parts.authority,
        certificates=parts.certificates,
        commands=parts.commands,
        events=parts.events,
        reports=parts.reports,
        alerts=alerts,
        on_stop=parts.on_stop,
    )

    return Subjects(
        station_requests=station_requests,
        alerts=alerts,
        charging_profiles=smart.charging_profiles,
        profile_keeper=smart.profile_keeper,
        static_limits=smart.static_limits,
        der_controls=smart.der_controls,
        display_messages=display_messages,
        station_tariffs=StationTariffs(database, commands),
        data_transfer=data_transfer,
        battery_swaps=battery_swaps,
        event_streams=event_streams,
        station_payments=station_payments,
        firmware=firmware,
        campaigns=campaigns,
        monitoring=monitoring,
        customer_information=customer_information,
        uploads=uploads,
        logs=logs,
        local_lists=charging.local_lists,
        reservations=charging.reservations,
        availability=charging.availability,
        plug_and_charge=plug_and_charge,
        ev_pool=ev_pool,
        device_model=device_model,
        after_boot=after_boot,
        variable_changes=variable_changes,
        configuration=configuration,
        security_events=security.events,
        installed_certificates=security.installed,
        credential_changes=security.changes,
    )


async def _start_watch(parts: Parts, alerts: Alerts) -> None:
    """Looks after silent stations and wrong clocks."""
    config = parts.config
    if config.role not in (Role.ALL, Role.JOBS):
        return
    watch = StationWatch(
        parts.database,
        alerts,
        default_interval_s=config.ocpp.heartbeat_interval_s,
        silent_intervals=config.alerts.silent_intervals,
        clock_offset_s=config.alerts.clock_offset_s,
        slack_s=2 * config.ocpp.seen_flush_s,
        every_s=config.alerts.look_every_s,
    )
    await watch.start()
    parts.on_stop.append(watch.stop)


async def _start_files(parts: Parts, requests: StationRequests) -> tuple[Firmware, Uploads, Logs]:
    """Firmware and logs."""
    config = parts.config
    files = Files(config.files_path, spare_bytes=config.files.spare_mib * _MIB)
    firmware = Firmware(
        parts.database,
        files,
        parts.addresses,
        parts.authority,
        parts.commands,
        requests,
        max_bytes=config.files.max_firmware_mib * _MIB,
    )
    parts.reports.take(FirmwareStatus, firmware.heard)
    parts.reports.take(PublishStatus, firmware.heard_publishing)
    uploads = Uploads(
        parts.database,
        parts.events,
        files,
        max_bytes=config.files.max_upload_mib * _MIB,
        valid_for=timedelta(hours=config.files.upload_valid_h),
        keep=timedelta(days=config.retention.uploads_days) if config.retention.uploads_days else None,
    )
    await uploads.start()
    parts.on_stop.append(uploads.stop)
    logs = Logs(parts.database, uploads, parts.addresses, parts.commands, requests)
    parts.on_stop.append(logs.stop)
    parts.reports.take(LogStatus, logs.heard)
    return firmware, uploads, logs


async def _device_model(
    parts: Parts, requests: StationRequests, alerts: Alerts
) -> tuple[DeviceModel, AfterBoot, VariableChanges, Configuration]:
    config = parts.config.device_model
    Heartbeats(parts.database, parts.commands, parts.shared)
    model = DeviceModel(parts.database, parts.reach, parts.commands, requests, parts.reports, parts.events)
    model.known_of = parts.directory.known_of
    after_boot = AfterBoot(
        parts.database,
        model,
        ReadingSettings(
            enabled=config.read_after_boot,
            delay_s=config.read_delay_s,
            spread_s=config.read_spread_s,
            rate_per_s=config.read_rate_per_s,
        ),
    )
    after_boot.known_of = parts.directory.known_of
    changes = VariableChanges(parts.database, model, parts.commands, parts.secrets, parts.events)
    settings = ConfigurationSettings(
        check_every_s=config.template_check_s, ask_again_s=config.template_ask_s, retry_s=config.template_retry_s
    )
    configuration = Configuration(
        parts.database, model, changes, after_boot, alerts, parts.secrets, parts.events, settings
    )
    for worker in (after_boot, changes, configuration):
        await worker.start()
        parts.on_stop.append(worker.stop)
    return model, after_boot, changes, configuration
