"""What bookings ask of agreements and people."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from msgspec import Struct

from chargeplane.domain.agreements.items import Item
from chargeplane.domain.bookings.terms import AgreedTerms
from chargeplane.kernel.ids import TenantId


class AskAgreement(Struct, frozen=True, kw_only=True):
    """Whose agreement, where and when."""

    id_token: str | None
    id_token_type: str | None
    driver_id: str | None
    evse_uid: str
    location_id: str
    station_id: str | None
    country: str
    at: datetime


class Agreed(Struct, frozen=True, kw_only=True):
    """What an agreement says.

    Args:
        tariff_id, tariff_version: that prices sessions there; None: the connector's, the newest.
        currency, items: by which a price is less than the tariff says.
    """

    terms: AgreedTerms
    tariff_id: str | None = None
    tariff_version: int | None = None
    currency: str | None = None
    items: tuple[Item, ...] = ()


class Agreements(Protocol):
    """Knows which agreement applies."""

    async def agreed(self, tenant_id: TenantId, ask: AskAgreement) -> Agreed | None:
        """What the agreement that applies says; None where none does."""
        ...


class NoAgreements:
    """Nobody has an agreement."""

    async def agreed(self, tenant_id: TenantId, ask: AskAgreement) -> Agreed | None:
        """None."""
        return None


class Drivers(Protocol):
    """Whose id tokens are."""

    async def driver_of_token(self, tenant_id: TenantId, kind: str | None, id_token: str) -> str | None:
        """None where it is nobody's."""
        ...


class NoDrivers:
    """Id tokens are nobody's."""

    async def driver_of_token(self, tenant_id: TenantId, kind: str | None, id_token: str) -> str | None:
        """None."""
        return None
