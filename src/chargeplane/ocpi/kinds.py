"""What a body is: the objects of OCPI that travel on their own."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The object in a request or in the `data` of an envelope, by its name in OCPI 2.3.0."""

    VERSION = "Version"
    VERSION_DETAILS = "VersionDetails"
    CREDENTIALS = "Credentials"

    LOCATION = "Location"
    EVSE = "EVSE"
    CONNECTOR = "Connector"

    SESSION = "Session"
    CHARGING_PREFERENCES = "ChargingPreferences"
    CHARGING_PREFERENCES_RESPONSE = "ChargingPreferencesResponse"
    """A bare string, not an object (OCPI 2.3.0 mod_sessions)."""
    CDR = "CDR"
    TARIFF = "Tariff"

    TOKEN = "Token"  # noqa: S105
    LOCATION_REFERENCES = "LocationReferences"
    AUTHORIZATION_INFO = "AuthorizationInfo"

    START_SESSION = "StartSession"
    STOP_SESSION = "StopSession"
    RESERVE_NOW = "ReserveNow"
    UNLOCK_CONNECTOR = "UnlockConnector"
    CANCEL_RESERVATION = "CancelReservation"
    COMMAND_RESPONSE = "CommandResponse"
    COMMAND_RESULT = "CommandResult"

    SET_CHARGING_PROFILE = "SetChargingProfile"
    CHARGING_PROFILE_RESPONSE = "ChargingProfileResponse"
    ACTIVE_CHARGING_PROFILE = "ActiveChargingProfile"
    ACTIVE_CHARGING_PROFILE_RESULT = "ActiveChargingProfileResult"
    CHARGING_PROFILE_RESULT = "ChargingProfileResult"
    CLEAR_PROFILE_RESULT = "ClearProfileResult"

    CLIENT_INFO = "ClientInfo"
    INVOICE_RECONCILIATION_RECORD = "InvoiceReconciliationRecord"

    TERMINAL = "Terminal"
    TERMINAL_ACTIVATION = "TerminalActivation"
    """The body of a terminal's activation: the fields of a Terminal that are known so far (OCPI 2.3.0 mod_payments)."""
    FINANCIAL_ADVICE_CONFIRMATION = "FinancialAdviceConfirmation"

    BOOKING_LOCATION = "BookingLocation"
    CALENDAR = "Calendar"
    BOOKING_REQUEST = "BookingRequest"
    BOOKING = "Booking"
