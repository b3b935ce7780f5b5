"""The objects of OCPI 2.1.1, one module a chapter."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.v2_1_1.cdrs import CDR
from chargeplane.ocpi.v2_1_1.commands import CommandResponse, ReserveNow, StartSession, StopSession, UnlockConnector
from chargeplane.ocpi.v2_1_1.credentials import Credentials
from chargeplane.ocpi.v2_1_1.locations import EVSE, Connector, Location
from chargeplane.ocpi.v2_1_1.sessions import Session
from chargeplane.ocpi.v2_1_1.tariffs import Tariff
from chargeplane.ocpi.v2_1_1.tokens import AuthorizationInfo, LocationReferences, Token
from chargeplane.ocpi.v2_1_1.version_information import Version, VersionDetails

MODELS: Final[dict[Kind, type[Struct] | type[StrEnum]]] = {
    Kind.VERSION: Version,
    Kind.VERSION_DETAILS: VersionDetails,
    Kind.CREDENTIALS: Credentials,
    Kind.LOCATION: Location,
    Kind.EVSE: EVSE,
    Kind.CONNECTOR: Connector,
    Kind.SESSION: Session,
    Kind.CDR: CDR,
    Kind.TARIFF: Tariff,
    Kind.TOKEN: Token,
    Kind.LOCATION_REFERENCES: LocationReferences,
    Kind.AUTHORIZATION_INFO: AuthorizationInfo,
    Kind.START_SESSION: StartSession,
    Kind.STOP_SESSION: StopSession,
    Kind.RESERVE_NOW: ReserveNow,
    Kind.UNLOCK_CONNECTOR: UnlockConnector,
    Kind.COMMAND_RESPONSE: CommandResponse,
    Kind.COMMAND_RESULT: CommandResponse,  # one object both ways (OCPI 2.1.1 mod_commands)
}
"""The type of each kind of body."""
