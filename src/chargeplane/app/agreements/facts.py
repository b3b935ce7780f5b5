"""What is told of agreements: facts in the outbox, written with the change they follow from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.domain.agreements.clock import Happened, Happening
from chargeplane.domain.agreements.model import Agreement, PartyRole
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries import agreements as queries
from chargeplane.store.queries.paging import Db

NOUNS: Final = (
    "created",
    "updated",
    "deleted",
    "proposed",
    "accepted",
    "rejected",
    "withdrawn",
    "canceled",
    "activated",
    "suspended",
    "resumed",
    "renewed",
    "amendment_proposed",
    "amendment_accepted",
    "amendment_rejected",
    "amendment_withdrawn",
    "amended",
    "ending",
    "reinstated",
    "ended",
    "closed",
)

TOPICS: Final = tuple(f"agreement.{noun}" for noun in NOUNS)
"""Topics of the outbox, and types of the live events alike."""


class AgreementFact(Struct, frozen=True, kw_only=True):
    """What happened to an agreement.

    Args:
        at: when; of what the clock did, the moment it belongs to.
        last: of an end: the consumer has no other agreement, so the final invoice follows; else null.
    """

    agreement_id: str
    number: str
    kind: str
    status: str
    version: int
    at: datetime
    reason: str | None = None
    consumer_id: str | None = None
    last: bool | None = None


async def tell(db: Db, tenant_id: TenantId, agreement: Agreement, noun: str, at: datetime) -> None:
    """Writes one fact within the caller's change."""
    consumer = next((party for party in agreement.parties if party.role is PartyRole.CONSUMER), None)
    last = None
    if noun == Happening.ENDED.value:
        party_ids = [] if consumer is None or consumer.id is None else [consumer.id.casefold()]
        last = not await queries.others_of_consumer(db, tenant_id, agreement.id, party_ids, at)
    fact = AgreementFact(
        agreement_id=str(agreement.id),
        number=agreement.number,
        kind=agreement.kind.value,
        status=agreement.state.value,
        version=agreement.version,
        at=at,
        reason=agreement.state_reason,
        consumer_id=None if consumer is None else consumer.id,
        last=last,
    )
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        tenant_id,
        f"agreement.{noun}",
        f"agreement:{agreement.id}",
        msgspec.json.encode(fact).decode(),
    )


async def tell_clock(db: Db, tenant_id: TenantId, agreement: Agreement, happened: Iterable[Happened]) -> None:
    """Writes what the clock did."""
    for one in happened:
        await tell(db, tenant_id, agreement, one.what.value, one.at)
