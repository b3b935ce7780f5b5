"""Commands and what came of them (OCPI 2.2.1 mod_commands)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import CiString36, DateTime, Url
from chargeplane.ocpi.v2_2_1.tokens import Token
from chargeplane.ocpi.v2_3_0.commands import (
    CancelReservation,
    CommandResponse,
    CommandResult,
    StopSession,
    UnlockConnector,
)

__all__ = [
    "CancelReservation",
    "CommandResponse",
    "CommandResult",
    "ReserveNow",
    "StartSession",
    "StopSession",
    "UnlockConnector",
]


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
