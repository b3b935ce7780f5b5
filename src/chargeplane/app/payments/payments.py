"""Payments: begun, settled, released, refunded. What they are done with is written down here and carried out by `carrying`.

For the rest of the house: `hold_for` before a session, `attach` when it has begun, `settle` with its final amount, `release` where it never was.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.house import utc_now
from chargeplane.app.payments.carrying import Carrying
from chargeplane.app.payments.providers import Providers
from chargeplane.domain.payments.states import NOTHING, OVER, Goal, Payment, PaymentState, refundable
from chargeplane.domain.payments.steps import OperationKind, OperationState
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.store.database import Database
from chargeplane.store.queries import payment_accounts as accounts
from chargeplane.store.queries import payment_webhooks
from chargeplane.store.queries import payments as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.payment_webhooks import WebhookView
from chargeplane.store.queries.payments import OperationView, PaymentFilter, PaymentView, StoredPayment

ACTION_TIME: Final = timedelta(minutes=20)
"""How long a payer has for the provider's page."""

_GRACE: Final = timedelta(seconds=3)
"""Who writes down what is to be done does it at once; the reconciliation leaves it to them for so long."""

MOST: Final = Decimal(1_000_000)
"""More is no payment for charging."""


class PaymentDetails(Struct, frozen=True, kw_only=True):
    """A payment with all that was done with it.

    Args:
        refundable: what may still be given back.
        operations: what the provider was asked for, in order.
        webhooks: what it told by itself, in order of arrival.
    """

    payment: PaymentView
    refundable: MoneyView
    operations: list[OperationView]
    webhooks: list[WebhookView]


class NewPayment(Struct, frozen=True, kw_only=True):
    """A payment that is wanted.

    Args:
        hold: what is to be held.
        purpose: session, guest_session, top_up, method.
        off_session: the payer is not there: the provider authorises at once or not at all.
        capture: taken as soon as it is held.
        saved_method: by which it is paid without the payer.
        for_token: token_key of an id token: its next session is paid by it.
        action_time: how long the payer has for the provider's page; with `for_token`, how long it waits for the session.
    """

    provider: str
    hold: Money
    purpose: str = "session"
    off_session: bool = True
    capture: bool = False
    session_id: int | None = None
    driver_id: str | None = None
    account_id: int | None = None
    description: str | None = None
    return_url: str | None = None
    saved_method: str | None = None
    for_token: str | None = None
    action_time: timedelta = ACTION_TIME


