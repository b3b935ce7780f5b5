"""Who a platform is and how it is reached (OCPI 2.3.0 credentials)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import CiString2, CiString3, CiString5, String64, Url
from chargeplane.ocpi.v2_3_0.enums import Role
from chargeplane.ocpi.v2_3_0.locations import BusinessDetails

__all__ = [
    "Credentials",
    "CredentialsRole",
]


class CredentialsRole(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A party in a role."""

    role: Role
    business_details: BusinessDetails
    party_id: CiString3
    country_code: CiString2


class Credentials(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a platform gives another to be called with."""

    token: String64
    url: Url
    hub_party_id: CiString5 | None = None
    roles: Annotated[tuple[CredentialsRole, ...], Meta(min_length=1)]
