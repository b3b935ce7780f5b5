"""A server that stands in for Stripe: strict about what it is asked, with payments, pages, holds, refunds, disputes and events of its own.

What it does follows Stripe's API reference: PaymentIntents with manual capture, Checkout in payment mode, raised holds, refunds, cards kept for a
customer. Every request is looked at by `stripe_forms`; what Stripe would not take is answered as Stripe answers it, and kept in `refused`.
"""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import stripe
from aiohttp import web

from tests.payments.stripe_forms import Tree, faults, tree_of

KEY, SECRET = "sk_test_12345", "whsec_test"
DECLINED, SECOND_FACTOR, DECLINED_LATER = "4000000000000002", "4000000000003220", "4000000000009987"
_FEE = 39
Found = dict[str, Any]


class Refused(Exception):
    """What Stripe says no with."""

    def __init__(self, status: int, kind: str, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "code": code, "message": message}}


def _wrong(code: str, message: str, status: int = 400) -> Refused:
    return Refused(status, "invalid_request_error", code, message)


class StripeStandIn:
    """See above. `confirm`, `pay`, `dispute` are what the payer and banks do."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._kept: dict[str, tuple[Any, int, bytes]] = {}
        self.intents: dict[str, Found] = {}
        self.sessions: dict[str, Found] = {}
        self.charges: dict[str, Found] = {}
        self.customers: dict[str, Found] = {}
        self.cards: dict[str, str] = {}
        self.refunds: list[Found] = []
        self.events: list[Found] = []
        self.requests: list[tuple[str, str, Tree]] = []
        self.refused: list[str] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name if not site.name.endswith(":0") else f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # -- requests ------------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        pairs = parse_qsl(request.query_string if request.method == "GET" else body.decode(), keep_blank_values=True)
        form = tree_of(pairs)
        self.requests.append((request.method, request.path, form))
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        asked = (request.method, request.path, form)
        try:
            if key is not None and key in self._kept:
                before, status, answer = self._kept[key]
                if before != asked:
                    raise Refused(400, "idempotency_error", "idempotency_key_in_use", "Keys can only be used again with the same parameters.")  # fmt: skip
                return web.Response(status=status, body=answer, content_type="application/json")
            self._look(request, form)
            status, made = 200, self._done(request.method, request.path.strip("/").split("/")[1:], form)
        except Refused as no:
            status, made = no.status, no.body
        answer = json.dumps(made).encode()
        if key is not None and status != 401:
            self._kept[key] = (asked, status, answer)
        return web.Response(status=status, body=answer, content_type="application/json")

    def _look(self, request: web.Request, form: Tree) -> None:
        if request.headers.get("Authorization") not in (f"Bearer {KEY}",):
            raise Refused(401, "invalid_request_error", "api_key_invalid", "Invalid API Key.")
        found = faults(request.method, request.path, form)
        if request.headers.get("Stripe-Version") != stripe.api_version:
            found.append("Stripe-Version: another one than the SDK's types are of")
        if form and request.method == "POST" and request.content_type != "application/x-www-form-urlencoded":
            found.append(f"Content-Type: {request.content_type}")
        if request.method == "POST" and "Idempotency-Key" not in request.headers:
            found.append("Idempotency-Key: missing")
        if found:
            self.refused += [f"{request.method} {request.path}: {one}" for one in found]
            raise _wrong("parameter_unknown", "; ".join(found))

    def _done(self, method: str, path: list[str], form: Tree) -> Found:
        match method, path:
            case "POST", ["customers"]:
                return self._customer()
            case "POST", ["checkout", "sessions"]:
                return self._shown(self._open(form), form)
            case "GET", ["checkout", "sessions", ident]:
                return self._shown(self._one(self.sessions, ident), form)
            case "POST", ["checkout", "sessions", ident, "expire"]:
                session = self._one(self.sessions, ident)
                if session["status"] != "open":
                    raise _wrong("checkout_session_not_open", "Only Checkout Sessions with status open can be expired.")
                session |= {"status": "expired", "url": None}
                self._tell("checkout.session.expired", session)
                return self._shown(session, form)
            case "POST", ["payment_intents"]:
                return self._shown(self._begin(form), form)
            case "GET", ["payment_intents", ident]:
                return self._shown(self._one(self.intents, ident), form)
            case "POST", ["payment_intents", ident, act]:
                intent = self._one(self.intents, ident)
                acts: dict[str, Callable[[Found, Tree], None]] = {
                    "cancel": self._cancel,
                    "capture": self._capture,
                    "confirm": self._confirm_alone,
                    "increment_authorization": self._increment,
                }
                acts[act](intent, form)
                return self._shown(intent, form)
            case "GET", ["refunds"]:
                about = [one for one in self.refunds if one["payment_intent"] == form.get("payment_intent")]
                return {"object": "list", "data": about[: int(form.get("limit", 10))], "has_more": False}
            case "POST", ["refunds"]:
                return self._refund(form)
        raise _wrong("url_invalid", f"Unrecognized request URL ({method}: /v1/{'/'.join(path)}).", 404)

    def _one(self, of: dict[str, Found], ident: str) -> Found:
        if ident not in of:
            raise _wrong("resource_missing", f"No such object: '{ident}'", 404)
        return of[ident]

    def _id(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers)}{secrets.token_hex(6)}"

    def _shown(self, found: Found, form: Tree) -> Found:
        """With what was asked to be expanded in the place of ids."""
        shown = json.loads(json.dumps(found))
        for path in form.get("expand", {}).values():
            here = shown
            for name in path.split("."):
                value = here.get(name)
                if isinstance(value, str):
                    value = here[name] = json.loads(json.dumps(self._object(value)))
                if not isinstance(value, dict):
                    break
                here = value
        return shown

    def _object(self, ident: str) -> Found:
        for of in (self.intents, self.charges):
            if ident in of:
                return of[ident]
        assert ident.startswith("txn_"), ident
        return {"id": ident, "object": "balance_transaction", "currency": "eur", "fee": _FEE}

    # -- what is made --------------------------------------------------------------------------------------------------

    def _customer(self) -> Found:
        ident = self._id("cus")
        self.customers[ident] = {"id": ident, "object": "customer", "cards": []}
        return {"id": ident, "object": "customer"}

    def _begin(self, form: Tree) -> Found:
        method, customer = form.get("payment_method"), form.get("customer")
        if customer is not None:
            self._one(self.customers, customer)
        if method is not None and method not in (self.customers[customer]["cards"] if customer else ()):
            raise _wrong("resource_missing", f"No such PaymentMethod: '{method}' of the customer.", 404)
        if int(form["amount"]) < 50:
            raise _wrong("amount_too_small", "Amount must be at least €0.50 eur.")
        raised = form.get("payment_method_options", {}).get("card", {}).get("request_incremental_authorization")
        ident = self._id("pi")
        self.intents[ident] = {
            "id": ident,
            "object": "payment_intent",
            "amount": int(form["amount"]),
            "amount_capturable": 0,
            "amount_received": 0,
            "cancellation_reason": None,
            "capture_method": form.get("capture_method", "automatic_async"),
            "client_secret": f"{ident}_secret_{secrets.token_hex(8)}",
            "created": int(time.time()),
            "currency": form["currency"],
            "customer": customer,
            "last_payment_error": None,
            "latest_charge": None,
            "metadata": form.get("metadata", {}),
            "payment_method": method,
            "payment_method_options": {"card": {"request_incremental_authorization": raised}},
            "setup_future_usage": form.get("setup_future_usage"),
            "status": "requires_payment_method" if method is None else "requires_confirmation",
        }
        return self.intents[ident]

    def _open(self, form: Tree) -> Found:
        if form.get("mode") != "payment" or "success_url" not in form:
            raise _wrong("parameter_missing", "mode and success_url are needed here")
        items = form["line_items"].values()
        total = sum(int(one["price_data"]["unit_amount"]) * int(one["quantity"]) for one in items)
        ident = self._id("cs_test")
        self.sessions[ident] = {
            "id": ident,
            "object": "checkout.session",
            "amount_total": total,
            "client_reference_id": form.get("client_reference_id"),
            "currency": next(iter(items))["price_data"]["currency"],
            "metadata": form.get("metadata", {}),
            "mode": "payment",
            "payment_intent": None,  # made when the payer pays
            "payment_status": "unpaid",
            "status": "open",
            "success_url": form["success_url"],
            "url": f"https://checkout.stripe.com/c/pay/{ident}",
            "asked": form,
        }
        return self.sessions[ident]

    def _increment(self, intent: Found, form: Tree) -> None:
        amount = int(form["amount"])
        self._needs(intent, "requires_capture")
        if intent["payment_method_options"]["card"]["request_incremental_authorization"] != "if_available":
            raise _wrong("payment_intent_incremental_authorization_unsupported", "It was not asked for when it began.")
        if amount <= intent["amount"]:
            raise _wrong("amount_too_small", "The amount must be greater than the one that is authorized.")
        intent |= {"amount": amount, "amount_capturable": amount}
        self.charges[intent["latest_charge"]]["amount"] = amount
        self._tell("payment_intent.amount_capturable_updated", intent)

    def _capture(self, intent: Found, form: Tree) -> None:
        self._needs(intent, "requires_capture")
        amount = int(form.get("amount_to_capture", intent["amount_capturable"]))
        if not 0 < amount <= intent["amount_capturable"]:
            raise _wrong("amount_too_large", "The amount to capture is more than is held.")
        intent |= {"status": "succeeded", "amount_capturable": 0, "amount_received": amount}
        charge = self.charges[intent["latest_charge"]]
        charge |= {"captured": True, "amount_captured": amount, "balance_transaction": f"txn_{charge['id']}"}
        self._tell("payment_intent.succeeded", intent)

    def _cancel(self, intent: Found, form: Tree) -> None:
        self._needs(intent, "requires_payment_method", "requires_capture", "requires_confirmation", "requires_action")
        intent |= {"status": "canceled", "amount_capturable": 0}
        intent["cancellation_reason"] = form.get("cancellation_reason")
        self._tell("payment_intent.canceled", intent)

    def _refund(self, form: Tree) -> Found:
        intent = self._one(self.intents, form["payment_intent"])
        if intent["status"] != "succeeded":
            raise _wrong("charge_not_captured", "This PaymentIntent does not have a successful charge to refund.")
        left = intent["amount_received"] - sum(
            one["amount"] for one in self.refunds if one["payment_intent"] == intent["id"]
        )
        amount = int(form.get("amount", left))
        if not 0 < amount <= left:
            raise _wrong("charge_already_refunded", "The refund is more than what is left of the charge.")
        refund = {
            "id": self._id("re"),
            "object": "refund",
            "amount": amount,
            "charge": intent["latest_charge"],
            "currency": intent["currency"],
            "metadata": form.get("metadata", {}),
            "payment_intent": intent["id"],
            "status": "succeeded",
        }
        self.refunds.insert(0, refund)
        self._tell("refund.created", refund)
        return refund

    def _needs(self, intent: Found, *states: str) -> None:
        if intent["status"] not in states:
            raise _wrong(
                "payment_intent_unexpected_state", f"It has a status of {intent['status']}, not {' or '.join(states)}."
            )

    def _confirm_alone(self, intent: Found, form: Tree) -> None:
        """By the merchant, without the payer."""
        self._needs(intent, "requires_confirmation")
        if form.get("off_session") != "true":
            raise _wrong("parameter_missing", "The payer is not there.")
        number = self.cards[intent["payment_method"]]
        if number in (DECLINED, DECLINED_LATER, SECOND_FACTOR):
            code = "authentication_required" if number == SECOND_FACTOR else "card_declined"
            self._fail(intent, code)
            raise Refused(402, "card_error", code, "Your card was declined.")
        self._hold(intent, number)

    # -- what others do ------------------------------------------------------------------------------------------------

    def pay(self, ref: str, number: str) -> None:
        """The payer gives a card: on Stripe's page, or to its script."""
        session = self.sessions.get(ref)
        intent = self.intents[ref] if session is None else self._intent_of(session)
        if number == DECLINED:
            self._fail(intent, "card_declined")
            return
        intent["payment_method"] = self._id("pm")
        self.cards[intent["payment_method"]] = number
        if number == SECOND_FACTOR:
            intent["status"] = "requires_action"
            self._tell("payment_intent.requires_action", intent)
            return
        self.confirm(ref)

    def confirm(self, ref: str) -> None:
        """The payer has said all that was asked."""
        session = self.sessions.get(ref)
        intent = self.intents[ref] if session is None else self._intent_of(session)
        if intent["setup_future_usage"] == "off_session" and intent["customer"] is not None:
            self.customers[intent["customer"]]["cards"].append(intent["payment_method"])
        self._hold(intent, self.cards[intent["payment_method"]])
        if session is not None:
            session |= {"status": "complete", "payment_status": "unpaid", "url": None}
            self._tell("checkout.session.completed", session)

    def dispute(self, ref: str, status: str = "needs_response") -> None:
        """The payer's bank takes the money back, or has decided."""
        intent = self.intents[ref]
        charge = self.charges[intent["latest_charge"]]
        charge["disputed"] = True
        kind = "charge.dispute.created" if status == "needs_response" else "charge.dispute.closed"
        about = {"id": f"dp_{charge['id']}", "object": "dispute", "charge": charge["id"], "payment_intent": ref}
        self._tell(kind, {**about, "amount": charge["amount_captured"], "status": status})

    def _intent_of(self, session: Found) -> Found:
        if session["payment_intent"] is None:
            asked = session["asked"]
            data = asked.get("payment_intent_data", {})
            form = {**data, "amount": str(session["amount_total"]), "currency": session["currency"]}
            if asked.get("customer_creation") == "always":
                form["customer"] = self._customer()["id"]
            if "payment_method_options" in asked:
                form["payment_method_options"] = asked["payment_method_options"]
            session["payment_intent"] = self._begin(form)["id"]
        return self.intents[session["payment_intent"]]

    def _hold(self, intent: Found, number: str) -> None:
        assert intent["capture_method"] == "manual"
        charge = self._id("ch")
        self.charges[charge] = {
            "id": charge,
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": 0,
            "balance_transaction": None,
            "captured": False,
            "created": int(time.time()),
            "disputed": False,
            "payment_intent": intent["id"],
            "payment_method_details": {
                "type": "card",
                "card": {"brand": "visa", "last4": number[-4:], "capture_before": int(time.time()) + 7 * 86_400},
            },
        }
        intent |= {
            "status": "requires_capture",
            "amount_capturable": intent["amount"],
            "latest_charge": charge,
            "last_payment_error": None,
        }
        self._tell("payment_intent.amount_capturable_updated", intent)

    def _fail(self, intent: Found, code: str) -> None:
        intent |= {
            "status": "requires_payment_method",
            "payment_method": None,
            "last_payment_error": {"type": "card_error", "code": code},
        }
        self._tell("payment_intent.payment_failed", intent)

    # -- events --------------------------------------------------------------------------------------------------------

    def _tell(self, kind: str, about: Found) -> None:
        self.events.append(
            {
                "id": self._id("evt"),
                "object": "event",
                "api_version": stripe.api_version,
                "created": int(time.time()),
                "type": kind,
                "data": {"object": json.loads(json.dumps({k: v for k, v in about.items() if k != "asked"}))},
            }
        )

    def delivery(self, event: Found, secret: str = SECRET) -> tuple[dict[str, str], bytes]:
        """An event as it is posted: headers in lower case and body."""
        body, at = json.dumps(event).encode(), int(time.time())
        signed: str = stripe.WebhookSignature._compute_signature(f"{at}.{body.decode()}", secret)
        return {"stripe-signature": f"t={at},v1={signed}"}, body


class StandInPayer:
    """Who pays there."""

    def __init__(self, server: StripeStandIn) -> None:
        self._server = server

    async def pay(self, ref: str, card: str = "4242424242424242") -> None:
        """Gives a card."""
        self._server.pay(ref, card)

    async def confirm(self, ref: str) -> None:
        """Gives the second factor."""
        self._server.confirm(ref)
