"""Stripe, by its SDK: PaymentIntents with manual capture.

Two ways for the payer: `checkout` (the default) sends them to Stripe's own page, where cards and phone wallets work without any script of ours;
`intent` makes a bare PaymentIntent whose client secret an app gives to Stripe's SDK. Either way the card goes to Stripe alone.

A card is saved with a payment whose `setup_future_usage` says so: Stripe attaches it to a customer, and what we keep is the customer's and the payment
method's id. A payment by it is a PaymentIntent that we confirm without the payer.

What a payment holds, took and gave back is read from the PaymentIntent, its charge and its refunds; events only say that there is something to
read. A refund carries our idempotency key in its metadata, so one whose answer was lost is recognised.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from chargeplane.app.payments.ports import (
    BadWebhookError,
    Begun,
    DeclinedError,
    Order,
    ProviderSettings,
    Told,
    UnknownPaymentError,
)
from chargeplane.domain.payments.states import NOTHING, Dispute, Ended, Seen
from chargeplane.domain.payments.steps import Capabilities
from chargeplane.edges.payments.settings import only, secret, url
from chargeplane.kernel.errors import InvalidInputError, UnavailableError
from chargeplane.kernel.money import Money

_TIMEOUT_S: Final = 15.0
_HOLDS_FOR: Final = timedelta(days=7)
_OLDEST_S: Final = 600
_MOST_REFUNDS: Final = 100
_TWO_DIGITS: Final = frozenset({"ISK", "UGX"})
"""Stripe counts these in hundredths though they have none (its page on currencies)."""
_OF: Final = "/"
"""Between a customer and a payment method of it; in neither id."""
_REF: Final = re.compile(r"(?:pi|cs)_[A-Za-z0-9_]{1,200}")
_DISPUTES: Final = {"won": Dispute.WON, "lost": Dispute.LOST, "warning_closed": Dispute.WON, "prevented": Dispute.WON}
_KINDS: Final = ("payment_intent.", "charge.", "checkout.session.", "refund.")


class StripeProvider:
    """A Stripe account; a `Provider`.

    Args:
        base: of another server that speaks Stripe's API; None for Stripe itself.
        checkout: payers go to Stripe's page.
        increment: the account may raise holds.
    """

    def __init__(
        self, key: str, webhook_secret: str, *, base: str | None = None, checkout: bool = True, increment: bool = False
    ) -> None:
        import stripe

        self._stripe = stripe
        self._secret = webhook_secret
        self._checkout = checkout
        self.able = Capabilities(
            page=checkout,
            increment=increment,
            webhooks=True,
            disputes=True,
            saved=True,
            holds_for_s=int(_HOLDS_FOR.total_seconds()),
        )
        self._http = stripe.HTTPXClient(timeout=_TIMEOUT_S)
        self._client = stripe.StripeClient(
            key,
            base_addresses={} if base is None else {"api": base},
            http_client=self._http,
            max_network_retries=0,  # payments try again by themselves, with the same key
        )

    async def start(self, order: Order) -> Begun:
        """Opens a Checkout session or a PaymentIntent."""
        metadata = {"payment": order.reference}
        amount = _minor(order.hold)
        if order.method is not None or not self._checkout:
            return await self._bare(order, amount, metadata)
        if order.return_url is None:
            raise DeclinedError("no_return_url", "Stripe's page needs an address to come back to.")
        wanted: dict[str, Any] = {
            "capture_method": "manual",
            "metadata": metadata,
            "description": order.description[:500],
        }
        session_params: Any = {
            "mode": "payment",
            "line_items": [
                {
                    "price_data": {
                        "currency": order.hold.currency.lower(),
                        "unit_amount": amount,
                        "product_data": {"name": order.description[:200]},
                    },
                    "quantity": 1,
                }
            ],
            "payment_intent_data": wanted,
            "success_url": order.return_url,
            "cancel_url": order.return_url,
            "client_reference_id": order.reference,
            "metadata": metadata,
        }
        if self.able.increment:
            session_params["payment_method_options"] = {"card": {"request_incremental_authorization": "if_available"}}
        if order.save:
            wanted["setup_future_usage"] = "off_session"
            session_params["customer_creation"] = "always"
            session_params["allowed_payment_method_types"] = ["card"]
        if order.language in ("de", "en", "sv"):
            session_params["locale"] = order.language
        session = await self._asked(
            self._client.v1.checkout.sessions.create_async(
                params=session_params, options={"idempotency_key": order.key}
            )
        )
        return Begun(ref=session["id"], seen=await self._seen_session(session))

    async def _bare(self, order: Order, amount: int, metadata: dict[str, str]) -> Begun:
        """A PaymentIntent without a page: for an app, or by a saved card."""
        options: Any = {"idempotency_key": order.key}
        params: Any = {
            "amount": amount,
            "currency": order.hold.currency.lower(),
            "capture_method": "manual",
            "metadata": metadata,
        }
        if order.method is not None:
            customer, _, method = order.method.partition(_OF)
            params |= {"customer": customer, "payment_method": method}
        elif order.save:
            made = await self._asked(
                self._client.v1.customers.create_async(
                    params={"metadata": metadata}, options={"idempotency_key": f"{order.key}-customer"}
                )
            )
            params |= {"customer": made["id"], "setup_future_usage": "off_session"}
        if order.method is not None or order.save:
            # Others may need the payer to come back to a page.
            params["allowed_payment_method_types"] = ["card"]
        if self.able.increment:
            params["payment_method_options"] = {"card": {"request_incremental_authorization": "if_available"}}
        intent = await self._asked(self._client.v1.payment_intents.create_async(params=params, options=options))
        return Begun(ref=intent["id"], seen=await self._seen(intent))

    async def authorize(self, ref: str, amount: Money, key: str) -> Seen:
        """Holds by the saved card that the payment was begun with.

        Raises:
            DeclinedError: it names none, its bank refuses, or wants to see the payer.
        """
        if ref.startswith("cs_"):
            raise DeclinedError("payer_needed", "The payer pays on Stripe's page.")
        params: Any = {"off_session": True}
        return await self._seen(
            await self._asked(
                self._client.v1.payment_intents.confirm_async(ref, params=params, options={"idempotency_key": key})
            )
        )

    async def increment(self, ref: str, total: Money, key: str) -> Seen:
        """Raises the hold, where the card's network has it."""
        params: Any = {"amount": _minor(total)}
        intent = await self._intent_of(ref)
        return await self._seen(
            await self._asked(
                self._client.v1.payment_intents.increment_authorization_async(
                    intent, params=params, options={"idempotency_key": key}
                )
            )
        )

    async def capture(self, ref: str, amount: Money, key: str) -> Seen:
        """Takes of the hold."""
        params: Any = {"amount_to_capture": _minor(amount)}
        intent = await self._intent_of(ref)
        await self._asked(
            self._client.v1.payment_intents.capture_async(intent, params=params, options={"idempotency_key": key})
        )
        return await self.fetch(ref, amount.currency)

    async def void(self, ref: str, key: str) -> Seen:
        """Cancels the PaymentIntent; a Checkout session without one is expired."""
        if ref.startswith("cs_"):
            session = await self._session(ref)
            if session.get("payment_intent") is None:
                if session.get("status") != "open":
                    return await self._seen_session(session)
                session = await self._asked(
                    self._client.v1.checkout.sessions.expire_async(ref, options={"idempotency_key": key})
                )
                # Stripe calls it expired; it was we who ended it.
                return msgspec.structs.replace(await self._seen_session(session), ended=Ended.VOIDED)
        intent = await self._intent_of(ref)
        canceled = await self._asked(
            self._client.v1.payment_intents.cancel_async(intent, options={"idempotency_key": key})
        )
        return await self._seen(canceled)

    async def refund(self, ref: str, amount: Money, key: str) -> Seen:
        """Gives back."""
        intent = await self._intent_of(ref)
        for one in await self._refunds(intent):
            if (one.get("metadata") or {}).get("key") == key:
                return await self.fetch(ref, amount.currency)
        params: Any = {"payment_intent": intent, "amount": _minor(amount), "metadata": {"key": key}}
        await self._asked(self._client.v1.refunds.create_async(params=params, options={"idempotency_key": key}))
        return await self.fetch(ref, amount.currency)

    async def fetch(self, ref: str, currency: str) -> Seen:
        """How it stands."""
        if ref.startswith("cs_"):
            return await self._seen_session(await self._session(ref))
        params: Any = {"expand": ["latest_charge.balance_transaction"]}
        return await self._seen(await self._asked(self._client.v1.payment_intents.retrieve_async(ref, params=params)))

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Told]:
        """One event: which payment it is about. What it says is read at Stripe."""
        try:
            self._stripe.WebhookSignature.verify_header(
                body.decode(), headers.get("stripe-signature", ""), self._secret, _OLDEST_S
            )
        except (self._stripe.SignatureVerificationError, UnicodeDecodeError, ValueError) as error:
            raise BadWebhookError(f"The signature is not Stripe's: {error}") from None
        try:
            event = msgspec.json.decode(body, type=dict[str, Any])
            kind, about = str(event["type"]), event["data"]["object"]
            ref = _ref_of(about) if kind.startswith(_KINDS) else None
            ident = str(event["id"])
        except (msgspec.MsgspecError, KeyError, TypeError, RecursionError) as error:
            raise BadWebhookError(f"The event cannot be read: {error}") from None
        seen = None
        if kind.startswith("charge.dispute.") and isinstance(about, dict):
            # A charge does not say how its dispute ended.
            seen = Seen(dispute=_DISPUTES.get(str(about.get("status")), Dispute.OPEN))
        return (Told(event_id=ident, kind=kind, ref=ref, seen=seen, payload=_kept(event, ref)),)

    async def close(self) -> None:
        """Ends its connections."""
        close: Callable[[], Awaitable[None]] = self._http.close_async
        await close()

    # -- Stripe's objects ----------------------------------------------------------------------------------------------

    async def _asked(self, call: Any) -> dict[str, Any]:
        errors = self._stripe
        try:
            answer: dict[str, Any] = (await call).to_dict()
            return answer
        except errors.CardError as error:
            raise DeclinedError(
                error.code or "card_declined", error.user_message or "The card was declined."
            ) from error
        except errors.IdempotencyError as error:
            raise DeclinedError("idempotency_key_reused", str(error)) from error
        except errors.InvalidRequestError as error:
            if error.http_status == 404:
                raise UnknownPaymentError(f"Stripe does not know it: {error}") from error
            raise DeclinedError(error.code or "refused", str(error)) from error
        except errors.StripeError as error:  # the network, limits, keys: it is not known what was done
            raise UnavailableError(f"Stripe does not answer as it should: {error}") from error

    async def _session(self, ref: str) -> dict[str, Any]:
        params: Any = {"expand": ["payment_intent.latest_charge.balance_transaction"]}
        return await self._asked(self._client.v1.checkout.sessions.retrieve_async(ref, params=params))

    async def _intent_of(self, ref: str) -> str:
        if not ref.startswith("cs_"):
            return ref
        intent = (await self._session(ref)).get("payment_intent")
        if intent is None:
            raise DeclinedError("not_held", "The payer has not paid yet.")
        return str(intent["id"] if isinstance(intent, dict) else intent)

    async def _refunds(self, intent: str) -> list[dict[str, Any]]:
        params: Any = {"payment_intent": intent, "limit": _MOST_REFUNDS}
        page = await self._asked(self._client.v1.refunds.list_async(params=params))
        # What a partial capture released stands there too, without the intent, with some servers.
        return [one for one in page.get("data", []) if one.get("payment_intent") is not None]

    async def _seen_session(self, session: dict[str, Any]) -> Seen:
        intent = session.get("payment_intent")
        if isinstance(intent, dict):
            seen = await self._seen(intent)
        else:
            seen = Seen(action=True)
        ended = seen.ended
        if ended is None and session.get("status") == "expired" and seen.authorized <= 0:
            ended = Ended.EXPIRED
        waits = session.get("status") == "open"
        return msgspec.structs.replace(
            seen,
            ended=ended,
            action_url=session.get("url") if waits else None,
            client_secret=None,
            alias=str(intent["id"]) if isinstance(intent, dict) else None,
        )

    async def _seen(self, intent: dict[str, Any]) -> Seen:
        currency = str(intent["currency"]).upper()
        status = intent["status"]
        charge = intent.get("latest_charge")
        charge = charge if isinstance(charge, dict) else {}
        authorized = captured = refunded = NOTHING
        refunds: frozenset[str] = frozenset()
        if status in ("requires_capture", "succeeded"):
            authorized = _major(intent.get("amount_capturable") or intent["amount"], currency)
        if status == "succeeded":
            authorized = _major(intent["amount"], currency)
            known = await self._refunds(intent["id"])
            captured = _major(await self._taken(intent, charge), currency)
            counted = [one for one in known if one.get("status") in (None, "succeeded", "pending", "requires_action")]
            refunded = _major(sum(int(one["amount"]) for one in counted), currency)
            refunds = frozenset(key for one in counted if (key := (one.get("metadata") or {}).get("key")))
        ended = None
        if status == "canceled":
            ended = Ended.EXPIRED if intent.get("cancellation_reason") == "automatic" else Ended.VOIDED
        error = intent.get("last_payment_error") or {}
        return Seen(
            action=status != "requires_confirmation",  # it waits for us
            authorized=authorized,
            captured=captured,
            refunded=refunded,
            refunds=refunds,
            ended=ended,
            dispute=Dispute.OPEN if charge.get("disputed") else Dispute.NONE,
            expires_at=_expiry(intent, charge) if status == "requires_capture" else None,
            client_secret=None if self._checkout else intent.get("client_secret"),
            error=error.get("decline_code") or error.get("code"),
            method=_method(charge),
            fee=_fee(charge, currency),
            saved=_saved(intent) if authorized > 0 else None,
        )

    async def _taken(self, intent: dict[str, Any], charge: dict[str, Any]) -> int:
        """Minor units."""
        for value in (intent.get("amount_received"), charge.get("amount_captured")):
            if value:
                return int(value)
        params: Any = {"payment_intent": intent["id"], "limit": _MOST_REFUNDS}
        page = await self._asked(self._client.v1.refunds.list_async(params=params))
        released = sum(int(one["amount"]) for one in page.get("data", []) if one.get("payment_intent") is None)
        return int(intent["amount"]) - released


