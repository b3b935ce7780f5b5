"""What follows from changes of locations, EVSEs and tariffs: facts in the transaction of the change."""

from __future__ import annotations

from typing import Final

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries import facts
from chargeplane.store.queries.paging import Db

FACTS: Final = (
    "location.created",
    "location.updated",
    "location.deleted",
    "evse.created",
    "evse.updated",
    "evse.removed",
    "tariff.created",
    "tariff.updated",
    "tariff.retired",
    "tariff.deleted",
)
"""Topics; the payload is {"id": ...}: the id of the location or tariff, the uid of the EVSE. What it looks like now is read."""


async def tell(db: Db, tenant_id: TenantId, topic: str, ident: str) -> None:
    """Writes a fact down within the caller's transaction."""
    assert topic in FACTS, topic
    await facts.tell(db, tenant_id, topic, f"{topic.partition('.')[0]}:{ident.lower()}", {"id": ident})
