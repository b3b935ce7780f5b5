"""Commands and what came of them (OCPI 2.3.0 mod_commands)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import CiString36, DateTime, Int, Url
from chargeplane.ocpi.v2_3_0.enums import CommandResponseType, CommandResultType
from chargeplane.ocpi.v2_3_0.tokens import Token
from chargeplane.ocpi.v2_3_0.types import DisplayText

__all__ = [
    "CancelReservation",
    "CommandResponse",
    "CommandResult",
    "ReserveNow",
    "StartSession",
    "StopSession",
    "UnlockConnector",
]


class CancelReservation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to cancel a reservation."""

    response_url: Url
    reservation_id: CiString36


class CommandResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a command is taken; `timeout` in seconds."""

    result: CommandResponseType
    timeout: Int
    message: tuple[DisplayText, ...] = ()


class CommandResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the station did."""

    result: CommandResultType
    message: tuple[DisplayText, ...] = ()


class ReserveNow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to reserve."""

    response_url: Url
    token: Token
    expiry_date: DateTime
    reservation_id: CiString36
    location_id: CiString36
    evse_uid: CiString36 | None = None
    authorization_reference: CiString36 | None = None


class StartSession(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to start a session."""

    response_url: Url
    token: Token
    location_id: CiString36
    evse_uid: CiString36 | None = None
    connector_id: CiString36 | None = None
    authorization_reference: CiString36 | None = None


class StopSession(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to end a session."""

    response_url: Url
    session_id: CiString36


class UnlockConnector(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to unlock a connector."""

    response_url: Url
    location_id: CiString36
    evse_uid: CiString36
    connector_id: CiString36
