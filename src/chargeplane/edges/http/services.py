"""What the routes call: one use-case object a noun, made by main/wiring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chargeplane.app.after_boot import AfterBoot
from chargeplane.app.agreements.agreements import Agreements
from chargeplane.app.agreements.following import Following
from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.agreements.usage import Usage
from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import ApiKeys
from chargeplane.app.audit_log import AuditLog
from chargeplane.app.availability import Availability
from chargeplane.app.battery_swaps import BatterySwaps
from chargeplane.app.bookings import Bookings, Keeper
from chargeplane.app.bookings.telling import Telling
from chargeplane.app.campaigns import Campaigns
from chargeplane.app.cdrs.cdrs import Cdrs
from chargeplane.app.cdrs.meter_keys import MeterKeys
from chargeplane.app.certificates import Certificates
from chargeplane.app.charging_profiles import ChargingProfiles
from chargeplane.app.charging_stations import ChargingStations
from chargeplane.app.commands import Commands
from chargeplane.app.configuration import Configuration
from chargeplane.app.credential_changes import CredentialChanges
from chargeplane.app.customer_information import CustomerInformation
from chargeplane.app.data_transfer import DataTransfer
from chargeplane.app.der_controls import DerControls
from chargeplane.app.device_model import DeviceModel
from chargeplane.app.display_messages import DisplayMessages
from chargeplane.app.ev_pool import EvPool
from chargeplane.app.event_streams import EventStreams
from chargeplane.app.events import EventFeed
from chargeplane.app.fact_copies import FactCopies
from chargeplane.app.firmware import Firmware
from chargeplane.app.id_tokens import IdTokens
from chargeplane.app.installed_certificates import InstalledCertificatesOf
from chargeplane.app.invoicing.exports import Exports
from chargeplane.app.invoicing.invoices import Invoices
from chargeplane.app.invoicing.runs import BillingRuns
from chargeplane.app.invoicing.vat import VatChecks
from chargeplane.app.ledger import Ledger
from chargeplane.app.local_lists import LocalLists
from chargeplane.app.locations import CodeAddresses, Locations
from chargeplane.app.logs import Logs
from chargeplane.app.messages import Messages
from chargeplane.app.monitoring import Monitoring
from chargeplane.app.outbox import Outbox
from chargeplane.app.payments.accounts import Accounts
from chargeplane.app.payments.guests import Guests
from chargeplane.app.payments.methods import PaymentMethods
from chargeplane.app.payments.payments import Payments
from chargeplane.app.payments.providers import Providers
from chargeplane.app.payments.webhooks import Webhooks
from chargeplane.app.people import Drivers, DriverTokens, People, Vehicles
from chargeplane.app.people.charges import Charges
from chargeplane.app.people.credentials import Credentials
from chargeplane.app.people.driver_accounts import DriverAccounts
from chargeplane.app.people.guard import Guard
from chargeplane.app.people.logins import Logins
from chargeplane.app.people.own import OwnThings
from chargeplane.app.people.personal_data import PersonalData
from chargeplane.app.people.sign_on import SignOn
from chargeplane.app.people.sign_on_providers import SignOnProviders
from chargeplane.app.people.user_accounts import UserAccounts
from chargeplane.app.people.users import Users
from chargeplane.app.performance.performance import Performance
from chargeplane.app.plug_and_charge import PlugAndCharge
from chargeplane.app.profile_keeper import ProfileKeeper
from chargeplane.app.public_data import ListWriter, PublicData, Writer
from chargeplane.app.quarantine import Quarantine
from chargeplane.app.quirks import Quirks
from chargeplane.app.reservations import Reservations
from chargeplane.app.roaming.asked_bookings import AskedBookings
from chargeplane.app.roaming.asking import Asking
from chargeplane.app.roaming.confirmations import Confirmations
from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.nearby import Nearby
from chargeplane.app.roaming.partner_records import PartnerRecords
from chargeplane.app.roaming.partners import Partners
from chargeplane.app.roaming.places import PartnerPlaces
from chargeplane.app.roaming.publications import PartnerPublications
from chargeplane.app.roaming.pulling import Pulling
from chargeplane.app.roaming.pushing import Pushing
from chargeplane.app.roaming.reconciliation import Reconciliation
from chargeplane.app.roaming.terminals import Terminals
from chargeplane.app.security_events import SecurityEvents
from chargeplane.app.sessions.sessions import Sessions
from chargeplane.app.settlements import Settlements
from chargeplane.app.static_limits import StaticLimits
from chargeplane.app.station_payments import StationPayments
from chargeplane.app.station_requests import StationRequests
from chargeplane.app.station_tariffs import StationTariffs
from chargeplane.app.tariffs import Tariffs
from chargeplane.app.tenants import Tenants
from chargeplane.app.transactions import Transactions
from chargeplane.app.uploads import Uploads
from chargeplane.app.variable_changes import VariableChanges
from chargeplane.app.webhooks import Webhooks as WebhookEndpoints
from chargeplane.app.work_list import WorkList
from chargeplane.store.database import Database
from chargeplane.store.secrets import InstallationKeys


class Readiness(Protocol):
    """Whether stations can be taken and their messages committed."""

    async def failing(self) -> Sequence[str]:
        """One sentence per reason why not; empty when ready. Answers within a second or so."""
        ...


@dataclass(frozen=True, kw_only=True)
class Subjects:
    """Use cases about what stations do besides charging; made by main/subjects."""

    station_requests: StationRequests
    firmware: Firmware
    campaigns: Campaigns
    uploads: Uploads
    logs: Logs
    monitoring: Monitoring
    customer_information: CustomerInformation
    alerts: Alerts
    charging_profiles: ChargingProfiles
    profile_keeper: ProfileKeeper
    static_limits: StaticLimits
    der_controls: DerControls
    display_messages: DisplayMessages
    station_tariffs: StationTariffs
    data_transfer: DataTransfer
    battery_swaps: BatterySwaps
    event_streams: EventStreams
    station_payments: StationPayments
    local_lists: LocalLists
    reservations: Reservations
    availability: Availability
    plug_and_charge: PlugAndCharge
    ev_pool: EvPool | None
    device_model: DeviceModel
    variable_changes: VariableChanges
    configuration: Configuration
    after_boot: AfterBoot
    security_events: SecurityEvents
    installed_certificates: InstalledCertificatesOf
    credential_changes: CredentialChanges


@dataclass(frozen=True, kw_only=True)
class GuestDoor:
    """How the door without a key behaves, per address.

    Args:
        public_url: where guests reach it; None: as each asks.
    """

    public_url: str | None = None
    requests_per_minute: float = 240
    payments_per_minute: float = 10
    wrong_per_minute: float = 20


class Roaming(Protocol):
    """Partners by OCPI; made by main/roaming. The door for partners is another edge's."""

    @property
    def connections(self) -> Connections:
        """Partners and parties of ours."""
        ...

    @property
    def partners(self) -> Partners:
        """What operators see of what goes on with partners."""
        ...

    @property
    def pushing(self) -> Pushing:
        """Partners that are pushed all they may see."""
        ...

    @property
    def door(self) -> Callable[..., Awaitable[None]]:
        """The application for partners."""
        ...


