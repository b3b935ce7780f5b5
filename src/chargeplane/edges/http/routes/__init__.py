"""The routes, one file a noun."""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

from chargeplane.edges.http.openapi import openapi_routes
from chargeplane.edges.http.routes.account import account_routes
from chargeplane.edges.http.routes.administration import administration_routes
from chargeplane.edges.http.routes.alerts import alert_routes
from chargeplane.edges.http.routes.availability import availability_routes
from chargeplane.edges.http.routes.bookings import booking_routes
from chargeplane.edges.http.routes.campaigns import campaign_routes
from chargeplane.edges.http.routes.cdrs import cdr_routes
from chargeplane.edges.http.routes.certificates import certificate_routes
from chargeplane.edges.http.routes.charging_profiles import charging_profile_routes
from chargeplane.edges.http.routes.charging_stations import charging_station_routes
from chargeplane.edges.http.routes.commands import command_routes
from chargeplane.edges.http.routes.configuration import configuration_routes
from chargeplane.edges.http.routes.credentials import credential_routes
from chargeplane.edges.http.routes.der_controls import der_control_routes
from chargeplane.edges.http.routes.diagnostics import diagnostics_routes
from chargeplane.edges.http.routes.display_and_cost import display_and_cost_routes
from chargeplane.edges.http.routes.drivers import driver_routes, vehicle_routes
from chargeplane.edges.http.routes.events import event_routes
from chargeplane.edges.http.routes.firmware import firmware_routes
from chargeplane.edges.http.routes.guests import guest_routes
from chargeplane.edges.http.routes.health import health_routes
from chargeplane.edges.http.routes.id_tokens import id_token_routes
from chargeplane.edges.http.routes.invoices import invoice_routes
from chargeplane.edges.http.routes.ledger import ledger_routes
from chargeplane.edges.http.routes.local_lists import local_list_routes
from chargeplane.edges.http.routes.locations import location_routes
from chargeplane.edges.http.routes.me import me_routes
from chargeplane.edges.http.routes.messages import message_routes
from chargeplane.edges.http.routes.meter_keys import meter_key_routes
from chargeplane.edges.http.routes.monitoring import monitoring_routes
from chargeplane.edges.http.routes.my_bookings import my_booking_routes
from chargeplane.edges.http.routes.my_charging import my_charging_routes
from chargeplane.edges.http.routes.my_money import my_money_routes
from chargeplane.edges.http.routes.my_roaming import my_roaming_routes
from chargeplane.edges.http.routes.outbox import outbox_routes
from chargeplane.edges.http.routes.payments import payment_routes
from chargeplane.edges.http.routes.performance import performance_routes
from chargeplane.edges.http.routes.plug_and_charge import plug_and_charge_routes
from chargeplane.edges.http.routes.public_data import public_data_routes
from chargeplane.edges.http.routes.quarantine import quarantine_routes
from chargeplane.edges.http.routes.quirks import quirk_routes
from chargeplane.edges.http.routes.reconciliations import reconciliation_routes
from chargeplane.edges.http.routes.reservations import reservation_routes
from chargeplane.edges.http.routes.roaming import roaming_routes
from chargeplane.edges.http.routes.roaming_bookings import roaming_booking_routes
from chargeplane.edges.http.routes.roaming_operator import roaming_operator_routes
from chargeplane.edges.http.routes.roaming_provider import roaming_provider_routes
from chargeplane.edges.http.routes.security_events import security_event_routes
from chargeplane.edges.http.routes.service_agreements import service_agreement_routes
from chargeplane.edges.http.routes.sessions import session_routes
from chargeplane.edges.http.routes.settlements_of_partners import partner_settlement_routes
from chargeplane.edges.http.routes.sign_on import sign_on_routes
from chargeplane.edges.http.routes.static_limits import static_limit_routes
from chargeplane.edges.http.routes.station_requests import station_request_routes
from chargeplane.edges.http.routes.tariffs import tariff_routes
from chargeplane.edges.http.routes.terminals import terminal_routes
from chargeplane.edges.http.routes.transactions import transaction_routes
from chargeplane.edges.http.routes.users import audit_log_routes, login_routes, user_routes
from chargeplane.edges.http.routes.variables import variable_routes
from chargeplane.edges.http.routes.webhooks import webhook_routes
from chargeplane.edges.http.routes.work_list import work_list_routes
from chargeplane.edges.http.services import Services


def route_handlers(services: Services) -> list[HTTPRouteHandler]:
    """All of them."""
    return [
        *openapi_routes(),
        *health_routes(services),
        *charging_station_routes(services),
        *variable_routes(services),
        *configuration_routes(services),
        *command_routes(services),
        *message_routes(services),
        *transaction_routes(services),
        *id_token_routes(services),
        *local_list_routes(services),
        *reservation_routes(services),
        *availability_routes(services),
        *quarantine_routes(services),
        *public_data_routes(services),
        *outbox_routes(services),
        *quirk_routes(services),
        *certificate_routes(services),
        *station_request_routes(services),
        *alert_routes(services),
        *display_and_cost_routes(services),
        *firmware_routes(services),
        *campaign_routes(services),
        *diagnostics_routes(services),
        *monitoring_routes(services),
        *plug_and_charge_routes(services),
        *charging_profile_routes(services),
        *static_limit_routes(services),
        *partner_settlement_routes(services),
        *der_control_routes(services),
        *credential_routes(services),
        *security_event_routes(services),
        *location_routes(services),
        *tariff_routes(services),
        *driver_routes(services),
        *vehicle_routes(services),
        *me_routes(services),
        *my_charging_routes(services),
        *my_money_routes(services),
        *my_booking_routes(services),
        *user_routes(services),
        *login_routes(services),
        *sign_on_routes(services),
        *account_routes(services),
        *audit_log_routes(services),
        *service_agreement_routes(services),
        *ledger_routes(services),
        *session_routes(services),
        *cdr_routes(services),
        *webhook_routes(services),
        *roaming_routes(services),
        *roaming_operator_routes(services),
        *roaming_provider_routes(services),
        *roaming_booking_routes(services),
        *my_roaming_routes(services),
        *terminal_routes(services),
        *reconciliation_routes(services),
        *meter_key_routes(services),
        *booking_routes(services),
        *performance_routes(services),
        *work_list_routes(services),
        *invoice_routes(services),
        *event_routes(services),
        *payment_routes(services),
        *guest_routes(services),
        *administration_routes(services),
    ]
