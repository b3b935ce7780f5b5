"""What providers tell by themselves: kept first, answered, and applied afterwards, once and in any order.

What is told is joined to what is known of the payment, and the provider is asked how it stands: so an event that is late, doubled, lost or
overtaken changes nothing that the next look would not set right.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from chargeplane.app.house import utc_now
from chargeplane.app.payments.carrying import Carrying
from chargeplane.app.payments.providers import Providers
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.text import made_storable
from chargeplane.store.database import Database
from chargeplane.store.queries import payment_webhooks as queries
from chargeplane.store.queries import payments

_UNKNOWN_FOR: Final = timedelta(minutes=10)
"""So long an event waits for the payment it is about: the provider may be faster than our note of its answer."""

_MOST_EVENTS: Final = 100
_PAYLOAD: Final = 64 * 1024


class Webhooks:
    """Takes and applies them."""

    def __init__(self, database: Database, providers: Providers, carrying: Carrying) -> None:
        self._database = database
        self._providers = providers
        self._carrying = carrying

    async def take(self, token: str, headers: Mapping[str, str], body: bytes) -> list[int]:
        """Keeps what came to a provider's address; ids of what is new.

        Raises:
            NotFoundError: no provider has this address.
            BadWebhookError: it is not from the provider.
        """
        found = await self._providers.by_webhook(token)
        if found is None:
            raise NotFoundError("address", "of a payment provider")
        stored, provider = found
        told = provider.parse_webhook(headers, body, utc_now())[:_MOST_EVENTS]
        kept: list[int] = []
        async with self._database.change() as db:
            for one in told:
                ident = await queries.keep(
                    db,
                    stored.tenant_id,
                    stored.name,
                    made_storable(one.event_id, 200),
                    made_storable(one.kind, 100),
                    None if one.ref is None else made_storable(one.ref, 200),
                    made_storable(one.payload, _PAYLOAD),
                    one.seen,
                )
                if ident is not None:
                    kept.append(ident)
        return kept

    async def apply(self, ident: int) -> None:
        """Applies one that is kept, where nobody has or does, and carries its payment on."""
        async with self._database.change() as db:
            found = await queries.locked(db, ident)
            if found is None:
                return
            payment_id = (
                None if found.ref is None else await payments.by_ref(db, found.tenant_id, found.provider, found.ref)
            )
            if payment_id is None:
                if found.ref is None or utc_now() - found.received_at > _UNKNOWN_FOR:
                    await queries.applied(db, ident, None)
                return
            if found.seen is not None:
                await self._carrying.told(db, payment_id, found.seen)
            await queries.applied(db, ident, payment_id)
        await self._carrying.drive(payment_id, look=True)

    async def apply_waiting(self) -> None:
        """Applies all that wait."""
        async with self._database.read() as db:
            waiting = await queries.waiting(db)
        for ident in waiting:
            await self.apply(ident)