@dataclass(frozen=True, kw_only=True)
class RoamingProvider:
    """Roaming as a provider: partners' places, sessions and CDRs, and what is asked of partners."""

    places: PartnerPlaces
    nearby: Nearby
    records: PartnerRecords
    asking: Asking
    bookings: AskedBookings
    pulling: Pulling


@dataclass(frozen=True, kw_only=True)
class RoamingMoney:
    """What is paid at terminals, and which CDRs invoices between partners are made of."""

    terminals: Terminals
    confirmations: Confirmations
    reconciliation: Reconciliation


@dataclass(frozen=True, kw_only=True)
class Business:
    """Use cases about locations, prices, people, agreements and money; made by main/business."""

    locations: Locations
    tariffs: Tariffs
    code_addresses: CodeAddresses
    people: People
    drivers: Drivers
    driver_tokens: DriverTokens
    vehicles: Vehicles
    driver_accounts: DriverAccounts
    users: Users
    user_accounts: UserAccounts
    logins: Logins
    guard: Guard
    credentials: Credentials
    sign_on: SignOn
    sign_on_providers: SignOnProviders
    audit_log: AuditLog
    personal_data: PersonalData
    charges: Charges
    own: OwnThings
    public_url: str | None
    agreements: Agreements
    agreement_resolving: Resolving
    agreement_usage: Usage
    agreement_following: Following
    payments: Payments
    payment_providers: Providers
    payment_webhooks: Webhooks
    payment_accounts: Accounts
    payment_methods: PaymentMethods
    guests: Guests
    guest_door: GuestDoor
    settlements: Settlements
    vat_checks: VatChecks
    ledger: Ledger
    sessions: Sessions
    cdrs: Cdrs
    webhooks: WebhookEndpoints
    meter_keys: MeterKeys
    bookings: Bookings
    booking_keeper: Keeper
    booking_telling: Telling
    facts: FactCopies
    performance: Performance
    work_list: WorkList
    invoices: Invoices
    billing_runs: BillingRuns
    exports: Exports
    roaming: Roaming
    publications_to_partners: PartnerPublications
    roaming_provider: RoamingProvider
    roaming_money: RoamingMoney
    public_data: PublicData
    publications: Writer
    public_lists: ListWriter


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the routes call.

    Args:
        database, keys: for idempotency keys, which are the edge's own.
        metrics: the Prometheus exposition and its content type.
    """

    database: Database
    keys: InstallationKeys
    api_keys: ApiKeys
    tenants: Tenants
    charging_stations: ChargingStations
    commands: Commands
    messages: Messages
    transactions: Transactions
    id_tokens: IdTokens
    quarantine: Quarantine
    quirks: Quirks
    outbox: Outbox
    certificates: Certificates
    subjects: Subjects
    business: Business
    events: EventFeed
    readiness: Readiness
    metrics: Callable[[], Awaitable[tuple[bytes, str]]]