class Payments:
    """Use cases about payments."""

    def __init__(self, database: Database, providers: Providers, carrying: Carrying) -> None:
        self._database = database
        self._providers = providers
        self._carrying = carrying

    # -- for the house -------------------------------------------------------------------------------------------------

    async def hold_for(self, tenant_id: TenantId, wanted: NewPayment, *, by: str) -> PaymentView:
        """Begins a payment and holds its amount, as far as the provider answers at once: see `state` of what comes back.

        Raises:
            NotFoundError: the tenant has no such provider.
            ConflictError: it takes no new payments.
            InvalidInputError: the amount is none.
        """
        async with self._database.change() as db:
            ident = await self.begin(db, tenant_id, wanted, by=by)
        await self._carrying.drive(ident)
        return await self._view(ident)

    async def begin(self, db: Db, tenant_id: TenantId, wanted: NewPayment, *, by: str) -> int:
        """Writes a payment down within the caller's change; its id. `drive` carries it on, or the reconciliation does."""
        amount = wanted.hold.rounded().amount
        if not amount.is_finite() or amount <= 0 or amount > MOST or amount != wanted.hold.amount:
            raise InvalidInputError(
                "The amount is none that can be held.",
                (("/amount", f"Must be more than 0 and at most {MOST}, in whole minor units"),),
            )
        await self._providers.get(tenant_id, wanted.provider, new=True)
        now = utc_now()
        ident = await queries.insert(
            db,
            tenant_id,
            provider=wanted.provider,
            kind=await self._providers.kind_of(tenant_id, wanted.provider),
            purpose=wanted.purpose,
            key=secrets.token_hex(12),
            currency=wanted.hold.currency,
            payment=Payment(
                hold=amount,
                goal=Goal.CAPTURE if wanted.capture else Goal.HOLD,
                to_capture=amount if wanted.capture else None,
            ),
            off_session=wanted.off_session,
            return_url=wanted.return_url,
            session_id=wanted.session_id,
            driver_id=wanted.driver_id,
            account_id=wanted.account_id,
            description=wanted.description,
            action_until=now + wanted.action_time,
            next_at=now + _GRACE,
            saved_method=wanted.saved_method,
            for_token=wanted.for_token,
            by=by,
        )
        assert ident is not None  # it has no reference that could be taken
        return ident

    async def kind_of(self, tenant_id: TenantId, provider: str) -> str:
        """The kind of a tenant's provider.

        Raises:
            NotFoundError: there is none of this name.
        """
        return await self._providers.kind_of(tenant_id, provider)

    async def drive(self, ident: int, *, look: bool = False) -> None:
        """Carries a payment on now.

        Args:
            look: asks the provider how it stands.
        """
        await self._carrying.drive(ident, look=look)

    async def attach(self, ident: int, session_id: int) -> None:
        """Notes which session is paid."""
        async with self._database.change() as db:
            await queries.touch(db, ident, session_id=session_id)

    async def of_session(self, tenant_id: TenantId, session_id: int) -> PaymentView | None:
        """The payment of a session; None where it has none."""
        async with self._database.read() as db:
            ident = await queries.of_session(db, tenant_id, session_id)
            return None if ident is None else await queries.view(db, ident)

    async def settle(self, tenant_id: TenantId, session_id: int, amount: Money) -> PaymentView | None:
        """Takes what a session costs in the end: of the hold, as much as there is; the rest of it is released. Called again with less, the
        difference is given back; with more, what is missing is told to a person. None where the session has no payment.

        Raises:
            InvalidInputError: the amount is in another currency, or below zero.
        """
        async with self._database.read() as db:
            ident = await queries.of_session(db, tenant_id, session_id)
        return None if ident is None else await self.settle_payment(ident, amount)

    async def settle_payment(self, ident: int, amount: Money) -> PaymentView:
        """The same for a payment by our id."""
        async with self._database.change() as db:
            await self.settle_within(db, ident, amount)
        await self._carrying.drive(ident)
        return await self._view(ident)

    async def settle_within(self, db: Db, ident: int, amount: Money) -> None:
        """The same within the caller's change; the payment is due then."""
        stored = await self._locked(db, ident)
        if amount.currency != stored.currency:
            raise InvalidInputError(f"The payment is in {stored.currency}, the amount in {amount.currency}.")
        total = amount.rounded().amount
        if total < 0:
            raise InvalidInputError("An amount below zero cannot be taken.")
        payment = stored.payment
        if payment.goal is Goal.VOID or payment.ended is not None:
            if total > 0 and payment.captured <= 0:
                await self._save(db, stored, replace(payment, goal=Goal.CAPTURE, to_capture=total))
            return
        if not payment.capture_begun and payment.captured <= 0:
            await self._save(db, stored, replace(payment, goal=Goal.CAPTURE, to_capture=total))
            return
        operations = await queries.operations(db, ident)
        taken = payment.captured or next(
            (one.amount for one in reversed(operations) if one.kind is OperationKind.CAPTURE), NOTHING
        )
        before = taken if payment.to_capture is None else min(taken, payment.to_capture)
        left = refundable(payment, await self._under_way(db, stored)) if payment.captured > 0 else before
        if total < before and left > 0:
            await self._want_refund(db, stored, min(before - total, left), "the session costs less", "payments")
        if total != payment.to_capture:
            await self._save(db, stored, replace(payment, to_capture=total))

    async def release(self, ident: int, why: str) -> PaymentView:
        """Releases the hold of a payment of which nothing is to be taken."""
        async with self._database.change() as db:
            await self.release_within(db, ident, why)
        await self._carrying.drive(ident)
        return await self._view(ident)

    async def release_within(self, db: Db, ident: int, why: str) -> None:
        """The same within the caller's change; the payment is due then."""
        stored = await self._locked(db, ident)
        payment = stored.payment
        if payment.state in OVER or payment.capture_begun or payment.goal is Goal.VOID:
            return
        await self._save(db, stored, replace(payment, goal=Goal.VOID, error=payment.error or why))

    async def raise_hold(self, ident: int, total: Money) -> PaymentView:
        """Has the provider hold more, where it can: see `authorized` of what comes back."""
        async with self._database.change() as db:
            stored = await self._locked(db, ident)
            payment = stored.payment
            if payment.state is PaymentState.AUTHORIZED and total.amount > payment.hold:
                await self._save(db, stored, replace(payment, hold=total.amount))
        await self._carrying.drive(ident)
        return await self._view(ident)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, wanted: PaymentFilter, limit: int, after: Position | None
    ) -> Sequence[PaymentView]:
        """Payments, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> PaymentDetails:
        """A payment by our id.

        Raises:
            NotFoundError: the tenant has no such payment.
        """
        async with self._database.read() as db:
            view = await queries.view(db, ident, caller.tenant_id)
            stored = await queries.stored(db, ident)
            if view is None or stored is None:
                raise NotFoundError("payment", str(ident))
            operations = await queries.operation_views(db, ident, stored.currency)
            webhooks = await payment_webhooks.views(db, ident)
            left = refundable(stored.payment, await self._under_way(db, stored))
        return PaymentDetails(
            payment=view,
            refundable=Money(amount=left, currency=stored.currency).view(),
            operations=operations,
            webhooks=webhooks,
        )

    async def refund(self, caller: Caller, ident: int, amount: Money | None, reason: str) -> PaymentDetails:
        """Gives back an amount, or all that is left.

        Raises:
            NotFoundError: the tenant has no such payment.
            ConflictError: nothing was captured, or it is given back or disputed already.
            InvalidInputError: more than is left, or another currency.
        """
        async with self._database.change() as db:
            stored = await self._of(db, caller, ident)
            left = refundable(stored.payment, await self._under_way(db, stored))
            if left <= 0:
                raise ConflictError(
                    f"Nothing of payment {ident} can be given back: it is {stored.payment.state.value}. What was captured and not"
                    " refunded or disputed can be; what is only held is released with void."
                )
            if amount is not None and amount.currency != stored.currency:
                raise InvalidInputError(
                    f"The payment is in {stored.currency}.", (("/amount/currency", f"Must be {stored.currency}"),)
                )
            wanted = left if amount is None else amount.amount
            if not wanted.is_finite() or wanted <= 0 or wanted > left or wanted != _rounded(wanted, stored.currency):
                raise InvalidInputError(
                    f"At most {left} {stored.currency} can be given back.",
                    (("/amount/amount", f"Must be more than 0 and at most {left}, in whole minor units"),),
                )
            await self._want_refund(db, stored, wanted, reason, caller.actor)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="refund",
                kind="payment",
                ident=str(ident),
                reason=reason,
                before={"captured": stored.payment.captured, "refunded": stored.payment.refunded},
                after={"refund": wanted},
            )
        await self._carrying.drive(ident)
        return await self.one(caller, ident)

    async def void(self, caller: Caller, ident: int, reason: str) -> PaymentDetails:
        """Releases what is held.

        Raises:
            NotFoundError: the tenant has no such payment.
            ConflictError: nothing is held.
        """
        async with self._database.change() as db:
            stored = await self._of(db, caller, ident)
            payment = stored.payment
            if payment.state in OVER or payment.capture_begun:
                allowed = "it can be refunded" if payment.captured > 0 else "nothing is left to do"
                raise ConflictError(
                    f"Payment {ident} is {payment.state.value} and holds nothing to release; {allowed}."
                )
            await self._save(db, stored, replace(payment, goal=Goal.VOID, to_capture=None))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="void",
                kind="payment",
                ident=str(ident),
                reason=reason,
                before={"state": payment.state.value, "authorized": payment.authorized},
                after={"goal": Goal.VOID.value},
            )
        await self._carrying.drive(ident)
        return await self.one(caller, ident)

    async def retry(self, caller: Caller, ident: int) -> PaymentDetails:
        """Asks the provider how the payment stands, and anew for what it refused.

        Raises:
            NotFoundError: the tenant has no such payment.
        """
        async with self._database.change() as db:
            stored = await self._of(db, caller, ident)
            refused = await queries.supersede(db, ident)
            await queries.touch(db, ident, next_at=utc_now() + _GRACE, attempts=0)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="retry",
                kind="payment",
                ident=str(ident),
                after={"asked_again": refused},
            )
        await self._carrying.drive(ident, look=stored.payment.ref is not None)
        return await self.one(caller, ident)

    # -- within --------------------------------------------------------------------------------------------------------

    async def _view(self, ident: int) -> PaymentView:
        async with self._database.read() as db:
            found = await queries.view(db, ident)
        if found is None:
            raise NotFoundError("payment", str(ident))
        return found

    async def _locked(self, db: Db, ident: int) -> StoredPayment:
        stored = await queries.locked(db, ident)
        if stored is None:
            raise NotFoundError("payment", str(ident))
        return stored

    async def _of(self, db: Db, caller: Caller, ident: int) -> StoredPayment:
        stored = await queries.locked(db, ident)
        if stored is None or stored.tenant_id != caller.tenant_id:
            raise NotFoundError("payment", str(ident))
        return stored

    async def _save(self, db: Db, stored: StoredPayment, payment: Payment) -> None:
        await self._carrying.write(db, stored, payment, next_at=utc_now() + _GRACE)

    async def _under_way(self, db: Db, stored: StoredPayment) -> Decimal:
        operations = await queries.operations(db, stored.id)
        return sum(
            (
                one.amount
                for one in operations
                if one.kind is OperationKind.REFUND and one.state in (OperationState.WANTED, OperationState.BEGUN)
            ),
            NOTHING,
        )

    async def _want_refund(self, db: Db, stored: StoredPayment, amount: Decimal, reason: str, by: str) -> None:
        operations = await queries.operations(db, stored.id)
        key = f"{stored.key}-refund-{len(operations) + 1}"
        if stored.purpose == "top_up" and stored.account_id is not None:
            taken = await accounts.move(
                db,
                stored.tenant_id,
                stored.account_id,
                key=key,
                kind="top_up_refund",
                balance=-amount,
                payment_id=stored.id,
                by=by,
                reason=reason,
            )
            if not taken:
                raise ConflictError("The wallet does not have as much left: what was spent cannot be given back.")
        await queries.add_operation(
            db, stored.tenant_id, stored.id, OperationKind.REFUND, amount, key, OperationState.WANTED, by, reason
        )
        await queries.touch(db, stored.id, next_at=utc_now() + _GRACE)


def _rounded(amount: Decimal, currency: str) -> Decimal:
    return Money(amount=amount, currency=currency).rounded().amount
