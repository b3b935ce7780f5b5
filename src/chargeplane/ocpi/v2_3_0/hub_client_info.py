"""Who is connected to a hub (OCPI 2.3.0 mod_hub_client_info)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import CiString2, CiString3, DateTime
from chargeplane.ocpi.v2_3_0.enums import ConnectionStatus, Role

__all__ = [
    "ClientInfo",
]


class ClientInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A party that can be reached through a hub."""

    party_id: CiString3
    country_code: CiString2
    role: Role
    status: ConnectionStatus
    last_updated: DateTime