def stripe_provider(settings: ProviderSettings) -> StripeProvider:
    """One of a tenant.

    Raises:
        InvalidInputError: a setting is missing or wrong.
    """
    only(settings, ("api_url", "flow", "increment"), ("key", "webhook_secret"))
    flow = settings.settings.get("flow", "checkout")
    if flow not in ("checkout", "intent"):
        raise InvalidInputError("There is no such flow.", (("/settings/flow", "Must be checkout or intent"),))
    increment = settings.settings.get("increment", False)
    if not isinstance(increment, bool):
        raise InvalidInputError("'increment' is yes or no.", (("/settings/increment", "Must be true or false"),))
    base = url(settings, "api_url") if "api_url" in settings.settings else None
    return StripeProvider(
        secret(settings, "key"),
        secret(settings, "webhook_secret"),
        base=base,
        checkout=flow == "checkout",
        increment=increment,
    )


def _saved(intent: Mapping[str, Any]) -> str | None:
    """The customer and the payment method, where the card is kept for payments without the payer."""
    customer, method = intent.get("customer"), intent.get("payment_method")
    if (
        intent.get("setup_future_usage") != "off_session"
        or not isinstance(customer, str)
        or not isinstance(method, str)
    ):
        return None
    return f"{customer}{_OF}{method}"


