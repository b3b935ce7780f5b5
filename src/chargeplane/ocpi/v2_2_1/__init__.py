"""The objects of OCPI 2.2.1, one module a chapter."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.v2_2_1.cdrs import CDR
from chargeplane.ocpi.v2_2_1.charging_profiles import (
    ActiveChargingProfile,
    ActiveChargingProfileResult,
    ChargingProfileResponse,
    ChargingProfileResult,
    ClearProfileResult,
    SetChargingProfile,
)
from chargeplane.ocpi.v2_2_1.commands import (
    CancelReservation,
    CommandResponse,
    CommandResult,
    ReserveNow,
    StartSession,
    StopSession,
    UnlockConnector,
)
from chargeplane.ocpi.v2_2_1.credentials import Credentials
from chargeplane.ocpi.v2_2_1.enums import ChargingPreferencesResponse
from chargeplane.ocpi.v2_2_1.hub_client_info import ClientInfo
from chargeplane.ocpi.v2_2_1.locations import EVSE, Connector, Location
from chargeplane.ocpi.v2_2_1.sessions import ChargingPreferences, Session
from chargeplane.ocpi.v2_2_1.tariffs import Tariff
from chargeplane.ocpi.v2_2_1.tokens import AuthorizationInfo, LocationReferences, Token
from chargeplane.ocpi.v2_2_1.version_information import Version, VersionDetails

MODELS: Final[dict[Kind, type[Struct] | type[StrEnum]]] = {
    Kind.VERSION: Version,
    Kind.VERSION_DETAILS: VersionDetails,
    Kind.CREDENTIALS: Credentials,
    Kind.LOCATION: Location,
    Kind.EVSE: EVSE,
    Kind.CONNECTOR: Connector,
    Kind.SESSION: Session,
    Kind.CHARGING_PREFERENCES: ChargingPreferences,
    Kind.CHARGING_PREFERENCES_RESPONSE: ChargingPreferencesResponse,
    Kind.CDR: CDR,
    Kind.TARIFF: Tariff,
    Kind.TOKEN: Token,
    Kind.LOCATION_REFERENCES: LocationReferences,
    Kind.AUTHORIZATION_INFO: AuthorizationInfo,
    Kind.START_SESSION: StartSession,
    Kind.STOP_SESSION: StopSession,
    Kind.RESERVE_NOW: ReserveNow,
    Kind.UNLOCK_CONNECTOR: UnlockConnector,
    Kind.CANCEL_RESERVATION: CancelReservation,
    Kind.COMMAND_RESPONSE: CommandResponse,
    Kind.COMMAND_RESULT: CommandResult,
    Kind.SET_CHARGING_PROFILE: SetChargingProfile,
    Kind.CHARGING_PROFILE_RESPONSE: ChargingProfileResponse,
    Kind.ACTIVE_CHARGING_PROFILE: ActiveChargingProfile,
    Kind.ACTIVE_CHARGING_PROFILE_RESULT: ActiveChargingProfileResult,
    Kind.CHARGING_PROFILE_RESULT: ChargingProfileResult,
    Kind.CLEAR_PROFILE_RESULT: ClearProfileResult,
    Kind.CLIENT_INFO: ClientInfo,
}
"""The type of each kind of body."""
