"""/v1/payments, /v1/payment-providers, /v1/wallets, /v1/credit-accounts, and where providers tell what happens."""

from __future__ import annotations

import asyncio
import secrets
from decimal import Decimal
from typing import Annotated, Any, Final

import structlog
from litestar import Request, Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Scope
from chargeplane.app.payments.accounts import NewAccount
from chargeplane.app.payments.payments import PaymentDetails
from chargeplane.app.payments.ports import BadWebhookError
from chargeplane.app.payments.providers import ProviderChanges, ProviderView
from chargeplane.domain.payments.states import PaymentState
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.problems import ProblemError
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.money import Money
from chargeplane.store.queries.payment_accounts import ACCOUNT_SORTS, MOVEMENT_SORTS, AccountView, EntryView
from chargeplane.store.queries.payment_methods import PAYMENT_METHOD_SORTS, PaymentMethodView
from chargeplane.store.queries.payments import PAYMENT_SORTS, PaymentFilter, PaymentView

_log = structlog.get_logger(__name__)
_tasks: Final[set[asyncio.Task[None]]] = set()

Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
Owner = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
Name = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,35}$")]
ReturnUrl = Annotated[str, Meta(max_length=500, pattern=r"^https?://[^\s]+$")]


class Amount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money.

    Args:
        amount: in major units.
        currency: ISO 4217.
    """

    amount: Decimal
    currency: Currency

    def money(self) -> Money:
        """As the house has it."""
        return Money(amount=self.amount, currency=self.currency)


class RefundWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is given back.

    Args:
        amount: all that is left unless given.
    """

    reason: Reason
    amount: Amount | None = None


class WhyWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: Reason


class ProviderWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider is set.

    Args:
        kind: simulator, stripe, invoice, wallet or free.
        for_guests: guests at an EVSE pay by it; takes that from another.
        settings, secrets: of the kind; secrets that are absent stay, null removes one.
    """

    kind: Annotated[str, Meta(min_length=1, max_length=40)]
    enabled: bool = True
    for_guests: bool = False
    settings: dict[str, Any] = {}
    secrets: dict[str, Annotated[str, Meta(max_length=4000)] | None] | UnsetType = UNSET


class WalletWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wallet.

    Args:
        owner: a driver's id, or what the operator calls whose it is.
    """

    owner: Owner
    currency: Currency


class CreditWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A credit account: what is owed until invoices are paid.

    Args:
        credit_limit: how far below zero the balance may go.
    """

    owner: Owner
    currency: Currency
    credit_limit: Decimal


class LimitWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another limit."""

    credit_limit: Decimal


class TopUpWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money for a wallet.

    Args:
        provider: by which it comes.
        return_url: where the payer comes back to.
    """

    amount: Amount
    provider: Name
    return_url: ReturnUrl | None = None


class MethodWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way of paying to be saved.

    Args:
        owner: a driver's id, or an agreement's number.
        currency: of what the provider is asked to hold for a moment.
        provider: the one for guests unless given.
        return_url: where the payer comes back to.
    """

    owner: Owner
    currency: Currency
    provider: Name | None = None
    return_url: ReturnUrl | None = None


class CorrectionWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a balance by hand; below zero takes away."""

    amount: Amount
    reason: Reason


def payment_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    payments, providers, webhooks = business.payments, business.payment_providers, business.payment_webhooks

    @get("/v1/payments", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ, "sorts": PAYMENT_SORTS})
    async def list_payments(
        request: Request[Any, Any, Any],
        wanted_state: Annotated[PaymentState | None, QueryParameter(name="state")] = None,
        provider: Text = None,
        purpose: Text = None,
        session_id: Text = None,
        driver_id: Text = None,
        provider_reference: Text = None,
        created_from: From = None,
        created_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[PaymentView]:
        """Payments, newest first."""
        after = begin(request, cursor, sort)
        wanted = PaymentFilter(
            state=wanted_state and wanted_state.value,
            provider=provider,
            purpose=purpose,
            session_id=None if session_id is None else ident_of("session", session_id),
            driver_id=driver_id,
            reference=provider_reference,
            created_from=time_of("created_from", created_from),
            created_to=time_of("created_to", created_to),
        )
        found = await payments.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, list(found), limit, after)

    @get("/v1/payments/{id:str}", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ})
    async def get_payment(request: Request[Any, Any, Any], id: FromPath[str]) -> PaymentDetails:
        """A payment with what its provider was asked for and what it told by itself."""
        return await payments.one(caller_of(request), ident_of("payment", id))

    @post("/v1/payments/{id:str}/refund", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE}, status_code=200)
    async def refund_payment(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[RefundWanted]
    ) -> PaymentDetails:
        """Gives back an amount, or all that is left. The provider is asked at once, and again until it answers: see the operations."""
        amount = None if data.amount is None else data.amount.money()
        return await payments.refund(caller_of(request), ident_of("payment", id), amount, data.reason)

    @post("/v1/payments/{id:str}/void", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE}, status_code=200)
    async def void_payment(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[WhyWanted]
    ) -> PaymentDetails:
        """Releases what is held, or ends a payment that was not made yet. 409 where it was captured."""
        return await payments.void(caller_of(request), ident_of("payment", id), data.reason)

    @post("/v1/payments/{id:str}/retry", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE}, status_code=200)
    async def retry_payment(request: Request[Any, Any, Any], id: FromPath[str]) -> PaymentDetails:
        """Asks the provider how the payment stands, and anew for what it refused."""
        return await payments.retry(caller_of(request), ident_of("payment", id))

    # -- providers -----------------------------------------------------------------------------------------------------

    @get("/v1/payment-providers", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ})
    async def list_payment_providers(request: Request[Any, Any, Any]) -> Page[ProviderView]:
        """The tenant's payment providers."""
        return Page(items=await providers.all(caller_of(request)), next_cursor=None)

    @get("/v1/payment-providers/{name:str}", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ})
    async def get_payment_provider(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[ProviderView]:
        """A payment provider. Its secrets are named, never shown."""
        view = await providers.one(caller_of(request), name)
        return Response(view, headers=etag(view.revision))

    @put("/v1/payment-providers/{name:str}", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE})
    async def put_payment_provider(
        request: Request[Any, Any, Any], name: FromPath[str], data: JSONBody[ProviderWanted], if_match: IfMatch = None
    ) -> Response[ProviderView]:
        """Sets a payment provider."""
        if not _named(name):
            raise ProblemError(
                404, "not-found", "A provider's name has lower-case letters, digits and hyphens, 36 at most."
            )
        view = await providers.put(
            caller_of(request),
            name,
            ProviderChanges(
                kind=data.kind,
                enabled=data.enabled,
                for_guests=data.for_guests,
                settings=data.settings,
                secrets=data.secrets,
            ),
            revision_of(if_match),
        )
        return Response(view, headers=etag(view.revision))

    @delete("/v1/payment-providers/{name:str}", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE})
    async def delete_payment_provider(request: Request[Any, Any, Any], name: FromPath[str]) -> None:
        """Removes a payment provider that has no payments."""
        await providers.remove(caller_of(request), name)

    @post("/v1/webhooks/payments/{token:str}", tags=["payments"], opt={"public": True}, status_code=200)
    async def payment_webhook(request: Request[Any, Any, Any], token: FromPath[str]) -> dict[str, str]:
        """Where a provider tells what happens: signed by it, kept, and answered before it is applied."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            kept = await webhooks.take(token, headers, await request.body())
        except BadWebhookError as error:
            raise ProblemError(400, "malformed-request", f"This is not from the provider: {error}") from None
        if kept:
            task = asyncio.get_running_loop().create_task(_apply(kept))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
        return {"status": "kept"}

    async def _apply(kept: list[int]) -> None:
        try:
            for ident in kept:
                await webhooks.apply(ident)
        except Exception as error:  # the reconciliation applies it
            _log.warning("payment_webhook_waits", error=str(error) or type(error).__name__)

    return [
        list_payments,
        get_payment,
        refund_payment,
        void_payment,
        retry_payment,
        list_payment_providers,
        get_payment_provider,
        put_payment_provider,
        delete_payment_provider,
        payment_webhook,
        *_account_routes(services),
    ]


def _account_routes(services: Services) -> list[HTTPRouteHandler]:
    accounts = services.business.payment_accounts

    async def page(
        request: Request[Any, Any, Any], kind: str, owner: str | None, limit: int, cursor: str | None, sort: str | None
    ) -> Page[AccountView]:
        after = begin(request, cursor, sort)
        found = await accounts.page(caller_of(request), kind, owner, limit + 1, after)
        return page_of(request, found, limit, after)

    async def entries(
        request: Request[Any, Any, Any],
        kind: str,
        id: str,
        movement: str | None,
        limit: int,
        cursor: str | None,
        sort: str | None,
    ) -> Page[EntryView]:
        after = begin(request, cursor, sort)
        found = await accounts.entries(caller_of(request), kind, ident_of(kind, id), movement, limit + 1, after)
        return page_of(request, found, limit, after)

    async def corrected(request: Request[Any, Any, Any], kind: str, id: str, data: CorrectionWanted) -> AccountView:
        key = f"correction-{secrets.token_hex(12)}"
        return await accounts.correct(
            caller_of(request), kind, ident_of(kind, id), data.amount.money(), data.reason, key
        )

    @get("/v1/wallets", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ, "sorts": ACCOUNT_SORTS})
    async def list_wallets(
        request: Request[Any, Any, Any], owner: Text = None, limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[AccountView]:
        """Prepaid balances, newest first."""
        return await page(request, "wallet", owner, limit, cursor, sort)

    @post("/v1/wallets", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE})
    async def create_wallet(request: Request[Any, Any, Any], data: JSONBody[WalletWanted]) -> Response[AccountView]:
        """A new wallet, with nothing in it."""
        made = await accounts.create(
            caller_of(request), NewAccount(kind="wallet", owner=data.owner, currency=data.currency)
        )
        return Response(made, headers={"Location": f"/v1/wallets/{made.id}"})

    @get("/v1/wallets/{id:str}", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ})
    async def get_wallet(request: Request[Any, Any, Any], id: FromPath[str]) -> AccountView:
        """A wallet."""
        return await accounts.one(caller_of(request).tenant_id, "wallet", ident_of("wallet", id))

    @get("/v1/wallets/{id:str}/entries", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ, "sorts": MOVEMENT_SORTS})
    async def list_wallet_entries(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        kind: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EntryView]:
        """What moved on a wallet, newest first."""
        return await entries(request, "wallet", id, kind, limit, cursor, sort)

    @post("/v1/wallets/{id:str}/top-ups", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE})
    async def top_up_wallet(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[TopUpWanted]
    ) -> Response[PaymentView]:
        """A payment by another provider; its amount is on the wallet when it is captured. Send the payer to `action_url`."""
        made = await accounts.top_up(
            caller_of(request), ident_of("wallet", id), data.amount.money(), data.provider, data.return_url
        )
        return Response(made, headers={"Location": f"/v1/payments/{made.id}"})

    @post("/v1/wallets/{id:str}/corrections", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE}, status_code=200)
    async def correct_wallet(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[CorrectionWanted]
    ) -> AccountView:
        """Changes a balance by hand; never below what is held."""
        return await corrected(request, "wallet", id, data)

    @get("/v1/credit-accounts", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ, "sorts": ACCOUNT_SORTS})
    async def list_credit_accounts(
        request: Request[Any, Any, Any], owner: Text = None, limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[AccountView]:
        """What is owed until invoices are paid, newest first."""
        return await page(request, "credit", owner, limit, cursor, sort)

    @post("/v1/credit-accounts", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE})
    async def create_credit_account(
        request: Request[Any, Any, Any], data: JSONBody[CreditWanted]
    ) -> Response[AccountView]:
        """A new credit account."""
        made = await accounts.create(
            caller_of(request),
            NewAccount(kind="credit", owner=data.owner, currency=data.currency, credit_limit=data.credit_limit),
        )
        return Response(made, headers={"Location": f"/v1/credit-accounts/{made.id}"} | etag(made.revision))

    @get("/v1/credit-accounts/{id:str}", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ})
    async def get_credit_account(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[AccountView]:
        """A credit account."""
        view = await accounts.one(caller_of(request).tenant_id, "credit", ident_of("credit account", id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/credit-accounts/{id:str}", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE})
    async def change_credit_account(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[LimitWanted], if_match: IfMatch = None
    ) -> Response[AccountView]:
        """Sets how far it may go below zero."""
        view = await accounts.limit(
            caller_of(request), ident_of("credit account", id), data.credit_limit, revision_of(if_match)
        )
        return Response(view, headers=etag(view.revision))

    @get(
        "/v1/credit-accounts/{id:str}/entries",
        tags=["payments"],
        opt={"scope": Scope.PAYMENTS_READ, "sorts": MOVEMENT_SORTS},
    )
    async def list_credit_account_entries(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        kind: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EntryView]:
        """What moved on a credit account, newest first."""
        return await entries(request, "credit", id, kind, limit, cursor, sort)

    @post(
        "/v1/credit-accounts/{id:str}/corrections",
        tags=["payments"],
        opt={"scope": Scope.PAYMENTS_WRITE},
        status_code=200,
    )
    async def correct_credit_account(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[CorrectionWanted]
    ) -> AccountView:
        """Changes what is owed by hand, such as by what was paid."""
        return await corrected(request, "credit", id, data)

    methods = services.business.payment_methods

    @get("/v1/payment-methods", tags=["payments"], opt={"scope": Scope.PAYMENTS_READ, "sorts": PAYMENT_METHOD_SORTS})
    async def list_payment_methods(
        request: Request[Any, Any, Any], owner: Text = None, limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[PaymentMethodView]:
        """Saved ways of paying, newest first; of drivers by their ids, of agreements by their numbers."""
        after = begin(request, cursor, sort)
        found = await methods.page(caller_of(request), owner, limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/payment-methods", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE})
    async def save_payment_method(
        request: Request[Any, Any, Any], data: JSONBody[MethodWanted]
    ) -> Response[PaymentView]:
        """A payment by which a way of paying is saved; nothing is taken. Send the payer to `action_url`."""
        made = await methods.save(
            caller_of(request),
            data.owner,
            provider=data.provider,
            currency=data.currency,
            return_url=data.return_url,
        )
        return Response(made, headers={"Location": f"/v1/payments/{made.id}"})

    @post(
        "/v1/payment-methods/{id:str}/make-default",
        tags=["payments"],
        opt={"scope": Scope.PAYMENTS_WRITE},
        status_code=200,
    )
    async def make_payment_method_default(request: Request[Any, Any, Any], id: FromPath[str]) -> PaymentMethodView:
        """Has its owner's sessions paid by it from now on."""
        return await methods.make_default(caller_of(request), ident_of("payment method", id))

    @delete("/v1/payment-methods/{id:str}", tags=["payments"], opt={"scope": Scope.PAYMENTS_WRITE})
    async def delete_payment_method(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Forgets a way of paying."""
        await methods.remove(caller_of(request), ident_of("payment method", id))

    return [
        list_payment_methods,
        save_payment_method,
        make_payment_method_default,
        delete_payment_method,
        list_wallets,
        create_wallet,
        get_wallet,
        list_wallet_entries,
        top_up_wallet,
        correct_wallet,
        list_credit_accounts,
        create_credit_account,
        get_credit_account,
        change_credit_account,
        list_credit_account_entries,
        correct_credit_account,
    ]


def _named(name: str) -> bool:
    return (
        len(name) <= 36
        and name[:1].isalnum()
        and name.isascii()
        and name == name.lower()
        and all(letter.isalnum() or letter == "-" for letter in name)
    )