def _fee(charge: Mapping[str, Any], currency: str) -> Decimal:
    """What Stripe keeps, as the charge's balance transaction says; nothing where the account is in another currency."""
    moved = charge.get("balance_transaction")
    if not isinstance(moved, dict) or str(moved.get("currency", "")).upper() != currency:
        return NOTHING
    return _major(int(moved.get("fee") or 0), currency)


def _digits(currency: str) -> int:
    if currency in _TWO_DIGITS:
        return 2
    exponent = Money(amount=Decimal(0), currency=currency).rounded().amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 2


def _minor(money: Money) -> int:
    return int(money.rounded().amount.scaleb(_digits(money.currency)))


def _major(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-_digits(currency))


def _expiry(intent: dict[str, Any], charge: dict[str, Any]) -> datetime:
    card = (charge.get("payment_method_details") or {}).get("card") or {}
    before = card.get("capture_before")
    if isinstance(before, int):
        return datetime.fromtimestamp(before, UTC)
    return datetime.fromtimestamp(int(charge.get("created") or intent["created"]), UTC) + _HOLDS_FOR


def _method(charge: dict[str, Any]) -> str | None:
    details = charge.get("payment_method_details") or {}
    card = details.get("card") or {}
    if card.get("last4"):
        return f"{str(card.get('brand') or 'card').capitalize()} {card['last4']}"
    kind = details.get("type")
    return None if kind is None else str(kind)[:40]


def _ref_of(about: Any) -> str | None:
    if not isinstance(about, dict):
        return None
    for value in (about.get("id"), about.get("payment_intent")):
        if isinstance(value, str) and _REF.fullmatch(value):
            return value
    return None


def _kept(event: dict[str, Any], ref: str | None) -> str:
    """Of an event: which it is, and about what. What else it says of the payer is not ours to keep."""
    return msgspec.json.encode(
        {"id": event["id"], "type": event["type"], "created": event.get("created"), "about": ref}
    ).decode()
