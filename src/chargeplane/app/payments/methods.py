"""Saved ways of paying: the payer gives a card to the provider once, and sessions of their agreement are paid by it.

A card is saved with a payment of a small amount that is held and released at once: so the payer's bank has asked for what it wants to be asked.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from chargeplane.app.api_keys import Caller
from chargeplane.app.payments.payments import NewPayment, Payments
from chargeplane.app.payments.ports import METHOD
from chargeplane.app.payments.providers import Providers
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.queries import payment_methods as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.payment_methods import PaymentMethodView
from chargeplane.store.queries.payments import PaymentView

_KIND: Final = "payment method"
_MOST: Final = 1000
_AMOUNT: Final = Decimal(1)
"""Held and released at once, in major units of any currency."""


class PaymentMethods:
    """Use cases about them."""

    def __init__(self, database: Database, payments: Payments, providers: Providers) -> None:
        self._database = database
        self._payments = payments
        self._providers = providers

    async def page(
        self, caller: Caller, owner: str | None, limit: int, after: Position | None
    ) -> list[PaymentMethodView]:
        """Saved ways of paying, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, owner, limit, after)

    async def save(
        self, caller: Caller, owner: str, *, provider: str | None, currency: str, return_url: str | None
    ) -> PaymentView:
        """A payment by which a way of paying is saved; the payer goes to its `action_url`.

        Args:
            owner: a driver's id, or an agreement's number.
            provider: None: the one for guests.
        Raises:
            InvalidInputError: there is no such provider, or it keeps none.
        """
        name = provider or await self._providers.for_guests(caller.tenant_id)
        sentence = "Must be one that keeps ways of paying"
        if name is None:
            raise InvalidInputError("There is no payment provider.", (("/provider", sentence),))
        try:
            able = (await self._providers.get(caller.tenant_id, name, new=True)).able
        except NotFoundError:
            raise InvalidInputError(f"There is no payment provider '{name}'.", (("/provider", sentence),)) from None
        if not able.saved:
            raise InvalidInputError(f"'{name}' keeps no ways of paying.", (("/provider", sentence),))
        return await self._payments.hold_for(
            caller.tenant_id,
            NewPayment(
                provider=name,
                hold=Money(amount=_AMOUNT, currency=currency),
                purpose=METHOD,
                off_session=False,
                driver_id=owner,
                description="Card for charging; nothing is taken",
                return_url=return_url,
            ),
            by=caller.actor,
        )

    async def export(self, db: Db, tenant_id: TenantId, driver_id: int) -> object:
        """What is kept of a driver."""
        return await queries.page(db, tenant_id, str(driver_id), _MOST, None)

    async def make_default(self, caller: Caller, ident: int, owner: str | None = None) -> PaymentMethodView:
        """Has sessions paid by one from now on.

        Args:
            owner: only theirs.
        Raises:
            NotFoundError: there is none such.
        """
        async with self._database.change() as db:
            found = await queries.one(db, caller.tenant_id, ident, owner)
            if found is None:
                raise NotFoundError(_KIND, str(ident))
            await queries.make_default(db, caller.tenant_id, found.owner, ident)
            after = await queries.one(db, caller.tenant_id, ident)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="make_default",
                kind=_KIND,
                ident=str(ident),
                before={"is_default": found.is_default},
                after={"is_default": True},
            )
        assert after is not None
        return after

    async def remove(self, caller: Caller, ident: int, owner: str | None = None) -> None:
        """Forgets one; what is held by it stays held.

        Args:
            owner: only theirs.
        Raises:
            NotFoundError: there is none such.
        """
        async with self._database.change() as db:
            found = await queries.one(db, caller.tenant_id, ident, owner)
            if found is None:
                raise NotFoundError(_KIND, str(ident))
            await queries.delete(db, caller.tenant_id, found.owner, ident)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind=_KIND,
                ident=str(ident),
                before=found,
            )
