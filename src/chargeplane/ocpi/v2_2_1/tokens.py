"""What drivers identify themselves with (OCPI 2.2.1 mod_tokens)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import CiString2, CiString3, CiString36, DateTime, String2, String64
from chargeplane.ocpi.v2_2_1.enums import AllowedType, ProfileType, TokenType, WhitelistType
from chargeplane.ocpi.v2_2_1.types import DisplayText
from chargeplane.ocpi.v2_3_0.tokens import EnergyContract, LocationReferences

__all__ = [
    "AuthorizationInfo",
    "EnergyContract",
    "LocationReferences",
    "Token",
]


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a driver identifies with."""

    country_code: CiString2
    party_id: CiString3
    uid: CiString36
    type: TokenType
    contract_id: CiString36
    visual_number: String64 | None = None
    issuer: String64
    group_id: CiString36 | None = None
    valid: bool
    whitelist: WhitelistType
    language: String2 | None = None
    default_profile_type: ProfileType | None = None
    energy_contract: EnergyContract | None = None
    last_updated: DateTime


class AuthorizationInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a real-time authorisation."""

    allowed: AllowedType
    token: Token
    location: LocationReferences | None = None
    authorization_reference: CiString36 | None = None
    info: DisplayText | None = None
