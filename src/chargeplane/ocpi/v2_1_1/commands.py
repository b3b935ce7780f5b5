"""Commands and what came of them (OCPI 2.1.1 mod_commands)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import DateTime, Int, String36, String39, Url
from chargeplane.ocpi.v2_1_1.enums import CommandResponseType
from chargeplane.ocpi.v2_1_1.tokens import Token

__all__ = [
    "CommandResponse",
    "ReserveNow",
    "StartSession",
    "StopSession",
    "UnlockConnector",
]


class CommandResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a command, at once and again as its result."""

    result: CommandResponseType


class ReserveNow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to reserve."""

    response_url: Url
    token: Token
    expiry_date: DateTime
    reservation_id: Int
    location_id: String39
    evse_uid: String39 | None = None


class StartSession(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to start a session."""

    response_url: Url
    token: Token
    location_id: String39
    evse_uid: String39 | None = None


class StopSession(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to end a session."""

    response_url: Url
    session_id: String36


class UnlockConnector(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to unlock a connector."""

    response_url: Url
    location_id: String39
    evse_uid: String39
    connector_id: String36
