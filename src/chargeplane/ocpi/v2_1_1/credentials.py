"""Who a platform is and how it is reached (OCPI 2.1.1 credentials)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import String2, String3, String64, Url
from chargeplane.ocpi.v2_1_1.locations import BusinessDetails

__all__ = [
    "Credentials",
]


class Credentials(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a platform gives another to be called with."""

    token: String64
    url: Url
    business_details: BusinessDetails
    party_id: String3
    country_code: String2
