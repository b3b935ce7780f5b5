"""The providers of the house: `wallet` (prepaid), `invoice` (paid later, up to a credit limit) and `free`.

What they know of a payment is in tables of their own, changed in transactions of their own, as if they were somebody else: payments ask them,
write what they answered, and ask again after a crash, as with any provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from chargeplane.app.payments.ports import (
    BadWebhookError,
    Begun,
    DeclinedError,
    Factory,
    Order,
    ProviderSettings,
    Told,
    UnknownPaymentError,
)
from chargeplane.domain.payments.states import NOTHING, Ended, Seen
from chargeplane.domain.payments.steps import Capabilities
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.queries import payment_accounts as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.payment_accounts import HousePayment

ACCOUNT_KINDS: Mapping[str, str] = {"wallet": "wallet", "invoice": "credit"}
"""Which kind of account a provider of the house takes from; `free` takes from none."""


class HouseProvider:
    """One of them, for one tenant; a `Provider`.

    Args:
        kind: wallet, invoice or free.
    """

    able = Capabilities(off_session=True, increment=True)

    def __init__(self, database: Database, tenant_id: TenantId, kind: str) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._account_kind = ACCOUNT_KINDS.get(kind)
        self._kind = kind

    async def start(self, order: Order) -> Begun:
        """Notes the payment.

        Raises:
            DeclinedError: it names no account of the kind and currency.
        """
        ref = f"{self._kind}_{order.key}"
        async with self._database.change() as db:
            if self._account_kind is not None:
                account = None if order.account_id is None else await queries.one(db, self._tenant_id, order.account_id)
                if account is None or account.kind != self._account_kind:
                    raise DeclinedError("no_account", f"The payment names no {self._account_kind} account.")
                if account.balance.currency != order.hold.currency:
                    raise DeclinedError(
                        "wrong_currency",
                        f"The account is in {account.balance.currency}, the payment in {order.hold.currency}.",
                    )
            made = await queries.house_payment(
                db,
                self._tenant_id,
                ref,
                order.account_id if self._account_kind else None,
                order.hold.amount,
                NOTHING,
                None,
            )
        return Begun(ref=ref, seen=_seen(made))

    async def authorize(self, ref: str, amount: Money, key: str) -> Seen:
        """Holds the amount, where there is as much."""
        async with self._database.change() as db:
            known = await self._locked(db, ref)
            if known.ended is None and known.authorized <= 0:
                await self._hold(db, known, key, amount.amount)
                await queries.change(db, ref, authorized=amount.amount)
            return await self._now(db, ref)

    async def increment(self, ref: str, total: Money, key: str) -> Seen:
        """Raises the hold, where there is as much."""
        async with self._database.change() as db:
            known = await self._locked(db, ref)
            if known.ended is not None or known.captured > 0:
                raise DeclinedError("not_held", "The payment holds nothing any more.")
            if total.amount > known.authorized:
                await self._hold(db, known, key, total.amount - known.authorized)
                await queries.change(db, ref, authorized=total.amount)
            return await self._now(db, ref)

    async def capture(self, ref: str, amount: Money, key: str) -> Seen:
        """Books the amount and releases the rest."""
        async with self._database.change() as db:
            known = await self._locked(db, ref)
            if known.captured <= 0:
                if known.ended is not None or amount.amount > known.authorized:
                    raise DeclinedError("not_held", "The payment does not hold as much.")
                if known.account_id is not None:
                    await self._move(db, known, key, "capture", balance=-amount.amount, held=-known.authorized)
                await queries.change(db, ref, captured=amount.amount)
            return await self._now(db, ref)

    async def void(self, ref: str, key: str) -> Seen:
        """Releases the hold."""
        async with self._database.change() as db:
            known = await self._locked(db, ref)
            if known.captured > 0:
                raise DeclinedError("captured", "The payment was captured; it can be refunded.")
            if known.ended is None:
                if known.account_id is not None and known.authorized > 0:
                    await self._move(db, known, key, "release", held=-known.authorized)
                await queries.change(db, ref, ended=Ended.VOIDED.value)
            return await self._now(db, ref)

    async def refund(self, ref: str, amount: Money, key: str) -> Seen:
        """Gives back."""
        async with self._database.change() as db:
            known = await self._locked(db, ref)
            if key not in known.refunds:
                if amount.amount > known.captured - known.refunded:
                    raise DeclinedError("too_much", "More than was captured cannot be given back.")
                if known.account_id is not None:
                    await self._move(db, known, key, "refund", balance=amount.amount)
                await queries.change(db, ref, refunded=known.refunded + amount.amount, refunds=[*known.refunds, key])
            return await self._now(db, ref)

    async def fetch(self, ref: str, currency: str) -> Seen:
        """How it stands."""
        async with self._database.read() as db:
            found = await queries.looked_up(db, self._tenant_id, ref)
        if found is None:
            raise UnknownPaymentError(f"There is no payment '{ref}'.")
        return _seen(found)

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Told]:
        """Nobody tells anything.

        Raises:
            BadWebhookError: always.
        """
        raise BadWebhookError("This provider tells nothing by itself.")

    async def close(self) -> None:
        """Nothing to end."""

    async def _locked(self, db: Db, ref: str) -> HousePayment:
        found = await queries.locked(db, self._tenant_id, ref)
        if found is None:
            raise UnknownPaymentError(f"There is no payment '{ref}'.")
        return found

    async def _now(self, db: Db, ref: str) -> Seen:
        return _seen(await self._locked(db, ref))

    async def _hold(self, db: Db, known: HousePayment, key: str, amount: Decimal) -> None:
        if known.account_id is None:
            return
        if not await self._move(db, known, key, "hold", held=amount):
            raise DeclinedError("insufficient_funds", "There is not as much on the account.")

    async def _move(
        self,
        db: Db,
        known: HousePayment,
        key: str,
        kind: str,
        *,
        balance: Decimal = NOTHING,
        held: Decimal = NOTHING,
    ) -> bool:
        assert known.account_id is not None
        payment_id = await db.fetchval(
            "SELECT id FROM payment WHERE tenant_id = $1 AND ref = $2", self._tenant_id, known.ref
        )
        return await queries.move(
            db,
            self._tenant_id,
            known.account_id,
            key=key,
            kind=kind,
            balance=balance,
            held=held,
            payment_id=payment_id,
            by=f"payments: {self._kind}",
        )


def house_factory(database: Database, kind: str) -> Factory:
    """A factory of providers of the house."""

    def make(settings: ProviderSettings) -> HouseProvider:
        return HouseProvider(database, settings.tenant_id, kind)

    return make


def _seen(known: HousePayment) -> Seen:
    return Seen(
        authorized=known.authorized,
        captured=known.captured,
        refunded=known.refunded,
        refunds=frozenset(known.refunds),
        ended=None if known.ended is None else Ended(known.ended),
        expires_at=known.expires_at,
    )
