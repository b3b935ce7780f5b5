"""What agreements ask others: whose id tokens are, what sessions cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import MoneyView
from chargeplane.store.queries.paging import Db


class Holder(Struct, frozen=True, kw_only=True):
    """Whose an id token is."""

    driver_id: str
    user_groups: tuple[str, ...] = ()


class Drivers(Protocol):
    """Who has which id tokens."""

    async def holders(self, db: Db, tenant_id: TenantId, id_token_ids: Sequence[int]) -> dict[int, Holder]:
        """Whose id tokens are, by our id of the token; those of nobody are absent."""
        ...

    async def id_tokens(
        self, db: Db, tenant_id: TenantId, driver_ids: Sequence[str], user_groups: Sequence[str]
    ) -> list[int]:
        """Our ids of the tokens of drivers, and of the members of groups of users; both without case."""
        ...


class NoDrivers:
    """Id tokens belong to nobody."""

    async def holders(self, db: Db, tenant_id: TenantId, id_token_ids: Sequence[int]) -> dict[int, Holder]:
        """None."""
        return {}

    async def id_tokens(
        self, db: Db, tenant_id: TenantId, driver_ids: Sequence[str], user_groups: Sequence[str]
    ) -> list[int]:
        """None."""
        return []


class Charged(Struct, frozen=True, kw_only=True):
    """What the sessions under an agreement cost, with and without tax."""

    sessions: int
    excl_tax: MoneyView
    incl_tax: MoneyView


class Charges(Protocol):
    """What sessions cost."""

    async def charged(
        self, db: Db, tenant_id: TenantId, agreement_id: int, since: datetime, until: datetime
    ) -> list[Charged]:
        """The sums by currency of what was rated under an agreement."""
        ...
