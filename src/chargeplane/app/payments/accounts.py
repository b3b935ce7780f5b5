"""Wallets and credit accounts, as operators and the rest of the house use them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.payments.payments import MOST, NewPayment, Payments
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.queries import payment_accounts as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.payment_accounts import AccountView, EntryView
from chargeplane.store.queries.payments import PaymentView


class NewAccount(Struct, frozen=True, kw_only=True):
    """An account that is wanted."""

    kind: str
    owner: str
    currency: str
    credit_limit: Decimal = Decimal(0)


class Accounts:
    """Use cases about them."""

    def __init__(self, database: Database, payments: Payments) -> None:
        self._database = database
        self._payments = payments

    async def page(
        self, caller: Caller, kind: str, owner: str | None, limit: int, after: Position | None
    ) -> Sequence[AccountView]:
        """Accounts of a kind, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, kind, owner, limit, after)

    async def one(self, tenant_id: TenantId, kind: str, ident: int) -> AccountView:
        """An account by our id.

        Raises:
            NotFoundError: the tenant has none of this kind.
        """
        async with self._database.read() as db:
            found = await queries.one(db, tenant_id, ident)
        if found is None or found.kind != kind:
            raise NotFoundError(_called(kind), str(ident))
        return found

    async def of_owner(self, tenant_id: TenantId, kind: str, owner: str, currency: str) -> AccountView | None:
        """The account of an owner; None where there is none."""
        async with self._database.read() as db:
            return await queries.of_owner(db, tenant_id, kind, owner, currency)

    async def entries(
        self, caller: Caller, kind: str, ident: int, moved: str | None, limit: int, after: Position | None
    ) -> Sequence[EntryView]:
        """Movements, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such account.
        """
        account = await self.one(caller.tenant_id, kind, ident)
        async with self._database.read() as db:
            return await queries.entries(db, ident, account.balance.currency, moved, limit, after)

    async def create(self, caller: Caller, wanted: NewAccount) -> AccountView:
        """A new account.

        Raises:
            ConflictError: the owner has one in this currency.
            InvalidInputError: the limit is not allowed.
        """
        _check_limit(wanted.credit_limit)
        async with self._database.change() as db:
            made = await queries.create(
                db, caller.tenant_id, wanted.kind, wanted.owner, wanted.currency, wanted.credit_limit
            )
            if made is None:
                raise ConflictError(f"'{wanted.owner}' has a {_called(wanted.kind)} in {wanted.currency} already.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind=_called(wanted.kind),
                ident=made.id,
                after=made,
            )
        return made

    async def limit(self, caller: Caller, ident: int, credit_limit: Decimal, if_revision: int | None) -> AccountView:
        """Sets how far a credit account may go below zero.

        Raises:
            NotFoundError: the tenant has no such credit account.
            StaleError: it has another revision.
            InvalidInputError: the limit is not allowed.
        """
        _check_limit(credit_limit)
        async with self._database.change() as db:
            before = await queries.one(db, caller.tenant_id, ident, lock=True)
            if before is None or before.kind != "credit":
                raise NotFoundError(_called("credit"), str(ident))
            if if_revision is not None and if_revision != before.revision:
                raise StaleError(str(ident), before.revision)
            after = await queries.set_limit(db, ident, credit_limit)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="update",
                kind=_called("credit"),
                ident=str(ident),
                before=before,
                after=after,
            )
        return after

    async def top_up(
        self, caller: Caller, ident: int, amount: Money, provider: str, return_url: str | None
    ) -> PaymentView:
        """A payment by another provider, after which its amount is on the wallet.

        Raises:
            NotFoundError: the tenant has no such wallet, or provider.
            InvalidInputError: the amount, or a provider that has no money of its own.
        """
        wallet = await self.one(caller.tenant_id, "wallet", ident)
        if amount.currency != wallet.balance.currency:
            sentence = f"Must be {wallet.balance.currency}"
            raise InvalidInputError("The wallet is in another currency.", (("/amount/currency", sentence),))
        kind = await self._payments.kind_of(caller.tenant_id, provider)
        if kind in ("wallet", "free", "invoice"):
            raise InvalidInputError(
                f"'{provider}' brings no money to a wallet.",
                (("/provider", "Must be one that takes money from outside"),),
            )
        made = await self._payments.hold_for(
            caller.tenant_id,
            NewPayment(
                provider=provider,
                hold=amount,
                purpose="top_up",
                off_session=False,
                capture=True,
                account_id=ident,
                driver_id=wallet.owner,
                description="Top-up",
                return_url=return_url,
            ),
            by=caller.actor,
        )
        async with self._database.change() as db:
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="top-up",
                kind="wallet",
                ident=str(ident),
                after={"payment_id": made.id, "amount": amount.view(), "provider": provider},
            )
        return made

    async def correct(self, caller: Caller, kind: str, ident: int, amount: Money, reason: str, key: str) -> AccountView:
        """Adds to a balance, or takes from it: an operator's correction, or an invoice that was paid.

        Args:
            key: makes it happen once.
        Raises:
            NotFoundError: the tenant has no such account.
            ConflictError: there is not as much.
            InvalidInputError: another currency, or no amount.
        """
        async with self._database.change() as db:
            before = await queries.one(db, caller.tenant_id, ident, lock=True)
            if before is None or before.kind != kind:
                raise NotFoundError(_called(kind), str(ident))
            currency = before.balance.currency
            if amount.currency != currency:
                raise InvalidInputError(
                    f"The account is in {currency}.", (("/amount/currency", f"Must be {currency}"),)
                )
            value = amount.amount
            if not value.is_finite() or value == 0 or abs(value) > MOST or amount.rounded().amount != value:
                sentence = f"Must be a number of whole minor units other than 0, from -{MOST} to {MOST}"
                raise InvalidInputError("The amount is not allowed.", (("/amount/amount", sentence),))
            moved = await queries.move(
                db,
                caller.tenant_id,
                ident,
                key=f"{caller.tenant_id}-{key}",
                kind="correction",
                balance=value,
                by=caller.actor,
                reason=reason,
            )
            if not moved:
                raise ConflictError(
                    f"Only {before.available.amount} {currency} are available; more cannot be taken from the account."
                )
            after = await queries.one(db, caller.tenant_id, ident)
            assert after is not None
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="correct",
                kind=_called(kind),
                ident=str(ident),
                reason=reason,
                before=before,
                after=after,
            )
        return after


def _called(kind: str) -> str:
    return "wallet" if kind == "wallet" else "credit account"


def _check_limit(credit_limit: Decimal) -> None:
    if not credit_limit.is_finite() or not 0 <= credit_limit <= MOST or credit_limit != round(credit_limit, 3):
        sentence = f"Must be from 0 to {MOST}"
        raise InvalidInputError("The credit limit is not allowed.", (("/credit_limit", sentence),))
