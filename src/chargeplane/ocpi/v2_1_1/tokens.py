"""What drivers identify themselves with (OCPI 2.1.1 mod_tokens)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import DateTime, String2, String36, String39, String64
from chargeplane.ocpi.v2_1_1.enums import AllowedType, TokenType, WhitelistType
from chargeplane.ocpi.v2_1_1.types import DisplayText

__all__ = [
    "AuthorizationInfo",
    "LocationReferences",
    "Token",
]


class LocationReferences(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A location, perhaps narrowed to EVSEs and connectors."""

    location_id: String39
    evse_uids: tuple[String39, ...] = ()
    connector_ids: tuple[String36, ...] = ()


class AuthorizationInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a real-time authorisation."""

    allowed: AllowedType
    location: LocationReferences | None = None
    info: DisplayText | None = None


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a driver identifies with."""

    uid: String36
    type: TokenType
    auth_id: String36
    visual_number: String64 | None = None
    issuer: String64
    valid: bool
    whitelist: WhitelistType
    language: String2 | None = None
    last_updated: DateTime
