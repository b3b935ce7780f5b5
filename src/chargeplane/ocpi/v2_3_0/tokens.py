"""What drivers identify themselves with (OCPI 2.3.0 mod_tokens)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import CiString2, CiString3, CiString36, DateTime, String2, String64
from chargeplane.ocpi.v2_3_0.enums import AllowedType, AnyTokenType, ProfileType, WhitelistType
from chargeplane.ocpi.v2_3_0.types import DisplayText

__all__ = [
    "AuthorizationInfo",
    "EnergyContract",
    "LocationReferences",
    "Token",
]


class EnergyContract(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A driver's own energy supply."""

    supplier_name: String64
    contract_id: String64 | None = None


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a driver identifies with."""

    country_code: CiString2
    party_id: CiString3
    uid: CiString36
    type: AnyTokenType
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


class LocationReferences(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A location, perhaps narrowed to EVSEs."""

    location_id: CiString36
    evse_uids: tuple[CiString36, ...] = ()


class AuthorizationInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a real-time authorisation."""

    allowed: AllowedType
    token: Token
    location: LocationReferences | None = None
    authorization_reference: CiString36 | None = None
    info: DisplayText | None = None
